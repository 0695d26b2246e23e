"""What solves distributed systems: planmath's own factorization in blocks, with exchanges by any transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planmath.core.arrays import Package, contiguous_strides
from planmath.core.collective.bench import Bench
from planmath.core.collective.provider import TransportProvider
from planmath.core.collective.transports import TRANSPORTS
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.linalg.providers import VARIANTS
from planmath.distributed.linalg.solver.problem import SolverProblem
from planmath.distributed.linalg.solver.providers.device_routines import DeviceRoutines
from planmath.distributed.linalg.solver.providers.phases import BlockPhases
from planmath.distributed.linalg.solver.providers.routines import Routines
from planmath.distributed.linalg.solver.providers.scalapack import ScaLAPACKSolver


class BlockProvider(TransportProvider):
    """One transport, for blocks of the size that the problem has."""

    package: Package

    def algorithms(self, problem: SolverProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("block", problem.blocks.size),))]

    def prepare(self, problem: SolverProblem, algorithm: Algorithm) -> Prepared:
        bench = Bench(self.package, self.space)
        routines: Any = Routines(problem.dtype, problem.execution[1])
        if self.space.device_id is not None:
            routines = DeviceRoutines(problem.dtype, bench)
        phases = BlockPhases(problem, self.session, routines, bench)
        return Prepared({None: Program(function=phases)})


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a column-major array."""
    return contiguous_strides(shape, tuple(reversed(range(len(shape)))))


#: As `planmath info` lists them.
PROVIDERS = [
    *(BlockProvider(transport) for transport in TRANSPORTS), *(ScaLAPACKSolver(name) for name in VARIANTS)
]  # fmt: skip
