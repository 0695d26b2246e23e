"""What the code of a function depends on: its bytecode and constants, and what it names."""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from planmath.device.function import DeviceFunction
from planmath.device.inside import KernelFunction


def of_function(function: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Parts that tell functions apart, or None where something that it names cannot be told."""
    if id(function) in seen:
        return ("again",)
    seen |= {id(function)}
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    named = [function.__globals__[name] for name in _names(code) if name in function.__globals__]
    parts = [_of_code(code)]
    for value in [*cells, *named, *(function.__defaults__ or ())]:
        part = of_value(value, seen)
        if part is None:
            return None
        parts.append(part)
    return parts


def _names(code: types.CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, types.CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def _of_code(code: types.CodeType) -> Any:
    constants = [_of_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_argcount]


def of_value(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Parts that tell values apart, or None."""
    if isinstance(value, (int, float, complex, str, bytes, bool, type(None), np.generic)):
        return [type(value).__name__, repr(value)]
    if isinstance(value, tuple):
        parts = [of_value(each, seen) for each in value]
        return None if None in parts else parts
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    if isinstance(value, (DeviceFunction,)):
        return ["object", value.key]
    if isinstance(value, (KernelFunction, type)) or hasattr(value, "_dtype"):
        return ["named", repr(value)]
    if isinstance(value, np.ndarray) and value.size < 4096:
        return ["array", str(value.dtype), value.shape, value.tobytes().hex()]
    if hasattr(value, "py_func"):
        return of_function(value.py_func, seen)
    if isinstance(value, types.FunctionType):
        return of_function(value, seen)
    if isinstance(value, types.BuiltinFunctionType) or hasattr(value, "_base_type"):
        return ["builtin", repr(value)]
    return None
