"""Lists of general products by one call of a library's routine for products of different shapes, which shares them
between its threads."""

from __future__ import annotations

import numpy as np

from planmath.bindings import blas
from planmath.bindings.blas import LETTER
from planmath.core.arrays import ITEMSIZE
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Prepared
from planmath.linalg.generic.problem import ListProblem
from planmath.linalg.generic.providers.arrangement import ProductPipeline
from planmath.linalg.generic.providers.routines import general_factors
from planmath.native.call import COPY, STORE, Call, Slot

ROUTINE = "gemm_batch"


def takes(problem: ListProblem, library: blas.BLAS) -> bool:
    """Whether the routine computes these products."""
    members = problem.members
    return (
        problem.execution[0] == "cpu"
        and len(members) > 1
        and all(member.kinds == ("ge", "ge") and not member.batch for member in members)
        and library.find(LETTER[members[0].work_dtype] + ROUTINE) != 0
    )


def prepare(problem: ListProblem, library: blas.BLAS, threads: int) -> Prepared:
    """The program: what c has to do with the results, a table of addresses and factors, and the call.

    Raises
    ------
    UnavailableError
        If a matrix would have to be copied first.
    """
    members, dtype = problem.members, problem.members[0].work_dtype
    count, size = len(members), ITEMSIZE[dtype]
    letters = np.empty((2, count), "S1")
    extents = np.empty((6, count), np.int32)
    addresses = np.zeros((3, count), np.int64)
    scalars = np.zeros((2, count), dtype)
    numbers = np.ones(count + 1, np.int32)  # each product is a group of one; and how many groups there are
    numbers[count] = count
    before: list[Call] = []
    for i, member in enumerate(members):
        pipeline = ProductPipeline(member)
        turned, factors = general_factors(pipeline, pipeline.left.region, pipeline.right.region)
        pipeline.load_c()
        d, k = pipeline.result, pipeline.left.region.matrix.cols
        pipeline.finish()
        if pipeline.workspace_size:
            raise UnavailableError(f"{ROUTINE} takes matrices where they are, and of product {i} one has to be copied")
        places = {member.numbers()[name]: Slot(number) for name, number in problem.numbers_of(i).items()}
        before += [call.redirected(places) for call in pipeline.calls]
        letters[:, i] = list(turned)
        leading = [region.matrix.leading[1] for region in (*factors, d)]
        extents[:, i] = [d.matrix.rows, d.matrix.cols, k, *leading]
        for row, region in enumerate((*factors, d)):
            slot = Slot(places[region.slot.operand].operand, region.slot.offset)
            before.append(Call(STORE, [addresses[row, i:].ctypes.data, slot], name="address", keep=addresses))
        for row, name in enumerate(("alpha", "beta")):
            slot = places[pipeline.slot(name).operand]
            before.append(Call(COPY, [scalars[row, i:].ctypes.data, slot, size], name="factor", keep=scalars))
    m, n, ks, lda, ldb, ldd = (row.ctypes.data for row in extents)
    a, b, results = (row.ctypes.data for row in addresses)
    alpha, beta = (row.ctypes.data for row in scalars)
    name = LETTER[dtype] + ROUTINE
    arguments = [
        letters[0].ctypes.data, letters[1].ctypes.data, m, n, ks, alpha, a, lda, b, ldb, beta, results, ldd,
        numbers[count:].ctypes.data, numbers.ctypes.data,
    ]  # fmt: skip
    call = Call(library.find(name), arguments, name=name, keep=(letters, extents, addresses, scalars, numbers))
    setter = library.threads_setter
    limit = [[Call(setter, [number], name="thread limit")] if setter else [] for number in (threads, 0)]
    return Prepared({None: Program([*before, *limit[0], call, *limit[1]], release_gil=True)}, 0)
