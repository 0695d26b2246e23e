"""Products by cuSPARSE, on CUDA devices: over the user's arrays, or over entries gathered row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import cusparse, runtime
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.call import Call, Slot
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers import cusparse_sampled
from planmath.sparse.product.providers.cusparse_objects import (
    COLUMN,
    INDEX_TYPES,
    NOWHERE,
    ROW,
    TYPES,
    Dense,
    Descriptions,
    Handle,
    call,
    order_of,
)
from planmath.sparse.product.providers.gathering import Gathering
from planmath.sparse.product.providers.launching import ALIGNMENT
from planmath.sparse.product.providers.nests import in_row_order
from planmath.sparse.product.providers.places import places_of
from planmath.sparse.ust.named import NamedFormats as N

#: The dtypes of operands, result and arithmetic.
DTYPES = {
    *((name, name, name) for name in ("float32", "float64", "complex64", "complex128")),
    *((name, result, "float32") for name in ("float16", "bfloat16") for result in (name, "float32")),
}  # fmt: skip
#: The library's algorithms by format, those for a vector and for a matrix by columns and by rows, the first ones
#: expected to be the fastest.
VECTOR_ALGORITHMS = {
    "CSR": ("DEFAULT", "CSR_ALG2"), "CSC": ("DEFAULT",), "COO": ("DEFAULT", "COO_ALG2"), "BSR": ("DEFAULT",),
}  # fmt: skip
MATRIX_ALGORITHMS: dict[tuple[str, int], tuple[str, ...]] = {
    ("CSR", COLUMN): ("DEFAULT", "CSR_ALG1", "CSR_ALG3"), ("CSR", ROW): ("DEFAULT", "CSR_ALG2", "CSR_ALG3"),
    ("CSC", COLUMN): ("DEFAULT",), ("CSC", ROW): ("DEFAULT",),
    ("COO", COLUMN): ("DEFAULT", "COO_ALG1"), ("COO", ROW): ("DEFAULT", "COO_ALG4"),
    ("BSR", COLUMN): ("DEFAULT",), ("BSR", ROW): ("DEFAULT",),
}  # fmt: skip


class Stored(NamedTuple):
    """The sparse operand, or its transpose, as cuSPARSE stores it: the matrix from the summed index to the result's."""

    kind: str
    transposed: bool = False
    """Whether the library has to transpose it."""
    level: int = 0
    """That of pos and crd."""
    blocks: tuple[int, int] = (1, 1)
    by_columns: bool = False
    """Whether blocks are stored by columns."""


class CusparseProvider(Provider):
    """cuSPARSE's products, for values of one dtype."""

    name = "cusparse"

    def unavailable(self) -> str | None:
        return cusparse.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return str(cusparse._api.loaded_version)

    def path(self) -> str | None:
        return cusparse.LIBRARY.path

    def unsupported(self, problem: Any) -> str | None:
        if problem.execution[0] != "cuda":
            return "it computes on CUDA devices only"
        if problem.kind == "sampled":
            return cusparse_sampled.unsupported(problem)
        if problem.kind == "pair":
            return "products of two sparse tensors are by planmath's own kernels"
        dtypes = (problem.sparse.dtype, problem.dtype, problem.work)
        if problem.dense_dtype != problem.sparse.dtype or dtypes not in DTYPES:
            return "it multiplies operands of one dtype"
        if problem.semiring != "plus_times" or problem.functions or any(problem.conjugate):
            return "it multiplies values as they are, and sums the products"
        if problem.vector:
            return "its products have no sparse vectors"
        if 0 in (problem.rows, problem.summed, problem.columns, problem.sparse.nse, *problem.batch):
            return "there is nothing to multiply"
        if arranged(problem) is None:
            return f"b or c has steps {problem.b} and {problem.c}; it takes matrices by rows or by columns"
        if not ways(problem):
            return f"it has nothing of the format {problem.sparse.format.name} like that (CSR, CSC, COO, BSR)"
        return None

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        if problem.kind == "sampled":
            return [Algorithm(self.name)]
        arrangement = arranged(problem)
        assert arrangement is not None
        found = []
        for way in ways(problem):
            kind = "CSR" if way == "rows" else _stored(problem).kind  # type: ignore[union-attr]
            names = VECTOR_ALGORITHMS[kind] if arrangement.vector else MATRIX_ALGORITHMS[kind, arrangement.order]
            found += [Algorithm(self.name, (("entries", way), ("algorithm", name))) for name in names]
        return found

    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        try:
            if problem.kind == "sampled":
                return cusparse_sampled.prepare(problem)
            return _Product(problem, algorithm).prepared()
        except cusparse.cuSPARSEError as error:
            raise UnavailableError(f"cuSPARSE cannot: {error}") from error


class Arrangement(NamedTuple):
    """The dense operand and the result as cuSPARSE takes them."""

    b: Dense
    c: Dense
    transposed: bool
    """Whether the library has to transpose b."""
    order: int
    vector: bool


