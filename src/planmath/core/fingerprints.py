"""Digests of Python functions: the same for two of which a compiler makes the same, in any process."""

from __future__ import annotations

import dis
import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from planmath.core import code_cache

#: Packages whose attributes are taken to be the same as long as their versions are.
STEADY = ("math", "cmath", "operator", "builtins", "numpy", "numba")
#: What says all about a value of a kind that only its caller knows, or None.
Known = Callable[[Any], object]


class Unsteady(Exception):
    """A function depends on what no digest can be made of."""


def fingerprint(function: Any, known: Known = lambda value: None) -> str | None:
    """A digest of all that a function computes with: bytecode, constants, closure, globals, the functions it calls.

    None where it depends on something of which that cannot be said, such as a module of the user's.

    Parameters
    ----------
    function : function
    known : callable, optional
        Tells of a value what its `repr` says all about, or None: for values of kinds that are not Python's or NumPy's.

    Examples
    --------
    >>> def scaled(by):
    ...     return lambda x: x * by
    >>> fingerprint(scaled(2)) == fingerprint(scaled(2)), fingerprint(scaled(2)) == fingerprint(scaled(3))
    (True, False)
    """
    try:
        parts = list(_of_function(function, set(), known))
    except Unsteady:
        return None
    return code_cache.digest(sys.version, *parts)


def _of_function(function: Any, seen: set[int], known: Known) -> Iterator[object]:
    if id(function) in seen:
        yield "again"
        return
    seen.add(id(function))
    yield from _of_code(function.__code__)
    yield from _of_values(function.__defaults__ or (), seen, known)
    try:
        yield from _of_values((cell.cell_contents for cell in function.__closure__ or ()), seen, known)
    except ValueError:
        raise Unsteady from None  # a cell without contents
    builtins = function.__globals__.get("__builtins__", {})
    names = dict(vars(builtins) if isinstance(builtins, types.ModuleType) else builtins)
    for name in _globals_of(function.__code__):
        yield name
        yield from _of_values((function.__globals__.get(name, names.get(name)),), seen, known)


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


def _of_values(values: Iterable[Any], seen: set[int], known: Known) -> Iterator[object]:
    for value in values:
        if isinstance(value, types.FunctionType):
            yield from _of_function(value, seen, known)
        elif isinstance(inner := getattr(value, "py_func", None), types.FunctionType):  # compiled by Numba
            yield repr(getattr(value, "targetoptions", None))
            yield from _of_function(inner, seen, known)
        elif isinstance(value, (tuple, list)):
            yield type(value), len(value)
            yield from _of_values(value, seen, known)
        elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            yield type(value), repr(value)
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise Unsteady
            yield value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
        elif isinstance(value, np.generic):
            yield value.dtype.str, value.tobytes()
        elif (told := known(value)) is not None:
            yield told
        elif (home := _home(value)).partition(".")[0] in STEADY:
            if home == "builtins" and not hasattr(value, "__qualname__"):
                raise Unsteady  # an instance, of which `repr` need not say all
            package = sys.modules.get(home.partition(".")[0])
            yield home, getattr(value, "__qualname__", repr(value)), getattr(package, "__version__", None)
        else:
            raise Unsteady


def _home(value: Any) -> str:
    """The module that something is, or comes from."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    return str(getattr(value, "__module__", None) or type(value).__module__)
