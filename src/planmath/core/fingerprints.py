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
        parts = list(_of_function(function, {}, known))
    except Unsteady:
        return None
    return code_cache.digest(sys.version, *parts)


def _of_function(function: Any, seen: dict[int, int], known: Known) -> Iterator[object]:
    """`seen` has the numbers of functions in the order in which they came."""
    if id(function) in seen:
        yield "again", seen[id(function)]
        return
    seen[id(function)] = len(seen)
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


def _of_values(values: Iterable[Any], seen: dict[int, int], known: Known) -> Iterator[object]:
    for value in values:
        if isinstance(value, types.FunctionType):
            yield from _of_function(value, seen, known)
        elif isinstance(inner := getattr(value, "py_func", None), types.FunctionType):  # compiled by Numba
            yield from _of_dispatcher(value)
            yield from _of_function(inner, seen, known)
        elif _is_callback(value):
            yield type(value), repr(value._sig)
            yield from _of_options(value._compiler)
            yield from _of_function(value._pyfunc, seen, known)
        elif type(value) in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_fields")):
            yield type(value), len(value), getattr(type(value), "_fields", None)
            yield from _of_values(value, seen, known)
        elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            yield type(value), repr(value)
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise Unsteady
            yield repr(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
        elif isinstance(value, np.generic):
            if value.dtype.hasobject:
                raise Unsteady
            yield repr(value.dtype), value.tobytes()
        elif isinstance(value, np.dtype):
            yield "dtype", repr(value)
        elif (told := known(value)) is not None:
            yield told
        elif (home := _home(value)).partition(".")[0] in STEADY:
            package = sys.modules.get(home.partition(".")[0])
            yield home, _name_in(home, value), getattr(package, "__version__", None)
        else:
            raise Unsteady


def _of_dispatcher(dispatcher: Any) -> Iterator[object]:
    """What Numba was told of a function beside the function."""
    yield from _of_options(dispatcher)
    if not getattr(dispatcher, "_can_compile", True):  # for other types than those it was told
        try:
            yield repr(list(dispatcher.nopython_signatures))
        except AttributeError:
            raise Unsteady from None


def _of_options(compiler: Any) -> Iterator[object]:
    yield repr(getattr(compiler, "targetoptions", None))
    yield sorted(map(repr, (getattr(compiler, "locals", None) or {}).items()))


def _is_callback(value: Any) -> bool:
    """Whether it is what `numba.cfunc` makes of a function."""
    module = sys.modules.get("numba.core.ccallback")
    return module is not None and type(value) is module.CFunc


def _name_in(home: str, value: Any) -> str:
    """The name by which a module, its class or its function is found: of anything else `repr` need not say all."""
    if isinstance(value, types.ModuleType):
        if sys.modules.get(home) is not value:
            raise Unsteady
        return ""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if name is None and home.startswith("numba."):  # its types of numbers are instances
        home = "numba.core.types"
        names = getattr(sys.modules.get(home), "__dict__", {})
        name = next((name for name, found in names.items() if found is value), None)
    found: Any = sys.modules.get(home)
    for part in str(name).split("."):
        found = getattr(found, part, None)
    if name is None or found is not value:
        raise Unsteady
    return str(name)


def _home(value: Any) -> str:
    """The module that something is, or comes from."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    return str(getattr(value, "__module__", None) or type(value).__module__)
