"""Sparse matrices and tensors of SciPy, CuPy and PyTorch, and dense arrays, as arrays of a format, and back.

Nothing is copied in either direction, but where a package keeps something in another form than the format does.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import contiguous_strides, package_named, package_of, same_strides
from planmath.core.errors import UnsupportedLayoutError
from planmath.sparse.ust.conversion import Arrays
from planmath.sparse.ust.expressions import LevelExpr, Operator
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.named import NamedFormats, dense_format

#: The modules of sparse matrices made of arrays, and the package of those arrays.
SPARSE = {"scipy.sparse": "numpy", "cupyx.scipy.sparse": "cupy"}
N = NamedFormats


class Read(NamedTuple):
    """What a package's object is."""

    package: str
    """That of its arrays."""
    extents: tuple[int, ...]
    format: TensorFormat
    arrays: Arrays
    kind: str
    """Which of the package's forms it has, for the way back."""


def read(tensor: Any) -> Read:
    """What a package's object is.

    Raises
    ------
    TypeError
        If it is nothing that has a format.
    ValueError
        If its arrays are not as the format needs them.
    """
    for module, package in SPARSE.items():
        sparse = sys.modules.get(module)
        if sparse is not None and sparse.issparse(tensor):
            reader = _MATRICES.get(tensor.format)
            if reader is None:
                raise TypeError(
                    f"tensor is a {type(tensor).__name__}, which is not made of arrays; convert it with .tocsr()"
                )
            return reader(package, tensor)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor) and tensor.layout is not torch.strided:
        return _read_torch(torch, tensor)
    try:
        package_of(tensor, "tensor")
    except TypeError:
        raise TypeError(
            f"tensor is a {type(tensor).__name__}; expected a sparse matrix of SciPy or CuPy, a torch.Tensor, or a "
            "dense array of NumPy or CuPy"
        ) from None
    return _read_dense(tensor)


def _contiguous(array: Any, what: str) -> Any:
    flags = getattr(array, "flags", None)
    if not (array.is_contiguous() if flags is None else flags.c_contiguous):
        raise UnsupportedLayoutError(f"the {what} of tensor are not contiguous in memory; copy the tensor")
    return array


def _flat(values: Any, what: str = "values") -> Any:
    return _contiguous(values, what).reshape(-1)


# Matrices of SciPy and CuPy.


def _read_compressed(package: str, a: Any) -> Read:
    pos, crd, val = a.indptr, a.indices, _flat(a.data)
    stored = int(pos[-1]) if len(pos) else 0
    if len(crd) > stored:  # matrices may have room that they do not use
        crd, val = crd[:stored], val[:stored]
    if len(a.shape) == 1:
        return Read(package, a.shape, N.SparseVector, Arrays((pos,), (crd,), val), "csr")
    form = N.CSR if a.format == "csr" else N.CSC
    return Read(package, tuple(a.shape), form, Arrays((None, pos), (None, crd), val), a.format)


def _read_coo(package: str, a: Any) -> Read:
    coords = getattr(a, "coords", None) or (a.row, a.col)
    form = N.COOd(len(coords)) if len(coords) != 2 else N.COO
    pos = _segment(package, len(a.data), coords[0])
    arrays = Arrays((pos, *[None] * (len(coords) - 1)), tuple(coords), _flat(a.data))
    return Read(package, tuple(a.shape), form, arrays, "coo")


def _segment(package: str, count: int, like: Any) -> Any:
    """Where one segment begins and ends, as an index array like another one."""
    module = sys.modules[package]
    return module.asarray([0, count], dtype=like.dtype)


def _read_bsr(package: str, a: Any) -> Read:
    blocks, size = a.data, a.blocksize
    for by_rows, data in ((True, blocks), (False, blocks.transpose(0, 2, 1))):
        if data.flags.c_contiguous:
            form = (N.BSRRight if by_rows else N.BSRLeft)(tuple(map(int, size)))
            arrays = Arrays((None, a.indptr, None, None), (None, a.indices, None, None), data.reshape(-1))
            return Read(package, tuple(a.shape), form, arrays, "bsr")
    raise UnsupportedLayoutError("the blocks of tensor are not contiguous in memory; copy the matrix")


