"""Batches of small systems by planmath's own kernels: one system in each lane of a vector register.

A library takes small matrices one after the other, and spends more time on the way to its kernels than in them. Here
the lanes of a register have elements of as many matrices as fit, and what is decided for each matrix by itself, the
choice of pivots, becomes comparisons and masks.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.bindings import lapack
from planmath.core.accuracy import limits_of
from planmath.core.arrays import ITEMSIZE, REAL_OF
from planmath.core.executor import Program
from planmath.linalg.product.matrix import batch_loops
from planmath.linalg.solver.problem import DenseProblem, LinearSystem, PreparedSolver, Region, Unusual
from planmath.linalg.solver.providers.assembly import TRANS, Memory, probe
from planmath.linalg.solver.providers.lapack_interface import prepare, routines
from planmath.native.call import Call, Slot

#: Multiplications of all systems from which on threads pay: about 0.3 ms.
THREADED_WORK = 2_000_000


def not_in_lanes(problem: DenseProblem) -> str | None:
    """Why systems are not solved in lanes, or None."""
    if problem.form.kind not in ("ge", "po") or problem.detect:
        return "it factorizes general and positive definite matrices"
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


def threads_for(problem: DenseProblem) -> list[int]:
    """How many threads are worth a try, the number first that is expected to be the best."""
    most = problem.threads if problem.work * problem.systems[0].solutions >= THREADED_WORK else 1
    return [most, 1] if most > 1 else [1]


def prepare_lanes(problem: DenseProblem, threads: int) -> PreparedSolver:
    """The programs for systems in lanes."""
    memory = Memory()
    part = Lanes(problem, memory, min(threads, kernels.MOST_THREADS))
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
        self.real = REAL_OF.get(self.dtype, self.dtype)
        self.parts = 1 if self.real == self.dtype else 2
        self.lanes = kernels.VECTOR // ITEMSIZE[self.real]
        padded = -(-self.system.solutions // self.lanes) * self.lanes
        # right-hand sides and solutions; and what is in the place of systems that the last block lacks
        self.scratch_size = self.n * max(3 * self.k, self.n) * kernels.VECTOR * self.parts
        self.regions: dict[str, Region] = {
            "factors": memory.region((padded, self.n * self.n), self.dtype),
            "w": memory.region((padded, self.n), self.dtype),
            "u": memory.region((padded, self.n), self.dtype),
            "norms": memory.region((padded,), self.real),
            "squares": memory.region((padded, 1), "float64"),
            "order": memory.region((padded, self.n), "int32"),
            "status": memory.region((padded, 1), "int32"),
            "scratch": memory.region((threads, self.scratch_size), "uint8"),
        }
        self.sizes = memory.region((padded // self.lanes, 2, self.parts + 1, self.k, self.lanes), self.real)
        self.probe = probe(self.n, self.real)

    def _place(self, name: str) -> Slot:
        return Slot(self.problem.memory, self.regions[name].offset)

    def _operand(self, which: int) -> Slot:
        number, (_, start) = self.problem.numbers(self.system)[which], self.system.places[which]
        return Slot(number, start * ITEMSIZE[self.dtype])

    def projections(self, memory: np.ndarray) -> np.ndarray:
        """Those of b and x: of each solution real parts, imaginary parts and squares."""
        found = self.sizes.view(memory).astype(np.float64)
        if self.parts == 1:
            found = np.insert(found, 1, 0, axis=2)
        return found.transpose(0, 4, 1, 2, 3).reshape(-1, 6, self.k)[: self.system.solutions]

    @np.errstate(all="ignore")  # of singular matrices
    def diagonal(self, memory: np.ndarray, index: int) -> tuple[int, np.ndarray]:
        """Numbers whose product is the determinant of one matrix, but for a sign."""
        block, lane = divmod(index, self.lanes)
        shape = (-1, self.n * self.n, self.parts, self.lanes)
        factors = self.regions["factors"].view(memory).view(self.real).reshape(shape)
        parts = factors[block, :: self.n + 1, :, lane]
        reciprocals = np.ascontiguousarray(parts).view(self.dtype)[:, 0]
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
            [self.n, self.system.solutions, self.definite, self.threads, step, row, col, int(self.form.upper)], np.int64
        )  # fmt: skip
        names = "factors", "w", "u", "norms", "squares", "order", "status", "scratch"
        return Call(
            kernels.FACTOR_BATCH[self.dtype],
            [sizes.ctypes.data, self.probe.ctypes.data, self._operand(0), *map(self._place, names)],
            name="factorization of a batch", returns_status=True, error=Unusual, keep=(sizes, self.probe),
        )  # fmt: skip

    def turned(self, trans: str) -> tuple[bool, bool]:
        """Whether to solve with the transposed factors, and whether to conjugate what goes in and comes out."""
        transposed, conjugate = TRANS[trans]
        conjugate = conjugate != self.system.a.conjugate
        if self.definite:
            transposed, conjugate = False, conjugate != transposed
        return transposed, conjugate and self.parts == 2

    def solution(self, trans: str) -> Call:
        """The call that solves."""
        system = self.system
        b, x = system.b, system.x
        transposed, conjugate = self.turned(trans)
        strides = [
            number
            for matrix in (b, x)
            for number in (_walk(system, matrix.batch)[0][1][0], matrix.row, matrix.col)
        ]
        sizes = np.array(
            [self.n, self.k, system.solutions, self.definite, int(transposed), self.threads, *strides,
             self.scratch_size, int(conjugate)], np.int64,
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
