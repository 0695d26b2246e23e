"""How cuSOLVER and cuBLAS factorize matrices that lie column by column, one behind the other, and solve with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np

from planmath.bindings import cublas, cusolver, cusolverDn, runtime
from planmath.bindings.library_types import CudaDataType
from planmath.core.arrays import ITEMSIZE, REAL_OF
from planmath.core.cuda import devices
from planmath.core.cuda.device_arrays import pinned
from planmath.core.cuda.queue import Queue
from planmath.linalg.solver.device_kernels import DIVIDING, IN_BAND, RANKING, WIDENING, Kernels, record
from planmath.linalg.solver.problem import BANDS, Form
from planmath.native.call import Call, Slot

DATA_TYPE = {
    "float32": CudaDataType.CUDA_R_32F, "float64": CudaDataType.CUDA_R_64F, "complex64": CudaDataType.CUDA_C_32F,
    "complex128": CudaDataType.CUDA_C_64F,
}  # fmt: skip
#: What the names of typed functions begin with.
LETTER = {"float32": "S", "float64": "D", "complex64": "C", "complex128": "Z"}
#: cuBLAS's enumerations, which cuSOLVER takes as well.
NO_TRANSPOSE, TRANSPOSE, ADJOINT = 0, 1, 2
LOWER, UPPER, LEFT = 0, 1, 0


class Handles:
    """Handles of cuSOLVER and cuBLAS, destroyed when nothing refers to them any more.

    Parameters
    ----------
    queue : Queue
        Whose device is current.
    given : int or None
        A user's handle of cuSOLVER's, to take in place of one of its own.
    """

    def __init__(self, queue: Queue, given: int | None):
        self.device_id, self.process = queue.device_id, os.getpid()
        self.solver = self.blas = self.settings = 0
        self._owned = given is None
        self.solver = cusolverDn.create() if given is None else given
        self.settings = cusolverDn.create_params()
        self.blas = cublas.create()

    @property
    def streams(self) -> list[Call]:
        """What gives them the stream, the first of a program's addresses."""
        solver = solver_call("cusolverDnSetStream", self.solver, Slot(0))
        return [solver, blas_call("cublasSetStream_v2", self.blas, Slot(0))]

    def __del__(self) -> None:
        if sys.is_finalizing() or os.getpid() != self.process:  # a child process cannot use the device
            return
        with devices.on(self.device_id):
            if self.blas:
                cublas.destroy(self.blas)
            if self.settings:
                cusolverDn.destroy_params(self.settings)
            if self.solver and self._owned:
                cusolverDn.destroy(self.solver)


@cache
def _address(library: Any, name: str) -> int:
    return library.address(name)


def solver_call(name: str, *arguments: Any, keep: Any = None) -> Call:
    return Call(
        _address(cusolver.LIBRARY, name), arguments, name=name, returns_status=True, error=cusolver.cuSOLVERError,
        keep=keep,
    )  # fmt: skip


def blas_call(name: str, *arguments: Any, keep: Any = None) -> Call:
    return Call(
        _address(cublas.LIBRARY, name), arguments, name=name, returns_status=True, error=cublas.cuBLASError, keep=keep
    )


def runtime_call(name: str, *arguments: Any, keep: Any = None) -> Call:
    """A call of the runtime's on the stream that is a program's first address."""
    return Call(
        _address(runtime.LIBRARY, name), [*arguments, Slot(0)], name=name, returns_status=True,
        error=runtime.CUDARuntimeError, keep=keep,
    )  # fmt: skip


class Matrices(Protocol):
    """The matrices of one size and kind that a routine works on."""

    dtype: str
    rows: int
    cols: int
    count: int
    columns: int
    """Right-hand sides of each."""
    form: Form
    band: tuple[int, int]
    """Of banded ones: how many diagonals of all that are not zero are below the main one, and above it."""
    tolerance: float
    """Of those whose rank is found out: the part of the largest singular value that counts as zero."""
    kernels: Kernels
    handles: Handles
    queue: Queue

    def reserve(self, name: str, size: int) -> None:
        """Ask for so many bytes of device memory."""

    def reserve_table(self, name: str, region: str, step: int) -> None:
        """Ask for a table of addresses of each matrix's part of a region."""

    def at(self, name: str, offset: int = 0) -> int:
        """Where that is, once it is there: 'factors', 'status', 'y' (right-hand sides) always are."""