def _read_dia(package: str, a: Any) -> Read:
    data, columns = a.data, a.shape[1]
    if data.shape[1] != columns:  # the package lets diagonals be shorter, or longer, than the matrix is wide
        fitted = sys.modules[package].zeros((data.shape[0], columns), data.dtype)
        kept = min(columns, data.shape[1])
        fitted[:, :kept] = data[:, :kept]
        data = fitted
    pos = _segment(package, len(a.offsets), a.offsets)
    return Read(package, tuple(a.shape), N.DIAJ, Arrays((pos, None), (a.offsets, None), _flat(data)), "dia")


_MATRICES: dict[str, Callable[[str, Any], Read]] = {
    "csr": _read_compressed, "csc": _read_compressed, "coo": _read_coo, "bsr": _read_bsr, "dia": _read_dia,
}  # fmt: skip


# PyTorch's tensors.


def _read_torch(torch: Any, t: Any) -> Read:
    t = t.detach()
    values = t._values() if t.layout is torch.sparse_coo else t.values()
    dense = t.dense_dim()
    extents = tuple(t.shape)
    if t.layout is torch.sparse_coo:
        sparse = t.sparse_dim()
        rows = t._indices()
        crd = tuple(_contiguous(rows[n], "indices") for n in range(sparse))
        pos = torch.tensor([0, rows.shape[1]], dtype=torch.int64, device=rows.device)
        nothing = [None] * (sparse - 1 + dense)
        form = N.COO if (sparse, dense) == (2, 0) else N.COOd(sparse, dense)
        return Read("torch", extents, form, Arrays((pos, *nothing), (*crd, *[None] * dense), _flat(values)), "coo")
    by_rows = t.layout in (torch.sparse_csr, torch.sparse_bsr)
    starts, indices = (t.crow_indices(), t.col_indices()) if by_rows else (t.ccol_indices(), t.row_indices())
    starts, indices = _contiguous(starts, "indices"), _contiguous(indices, "indices")
    batch = starts.dim() - 1
    if t.layout in (torch.sparse_csr, torch.sparse_csc):
        form = (N.CSRd if by_rows else N.CSCd)(batch, dense)
        if not (batch or dense):
            form = N.CSR if by_rows else N.CSC
        around: tuple[Any, ...] = (None,) * dense
    else:
        size = tuple(values.shape[batch + 1 : batch + 3])
        left = batch == 0 and dense == 0 and not values.is_contiguous()
        if left:
            values = values.transpose(1, 2)
            form = (N.BSRLeft if by_rows else N.BSCLeft)(size)
        else:
            form = (N.BSRRightd if by_rows else N.BSCRightd)(size, batch, dense)
        around = (None,) * (2 + dense)
    arrays = Arrays((*[None] * (batch + 1), starts, *around), (*[None] * (batch + 1), indices, *around), _flat(values))
    return Read("torch", extents, form, arrays, str(t.layout).removeprefix("torch.sparse_"))


def _read_dense(array: Any) -> Read:
    package = package_of(array, "tensor")
    layout = package.layout(array, "tensor")
    shape, strides = layout.shape, layout.strides
    as_they_stand = tuple(range(len(shape)))
    slowest_first = tuple(sorted(as_they_stand, key=lambda axis: -strides[axis] if shape[axis] > 1 else 0))
    for order in (as_they_stand, slowest_first):
        if same_strides(shape, strides, contiguous_strides(shape, order)):
            break
    else:
        raise UnsupportedLayoutError(
            f"tensor has the shape {shape} and the strides {strides} (in elements), which leave gaps or go backwards; "
            "copy it"
        )
    flat = layout._replace(shape=(math.prod(shape),), strides=(1,))
    nothing = (None,) * len(order)
    arrays = Arrays(nothing, nothing, package.with_strides(array, flat))
    return Read(package.name, shape, dense_format(order), arrays, "dense")


# The way back.


class Written(NamedTuple):
    """What a writer is told of a tensor."""

    package: str
    extents: tuple[int, ...]
    arrays: Arrays
    kind: str
    batch: int
    dense: int
    blocks: tuple[int, int] | None

    @property
    def levels(self) -> list[int]:
        """The levels with coordinates."""
        return [n for n, crd in enumerate(self.arrays.crd) if crd is not None]


