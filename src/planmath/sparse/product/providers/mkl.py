"""Products by MKL's inspector-executor routines, over the user's arrays."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cache

import numpy as np

import planmath.sparse.product.providers.mkl_calls as mkl_calls
from planmath.bindings import mkl
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.call import Call, Slot
from planmath.native.threads import Threads
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers.places import places_of
from planmath.sparse.ust.named import NamedFormats as N

LETTER = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
#: Numbers of oneMKL's developer reference: operations, and orders of dense matrices.
PLAIN, TRANSPOSED = 10, 11
ROWS, COLUMNS = 101, 102
#: Executions that an optimized copy is made for.
EXPECTED = 1000
#: Below this many multiplications the Python lock is kept, and MKL is not worth two threads.
SMALL_WORK, THREADED_WORK = 5_000, 20_000
#: What of a product each format has (seen with MKL 2026.2): with one order of b and c, not transposed and transposed.
HAS = {
    mkl_calls.CSR: {ROWS: (True, True), COLUMNS: (True, True)},
    mkl_calls.CSC: {ROWS: (True, True), COLUMNS: (False, False)},
    mkl_calls.COO: {ROWS: (True, True), COLUMNS: (False, False)},
    mkl_calls.BSR: {ROWS: (True, True), COLUMNS: (True, False)},
}


class MKLProvider(Provider):
    """MKL's sparse products."""

    name = "mkl"

    def unavailable(self) -> str | None:
        if mkl.LIBRARY.missing:
            return mkl.LIBRARY.missing
        return None if mkl.LIBRARY.has("mkl_sparse_d_mm_64") else f"{mkl.LIBRARY.path} lacks mkl_sparse_d_mm_64"

    def version(self) -> str:
        return mkl.version()

    def path(self) -> str | None:
        return mkl.LIBRARY.path

    def threads(self) -> Threads:
        return mkl.threads()

    def lingers(self, algorithm: Algorithm) -> float:
        return mkl.BLOCK_TIME if algorithm.get("threads") > 1 else 0.0

    def unsupported(self, problem: MatmulProblem) -> str | None:
        if problem.kind != "dense":
            return "it has products with one sparse and one dense operand only"
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.semiring != "plus_times" or not problem.plain or problem.work not in LETTER:
            return "it multiplies operands of one dtype as they are, of single or double precision"
        if problem.batch or problem.vector:
            return "it has no batches, and no sparse vectors"
        if 0 in (problem.rows, problem.summed, problem.columns, problem.sparse.nse):
            return "there is nothing to multiply"
        kind = _kind(problem)
        if kind is None:
            return f"it has nothing of the format {problem.sparse.format.name} (CSR, CSC, COO, and square blocks)"
        if problem.columns == 1:
            steps = (problem.b.row, problem.c.row)
            return None if set(steps) == {1} else f"vectors have the steps {steps}; it takes contiguous ones"
        order = _order(problem)
        if order is None:
            return "b and c do not both lie by rows, or both by columns"
        if not HAS[kind][order][problem.transposed]:
            by = "columns" if order == COLUMNS else "rows"
            return f"it has no such product of {problem.sparse.format.name} for b and c by {by}"
        return None

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        most = problem.execution[1]
        threads = [most, 1] if most > 1 and problem.work_amount >= THREADED_WORK else [1]
        copies = [0, 1] if problem.constant else [0]
        return [Algorithm(self.name, (("threads", n), ("optimized", o))) for o in copies for n in threads]

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        matrix = _Matrix(problem, bool(algorithm.get("optimized")))
        places, letter = places_of(problem), LETTER[problem.work]
        level = next(n for n, crd in enumerate(places.crd) if crd is not None)
        indices = (places.pos[level], places.crd[level])
        if matrix.kind == mkl_calls.COO:
            indices = (places.crd[0], places.crd[1])
        size = np.dtype(problem.sparse.index_type).itemsize
        create = Call(
            mkl_calls.CREATE, [matrix.address, *(Slot(n) for n in indices if n is not None), Slot(places.val), size],
            name="mkl_sparse_create", returns_status=True, keep=matrix,
        )  # fmt: skip
        operation = TRANSPOSED if problem.transposed else PLAIN
        operands = [Slot(places.b), Slot(places.c), Slot(places.alpha), Slot(places.beta)]
        if problem.columns == 1:
            name = matrix.routine(f"mkl_sparse_{letter}_mv")
            function, rest = mkl_calls.MV[letter], []
        else:
            name = matrix.routine(f"mkl_sparse_{letter}_mm")
            order = _order(problem)
            b, c = ((s.row if order == ROWS else s.column) for s in (problem.b, problem.c))
            function, rest = mkl_calls.MM[letter], [order, problem.columns, b, c]
        product = Call(
            function, [matrix.address, mkl.LIBRARY.address(name), operation, *operands, *rest], name=name,
            returns_status=True, keep=matrix,
        )  # fmt: skip
        limit = _limit(algorithm.get("threads"))
        program = Program([limit, product, _limit(0)], release_gil=problem.work_amount > SMALL_WORK)
        # the factors are operands behind b and c: a new one makes a new handle, which takes about a microsecond
        watched = tuple(n for n in (*indices, places.val) if n is not None)
        return Prepared({None: program}, prologue=Program([create]), watched=watched)