class Routine:
    """What routines have in common: they ask for memory when they are made, and make calls once it is there."""

    def __init__(self, of: Matrices):
        self.of, self.dtype, self.n, self.count, self.columns = of, of.dtype, of.rows, of.count, of.columns
        self.itemsize, self.type = ITEMSIZE[of.dtype], int(DATA_TYPE[of.dtype])
        self.letter = LETTER[of.dtype]
        self.uplo = UPPER if of.form.upper else LOWER
        of.reserve("ignored", 4)
        self.prepare()

    def prepare(self) -> None:
        """Ask for memory."""

    def factorize(self) -> list[Call]:
        raise NotImplementedError

    def solve(self, transposed: bool) -> list[Call]:
        """Turn the right-hand sides into solutions, with the transposed matrices or not."""
        raise NotImplementedError

    # For those that go through the matrices one by one.

    def each(self, make: Callable[[int], Call]) -> list[Call]:
        return [make(m) for m in range(self.count)]

    def factors(self, m: int) -> int:
        return self.of.at("factors", m * self.n * self.n * self.itemsize)

    def y(self, m: int) -> int:
        return self.of.at("y", m * self.n * self.columns * self.itemsize)

    def status(self, m: int) -> int:
        return self.of.at("status", 4 * m)

    def workspace(self, on_device: int, on_host: int) -> None:
        """Ask for a library's temporary memory, which all matrices share."""
        self.sizes = on_device, on_host
        self.on_host = pinned((on_host,), "uint8")
        self.of.reserve("workspace", on_device)

    @property
    def buffers(self) -> tuple[int, int, int, int]:
        on_device, on_host = self.sizes
        return self.of.at("workspace"), on_device, self.on_host.ctypes.data if on_host else 0, on_host

    # For those that do them all at once.

    def tables(self) -> None:
        """Ask for tables of the factors' and right-hand sides' addresses."""
        self.of.reserve_table("table of factors", "factors", self.n * self.n * self.itemsize)
        self.of.reserve_table("table of y", "y", self.n * self.columns * self.itemsize)

    def triangular(self, trans: int, unit: bool) -> Call:
        """Solve with one triangle of the factors."""
        one = np.ones(1, self.dtype)
        words = self.of.handles.blas, LEFT, self.uplo, trans, int(unit), self.n, self.columns, one.ctypes.data
        if self.count == 1:
            name = f"cublas{self.letter}trsm_v2"
            return blas_call(name, *words, self.of.at("factors"), self.n, self.of.at("y"), self.n, keep=one)
        tables = self.of.at("table of factors"), self.n, self.of.at("table of y"), self.n
        return blas_call(f"cublas{self.letter}trsmBatched", *words, *tables, self.count, keep=one)


class LU(Routine):
    """Whole matrices by cusolverDnXgetrf and Xgetrs, one by one."""

    pivot_dtype = "int64"

    def prepare(self) -> None:
        handles = self.of.handles
        self.of.reserve("pivots", 8 * self.n * self.count)
        self.workspace(*cusolverDn.xgetrf_buffer_size(
            handles.solver, handles.settings, self.n, self.n, self.type, 0, self.n, self.type
        ))  # fmt: skip

    def pivots(self, m: int) -> int:
        return self.of.at("pivots", 8 * self.n * m)

    def factorize(self) -> list[Call]:
        handles = self.of.handles
        return self.each(lambda m: solver_call(
            "cusolverDnXgetrf", handles.solver, handles.settings, self.n, self.n, self.type, self.factors(m), self.n,
            self.pivots(m), self.type, *self.buffers, self.status(m), keep=self.on_host,
        ))  # fmt: skip

    def solve(self, transposed: bool) -> list[Call]:
        handles, op = self.of.handles, TRANSPOSE if transposed else NO_TRANSPOSE
        return self.each(lambda m: solver_call(
            "cusolverDnXgetrs", handles.solver, handles.settings, op, self.n, self.columns, self.type, self.factors(m),
            self.n, self.pivots(m), self.type, self.y(m), self.n, self.of.at("ignored"),
        ))  # fmt: skip


class BatchedLU(Routine):
    """Whole matrices by cuBLAS's getrfBatched and getrsBatched."""

    pivot_dtype = "int32"

    def prepare(self) -> None:
        self.of.reserve("pivots", 4 * self.n * self.count)
        self.tables()

    def factorize(self) -> list[Call]:
        words = self.of.handles.blas, self.n, self.of.at("table of factors"), self.n, self.of.at("pivots")
        return [blas_call(f"cublas{self.letter}getrfBatched", *words, self.status(0), self.count)]

    def solve(self, transposed: bool) -> list[Call]:
        wrong = np.zeros(1, np.int32)  # which argument is, on the host
        words = (
            self.of.handles.blas, TRANSPOSE if transposed else NO_TRANSPOSE, self.n, self.columns,
            self.of.at("table of factors"), self.n, self.of.at("pivots"), self.of.at("table of y"), self.n,
            wrong.ctypes.data, self.count,
        )  # fmt: skip
        return [blas_call(f"cublas{self.letter}getrsBatched", *words, keep=wrong)]