def _write_compressed(w: Written, name: str) -> Any:
    (level,) = w.levels
    pos, crd, val = w.arrays.pos[level], w.arrays.crd[level], w.arrays.val
    if w.package != "torch":
        module = _sparse_module(w.package)
        make = getattr(module, f"{name}_array", None) or getattr(module, f"{name}_matrix")
        if w.blocks is not None:
            m, n = w.blocks
            val = val.reshape(-1, m, n)
        return make((val, crd, pos), shape=w.extents, copy=False)
    torch = sys.modules["torch"]
    if w.blocks is not None:
        val = val.reshape(*crd.shape, *w.blocks, *w.extents[len(w.extents) - w.dense :])
    else:
        val = val.reshape(*crd.shape, *w.extents[len(w.extents) - w.dense :])
    return getattr(torch, f"sparse_{name}_tensor")(pos, crd, val, size=w.extents, check_invariants=False)


def _write_left(w: Written, name: str) -> Any:
    """Blocks by columns: the same with the two axes of a block exchanged."""
    assert w.blocks is not None
    (level,) = w.levels
    pos, crd = w.arrays.pos[level], w.arrays.crd[level]
    m, n = w.blocks
    if w.package == "torch":
        val = w.arrays.val.reshape(-1, n, m).transpose(1, 2)
        make = getattr(sys.modules["torch"], f"sparse_{name}_tensor")
        return make(pos, crd, val, size=w.extents, check_invariants=False)
    val = w.arrays.val.reshape(-1, n, m).transpose(0, 2, 1)
    return _sparse_module(w.package).bsr_array((val, crd, pos), shape=w.extents, copy=False)


def _write_coo(w: Written, name: str) -> Any:
    coords, val = tuple(w.arrays.crd[level] for level in w.levels), w.arrays.val
    if w.package != "torch":
        if len(coords) == 1 and w.kind == "csr":
            return _sparse_module(w.package).csr_array((val, coords[0], w.arrays.pos[0]), shape=w.extents, copy=False)
        module = _sparse_module(w.package)
        make = getattr(module, "coo_array", None) or module.coo_matrix
        return make((val, coords), shape=w.extents, copy=False)
    torch = sys.modules["torch"]
    val = val.reshape(-1, *w.extents[len(w.extents) - w.dense :])
    rows = _rows_of(torch, coords)
    return torch.sparse_coo_tensor(rows, val, size=w.extents, check_invariants=False)


def _rows_of(torch: Any, coords: tuple[Any, ...]) -> Any:
    """The coordinates as the rows of one tensor, in place where they are that already."""
    first, count = coords[0], len(coords[0])
    size = first.element_size()
    lies_so = all(c.data_ptr() == first.data_ptr() + n * count * size for n, c in enumerate(coords))
    if lies_so and first.untyped_storage().nbytes() >= (first.storage_offset() + count * len(coords)) * size:
        return first.as_strided((len(coords), count), (count, 1))
    return torch.stack(list(coords))


def _write_dia(w: Written, name: str) -> Any:
    module = _sparse_module(w.package)
    make = getattr(module, "dia_array", None) or module.dia_matrix
    return make((w.arrays.val.reshape(-1, w.extents[1]), w.arrays.crd[0]), shape=w.extents, copy=False)


def _sparse_module(package: str) -> Any:
    from importlib import import_module

    return import_module({arrays: module for module, arrays in SPARSE.items()}[package])


Writer = Callable[[Written, str], Any]
#: Structures of formats -> what writes them, the packages of arrays that have them, and what they are called there.
_WRITERS: dict[Hashable, tuple[Writer, tuple[str, ...], str]] = {
    N.CSR.storage: (_write_compressed, ("numpy", "cupy", "torch"), "csr"),
    N.CSC.storage: (_write_compressed, ("numpy", "cupy", "torch"), "csc"),
    N.DIAJ.storage: (_write_dia, ("numpy", "cupy"), "dia"),
}