def arranged(problem: MatmulProblem) -> Arrangement | None:
    """Both dense matrices in one order, that of the result, or None."""
    count = math.prod(problem.batch)
    b_step = _one_step(problem.batch, problem.b.batch) if problem.dense_batched else 0
    c_step = _one_step(problem.batch, problem.c.batch)
    if b_step is None or c_step is None:
        return None
    vector = problem.columns == 1 and problem.b.row == problem.c.row == 1 and count == 1
    c = order_of(problem.c, problem.rows, problem.columns)
    b = order_of(problem.b, problem.summed, problem.columns)
    if b is None or c is None:
        return None
    order, c_leading = c
    b_order, b_leading = b
    shape = (problem.summed, problem.columns)
    transposed = b_order != order
    if transposed:
        shape = shape[::-1]
    return Arrangement(
        Dense(*shape, b_leading, order, problem.dense_dtype, count, b_step),
        Dense(problem.rows, problem.columns, c_leading, order, problem.dtype, count, c_step),
        transposed, order, vector,
    )  # fmt: skip


def _one_step(batch: tuple[int, ...], steps: tuple[int, ...]) -> int | None:
    """Elements from one matrix of a batch to the next, where they are evenly apart."""
    found = [(n, step) for n, step in zip(batch, steps, strict=True) if n > 1]
    if not found:
        return 0
    for (_, outer), (n, inner) in pairwise(found):
        if outer != n * inner:
            return None
    return found[-1][1] if found[-1][1] > 0 else None


def _stored(problem: MatmulProblem) -> Stored | None:
    """How cuSPARSE stores the operand, if it can."""
    form, batches = problem.sparse.format, len(problem.batch) if problem.sparse_batched else 0
    if batches > 1:
        return None
    transposed = problem.transposed
    if batches:
        known = {N.CSRd(1).storage: "CSR"}
        if form.storage in known and not transposed:
            return Stored("CSR", level=2)
    elif form.storage in (N.CSR.storage, N.CSC.storage):
        return Stored("CSR" if (form.storage == N.CSR.storage) != transposed else "CSC", level=1)
    elif form.storage == N.COO.storage and form.is_ordered and not problem.batch:
        return Stored("COO", transposed)
    first = form.expressions[batches]
    others = form.expressions[batches + 1 : batches + 2]
    sizes = [size for e in (first, *others) if isinstance(size := getattr(e, "expression2", None), int) and size > 1]
    if transposed or len(sizes) != 2:
        return None
    m, n = sizes
    for make, by_columns in ((N.BSRRightd, False), (N.BSRLeft, True)):
        storage = make((m, n)).storage if by_columns or not batches else N.BSRRightd((m, n), 1).storage
        if form.storage == storage and not (by_columns and batches):
            return Stored("BSR", level=batches + 1, blocks=(m, n), by_columns=by_columns)
    return None


def ways(problem: MatmulProblem) -> list[str]:
    """Whether the operand is multiplied as it is stored, or by rows made of it."""
    stored = _stored(problem)
    found = [] if stored is None else ["stored"]
    by_rows = in_row_order(problem) and not problem.sparse_batched
    if by_rows and (stored is None or stored.kind != "CSR"):
        found.append("rows")
    # a list is faster by rows, which a kernel finds in it
    return found[::-1] if stored is not None and stored.kind == "COO" else found