class _Matrix:
    """MKL's handle of the sparse operand, made anew when its arrays change."""

    def __init__(self, problem: MatmulProblem, optimized: bool):
        kind = _kind(problem)
        assert kind is not None
        self.kind = kind
        self.wide = problem.sparse.index_type == "int64"
        form, (rows, columns) = problem.sparse.format, problem.sparse.extents
        extra = problem.sparse.nse
        if kind == mkl_calls.BSR:
            extra = form.expressions[0].expression2  # type: ignore[union-attr]
            rows, columns = rows // extra, columns // extra
        name = {mkl_calls.CSR: "csr", mkl_calls.CSC: "csc", mkl_calls.COO: "coo", mkl_calls.BSR: "bsr"}[kind]
        address = mkl.LIBRARY.address
        functions = [
            self.routine(f"mkl_sparse_{LETTER[problem.work]}_create_{name}"), self.routine("mkl_sparse_destroy"),
            self.routine("mkl_sparse_set_mv_hint" if problem.columns == 1 else "mkl_sparse_set_mm_hint"),
            self.routine("mkl_sparse_optimize"),
        ]  # fmt: skip
        operation = TRANSPOSED if problem.transposed else PLAIN
        many = 0 if problem.columns == 1 else problem.columns
        words = [
            0, kind, rows, columns, extra, ROWS, *map(address, functions), operation, EXPECTED if optimized else 0,
            _order(problem) or ROWS, many,
        ]  # fmt: skip
        self.words = np.array(words, np.int64)
        assert len(self.words) == mkl_calls.WORDS
        self.address = self.words.ctypes.data
        weakref.finalize(self, _destroy, self.words, Call(words[7], [Slot(0)], name="mkl_sparse_destroy"))

    def routine(self, name: str) -> str:
        return name + "_64" if self.wide else name


def _destroy(words: np.ndarray, call: Call) -> None:
    if words[0]:
        call(int(words[0]))
        words[0] = 0


@cache
def _limit(threads: int) -> Call:
    return Call(mkl.LIBRARY.address("MKL_Set_Num_Threads_Local"), [threads], name="MKL_Set_Num_Threads_Local")


def _kind(problem: MatmulProblem) -> int | None:
    storage = problem.sparse.format.storage
    for kind, form in ((mkl_calls.CSR, N.CSR), (mkl_calls.CSC, N.CSC), (mkl_calls.COO, N.COO)):
        if storage == form.storage:
            return kind
    stored = problem.sparse.format
    if stored.num_levels == 4 and stored.num_dimensions == 2:
        size = getattr(stored.expressions[0], "expression2", None)
        if isinstance(size, int) and storage == N.BSRRight((size, size)).storage:
            return mkl_calls.BSR
    return None


def _order(problem: MatmulProblem) -> int | None:
    """The order in which both b and c lie, with leading dimensions that MKL takes."""
    for order, steps, extents in (
        (ROWS, [(s.column, s.row) for s in (problem.b, problem.c)], (problem.columns, problem.columns)),
        (COLUMNS, [(s.row, s.column) for s in (problem.b, problem.c)], (problem.summed, problem.rows)),
    ):
        if all(inner == 1 and outer >= n for (inner, outer), n in zip(steps, extents, strict=True)):
            return order
    return None
