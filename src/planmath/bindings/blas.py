"""The Fortran interface of BLAS, which MKL, NVPL BLAS and OpenBLAS have: every argument is a pointer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import planmath.native.thread_limit as thread_limit
from planmath.bindings import mkl
from planmath.native.forks import computed, load_module
from planmath.native.library import Library, MissingLibraryError, in_package
from planmath.native.threads import Threads, library_threads

#: What numbers are passed in: libraries with integers of 32 bits read the lower half of it, which comes first on all
#: processors that planmath runs on.
INTEGER = ctypes.c_int64

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

#: Where OpenBLAS's routines are expected to be faster than MKL's: on processors with this in their names. Large
#: products of float64 took 5 to 9 % less time there (Zen 3), triangular ones 38 % (Zen 4).
OPENBLAS_FIRST = "AMD"

# Products of OpenBLAS are those of NumPy's own, where its wheel brings one: what a program multiplies by NumPy and by
# planmath shares one pool of threads then, and neither meets the other's while they look for work. Otherwise, and for
# what stands on LAPACK, SciPy's BLAS is reached by the pointers that it publishes for Cython, whatever library it was
# built with. Only where that is the OpenBLAS of SciPy's wheels is the library itself found as well, to set its number
# of threads.


@dataclass(frozen=True)
class _OpenBLAS:
    """The OpenBLAS of a wheel, the pattern of its routines' names, and how those of its other functions end."""

    library: Library
    routine: str
    suffix: str
    number: int
    """Of the library, in `native.thread_limit`."""

    def function(self, name: str, result: Any, arguments: Sequence[Any] = ()) -> Callable[..., Any]:
        return self.library.function(f"scipy_openblas_{name}{self.suffix}", result, arguments)

    def address(self, name: str) -> int:
        return self.library.address(f"scipy_openblas_{name}{self.suffix}")

    def version(self) -> str:
        return bytes(self.function("get_config", ctypes.c_char_p)()).decode().strip()

    @computed
    def limit(self) -> int:
        thread_limit.attach(self.number, self.address("get_num_threads"), self.address("set_num_threads"))
        thread_limit.watch(thread_limit.UNLIMITED[self.number], thread_limit.unlimited(self.number))
        return thread_limit.LIMIT[self.number]

    def threads(self) -> int:
        return thread_limit.unlimited(self.number) if self.limit else 1


def _wheel(package: str, files: Sequence[str], routine: str, suffix: str, number: int) -> _OpenBLAS:
    required = tuple(f"scipy_openblas_{name}{suffix}" for name in ("set_num_threads", "get_num_threads", "get_config"))
    found = Library(
        "OpenBLAS", lambda: in_package(package.lower(), *files), f"{package}'s wheels bring it", requires=required
    )
    return _OpenBLAS(found, routine, suffix, number)


_NUMPYS = _wheel(
    "NumPy", ("numpy.libs/libscipy_openblas64_*.so*", "numpy/.dylibs/libscipy_openblas64_*"), "scipy_{}_64_", "64_", 0
)
_SCIPYS = _wheel("SciPy", ("scipy.libs/libscipy_openblas-*.so*", "scipy/.dylibs/libscipy_openblas*"), "", "", 1)


def published_address(module: str, routine: str) -> int:
    """Address of a routine that one of SciPy's modules publishes for Cython; 0 where it does not."""
    capsule = load_module(module).__pyx_capi__.get(routine)
    if capsule is None:
        return 0
    api = ctypes.pythonapi
    name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", api))(capsule)
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", api))
    return get(capsule, name) or 0


def _openblas(name: str, *wheels: _OpenBLAS) -> BLAS:
    """The first OpenBLAS whose number of threads is known; where no wheel brought one, what SciPy publishes."""

    @cache
    def used() -> _OpenBLAS | None:
        return next((of for of in wheels if of.library.missing is None), None)

    def address(routine: str) -> int:
        if (found := used()) is not None and found.routine:
            name = found.routine.format(routine)
            return found.library.address(name) if found.library.has(name) else 0
        return published_address("scipy.linalg.cython_blas", routine)

    @cache
    def version() -> str:
        return f"SciPy {load_module('scipy').__version__}'s BLAS" if (found := used()) is None else found.version()

    def path() -> str | None:
        found = used()
        return load_module("scipy.linalg.cython_blas").__file__ if found is None else found.library.path

    return BLAS(
        name, lambda: None, address, version, path,
        lambda: 0 if (found := used()) is None else found.limit,
        lambda: 1 if (found := used()) is None else found.threads(), 1 << 18, sets_locally=False,
        variables=("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"),
    )  # fmt: skip


OPENBLAS = _openblas("OpenBLAS", _NUMPYS, _SCIPYS)
SCIPY = _openblas("SciPy's BLAS", _SCIPYS)


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
