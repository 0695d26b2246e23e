"""LAPACK's factorizations of dense matrices: MKL's, and those of the library that SciPy was built with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import planmath.linalg.solver.kernels as kernels
from planmath.bindings import lapack
from planmath.core.arrays import ITEMSIZE
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Provider
from planmath.linalg.product.matrix import batch_loops
from planmath.linalg.solver.problem import RECTANGULAR, DenseProblem, Form, PreparedSolver, may_be_mixed
from planmath.linalg.solver.providers.assembly import TRANS, Assembly, Memory, Place, Routine, Sides
from planmath.linalg.solver.providers.least_squares import QR, PivotedQR
from planmath.linalg.solver.providers.mixed import MixedAssembly
from planmath.linalg.solver.providers.routine import LibraryRoutine, find_zeros
from planmath.native.call import MAX_LOOPS, Call, Slot
from planmath.native.threads import Threads

#: Below this many multiplications the Python lock is kept: about 5 µs.
SMALL_WORK = 30_000
#: Below this many, more than one thread was never measured to pay (2 CPUs).
THREADED_WORK = 1_000_000
#: Up to so many unknowns triangular solutions from the right are faster than copies by columns. They take 0.6 of the
#: time for 64 unknowns and 100 right-hand sides; for 1,000 as long on one thread, and 2.4 times on two, which share
#: them badly.
MOST_BY_ROWS = 100


class LAPACKProvider(Provider):
    """One library's LAPACK as a provider.

    Parameters
    ----------
    name : str
    library : bindings.lapack.LAPACK
    spin : float
        Seconds that the library's threads keep a CPU busy after a call.
    """

    def __init__(self, name: str, library: lapack.LAPACK, spin: float = 0.0):
        self.name, self._library, self._spin = name, library, spin

    def unavailable(self) -> str | None:
        return self._library.blas.missing()

    def version(self) -> str:
        return self._library.blas.version()

    def path(self) -> str | None:
        return self._library.blas.path()

    def threads(self) -> Threads:
        return self._library.blas.threads()

    def unsupported(self, problem: DenseProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only: pass execution='cpu', and operands on a device are copied"
        for system in problem.systems:
            largest = max(system.a.rows, system.a.cols, system.columns, *map(abs, (system.a.row, system.a.col)))
            if largest > 2**31 - 1:
                return f"its integers have 32 bits, and {largest} does not fit"
            if len(batch_loops(system.batch, [system.a.batch, system.b.batch, system.x.batch])) > MAX_LOOPS:
                return f"it repeats a solution over {MAX_LOOPS} batch axes that are not one in memory"
        return None

    def algorithms(self, problem: DenseProblem) -> Sequence[Algorithm]:
        most = problem.threads if self._library.blas.threads_setter else 1
        threads = [most, 1] if most > 1 and problem.work >= THREADED_WORK else [1]
        mixed = problem.precision != "full" and may_be_mixed(problem)
        found = [] if problem.precision == "mixed" else [Algorithm(self.name, (("threads", n),)) for n in threads]
        if mixed:
            found += [Algorithm(self.name, (("precision", "mixed"), ("threads", n))) for n in threads]
        return found

    def lingers(self, algorithm: Algorithm) -> float:
        return self._spin if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: DenseProblem, algorithm: Algorithm) -> PreparedSolver:
        form = problem.form._replace(mixed="precision" in dict(algorithm.knobs))
        return prepare(problem, form, routines(self._library), self._limit(problem, algorithm))

    def _limit(self, problem: DenseProblem, algorithm: Algorithm) -> tuple[list[Call], list[Call]]:
        """What stands before and behind the library's calls: how many threads it may use."""
        blas, threads = self._library.blas, algorithm.get("threads")
        setter = blas.threads_setter
        if not setter or problem.work < blas.threaded_work or not (blas.sets_locally or threads != blas.max_threads()):
            return [], []
        return [Call(setter, [threads], name="thread limit")], [Call(setter, [0], name="thread limit")]


def prepare(
    problem: DenseProblem, form: Form, found: dict[str, Routine], limit: tuple[list[Call], list[Call]]
) -> PreparedSolver:
    """The programs for matrices that are taken for something."""
    memory = Memory()
    kind = MixedAssembly if form.mixed else Assembly
    parts = tuple(kind(problem, system, form, found[form.kind], memory) for system in problem.systems)
    factorize = [call for part in parts for call in part.factorization()]
    trans = ("N",) if form.kind in RECTANGULAR else TRANS
    solve = {key: [call for part in parts for call in part.solution(key)] for key in trans}
    before, after = limit
    work = sum(part.rows * part.cols * (min(part.rows, part.cols) + part.system.columns) * part.system.solutions
               for part in parts)  # fmt: skip
    release = work > SMALL_WORK
    programs: dict[Hashable, Program] = {
        key: Program(_within(before, calls, after), release_gil=release) for key, calls in solve.items()
    }
    return PreparedSolver(
        programs, 0, None, (), Program(_within(before, factorize, after), release_gil=release), memory.size, parts,
        lambda other: prepare(problem, other, found, limit),
    )  # fmt: skip


