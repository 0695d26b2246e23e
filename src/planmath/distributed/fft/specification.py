"""What the arguments of all ranks describe together."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from planmath.core.arrays import COMPLEX_OF, REAL_OF, Layout, contiguous_strides
from planmath.core.collective import sections
from planmath.distributed.distribution import placement
from planmath.distributed.distribution.distributions import (
    BlockNonCyclic,
    Box,
    ConvertDistributionError,
    Distribution,
    Slab,
)
from planmath.distributed.distribution.placement import Placement
from planmath.distributed.fft.options import FFTOptions
from planmath.distributed.fft.problem import FFTProblem
from planmath.distributed.fft.route import is_whole

#: The slab that a result has instead of the operand's, by the axis that is cut.
OTHER_SLAB = {0: Slab.Y, 1: Slab.X}


class Given(NamedTuple):
    """A distribution as a user gave it: one, or one of the operand and one of the result."""

    operand: Distribution
    result: Distribution | None

    def described(self) -> str:
        return " and ".join(placement.described(of) for of in self if of is not None)

    def corners(self, ndim: int) -> tuple[int, ...]:
        return *placement.corners(self.operand, ndim), *placement.corners(self.result or self.operand, ndim)

    @property
    def mirrored(self) -> Given:
        """Of the transform back from the result."""
        if self.result is not None:
            return Given(self.result, self.operand)
        return Given(OTHER_SLAB[self.operand.partition_dim], None) if isinstance(self.operand, Slab) else self


def as_given(distribution: Any, ndim: int) -> Given:
    """What a user's argument means. Raises where it is no distribution, or no pair of boxes."""
    if isinstance(distribution, Sequence) and not isinstance(distribution, Box | str):
        if len(distribution) != 2 or not all(isinstance(of, Box) for of in distribution):
            raise ValueError(f"distribution is {distribution!r}; expected one distribution, or a pair of two boxes")
        return Given(*(placement.checked(f"distribution[{k}]", of, ndim) for k, of in enumerate(distribution)))
    if isinstance(distribution, Box):
        raise TypeError(f"distribution is {distribution!r}; expected a pair of boxes, of the operand and of the result")
    found = placement.checked("distribution", distribution, ndim)
    if isinstance(found, BlockNonCyclic):
        with suppress(ConvertDistributionError):
            found = found.to(Slab)
    return Given(found, None)


def kind_of(dtype: str, options: FFTOptions) -> str:
    """The kind of transform. Raises where the dtype is none of operands, or none of the kind that is asked for."""
    if (dtype not in REAL_OF and dtype not in COMPLEX_OF) or dtype in ("float16", "complex32"):
        raise TypeError(f"operand has the dtype {dtype}; expected float32, float64, complex64 or complex128")
    real = dtype in COMPLEX_OF
    kind = options.fft_type or ("R2C" if real else "C2C")
    if (kind == "R2C") != real:
        raise ValueError(f"options.fft_type is {kind!r}, but operand has the dtype {dtype}")
    return kind


def checked_axes(axes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes to transform, counted from the first one."""
    if axes is None:
        return tuple(range(ndim))
    try:
        chosen = [operator.index(axis) for axis in axes]
    except TypeError:
        raise TypeError(f"axes is {axes!r}; expected a sequence of integers") from None
    if not chosen or any(not -ndim <= axis < ndim for axis in chosen):
        raise ValueError(f"axes is {tuple(chosen)}; expected at least one, each from {-ndim} to {ndim - 1}")
    found = tuple(axis % ndim for axis in chosen)
    if len(set(found)) != len(found):
        raise ValueError(f"axes is {tuple(chosen)}; expected each axis once")
    return found


def other_extent(kind: str, extent: int, parity: str) -> int:
    """The extent of the real axis on the other side."""
    if kind == "R2C":
        return extent // 2 + 1
    return extent if kind == "C2C" else 2 * (extent - 1) + (parity == "odd")


def padded_strides(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    """Strides of real elements whose last axis is padded, so that complex ones have their places in the same memory."""
    padded = list(shape)
    if axis == len(shape) - 1:
        padded[axis] = 2 * (shape[axis] // 2 + 1)
    return contiguous_strides(tuple(padded))


def specify(
    kind: str, dtype: str, axes: tuple[int, ...], given: Given, options: FFTOptions, ndim: int,
    everybody: Sequence[Sequence[int]], execution: tuple[str, int],
) -> list[FFTProblem]:  # fmt: skip
    """The problem as each rank sees it, in the order of ranks. Equal on all of them.

    Parameters
    ----------
    kind, dtype, axes, given, options, ndim
        Equal on all ranks, but for boxes.
    everybody : sequence of sequence of int
        Of each rank: local shape, strides, corners of both boxes.
    execution : tuple

    Raises
    ------
    ValueError, BindDistributionError
        If the local arrays make no array of that distribution.
    """
    shapes = [tuple(words[:ndim]) for words in everybody]
    corners = [[tuple(words[k * ndim : (k + 2) * ndim]) for words in everybody] for k in (2, 4)]
    source = placement.place("operand", given.operand, shapes, corners[0])
    if 0 in source.global_shape:
        raise ValueError(f"operand has the global shape {source.global_shape}; a transform needs at least one element")
    real = axes[-1]
    shape = list(source.global_shape)
    if kind != "C2C":
        shape[real] = other_extent(kind, shape[real], options.last_axis_parity)
        if shape[real] < 1:
            raise ValueError(
                f"the result would have {shape[real]} elements along axis {real}; choose last_axis_parity='odd'"
            )
    target = _target(given, options, tuple(shape), corners[1])
    pads = kind == "C2R" and given.result is None and is_whole(target.sections, shape, real)
    problems = []
    for rank, words in enumerate(everybody):
        result_shape = sections.shape_of(target.sections[rank])
        dense = contiguous_strides(result_shape)
        strides = padded_strides(result_shape, real) if pads else dense
        problems.append(
            FFTProblem(
                kind, REAL_OF.get(dtype, dtype), (source.global_shape, target.global_shape), axes, source.sections,
                target.sections, rank, tuple(words[ndim : 2 * ndim]), strides, execution,
            )
        )  # fmt: skip
    return problems


def _target(given: Given, options: FFTOptions, shape: tuple[int, ...], corners: Sequence[tuple[int, ...]]) -> Placement:
    """Where the result is."""
    if given.result is not None:
        return placement.target("distribution[1]", given.result, shape, corners)
    distribution = given.operand
    if not options.redistribute:
        if not (isinstance(distribution, Slab) and distribution.partition_dim in OTHER_SLAB) or len(shape) < 2:
            raise ValueError(
                f"options.redistribute is False, which is for Slab.X and Slab.Y of two axes and more; the operand of "
                f"{len(shape)} axes is {distribution!r}"
            )
        distribution = OTHER_SLAB[distribution.partition_dim]
    return placement.placed(distribution, shape, len(corners))


def check_layout(layout: Layout, kind: str) -> None:
    """Raise where an operand has not the layout that transforms in place need."""
    shape, strides = layout.shape, layout.strides
    if 0 in shape:
        return
    dense = contiguous_strides(shape)
    used = [(n, step) for n, step in zip(shape, strides, strict=True) if n > 1]
    if kind != "R2C":
        if any(step != of for n, step, of in zip(shape, strides, dense, strict=True) if n > 1):
            raise ValueError(f"operand has the strides {strides} (in elements); expected C order without gaps, {dense}")
        return
    reach = 1
    for n, step in reversed(used):
        if step < reach:
            raise ValueError(f"operand has the strides {strides} (in elements); expected C order, gaps allowed")
        reach = step * n
