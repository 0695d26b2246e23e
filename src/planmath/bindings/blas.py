"""The Fortran interface of BLAS, which MKL, NVPL BLAS and SciPy's BLAS have: every argument is a pointer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import planmath.native.thread_limit as thread_limit
from planmath.bindings import mkl
from planmath.native.forks import computed, load_module
from planmath.native.library import Library, MissingLibraryError, in_package
from planmath.native.threads import Threads, library_threads

#: Letters of the routines' names by dtype.
LETTER = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


@dataclass(eq=False)
class BLAS:
    """One library's BLAS.

    Parameters
    ----------
    name : str
    missing : callable
        Why it cannot be used, in words, or None.
    address : callable
        From the name of a routine, such as 'dgemm', to its address; 0 where it is missing.
    version : callable
    path : callable
        The file that it was loaded from, if it is one.
    set_threads : callable
        Address of a function that takes a number of threads, and 0 for the library's own number; 0 where that cannot
        be set.
    max_threads : callable
        The number of threads it uses by itself.
    threaded_work : int
        Multiplications below which a product takes one thread, however many there are.
    sets_locally : bool
        Whether `set_threads` concerns the calling thread only.
    variables : tuple of str
        Its own environment variables for the number of threads.
    """

    name: str
    missing: Callable[[], str | None]
    address: Callable[[str], int]
    version: Callable[[], str]
    path: Callable[[], str | None]
    set_threads: Callable[[], int]
    max_threads: Callable[[], int]
    threaded_work: int
    sets_locally: bool
    variables: tuple[str, ...] = ()
    _addresses: dict[str, int] = field(default_factory=dict, init=False)

    def find(self, routine: str) -> int:
        """Address of a routine, or 0."""
        if routine not in self._addresses:
            self._addresses[routine] = self.address(routine)
        return self._addresses[routine]

    @computed
    def threads_setter(self) -> int:
        return self.set_threads()

    def threads(self) -> Threads:
        """Most threads where nobody names a number."""
        return library_threads(self.max_threads(), *self.variables)


def _mkl_address(routine: str) -> int:
    return mkl.LIBRARY.address(f"{routine}_") if mkl.LIBRARY.has(f"{routine}_") else 0


MKL = BLAS(
    "MKL", lambda: mkl.LIBRARY.missing, _mkl_address, mkl.version, lambda: mkl.LIBRARY.path,
    lambda: mkl.LIBRARY.address("MKL_Set_Num_Threads_Local"), mkl.max_threads, 1 << 15, sets_locally=True,
    variables=("MKL_NUM_THREADS",),
)  # fmt: skip


#: Seconds for which OpenBLAS's threads look for work before they sleep: 2**26 ticks of the time stamp counter (its
#: THREAD_TIMEOUT), at 2 GHz.
OPENBLAS_SPIN = 2**26 / 2e9

# SciPy's BLAS is reached by the pointers that it publishes for Cython, whatever library it was built with. Only where
# that is the OpenBLAS of SciPy's wheels is the library itself found as well, to set its number of threads.

_OPENBLAS = Library(
    "OpenBLAS",
    lambda: in_package("scipy", "scipy.libs/libscipy_openblas-*.so*", "scipy/.dylibs/libscipy_openblas*"),
    "SciPy's wheels bring it",
    requires=("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads", "scipy_openblas_get_config"),
)


def published_address(module: str, routine: str) -> int:
    """Address of a routine that one of SciPy's modules publishes for Cython; 0 where it does not."""
    capsule = load_module(module).__pyx_capi__.get(routine)
    if capsule is None:
        return 0
    api = ctypes.pythonapi
    name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", api))(capsule)
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", api))
    return get(capsule, name) or 0


def _scipy_address(routine: str) -> int:
    return published_address("scipy.linalg.cython_blas", routine)


@cache
def _scipy_version() -> str:
    if _OPENBLAS.missing:
        return f"SciPy {load_module('scipy').__version__}'s BLAS"
    config = _OPENBLAS.function("scipy_openblas_get_config", ctypes.c_char_p, [])()
    return config.decode().strip()


def _scipy_path() -> str | None:
    return load_module("scipy.linalg.cython_blas").__file__ if _OPENBLAS.missing else _OPENBLAS.path


@cache
def _openblas_limit() -> int:
    if _OPENBLAS.missing:
        return 0
    get, set_ = (_OPENBLAS.address(f"scipy_openblas_{name}_num_threads") for name in ("get", "set"))
    thread_limit.attach(get, set_)
    thread_limit.watch(thread_limit.UNLIMITED, thread_limit.unlimited())
    return thread_limit.LIMIT


def _openblas_threads() -> int:
    return thread_limit.unlimited() if _openblas_limit() else 1


SCIPY = BLAS(
    "SciPy's BLAS", lambda: None, _scipy_address, _scipy_version, _scipy_path,
    _openblas_limit, _openblas_threads, 1 << 18, sets_locally=False,
    variables=("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"),
)  # fmt: skip


_NVPL = Library(
    "NVPL BLAS",
    lambda: [*in_package("nvpl", "nvpl/lib/libnvpl_blas_lp64_gomp.so*"), "libnvpl_blas_lp64_gomp.so.0"],
    "install it on AArch64 with: pip install 'planmath[cpu]'",
    requires=("dgemm_", "nvpl_blas_set_num_threads_local"),
)


def _nvpl_address(routine: str) -> int:
    try:
        return _NVPL.address(f"{routine}_")
    except MissingLibraryError:
        return 0


NVPL = BLAS(
    "NVPL BLAS", lambda: _NVPL.missing, _nvpl_address, lambda: "unknown", lambda: _NVPL.path,
    lambda: _NVPL.address("nvpl_blas_set_num_threads_local"),
    lambda: int(_NVPL.function("nvpl_blas_get_max_threads", ctypes.c_int, [])()), 1 << 15,
    sets_locally=True,
)  # fmt: skip
