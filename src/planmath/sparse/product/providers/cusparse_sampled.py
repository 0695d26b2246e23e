"""Products of two dense matrices for the entries of a sparse one, by cuSPARSE."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.bindings import cusparse
from planmath.core.executor import Program
from planmath.core.provider import Prepared
from planmath.native.call import Slot
from planmath.sparse.product.problem import Steps
from planmath.sparse.product.providers.cusparse_objects import (
    INDEX_TYPES,
    NOWHERE,
    TYPES,
    Dense,
    Descriptions,
    Handle,
    call,
    order_of,
)
from planmath.sparse.product.providers.launching import ALIGNMENT
from planmath.sparse.product.providers.places import sampled_places
from planmath.sparse.product.sampled_problem import SampledProblem
from planmath.sparse.ust.named import NamedFormats as N

DTYPES = ("float32", "float64", "complex64", "complex128")


def unsupported(problem: SampledProblem) -> str | None:
    if not problem.plain or problem.work not in DTYPES or problem.semiring != "plus_times":
        return "it multiplies operands of one dtype as they are, of single or double precision"
    if problem.batch or any(problem.vectors):
        return "it has no batches and no vectors of this kind here"
    if 0 in (problem.rows, problem.summed, problem.columns, problem.sparse.nse):
        return "there is nothing to multiply"
    if problem.sparse.format.storage not in (N.CSR.storage, N.CSC.storage):
        return f"it has nothing of the format {problem.sparse.format.name} (CSR, CSC)"
    if None in factors(problem):
        return f"a or b has steps {problem.a} and {problem.b}; it takes matrices by rows or by columns"
    return None


def factors(problem: SampledProblem) -> tuple[Dense | None, Dense | None]:
    """Both factors; those of the transposed product where entries lie by columns."""
    a = _dense(problem.a, problem.rows, problem.summed, problem.dtype)
    b = _dense(problem.b, problem.summed, problem.columns, problem.dtype)
    if problem.sparse.format.storage == N.CSR.storage:
        return a, b
    return (None if b is None else b.turned()), (None if a is None else a.turned())


def _dense(steps: Steps, rows: int, columns: int, dtype: str) -> Dense | None:
    found = order_of(steps, rows, columns)
    return None if found is None else Dense(rows, columns, found[1], found[0], dtype)


def prepare(problem: SampledProblem) -> Prepared:
    places = sampled_places(problem)
    handle, describe = Handle(problem.execution[1]), Descriptions(problem.execution[1])
    keep = (handle, describe)
    by_rows = problem.sparse.format.storage == N.CSR.storage
    first, second = factors(problem)
    assert first is not None
    assert second is not None
    a, b = describe.dense(first), describe.dense(second)
    shape = (problem.rows, problem.columns)[:: 1 if by_rows else -1]
    index = INDEX_TYPES[np.dtype(problem.sparse.index_type).itemsize]
    work = TYPES[problem.work]
    nowhere = (NOWHERE,) * 3
    c = describe.sparse(cusparse.create_csr, *shape, problem.sparse.nse, *nowhere, index, index, 0, work)
    number = np.ones(1, problem.work)

    def words(alpha: Any, beta: Any) -> list[Any]:
        return [handle.address, 0, 0, alpha, a, b, beta, c, work, cusparse.SDDMMAlg.DEFAULT]

    size = int(cusparse.sddmm_buffer_size(*words(number.ctypes.data, number.ctypes.data)))
    buffer: Any = Slot(places.workspace) if size else 0
    arguments = [*words(Slot(places.alpha), Slot(places.beta)), buffer]
    values = (places.a, places.b) if by_rows else (places.b, places.a)
    pos, crd = (next(n for n in of if n is not None) for of in (places.sparse.pos, places.sparse.crd))
    settings = [
        call("cusparseSetStream", [handle.address, Slot(places.workspace + 1)], keep),
        *(call("cusparseDnMatSetValues", [made, Slot(n)], keep) for made, n in zip((a, b), values, strict=True)),
    ]
    telling = call("cusparseSpMatSetValues", [c, Slot(places.c)], keep)
    pointing = call("cusparseCsrSetPointers", [c, Slot(pos), Slot(crd), Slot(places.c)], keep)
    prologue = [pointing, *settings, call("cusparseSDDMM_preprocess", arguments, keep)]
    product = call("cusparseSDDMM", arguments, keep)
    rounded = -(-size // ALIGNMENT) * ALIGNMENT
    return Prepared({None: Program([*settings, telling, product])}, rounded, Program(prologue), (pos, crd))
