"""Calls of C functions that are linked to a kernel: how they are typed, and the instructions that they become.

A method of an object, or a function, is registered with a *planner*. It gets the types of the arguments and returns a
`Plan`: the type of the result, and what emits the call. Numba asks for it twice, when it types the call and when it
lowers it. What is wrong with the arguments the planner says by raising ``TypingError``.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import cuda
from numba.cuda import cgutils, types
from numba.cuda.core.errors import TypingError
from numba.cuda.core.imputils import lower_builtin
from numba.cuda.cudadecl import registry as declarations
from numba.cuda.typing.templates import AttributeTemplate, CallableTemplate

from planmath.device.kernels import objects, vectors
from planmath.device.targets import Code

BYTES = ir.PointerType(ir.IntType(8))


class Plan(NamedTuple):
    """How a call is lowered.

    Parameters
    ----------
    result : Numba type
    emit : callable
        Gets an `Emitter` and the values of the arguments, and returns that of the result (None for nothing).
    """

    result: Any
    emit: Callable[..., Any]


class Emitter:
    """The instructions of one call."""

    def __init__(self, context: Any, builder: Any):
        self.context, self.builder = context, builder

    def array(self, kind: Any, value: Any) -> Any:
        """The address of an array's first element."""
        return self.bytes(self.context.make_array(kind)(self.context, self.builder, value).data)

    def bytes(self, pointer: Any) -> Any:
        return pointer if pointer.type == BYTES else self.builder.bitcast(pointer, BYTES)

    def slot(self, kind: Any, count: int = 1) -> Any:
        """Memory of the thread for some elements, aligned to 16 bytes."""
        slot = cgutils.alloca_once(self.builder, ir.ArrayType(self.context.get_data_type(kind), count))
        slot.align = 16
        return self.builder.bitcast(slot, self.context.get_data_type(kind).as_pointer())

    def by_address(self, value: Any, source: Any, target: Any) -> Any:
        """The address of a value, converted to another type."""
        value = self.cast(value, source, target)
        slot = self.slot(target)
        self.context.pack_value(self.builder, target, value, slot)
        return self.bytes(slot)

    def cast(self, value: Any, source: Any, target: Any) -> Any:
        return value if source == target else self.context.cast(self.builder, value, source, target)

    def load(self, kind: Any, slot: Any) -> Any:
        return self.context.unpack_value(self.builder, kind, slot)

    def constant(self, kind: Any, value: Any) -> Any:
        return self.context.get_constant(kind, value)

    def call(self, symbol: str, arguments: Sequence[Any], link: Sequence[Any]) -> None:
        """Call a C function that returns nothing, and have its code linked."""
        function = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        declared = cgutils.get_or_insert_function(self.builder.module, function, symbol)
        self.builder.call(declared, list(arguments))
        for code in link:
            self.context.active_code_library.add_linking_file(code)


# Registration.


def _template(planner: Callable[..., Plan], identity: str, bound: Any = None) -> Any:
    parameters = list(inspect.signature(planner).parameters.values())

    class Template(CallableTemplate):
        key = identity
        prefer_literal = True

        @property
        def recvr(self) -> Any:
            return getattr(self, "this", None)

        def generic(self) -> Any:
            own = inspect.Signature(parameters if self.recvr is None else parameters[1:])

            def typer(*given: Any, **named: Any) -> Any:
                if any(each.kind is each.VAR_POSITIONAL for each in own.parameters.values()):
                    typer.pysig = vectors.positional(len(given))  # type: ignore[attr-defined]
                bound = own.bind(*given, **named)
                return planner(
                    *([] if self.recvr is None else [self.recvr]), *bound.args, *bound.kwargs.values()
                ).result

            typer.__signature__ = typer.pysig = own  # type: ignore[attr-defined]
            return typer

    constant = bound is not None and issubclass(bound, objects.ObjectType)  # whose value nobody needs

    @lower_builtin(identity, types.VarArg(types.Any))
    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        plan = planner(*sig.args)
        result = plan.emit(Emitter(context, builder), *(values[1:] if constant else values))
        return context.get_dummy_value() if result is None else result

    return Template


