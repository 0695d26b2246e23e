"""The solver's operands: sparse matrices in CSR format and right-hand sides, one or a batch of them."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from planmath.core.arrays import Layout, package_named, package_of
from planmath.core.errors import UnsupportedLayoutError
from planmath.core.factorization import names

#: How messages propose to make a CSR matrix of something else, by how the package writes it.
CONVERSIONS = {
    "scipy": "{}.tocsr()", "torch": "{}.to_sparse_csr()", "numpy": "scipy.sparse.csr_array({})",
    "cupy": "cupyx.scipy.sparse.csr_matrix({})",
}  # fmt: skip
#: The modules of CSR matrices made of three arrays, and the package of those arrays.
SPARSE = {"scipy.sparse": "numpy", "cupyx.scipy.sparse": "cupy"}


class CSR(NamedTuple):
    """One matrix: its three arrays, which belong to the package of the right-hand sides that go with it."""

    package: str
    shape: tuple[int, int]
    starts: Any
    """n + 1 positions in the other two: where each row starts, and where the last one ends."""
    columns: Any
    values: Any


class Matrices(NamedTuple):
    """What a user passed as a: one matrix, a sequence of matrices, or a tensor of more than two dimensions."""

    samples: tuple[CSR, ...]
    values: tuple[Any, ...]
    """The arrays that hold the values: one for each matrix, or one for the whole tensor."""
    batch: tuple[int, ...] | None
    """The shape of the batch; None for one matrix."""
    explicit: bool

    @property
    def package(self) -> str:
        return self.samples[0].package

    @property
    def layout(self) -> Layout:
        return package_named(self.package).layout(self.values[0], "a")


def reread(a: Any, known: Matrices) -> Matrices:
    """The matrices as they are now: what is known, unless the owner of one has given it other arrays since."""
    if known.package == "torch":  # tensors keep theirs
        return known
    for matrix, sample in zip(a if known.explicit else (a,), known.samples, strict=True):
        if (
            matrix.data is not sample.values
            or matrix.indices is not sample.columns
            or matrix.indptr is not sample.starts
        ):
            return read_matrices(a)
    return known


def read_matrices(a: Any) -> Matrices:
    """The matrices that a user passed.

    Raises
    ------
    TypeError, ValueError
        If it is not CSR, not square, or a mixture.
    """
    if isinstance(a, list | tuple):
        if not a:
            raise ValueError("a is an empty sequence; expected at least one matrix")
        samples = []
        for position, matrix in enumerate(a):
            name = f"a[{position}]"
            read = _read(matrix, name)
            if read.batch is not None:
                raise ValueError(f"{name} is a batch of shape {read.batch}; expected one matrix, for a is a sequence")
            samples.append(read.samples[0])
            dtypes = _dtypes(samples[0])
            if samples[-1].package != samples[0].package:
                raise TypeError(
                    f"{name} belongs to {samples[-1].package} and a[0] to {samples[0].package}; all must belong to one"
                )
            if (here := _device_of(samples[-1])) != (there := _device_of(samples[0])):
                raise ValueError(f"{name} is on {here} and a[0] on {there}; move all matrices to the same place")
            if _dtypes(samples[-1]) != dtypes:
                raise ValueError(
                    f"{name} has the dtypes {_dtypes(samples[-1])} of values and indices, and a[0] {dtypes}; "
                    "convert them to the same ones"
                )
        return Matrices(tuple(samples), tuple(s.values for s in samples), (len(samples),), True)
    return _read(a, "a")


def _dtypes(sample: CSR) -> tuple[str, str]:
    return dtype_name(sample.values), dtype_name(sample.starts)


def _device_of(sample: CSR) -> str:
    """Where the values of a matrix are, for messages."""
    if sample.package == "numpy":
        return "the CPU"
    device = sample.values.device
    return str(device) if sample.package == "torch" else f"cuda:{device.id}"


def dtype_name(array: Any) -> str:
    """The name of an array's dtype, whatever its package."""
    return _name_of(array.dtype)


@cache
def _name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _read(a: Any, name: str) -> Matrices:
    torch = sys.modules.get("torch")
    for module, package in SPARSE.items():
        sparse = sys.modules.get(module)
        if sparse is None:
            continue
        if isinstance(a, (getattr(sparse, "csr_array", sparse.csr_matrix), sparse.csr_matrix)):
            if len(a.shape) != 2:
                raise ValueError(f"{name} has the shape {a.shape}; expected a square matrix")
            _check_square(name, a.shape)
            _check_dense(name, a.data.flags.c_contiguous)
            sample = CSR(package, a.shape, a.indptr, a.indices, a.data)
            return Matrices((sample,), (a.data,), None, False)
        if sparse.issparse(a):
            mend = CONVERSIONS["scipy"].format(name)
            raise TypeError(
                f"{name} is a {type(a).__name__}; expected a sparse matrix in CSR format: convert it with {mend}"
            )
    if torch is not None and isinstance(a, torch.Tensor):
        if a.layout is torch.sparse_csr:
            return _read_tensor(a, name)
        kind, mend = f"a torch.Tensor of layout {a.layout}", CONVERSIONS["torch"]
    else:
        package = package_of(a, name).name  # raises for what is no array at all
        kind, mend = f"a dense {package}.ndarray", CONVERSIONS[package]
    raise TypeError(f"{name} is {kind}; expected a sparse matrix in CSR format: convert it with {mend.format(name)}")


