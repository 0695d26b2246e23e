"""What the threads of a warp tell each other: barriers, shuffles and votes of the warp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from planmath.device.simulator import SimulationError

#: Threads of a warp, and the mask that names all of them.
WARP, WHOLE = 32, 0xFFFFFFFF


def _shuffle(source: Callable[[int, int], int]) -> Callable[..., Any]:
    """A lane gets the value of the one that `source` tells by its number and an argument; beyond the warp, its own."""

    def decide(thread: Any, parts: dict[int, tuple[Any, int]]) -> Any:
        value, argument = parts[thread.lane]
        lane = source(thread.lane, int(argument))
        if not 0 <= lane < WARP:
            return value
        if lane not in parts:
            raise SimulationError(f"{thread} takes a value of lane {lane}, which does not take part")
        return parts[lane][0]

    return decide


def _vote(decide: Callable[[dict[int, bool]], Any]) -> Callable[..., Any]:
    return lambda thread, parts: decide({lane: bool(given[0]) for lane, given in parts.items()})


#: The functions of ``cuda``, each of a mask and one or two arguments: what a lane gets of what all gave.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "shfl_sync": _shuffle(lambda lane, source: source % WARP),
    "shfl_up_sync": _shuffle(lambda lane, delta: lane - delta),
    "shfl_down_sync": _shuffle(lambda lane, delta: lane + delta),
    "shfl_xor_sync": _shuffle(lambda lane, mask: lane ^ mask),
    "all_sync": _vote(lambda votes: all(votes.values())),
    "any_sync": _vote(lambda votes: any(votes.values())),
    "eq_sync": _vote(lambda votes: len(set(votes.values())) == 1),
    "ballot_sync": _vote(lambda votes: sum(1 << lane for lane, vote in votes.items() if vote)),
    "syncwarp": lambda thread, parts: None,
}