def method(kind: type, name: str) -> Callable[..., Any]:
    """Register the planner of a method, for a class of Numba types; it gets the receiver's type first."""

    def register(planner: Callable[..., Plan]) -> Callable[..., Plan]:
        template = _template(planner, f"planmath.{kind.__name__}.{name}", bound=kind)

        @declarations.register_attr
        class Method(AttributeTemplate):
            key = kind

            def generic_resolve(self, receiver: Any, attribute: str) -> Any:
                return types.BoundFunction(template, receiver) if attribute == name else None

        return planner

    return register


def function(value: Any) -> Callable[..., Any]:
    """Register the planner of a function."""

    def register(planner: Callable[..., Plan]) -> Callable[..., Plan]:
        declarations.register_global(value, types.Function(_template(planner, f"planmath.{value.__name__}")))
        return planner

    return register


# Linked code.


@cache
def _pool() -> ThreadPoolExecutor:
    """Where code is compiled while Numba goes on; libmathdx lets other threads run."""
    return ThreadPoolExecutor(max(4, os.cpu_count() or 1), thread_name_prefix="planmath-device")


class Pending(cuda.LTOIR):
    """LTO-IR that is being compiled; the linker waits for it. So a kernel's functions are compiled side by side."""

    def __init__(self, name: str, make: Callable[[], Code]):
        super().__init__(b"", name=name)
        self._made = _pool().submit(make)

    @property
    def data(self) -> bytes:
        return self._made.result().data


_LINKED: dict[Any, Any] = {}


def _begin_anew() -> None:
    """A child that was forked has neither the threads nor what they would have made."""
    _pool.cache_clear()
    _LINKED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def linked(name: Any, make: Callable[[], Any]) -> Any:
    """Code to link; the same object for the same name, so that a kernel links it once."""
    if name not in _LINKED:
        _LINKED[name] = make()
    return _LINKED[name]


# What planners ask of arguments.


def given(kind: Any) -> bool:
    """Whether an argument is there at all."""
    return not (kind is None or isinstance(kind, (types.NoneType, types.Omitted)))


def check_array(function: str, name: str, kind: Any, dtype: Any) -> None:
    """Raise unless an argument is an array of this type."""
    if not isinstance(kind, types.Array):
        raise TypingError(f"{function} takes an array for {name}, not {kind}")
    if kind.dtype != dtype:
        raise TypingError(f"{function} takes an array of {name_of(dtype)} for {name}, not of {name_of(kind.dtype)}")


def check_number(function: str, name: str, kind: Any) -> None:
    """Raise unless an argument is a number."""
    if not isinstance(kind, (types.Number, vectors.VectorType)):
        raise TypingError(f"{function} takes a number for {name}, not {kind}")


def name_of(kind: Any) -> str:
    """A Numba type as users write it."""
    return str(kind).removeprefix("planmath.")


def constant_method(cls: type, name: str) -> None:
    """Register a method whose result is known when the kernel is compiled; its arguments are literals."""

    def planner(kind: Any, *args: Any) -> Plan:
        values = []
        for each in args:
            if isinstance(each, types.Literal):
                values.append(each.literal_value)
            elif not given(each):
                values.append(None)
            else:
                raise TypingError(f"{cls.__name__}.{name} takes constants in a kernel, not {each}")
        found = getattr(cls, name)
        named = [each.name for each in list(inspect.signature(found).parameters.values())[1:]]
        try:
            result = found(kind.instance, **dict(zip(named, values, strict=False)))
        except (ValueError, RuntimeError) as error:
            raise TypingError(str(error)) from None
        target = objects.type_of_constant(result)

        def emit(to: Emitter, *ignored: Any) -> Any:
            return to.context.get_constant_generic(to.builder, getattr(target, "literal_type", target), result)

        return Plan(target, emit)

    own = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
    kinds = [each.replace(kind=each.POSITIONAL_OR_KEYWORD) for each in own]
    first = inspect.Parameter("kind", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    planner.__signature__ = inspect.Signature([first, *kinds])  # type: ignore[attr-defined]
    method(objects.class_of(cls), name)(planner)
