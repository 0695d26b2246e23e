"""Tensors, accumulators and pipelines in the simulator: plain layouts, and C dealt to threads element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from planmath.device.layouts import Layout, misplaced
from planmath.device.simulator import SimulationError, products
from planmath.device.simulator.memory import check_written, fresh
from planmath.device.value_types import host_dtype

if TYPE_CHECKING:
    from planmath.device.matmul import Matmul


def traits(mm: Matmul, kind: str) -> dict[str, int]:
    """What libmathdx tells of a tensor: here its layout is plain, and each thread has every T-th element of C."""
    which = "abc".index(kind[-1])
    value = (mm.a_value_type, mm.b_value_type, mm.c_value_type)[which]
    count = per_thread(mm) if "rmem" in kind or "accumulator" in kind else mm._elements(which)
    size = host_dtype(value).itemsize
    return {"LOGICAL_SIZE": count, "STORAGE_BYTES": count * size, "ALIGNMENT_BYTES": 16}


def per_thread(mm: Matmul) -> int:
    m, n, _ = mm.size
    return -(-m * n // (mm.block_size or 1))


def place(mm: Matmul, thread: Any, index: int) -> tuple[int, int]:
    """Row and column of an element of a fragment: the fixed rule, which covers C once."""
    return divmod(index * (mm.block_size or 1) + thread.thread_id, mm.size[1])


class Tensor:
    """What `make_tensor` makes: an array and its layout."""

    def __init__(self, array: np.ndarray, layout: Layout):
        self.array, self.layout = array, layout

    @property
    def buffer(self) -> np.ndarray:
        return self.array

    @property
    def leading_dimension(self) -> int:
        return self.layout._leading or self.layout._mm.leading_dimension[self.layout._which]

    def matrix(self) -> np.ndarray:
        """As a view of the matrix's shape."""
        mm, which = self.layout._mm, self.layout._which
        flat = np.asarray(self.array)
        if self.layout._space == "gmem":  # a tile of a larger matrix: strides of the array, if it has two dimensions
            if flat.ndim == 2:
                rows, columns = mm._dims[which]
                if flat.shape[0] < rows or flat.shape[1] < columns:
                    raise SimulationError(f"a tile of {rows} x {columns} is outside of an array of {flat.shape}")
                return flat[:rows, :columns]
        elif not flat.flags.c_contiguous:
            raise SimulationError("tensors in shared memory are contiguous arrays")
        return products.matrix(mm, which, flat.reshape(-1), self.leading_dimension, "abc"[which])


