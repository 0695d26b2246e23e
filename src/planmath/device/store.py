"""What was compiled, on disk: traits, LTO-IR and linked machine code, shared by processes.

A file for each entry, named by the hash of everything that it depends on, beneath
``$PLANMATH_CACHE_DIR/device`` (else ``$XDG_CACHE_HOME/planmath/device``, else ``~/.cache/planmath/device``). Files are
written elsewhere and moved into place, so that a reader finds a whole one or none; the first 32 bytes are the hash of
the rest. When all take more than `LIMIT` bytes, those that were used least recently go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from planmath.core import waiting
from planmath.core.cache_folder import cache_folder

#: Bytes that the files may take, unless ``PLANMATH_DEVICE_CACHE_LIMIT`` names another number.
LIMIT = 1 << 30

_memory: dict[str, bytes] = {}
_making: dict[str, Future[bytes]] = {}
_lock = threading.Lock()


def _begin_anew() -> None:
    """What other threads were making when a child was forked, nobody makes in it."""
    global _lock
    _lock = threading.Lock()
    _making.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def folder() -> Path:
    """Where the entries lie."""
    return cache_folder() / "device"


def key(*parts: Any) -> str:
    """The hash of what an entry depends on: strings, numbers, and tuples of such."""
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:40]


def get(name: str, make: Callable[[], bytes]) -> bytes:
    """An entry: from this process, from disk, or made now; of threads that ask for the same one, one makes it."""
    if (found := peek(name)) is not None:
        return found
    with _lock:
        future = _making.get(name)
        if mine := future is None:
            future = _making[name] = Future()
    assert future is not None
    if not mine:
        with waiting.going_on("compiling for kernels"):
            return future.result()
    try:
        content = peek(name)
        if content is None:
            content = waiting.interruptible("compiling for kernels", lambda: _made(name, make))
        future.set_result(content)
    except BaseException as error:
        future.set_exception(error)
        raise
    finally:
        with _lock:
            _making.pop(name, None)
    return content


def _made(name: str, make: Callable[[], bytes]) -> bytes:
    content = make()
    put(name, content)
    return content


def peek(name: str) -> bytes | None:
    """An entry if it has been made, else None. A damaged file is none."""
    if (found := _memory.get(name)) is not None:
        return found
    path = folder() / name
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if content[:32] != hashlib.sha256(content[32:]).digest():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used now
    _memory[name] = content[32:]
    return _memory[name]


def put(name: str, content: bytes) -> None:
    """Keep an entry. A disk that cannot be written to is no error: the process has it all the same."""
    _memory[name] = content
    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, suffix=".new")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, place / name)
        except BaseException:
            os.unlink(temporary)
            raise
        _trim(place)
    except OSError:
        return


def _trim(place: Path) -> None:
    limit = int(os.environ.get("PLANMATH_DEVICE_CACHE_LIMIT") or LIMIT)
    files = sorted(_files(place), key=lambda each: each[1].st_mtime)
    total = sum(found.st_size for _, found in files)
    for path, found in files:
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= found.st_size


def _files(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(OSError):
        for path in place.iterdir():
            with contextlib.suppress(OSError):
                yield path, path.stat()


def usage() -> tuple[Path, int, int]:
    """Where the entries lie, how many there are, and the bytes that they take."""
    sizes = [found.st_size for _, found in _files(folder())]
    return folder(), len(sizes), sum(sizes)


def clear() -> int:
    """Remove all entries, from this process too; returns how many files there were."""
    _memory.clear()
    count = 0
    for path, _ in list(_files(folder())):
        with contextlib.suppress(OSError):
            path.unlink()
            count += 1
    return count
