"""Providers across ranks: available where they are on all ranks, and what they send by."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed, first_reason
from planmath.core.collective.exchange import Exchange, Session, Space, Traffic, Transport
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.spaces import HOST
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.threads import Threads

#: The distribution of which a transport uses the version; the others are planmath's own.
LIBRARIES = {"mpi": "mpi4py", "torch": "torch"}
#: Spaces in words.
PLACES = {"cpu": "the host", "cuda": "CUDA devices"}


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
    space : Space
        Where the arrays are.
    """

    def __init__(self, transport: Transport, group: ProcessGroup | None = None, space: Space = HOST):
        self.transport, self.group, self.space, self.name = transport, group, space, transport.name

    def unavailable(self) -> str | None:
        if self.group is not None:
            if self.space.name not in self.transport.spaces:
                return f"it is for arrays on {PLACES[self.transport.spaces[0]]}"
            return self.transport.unavailable(self.group)
        if self.transport.spaces == ("cuda",):
            return self.transport.missing()  # type: ignore[attr-defined]
        library = LIBRARIES.get(self.name)
        if library is not None:
            try:
                version(library)
            except PackageNotFoundError:
                extra = "mpi" if self.name == "mpi" else library
                return f"{library} is not installed: pip install 'planmath[{extra}]'"
        return None

    def version(self) -> str:
        own = getattr(self.transport, "version", None)
        if own is not None:
            return str(own())
        library = LIBRARIES.get(self.name)
        return _own_version() if library is None else version(library)

    def unsupported(self, problem: Any) -> str | None:
        return None

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]

    def exchange(self, traffic: Traffic, buffered: bool) -> Exchange:
        """A planned exchange with memory of its own. Collective."""
        return self.session(traffic.size).exchange(traffic, buffered)

    def session(self, room: int) -> Session:
        """A place for exchanges. Collective."""
        assert self.group is not None
        return self.transport.session(self.group, room, self.space)


class OnAllRanks(Provider):
    """A provider as all ranks together have it: its answers are the same on each."""

    def __init__(self, provider: TransportProvider, group: ProcessGroup):
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
            prepared = self.provider.prepare(problem, algorithm)
            self.provider.space.settle()
            return prepared

    def threads(self) -> Threads | None:
        return self.provider.threads()