class Fragment:
    """A thread's part of C, in registers."""

    def __init__(self, array: np.ndarray, mm: Matmul, layout: Layout):
        self.array, self.mm, self.layout = array, mm, layout

    buffer = property(lambda self: self.array)

    def _checked(self, index: int) -> int:
        if not 0 <= index < per_thread(self.mm):
            raise SimulationError(f"a fragment has the elements 0 to {per_thread(self.mm) - 1}, not {index}")
        return index

    def __getitem__(self, index: int) -> Any:
        return self.array[self._checked(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self.array[self._checked(index)] = value


class Accumulator(Fragment):
    """What `Matmul.get_accumulator` makes."""

    def __init__(self, thread: Any, mm: Matmul, kind: str):
        array = np.zeros(per_thread(mm), host_dtype(mm.c_value_type))
        super().__init__(array, mm, Layout._of(mm, kind.replace("accumulator", "rmem")))
        self.thread = thread

    def _fragment(self, array: np.ndarray) -> Fragment:
        return Fragment(array, self.mm, self.layout)

    @property
    def size(self) -> Any:
        return _Number(per_thread(self.mm))

    def get_results(self, out: Any = None) -> Fragment:
        if out is not None:
            out.array[:] = self.array
            return out
        return self._fragment(self.array.copy())

    def make_empty_fragment(self) -> Fragment:
        return self._fragment(fresh(per_thread(self.mm), self.array.dtype))

    def partition_like_C(self, gmem_c: Tensor) -> Fragment:
        return self.make_partition_and_copy(gmem_c)

    def make_partition_and_copy(self, src: Tensor) -> Fragment:
        made = self.make_empty_fragment()
        self.partition_and_copy(src, made)
        return made

    def partition_and_copy(self, src: Any, dst: Any) -> None:
        copy_fragment(self.thread, src, dst)

    def partition_and_store(self, tensor: Tensor) -> None:
        copy_fragment(self.thread, self._fragment(self.array), tensor)

    def map_fragment_index(self, fragment_index: int) -> tuple[int, int]:
        return place(self.mm, self.thread, self._checked(fragment_index))

    def is_thread_active(self) -> bool:
        return self.thread.thread_id < self.mm.block_size

    def is_predicated(self) -> bool:
        return self.mm.size[0] * self.mm.size[1] % self.mm.block_size != 0  # type: ignore[operator]

    def is_index_in_bounds(self, index: int) -> bool:
        return index < per_thread(self.mm) and place(self.mm, self.thread, index)[0] < self.mm.size[0]

    def clear(self) -> None:
        self.array[:] = np.zeros(1, self.array.dtype)

    def axpby(self, alpha: Any, x: Fragment, beta: Any) -> None:
        axpby(self.thread, alpha, x, beta, self)

    def get_alignment(self) -> int:
        return 16


class _Number(int):
    """A number that may be called: `Accumulator.size` is a method."""

    def __call__(self) -> int:
        return int(self)


def accumulator(thread: Any, mm: Matmul, kind: str) -> Accumulator:
    return Accumulator(thread, mm, kind)


def accumulate(thread: Any, mm: Matmul, a: Any, b: Any, c: Any) -> None:
    """Fragments ← A B + themselves, by all threads together."""
    for name, tensor in (("a", a), ("b", b)):
        if not isinstance(tensor, Tensor):
            raise SimulationError(f"Matmul.execute takes a tensor for {name}, not {type(tensor).__name__}")
        if not tensor.layout._kind.endswith(f"smem_{name}"):
            raise SimulationError(misplaced(name, tensor.layout._kind))
    if not isinstance(c, Fragment):
        raise SimulationError("Matmul.execute(a, b, c) takes an accumulator or a fragment for c")
    if len({each.layout._suggested for each in (a, b, c)}) > 1:
        raise SimulationError("the tensors of a product are all in suggested layouts, or none is")
    views = a.matrix(), b.matrix()
    products.check_arrived(thread, "Matmul.execute", views)

    def work(fragments: Any) -> None:
        check_written("Matmul.execute", "a", views[0])
        check_written("Matmul.execute", "b", views[1])
        found = products.numbers(views[0], None, mm, "a") @ products.numbers(views[1], None, mm, "b")
        flat = found.reshape(-1)
        for number, fragment in enumerate(fragments):
            part = flat[number :: mm.block_size or 1]
            target = fragment.array[: len(part)]
            check_written("Matmul.execute", "the accumulator", target)
            products.assign(target, part + products.numbers(target, None, mm, "c"))

    places = tuple(view.__array_interface__["data"][0] for view in views)
    thread.together("Matmul.execute", (mm.key, places), c, work)


# Functions.


def make_tensor(thread: Any, array: Any, layout: Layout) -> Any:
    if not isinstance(array, np.ndarray) or not isinstance(layout, Layout):
        raise SimulationError(
            f"make_tensor takes an array and a layout, not {type(array).__name__} and {type(layout).__name__}"
        )
    if layout._space == "rmem":
        if array.size < layout.cosize:
            raise SimulationError(f"the fragment has {layout.cosize} elements; the array has {array.size}")
        return Fragment(array, layout._mm, layout)
    if layout._space == "smem" and array.size < layout.cosize:
        raise SimulationError(f"the layout has {layout.cosize} elements (cosize); the array has {array.size}")
    return Tensor(array, layout)


def make_fragment_like(thread: Any, tensor: Fragment, dtype: Any) -> Fragment:
    return Fragment(fresh(per_thread(tensor.mm), host_dtype(dtype)), tensor.mm, tensor.layout)


def copy(thread: Any, src: Any, dst: Any, alignment: Any = None) -> None:
    """All threads together; what arrives may be read after `copy_wait`."""
    _check_alignment("copy", alignment, src)
    if not (isinstance(src, Tensor) and isinstance(dst, Tensor)):
        raise SimulationError("copy is for tensors in global and shared memory; for fragments there is copy_fragment")
    source, target = src.matrix(), dst.matrix()
    if source.shape != target.shape:
        raise SimulationError(f"copy is between matrices of one shape, not from {source.shape} to {target.shape}")

    def work(_: Any) -> None:
        if dst.layout._space == "smem":  # where it arrives later
            thread.block.copies.append((target, np.array(source)))
            target[...] = fresh(target.shape, target.dtype)
        else:
            target[...] = source

    places = tuple(view.__array_interface__["data"][0] for view in (source, target))
    thread.together("copy", places, None, work)


def copy_wait(thread: Any) -> None:
    def work(_: Any) -> None:
        for target, values in thread.block.copies:
            target[...] = values
        thread.block.copies.clear()

    thread.together("copy_wait", None, None, work)


def copy_fragment(thread: Any, src: Any, dst: Any, alignment: Any = None) -> None:
    """Between the thread's registers and global memory."""
    _check_alignment("copy_fragment", alignment, src)
    fragment, tensor = (src, dst) if isinstance(src, Fragment) else (dst, src)
    if not (isinstance(fragment, Fragment) and isinstance(tensor, Tensor)):
        raise SimulationError("copy_fragment copies between registers and global memory; for the rest there is copy")
    mm, matrix = fragment.mm, tensor.matrix()
    for index in range(per_thread(mm)):
        row, column = place(mm, thread, index)
        if row < mm.size[0]:
            if fragment is src:
                check_written("copy_fragment", "registers", np.asarray(fragment.array)[index : index + 1])
                matrix[row, column] = fragment.array[index]
            else:
                fragment.array[index] = matrix[row, column]


def clear(thread: Any, arr: Fragment) -> None:
    arr.array[:] = np.zeros(1, arr.array.dtype)


def axpby(thread: Any, alpha: Any, x_tensor: Fragment, beta: Any, y_tensor: Fragment) -> None:
    y_tensor.array[:] = alpha * np.asarray(x_tensor.array) + beta * np.asarray(y_tensor.array)


def _check_alignment(name: str, alignment: Any, tensor: Any) -> None:
    if alignment is not None and (
        alignment not in (1, 2, 4, 8, 16) or alignment < np.asarray(tensor.array).dtype.itemsize
    ):
        raise SimulationError(
            f"the alignment of {name} is 1, 2, 4, 8 or 16 bytes and not less than an element's, not {alignment!r}"
        )


def accumulate_tiles(thread: Any, pipeline: Any, where: tuple[int, int], c: Accumulator) -> None:
    """An accumulator ← a block of rows of A times a block of columns of B + itself."""
    mm = pipeline.mm
    m, n, _ = mm.size
    rows, columns = slice(where[0] * m, (where[0] + 1) * m), slice(where[1] * n, (where[1] + 1) * n)
    a, b = pipeline.a[rows], pipeline.b[:, columns]
    if a.shape[0] < m or b.shape[1] < n:
        raise SimulationError(f"the tile {where} is outside of A of {pipeline.a.shape} and B of {pipeline.b.shape}")

    def work(accumulators: Any) -> None:
        flat = (products.numbers(a, None, mm, "a") @ products.numbers(b, None, mm, "b")).reshape(-1)
        for number, each in enumerate(accumulators):
            part = flat[number :: mm.block_size or 1]
            target = each.array[: len(part)]
            products.assign(target, part + products.numbers(target, None, mm, "c"))

    thread.together("TilePipeline.execute", (mm.key, where), c, work)
