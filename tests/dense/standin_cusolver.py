"""A stand-in for cuSOLVER and cuBLAS on that for the CUDA runtime: what the provider asks for is done by LAPACK.

It has the libraries' rules: memory is the device's, but for status numbers and temporary memory that are the host's;
Xgetrf has pivots of 64 bits and getrfBatched of 32; potrsBatched takes one column; workspaces have the size that was
asked for.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from typing import Any

import numpy as np
import scipy.linalg

from planmath.bindings import cublas, cusolver

DEVICE = 1 << 56
INVALID, EXECUTION_FAILED = 3, 6
DTYPES = {0: np.float32, 1: np.float64, 4: np.complex64, 5: np.complex128}
LETTERS = {"S": np.float32, "D": np.float64, "C": np.complex64, "Z": np.complex128}
UPPER = 1
#: Bytes on the device, and on the host.
WORKSPACE = 256, 64
NAME = re.compile(r"(?:cusolverDn|cublas)(\w+?)(?:_v2)?$")


class Failure(Exception):
    pass


def address(word: int) -> int:
    """Where memory of the device is on the host."""
    if not word & DEVICE:
        raise Failure(EXECUTION_FAILED)
    return word & (DEVICE - 1)


def matrix(word: int, rows: int, cols: int, leading: int, dtype: Any) -> np.ndarray:
    size = np.dtype(dtype).itemsize
    memory = (ctypes.c_char * (size * leading * max(cols, 1))).from_address(address(word))
    return np.ndarray((rows, cols), dtype, memory, 0, (size, size * leading))


def vector(word: int, n: int, dtype: Any) -> np.ndarray:
    return matrix(word, n, 1, n, dtype)[:, 0]


def lapack(name: str, dtype: Any) -> Any:
    (found,) = scipy.linalg.get_lapack_funcs((name,), dtype=dtype)
    return found


class StandIn:
    """The libraries: their functions by name, and how often each was called."""

    def __init__(self) -> None:
        self.objects: set[int] = set()
        self.numbers = itertools.count(1000)
        self.calls: list[str] = []
        self.made: dict[str, Any] = {}
        self.streams: dict[int, int] = {}

    def __getitem__(self, symbol: str) -> Any:
        if symbol not in self.made:
            match = NAME.match(symbol)
            name = "property" if symbol.endswith("GetProperty") else match[1] if match else ""
            leading: tuple[Any, ...] = ()
            if not hasattr(type(self), name):
                leading, name = (LETTERS.get(name[:1]),), name[1:]
                if not leading[0] or not hasattr(type(self), name):
                    raise AttributeError(symbol)
            method = getattr(self, name)
            count = method.__code__.co_argcount - 1 - len(leading)

            def call(*words: int) -> int:
                self.calls.append(symbol)
                try:
                    return method(*leading, *words) or 0
                except Failure as failure:
                    return failure.args[0]

            self.made[symbol] = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *[ctypes.c_ssize_t] * count)(call)
        return self.made[symbol]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cu"):
            return self[name]
        raise AttributeError(name)

    def property(self, part: int, where: int) -> None:
        ctypes.c_int.from_address(where).value = (12, 0, 4)[part]

    # Objects.

    def Create(self, where: int) -> None:
        number = next(self.numbers)
        self.objects.add(number)
        ctypes.c_ssize_t.from_address(where).value = number

    def Destroy(self, handle: int) -> None:
        self.objects.remove(handle)

    def CreateParams(self, where: int) -> None:
        self.Create(where)

    def DestroyParams(self, params: int) -> None:
        self.objects.remove(params)

    def SetStream(self, handle: int, stream: int) -> None:
        self.known(handle)
        self.streams[handle] = stream

    def known(self, *handles: int) -> None:
        if not self.objects.issuperset(handles):
            raise Failure(1)

    def sizes(self, device: int, host: int) -> None:
        for where, size in zip((device, host), WORKSPACE, strict=True):
            ctypes.c_size_t.from_address(where).value = size

    def check(self, on_device: int, device_size: int, on_host: int, host_size: int) -> None:
        if (device_size, host_size) != WORKSPACE or on_host & DEVICE or not on_host:
            raise Failure(INVALID)
        address(on_device)

    # LU.

    def Xgetrf_bufferSize(
        self, handle: int, params: int, m: int, n: int, a_type: int, a: int, lda: int, compute: int, device: int,
        host: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        self.sizes(device, host)

    def Xgetrf(
        self, handle: int, params: int, m: int, n: int, a_type: int, a: int, lda: int, pivots: int, compute: int,
        on_device: int, device_size: int, on_host: int, host_size: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        self.check(on_device, device_size, on_host, host_size)
        if a_type != compute:
            raise Failure(INVALID)
        vector(info, 1, np.int32)[0] = self.factorize(
            matrix(a, m, n, lda, DTYPES[a_type]), vector(pivots, n, np.int64)
        )

    def factorize(self, a: np.ndarray, pivots: np.ndarray) -> int:
        lu, found, info = lapack("getrf", a.dtype)(a)
        a[...] = lu
        pivots[...] = found + 1
        return info

    def solve(self, op: int, a: np.ndarray, pivots: np.ndarray, b: np.ndarray) -> None:
        x = lapack("getrs", a.dtype)(a, pivots.astype(np.int32) - 1, b, trans=op)[0]
        b[...] = x

    def Xgetrs(
        self, handle: int, params: int, op: int, n: int, columns: int, a_type: int, a: int, lda: int, pivots: int,
        b_type: int, b: int, ldb: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        dtype = DTYPES[a_type]
        self.solve(op, matrix(a, n, n, lda, dtype), vector(pivots, n, np.int64), matrix(b, n, columns, ldb, dtype))
        vector(info, 1, np.int32)[0] = 0

    def getrfBatched(self, dtype: Any, handle: int, n: int, table: int, lda: int, pivots: int, info: int, count: int):
        self.known(handle)
        own = vector(pivots, n * count, np.int32).reshape(count, n)
        for m, a in enumerate(vector(table, count, np.int64)):
            vector(info, count, np.int32)[m] = self.factorize(matrix(int(a), n, n, lda, dtype), own[m])

    def getrsBatched(
        self, dtype: Any, handle: int, op: int, n: int, columns: int, table: int, lda: int, pivots: int, sides: int,
        ldb: int, info: int, count: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        if info & DEVICE:
            raise Failure(INVALID)
        ctypes.c_int.from_address(info).value = 0
        own = vector(pivots, n * count, np.int32).reshape(count, n)
        both = (vector(where, count, np.int64) for where in (table, sides))
        for a, b, found in zip(*both, own, strict=True):
            self.solve(op, matrix(int(a), n, n, lda, dtype), found, matrix(int(b), n, columns, ldb, dtype))

    # Cholesky.

    def Xpotrf_bufferSize(
        self, handle: int, params: int, uplo: int, n: int, a_type: int, a: int, lda: int, compute: int, device: int,
        host: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        self.sizes(device, host)

    def cholesky(self, uplo: int, a: np.ndarray) -> int:
        factor, info = lapack("potrf", a.dtype)(a, lower=uplo != UPPER, clean=False)
        a[...] = factor
        return info

    def Xpotrf(
        self, handle: int, params: int, uplo: int, n: int, a_type: int, a: int, lda: int, compute: int, on_device: int,
        device_size: int, on_host: int, host_size: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        self.check(on_device, device_size, on_host, host_size)
        vector(info, 1, np.int32)[0] = self.cholesky(uplo, matrix(a, n, n, lda, DTYPES[a_type]))

    def Xpotrs(
        self, handle: int, params: int, uplo: int, n: int, columns: int, a_type: int, a: int, lda: int, b_type: int,
        b: int, ldb: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        vector(info, 1, np.int32)[0] = 0
        side = matrix(b, n, columns, ldb, DTYPES[b_type])
        side[...] = lapack("potrs", side.dtype)(matrix(a, n, n, lda, DTYPES[a_type]), side, lower=uplo != UPPER)[0]

    def potrfBatched(self, dtype: Any, handle: int, uplo: int, n: int, table: int, lda: int, info: int, count: int):
        self.known(handle)
        for m, a in enumerate(vector(table, count, np.int64)):
            vector(info, count, np.int32)[m] = self.cholesky(uplo, matrix(int(a), n, n, lda, dtype))

    def potrsBatched(
        self, dtype: Any, handle: int, uplo: int, n: int, columns: int, table: int, lda: int, sides: int, ldb: int,
        info: int, count: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        if columns != 1:
            raise Failure(INVALID)
        both = (vector(where, count, np.int64) for where in (table, sides))
        for a, b in zip(*both, strict=True):
            side = matrix(int(b), n, 1, ldb, dtype)
            side[...] = lapack("potrs", dtype)(matrix(int(a), n, n, lda, dtype), side, lower=uplo != UPPER)[0]
        vector(info, 1, np.int32)[0] = 0

    # Symmetric matrices.

    def sytrf_bufferSize(self, dtype: Any, handle: int, n: int, a: int, lda: int, where: int) -> None:
        self.known(handle)
        ctypes.c_int.from_address(where).value = 16

    def sytrf(
        self, dtype: Any, handle: int, uplo: int, n: int, a: int, lda: int, pivots: int, work: int, words: int,
        info: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        address(work)
        if words != 16:
            raise Failure(INVALID)
        there = matrix(a, n, n, lda, dtype)
        factor, found, status = lapack("sytrf", dtype)(there, lower=uplo != UPPER)
        there[...] = factor
        vector(pivots, n, np.int32)[...] = found
        vector(info, 1, np.int32)[0] = status

    def Xsytrs_bufferSize(
        self, handle: int, uplo: int, n: int, columns: int, a_type: int, a: int, lda: int, pivots: int, b_type: int,
        b: int, ldb: int, device: int, host: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        address(pivots)
        self.sizes(device, host)

    def Xsytrs(
        self, handle: int, uplo: int, n: int, columns: int, a_type: int, a: int, lda: int, pivots: int, b_type: int,
        b: int, ldb: int, on_device: int, device_size: int, on_host: int, host_size: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        if device_size < WORKSPACE[0] or on_host & DEVICE or host_size != WORKSPACE[1]:
            raise Failure(INVALID)
        address(on_device)
        vector(info, 1, np.int32)[0] = 0
        side = matrix(b, n, columns, ldb, DTYPES[b_type])
        found = vector(pivots, n, np.int64).astype(np.int32)
        factor = matrix(a, n, n, lda, DTYPES[a_type])
        side[...] = lapack("sytrs", side.dtype)(factor, found, side, lower=uplo != UPPER)[0]

    # QR.

    def Xgeqrf_bufferSize(
        self, handle: int, params: int, m: int, n: int, a_type: int, a: int, lda: int, tau_type: int, tau: int,
        compute: int, device: int, host: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        self.sizes(device, host)

    def Xgeqrf(
        self, handle: int, params: int, m: int, n: int, a_type: int, a: int, lda: int, tau_type: int, tau: int,
        compute: int, on_device: int, device_size: int, on_host: int, host_size: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle, params)
        if device_size < WORKSPACE[0] or on_host & DEVICE or host_size != WORKSPACE[1] or lda < m:
            raise Failure(INVALID)
        address(on_device)
        there = matrix(a, m, n, lda, DTYPES[a_type])
        found, scales, _, status = lapack("geqrf", there.dtype)(there)
        there[...] = found
        vector(tau, min(m, n), there.dtype)[...] = scales
        vector(info, 1, np.int32)[0] = status

    def ormqr_bufferSize(
        self, dtype: Any, handle: int, side: int, op: int, m: int, n: int, k: int, a: int, lda: int, tau: int, c: int,
        ldc: int, where: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        ctypes.c_int.from_address(where).value = 128

    def ormqr(
        self, dtype: Any, handle: int, side: int, op: int, m: int, n: int, k: int, a: int, lda: int, tau: int, c: int,
        ldc: int, work: int, words: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        address(work)
        is_complex = np.dtype(dtype).kind == "c"
        if side or words != 128 or op == (1 if is_complex else 2):
            raise Failure(INVALID)
        factor, there = matrix(a, m, k, lda, dtype), matrix(c, m, n, ldc, dtype)
        name, trans = ("unmqr", "C") if is_complex else ("ormqr", "T")
        reflect = lapack(name, dtype)
        found, _, status = reflect("L", trans if op else "N", factor, vector(tau, k, dtype), there, max(64 * n, 1))
        there[...] = found
        vector(info, 1, np.int32)[0] = status

    unmqr_bufferSize, unmqr = ormqr_bufferSize, ormqr

    # Singular values.

    def gesvd_bufferSize(self, dtype: Any, handle: int, m: int, n: int, where: int) -> None:
        self.known(handle)
        if m < n:
            raise Failure(INVALID)
        ctypes.c_int.from_address(where).value = 64

    def gesvd(
        self, dtype: Any, handle: int, some: int, of_both: int, m: int, n: int, a: int, lda: int, values: int, u: int,
        ldu: int, vt: int, ldvt: int, work: int, words: int, superdiagonals: int, info: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        address(work)
        if m < n or some != ord("S") or of_both != ord("S") or words != 64 or superdiagonals:
            raise Failure(INVALID)
        there = matrix(a, m, n, lda, dtype)
        left, found, right, status = lapack("gesvd", dtype)(there, full_matrices=0)
        there[...] = np.nan
        matrix(u, m, n, ldu, dtype)[...] = left
        matrix(vt, n, n, ldvt, dtype)[...] = right
        vector(values, n, found.dtype)[...] = found
        vector(info, 1, np.int32)[0] = status

    # Products.

    def gemm(
        self, dtype: Any, handle: int, op_a: int, op_b: int, m: int, n: int, k: int, alpha: int, a: int, lda: int,
        b: int, ldb: int, beta: int, c: int, ldc: int,
    ) -> None:  # fmt: skip
        self.gemmStridedBatched(dtype, handle, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)

    def gemmStridedBatched(
        self, dtype: Any, handle: int, op_a: int, op_b: int, m: int, n: int, k: int, alpha: int, a: int, lda: int,
        a_step: int, b: int, ldb: int, b_step: int, beta: int, c: int, ldc: int, c_step: int, count: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        if op_b or alpha & DEVICE or beta & DEVICE:
            raise Failure(INVALID)
        size = np.dtype(dtype).itemsize
        memory = ctypes.c_char * size
        one, other = (np.frombuffer(memory.from_address(x), dtype)[0] for x in (alpha, beta))
        for i in range(count):
            rows, cols = (m, k) if op_a == 0 else (k, m)
            left = matrix(a + i * a_step * size, rows, cols, lda, dtype)
            left = (left, left.T, left.conj().T)[op_a]
            right, there = (matrix(x + i * step * size, r, n, ld, dtype) for x, step, r, ld in (
                (b, b_step, k, ldb), (c, c_step, m, ldc)
            ))
            there[...] = one * (left @ right) + (other * there if other else 0)  # which is not read otherwise

    # Triangles.

    def triangle(self, uplo: int, op: int, unit: int, a: np.ndarray, b: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            x, info = lapack("trtrs", a.dtype)(a, b, lower=uplo != UPPER, trans=op, unitdiag=unit)
        b[...] = np.inf if info else x

    def trsm(
        self, dtype: Any, handle: int, side: int, uplo: int, op: int, unit: int, m: int, n: int, alpha: int, a: int,
        lda: int, b: int, ldb: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        if side or alpha & DEVICE or lda < m or ldb < m:
            raise Failure(INVALID)
        self.triangle(uplo, op, unit, matrix(a, m, m, lda, dtype), matrix(b, m, n, ldb, dtype))

    def trsmBatched(
        self, dtype: Any, handle: int, side: int, uplo: int, op: int, unit: int, m: int, n: int, alpha: int, table: int,
        lda: int, sides: int, ldb: int, count: int,
    ) -> None:  # fmt: skip
        self.known(handle)
        both = (vector(where, count, np.int64) for where in (table, sides))
        for a, b in zip(*both, strict=True):
            self.triangle(uplo, op, unit, matrix(int(a), m, m, lda, dtype), matrix(int(b), m, n, ldb, dtype))


def install() -> StandIn:
    """Let planmath find the stand-in in the place of both libraries."""
    standin = StandIn()
    for library in (cusolver.LIBRARY, cublas.LIBRARY):
        vars(library).update(missing=None, _handle=standin, path="stand-in")
    return standin
