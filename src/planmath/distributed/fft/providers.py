"""What computes distributed transforms: planmath's own local ones, between exchanges by any transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from planmath.core.arrays import ITEMSIZE, Package, as_numpy, package_named
from planmath.core.collective.bench import Bench
from planmath.core.collective.costs import network
from planmath.core.collective.exchange import Space
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.provider import TransportProvider
from planmath.core.collective.transports import TRANSPORTS
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.fft.memory import numpy_view, view
from planmath.distributed.fft.pipeline import Pipeline
from planmath.distributed.fft.problem import FFTProblem
from planmath.distributed.fft.route import Route, routes
from planmath.fft.problem import DIRECTIONS_OF


class DistributedFFTProvider(TransportProvider):
    """One transport, with each route as an algorithm."""

    package: Package
    operand: Callable[[], Any]
    """The present operand."""

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        net, size = network(self.name), ITEMSIZE[problem.dtypes[problem.kind == "R2C"]]
        nranks = len(problem.source)
        # the slowest rank's time, so that all ranks have the same order
        times = {
            route.name: max(route.seconds(size, rank, net) for rank in {0, nranks // 2, nranks - 1})
            for route in self._routes(problem)
        }
        return [Algorithm(self.name, (("route", name),)) for name in sorted(times, key=times.__getitem__)]

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        on_device = self.space.device_id is not None
        bench = Bench(self.package if on_device else package_named("numpy"), self.space)
        operand = self.operand()
        (route,) = [route for route in self._routes(problem) if route.name == algorithm.get("route")]
        pipeline = Pipeline(
            problem, route, operand if on_device else as_numpy(operand), self.exchange, {"tuning": False}, bench
        )  # fmt: skip
        directions = [int(direction) for direction in DIRECTIONS_OF[problem.kind]]
        programs: dict[Any, Program] = {
            direction: Program(function=Run(pipeline, self.package, direction)) for direction in directions
        }
        return Prepared({None: programs[directions[0]], **programs})

    def _routes(self, problem: FFTProblem) -> list[Route]:
        return routes(problem.shapes, problem.axes, problem.kind, problem.source, problem.target)


class Run:
    """A pipeline in one direction, on operands of a package."""

    def __init__(self, pipeline: Pipeline, package: Package, direction: int):
        self.pipeline, self._package, self._direction = pipeline, package, direction
        problem = pipeline.problem
        self._on_device = problem.execution[0] == "cuda"
        self._result = problem.local_shapes[1], problem.result_strides, problem.dtypes[1]

    def __call__(self, operands: Sequence[Any], results: Sequence[Any]) -> None:
        user = operands[0]
        if self._on_device:
            self.pipeline(user, view(self._package, user, *self._result), self._direction)
        else:
            self.pipeline(as_numpy(user), numpy_view(self._package, user, *self._result), self._direction)


def providers_for(
    group: ProcessGroup, package: Package, operand: Callable[[], Any], space: Space
) -> list[DistributedFFTProvider]:
    """The providers for arrays of a package on the ranks of a group."""
    found = [DistributedFFTProvider(transport, group, space) for transport in TRANSPORTS]
    for provider in found:
        provider.package, provider.operand = package, operand
    return found


#: As `planmath info` lists them.
PROVIDERS = [DistributedFFTProvider(transport) for transport in TRANSPORTS]
