"""ScaLAPACK and BLACS on MPI: MKL's, and the system's."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planmath.bindings import mkl
from planmath.native.library import MissingLibraryError, in_environment, in_package
from planmath.native.loaded import loaded_libraries

#: These libraries do not say what they need, so each finds it among what was loaded before, for all to see.
_FOR_ALL = os.RTLD_GLOBAL | os.RTLD_LAZY
#: Letters of the routines' names by dtype.
LETTER = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


@dataclass(eq=False)
class ScaLAPACK:
    """One library's ScaLAPACK. Nothing is loaded before it is used.

    Parameters
    ----------
    name : str
        As planmath's messages call it.
    files : callable
        From the path of this process's MPI to the files that are loaded one after the other, or why there are none.
    version : callable
    """

    name: str
    files: Callable[[str], Sequence[str] | str]
    version: Callable[[], str]
    _handles: list[ctypes.CDLL] = field(default_factory=list, init=False)

    @property
    def missing(self) -> str | None:
        """Why it cannot be used, in words, or None."""
        mpi = mpi_path()
        if mpi is None:
            return f"{self.name} needs a program that runs on MPI"
        found = self.files(mpi)
        return found if isinstance(found, str) else None

    def address(self, routine: str) -> int:
        """A routine's address; loads the library.

        Raises
        ------
        MissingLibraryError
        """
        for handle in reversed(self._loaded()):
            try:
                return ctypes.cast(handle[routine], ctypes.c_void_p).value or 0
            except AttributeError:
                continue
        raise MissingLibraryError(f"{self.name} has no function {routine}")

    def _loaded(self) -> list[ctypes.CDLL]:
        if not self._handles:
            if self.missing:
                raise MissingLibraryError(self.missing)
            mpi = mpi_path()
            assert mpi is not None
            try:
                self._handles = [ctypes.CDLL(path, mode=_FOR_ALL) for path in (mpi, *self.files(mpi))]
            except OSError as error:
                raise MissingLibraryError(f"{self.name} could not be loaded: {error}") from None
        return self._handles


def mpi_path() -> str | None:
    """The MPI that mpi4py has loaded, if it has."""
    for given in loaded_libraries():
        path = os.fsdecode(given)
        if os.path.basename(path).startswith(("libmpi.so", "libmpich.so")):
            return path
    return None


def _of_mkl(mpi: str) -> Sequence[str] | str:
    name = os.path.basename(mpi)
    blacs = "openmpi" if name.startswith("libmpi.so.40") else "intelmpi"  # which has the interface of MPICH
    found = []
    for part in ("core", "sequential", "intel_lp64", f"blacs_{blacs}_lp64", "scalapack_lp64"):
        paths = [*in_environment(f"libmkl_{part}.so*"), *in_package("mkl", f"mkl*.data/data/lib/libmkl_{part}.so*")]
        if not paths:
            return f"MKL's libmkl_{part} was not found: install it with: pip install 'planmath[cpu]'"
        found.append(paths[0])
    return found


#: The names that Debian's and others' packages give to ScaLAPACK for a kind of MPI.
_NAMES = {"libmpich.so": ("libscalapack-mpich.so*",), "libmpi.so": ("libscalapack-openmpi.so*", "libscalapack.so*")}


def _of_system(mpi: str) -> Sequence[str] | str:
    """The system's ScaLAPACK for the system's MPI: for another MPI it would load its own beside that."""
    names = next(names for begin, names in _NAMES.items() if os.path.basename(mpi).startswith(begin))
    folder = Path(mpi).parent
    paths = [path for name in names for path in sorted(folder.glob(name), reverse=True)]
    if not paths:
        return (
            f"no ScaLAPACK was found beside this program's MPI, {mpi}: install your system's for that MPI, on Debian "
            "libscalapack-openmpi-dev with python3-mpi4py, which is built for Open MPI there"
        )
    return [str(paths[0])]


def _versions_of_system() -> str:
    mpi = mpi_path()
    found = "" if mpi is None else _of_system(mpi)
    return os.path.realpath(found[0]) if found and not isinstance(found, str) else "0"


MKL = ScaLAPACK("MKL's ScaLAPACK", _of_mkl, mkl.version)
SYSTEM = ScaLAPACK("ScaLAPACK", _of_system, _versions_of_system)