class Cholesky(Routine):
    """Positive definite matrices by cusolverDnXpotrf and Xpotrs, one by one."""

    def prepare(self) -> None:
        handles = self.of.handles
        self.workspace(*cusolverDn.xpotrf_buffer_size(
            handles.solver, handles.settings, self.uplo, self.n, self.type, 0, self.n, self.type
        ))  # fmt: skip

    def factorize(self) -> list[Call]:
        handles = self.of.handles
        return self.each(lambda m: solver_call(
            "cusolverDnXpotrf", handles.solver, handles.settings, self.uplo, self.n, self.type, self.factors(m), self.n,
            self.type, *self.buffers, self.status(m), keep=self.on_host,
        ))  # fmt: skip

    def solve(self, transposed: bool) -> list[Call]:
        handles = self.of.handles
        return self.each(lambda m: solver_call(
            "cusolverDnXpotrs", handles.solver, handles.settings, self.uplo, self.n, self.columns, self.type,
            self.factors(m), self.n, self.type, self.y(m), self.n, self.of.at("ignored"),
        ))  # fmt: skip


class BatchedCholesky(Routine):
    """Positive definite matrices by potrfBatched, and potrsBatched, which takes one column, or trsmBatched."""

    def prepare(self) -> None:
        self.tables()

    def factorize(self) -> list[Call]:
        words = self.of.handles.solver, self.uplo, self.n, self.of.at("table of factors"), self.n, self.status(0)
        return [solver_call(f"cusolverDn{self.letter}potrfBatched", *words, self.count)]

    def solve(self, transposed: bool) -> list[Call]:
        if self.columns > 1:
            adjoint = ADJOINT, NO_TRANSPOSE
            return [self.triangular(op, False) for op in (adjoint if self.uplo == UPPER else adjoint[::-1])]
        tables = self.of.at("table of factors"), self.n, self.of.at("table of y"), self.n
        words = self.of.handles.solver, self.uplo, self.n, 1, *tables, self.of.at("ignored"), self.count
        return [solver_call(f"cusolverDn{self.letter}potrsBatched", *words)]


class BunchKaufman(Routine):
    """Symmetric matrices by sytrf and cusolverDnXsytrs, which wants wider pivots, one by one."""

    def prepare(self) -> None:
        sytrf = getattr(cusolverDn, f"{self.letter.lower()}sytrf_buffer_size")
        words = sytrf(self.of.handles.solver, self.n, 0, self.n)
        owner, somewhere = self.of.queue.allocate(8 * self.n)  # no pivots at all would stand for another factorization
        solve = cusolverDn.xsytrs_buffer_size(
            self.of.handles.solver, self.uplo, self.n, self.columns, self.type, somewhere, self.n, somewhere, self.type,
            somewhere, self.n,
        )  # fmt: skip
        del owner
        self.words = words
        self.workspace(max(words * self.itemsize, solve[0]), solve[1])
        self.of.reserve("narrow pivots", 4 * self.n * self.count)
        self.of.reserve("pivots", 8 * self.n * self.count)

    def factorize(self) -> list[Call]:
        calls = self.each(lambda m: solver_call(
            f"cusolverDn{self.letter}sytrf", self.of.handles.solver, self.uplo, self.n, self.factors(m), self.n,
            self.of.at("narrow pivots", 4 * self.n * m), self.of.at("workspace"), self.words, self.status(m),
        ))  # fmt: skip
        pivots = self.n * self.count
        parameters = record(WIDENING, source=self.of.at("narrow pivots"), target=self.of.at("pivots"), count=pivots)
        return [*calls, self.of.kernels.launch("widen", pivots, parameters)]

    def solve(self, transposed: bool) -> list[Call]:
        return self.each(lambda m: solver_call(
            "cusolverDnXsytrs", self.of.handles.solver, self.uplo, self.n, self.columns, self.type, self.factors(m),
            self.n, self.of.at("pivots", 8 * self.n * m), self.type, self.y(m), self.n, *self.buffers,
            self.of.at("ignored"), keep=self.on_host,
        ))  # fmt: skip


