"""Finding and loading C libraries: the one place where that is done."""

from __future__ import annotations

import ctypes
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import planmath.native.thread_limit as thread_limit
from planmath.native.forks import loaded

#: Libraries share names: MKL has FFTW's functions, and several have BLAS's. With DEEPBIND each one finds its own first.
MODE = os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0) if hasattr(os, "RTLD_NOW") else ctypes.DEFAULT_MODE


class MissingLibraryError(OSError):
    """A library was not found, or does not have a function that is needed."""


@dataclass(eq=False)
class Library:
    """A C library that is found and loaded on first use.

    Parameters
    ----------
    name : str
        As planmath's messages and `planmath info` call it.
    candidates : callable
        Yields paths or names to try, the preferred first.
    remedy : str
        What brings the library to a machine without it.
    requires : tuple of str
        Symbols without which the library found is not the one meant.
    companions : tuple of str
        Patterns of files beside the library that it needs and would not find by itself.
    start : callable, optional
        What has to be done with the library, once loaded, before it is used. Returns why it cannot be used, in words,
        or None.
    """

    name: str
    candidates: Callable[[], Iterable[str]]
    remedy: str
    requires: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    start: Callable[[ctypes.CDLL], str | None] = lambda handle: None
    path: str | None = field(default=None, init=False)

    @loaded
    def missing(self) -> str | None:
        """Why the library cannot be used, in words, or None."""
        with _existing_directory():
            return self._load()

    def _load(self) -> str | None:
        tried = []
        for candidate in self.candidates():
            try:
                for pattern in self.companions if os.path.sep in candidate else ():
                    for companion in glob.glob(os.path.join(os.path.dirname(candidate), pattern)):
                        if companion != candidate:
                            ctypes.CDLL(companion, mode=MODE)
                handle = ctypes.CDLL(candidate, mode=MODE)
            except OSError as error:
                if os.path.exists(candidate):
                    tried.append(str(error))
                continue
            lacking = [symbol for symbol in self.requires if not hasattr(handle, symbol)]
            if lacking:
                tried.append(f"{candidate} lacks {', '.join(lacking)}")
                continue
            self._handle, self.path = handle, _loaded_path(candidate, handle, self.requires)
            thread_limit.look_again()
            refusal = self.start(handle)
            return refusal and f"{self.path} cannot be used: {refusal}"
        return f"{self.name} was not found" + (f" ({'; '.join(tried)})" if tried else "") + f": {self.remedy}"

    @property
    def handle(self) -> ctypes.CDLL:
        """The loaded library.

        Raises
        ------
        MissingLibraryError
        """
        if self.missing:
            raise MissingLibraryError(self.missing)
        return self._handle

    def function(self, name: str, restype: Any = None, argtypes: Sequence[Any] = ()) -> Callable[..., Any]:
        """A function to be called through ctypes, for what is done while planning."""
        try:
            function = self.handle[name]  # a new object each time: its types are ours alone
        except AttributeError:
            raise MissingLibraryError(f"{self.name} ({self.path}) has no function {name}") from None
        function.restype, function.argtypes = restype, tuple(argtypes)
        return function

    def address(self, name: str) -> int:
        """A function's address, for prepared calls."""
        try:
            return ctypes.cast(self.handle[name], ctypes.c_void_p).value or 0
        except AttributeError:
            raise MissingLibraryError(f"{self.name} ({self.path}) has no function {name}") from None

    def has(self, name: str) -> bool:
        return self.missing is None and hasattr(self.handle, name)

    def companions_found(self, *patterns: str) -> list[str]:
        """Files that match the patterns, the first one's first: beside the library, else in this environment."""
        folder = os.path.dirname(self.path or "")
        beside = [path for name in patterns for path in sorted(glob.glob(os.path.join(folder, name))) if folder]
        wheels = in_package("nvidia", *(f"nvidia/*/lib/{name}" for name in patterns))
        return list(dict.fromkeys([*beside, *wheels, *in_environment(*patterns)]))


@contextmanager
def _existing_directory() -> Iterator[None]:
    """A working directory, also where the present one was deleted: MKL ends the process if it cannot find its name."""
    try:
        os.getcwd()
    except OSError:
        here = os.open(os.curdir, os.O_RDONLY)
        os.chdir(os.path.sep)
        try:
            yield
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        yield


def in_package(package: str, *patterns: str) -> list[str]:
    """Files that match the patterns, relative to the folder that holds an installed package."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None or not spec.submodule_search_locations:
        return []
    folder = Path(next(iter(spec.submodule_search_locations))).parent
    return [path for pattern in patterns for path in sorted(glob.glob(str(folder / pattern)))]


def in_environment(*names: str) -> list[str]:
    """Files of this name in the library folder of the Python environment, and of the one it was made from."""
    folders = dict.fromkeys([sys.prefix, sys.exec_prefix, sys.base_prefix])
    return [
        path
        for f in folders
        for name in names
        for path in sorted(glob.glob(os.path.join(f, "lib", name)), reverse=True)
    ]


def nvidia_library(title: str, name: str, sonames: Iterable[str], requires: str, after: str = "") -> Library:
    """One of the CUDA libraries: where cuda-pathfinder finds it, else under its usual file names.

    Parameters
    ----------
    title : str
        What messages call it.
    name : str
        What cuda-pathfinder calls it.
    sonames : iterable of str
        The newest first.
    requires : str
        A symbol that every version has.
    after : str
        Another one, by its name for cuda-pathfinder, to be loaded before: this one looks for it, but not where it is.
    """

    def candidates() -> list[str]:
        if after:
            _found_by_pathfinder(after)  # which loads it
        return [*_found_by_pathfinder(name), *sonames]

    return Library(
        title,
        candidates,
        "install it with: pip install 'planmath[cu13]', or 'planmath[cu12]' where the driver is one for CUDA 12",
        requires=(requires,) if requires else (),
    )


def _found_by_pathfinder(name: str) -> list[str]:
    """Where a CUDA library is: loaded already, in the wheels of this environment, or in the CUDA toolkit."""
    try:
        from cuda import pathfinder
    except ImportError:
        return []
    try:
        found = pathfinder.load_nvidia_dynamic_lib(name).abs_path
    except (RuntimeError, ValueError, OSError):  # not found, unknown to this version, or not to be loaded
        return []
    return [found] if found else []


class _DlInfo(ctypes.Structure):
    _fields_ = (
        ("dli_fname", ctypes.c_char_p), ("dli_fbase", ctypes.c_void_p),
        ("dli_sname", ctypes.c_char_p), ("dli_saddr", ctypes.c_void_p),
    )  # fmt: skip


def _loaded_path(candidate: str, handle: ctypes.CDLL, symbols: tuple[str, ...]) -> str:
    """The file that a library was loaded from, where it was asked for by name only."""
    if os.path.sep in candidate or not symbols:
        return candidate
    try:
        dladdr = ctypes.CDLL(None).dladdr
    except (AttributeError, OSError):
        return candidate
    info = _DlInfo()
    if dladdr(ctypes.cast(handle[symbols[0]], ctypes.c_void_p), ctypes.byref(info)) and info.dli_fname:
        return os.fsdecode(info.dli_fname)
    return candidate
