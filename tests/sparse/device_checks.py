"""What the kernels for devices compute, against NumPy in extended precision; on a device or on the stand-in for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from planmath.core.cuda.queue import Queue

from planmath.bindings import runtime
from planmath.core.arrays import package_named
from planmath.core.cuda import devices
from planmath.core.cuda.device_arrays import upload
from planmath.sparse.advanced import DirectSolverMatrixType as Kind
from planmath.sparse.advanced import DirectSolverMatrixViewType as View
from planmath.sparse.advanced import device_kernels
from planmath.sparse.advanced.device_kernels import DeviceSystems, Places, Table
from planmath.sparse.advanced.pattern import Pattern
from tests.sparse.matrices import EPS, FAMILIES, cast, csr, laplacian

#: dtype, dtype of the indices, what is known of the matrix, and the part of it that counts.
KINDS = [
    ("float64", "int32", Kind.GENERAL, View.FULL), ("float32", "int64", Kind.GENERAL, View.FULL),
    ("complex128", "int32", Kind.HERMITIAN, View.LOWER), ("complex64", "int64", Kind.HERMITIAN, View.UPPER),
    ("float64", "int64", Kind.SYMMETRIC, View.UPPER), ("complex128", "int64", Kind.SYMMETRIC, View.LOWER),
]  # fmt: skip


class Case:
    """Systems with random values, right-hand sides and solutions, in memory of the device.

    Parameters
    ----------
    matrices : sequence of scipy.sparse.csr_array
    columns : sequence of int
    dtype, index, kind, view
        As in `KINDS`.
    gap : int
        Elements between the columns of a right-hand side or solution.
    how : {'table', 'step'}
        How the kernels are told where arrays are. With 'step', all systems have to be of one size.
    """

    def __init__(
        self, matrices: Sequence[sp.csr_array], columns: Sequence[int], dtype: str = "float64", index: str = "int32",
        kind: Kind = Kind.GENERAL, view: View = View.FULL, gap: int = 0, how: str = "table", seed: int = 0,
    ):  # fmt: skip
        self.rng, self.dtype, self.view, self.gap, self.how = np.random.default_rng(seed), dtype, view, gap, how
        self.hermitian = kind in (Kind.HERMITIAN, Kind.HPD)
        self.queue, self.owners = Queue(0, package_named("numpy")), []
        self.columns = columns
        self.matrices = [csr(a, dtype, index) for a in matrices]
        kept: dict[int, Pattern] = {}
        self.patterns = [
            kept.setdefault(id(given), Pattern(a.indptr, a.indices, kind, view, "a", "numpy"))
            for given, a in zip(matrices, self.matrices, strict=True)
        ]
        for a in self.matrices:
            a.data = self.random(len(a.data))
        self.systems = DeviceSystems(self.patterns, dtype, columns, self.queue)
        self.x, self.b, self.r = ([self.random(a.shape[0], k) for a, k in self.each()] for _ in range(3))

    def each(self) -> zip:
        return zip(self.matrices, self.columns, strict=True)

    def random(self, *shape: int) -> np.ndarray:
        return cast(self.rng.standard_normal(shape), self.dtype)

    def entries(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and values, in extended precision, of the whole matrix."""
        a = self.matrices[i].tocoo()
        rows, columns, values = *a.coords, a.data.astype(self.wide)
        if self.view == View.FULL:
            return rows, columns, values
        counts = rows >= columns if self.view == View.LOWER else rows <= columns
        rows, columns, values = rows[counts], columns[counts], values[counts]
        other = rows != columns
        mirrored = values[other].conj() if self.hermitian else values[other]
        return (
            np.concatenate([rows, columns[other]]), np.concatenate([columns, rows[other]]),
            np.concatenate([values, mirrored]),
        )  # fmt: skip

    def product(self, i: int, x: np.ndarray, size: Callable[[np.ndarray], np.ndarray] = lambda z: z) -> np.ndarray:
        """The matrix times x, or that of the sizes of both."""
        rows, columns, values = self.entries(i)
        total = np.zeros(x.shape, np.result_type(size(values)))
        np.add.at(total, rows, size(values)[:, None] * size(x[columns].astype(self.wide)))
        return total

    @property
    def wide(self) -> Any:
        return np.clongdouble if self.dtype.startswith("complex") else np.longdouble

    def put(self, arrays: Sequence[np.ndarray], stride: int = 1) -> Places:
        """Copies on the device, one for each system; what lies between their elements is NaN."""
        flat, leading = [], np.zeros(len(arrays), np.int64)
        for i, array in enumerate(arrays):
            if array.ndim == 2:
                n, k = array.shape
                leading[i] = n * stride + self.gap
                room = np.full((k, leading[i]), np.nan, array.dtype)
                room[:, : n * stride : stride] = array.T
                array = room
            flat.append(array.ravel())
        if not self.gap and stride == 1:
            leading[...] = 0
        if self.how == "step":
            owner, (address,) = upload([np.concatenate(flat)], self.queue)
            self.owners.append(owner)
            return Places(address, int(leading[0]), stride, flat[0].nbytes)
        owner, addresses = upload(flat, self.queue)
        self.owners.append(owner)
        table = Table(len(arrays), self.queue)
        self.owners.append(table)
        return table.places(addresses, leading, stride)

    def get(self, places: Places, like: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What is there now."""
        each = [(places.first + i * places.step, places.leading, places.stride) for i in range(len(like))]
        if places.table:
            each = self.read(places.table, np.empty((len(like), 3), np.int64)).tolist()
        found = []
        for (address, leading, stride), array in zip(each, like, strict=True):
            n, k = array.shape
            room = self.read(address, np.empty((k, leading or n), array.dtype))
            between = np.ones(room.shape, bool)
            between[:, : n * stride : stride] = False
            assert np.isnan(room[between]).all(), "something was written beside the elements"
            found.append(room[:, : n * stride : stride].T)
        return found

    def read(self, address: int, room: np.ndarray) -> np.ndarray:
        to_host = runtime.MemcpyKind.DEVICE_TO_HOST
        runtime.memcpy_async(room.ctypes.data, address, room.nbytes, to_host, self.queue.stream)
        self.wait()
        return room

    def wait(self) -> None:
        runtime.stream_synchronize(self.queue.stream)

    @property
    def values(self) -> list[np.ndarray]:
        return [a.data for a in self.matrices]


def parts(z: np.ndarray) -> np.ndarray:
    """The magnitude of a complex number as the sum of those of its parts."""
    return np.abs(z.real) + np.abs(z.imag)


def two_norms(array: np.ndarray) -> np.ndarray:
    return np.sqrt((np.abs(array.astype(np.clongdouble)) ** 2).sum(axis=0))


def check_residual(case: Case) -> None:
    values, x, b, r = (case.put(arrays) for arrays in (case.values, case.x, case.b, case.r))
    case.systems.sizes[...] = np.nan
    case.systems.residual(values, x, b, r)
    found, sizes = case.get(r, case.r), case.systems.sizes.copy()
    case.systems.residual(values, x, b, r)
    for again, before in zip(case.get(r, case.r), found, strict=True):
        assert again.tobytes() == before.tobytes()
    assert case.systems.sizes.tobytes() == sizes.tobytes(), "the same bits at each launch"
    for i, (first, k) in enumerate(zip(case.systems.first_columns, case.columns, strict=True)):
        expected = case.b[i] - case.product(i, case.x[i])
        terms = case.product(i, case.x[i], np.abs) + np.abs(case.b[i])
        limit = 2 * EPS[case.dtype] * abs(expected) + 8 * EPS["float64"] * terms
        assert (abs(found[i] - expected) <= limit).all()
        for which, array in enumerate((found[i], case.x[i], case.b[i])):
            np.testing.assert_allclose(sizes[first : first + k, which], two_norms(array).astype(float), rtol=1e-13)


def check_measure(case: Case) -> None:
    case.systems.measure(case.put(case.values))
    case.wait()
    ones = [np.ones((a.shape[0], 1)) for a in case.matrices]
    norms = [case.product(i, one, parts).max().astype(float) for i, one in enumerate(ones)]
    np.testing.assert_allclose(case.systems.norms, norms, rtol=1e-13)
    assert (case.systems.bad_rows == -1).all()


def check_bad_values(case: Case) -> None:
    """In every row of one system that has entries, in turn; a later one does not hide an earlier one."""
    i = len(case.columns) - 1
    a = case.matrices[i]
    rows = np.unique(np.linspace(0, a.shape[0] - 1, 7).astype(int))
    for row, bad in zip(rows, (np.nan, np.inf, -np.inf, np.nan, np.inf, np.nan, np.nan), strict=False):
        values = [data.copy() for data in case.values]
        k = int(case.rng.integers(a.indptr[row], a.indptr[row + 1]))
        values[i][k] = bad * 1j if case.dtype.startswith("complex") and row % 2 else bad
        values[i][a.indptr[row + 1] :] = np.nan
        case.systems.measure(case.put(values))
        case.wait()
        assert case.systems.bad_rows.tolist() == [-1] * i + [row]


def check_compare(case: Case) -> None:
    starts, columns = [a.indptr for a in case.matrices], [a.indices for a in case.matrices]
    case.systems.compare(case.put(starts), case.put(columns))
    case.wait()
    assert (case.systems.changed == 0).all()
    for changed in range(len(starts)):
        for which in (starts, columns):
            for k in {0, len(which[changed]) // 2, len(which[changed]) - 1}:
                which[changed] = which[changed].copy()
                which[changed][k] += 1
                case.systems.compare(case.put(starts), case.put(columns))
                case.wait()
                assert np.flatnonzero(case.systems.changed).tolist() == [changed]
                which[changed][k] -= 1
    for number, pattern in enumerate(case.patterns):
        for address, array in zip(case.systems.indices(number), (pattern.starts, pattern.columns), strict=True):
            np.testing.assert_array_equal(case.read(address, np.empty_like(array)), array)


def check_add(case: Case) -> None:
    x, b = case.put(case.x), case.put(case.b)
    case.systems.add(x, b, b)
    for found, of_x, of_b in zip(case.get(b, case.b), case.x, case.b, strict=True):
        np.testing.assert_array_equal(found, of_x + of_b)


def check_copy(case: Case) -> None:
    """From and to memory whose rows are apart; what lies between stays as it is."""
    for source_stride, target_stride in ((1, 1), (3, 1), (1, 2), (2, 3)):
        source, target = case.put(case.x, source_stride), case.put(case.b, target_stride)
        case.systems.copy(source, target)
        for found, expected in zip(case.get(target, case.x), case.x, strict=True):
            np.testing.assert_array_equal(found, expected)
    values = case.put([np.full_like(a.data, np.nan) for a in case.matrices])
    case.systems.copy_values(case.put(case.values), values)
    case.systems.measure(values)
    case.wait()
    assert (case.systems.bad_rows == -1).all()


def check_forward(case: Case) -> None:
    case.x[0][:, 0] = 0
    case.x[-1][-1, -1] = 0
    values, x, b, r = (case.put(arrays) for arrays in (case.values, case.x, case.b, case.r))
    noise = case.put(case.r)
    case.systems.noise(values, x, b, r, noise)
    found = case.get(noise, case.r)
    case.systems.relative(x, noise)
    case.wait()
    signs, eps = [], EPS[case.dtype]
    for i, (first, k) in enumerate(zip(case.systems.first_columns, case.columns, strict=True)):
        of_x, of_b = case.x[i], case.b[i]
        expected = np.abs(case.r[i].astype(case.wide)) + eps * (case.product(i, of_x, parts) + parts(of_b))
        np.testing.assert_allclose(np.abs(found[i]), expected.astype(float), rtol=4 * eps)
        assert (found[i].imag == 0).all()
        signs.append(np.sign(found[i].real).ravel())
        magnitude = np.abs(of_x)
        with np.errstate(all="ignore"):
            relative = np.abs(found[i]) / np.maximum(magnitude, eps * magnitude.max(axis=0))
        expected = np.where(np.isnan(relative), np.inf, relative).max(axis=0)
        np.testing.assert_allclose(case.systems.forward[first : first + k], expected, rtol=4 * eps)
    every = np.concatenate(signs)
    assert set(every) <= {-1, 1}
    assert len(every) < 100 or abs(every.mean()) < 5 / np.sqrt(len(every))
    broken = [array.copy() for array in case.r]
    broken[-1][-1, -1] = np.nan
    case.systems.relative(x, case.put(broken))
    case.wait()
    assert np.isinf(case.systems.forward[-1])


CHECKS: dict[str, Callable[[Case], None]] = {
    "residual": check_residual, "measure": check_measure, "bad_values": check_bad_values, "compare": check_compare,
    "add": check_add, "copy": check_copy, "forward": check_forward,
}  # fmt: skip


def arrow() -> sp.csr_array:
    """A full first row and last column, and rows of three entries otherwise."""
    n = 2500
    a = sp.lil_array(sp.diags_array([1.0, 2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)))
    a[0, :] = a[:, n - 1] = a[:, 0] = a[n - 1, :] = 1.0
    return csr(a)


SMALL = [FAMILIES[name]() for name in ("finite_elements", "helmholtz", "tridiagonal", "one_by_one")]
#: Matrices, and right-hand sides of each.
SHAPES: dict[str, tuple[list[sp.csr_array], list[int]]] = {
    "one": ([laplacian(7, 9)], [1]),
    "columns": ([laplacian(7, 9)], [6]),
    "equal": ([laplacian(5, 5)] * 4, [3] * 4),
    "different": (SMALL, [1, 5, 2, 4]),
    "vectors": (SMALL, [1, 1, 1, 1]),
    "long rows": ([arrow()], [1]),
    "long rows, columns": ([arrow()], [2]),
    "many pieces": ([laplacian(50, 45), laplacian(9, 9)], [1, 1]),
    "many pieces, columns": ([laplacian(25, 25)], [9]),
}


def check(shape: str, number: int, check: str) -> None:
    """One check of systems of one shape and kind."""
    matrices, columns = SHAPES[shape]
    dtype, index, kind, view = KINDS[number]
    equal = len({a.shape for a in matrices}) == len(set(columns)) == 1
    with pytest.MonkeyPatch.context() as patch:
        if shape.startswith("many"):  # more than a block has threads
            patch.setattr(device_kernels, "FEWEST", 10_000)
            patch.setattr(device_kernels, "LEAST", 70)
        for gap, how in ((0, "table"), (3, "step")) if equal else ((0, "table"),):
            CHECKS[check](Case(matrices, columns, dtype, index, kind, view, gap, how))


def check_extreme_sizes() -> None:
    """Norms of numbers whose squares overflow or vanish, of a mixture, of NaN and of infinity."""
    case = Case([laplacian(7, 9)], [8])
    scales = np.array([1e-290, 1e-180, 1e-20, 1.0, 1e20, 1e180, 1e300, 1.0])
    case.x[0] *= 0
    case.b[0] *= scales
    case.b[0][5, 0], case.b[0][3, 3], case.b[0][4, 4] = 0, np.nan, np.inf
    case.b[0][::2, 7] *= 1e-300
    case.b[0][::3, 7] *= 1e150
    values, x, b, r = (case.put(arrays) for arrays in (case.values, case.x, case.b, case.r))
    case.systems.residual(values, x, b, r)
    case.wait()
    expected = two_norms(case.b[0]).astype(float)
    np.testing.assert_allclose(case.systems.sizes[:, 2], expected, rtol=1e-13)
    np.testing.assert_allclose(case.systems.sizes[:, 0], expected, rtol=1e-13)
    assert (case.systems.sizes[:, 1] == 0).all()


def check_tables() -> None:
    """A table follows arrays that move, and is copied to the device when they do."""
    copied, overwrite = [], device_kernels.overwrite
    case = Case([laplacian(5, 5)] * 3, [2] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_kernels, "overwrite", lambda *given: (copied.append(given[0]), overwrite(*given)))
        table = Table(3, case.queue)
        low, high = np.arange(3), np.arange(1, 4)
        for addresses, leading in ((low, 25), (low, 25), (high, 25), (high, np.array([25, 9, 8]))):
            places = table.places(addresses, leading)
            rows = case.read(places.table, np.empty((3, 3), np.int64))
            np.testing.assert_array_equal(rows[:, 0], addresses)
            np.testing.assert_array_equal(rows[:, 1], np.broadcast_to(leading, 3))
            assert (rows[:, 2] == 1).all()
        assert copied == [places.table] * 3
        assert Table(1, case.queue).places([77], [5]) == Places(77, 5)
        assert len(copied) == 3


def check_memory_is_given_back() -> None:
    """Of the device and of the host, with the object."""
    free, _ = devices.free_memory(0)
    for _ in range(3):
        check("different", 0, "residual")
    assert devices.free_memory(0)[0] >= free - (64 << 20)
