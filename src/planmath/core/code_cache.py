"""Compiled code on disk: what is made of a user's functions and of the libraries' own, for the next process.

Each piece is one file in the folder ``code`` beside the tuning record, named by a digest of all that it was made from:
functions (`core.fingerprints`), types, the compilers and their versions, the processor or device. Files are written
elsewhere and moved into place, so processes need no lock and a reader finds a whole one or none; each begins with the
digest of the rest, and what is damaged counts as not there. When all take more than `CAPACITY` bytes, those that were
not used for longest go.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

from planmath.core import waiting
from planmath.core.cache_folder import cache_folder
from planmath.core.errors import warn

#: Bytes of all files, at most, unless ``PLANMATH_CODE_CACHE_LIMIT`` names another number.
CAPACITY = 1 << 30
LIMIT = "PLANMATH_CODE_CACHE_LIMIT"
_DIGEST = hashlib.sha256

T = TypeVar("T")


class Pieces(Generic[T]):
    """What this process has of something that is made once: of threads that ask for the same one, one makes it.

    Parameters
    ----------
    most : int, optional
        How many are kept, the latest ones.
    """

    def __init__(self, most: int | None = None):
        self._most = most
        self._made: dict[str, T] = {}
        self._begin_anew()
        _every.add(self)

    def _begin_anew(self) -> None:
        """What other threads were making when a child was forked, nobody makes in it."""
        self._lock = threading.Lock()
        self._making: dict[str, Future[T]] = {}

    def clear(self) -> None:
        self._made.clear()

    def get(self, name: str, load: Callable[[], T | None], make: Callable[[], T], title: str | None) -> T:
        """One that was made before, or can be loaded, or is made now.

        Parameters
        ----------
        name : str
        load : callable
            Returns what another process left, or None.
        make : callable
        title : str, optional
            What somebody who waits is told, and may interrupt; None where `make` tells that itself.
        """
        if (found := self._made.get(name)) is not None:
            return found
        while True:
            with self._lock:
                if (found := self._made.get(name)) is not None:
                    return found
                if (theirs := self._making.get(name)) is None:
                    future = self._making[name] = Future()
                    break
            with waiting.going_on(title or "compiling"):
                error = theirs.exception()
            if error is None or isinstance(error, Exception):
                return theirs.result()
            # whoever made it was interrupted, which is no answer to anybody else

        settles = threading.Lock()  # taken by the thread that tells the others what came of it

        def made() -> T:
            if not settles.acquire(blocking=False):
                raise KeyboardInterrupt  # before this thread had begun
            try:
                content = make()
            except BaseException as error:
                self._settle(name, future, error)
                raise
            self._settle(name, future, content)
            return content

        try:
            content = load()
            if content is None:
                return made() if title is None else waiting.interruptible(title, made)
        except BaseException as error:
            if settles.acquire(blocking=False):
                self._settle(name, future, error)
            raise
        self._settle(name, future, content)
        return content

    def _settle(self, name: str, future: Future[T], outcome: T | BaseException) -> None:
        """Tell those who wait for a piece what came of it."""
        with self._lock:
            if not isinstance(outcome, BaseException):
                while self._most is not None and len(self._made) >= self._most:
                    del self._made[next(iter(self._made))]
                self._made[name] = outcome
            if self._making.get(name) is future:
                del self._making[name]
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


_every: weakref.WeakSet[Pieces[Any]] = weakref.WeakSet()
_pieces: Pieces[bytes] = Pieces()


def _begin_anew() -> None:
    for each in _every:
        each._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def folder() -> Path:
    """Where the files are."""
    return cache_folder() / "code"


def digest(*parts: object) -> str:
    """The name of what was made from these parts, whose `repr` says all about them."""
    return _DIGEST("\0".join(map(repr, parts)).encode()).hexdigest()[:40]


def get(name: str, make: Callable[[], bytes], title: str | None = "compiling for kernels") -> bytes:
    """A piece: from this process, from disk, or made now, as by `Pieces.get`."""

    def made() -> bytes:
        content = make()
        store(name, content)
        return content

    return _pieces.get(name, lambda: load(name), made, title)


def load(name: str) -> bytes | None:
    """What is on disk under a name, or None."""
    file = folder() / name
    try:
        content = file.read_bytes()
    except OSError:
        return None
    size = _DIGEST().digest_size
    if content[:size] != _DIGEST(content[size:]).digest():
        return None
    with contextlib.suppress(OSError):
        os.utime(file)  # it was used
    return content[size:]


def store(name: str, content: bytes) -> None:
    """Keep something under a name; where the disk does not let us, do without."""
    with contextlib.suppress(OSError):
        where = folder()
        where.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=where, suffix=".new")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(_DIGEST(content).digest() + content)
            os.replace(temporary, where / name)
        except BaseException:
            with contextlib.suppress(OSError):  # which would stand in the place of an interrupt
                Path(temporary).unlink(missing_ok=True)
            raise
        _make_room(where)


def stored() -> tuple[int, int]:
    """How many files there are, and their bytes."""
    sizes = [found.st_size for _, found in _files(folder())]
    return len(sizes), sum(sizes)


def clear() -> int:
    """Remove all files, and what this process has of them; returns how many there were."""
    _pieces.clear()
    files = [file for file, _ in _files(folder())]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _files(where: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        files = list(where.iterdir())
    except OSError:
        return
    for file in files:
        with contextlib.suppress(OSError):  # another process was faster
            yield file, file.stat()


def _limit() -> int:
    """Bytes of all files, at most."""
    said = os.environ.get(LIMIT)
    try:
        return int(said) if said else CAPACITY
    except ValueError:
        warn(f"{LIMIT} must be a number of bytes, not {said!r}; {CAPACITY} are used", RuntimeWarning)
        return CAPACITY


def _make_room(where: Path) -> None:
    files = sorted(_files(where), key=lambda entry: entry[1].st_mtime)
    surplus = sum(found.st_size for _, found in files) - _limit()
    for file, found in files:
        if surplus <= 0:
            return
        file.unlink(missing_ok=True)
        surplus -= found.st_size
