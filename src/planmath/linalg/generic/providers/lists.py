"""Lists of products: each by the library's way for it, all in one program."""

from __future__ import annotations

from collections.abc import Sequence

from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.generic.problem import ListProblem, ProductProblem
from planmath.linalg.generic.providers import list_batches
from planmath.linalg.generic.providers.blas_interface import BLASProvider
from planmath.native.call import Call, Slot
from planmath.native.threads import Threads

#: Below this many multiplications the Python lock is kept.
SMALL_WORK = 200_000


class ListProvider(Provider):
    """A provider of single products as one of lists.

    Parameters
    ----------
    of : Provider
    also : Provider
        Takes the products that the first one does not.
    """

    def __init__(self, of: Provider, also: Provider):
        self.name, self._providers = of.name, (of, also)

    def unavailable(self) -> str | None:
        return self._providers[0].unavailable()

    def version(self) -> str:
        return self._providers[0].version()

    def path(self) -> str | None:
        return self._providers[0].path()

    def threads(self) -> Threads | None:
        return self._providers[0].threads()

    def lingers(self, algorithm: Algorithm) -> float:
        return self._providers[0].lingers(algorithm)

    def unsupported(self, problem: ListProblem) -> str | None:
        reasons = [self._providers[0].unsupported(member) for member in problem.members]
        if all(reasons):
            return reasons[0]
        for i, member in enumerate(problem.members):
            if reasons[i] and self._providers[1].unsupported(member):
                return f"of product {i}: {reasons[i]}"
        return None

    def algorithms(self, problem: ListProblem) -> Sequence[Algorithm]:
        return self._ways(problem)

    def _ways(self, problem: ListProblem) -> Sequence[Algorithm]:
        """The ways of the product that has most; others that have as many have theirs in the same order."""
        first = self._providers[0]
        members = dict.fromkeys(problem.members)
        ways = [first.algorithms(member) for member in members if first.unsupported(member) is None]
        found = [*max(ways, key=len)]
        if isinstance(first, BLASProvider) and list_batches.takes(problem, first.library):
            threads = first.threads_for(sum(member.work for member in problem.members), problem.execution[1])
            found += [Algorithm(self.name, (("product", list_batches.ROUTINE), ("threads", n))) for n in threads]
        return found

    def prepare(self, problem: ListProblem, algorithm: Algorithm) -> Prepared:
        first = self._providers[0]
        if isinstance(first, BLASProvider) and dict(algorithm.knobs).get("product") == list_batches.ROUTINE:
            return list_batches.prepare(problem, first.library, algorithm.get("threads"))
        way = list(self._ways(problem)).index(algorithm)
        made: dict[ProductProblem, Prepared] = {}
        calls: list[Call] = []
        locks = []
        for i, member in enumerate(problem.members):
            prepared = made.get(member)
            if prepared is None:
                prepared = made[member] = self._prepared(member, way)
            program = prepared.programs[None]
            places = places_of(problem, i)
            calls += [call.redirected(places) for call in program.calls]
            locks += [program.lock] if program.lock else []
        work = sum(member.work for member in problem.members)
        on_device = problem.execution[0] == "cuda"
        program = Program(calls, release_gil=on_device or work > SMALL_WORK, lock=locks[0] if locks else None)
        return Prepared({None: program}, max(each.workspace_size for each in made.values()))

    def _prepared(self, member: ProductProblem, way: int) -> Prepared:
        provider = next(each for each in self._providers if each.unsupported(member) is None)
        algorithms = provider.algorithms(member)
        return provider.prepare(member, algorithms[min(way, len(algorithms) - 1)])


def places_of(problem: ListProblem, i: int, offset: int = 0) -> dict[int, Slot]:
    """Where a product's arrays are among those of all: from its own numbers of them. Its temporary memory begins some
    bytes behind that of all."""
    own = problem.members[i].numbers()
    last, workspace = max(own.values()), problem.arrays
    places = {own[name]: Slot(number) for name, number in problem.numbers_of(i).items()}
    return places | {last + 1: Slot(workspace, offset), last + 2: Slot(workspace + 1)}
