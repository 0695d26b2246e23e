"""Intel oneMKL: the functions that planmath uses of it."""

from __future__ import annotations

import ctypes
from functools import cache

from planmath.native.library import Library, in_environment, in_package

LIBRARY = Library(
    "MKL",
    lambda: [*in_environment("libmkl_rt.so*"), *in_package("mkl", "mkl*.data/data/lib/libmkl_rt.so*"), "libmkl_rt.so.3",
             "libmkl_rt.so.2", "libmkl_rt.so"],
    "install it with: pip install 'planmath[cpu]'",
    requires=("fftw_execute_dft", "dgemm_", "MKL_Set_Num_Threads_Local"),
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


def threads() -> int:
    """The number of threads MKL would use by itself."""
    return int(LIBRARY.function("MKL_Get_Max_Threads", ctypes.c_int, [])())
