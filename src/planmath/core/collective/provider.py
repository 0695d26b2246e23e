"""Providers across ranks: available where they are on all ranks, and what they send by."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed, first_reason
from planmath.core.collective.exchange import Transport
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.threads import Threads

#: The distribution of which a transport uses the version; the others are planmath's own.
LIBRARIES = {"mpi": "mpi4py", "torch": "torch"}


def _own_version() -> str:
    """Planmath's, which need not be installed to run."""
    return sys.modules[__name__.partition(".")[0]].__version__


class TransportProvider(Provider):
    """Planned local work between exchanges by one transport.

    Parameters
    ----------
    transport : Transport
    group : ProcessGroup, optional
        Without one it says what this machine has.
    """

    def __init__(self, transport: Transport, group: ProcessGroup | None = None):
        self.transport, self.group, self.name = transport, group, transport.name

    def unavailable(self) -> str | None:
        if self.group is not None:
            return self.transport.unavailable(self.group)
        library = LIBRARIES.get(self.name)
        if library is not None:
            try:
                version(library)
            except PackageNotFoundError:
                extra = "mpi" if self.name == "mpi" else library
                return f"{library} is not installed: pip install 'planmath[{extra}]'"
        return None

    def version(self) -> str:
        library = LIBRARIES.get(self.name)
        return _own_version() if library is None else version(library)

    def unsupported(self, problem: Any) -> str | None:
        return None

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]


class OnAllRanks(Provider):
    """A provider as all ranks together have it: its answers are the same on each."""

    def __init__(self, provider: Provider, group: ProcessGroup):
        self.provider, self.group, self.name = provider, group, provider.name

    def unavailable(self) -> str | None:
        return first_reason(self.group, self.provider.unavailable())

    def unsupported(self, problem: Any) -> str | None:
        return first_reason(self.group, self.provider.unsupported(problem))

    def version(self) -> str:
        return self.provider.version()

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        return self.provider.algorithms(problem)

    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        with agreed(self.group, f"{deadline.current()}, {algorithm}"):
            return self.provider.prepare(problem, algorithm)

    def threads(self) -> Threads | None:
        return self.provider.threads()
