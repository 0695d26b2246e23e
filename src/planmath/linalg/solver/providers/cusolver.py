"""cuSOLVER and cuBLAS: dense systems on CUDA devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planmath.bindings import cublas, cusolver, cusolverDn
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import devices
from planmath.core.cuda.queue import Queue
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.solver.options import DirectSolverOptions
from planmath.linalg.solver.problem import BANDS, DenseProblem, may_be_mixed
from planmath.linalg.solver.providers.cusolver_group import groups_of
from planmath.linalg.solver.providers.cusolver_phases import DevicePhases
from planmath.linalg.solver.structure import BAND_PART

#: Rows up to which several matrices are expected to be done sooner all at once than one by one.
SMALL = 256
AT_ONCE, ONE_BY_ONE = "at once", "one by one"
#: Matrices from which on bands that were found in them are expected to be worth it.
MANY = 256
#: How symmetric matrices are factorized; and banded ones, where not with all of their elements.
LDL, LU, IN_BAND = "LDL", "LU", "in the band"


@dataclass(frozen=True, slots=True)
class PreparedOnDevice(Prepared):
    """What is made ready where a device's memory is: in its phases.

    Parameters
    ----------
    algorithm : Algorithm
    """

    algorithm: Algorithm | None = None

    def phases(self, problem: DenseProblem, options: DirectSolverOptions, queue: Queue) -> DevicePhases:
        """The phases on a queue, whose device is current."""
        knobs = dict(self.algorithm.knobs) if self.algorithm else {}
        way = knobs.get("factorization")
        settings = knobs.get("batch") == AT_ONCE, way in (LU, IN_BAND), way == IN_BAND
        return DevicePhases(problem, settings, "precision" in knobs, options, queue)


class CusolverProvider(Provider):
    """cuSOLVER, with cuBLAS for batches and triangles, as a provider."""

    name = "cusolver"

    def unavailable(self) -> str | None:
        return cusolver.LIBRARY.missing or cublas.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return cusolverDn._api.loaded_version

    def path(self) -> str | None:
        return cusolver.LIBRARY.path

    def unsupported(self, problem: DenseProblem) -> str | None:
        if problem.execution[0] != "cuda":
            return "it computes on CUDA devices only"
        largest = max(max(system.a.rows, system.columns * system.solutions) for system in problem.systems)
        if largest > 2**31 - 1:
            return f"some of its integers have 32 bits, and {largest} does not fit"
        return None

    def algorithms(self, problem: DenseProblem) -> Sequence[Algorithm]:
        found: list[dict[str, str]] = [{}]
        systems = problem.systems
        if any(len(members) * systems[members[0]].factorizations > 1 for members in groups_of(problem)):
            ways = [AT_ONCE, ONE_BY_ONE]
            if max(system.a.rows for system in systems) > SMALL:
                ways.reverse()
            found = [{"batch": way} for way in ways]
        if problem.form.kind == "sy" or problem.detect:
            # those of a batch are factorized as symmetric ones one by one only
            kinds = [LU, LDL] if found[0].get("batch") == AT_ONCE else [LDL, LU]
            if problem.detect:  # a thread has each band, so those of many matrices are expected to be the fastest
                many = sum(system.factorizations for system in systems) >= MANY
                kinds.insert(0 if many else 2, IN_BAND)
            found = [{**knobs, "factorization": kind} for kind in kinds for knobs in found]
        if problem.form.kind in BANDS:
            found = _ways_of_bands(problem, found)
        full = [] if problem.precision == "mixed" else found
        mixed = [{"precision": "mixed", **knobs} for knobs in found]
        found = [*full, *(mixed if problem.precision != "full" and may_be_mixed(problem) else [])]
        return [Algorithm(self.name, tuple(knobs.items())) for knobs in found]

    def prepare(self, problem: DenseProblem, algorithm: Algorithm) -> PreparedOnDevice:
        return PreparedOnDevice({}, algorithm=algorithm)


def _ways_of_bands(problem: DenseProblem, whole: list[dict[str, str]]) -> list[dict[str, str]]:
    """The ways to factorize banded matrices: in the band, or by those for matrices with all elements, if these fit."""
    form, systems, room = problem.form, problem.systems, devices.device(problem.execution[1]).total_memory
    own: list[dict[str, str]] = [{"factorization": IN_BAND}]
    elements = sum(system.factorizations * system.a.rows**2 for system in systems)
    if elements * ITEMSIZE[problem.dtype] > room:
        return own
    is_narrow = BAND_PART * (form.below + form.above) <= max(system.a.rows for system in systems)
    return own + whole if is_narrow else whole + own
