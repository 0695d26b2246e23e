"""The peers' native side: MKL through ctypes, and the number of threads MKL and PyTorch run with."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

ROW_MAJOR, NO_TRANSPOSE = 101, 111
HALF_ONE = 0x3C00  # 1.0 in IEEE half precision

# routine: the ctypes type and the values of alpha = 1 and beta = 0 (MKL takes a half as its 16 bits)
GEMM_SCALARS: dict[str, tuple[Any, float, float]] = {
    "cblas_sgemm": (ctypes.c_float, 1.0, 0.0),
    "cblas_dgemm": (ctypes.c_double, 1.0, 0.0),
    "cblas_hgemm": (ctypes.c_ushort, HALF_ONE, 0),
    "cblas_gemm_f16f16f32": (ctypes.c_float, 1.0, 0.0),
    "cblas_gemm_bf16bf16f32": (ctypes.c_float, 1.0, 0.0),
}


def load_in_order() -> list[str]:
    """Load the libraries whose order of loading decides what is measured; in words, those that are not there.

    pyFFTW before MKL: MKL exports FFTW's functions under their own names, and makes its names global at its first call.
    A pyFFTW that is loaded later finds them before its own, and would have MKL do its work.

    MKL before torch: it binds its threading layer at its first call, and prefers GNU's OpenMP, which torch brings, to
    its own. A program without torch has the latter.
    """
    missing = []
    for load in (partial(importlib.import_module, "pyfftw"), mkl):
        try:
            load()
        except (ImportError, OSError) as error:
            missing.append(str(error))
    return missing


@cache
def mkl() -> ctypes.CDLL:
    """The MKL runtime of this environment, its threading layer bound."""
    for file in importlib.metadata.files("mkl") or ():
        if file.name.startswith(("libmkl_rt.so", "mkl_rt.")):
            library = ctypes.CDLL(str(file.locate()))
            library.MKL_Get_Max_Threads()  # any call would do
            return library
    raise ImportError("the package mkl is installed without its runtime library mkl_rt")


@contextmanager
def mkl_threads(number: int) -> Iterator[None]:
    """MKL's threads in the calling thread."""
    before = mkl().MKL_Set_Num_Threads_Local(number)
    try:
        yield
    finally:
        mkl().MKL_Set_Num_Threads_Local(before)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """PyTorch's threads. Its setting can reach MKL through the OpenMP they share, so it must be put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gemm(routine: str, a: int, b: int, c: int, m: int, n: int, k: int) -> tuple[Any, tuple[Any, ...]]:
    """A routine of MKL and its arguments for C = A @ B, all C-contiguous and given by their addresses.

    The arguments are ctypes objects already, so that a call converts nothing.
    """
    scalar, one, zero = GEMM_SCALARS[routine]
    function = mkl()[routine]
    function.restype = None
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    layout = (integer(ROW_MAJOR), integer(NO_TRANSPOSE), integer(NO_TRANSPOSE))
    extents = (integer(m), integer(n), integer(k))
    left, right, result = (pointer(a), integer(k)), (pointer(b), integer(n)), (pointer(c), integer(n))
    return function, (*layout, *extents, scalar(one), *left, *right, scalar(zero), *result)


def pardiso(
    a: Any, b: Any, x: Any, kind: int, parameters: dict[int, int], stack: ExitStack
) -> tuple[Any, tuple[Any, ...]]:
    """PARDISO and its arguments for solving once more with a matrix that it has factorized (phase 33).

    Parameters
    ----------
    a, b, x
        A CSR matrix of float64 and int32, of a symmetric one the upper triangle with a whole diagonal; dense vectors.
    kind
        Its ``mtype``.
    parameters
        ``iparm``, by numbers counted from 0, where it is not 0; indices are counted from 0 in any case.
    stack
        Frees what PARDISO keeps.
    """
    import numpy as np

    handle, iparm = np.zeros(64, np.int64), np.zeros(64, np.int32)
    for number, value in {0: 1, 34: 1, **parameters}.items():
        iparm[number] = value
    one, mtype, quiet = (ctypes.byref(ctypes.c_int(value)) for value in (1, kind, 0))
    n, error, unused = ctypes.c_int(a.shape[0]), ctypes.c_int(0), np.zeros(1, np.int32)
    at = [ctypes.c_void_p(array.ctypes.data) for array in (handle, a.data, a.indptr, a.indices, unused, iparm, b, x)]

    def arguments(phase: int) -> tuple[Any, ...]:
        return (
            at[0], one, one, mtype, ctypes.byref(ctypes.c_int(phase)), ctypes.byref(n), *at[1:5], one, at[5], quiet,
            *at[6:], ctypes.byref(error),
        )  # fmt: skip

    function = mkl().pardiso
    for phase in (11, 22):
        function(*arguments(phase))
        if error.value:
            raise RuntimeError(f"pardiso failed in phase {phase} with error {error.value}")
    stack.callback(lambda: (handle, iparm, unused, a))  # what the addresses point to, until the last call is made
    stack.callback(function, *arguments(-1))
    return function, arguments(33)
