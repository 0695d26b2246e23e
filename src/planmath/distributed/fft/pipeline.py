"""A planned transform: local transforms between exchanges, all of them planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import ITEMSIZE, contiguous_strides, package_named
from planmath.core.collective import sections
from planmath.core.collective.exchange import Exchange, Moves, Traffic, section_copy
from planmath.core.collective.memory import array_over
from planmath.distributed.fft.problem import FFTProblem
from planmath.distributed.fft.route import Placed, Route, Stage
from planmath.fft.operation import FFT

NUMPY = package_named("numpy")
#: Makes a planned exchange; the flag says whether it receives in a buffer of its own.
MakeExchange = Callable[[Traffic, bool], Exchange]


class Place(NamedTuple):
    """Where an array is between two steps: in the user's memory, or in memory of the plan's own."""

    array: np.ndarray | None
    """None for the user's."""
    strides: tuple[int, ...]
    buffer_of: Exchange | None = None
    """Whose receive buffer it is."""


class Local:
    """A transform of what this rank has."""

    def __init__(
        self, source: Place, sample: np.ndarray, axes: tuple[int, ...], out: Any, options: dict[str, Any], threads: int
    ):
        self.source, self.out = source.array, out
        self.transform = FFT(sample, axes=axes, options=options, execution={"name": "cpu", "num_threads": threads})
        self.transform.plan()
        if self.source is None:
            self.transform.release_operand()

    def __call__(self, user: np.ndarray, result: np.ndarray, direction: Any) -> None:
        transform = self.transform
        if self.source is None:
            transform.reset_operand(user)
        if self.out is None:
            transform.execute(direction)
        else:
            transform.execute(direction, out=result if self.out is RESULT else self.out)
        if self.source is None:
            transform.release_operand()


#: Stands for the result's place in the user's memory.
RESULT = object()


class Send:
    """An exchange out of a place, into its buffer or into the result."""

    def __init__(self, exchange: Exchange, source: Place, into_result: bool):
        self.exchange, self.into_result = exchange, into_result
        self.address = None if source.array is None else source.array.ctypes.data

    def __call__(self, user: np.ndarray, result: np.ndarray, direction: Any) -> None:
        source = user.ctypes.data if self.address is None else self.address
        if self.into_result:
            self.exchange.run(source, result.ctypes.data)
        else:
            self.exchange.run_into_buffer(source)


class Copy:
    """A copy of an array into the result."""

    def __init__(self, source: np.ndarray, strides: tuple[int, ...]):
        axes = [((0, 0, n),) for n in source.shape]
        steps = tuple(step // source.itemsize for step in source.strides)
        self.source, self.copy = source, section_copy(axes, steps, strides, source.itemsize)

    def __call__(self, user: np.ndarray, result: np.ndarray, direction: Any) -> None:
        self.copy.run(self.source.ctypes.data, result.ctypes.data)


class Release:
    """Lets the other ranks write into a buffer again."""

    def __init__(self, exchange: Exchange):
        self.exchange = exchange

    def __call__(self, user: np.ndarray, result: np.ndarray, direction: Any) -> None:
        self.exchange.release()


class Pipeline:
    """The steps of a transform, from the user's operand to the result in the same memory.

    Parameters
    ----------
    problem : FFTProblem
    route : Route
    operand : numpy.ndarray
        The present operand of this rank, of which only the memory is used while planning.
    make_exchange : callable
        Collective.
    options : dict
        For local transforms.
    """

    def __init__(
        self,
        problem: FFTProblem,
        route: Route,
        operand: np.ndarray,
        make_exchange: MakeExchange,
        options: dict[str, Any],
    ):
        self.problem, self.route = problem, route
        self.steps: list[Callable[[np.ndarray, np.ndarray, Any], None]] = []
        self.traffics: list[Traffic] = []
        self._operand, self._make_exchange, self._options = operand, make_exchange, options
        self._real_is_done = False
        here = Place(None, problem.strides)
        for number, stage in enumerate(route.stages):
            last = number == len(route.stages) - 1
            if stage.axes:
                here = self._transform(here, stage, last and stage.after == route.target)
            end = route.target if last else route.stages[number + 1].before
            if stage.after != end:
                here = self._send(here, stage.after, end, last)
        if here.array is not None:
            self.steps.append(Copy(here.array, problem.result_strides))
            self._leave(here)
        self._operand = np.empty(0)  # the user's array is not kept

    def __call__(self, user: np.ndarray, result: np.ndarray, direction: Any) -> None:
        for step in self.steps:
            step(user, result, direction)

    def free(self) -> None:
        """End the local transforms."""
        for step in self.steps:
            if isinstance(step, Local):
                step.transform.free()
        self.steps = []

    def __del__(self) -> None:
        self.free()

    def _transform(self, here: Place, stage: Stage, ends: bool) -> Place:
        """Transform along the axes of a stage; in place where that can be, or into the result where that is all."""
        problem, rank, axes = self.problem, self.problem.rank, stage.axes
        real = problem.kind != "C2C" and problem.axes[-1] in axes
        self._real_is_done |= real
        shape = sections.shape_of(stage.after[rank])
        dense = contiguous_strides(shape)
        if 0 in shape:
            self._leave(here)
            return Place(None if ends else np.empty(shape, self._dtype), dense)
        sample = self._operand if here.array is None else here.array
        options = {**self._options, "fft_type": problem.kind if real else "C2C", "result_layout": "natural"}
        if real and problem.kind == "C2R":
            options["last_axis_parity"] = "odd" if shape[axes[-1]] % 2 else "even"
        if ends and here.array is not None and problem.result_strides == dense:
            self.steps.append(Local(here, sample, axes, RESULT, options, problem.execution[1]))
            self._leave(here)
            return Place(None, dense)
        if not real:
            self.steps.append(Local(here, sample, axes, None, {**options, "inplace": True}, problem.execution[1]))
            return here
        out = np.empty(shape, self._dtype)
        self.steps.append(Local(here, sample, axes, out, options, problem.execution[1]))
        self._leave(here)
        return Place(out, dense)

    @property
    def _dtype(self) -> str:
        """Of the array as it is now."""
        return self.problem.dtypes[self._real_is_done]

    def _send(self, here: Place, before: Placed, after: Placed, last: bool) -> Place:
        """Exchange; the last time straight into the result, unless that is where the messages come from."""
        problem = self.problem
        moves = Moves(before, after, ITEMSIZE[self._dtype], tuple(range(len(problem.shapes[0]))))
        into_result = last and here.array is not None
        traffic = Traffic(moves, problem.rank, here.strides, problem.result_strides if into_result else None)
        self.traffics.append(traffic)
        exchange = self._make_exchange(traffic, not into_result)
        self.steps.append(Send(exchange, here, into_result))
        self._leave(here)
        if into_result:
            return Place(None, problem.result_strides)
        array = array_over(NUMPY, exchange, exchange.buffer, traffic.shape, traffic.dense, self._dtype)
        return Place(array, traffic.dense, exchange)

    def _leave(self, here: Place) -> None:
        """What is at a place is not needed any more."""
        if here.buffer_of is not None:
            self.steps.append(Release(here.buffer_of))
