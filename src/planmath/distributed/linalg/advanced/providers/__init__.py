"""What computes distributed products: planmath's own local ones, between exchanges by any transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from planmath.core.arrays import Package
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Space
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.provider import TransportProvider
from planmath.core.collective.transports import TRANSPORTS
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.linalg.advanced.enums import MatmulEpilog
from planmath.distributed.linalg.advanced.problem import MatmulProblem
from planmath.distributed.linalg.advanced.providers.scalapack import ScaLAPACKMatmul
from planmath.distributed.linalg.advanced.stages import Gather, Reduce, Run, Stages
from planmath.distributed.linalg.advanced.summa import Summa
from planmath.distributed.linalg.providers import VARIANTS

#: The ways to compute a product, by the name that algorithms have.
WAYS: dict[str, type[Stages]] = {"gather": Gather, "reduce": Reduce, "summa": Summa}
#: From a way, the problem, what makes sessions, and where to work to planned stages, with the present operands.
Build = Callable[[type[Stages], MatmulProblem, Callable[..., Any], Bench], Stages]


class DistributedMatmulProvider(TransportProvider):
    """One transport, with each way as an algorithm."""

    package: Package
    build: Build

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        narrow = "float8" in problem.a.dtype or "float8" in problem.b.dtype
        ways = ["gather"]
        if problem.epilog is MatmulEpilog.ALLREDUCE:
            ways = ["reduce"]
        elif problem.sums_partial and not narrow and len(problem.a.placed) > 1:
            ways = ["reduce", "gather"]
        elif Summa.suits(problem):
            # copy engines send beside a product, and what is gathered of b alone is multiplied as it comes, too
            beside = self.space.device_id is not None and problem.a.placed != problem.rows
            ways = ["summa", "gather"] if beside else ["gather", "summa"]
        return [Algorithm(self.name, (("way", way),)) for way in ways]

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        stages = self.build(WAYS[algorithm.get("way")], problem, self.session, Bench(self.package, self.space))
        return Prepared({None: Program(function=Run(stages))})


def providers_for(
    group: ProcessGroup, package: Package, build: Build, space: Space
) -> list[DistributedMatmulProvider | ScaLAPACKMatmul]:
    """The providers for arrays of a package on the ranks of a group."""
    found: list[DistributedMatmulProvider | ScaLAPACKMatmul] = [
        *(DistributedMatmulProvider(transport, group, space) for transport in TRANSPORTS),
        *(ScaLAPACKMatmul(name, group, space) for name in VARIANTS),
    ]
    for provider in found:
        provider.package, provider.build = package, build
    return found


#: As `planmath info` lists them.
PROVIDERS = [
    *(DistributedMatmulProvider(transport) for transport in TRANSPORTS), *(ScaLAPACKMatmul(name) for name in VARIANTS)
]  # fmt: skip
