"""Functions of the user's that take part in a product, and semirings."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from planmath.core.errors import nearest

LABELS = ("a", "b", "c")
#: What the functions are compiled for, by every name that dtypes have here.
DTYPES = ("float32", "float64", "double", "complex64", "complex128")

#: What adds, and what multiplies, by the names, ufuncs and operators that stand for them.
_WORDS: dict[Any, str] = {
    np.add: "plus", operator.add: "plus", sum: "plus", "add": "plus", np.minimum: "min", min: "min",
    "minimum": "min", np.maximum: "max", max: "max", "maximum": "max", np.multiply: "times", operator.mul: "times",
    "mul": "times", "multiply": "times", **{word: word for word in ("plus", "min", "max", "times", "first", "second")},
}  # fmt: skip
SEMIRINGS = (
    "plus_times", "min_plus", "max_plus", "max_times", "min_times", "max_min", "min_max", "plus_first", "plus_second",
)  # fmt: skip
#: The same with the operands exchanged.
_EXCHANGED = {"plus_first": "plus_second", "plus_second": "plus_first"}


@dataclass(frozen=True, slots=True)
class CompiledFunction:
    """A function of the user's for a product: what the functions that begin with ``compile_matmul_`` return.

    On the CPU it is compiled where a plan needs it.

    Parameters
    ----------
    function : callable
    label : str
        What it is for: 'prolog', 'epilog', 'add', 'mul' or 'atomic_add'.
    dtype : str
    operand : str, optional
        The operand that a prolog is for.
    """

    function: Callable[..., Any]
    label: str
    dtype: str
    operand: str | None = None

    def __call__(self, *values: Any) -> Any:
        return self.function(*values)


def _compiled(function: Any, label: str, dtype: Any, operand: str | None = None) -> CompiledFunction:
    if not callable(function):
        raise TypeError(f"{label} is a {type(function).__name__}; expected a Python function")
    name = str(dtype).removeprefix("torch.") if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    if name not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}: {nearest(name, DTYPES)}")
    return CompiledFunction(function, label, "float64" if name == "double" else name, operand)


def compile_matmul_prolog(
    prolog: Callable[..., Any], *, operand_label: str, dtype: str, compute_capability: Any = None
) -> CompiledFunction:
    """A function of one value, applied to each stored value of an operand before the product.

    Parameters
    ----------
    prolog : callable
    operand_label : {'a', 'b', 'c'}
    dtype : {'float32', 'float64', 'complex64', 'complex128'}
    compute_capability : object, optional
        Without effect on the CPU.

    Raises
    ------
    ValueError, TypeError
        If there is no such operand or dtype, or the function cannot be called.
    """
    if operand_label not in LABELS:
        raise ValueError(f"operand_label is {operand_label!r}: {nearest(operand_label, LABELS)}")
    return _compiled(prolog, "prolog", dtype, operand_label)


def compile_matmul_epilog(
    epilog: Callable[..., Any], *, dtype: str, compute_capability: Any = None
) -> CompiledFunction:
    """A function of one value, applied to each element of the result; parameters as of `compile_matmul_prolog`."""
    return _compiled(epilog, "epilog", dtype)


def compile_matmul_add(add: Callable[..., Any], *, dtype: str, compute_capability: Any = None) -> CompiledFunction:
    """The addition of a semiring, a function of two values; parameters as of `compile_matmul_prolog`."""
    return _compiled(add, "add", dtype)


def compile_matmul_mul(add: Callable[..., Any], *, dtype: str, compute_capability: Any = None) -> CompiledFunction:
    """The multiplication of a semiring, a function of two values; parameters as of `compile_matmul_prolog`."""
    return _compiled(add, "mul", dtype)


def compile_matmul_atomic_add(
    add: Callable[..., Any], *, dtype: str, compute_capability: Any = None
) -> CompiledFunction:
    """An addition to memory, a function of a pointer and a value, which loops on the CPU have no need of; parameters as
    of `compile_matmul_prolog`.
    """
    return _compiled(add, "atomic_add", dtype)


class OwnSemiring(NamedTuple):
    """A semiring of the user's own: functions of two numbers, and what an addition does not change."""

    add: Any
    mul: Any
    identity: complex

    def __str__(self) -> str:
        return "a semiring of your own"


