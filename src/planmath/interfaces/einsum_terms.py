"""What einsum's expressions say, and what is left of them for a contraction: sums of products, and nothing else."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

#: Modes, and the operand whose axes they are.
Term = tuple[str, Any]


def parts(expr: str) -> tuple[list[str], str]:
    """The modes of each operand and of the result."""
    inputs, _, output = expr.partition("->")
    return inputs.split(","), output


def extents_of(expr: str, shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """How many elements each mode of a contraction has."""
    return dict(zip("".join(parts(expr)[0]), chain(*shapes), strict=True))


def of_gradient(expr: str, i: int) -> str:
    """The contraction of the result's gradient and the other operands that is the gradient of operand `i`."""
    inputs, output = parts(expr)
    return ",".join([output, *inputs[:i], *inputs[i + 1 :]]) + "->" + inputs[i]


def batched(expr: str, mapped: Sequence[bool]) -> str:
    """The contraction of operands of which some have one more axis in front, as the result has."""
    inputs, output = parts(expr)
    new = next((letter for letter in string.ascii_letters if letter not in expr), None)
    if new is None:
        raise ValueError(f"the contraction {expr!r} has a name for every letter; none is left for the axis of vmap")
    return f"{','.join([new * of + m for m, of in zip(inputs, mapped, strict=True)])}->{new}{output}"


@lru_cache(maxsize=1024)
def as_given(expr: str, *shapes: tuple[int, ...]) -> str | None:
    """The contraction of operands of which it takes every axis as it is; None where something is to be done before."""
    inputs, output = named(expr, [len(shape) for shape in shapes])
    letters, extents = "".join(inputs), list(chain(*shapes))
    of_modes = dict(zip(letters, extents, strict=True))
    if (
        len(inputs) == 1
        or any(len(set(modes)) < len(modes) for modes in inputs)
        or any(letters.count(mode) == 1 and mode not in output for mode in of_modes)
        or any(of_modes[mode] != n for mode, n in zip(letters, extents, strict=True))
    ):
        return None
    return f"{','.join(inputs)}->{output}"


def reduced(expr: str, operands: Sequence[Any], diagonal: Callable[[Any, int, int], Any]) -> tuple[list[Term], str]:
    """Terms whose modes are there once in each, and in another one or the result; and the result's modes.

    Parameters
    ----------
    expr : str
    operands : sequence of array
        With ``ndim``, ``shape``, indexing and ``sum``.
    diagonal : callable
        ``diagonal(array, first, second)``, which has the diagonal as its last axis.
    """
    inputs, output = named(expr, [operand.ndim for operand in operands])
    unique = [_of_unique_modes(modes, x, diagonal) for modes, x in zip(inputs, operands, strict=True)]
    extents = _extents(expr, unique)
    terms = [_without_stretched(modes, x, extents) for modes, x in unique]
    return [
        _without_lone(modes, x, output + "".join(other for j, (other, _) in enumerate(terms) if j != i))
        for i, (modes, x) in enumerate(terms)
    ], output


def _without_stretched(modes: str, operand: Any, extents: dict[str, int]) -> Term:
    """Without axes of one element that stand for more."""
    kept = [n == extents[mode] for mode, n in zip(modes, operand.shape, strict=True)]
    if all(kept):
        return modes, operand
    index = tuple([slice(None) if keep else 0 for keep in kept])
    return "".join([mode for mode, keep in zip(modes, kept, strict=True) if keep]), operand[index]


def _without_lone(modes: str, operand: Any, elsewhere: str) -> Term:
    """The sum over axes whose modes are nowhere else."""
    alone = tuple([axis for axis, mode in enumerate(modes) if mode not in elsewhere])
    return ("".join([mode for mode in modes if mode in elsewhere]), operand.sum(alone)) if alone else (modes, operand)


def _of_unique_modes(modes: str, operand: Any, diagonal: Callable[[Any, int, int], Any]) -> Term:
    """The diagonals that modes which are named twice stand for."""
    for mode in modes:
        while modes.count(mode) > 1:
            first, second = modes.index(mode), modes.rindex(mode)
            if operand.shape[first] != operand.shape[second]:
                raise ValueError(
                    f"the mode {mode!r} is that of two axes, of {operand.shape[first]} and of {operand.shape[second]} "
                    "elements; expected as many of both, for their diagonal"
                )
            operand = diagonal(operand, first, second)
            modes = modes[:first] + modes[first + 1 : second] + modes[second + 1 :] + mode
    return modes, operand


def _extents(expr: str, terms: Sequence[Term]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for modes, operand in terms:
        for mode, n in zip(modes, operand.shape, strict=True):
            known = extents.get(mode, 1)
            if known != 1 and n not in (1, known):
                raise ValueError(f"in {expr!r} the mode {mode!r} has the extents {known} and {n}; expected one")
            extents[mode] = known if n == 1 else n
    return extents


def named(expr: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The modes of each operand and of the result, with letters in place of ``...``."""
    expr = expr.replace(" ", "")
    given, arrow, output = expr.partition("->")
    terms = given.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"{expr!r} is for {len(terms)} operands, and {len(ranks)} are given")
    free = "".join([letter for letter in string.ascii_letters if letter not in expr])
    counts = [max(rank - len(modes) + 3, 0) if "..." in modes else 0 for modes, rank in zip(terms, ranks, strict=True)]
    dots = free[: max(counts)]
    inputs = [modes.replace("...", dots[len(dots) - n :]) for modes, n in zip(terms, counts, strict=True)]
    for modes, letters, rank in zip(terms, inputs, ranks, strict=True):
        if len(letters) != rank or not all(mode in string.ascii_letters for mode in letters):
            raise ValueError(f"in {expr!r} {modes!r} is for an operand of {rank} dimensions; give each a letter")
    if arrow:
        output = output.replace("...", dots)
    else:
        letters = "".join(inputs)
        output = dots + "".join(sorted([m for m in letters if letters.count(m) == 1 and m not in dots]))
    for mode in output:
        if output.count(mode) > 1 or not any(mode in modes for modes in inputs):
            raise ValueError(f"in {expr!r} the result has the mode {mode!r} twice, or no operand has it")
    return inputs, output