def write(package: str, extents: tuple[int, ...], form: TensorFormat, arrays: Arrays, kind: str) -> Any:
    """A package's object over the arrays of a tensor.

    Raises
    ------
    NotImplementedError
        If the package has nothing of this format.
    """
    if is_dense(form):
        return write_dense(package, extents, form, arrays.val)
    found = next(_found(package, extents, form), None)
    if found is None:
        raise NotImplementedError(
            f"{ {'numpy': 'SciPy', 'cupy': 'CuPy', 'torch': 'PyTorch'}[package]} has no tensor of the format "
            f"{form.name} with {len(extents)} dimensions; convert it first, such as to "
            f"{'CSR' if len(extents) == 2 else 'COO'}"
        )
    writer, name, batch, dense, blocks = found
    return writer(Written(package, extents, arrays, kind, batch, dense, blocks), name)


def _found(package: str, extents: tuple[int, ...], form: TensorFormat) -> Iterator[tuple[Any, ...]]:
    """The writers for a format: each with the package's name of it, its batch and dense dimensions, and its blocks."""
    key, count = form.storage, len(extents)
    known = _WRITERS.get(key)
    if known is not None and package in known[1]:
        yield known[0], known[2], 0, 0, None
    torch = package == "torch"
    for dense in range((count - 1 if torch else 0) + 1 if count else 0):
        if key == N.COOd(count - dense, dense).storage and (package != "cupy" or count == 2):
            yield _write_coo, "coo", 0, dense, None
    for dense in range((count - 2 if torch else 0) + 1 if count > 1 and package != "cupy" else 0):
        batch = count - 2 - dense
        if batch and not torch:
            continue
        blocks = _blocks_of(form, batch)
        for compressed, name in ((N.CSRd, "csr"), (N.CSCd, "csc")):
            if torch and key == compressed(batch, dense).storage:
                yield _write_compressed, name, batch, dense, None
        for by_rows, by_columns, name in ((N.BSRRightd, N.BSRLeft, "bsr"), (N.BSCRightd, N.BSCLeft, "bsc")):
            if blocks is None or not (torch or name == "bsr"):
                continue
            if key == by_rows(blocks, batch, dense).storage:
                yield _write_compressed, name, batch, dense, blocks
            if count == 2 and key == by_columns(blocks).storage:
                yield _write_left, name, 0, 0, blocks


def _blocks_of(form: TensorFormat, first: int) -> tuple[int, int] | None:
    """The extents of blocks of two dimensions, the first of which has this number; None where there are none."""
    sizes = {
        form.dimensions.index(e.expression1): e.expression2
        for e in form.expressions
        if isinstance(e, LevelExpr) and e.operator is Operator.DIVIDE
    }
    return (sizes[first], sizes[first + 1]) if set(sizes) == {first, first + 1} else None


def write_dense(package: str, extents: tuple[int, ...], form: TensorFormat, val: Any) -> Any:
    """A dense array over the values of a tensor all of whose levels are dense dimensions."""
    order = tuple(form.dimensions.index(e) for e in form.expressions)
    named = package_named(package)
    layout = named.layout(val, "val")
    return named.with_strides(val, layout._replace(shape=extents, strides=contiguous_strides(extents, order)))


def is_dense(form: TensorFormat) -> bool:
    """Whether a format is that of a dense array: all levels are dense dimensions."""
    return all(int(level.format) == 0 for level in form.stored) and set(form.expressions) == set(form.dimensions)


def put_like(array: np.ndarray, like: Any) -> Any:
    """An array of NumPy's, or of the bits of values that NumPy lacks, as one of another's package, where that is."""
    if isinstance(like, np.ndarray):
        return array
    if hasattr(like, "get") and not hasattr(like, "numpy"):
        import cupy

        with cupy.cuda.Device(like.device.id):
            return cupy.asarray(array)
    return sys.modules["torch"].from_numpy(array).to(like.device)


def to_host(array: Any) -> np.ndarray:
    """An array of any package as NumPy's: a view where it is on the host; of dtypes that NumPy lacks, its bits."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get") and not hasattr(array, "numpy"):
        return array.get()
    array = array.detach().cpu()
    try:
        return array.numpy()
    except TypeError:
        torch = sys.modules["torch"]
        return array.view({1: torch.uint8, 2: torch.int16}[array.element_size()]).numpy()
