"""What redistributes arrays: one planned exchange, by any transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planmath.core.arrays import Package
from planmath.core.collective.exchange import Space
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.provider import TransportProvider
from planmath.core.collective.transports import TRANSPORTS
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.distribution.redistribution.problem import RedistributeProblem


class RedistributeProvider(TransportProvider):
    package: Package

    def prepare(self, problem: RedistributeProblem, algorithm: Algorithm) -> Prepared:
        exchange = self.exchange(problem.traffic, False)
        address = self.package.address

        def run(operands: Sequence[Any], results: Sequence[Any]) -> None:
            exchange.run(address(operands[0]), address(results[0]))

        return Prepared({None: Program(function=run)})


def providers_for(group: ProcessGroup, package: Package, space: Space) -> list[RedistributeProvider]:
    """The providers for arrays of a package on the ranks of a group."""
    found = [RedistributeProvider(transport, group, space) for transport in TRANSPORTS]
    for provider in found:
        provider.package = package
    return found


#: As `planmath info` lists them.
PROVIDERS = [RedistributeProvider(transport) for transport in TRANSPORTS]