class QR(Routine):
    """Matrices of at least as many rows as columns by cusolverDnXgeqrf, ormqr, and cuBLAS's trsm, one by one."""

    def prepare(self) -> None:
        handles, m, n = self.of.handles, self.n, self.of.cols
        self.multiply = ("unm" if self.letter in "CZ" else "orm") + "qr"
        self.of.reserve("tau", n * self.itemsize * self.count)
        owner, somewhere = self.of.queue.allocate(self.itemsize)  # addresses that are not read
        words = getattr(cusolverDn, f"{self.letter.lower()}{self.multiply}_buffer_size")(
            handles.solver, LEFT, NO_TRANSPOSE, m, self.columns, n, somewhere, m, somewhere, somewhere, m
        )
        on_device, on_host = cusolverDn.xgeqrf_buffer_size(
            handles.solver, handles.settings, m, n, self.type, somewhere, m, self.type, somewhere, self.type
        )
        del owner
        self.words = words
        self.workspace(max(on_device, words * self.itemsize), on_host)

    def factors(self, m: int) -> int:
        return self.of.at("factors", m * self.n * self.of.cols * self.itemsize)

    def tau(self, m: int) -> int:
        return self.of.at("tau", m * self.of.cols * self.itemsize)

    def factorize(self) -> list[Call]:
        handles = self.of.handles
        return self.each(lambda m: solver_call(
            "cusolverDnXgeqrf", handles.solver, handles.settings, self.n, self.of.cols, self.type, self.factors(m),
            self.n, self.type, self.tau(m), self.type, *self.buffers, self.status(m), keep=self.on_host,
        ))  # fmt: skip

    def solve(self, transposed: bool) -> list[Call]:
        adjoint = ADJOINT if self.letter in "CZ" else TRANSPOSE
        if not transposed:
            return [*self.each(lambda m: self._reflect(m, adjoint)), *self.each(lambda m: self._solve(m, NO_TRANSPOSE))]
        # of the least norm: y = Q R⁻ᴴ b
        return [*self.each(lambda m: self._solve(m, adjoint)), *self.each(lambda m: self._reflect(m, NO_TRANSPOSE))]

    def _reflect(self, m: int, op: int) -> Call:
        return solver_call(
            f"cusolverDn{self.letter}{self.multiply}", self.of.handles.solver, LEFT, op, self.n, self.columns,
            self.of.cols, self.factors(m), self.n, self.tau(m), self.y(m), self.n, self.of.at("workspace"), self.words,
            self.of.at("ignored"),
        )  # fmt: skip

    def _solve(self, m: int, op: int) -> Call:
        one = np.ones(1, self.dtype)
        return blas_call(
            f"cublas{self.letter}trsm_v2", self.of.handles.blas, LEFT, UPPER, op, 0, self.of.cols, self.columns,
            one.ctypes.data, self.factors(m), self.n, self.y(m), self.n, keep=one,
        )  # fmt: skip


class SVD(Routine):
    """Matrices of any rank, of at least as many rows as columns, by gesvd, one by one: the rank is how many singular
    values are more than a part of the largest one, and the others' parts of solutions are left out."""

    def prepare(self) -> None:
        m, n = self.n, self.of.cols
        self.words = getattr(cusolverDn, f"{self.letter.lower()}gesvd_buffer_size")(self.of.handles.solver, m, n)
        for name, elements in (("left", m * n), ("right", n * n), ("part", n * self.columns)):
            self.of.reserve(name, elements * self.itemsize * self.count)
        self.of.reserve("values", n * self.itemsize * self.count)
        self.of.reserve("ranks", 4 * self.count)
        self.of.reserve("workspace", self.words * self.itemsize)

    def _ranking(self, count: int) -> np.ndarray:
        return record(
            RANKING, values=self.of.at("values"), ranks=self.of.at("ranks"), x=self.of.at("part"), n=self.of.cols,
            columns_of_matrix=self.columns, count=count, tolerance=self.of.tolerance,
        )  # fmt: skip

    def _own(self, name: str, m: int, elements: int) -> int:
        return self.of.at(name, m * elements * self.itemsize)

    def factorize(self) -> list[Call]:
        rows, cols, some = self.n, self.of.cols, ord("S")  # as many singular vectors as columns
        values = ITEMSIZE[REAL_OF.get(self.dtype, self.dtype)] * cols
        calls = self.each(lambda m: solver_call(
            f"cusolverDn{self.letter}gesvd", self.of.handles.solver, some, some, rows, cols,
            self._own("factors", m, rows * cols), rows, self.of.at("values", m * values),
            self._own("left", m, rows * cols), rows, self._own("right", m, cols * cols), cols, self.of.at("workspace"),
            self.words, 0, self.status(m),
        ))  # fmt: skip
        return [*calls, self.of.kernels.launch("find_ranks", self.count, self._ranking(self.count))]

    def solve(self, transposed: bool) -> list[Call]:
        rows, cols, k = self.n, self.of.cols, self.columns

        def sides(m: int) -> tuple[int, int]:
            return self._own("y", m, rows * k), rows

        def part(m: int) -> tuple[int, int]:
            return self._own("part", m, cols * k), cols

        def left(m: int) -> tuple[int, int]:
            return self._own("left", m, rows * cols), rows

        def right(m: int) -> tuple[int, int]:
            return self._own("right", m, cols * cols), cols

        if transposed:  # the adjoint is V S Uᴴ
            before = self.each(lambda m: self._multiply(NO_TRANSPOSE, cols, cols, right(m), sides(m), part(m)))
            after = self.each(lambda m: self._multiply(NO_TRANSPOSE, rows, cols, left(m), part(m), sides(m)))
        else:
            before = self.each(lambda m: self._multiply(ADJOINT, cols, rows, left(m), sides(m), part(m)))
            after = self.each(lambda m: self._multiply(ADJOINT, cols, cols, right(m), part(m), sides(m)))
        elements = cols * k * self.count
        return [*before, self.of.kernels.launch("divide_by_values", elements, self._ranking(elements)), *after]

    def _multiply(
        self, op: int, rows: int, inner: int, a: tuple[int, int], x: tuple[int, int], y: tuple[int, int]
    ) -> Call:  # fmt: skip
        one, zero = np.ones(1, self.dtype), np.zeros(1, self.dtype)
        return blas_call(
            f"cublas{self.letter}gemm_v2", self.of.handles.blas, op, NO_TRANSPOSE, rows, self.columns, inner,
            one.ctypes.data, *a, *x, zero.ctypes.data, *y, keep=(one, zero),
        )  # fmt: skip