def _read_tensor(a: Any, name: str) -> Matrices:
    from planmath.core.arrays.torch_arrays import check_memory

    try:
        starts, columns, values = a.crow_indices(), a.col_indices(), a.values().detach()
    except RuntimeError as error:
        raise TypeError(
            f"{name} is a tensor whose values and indices PyTorch does not hand out ({error}); expected an ordinary "
            "one: call planmath outside of torch.func's transforms"
        ) from error
    for part, array in (("values", values), ("indices", starts)):
        check_memory(array, f"the array of {part} of {name}")
    *batch, rows, cols = a.shape
    _check_square(name, (rows, cols))
    if values.dim() != starts.dim():
        raise ValueError(f"{name} has dense dimensions; expected a tensor whose elements are numbers")
    _check_dense(name, values.is_contiguous())
    if not batch:
        return Matrices((CSR("torch", (rows, cols), starts, columns, values),), (values,), None, False)
    if 0 in batch:
        raise ValueError(f"{name} has the shape {tuple(a.shape)}, a batch without a matrix")
    count = math.prod(batch)
    parts = zip(*(part.reshape(count, -1) for part in (starts, columns, values)), strict=True)
    samples = tuple(CSR("torch", (rows, cols), *arrays) for arrays in parts)
    return Matrices(samples, (values,), tuple(batch), False)


def _check_square(name: str, shape: tuple[int, ...]) -> None:
    if shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"{name} has the shape {tuple(shape)}; expected a square matrix of at least one row")


def _check_dense(name: str, dense: bool) -> None:
    if not dense:
        raise UnsupportedLayoutError(f"the values of {name} have gaps between them in memory; copy the matrix")


class RightHandSides(NamedTuple):
    """What a user passed as b: one vector or matrix, a sequence of them, or an array of more than two dimensions."""

    arrays: tuple[Any, ...]
    """One for each system, or one for the whole batch."""
    layouts: tuple[Layout, ...]
    explicit: bool


def read_right_hand_sides(b: Any, matrices: Matrices) -> RightHandSides:
    """The right-hand sides that a user passed, one for each of the matrices.

    Raises
    ------
    TypeError, ValueError
        If they do not fit the matrices.
    """
    count, package = len(matrices.samples), package_named(matrices.package)
    explicit = isinstance(b, list | tuple)
    if explicit and matrices.batch is None:
        raise ValueError(f"b is a sequence of {len(b)}, and a is one matrix; pass a sequence of as many matrices")
    if explicit and len(b) != count:
        raise ValueError(f"b has {len(b)} right-hand sides, and a has {count} matrices; expected as many")
    arrays = tuple(b) if explicit else (b,)
    layouts, whole = [], matrices.layout
    for name, array in zip(names("b", len(arrays), explicit), arrays, strict=True):
        if package_of(array, name) is not package:
            raise TypeError(
                f"{name} is a {package_of(array, name).name} array; expected a {package.name} one, as goes with a"
            )
        layout = package.layout(array, name)
        layouts.append(layout)
        for what, given, expected in (
            ("dtype", layout.dtype, whole.dtype),
            ("memory space", layout.memory_space, whole.memory_space),
            ("device_id", layout.device_id, whole.device_id),
        ):
            if given != expected:
                raise ValueError(f"{name} has the {what} {given} and a has {expected}; bring both to the same one")
    for position, (sample, (name, layout)) in enumerate(
        zip(matrices.samples, _each(names("b", len(arrays), explicit), layouts, count), strict=True)
    ):
        n = sample.shape[0]
        shape = layout.shape
        if not explicit and matrices.batch is not None:
            batch = matrices.batch
            if len(shape) != len(batch) + 2 or shape[:-2] != batch or shape[-2] != n or shape[-1] == 0:
                sizes = "" if all(s.shape[0] == n for s in matrices.samples) else ", or a sequence"
                wanted = ", ".join(map(str, (*batch, n, "k")))
                raise ValueError(
                    f"b has the shape {shape}; expected ({wanted}) with k right-hand sides each, as a is a batch of "
                    f"shape {batch} whose matrix {position} has {n} rows{sizes}"
                )
        elif len(shape) not in (1, 2) or shape[0] != n or 0 in shape:
            raise ValueError(f"{name} has the shape {shape}; expected ({n},) or ({n}, k), as its matrix has {n} rows")
    return RightHandSides(arrays, tuple(layouts), explicit)


def _each(found: tuple[str, ...], layouts: list[Layout], count: int) -> Iterator[tuple[str, Layout]]:
    """Name and layout for each system, where one array may be that of all."""
    for i in range(count):
        k = i if len(found) == count else 0
        yield found[k], layouts[k]


def per_system(array: Any, batch: tuple[int, ...] | None) -> list[Any]:
    """The samples of an array that holds all right-hand sides or solutions, as views of it."""
    if batch is None:
        return [array]
    return [array[index] for index in itertools.product(*map(range, array.shape[:-2]))]
