"""Calls of the functions of `planmath.device.random` in kernels."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.core.errors import TypingError
from numba.cuda.core.imputils import lower_builtin
from numba.cuda.cudadecl import registry as declarations
from numba.cuda.datamodel import models
from numba.cuda.extending import register_model
from numba.cuda.typing.templates import AbstractTemplate, signature

from planmath.device import random
from planmath.device.kernels import vectors
from planmath.device.kernels.calls import BYTES, Emitter, Plan, check_number, function, linked
from planmath.device.random import device_code, states
from planmath.device.targets import ComputeCapability


class StatesType(types.Type):
    """An array of states: its address."""

    def __init__(self, kind: str):
        self.kind = kind
        super().__init__(name=f"States{kind}")


class StateType(types.Type):
    """One state: its address."""

    def __init__(self, kind: str):
        self.kind = kind
        super().__init__(name=f"State{kind}")


@register_model(StatesType)
class _StatesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, ir.IntType(64))


@register_model(StateType)
class _StateModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, BYTES)


@declarations.register_global(operator.getitem)
class _Item(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        array, index = args
        if isinstance(array, StatesType) and isinstance(index, types.Integer):
            return signature(StateType(array.kind), array, index)
        return None


@lower_builtin(operator.getitem, StatesType, types.Integer)
def _item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    index = context.cast(builder, args[1], sig.args[1], types.int64)
    place = builder.mul(index, ir.Constant(ir.IntType(64), states.SIZES[sig.args[0].kind]))
    return builder.inttoptr(builder.add(args[0], place), BYTES)


class _Code(cuda.LTOIR):
    """The generators' LTO-IR, compiled when it is linked."""

    def __init__(self, cc: ComputeCapability):
        super().__init__(b"", name="planmath.device.random")
        self._make = partial(device_code.compile, cc)

    @property
    def data(self) -> bytes:
        return self._make()


def _code() -> Any:
    """The code for the oldest architecture that libraries of this CUDA know: LTO-IR is linked for newer ones."""
    return linked("random", lambda: _Code(ComputeCapability(7, 5)))


def _state(name: str, kind: Any, generators: Any) -> str:
    if not isinstance(kind, StateType):
        raise TypingError(f"{name} takes a state, such as states[i] of StatesXORWOW, not {kind}")
    if kind.kind not in generators:
        raise TypingError(f"{name} is for the generators {', '.join(generators)}, not for {kind.kind}")
    return kind.kind


def _result(result: str, kind: str) -> Any:
    if result == "uint":
        return types.uint64 if kind.endswith("64") else types.uint32
    return vectors.TYPES.get(result) or getattr(types, result)


def _register(name: str, drawing: random.Drawing) -> None:
    @function(getattr(random, name))
    def planner(*args: Any) -> Plan:
        count = 1 + len(drawing.parameters)
        if len(args) != count:
            raise TypingError(f"{name} takes {count} arguments, not {len(args)}")
        place = count - 1 if drawing.state_last else 0
        kind = _state(name, args[place], drawing.generators)
        others = [n for n in range(count) if n != place]
        for n in others:
            check_number(name, "an argument", args[n])
        result = _result(drawing.result, kind) if drawing.result else None

        def emit(to: Emitter, *values: Any) -> Any:
            wanted = [getattr(types, each) for each in drawing.parameters]
            given = [to.cast(values[n], args[n], each) for n, each in zip(others, wanted, strict=True)]
            slot = None if result is None else to.slot(result)
            first = [] if slot is None else [to.bytes(slot)]
            to.call(device_code.symbol(name, kind), [*first, values[place], *given], [_code()])
            return None if slot is None else to.load(result, slot)

        return Plan(types.none if result is None else result, emit)


for _name, _drawing in random.FUNCTIONS.items():
    _register(_name, _drawing)


@function(random.init)
def _init(*args: Any) -> Plan:
    if not 3 <= len(args) <= 4:
        raise TypingError("init takes (seed, subsequence, offset, state), or vectors first for Sobol's generators")
    kind = _state("init", args[-1], tuple(states.SIZES))
    sobol, word = "Sobol" in kind, types.uint64 if kind.endswith("64") or "Sobol" not in kind else types.uint32
    count = 3 if sobol and "Scrambled" not in kind else 4
    if len(args) != count:
        raise TypingError(f"init of {kind} takes {count} arguments, not {len(args)}")
    if sobol and not isinstance(args[0], (types.Array, types.CPointer)):
        raise TypingError(f"init of {kind} takes direction vectors first: an array, or a pointer, not {args[0]}")

    def emit(to: Emitter, *values: Any) -> None:
        given = []
        for n, (kind_, value) in enumerate(zip(args[:-1], values[:-1], strict=True)):
            if sobol and not n:
                given.append(to.array(kind_, value) if isinstance(kind_, types.Array) else to.bytes(value))
            else:
                given.append(to.cast(value, kind_, word))
        to.call(device_code.symbol("init", kind), [values[-1], *given], [_code()])

    return Plan(types.none, emit)


def _words(to: Emitter, kind: str, source: Any, target: Any) -> None:
    """Copy a state, word by word, so that compilers see through it."""
    word = ir.IntType(32)
    first, second = (to.builder.bitcast(each, word.as_pointer()) for each in (source, target))
    for n in range(states.SIZES[kind] // 4):
        place = [ir.Constant(ir.IntType(64), n)]
        to.builder.store(to.builder.load(to.builder.gep(first, place)), to.builder.gep(second, place))


@function(random.load)
def _load(state: Any) -> Plan:
    kind = _state("load", state, tuple(states.SIZES))

    def emit(to: Emitter, value: Any) -> Any:
        copy = to.bytes(to.slot(types.uint8, states.SIZES[kind]))
        _words(to, kind, value, copy)
        return copy

    return Plan(state, emit)


@function(random.store)
def _store(copy: Any, state: Any) -> Plan:
    kind = _state("store", copy, tuple(states.SIZES))
    if _state("store", state, tuple(states.SIZES)) != kind:
        raise TypingError(f"store copies between states of one generator, not from {copy} to {state}")
    return Plan(types.none, lambda to, *values: _words(to, kind, *values))