class BandLU(Routine):
    """Matrices in a band, by kernels of planmath's own, a thread for each: LU with exchanges of rows, or of positive
    definite ones without."""

    pivot_dtype = "int32"

    def prepare(self) -> None:
        self.of.reserve("pivots", 4 * self.n * self.count)

    def _parameters(self, transposed: bool = False) -> np.ndarray:
        low, high = self.of.band
        return record(
            IN_BAND, factors=self.of.at("factors"), y=self.of.at("y"), pivots=self.of.at("pivots"),
            status=self.status(0), n=self.n, low=low, high=high, count=self.count, columns_of_matrix=self.columns,
            transposed=int(transposed), definite=int(self.of.form.kind == "pb"),
        )  # fmt: skip

    def factorize(self) -> list[Call]:
        return [self.of.kernels.launch("factorize_band", self.count, self._parameters())]

    def solve(self, transposed: bool) -> list[Call]:
        return [self.of.kernels.launch("solve_band", self.count * self.columns, self._parameters(transposed))]


class Triangular(Routine):
    """Triangular matrices, by cuBLAS's trsm and trsmBatched."""

    def prepare(self) -> None:
        self.tables()

    def factorize(self) -> list[Call]:
        return []

    def solve(self, transposed: bool) -> list[Call]:
        return [self.triangular(TRANSPOSE if transposed else NO_TRANSPOSE, self.of.form.unit)]


class Diagonal(Routine):
    """Diagonal matrices, by divisions."""

    def factorize(self) -> list[Call]:
        return []

    def solve(self, transposed: bool) -> list[Call]:
        elements = self.n * self.columns * self.count
        parameters = record(
            DIVIDING, diagonals=self.of.at("factors"), x=self.of.at("y"), n=self.n, columns_of_matrix=self.columns,
            count=elements,
        )  # fmt: skip
        return [self.of.kernels.launch("divide", elements, parameters)]


def routine_of(of: Matrices, at_once: bool, by_lu: bool, in_band: bool) -> Routine:
    """What works on matrices.

    Parameters
    ----------
    of : Matrices
    at_once : bool
        Whether several are worked on at the same time where a library has that.
    by_lu : bool
        Whether symmetric ones were expanded to whole ones.
    in_band : bool
        Whether banded ones are factorized in their bands.
    """
    kind, several = of.form.kind, at_once and of.count > 1
    if kind in BANDS and in_band:
        return BandLU(of)
    if kind == "tr":
        return Triangular(of)
    if kind == "dg":
        return Diagonal(of)
    if kind == "ls":
        return QR(of)
    if kind == "rr":
        return SVD(of)
    if kind in ("po", "pb"):
        return BatchedCholesky(of) if several else Cholesky(of)
    if kind == "sy" and not by_lu:
        return BunchKaufman(of)
    return BatchedLU(of) if several else LU(of)
