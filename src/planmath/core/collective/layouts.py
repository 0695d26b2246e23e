"""The order of axes in memory, equal on all ranks."""

from __future__ import annotations

from collections.abc import Sequence

from planmath.core.arrays import overlaps_itself


def flexible_orders(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """In which orders an array's axes may be said to be: whether in C and in F order, and one order that they have.

    Axes of one element, and empty arrays, are in any order.

    Raises
    ------
    ValueError
        If elements share memory, or axes go backwards.
    """
    ndim = len(shape)
    if 0 in shape:
        return 1, 1, *range(ndim)
    if any(step < 0 and n > 1 for n, step in zip(shape, strides, strict=True)) or overlaps_itself(shape, strides):
        raise ValueError(
            f"the operand has the shape {tuple(shape)} and the strides {tuple(strides)} (in elements), so that axes go "
            "backwards or elements share memory; pass a copy of it"
        )
    steps = [step for n, step in zip(shape, strides, strict=True) if n > 1]
    # of axes of one element the place does not matter: they stand where C order has them
    order = sorted(range(ndim), key=lambda k: (-strides[k] if shape[k] > 1 else 0, k))
    return int(steps == sorted(steps, reverse=True)), int(steps == sorted(steps)), *order


def settled_order(name: str, everybody: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The axes from the slowest to the fastest in an order that all ranks' arrays have.

    Raises
    ------
    ValueError
        If there is none.
    """
    ndim = len(everybody[0]) - 2
    if all(words[0] for words in everybody):
        return tuple(range(ndim))
    if all(words[1] for words in everybody):
        return tuple(reversed(range(ndim)))
    first = next(tuple(words[2:]) for words in everybody if not (words[0] and words[1]))
    for rank, words in enumerate(everybody):
        if not (words[0] and words[1]) and tuple(words[2:]) != first:
            raise ValueError(
                f"the axes of {name} are in the order {tuple(words[2:])} in memory on rank {rank}, the slowest first, "
                f"and {first} on others; expected the same order on all ranks"
            )
    return first