def exchanged(name: str) -> str:
    """The semiring that gives the same where the operands are exchanged."""
    return _EXCHANGED.get(name, name)


def semiring_of(given: Any) -> str | OwnSemiring:
    """The name of a semiring that is given by one, or by what adds and what multiplies; or one of the user's own.

    Raises
    ------
    TypeError, ValueError
        If it is none that planmath has, and no two functions with an identity.
    """
    if given is None:
        return "plus_times"
    if isinstance(given, str):
        name = given
    else:
        parts = [given.get("add"), given.get("mul")] if isinstance(given, Mapping) else given
        if not isinstance(parts, list | tuple) or len(parts) != 2:
            raise TypeError(f"semiring is {given!r}; expected a name, a pair of addition and multiplication, or a dict "
                            "with 'add' and 'mul', and 'identity' for functions of your own")
        plain = [part.function if isinstance(part, CompiledFunction) else part for part in parts]
        name = "_".join(_WORDS.get(part, "") if part.__hash__ else "" for part in plain)
        if _WORDS.get(plain[0]) == "plus" and _WORDS.get(plain[1]) == "plus":
            name = ""
        if name not in SEMIRINGS and isinstance(given, Mapping) and "identity" in given:
            return _own_semiring(plain, given["identity"])
    if name not in SEMIRINGS:
        own = "; functions of your own go with an identity: {'add': ..., 'mul': ..., 'identity': ...}"
        raise ValueError(f"semiring is {given!r}: {nearest(name, SEMIRINGS)}{own}")
    return name


def _own_semiring(functions: list[Any], identity: Any) -> OwnSemiring:
    for name, function in zip(("add", "mul"), functions, strict=True):
        if not callable(function):
            raise TypeError(f"semiring[{name!r}] is a {type(function).__name__}; expected a function of two numbers")
    if not isinstance(identity, int | float | complex | np.number):
        raise TypeError(f"semiring['identity'] is a {type(identity).__name__}; expected a number")
    number = identity.item() if isinstance(identity, np.number) else identity
    return OwnSemiring(functions[0], functions[1], number)


def functions_of(prologs: Any, epilog: Any) -> tuple[tuple[str, Any], ...]:
    """The functions that take part, by the operand they are for, and 'epilog'.

    Raises
    ------
    TypeError, ValueError
        If they are none for the CPU.
    """
    found = []
    if prologs is not None:
        if not isinstance(prologs, Mapping):
            raise TypeError(f"prologs is a {type(prologs).__name__}; expected a dict from 'a' and 'b' to functions")
        for name, function in prologs.items():
            if name not in LABELS:
                raise ValueError(f"prologs has the key {name!r}: {nearest(name, LABELS)}")
            if name == "c":
                raise NotImplementedError("prologs has a function for c, which is not supported; apply it to c itself")
            found.append((name, _checked(f"prologs[{name!r}]", function)))
    if epilog is not None:
        found.append(("epilog", _checked("epilog", epilog)))
    return tuple(found)


def _checked(name: str, function: Any) -> Any:
    if isinstance(function, bytes | bytearray):
        raise TypeError(f"{name} is compiled code for a device; pass a Python function on the CPU")
    if not callable(function):
        raise TypeError(f"{name} is a {type(function).__name__}; expected a Python function of one value")
    import inspect

    try:
        inspect.signature(function.function if isinstance(function, CompiledFunction) else function).bind(0)
    except TypeError:
        raise TypeError(f"{name} does not take exactly one value; expected a function of one value") from None
    except ValueError:  # of a function written in C, which says nothing of its parameters
        pass
    return function
