"""planmath's own kernels for batches of small systems: one system in each lane of a vector register.

A library takes small matrices one after the other, and spends more time on the way to its kernels than in them. Here
the lanes of a register have elements of as many matrices as fit, and what is decided for each matrix by itself, the
choice of pivots, becomes comparisons and masks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.bindings import lapack
from planmath.core.accuracy import limits_of
from planmath.core.arrays import ITEMSIZE
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, OwnProvider
from planmath.linalg.product.matrix import batch_loops
from planmath.linalg.solver.problem import DenseProblem, LinearSystem, PreparedSolver, Region, Unusual
from planmath.linalg.solver.providers.assembly import TRANS, Memory, probe
from planmath.linalg.solver.providers.lapack_interface import prepare, routines
from planmath.native.call import Call, Slot
from planmath.native.threads import Threads, openmp_threads

#: Multiplications of all systems from which on threads pay: about 0.3 ms.
THREADED_WORK = 2_000_000


class LanesProvider(OwnProvider):
    name, kernels = "own", kernels

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: DenseProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.form.kind not in ("ge", "po") or problem.detect:
            return "it factorizes general and positive definite matrices"
        if problem.precision == "mixed":
            return "its factors have the dtype of the matrices"
        if problem.dtype not in kernels.FACTOR_BATCH:
            return f"it computes with real numbers, not with {problem.dtype}"
        system = problem.systems[0]
        if len(problem.systems) > 1 or system.solutions < 2 or system.matrices != system.batch:
            return "it solves batches in one array, with a right-hand side for each matrix"
        if system.a.rows > kernels.MOST_UNKNOWNS:
            return f"it solves systems of up to {kernels.MOST_UNKNOWNS} unknowns; these have {system.a.rows}"
        if any(problem.inplace):
            return "it leaves operands as they are"
        # an axis that only repeats would be left out of the walk
        if any([count for count, _ in _walk(system, steps)] != [system.solutions] for steps in _walks(system)):
            return "it takes batches whose axes are one in memory"
        return None

    def algorithms(self, problem: DenseProblem) -> Sequence[Algorithm]:
        most = problem.threads if problem.work * problem.systems[0].solutions >= THREADED_WORK else 1
        return [Algorithm(self.name, (("threads", n),)) for n in ([most, 1] if most > 1 else [1])]

    def prepare(self, problem: DenseProblem, algorithm: Algorithm) -> PreparedSolver:
        memory = Memory()
        part = Lanes(problem, memory, min(algorithm.get("threads"), kernels.MOST_THREADS))
        programs: dict[Hashable, Program] = {key: Program([part.solution(key)]) for key in TRANS}
        found = routines(lapack.SCIPY)
        return PreparedSolver(
            programs, 0, None, (), Program([part.factorization()]), memory.size, (part,),
            lambda form: prepare(problem, form, found, ([], [])),
        )  # fmt: skip


def _walks(system: LinearSystem) -> tuple[tuple[int, ...], ...]:
    return system.a.batch, system.b.batch, system.x.batch


def _walk(system: LinearSystem, steps: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """The batch as loops over an array of these steps."""
    return batch_loops(system.batch, [steps])


class Lanes:
    """A batch of small systems, and where it has what in the plan's memory.

    Parameters
    ----------
    problem : DenseProblem
    memory : Memory
    threads : int
    """

    transposed, solves_alone = False, False

    def __init__(self, problem: DenseProblem, memory: Memory, threads: int):
        self.problem, self.system, self.form, self.threads = problem, problem.systems[0], problem.form, threads
        self.dtype, self.n, self.k = problem.dtype, self.system.a.rows, self.system.columns
        self.definite = int(self.form.kind == "po")
        self.lanes = kernels.VECTOR // ITEMSIZE[self.dtype]
        padded = -(-self.system.solutions // self.lanes) * self.lanes
        # right-hand sides and solutions; and what is in the place of systems that the last block lacks
        self.scratch_size = self.n * max(3 * self.k, self.n) * kernels.VECTOR
        self.regions: dict[str, Region] = {
            "factors": memory.region((padded, self.n * self.n), self.dtype),
            "w": memory.region((padded, self.n), self.dtype),
            "u": memory.region((padded, self.n), self.dtype),
            "norms": memory.region((padded,), self.dtype),
            "squares": memory.region((padded, 1), "float64"),
            "order": memory.region((padded, self.n), "int32"),
            "status": memory.region((padded, 1), "int32"),
            "scratch": memory.region((threads, self.scratch_size), "uint8"),
        }
        self.sizes = memory.region((padded // self.lanes, 4, self.k, self.lanes), self.dtype)
        self.probe = probe(self.n, self.dtype)

    def _place(self, name: str) -> Slot:
        return Slot(self.problem.memory, self.regions[name].offset)

    def _operand(self, which: int) -> Slot:
        number, (_, start) = self.problem.numbers(self.system)[which], self.system.places[which]
        return Slot(number, start * ITEMSIZE[self.dtype])

    def projections(self, memory: np.ndarray) -> np.ndarray:
        """Those of b and x: of each solution real parts, imaginary parts and squares."""
        b, b_size, x, x_size = np.moveaxis(self.sizes.view(memory).astype(np.float64), 1, 0)
        found = np.stack([b, np.zeros_like(b), b_size, x, np.zeros_like(x), x_size])
        return found.transpose(1, 3, 0, 2).reshape(-1, 6, self.k)[: self.system.solutions]

    def diagonal(self, memory: np.ndarray, index: int) -> tuple[int, np.ndarray]:
        """Numbers whose product is the determinant of one matrix, but for a sign."""
        block, lane = divmod(index, self.lanes)
        shape = (-1, self.n * self.n, self.lanes)
        reciprocals = self.regions["factors"].view(memory).reshape(shape)[block, :: self.n + 1, lane]
        if self.definite:
            return 1, reciprocals**-2.0
        order = self.regions["order"].view(memory).reshape(-1, self.n, self.lanes)[block, :, lane]
        inversions = np.count_nonzero(np.triu(order[:, None] > order, 1))
        return (-1) ** int(inversions), 1 / reciprocals

    def factorization(self) -> Call:
        """The call that factorizes."""
        a = self.system.a
        row, col = (a.col, a.row) if self.form.upper else (a.row, a.col)  # of definite ones the lower triangle
        ((_, (step,)),) = _walk(self.system, a.batch)
        sizes = np.array(
            [self.n, self.system.solutions, self.definite, self.threads, step, row, col], np.int64
        )  # fmt: skip
        names = "factors", "w", "u", "norms", "squares", "order", "status", "scratch"
        return Call(
            kernels.FACTOR_BATCH[self.dtype],
            [sizes.ctypes.data, self.probe.ctypes.data, self._operand(0), *map(self._place, names)],
            name="factorization of a batch", returns_status=True, error=Unusual, keep=(sizes, self.probe),
        )  # fmt: skip

    def turned(self, trans: str) -> tuple[bool, bool]:
        """Whether to solve with the transposed factors, and whether to conjugate."""
        return TRANS[trans][0] and not self.definite, False

    def solution(self, trans: str) -> Call:
        """The call that solves."""
        system = self.system
        b, x = system.b, system.x
        strides = [
            number
            for matrix in (b, x)
            for number in (_walk(system, matrix.batch)[0][1][0], matrix.row, matrix.col)
        ]
        sizes = np.array(
            [self.n, self.k, system.solutions, self.definite, int(self.turned(trans)[0]), self.threads, *strides,
             self.scratch_size], np.int64,
        )  # fmt: skip
        limits = limits_of(self.dtype)
        places = [self._place(name) for name in ("factors", "w", "u", "norms", "order")]
        out = Slot(self.problem.memory, self.sizes.offset)
        return Call(
            kernels.SOLVE_BATCH[self.dtype],
            [sizes.ctypes.data, self.probe.ctypes.data, *places, self._operand(1), self._operand(2),
             self._place("scratch"), out, limits.ctypes.data],
            name="solution of a batch", returns_status=True, error=Unusual, keep=(sizes, limits, self.probe),
        )  # fmt: skip
