"""The files that hold what was measured, among other processes and whatever else may lie in their place.

No file is waited for: not a FIFO that nobody writes to, and not for long a lock that another process does not give
back.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

#: Bytes of the largest file that is read. An entry takes about a thousand.
LARGEST = 64 << 20
#: Seconds after which a lock that another process holds is given up. They hold it for some milliseconds.
PATIENCE = 10.0

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)

#: What making sense of a file raises that is damaged. Deeply nested JSON is a RecursionError.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


def read(file: str | os.PathLike[str]) -> Any:
    """The content of a JSON file.

    Raises
    ------
    OSError
        If it cannot be read, or is no ordinary file.
    ValueError, RecursionError
        If it is too large, or no JSON.
    """
    with open(file, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE)) as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{os.fspath(file)} is no ordinary file")
        if found.st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
        content = stream.read(found.st_size)  # which takes that memory, however little there is
    return json.loads(content.decode())


def write(content: Any, file: Path) -> None:
    """Replace a JSON file at once: who reads it meanwhile finds the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".new")
    try:
        with os.fdopen(handle, "w") as stream:
            json.dump(content, stream, indent=1)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def stamp(file: Path) -> tuple[Any, ...]:
    """What tells whether the file is the one that was read."""
    name = str(file)  # which it keeps, and which compares at once
    try:
        found = os.stat(name)
    except OSError as error:
        return name, error.errno
    return name, found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from writing between our reading and our writing.

    Raises
    ------
    OSError
        If the lock cannot be had.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "tuning.lock"
    # a lock that another user made may be read, and nobody writes into it
    lock = os.open(file, os.O_RDONLY | os.O_CREAT | _AT_ONCE, 0o666)
    try:
        if fcntl is None:  # Windows: the replacement is atomic all the same, only a simultaneous entry can be lost
            yield
            return
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process has held {file} for {PATIENCE:.0f} s") from None
                time.sleep(0.005)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing the file is not enough: a forked child has it open as well
    finally:
        os.close(lock)
