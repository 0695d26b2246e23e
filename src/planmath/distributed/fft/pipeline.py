"""A planned transform: local transforms between exchanges, all of them planned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from planmath.core.arrays import ITEMSIZE, Package, contiguous_strides
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Copying, Exchange, Moves, Tail, Traffic
from planmath.distributed.fft.problem import FFTProblem
from planmath.distributed.fft.route import Placed, Route, Stage
from planmath.fft.operation import FFT

#: Makes a planned exchange; the flag says whether it receives in a buffer of its own.
MakeExchange = Callable[[Traffic, bool], Exchange]


class Place(NamedTuple):
    """Where an array is between two steps: in the user's memory, or in memory of the plan's own."""

    array: Any
    """None for the user's."""
    strides: tuple[int, ...]
    buffer_of: Exchange | None = None
    """Whose receive buffer it is."""


class Local:
    """A transform of what this rank has.

    Parameters
    ----------
    source : Place
    sample : array
        What is there while planning.
    axes : tuple of int
    out : array, RESULT or None
        Where the result is put; None for the place of the source.
    options, execution : dict
        Of the transform.
    """

    def __init__(
        self, source: Place, sample: Any, axes: tuple[int, ...], out: Any, options: dict[str, Any],
        execution: dict[str, Any],
    ):  # fmt: skip
        self.source, self.out, self.axes = source.array, out, axes
        self._sample, self._strides = sample, source.strides
        self._made: dict[str, Any] = {"axes": axes, "options": options, "execution": execution}
        self._axis, self._bounds = 0, [0, sample.shape[0]]
        self._result_strides: tuple[int, ...] | None = None
        self.transforms: list[FFT] = []

    def pieces(self, size: int) -> tuple[int, list[int]] | None:
        """An axis that is not transformed, and bounds along it, so that pieces have at least so many bytes."""
        sample = self._sample
        free = [k for k, n in enumerate(sample.shape) if k not in self.axes and n > 1]
        if not free:
            return None
        axis = max(free, key=lambda k: self._strides[k])
        if self.out is not None and any(n > 1 for n in sample.shape[:axis]):
            return None  # transforms make dense arrays, which such pieces of one are not
        count = min(MOST_PIECES, sample.shape[axis], prod(sample.shape) * sample.itemsize // size)
        if count < 2:
            return None
        return axis, [sample.shape[axis] * k // count for k in range(count + 1)]

    def cut(self, axis: int, bounds: list[int]) -> None:
        """Transform in pieces."""
        self._axis, self._bounds = axis, bounds

    def cut_like(self, tail: Tail) -> None:
        """Transform in the pieces in which messages end, each of which becomes a part of a dense result."""
        extent = self._sample.shape[tail.axis]
        self.cut(tail.axis, [*(tail.interval(extent, k)[0] for k in range(tail.parts)), extent])
        if self.out is not None:
            self._result_strides = contiguous_strides(tuple(self._sample.shape))

    def plan(self) -> None:
        """Plan the transforms, one for each length of a piece."""
        by_length: dict[int, FFT] = {}
        for start, stop in pairwise(self._bounds):
            if stop - start not in by_length:
                transform = by_length[stop - start] = FFT(self._piece(self._sample, start, stop), **self._made)
                if self._result_strides is not None:
                    transform._problem = transform._problem._replace(result_strides=self._result_strides)
                transform.plan()
                if self.source is None or len(self._bounds) > 2:
                    transform.release_operand()
            self.transforms.append(by_length[stop - start])
        self._sample = None

    def _piece(self, array: Any, start: int, stop: int) -> Any:
        if len(self._bounds) == 2:
            return array
        return array[(slice(None),) * self._axis + (slice(start, stop),)]

    def works(self, user: Any, result: Any, direction: Any) -> list[Callable[[], None]]:
        """The transforms of the pieces, to be made one after the other."""
        return [partial(self._work, k, user, result, direction) for k in range(len(self.transforms))]

    def _work(self, number: int, user: Any, result: Any, direction: Any) -> None:
        transform, bounds = self.transforms[number], self._bounds[number : number + 2]
        bound_anew = self.source is None or len(self.transforms) > 1
        if bound_anew:
            transform.reset_operand(self._piece(user if self.source is None else self.source, *bounds))
        if self.out is None:
            transform.execute(direction)
        else:
            transform.execute(direction, out=self._piece(result if self.out is RESULT else self.out, *bounds))
        if bound_anew:
            transform.release_operand()

    def __call__(self, user: Any, result: Any, direction: Any) -> None:
        for number in range(len(self.transforms)):
            self._work(number, user, result, direction)

    def free(self) -> None:
        for transform in self.transforms:
            transform.free()
        self.transforms = []


#: Stands for the result's place in the user's memory.
RESULT = object()
#: What is sent while the next piece is computed: at most so many, of at least so many bytes.
MOST_PIECES, PIECE = 8, 4 << 20
#: What of a message is transformed while the rest is on its way: in so many parts, and how many pieces leave before.
TAIL, HEAD = 4, 4


class Send:
    """An exchange out of a place, into its buffer or into the result; in pieces, as a local transform has them."""

    def __init__(
        self, exchange: Exchange, source: Place, into_result: bool, package: Package, pieces: Local | None = None
    ):
        self.exchange, self.into_result, self.pieces = exchange, into_result, pieces
        #: What comes after it, in the parts that arrive one after the other.
        self.then: Local | None = None
        self._address_of = package.address
        self.address = None if source.array is None else package.address(source.array)

    def __call__(self, user: Any, result: Any, direction: Any) -> None:
        source = self._address_of(user) if self.address is None else self.address
        works: list[list[Callable[[], None]]] = []
        if self.pieces is not None or self.then is not None:
            works = [[] if of is None else of.works(user, result, direction) for of in (self.pieces, self.then)]
        if self.then is None:
            del works[1:]
        if self.into_result:
            self.exchange.run(source, self._address_of(result), *works)
        else:
            self.exchange.run_into_buffer(source, *works)


class Copy:
    """A copy of an array into the result."""

    def __init__(self, source: Place, strides: tuple[int, ...], itemsize: int, bench: Bench):
        axes = [((0, 0, n),) for n in source.array.shape]
        self._source, self._address_of = source.array, bench.package.address
        self._copy = bench.space.copy(Copying(axes, source.strides, strides, itemsize))

    def __call__(self, user: Any, result: Any, direction: Any) -> None:
        self._copy.run(self._address_of(self._source), self._address_of(result))


class Release:
    """Lets the other ranks write into a buffer again."""

    def __init__(self, exchange: Exchange):
        self.exchange = exchange

    def __call__(self, user: Any, result: Any, direction: Any) -> None:
        self.exchange.release()


class Pipeline:
    """The steps of a transform, from the user's operand to the result in the same memory.

    Parameters
    ----------
    problem : FFTProblem
    route : Route
    operand : array
        The present operand of this rank, of which only the memory is used while planning.
    make_exchange : callable
        Collective.
    options : dict
        For local transforms.
    bench : Bench
        Of whose package the operand is.
    """

    def __init__(
        self,
        problem: FFTProblem,
        route: Route,
        operand: Any,
        make_exchange: MakeExchange,
        options: dict[str, Any],
        bench: Bench,
    ):
        self.problem, self.route, self._bench = problem, route, bench
        self.steps: list[Callable[[Any, Any, Any], None]] = []
        self.traffics: list[Traffic] = []
        self._operand, self._make_exchange, self._options = operand, make_exchange, options
        self._real_is_done = False
        self._tail: Tail | None = None
        here = Place(None, problem.strides)
        for number, stage in enumerate(route.stages):
            last = number == len(route.stages) - 1
            if stage.axes:
                here = self._transform(here, stage, last and stage.after == route.target)
                self._join()
            end = route.target if last else route.stages[number + 1].before
            if stage.after != end:
                here = self._send(here, stage.after, end, last, () if last else route.stages[number + 1].axes)
        if here.array is not None:
            self.steps.append(Copy(here, problem.result_strides, ITEMSIZE[self._dtype], bench))
            self._leave(here)
        for local in self._locals():
            local.plan()
        self._operand = None  # the user's array is not kept

    def _locals(self) -> list[Local]:
        found = [of for step in self.steps for of in ((step.pieces, step.then) if isinstance(step, Send) else (step,))]
        return [step for step in found if isinstance(step, Local)]

    def __call__(self, user: Any, result: Any, direction: Any) -> None:
        todo = iter(self.steps)
        try:
            for step in todo:
                step(user, result, direction)
        except BaseException as error:  # the other ranks need not wait for this one's buffers, nor for what it sends
            for step in self.steps:
                if isinstance(step, Release):
                    step(user, result, direction)
            for step in todo:
                if isinstance(step, Send):
                    step.exchange.abandon(error)
            raise

    def free(self) -> None:
        """End the local transforms."""
        for local in self._locals():
            local.free()
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
            return Place(None if ends else self._bench.empty(shape, self._dtype), dense)
        sample = self._operand if here.array is None else here.array
        execution = self._bench.execution(problem.execution[1])
        options = {**self._options, "fft_type": problem.kind if real else "C2C", "result_layout": "natural"}
        if real and problem.kind == "C2R":
            options["last_axis_parity"] = "odd" if shape[axes[-1]] % 2 else "even"
        if ends and here.array is not None and problem.result_strides == dense:
            self.steps.append(Local(here, sample, axes, RESULT, options, execution))
            self._leave(here)
            return Place(None, dense)
        if not real:
            self.steps.append(Local(here, sample, axes, None, {**options, "inplace": True}, execution))
            return here
        out = self._bench.empty(shape, self._dtype)
        self.steps.append(Local(here, sample, axes, out, options, execution))
        self._leave(here)
        return Place(out, dense)

    @property
    def _dtype(self) -> str:
        """Of the array as it is now."""
        return self.problem.dtypes[self._real_is_done]

    def _send(self, here: Place, before: Placed, after: Placed, last: bool, axes: tuple[int, ...]) -> Place:
        """Exchange; the last time straight into the result, unless that is where the messages come from.

        The axes are what is transformed then.
        """
        problem = self.problem
        moves = Moves(before, after, ITEMSIZE[self._dtype], tuple(range(len(problem.shapes[0]))))
        into_result = last and here.array is not None
        traffic = Traffic(moves, problem.rank, here.strides, problem.result_strides if into_result else None)
        self.traffics.append(traffic)
        exchange = self._make_exchange(traffic, not into_result)
        self.steps.append(Send(exchange, here, into_result, self._bench.package, self._cut(exchange, traffic, axes)))
        self._leave(here)
        if into_result:
            return Place(None, problem.result_strides)
        return Place(self._bench.received(exchange, traffic, self._dtype), traffic.dense, exchange)

    def _cut(self, exchange: Exchange, traffic: Traffic, axes: tuple[int, ...]) -> Local | None:
        """The transform before an exchange, as its part, where what is sent can leave in pieces."""
        self._tail = None
        local = self.steps[-1] if self.steps else None
        split = getattr(exchange, "split", None)
        if split is None:
            return None
        pieces = local.pieces(PIECE) if isinstance(local, Local) else None
        axis, bounds = pieces or (0, [0, max(sections.extent_of(traffic.moves.sources[traffic.rank][0]), 1)])
        self._tail = self._tail_of(traffic.moves, axes, len(bounds) - 1)
        if pieces is None and self._tail is None:
            return None
        split(axis, list(pairwise(bounds)), self._tail)
        if pieces is None:
            return None
        local.cut(axis, bounds)  # type: ignore[union-attr]
        return self.steps.pop()  # type: ignore[return-value]

    def _tail_of(self, moves: Moves, axes: tuple[int, ...], pieces: int) -> Tail | None:
        """How messages end, so that transforms along some axes can begin before all is there; alike on all ranks.

        But for the number of pieces that leave before, which is the sender's own.
        """
        if TAIL < 2 or self.problem.kind != "C2C" or self._later(axes):
            return None
        shapes = [sections.shape_of(of) for of in moves.targets]
        if min(map(prod, shapes)) * moves.itemsize < 2 * TAIL * PIECE:
            return None
        for axis in moves.order:
            if axis not in axes and min(shape[axis] for shape in shapes) >= TAIL:
                return Tail(axis, TAIL, min(HEAD, pieces - 1))
        return None

    def _later(self, axes: tuple[int, ...]) -> bool:
        """Whether more than transforms along some axes follow, or nothing."""
        last = self.route.stages[-1]
        return not axes or last.axes != axes or last.after != self.route.target

    def _join(self) -> None:
        """Let the last transform begin with the first part that arrives."""
        tail, self._tail = self._tail, None
        if tail is None:
            return
        place = len(self.steps) - (2 if isinstance(self.steps[-1], Release) else 1)
        send, local = self.steps[place - 1], self.steps[place]
        if isinstance(send, Send) and isinstance(local, Local):  # else this rank has nothing
            local.cut_like(tail)
            send.then = local
            del self.steps[place]

    def _leave(self, here: Place) -> None:
        """What is at a place is not needed any more."""
        if here.buffer_of is not None:
            self.steps.append(Release(here.buffer_of))
