"""The functions of `planmath.device.random` in the simulator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from planmath.device.random import FUNCTIONS, Drawing, distributions
from planmath.device.random.generators import LONG, State
from planmath.device.simulator import SimulationError
from planmath.device.simulator.vectors import vector


def init(thread: Any, *arguments: Any) -> None:
    state = _state("init", arguments[-1] if arguments else None)
    if state.quasi:
        state.init(*arguments[:1], *(int(each) & (1 << state.bits) - 1 for each in arguments[1:-1]))
    else:
        if len(arguments) != 4:
            raise TypeError("init takes (seed, subsequence, offset, state)")
        state.init(*(int(each) & LONG for each in arguments[:-1]))


def load(thread: Any, state: State) -> State:
    return copy.deepcopy(_state("load", state))


def store(thread: Any, source: State, state: State) -> None:
    if type(_state("store", source)) is not type(_state("store", state)):
        raise TypeError("store copies between states of one generator")
    state.__dict__ = copy.deepcopy(source.__dict__)


def _state(name: str, given: Any) -> State:
    if not isinstance(given, State):
        raise TypeError(f"{name} takes a state, such as states[i] of StatesXORWOW, not {type(given).__name__}")
    return given


def _function(name: str, drawing: Drawing) -> Callable[..., Any]:
    skip = {"skipahead": "skip", "skipahead_sequence": "skip_sequence", "skipahead_subsequence": "skip_subsequence"}

    def draw(thread: Any, *arguments: Any) -> Any:
        if len(arguments) != 1 + len(drawing.parameters):
            raise TypeError(f"{name} takes {1 + len(drawing.parameters)} arguments, not {len(arguments)}")
        state = _state(name, arguments[-1 if drawing.state_last else 0])
        if type(state).__name__ not in drawing.generators:
            raise TypeError(f"{name} is for {', '.join(drawing.generators)}, not for {type(state).__name__}")
        if not state.ready:
            raise SimulationError(f"{thread} calls {name} with a state that init has not started")
        if name in skip:
            return getattr(state, skip[name])(int(arguments[0]) & LONG)
        if name == "rand":
            return (np.uint64 if state.bits == 64 else np.uint32)(state.next())
        if name == "rand4":
            return vector(np.uint32, state.next4())  # type: ignore[attr-defined]
        found = getattr(distributions, name)(state, *arguments[1:])
        base, _, count = drawing.result.partition("x")
        scalar = getattr(np, base)
        return vector(scalar, found) if count else scalar(found)

    return draw


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        globals()[name] = _function(name, FUNCTIONS[name])
        return globals()[name]
    raise AttributeError(name)
