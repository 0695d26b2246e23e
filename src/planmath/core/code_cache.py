"""Code that was compiled from Python functions, kept on disk for the next process.

Each piece is one file in the folder ``code`` beside the tuning record, named by a digest of what it was made from: the
function (`fingerprint`), the types, the compilers and their versions, the processor or device. Writers put whole files
in place, so processes need no lock; what is damaged counts as not there. The files that were not used for longest go
when there are too many.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import os
import sys
import tempfile
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from planmath.core.cache_folder import cache_folder

#: Bytes of all files, at most.
CAPACITY = 256 << 20
#: How a file begins: a digest of what follows it.
_DIGEST = hashlib.sha256
#: Packages whose attributes are taken to be the same as long as their versions are.
STEADY = ("math", "cmath", "operator", "builtins", "numpy", "numba")


def folder() -> Path:
    """Where the files are."""
    return cache_folder() / "code"


def digest(*parts: object) -> str:
    """The name of what was made from these parts, whose `repr` says all about them."""
    return _DIGEST("\0".join(map(repr, parts)).encode()).hexdigest()[:40]


def load(name: str) -> bytes | None:
    """What is kept under a name, or None."""
    file = folder() / name
    try:
        content = file.read_bytes()
        size = _DIGEST().digest_size
        if content[:size] != _DIGEST(content[size:]).digest():
            return None
        os.utime(file)  # it was used
    except OSError:
        return None
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
            os.unlink(temporary)
            raise
        _make_room(where)


def stored() -> tuple[int, int]:
    """How many files there are, and their bytes."""
    sizes = [found.st_size for _, found in _files(folder())]
    return len(sizes), sum(sizes)


def clear() -> None:
    """Remove all files."""
    for file, _ in _files(folder()):
        file.unlink(missing_ok=True)


def _files(where: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        files = list(where.iterdir())
    except OSError:
        return
    for file in files:
        with contextlib.suppress(OSError):  # another process was faster
            yield file, file.stat()


def _make_room(where: Path) -> None:
    files = sorted(_files(where), key=lambda entry: entry[1].st_mtime)
    surplus = sum(found.st_size for _, found in files) - CAPACITY
    for file, found in files:
        if surplus <= 0:
            return
        file.unlink(missing_ok=True)
        surplus -= found.st_size


class Unsteady(Exception):
    """A function depends on what no digest can be made of."""


def fingerprint(function: Any) -> str | None:
    """A digest of all that a function computes with: bytecode, constants, closure, globals, the functions it calls.

    None where it depends on something of which that cannot be said, such as a module of the user's.

    Examples
    --------
    >>> def scaled(by):
    ...     return lambda x: x * by
    >>> fingerprint(scaled(2)) == fingerprint(scaled(2)), fingerprint(scaled(2)) == fingerprint(scaled(3))
    (True, False)
    """
    try:
        parts = list(_of_function(function, set()))
    except Unsteady:
        return None
    return digest(sys.version, *parts)


def _of_function(function: Any, seen: set[int]) -> Iterator[object]:
    if id(function) in seen:
        yield "again"
        return
    seen.add(id(function))
    yield from _of_code(function.__code__)
    yield from _of_values(function.__defaults__ or (), seen)
    try:
        yield from _of_values((cell.cell_contents for cell in function.__closure__ or ()), seen)
    except ValueError:
        raise Unsteady from None  # a cell without contents
    builtins = function.__globals__.get("__builtins__", {})
    names = dict(vars(builtins) if isinstance(builtins, types.ModuleType) else builtins)
    for name in _globals_of(function.__code__):
        yield name
        yield from _of_values((function.__globals__.get(name, names.get(name)),), seen)


def _of_code(code: types.CodeType) -> Iterator[object]:
    yield code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _of_code(constant)
        else:
            yield constant


def _globals_of(code: types.CodeType) -> list[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(_globals_of(constant))
    return sorted(names)


def _of_values(values: Iterable[Any], seen: set[int]) -> Iterator[object]:
    for value in values:
        if isinstance(value, types.FunctionType):
            yield from _of_function(value, seen)
        elif isinstance(inner := getattr(value, "py_func", None), types.FunctionType):  # compiled by Numba
            yield repr(getattr(value, "targetoptions", None))
            yield from _of_function(inner, seen)
        elif isinstance(value, (tuple, list)):
            yield type(value), len(value)
            yield from _of_values(value, seen)
        elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            yield type(value), repr(value)
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise Unsteady
            yield value.dtype.str, value.shape, _DIGEST(np.ascontiguousarray(value).tobytes()).digest()
        elif isinstance(value, np.generic):
            yield value.dtype.str, value.tobytes()
        elif (home := _home(value)).partition(".")[0] in STEADY:
            package = sys.modules.get(home.partition(".")[0])
            yield home, getattr(value, "__qualname__", repr(value)), getattr(package, "__version__", None)
        else:
            raise Unsteady


def _home(value: Any) -> str:
    """The module that something is, or comes from."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    return str(getattr(value, "__module__", None) or type(value).__module__)
