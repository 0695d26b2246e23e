"""The routines of cuSOLVER and cuBLAS that blocks are factorized by, each on one column-major array of a device."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from planmath.bindings import cublas, cusolverDn, runtime
from planmath.core.collective.bench import Bench
from planmath.core.cuda.device_arrays import pinned
from planmath.linalg.solver.providers.cusolver_routines import DATA_TYPE, LETTER, Handles

#: cuBLAS's enumerations.
NO_TRANSPOSE, ADJOINT, LEFT, RIGHT, LOWER, UPPER = 0, 2, 0, 1, 0, 1


class DeviceRoutines:
    """`Routines` for arrays on a device.

    Parameters
    ----------
    dtype : str
    bench : Bench
        In whose package's arrays, and on whose device.
    """

    def __init__(self, dtype: str, bench: Bench):
        self._package, self._space = bench.package, bench.space
        self._tril = import_module(bench.package.name).tril
        self._queue = bench.space.queue  # type: ignore[attr-defined]
        self._handles = Handles(self._queue, None)
        self._type = int(DATA_TYPE[dtype])
        self._letter = letter = LETTER[dtype].lower()
        self._getrf, self._laswp = getattr(cusolverDn, f"{letter}getrf"), getattr(cusolverDn, f"{letter}laswp")
        self._trsm, self._gemm = getattr(cublas, f"{letter}trsm"), getattr(cublas, f"{letter}gemm")
        self._one, self._minus = np.ones(1, dtype), np.full(1, -1, dtype)
        self._memory: Any = None
        #: What `factorize_beside` has: handles of its own, for those of one stream have memory that others may not use.
        self._beside: tuple[Handles, Any] | None = None
        self._room = 0
        self._words: Any = None
        self._pivots = np.empty(0, np.int64)

    def limit(self, on: bool) -> None:
        """Begin to put work on the stream of the execution."""
        if on:
            cusolverDn.set_stream(self._handles.solver, self._queue.stream)
            cublas.set_stream(self._handles.blas, self._queue.stream)

    def _workspace(self, size: int) -> int:
        if self._memory is None or size > self._room:
            self._memory, self._room = self._space.memory(size), size
        return int(self._memory.address)

    def _told(self, count: int) -> tuple[int, np.ndarray]:
        """Memory of the device for pivots and a status behind them, and where they come to on the host."""
        if self._pivots.size < count + 1:
            self._words, self._pivots = self._space.memory(8 * (count + 1)), pinned((count + 1,), "int64")
        return int(self._words.address), self._pivots

    def _bring(self, count: int) -> np.ndarray:
        address, host = self._told(count)
        kind = runtime.MemcpyKind.DEVICE_TO_HOST
        runtime.memcpy_async(host.ctypes.data, address, 8 * (count + 1), kind, self._queue.stream)
        runtime.stream_synchronize(self._queue.stream)
        return host

    def getrf(self, a: Any) -> tuple[Any, np.ndarray, int]:
        """The factors in the place of a, the pivots, and the order of a minor that is 0, or 0."""
        (m, n), at, h = a.shape, self._package.address(a), self._handles
        on_device, on_host = cusolverDn.xgetrf_buffer_size(h.solver, h.settings, m, n, self._type, at, m, self._type)
        host = np.empty(on_host, np.uint8)
        pivots, _ = self._told(n)
        workspace = self._workspace(on_device)
        cusolverDn.xgetrf(
            h.solver, h.settings, m, n, self._type, at, m, pivots, self._type, workspace, on_device,
            host.ctypes.data, on_host, pivots + 8 * n,
        )  # fmt: skip
        told = self._bring(n)
        return a, told[:n] - 1, max(int(told[n : n + 1].view(np.int32)[0]), 0)

    def make_room(self, shapes: Sequence[tuple[int, int]], example: int) -> None:
        """Have the workspace that panels of some shapes take in `factorize_beside`."""
        handles, size = Handles(self._queue, None), getattr(cusolverDn, f"{self._letter}getrf_buffer_size")
        most = max(size(handles.solver, m, n, example, m) for m, n in shapes)
        self._beside = handles, self._space.memory(most * self._one.itemsize)

    def factorize_beside(self, stream: int, a: Any, pivots: int, status: int) -> None:
        """Factorize a panel on another stream; pivots, from 1, and status are left on the device, 32 bits each."""
        assert self._beside is not None
        (m, n), (handles, workspace) = a.shape, self._beside
        cusolverDn.set_stream(handles.solver, stream)
        self._getrf(handles.solver, m, n, self._package.address(a), m, workspace.address, pivots, status)

    def swap(self, a: Any, pivots: int, count: int) -> None:
        """Exchange the first rows with those that pivots on the device say."""
        rows, columns = a.shape
        if rows and columns:
            self._laswp(
                self._handles.solver, columns, self._package.address(a), self._leading(a), 1, count, pivots, 1
            )  # fmt: skip

    def potrf(self, a: Any) -> tuple[Any, int]:
        """The lower factor, with zeros above it, and the order of a minor that is not positive, or 0."""
        n, at, h = a.shape[0], self._package.address(a), self._handles
        on_device, on_host = cusolverDn.xpotrf_buffer_size(
            h.solver, h.settings, LOWER, n, self._type, at, n, self._type
        )
        host = np.empty(on_host, np.uint8)
        status, _ = self._told(0)
        workspace = self._workspace(on_device)
        cusolverDn.xpotrf(
            h.solver, h.settings, LOWER, n, self._type, at, n, self._type, workspace, on_device, host.ctypes.data,
            on_host, status,
        )  # fmt: skip
        info = int(self._bring(0)[:1].view(np.int32)[0])
        a[...] = self._tril(a)
        return a, max(info, 0)

    def trsm(self, triangle: Any, b: Any, *, lower: bool, unit: bool = False, adjoint: bool = False) -> Any:
        """What b is with the inverse of a triangle, or of its conjugate transpose, to the left of it."""
        operation = ADJOINT if adjoint else NO_TRANSPOSE
        return self._solve(LEFT, LOWER if lower else UPPER, operation, unit, triangle, b)

    def trsm_right(self, triangle: Any, b: Any) -> Any:
        """What b is with the inverse of a lower triangle's conjugate transpose to the right of it."""
        return self._solve(RIGHT, LOWER, ADJOINT, False, triangle, b)

    def _solve(self, side: int, uplo: int, operation: int, unit: bool, triangle: Any, b: Any) -> Any:
        if 0 not in b.shape:
            (m, n), address = b.shape, self._package.address
            self._trsm(
                self._handles.blas, side, uplo, operation, int(unit), m, n, self._one.ctypes.data, address(triangle),
                self._leading(triangle), address(b), self._leading(b),
            )  # fmt: skip
        return b

    def subtract_product(self, c: Any, a: Any, b: Any) -> None:
        """Subtract ``a @ b`` from c; columns may have gaps between them."""
        (m, k), n = a.shape, b.shape[1]
        if not (m and n and k):
            return
        address = self._package.address
        self._gemm(
            self._handles.blas, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, self._minus.ctypes.data, address(a),
            self._leading(a), address(b), self._leading(b), self._one.ctypes.data, address(c), self._leading(c),
        )  # fmt: skip

    def _leading(self, array: Any) -> int:
        rows = array.shape[0]
        return max(self._package.layout(array, "a block").strides[1] if array.shape[1] > 1 else rows, rows, 1)