class _Product:
    def __init__(self, problem: MatmulProblem, algorithm: Algorithm):
        self.problem = problem
        arrangement = arranged(problem)
        assert arrangement is not None
        self.arrangement = arrangement
        self.handle = Handle(problem.execution[1])
        self.descriptions = Descriptions(problem.execution[1])
        self.keep = (self.handle, self.descriptions)
        self.places = places_of(problem)
        self.stream = Slot(self.places.workspace + 1)
        self.by_rows = algorithm.get("entries") == "rows"
        stored = Stored("CSR") if self.by_rows else _stored(problem)
        assert stored is not None
        self.stored = stored
        self.algorithm = algorithm.get("algorithm")

    def prepared(self) -> Prepared:
        problem, places = self.problem, self.places
        arrangement = self.arrangement
        describe = self.descriptions
        if arrangement.vector:
            b, c = (describe.vector(d.rows, d.dtype) for d in (arrangement.b, arrangement.c))
            setting, routine = "cusparseDnVecSetValues", "cusparseSpMV"
        else:
            b, c = describe.dense(arrangement.b), describe.dense(arrangement.c)
            setting, routine = "cusparseDnMatSetValues", "cusparseSpMM"
        gathering = Gathering(problem) if self.by_rows else None
        sparse, pointing = self.sparse(gathering)
        number = np.ones(1, problem.work)
        size = self.buffer_size(sparse, b, c, number.ctypes.data)
        start = gathering.size if gathering is not None else 0
        total = start + -(-size // ALIGNMENT) * ALIGNMENT
        buffer: Any = Slot(places.workspace, start) if size else 0
        arguments = [self.handle.address, *self.words(sparse, b, c, Slot(places.alpha), Slot(places.beta)), buffer]
        settings = [
            call("cusparseSetStream", [self.handle.address, self.stream], self.keep),
            call("cusparseSpMatSetValues", [sparse, Slot(places.val)], self.keep),
            call(setting, [b, Slot(places.b)], self.keep),
            call(setting, [c, Slot(places.c)], self.keep),
        ]
        product = call(routine, arguments, self.keep)
        prologue = [*(gathering.calls() if gathering is not None else []), *pointing]
        if cusparse.LIBRARY.has(f"{routine}_preprocess") and size:
            prologue += [*settings, call(f"{routine}_preprocess", arguments, self.keep)]
        indices = (*places.pos, *places.crd)
        watched = tuple(n for n in indices if n is not None)
        return Prepared({None: Program([*settings, product])}, total, Program(prologue), watched)

    def words(self, sparse: int, b: int, c: int, alpha: Any, beta: Any) -> list[Any]:
        """What products, their preprocessing and the size of their buffer take behind the handle."""
        work = TYPES[self.problem.work]
        first = int(self.stored.transposed)  # cusparseOperation_t
        if self.arrangement.vector:
            return [first, alpha, sparse, b, beta, c, work, cusparse.SpMVAlg[self.algorithm]]
        second = int(self.arrangement.transposed)
        return [first, second, alpha, sparse, b, beta, c, work, cusparse.SpMMAlg[self.algorithm]]

    def buffer_size(self, sparse: int, b: int, c: int, number: int) -> int:
        ask = cusparse.sp_mv_buffer_size if self.arrangement.vector else cusparse.sp_mm_buffer_size
        return int(ask(self.handle.address, *self.words(sparse, b, c, number, number)))

    def sparse(self, gathering: Gathering | None) -> tuple[int, list[Call]]:
        """The description of the sparse operand, and the calls that tell it where the indices are."""
        problem, stored, places = self.problem, self.stored, self.places
        value_type, nse = TYPES[problem.sparse.dtype], problem.sparse.nse
        dtype = np.dtype(problem.sparse.index_type) if gathering is None else gathering.dtype
        index = INDEX_TYPES[dtype.itemsize]
        shape = (problem.rows, problem.summed)
        describe, nowhere = self.descriptions, (NOWHERE,) * 3
        values = Slot(places.val)
        if stored.kind == "COO":
            shape = shape[::-1] if stored.transposed else shape
            made = describe.sparse(cusparse.create_coo, *shape, nse, *nowhere, index, 0, value_type)
            where = [Slot(n) for n in places.crd if n is not None]
            return made, [call("cusparseCooSetPointers", [made, *where, values], self.keep)]
        if gathering is not None:
            where = [gathering.starts, gathering.indices]
        else:
            pos, crd = places.pos[stored.level], places.crd[stored.level]
            where = [Slot(n) for n in (pos, crd) if n is not None]
        count = math.prod(problem.batch)
        own = count if problem.sparse_batched else 1
        if stored.kind == "BSR":
            return self.blocks(where, dtype, index, value_type, own)
        create = cusparse.create_csr if stored.kind == "CSR" else cusparse.create_csc
        made = describe.sparse(create, *shape, nse // own, *nowhere, index, index, 0, value_type)
        if count > 1:
            steps = (problem.rows + 1, nse // own) if problem.sparse_batched else (0, 0)
            if stored.kind != "CSR":
                raise UnavailableError("cuSPARSE has no batches of CSC")
            cusparse.csr_set_strided_batch(made, count, *steps)
        name = {"CSR": "cusparseCsrSetPointers", "CSC": "cusparseCscSetPointers"}[stored.kind]
        return made, [call(name, [made, *where, values], self.keep)]

    def blocks(
        self, where: Sequence[Slot], dtype: np.dtype, index: int, value_type: int, own: int
    ) -> tuple[int, list[Call]]:
        """The description of a matrix of blocks: the library cannot change where its indices are, so it has copies."""
        problem, (m, n) = self.problem, self.stored.blocks
        rows, columns, count = problem.rows // m, problem.summed // n, problem.sparse.nse // (m * n)
        lengths = (own * (rows + 1), count)
        copies = [self.descriptions.memory(length * dtype.itemsize) for length in lengths]
        order = COLUMN if self.stored.by_columns else ROW
        made = self.descriptions.sparse(
            cusparse.create_bsr, rows, columns, count // own, m, n, *copies, NOWHERE, index, index, 0, value_type, order
        )
        batch = math.prod(problem.batch)
        if batch > 1:
            steps = (rows + 1, count // own, problem.sparse.nse // own) if problem.sparse_batched else (0, 0, 0)
            cusparse.bsr_set_strided_batch(made, batch, *steps)
        address = runtime.LIBRARY.address("cudaMemcpyAsync")
        kind = runtime.MemcpyKind.DEVICE_TO_DEVICE
        return made, [
            Call(
                address, [copy, slot, length * dtype.itemsize, kind, self.stream], name="cudaMemcpyAsync",
                returns_status=True, error=runtime.CUDARuntimeError, keep=self.descriptions,
            )
            for copy, slot, length in zip(copies, where, lengths, strict=True)
        ]  # fmt: skip
