"""Intel oneMKL: the functions that planmath uses of it."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import planmath.native.thread_limit as thread_limit
from planmath.native.library import Library, in_environment, in_package
from planmath.native.threads import Threads, library_threads

#: Layers by the numbers of oneMKL's developer reference (mkl_set_interface_layer, mkl_set_threading_layer): integers of
#: 32 and 64 bits; Intel's OpenMP and GNU's.
LP64, ILP64 = 0, 1
INTEL, GNU = 0, 3


def _start(handle: ctypes.CDLL) -> str | None:
    """Choose MKL's layers, then let first calls load them, with the kernels for this processor and OpenMP's runtime.

    Without that the environment would choose, and MKL ends the process where it does not find what that names; and a
    fork could come in between.
    """
    if handle.MKL_Set_Interface_Layer(LP64) & ILP64:
        return (
            "another package has called it before, with integers of 64 bits, and planmath's have 32; unset "
            "MKL_INTERFACE_LAYER, or let planmath compute first"
        )
    if os.environ.get("MKL_THREADING_LAYER", "").upper() == "TBB":
        # whose threads no child has, and whose library MKL may not find; so what it takes without the variable
        handle.MKL_Set_Threading_Layer(GNU if _has_gnu_runtime() else INTEL)
    n, x = ctypes.byref(ctypes.c_int(1)), ctypes.byref(ctypes.c_double(0))
    usual = handle.MKL_Get_Max_Threads()
    handle.dgemm_(b"N", b"N", n, n, n, x, x, n, x, n, x, x, n)
    thread_limit.watch(ctypes.cast(handle.MKL_Get_Max_Threads, ctypes.c_void_p).value or 0, usual)
    return None


def _has_gnu_runtime() -> bool:
    """Whether GNU's OpenMP runtime is there under its own name, which is what MKL goes by."""
    try:
        ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:
        return False
    return True


LIBRARY = Library(
    "MKL",
    lambda: [*in_environment("libmkl_rt.so*"), *in_package("mkl", "mkl*.data/data/lib/libmkl_rt.so*"), "libmkl_rt.so.3",
             "libmkl_rt.so.2", "libmkl_rt.so"],
    "install it with: pip install 'planmath[cpu]'",
    requires=("fftw_execute_dft", "dgemm_", "MKL_Set_Num_Threads_Local", "MKL_Set_Interface_Layer"),
    start=_start,
)  # fmt: skip

#: Seconds for which the threads of Intel's OpenMP runtime go on spinning after a parallel region (KMP_BLOCKTIME's
#: default is 200 ms).
BLOCK_TIME = 0.2


@cache
def version() -> str:
    """MKL's version, such as '2026.2'.

    `mkl_get_version` fills a structure that starts with the major, minor and update numbers (oneMKL's developer
    reference, Support Functions).
    """
    numbers = (ctypes.c_int * 64)()
    LIBRARY.function("mkl_get_version", None, [ctypes.c_void_p])(numbers)
    return ".".join(str(n) for n in numbers[:3])


def max_threads() -> int:
    """The number of threads MKL would use by itself."""
    return int(LIBRARY.function("MKL_Get_Max_Threads", ctypes.c_int, [])())


def threads() -> Threads:
    """Most threads where nobody names a number."""
    return library_threads(max_threads(), "MKL_NUM_THREADS")
