"""Grids of processes."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from planmath.distributed.runtime import required_context


class _Layout(enum.IntEnum):
    """`ProcessGrid.Layout`: the order in which the ranks are put into a grid."""

    COL_MAJOR = 0
    ROW_MAJOR = 1


class ProcessGrid:
    """All processes in a grid of any number of axes.

    Parameters
    ----------
    shape : sequence of int, optional
        Its product is the number of processes. Default: that of `process_array`.
    layout : ProcessGrid.Layout, optional
        Whether the last axis of the grid varies fastest with the rank (ROW_MAJOR) or the first one (COL_MAJOR). May be
        left out where one axis has all processes.
    process_array : array of int, optional
        The ranks themselves in their places, in place of a layout.

    Raises
    ------
    RuntimeError
        Before `planmath.distributed.initialize`.
    ValueError, TypeError
        If they do not describe a grid of all processes.

    Examples
    --------
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import ProcessGrid
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> ProcessGrid(shape=(1, 1))
    ProcessGrid(shape=(1, 1), layout=ROW_MAJOR)
    >>> distributed.finalize()
    """

    Layout = _Layout

    def __init__(self, *, shape: Sequence[int] | None = None, layout: _Layout | None = None, process_array: Any = None):
        self._nranks = nranks = required_context().process_group.nranks
        if shape is None and process_array is None:
            raise ValueError("ProcessGrid got neither a shape nor a process_array; pass one of them")
        self._places: np.ndarray | None = None
        if process_array is not None:
            if layout is not None:
                raise NotImplementedError("a ProcessGrid has a layout or a process_array; leave one of them away")
            self._places = places = np.array(process_array)
            if shape is not None and tuple(shape) != places.shape:
                raise ValueError(f"shape is {tuple(shape)}, but process_array has the shape {places.shape}")
            if places.dtype.kind not in "iu" or sorted(places.ravel().tolist()) != list(range(nranks)):
                raise ValueError(f"process_array is {places.tolist()}; expected each rank from 0 to {nranks - 1} once")
            shape = places.shape
        assert shape is not None
        self.shape = tuple(int(n) for n in shape)
        if not self.shape or any(n < 1 for n in self.shape) or prod(self.shape) != nranks:
            raise ValueError(
                f"shape is {self.shape}; expected extents from 1 on whose product is the number of processes, {nranks}"
            )
        self.layout: _Layout | None = None
        if self._places is None:
            if layout is None:
                if max(self.shape) != nranks:
                    raise ValueError(
                        f"layout was not given, and several axes of the shape {self.shape} have more than one process; "
                        "pass ProcessGrid.Layout.ROW_MAJOR or COL_MAJOR"
                    )
                layout = _Layout.ROW_MAJOR
            if not isinstance(layout, _Layout):
                raise TypeError(f"layout is a {type(layout).__name__}; expected a ProcessGrid.Layout")
            self.layout = layout

    @cached_property
    def process_array(self) -> np.ndarray:
        """The ranks in their places."""
        if self._places is not None:
            return self._places
        return np.arange(self._nranks).reshape(self.shape, order="C" if self.layout == _Layout.ROW_MAJOR else "F")

    @cached_property
    def _coordinates(self) -> dict[int, tuple[int, ...]]:
        return {int(rank): place for place, rank in np.ndenumerate(self.process_array)}

    def coordinates(self, rank: int) -> tuple[int, ...]:
        """Where a rank is in the grid."""
        return self._coordinates[rank]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def from_array(self) -> bool:
        """Whether the ranks were put into their places one by one."""
        return self._places is not None

    @property
    def single_axis(self) -> int | None:
        """The axis that has all processes, if there is one."""
        return self.shape.index(self._nranks) if self._nranks in self.shape else None

    def extended(self, ndim: int) -> ProcessGrid:
        """The grid with axes of one process appended."""
        shape = self.shape + (1,) * (ndim - self.ndim)
        if self._places is not None:
            return ProcessGrid(process_array=self._places.reshape(shape))
        return ProcessGrid(shape=shape, layout=self.layout)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProcessGrid):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.process_array, other.process_array))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.layout is None:
            return f"ProcessGrid(process_array={self.process_array.tolist()})"
        return f"ProcessGrid(shape={self.shape}, layout={self.layout.name})"