def _within(before: list[Call], calls: list[Call], after: list[Call]) -> list[Call]:
    """The calls between those that limit threads."""
    return [*before, *calls, *after]


class LU(LibraryRoutine):
    """General matrices: getrf, getrs; where rows follow each other, exchanges and triangular solutions."""

    most_by_rows = MOST_BY_ROWS

    def factorize(self, part: Assembly) -> None:
        n = part.rows
        arguments = [n, n, part.f, part.leading, part.place("pivots"), part.place("status")]
        self.run(part, "getrf", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        n, k = part.rows, part.system.columns
        if not sides.by_rows:
            arguments = [b"T" if transposed else b"N", n, k, part.f, part.leading, part.place("pivots"), sides.place,
                         sides.matrix.col, part.ignored]  # fmt: skip
            self.run(part, "getrs", arguments, part.system.batch)
        elif transposed:  # X = Pᵀ L⁻ᵀ U⁻ᵀ B
            self.triangular(part, sides, True, b"N", False)
            self.triangular(part, sides, False, b"N", True)
            self._exchange(part, sides, undo=True)
        else:  # X = U⁻¹ L⁻¹ P B
            self._exchange(part, sides, undo=False)
            self.triangular(part, sides, False, b"T", True)
            self.triangular(part, sides, True, b"T", False)

    def _exchange(self, part: Assembly, sides: Sides, *, undo: bool) -> None:
        arguments = [int(undo), part.rows, part.system.columns, sides.matrix.row, part.place("pivots"), sides.place]
        part.call(kernels.SWAP[part.dtype], "exchanges of rows", arguments, part.system.batch)


class Cholesky(LibraryRoutine):
    """Positive definite matrices: potrf, potrs; where rows follow each other, triangular solutions."""

    most_by_rows = MOST_BY_ROWS

    def memory(self, part: Assembly) -> None:
        """Nothing is exchanged."""

    def factorize(self, part: Assembly) -> None:
        arguments = [b"U" if part.form.upper else b"L", part.rows, part.f, part.leading, part.place("status")]
        self.run(part, "potrf", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        upper, n, k = part.form.upper, part.rows, part.system.columns
        if sides.by_rows:  # conjugated, as the transposed matrix is: Xᵀ A = Bᵀ
            for trans in (b"NC" if upper else b"CN"):
                self.triangular(part, sides, upper, bytes([trans]), False)
            return
        arguments = [b"U" if upper else b"L", n, k, part.f, part.leading, sides.place, sides.matrix.col, part.ignored]
        self.run(part, "potrs", arguments, part.system.batch)


class BunchKaufman(LibraryRoutine):
    """Symmetric and Hermitian indefinite matrices: sytrf, sytrs, hetrf, hetrs."""

    #: Columns that are eliminated at once: LAPACK's choice for these.
    BLOCK = 64

    def memory(self, part: Assembly) -> None:
        super().memory(part)
        part.work = part.reserve.region((1, part.rows * self.BLOCK), part.dtype)

    def factorize(self, part: Assembly) -> None:
        work = Place(Slot(part.problem.memory, part.work.offset))
        arguments = [b"U" if part.form.upper else b"L", part.rows, part.f, part.leading, part.place("pivots"), work,
                     part.rows * self.BLOCK, part.place("status")]  # fmt: skip
        self.run(part, f"{part.form.kind}trf", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        arguments = [b"U" if part.form.upper else b"L", part.rows, part.system.columns, part.f, part.leading,
                     part.place("pivots"), sides.place, sides.matrix.col, part.ignored]  # fmt: skip
        self.run(part, f"{part.form.kind}trs", arguments, part.system.batch)


class Triangular(LibraryRoutine):
    """Triangular matrices, which are solved with where they are: trsv, trsm."""

    most_by_rows = MOST_BY_ROWS

    def memory(self, part: Assembly) -> None:
        """Nothing is exchanged."""

    def factorize(self, part: Assembly) -> None:
        find_zeros(part, 0 if part.form.unit else part.leading + 1)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        self.triangular(part, sides, part.form.upper, b"T" if transposed != sides.by_rows else b"N", part.form.unit)


class Diagonal(LibraryRoutine):
    """Diagonal matrices: divisions by planmath's own kernel."""

    most_by_rows = 1 << 62  # each by itself

    def memory(self, part: Assembly) -> None:
        part.add("factors", part.rows, part.dtype)
        part.f_row, part.f_col = 1, 0

    def factorize(self, part: Assembly) -> None:
        find_zeros(part, 1)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        matrix = sides.matrix
        arguments = [part.rows, part.system.columns, matrix.row, matrix.col, part.f, sides.place]
        part.call(kernels.DIVIDE[part.dtype], "division", arguments, part.system.batch)


class Band(LibraryRoutine):
    """Banded matrices: gbtrf, gbtrs.

    Element (i, j) is number ``kl + ku + i - j`` of column j, whose length is ``2 kl + ku + 1``: above the matrix there
    is room for the fill of row exchanges (LAPACK Users' Guide, "Band Storage").
    """

    def memory(self, part: Assembly) -> None:
        super().memory(part)
        below, above = part.form.below, part.form.above
        part.leading = 2 * below + above + 1
        part.f_row, part.f_col, part.f_start = 1, part.leading - 1, below + above
        part.add("factors", part.leading * part.cols, part.dtype)

    def factorize(self, part: Assembly) -> None:
        arguments = [part.rows, part.rows, part.form.below, part.form.above, part.f, part.leading,
                     part.place("pivots"), part.place("status")]  # fmt: skip
        self.run(part, "gbtrf", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        form = part.form
        arguments = [b"T" if transposed else b"N", part.rows, form.below, form.above, part.system.columns, part.f,
                     part.leading, part.place("pivots"), sides.place, sides.matrix.col, part.ignored]  # fmt: skip
        self.run(part, "gbtrs", arguments, part.system.batch)


class Tridiagonal(LibraryRoutine):
    """Tridiagonal matrices: gttrf, gttrs.

    The diagonals follow each other from the lowest one up, each in n elements (of the upper one the first counts for
    nothing), and then comes the fill of row exchanges.
    """

    def memory(self, part: Assembly) -> None:
        super().memory(part)
        n = part.rows
        part.f_row, part.f_col, part.f_start = -n, n + 1, n
        part.add("factors", 4 * n, part.dtype)

    def _diagonals(self, part: Assembly) -> list[Place]:
        n = part.rows
        return [part.f.behind(at * ITEMSIZE[part.dtype]) for at in (0, n, 2 * n + 1, 3 * n + 1)]

    def factorize(self, part: Assembly) -> None:
        arguments = [part.rows, *self._diagonals(part), part.place("pivots"), part.place("status")]
        self.run(part, "gttrf", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        arguments = [b"T" if transposed else b"N", part.rows, part.system.columns, *self._diagonals(part),
                     part.place("pivots"), sides.place, sides.matrix.col, part.ignored]  # fmt: skip
        self.run(part, "gttrs", arguments, part.system.batch)


class BandCholesky(LibraryRoutine):
    """Positive definite banded matrices: pbtrf, pbtrs.

    Element (i, j) is number ``i - j`` of column j of a lower triangle, and ``kd + i - j`` of an upper one.
    """

    def memory(self, part: Assembly) -> None:
        width = part.form.below + part.form.above
        part.leading = width + 1
        part.f_row, part.f_col, part.f_start = 1, width, part.form.above
        part.add("factors", part.leading * part.cols, part.dtype)

    def factorize(self, part: Assembly) -> None:
        arguments = [b"U" if part.form.upper else b"L", part.rows, part.leading - 1, part.f, part.leading,
                     part.place("status")]  # fmt: skip
        self.run(part, "pbtrf", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        arguments = [b"U" if part.form.upper else b"L", part.rows, part.leading - 1, part.system.columns, part.f,
                     part.leading, sides.place, sides.matrix.col, part.ignored]  # fmt: skip
        self.run(part, "pbtrs", arguments, part.system.batch)


def routines(library: lapack.LAPACK) -> dict[str, Routine]:
    """How a library serves matrices of each kind."""
    indefinite = BunchKaufman(library)
    return {
        "ge": LU(library), "po": Cholesky(library), "sy": indefinite, "he": indefinite, "tr": Triangular(library),
        "dg": Diagonal(library), "gb": Band(library), "gt": Tridiagonal(library), "pb": BandCholesky(library),
        "ls": QR(library), "rr": PivotedQR(library),
    }  # fmt: skip
