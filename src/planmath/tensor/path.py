"""Contractions of many tensors: in which order two at a time, in what memory, and in how many slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from planmath.core.errors import UnavailableError
from planmath.native.forks import load_module
from planmath.tensor.expression import Expression
from planmath.tensor.problem import best_order

Mode = Hashable
#: Elements to a multiple of which places in the workspace are rounded.
ROUND = 16


class Step(NamedTuple):
    """A contraction of two tensors. Operands are counted from 0, and the results of the steps follow them."""

    factors: tuple[int, int]
    modes: tuple[tuple[Mode, ...], tuple[Mode, ...]]
    """Of the factors."""
    result: tuple[Mode, ...]
    """The modes of the result, the slowest first."""

    def modes_of_factors(self, expression: Expression) -> tuple[tuple[Mode, ...], ...]:
        """As the arrays have them: an operand may have a mode twice."""
        inputs = expression.inputs
        return tuple(inputs[f] if f < len(inputs) else m for f, m in zip(self.factors, self.modes, strict=True))


@dataclass(frozen=True)
class Path:
    """The steps of a contraction, and how they are cut so that what they leave fits into memory."""

    expression: Expression
    steps: tuple[Step, ...]
    parts: Mapping[Mode, int]
    """Into how many equal parts a mode is cut; each combination of parts is a slice."""

    @property
    def extents(self) -> dict[Mode, int]:
        """Of the modes in one slice."""
        return {mode: n // self.parts.get(mode, 1) for mode, n in self.expression.extents.items()}

    @property
    def slices(self) -> int:
        return math.prod(self.parts.values())

    def sliced(self) -> list[bool]:
        """For every tensor, whether it differs between slices."""
        found = [any(mode in self.parts for mode in modes) for modes in self.expression.inputs]
        for step in self.steps:
            found.append(any(found[factor] for factor in step.factors))
        return found

    def positions(self) -> Iterator[dict[Mode, int]]:
        """The slices: which part of each mode that is cut; what is summed turns fastest."""
        slowest_first = sorted(self.parts, key=lambda mode: mode not in self.expression.output)
        for numbers in product(*(range(self.parts[mode]) for mode in slowest_first)):
            yield dict(zip(slowest_first, numbers, strict=True))

    def size(self, modes: Sequence[Mode]) -> int:
        """Elements of a tensor with these modes, in one slice."""
        extents = self.extents
        return math.prod(extents[mode] for mode in modes)

    def multiplications(self, step: Step) -> int:
        """Of one execution of a step."""
        return self.size(tuple(dict.fromkeys((*step.modes[0], *step.modes[1]))))

    def executions(self, index: int) -> int:
        """How often a step runs."""
        return self.slices if self.sliced()[len(self.expression.inputs) + index] else 1

    def places(self) -> tuple[list[int], int]:
        """Where in the workspace each step but the last leaves its result, in elements, and the elements of it all.

        A place is used again as soon as what was there has been read for the last time. What does not differ between
        slices is made in the first one and read in all, so nothing else is ever in its place: not even what an earlier
        step leaves, for that comes again in the next slice.
        """
        operands, sliced = len(self.expression.inputs), self.sliced()
        reader = {factor: i for i, step in enumerate(self.steps) for factor in step.factors}
        placed: list[tuple[int, int, int, int]] = []  # begin and end, the first and the last step of its life
        for i, step in enumerate(self.steps[:-1]):
            last = reader[operands + i]
            kept = not sliced[operands + i] and sliced[operands + last]
            born, dies = (0, len(self.steps)) if kept else (i, last)
            size = -(-self.size(step.result) // ROUND) * ROUND
            begin = 0
            for other_begin, other_end, other_born, other_dies in sorted(placed):
                if other_dies < born or dies < other_born:
                    continue
                if begin + size <= other_begin:
                    break
                begin = max(begin, other_end)
            placed.append((begin, begin + size, born, dies))
        return [begin for begin, *_ in placed], max((end for _, end, *_ in placed), default=0)


def find(expression: Expression, steps: Sequence[Mapping[Mode, int]], optimize: Any) -> Path:
    """The steps in the order that opt_einsum finds.

    Parameters
    ----------
    expression : Expression
    steps : sequence of dict
        Of each operand, the strides by mode: they decide in which order an intermediate result has its modes.
    optimize : str or sequence of tuple of int
        As in `opt_einsum.contract_path`.
    """
    tensors: list[tuple[Mode, ...]] = [tuple(dict.fromkeys(modes)) for modes in expression.inputs]
    laid = [dict(of) for of in steps]
    left = list(range(len(tensors)))
    made: list[Step] = []
    for positions in _order(expression, optimize):
        picked = [left[position] for position in sorted(positions)]
        left = [tensor for tensor in left if tensor not in picked]
        while len(picked) > 1:
            a, b, *picked = picked
            wanted = {m for tensor in (*left, *picked) for m in tensors[tensor]} | set(expression.output)
            kept = [m for m in dict.fromkeys((*tensors[a], *tensors[b])) if m in wanted]
            last = not left and not picked
            result = expression.output if last else tuple(best_order(kept, [laid[a], laid[b]]))
            made.append(Step((a, b), (tensors[a], tensors[b]), result))
            picked.insert(0, len(tensors))
            tensors.append(result)
            laid.append(_dense(result, expression.extents))
        left.append(picked[0])
    return Path(expression, tuple(made), {})


def _dense(modes: Sequence[Mode], extents: Mapping[Mode, int]) -> dict[Mode, int]:
    steps, step = {}, 1
    for mode in reversed(modes):
        steps[mode], step = step, step * extents[mode]
    return steps


def _order(expression: Expression, optimize: Any) -> list[tuple[int, ...]]:
    """Which of the tensors that are left are contracted next, time after time."""
    count = len(expression.inputs)
    if count < 3 and isinstance(optimize, str):
        return [tuple(range(count))]
    opt_einsum = load_module("opt_einsum")
    symbols = {mode: opt_einsum.get_symbol(i) for i, mode in enumerate(expression.extents)}
    terms = ["".join(symbols[mode] for mode in modes) for modes in expression.inputs]
    text = ",".join(terms) + "->" + "".join(symbols[mode] for mode in expression.output)
    shapes = [tuple(expression.extents[mode] for mode in modes) for modes in expression.inputs]
    try:
        path, _ = opt_einsum.contract_path(text, *shapes, shapes=True, optimize=optimize)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"optimize is {optimize!r}; expected the name of one of opt_einsum's optimizers, such as 'auto' or "
            f"'greedy', or a path for {count} operands: {error}"
        ) from None
    taken = count
    for positions in path:
        if len(set(positions)) != len(positions):
            raise ValueError(f"optimize is {optimize!r}, and {positions!r} has a tensor twice; name each once")
        taken -= len(positions) - 1
    if taken != 1:
        raise ValueError(
            f"optimize is {optimize!r}, a path that leaves {taken} tensors of {count} operands; expected one"
        )
    return [tuple(positions) for positions in path]


def fit(path: Path, limit: int, needed: Callable[[Path], int], *, only_result: bool = False) -> Path:
    """The path cut into as few slices as it takes to need no more than `limit` bytes.

    Parameters
    ----------
    path : Path
    limit : int
    needed : callable
        The bytes that a path takes.
    only_result : bool
        Whether only modes of the result may be cut, for a sum over slices would be rounded each time.

    Raises
    ------
    UnavailableError
        If no slices are small enough; it names the least limit that would do.
    """
    least = takes = needed(path)
    while takes > limit:
        found = []
        for mode, extent in path.extents.items():
            used = any(mode in step.result for step in path.steps[:-1])
            if extent == 1 or not used or (only_result and mode not in path.expression.output):
                continue
            factor = next(n for n in range(2, extent + 1) if extent % n == 0)
            candidate = replace(path, parts={**path.parts, mode: path.parts.get(mode, 1) * factor})
            work = sum(candidate.multiplications(s) * candidate.executions(i) for i, s in enumerate(candidate.steps))
            found.append((needed(candidate), work, candidate))
        if not found:
            raise UnavailableError(
                f"the contraction needs {least} bytes of temporary memory, in its smallest slices, and "
                f"options.memory_limit allows {limit}; a limit of {least} would do"
            )
        takes, _, path = min(found, key=lambda entry: entry[:2])
        least = min(least, takes)
    return path
