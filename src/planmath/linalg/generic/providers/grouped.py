"""Lists of products on a CUDA device: cuBLAS's grouped products, which are one call for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planmath import bindings
from planmath.bindings.blas import LETTER
from planmath.core.arrays import ITEMSIZE
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.linalg.generic.problem import ListProblem, ProductProblem
from planmath.linalg.generic.providers.cublas import OPERATION, call_of, prelude, workspace_size
from planmath.linalg.generic.providers.device_pipeline import DevicePipeline, decision
from planmath.linalg.generic.providers.lists import ListProvider, places_of
from planmath.linalg.generic.providers.routines import Routine, multiply
from planmath.linalg.product import device_kernels
from planmath.native.call import COPY, Call, Slot

GROUPED = "grouped"
#: The dtypes of which the library has grouped products.
DTYPES = ("float32", "float64")


class GroupedProvider(ListProvider):
    """cuBLAS as a provider of lists: one product after the other, or all in one call."""

    def algorithms(self, problem: ListProblem) -> Sequence[Algorithm]:
        found = list(super().algorithms(problem))
        if all(map(self._may_be_grouped, problem.members)) and self._one_alpha(problem) and self._has(problem):
            found.insert(0, Algorithm(self.name, (("product", GROUPED),)))
        return found

    def _may_be_grouped(self, member: ProductProblem) -> bool:
        plain = member.d.dtype in DTYPES and "dg" not in member.kinds and not member.a.structure.inverse
        return plain and all(extent == 1 for extent in member.batch)

    @staticmethod
    def _one_alpha(problem: ListProblem) -> bool:
        """Whether one number decides whether the factors are read."""
        return dict(problem.lengths)["alpha"] == 1

    @staticmethod
    def _has(problem: ListProblem) -> bool:
        """Whether the library is new enough."""
        return bindings.cublas.LIBRARY.has(_name(problem))

    def prepare(self, problem: ListProblem, algorithm: Algorithm) -> Prepared:
        if algorithm.get("product") != GROUPED:
            return super().prepare(problem, algorithm)
        return _Grouping(problem).prepared()


class _Grouping:
    """Collects what stands before the products of a list, the products, and what stands behind them."""

    def __init__(self, problem: ListProblem):
        self._problem, self._device_id = problem, problem.execution[1]
        self._workspace, self.size = problem.arrays, 0
        self._before: list[Call] = []
        self._without: list[Call] = []
        self._after: list[Call] = []
        self._groups: dict[tuple, list[tuple[Slot, Slot, Slot]]] = {}

    def _reserve(self, size: int) -> Slot:
        offset = self.size
        self.size += -(-size // DevicePipeline.LINE) * DevicePipeline.LINE
        return Slot(self._workspace, offset)

    def prepared(self) -> Prepared:
        members, stream = self._problem.members, Slot(self._workspace + 1)
        size = max(map(workspace_size, members))
        handle, prepares = prelude(self._device_id, stream, self._reserve(size), size)
        first = self._problem.numbers_of(0)
        alpha, beta, a = (Slot(first[name]) for name in ("alpha", "beta", "a"))
        decides, (_, _, none) = decision(members[0].work_dtype, "", alpha, beta, a, a)
        for i, member in enumerate(members):
            self._add(i, member, none)
        calls = [prepares, decides, *self._before, *self._product(handle.address, alpha), *self._without, *self._after]
        return Prepared({None: Program(calls, lock=handle.lock)}, self.size)

    def _add(self, i: int, member: ProductProblem, none: tuple[int, str]) -> None:
        """One product, in temporary memory of its own."""
        pipeline = DevicePipeline(member)
        pipeline.one_structure()
        found: list[Routine] = []
        multiply(pipeline, "gemm", found.append, in_place=False)
        (routine,), before = found, len(pipeline.calls)
        pipeline.finish()
        after = pipeline.calls[before:]
        del pipeline.calls[before:]
        own = places_of(self._problem, i, self._reserve(pipeline.workspace_size).offset)
        self._before += [call.redirected(own) for call in pipeline.calls]
        pipeline.calls = []
        scaling = pipeline.without_product(routine.result, unless_zero=none)
        self._without += [call.redirected(own) for call in [*pipeline.calls, scaling]]
        self._after += [call.redirected(own) for call in after]
        regions = *routine.factors, routine.result
        places = [own[region.slot.operand] for region in regions]
        slots = tuple(
            place._replace(offset=place.offset + region.slot.offset)
            for place, region in zip(places, regions, strict=True)
        )
        leading = tuple(region.matrix.leading[1] for region in regions)
        beta = self._problem.numbers_of(i)["beta"]
        self._groups.setdefault((routine.letters, routine.extents, leading, beta), []).append(slots)

    def _product(self, handle: int, alpha: Slot) -> list[Call]:
        """The tables of addresses, the factors, and the one call."""
        work, keys = self._problem.members[0].work_dtype, list(self._groups)
        each = [slots for key in keys for slots in self._groups[key]]
        tables = [self._reserve(8 * len(each)) for _ in range(3)]
        calls = []
        for which, table in enumerate(tables):
            addresses = [slots[which] for slots in each]
            calls += device_kernels.tabulate(addresses, table, Slot(self._workspace + 1), self._device_id)
        operations = [np.array([OPERATION[letters[i]] for letters, *_ in keys], np.int32) for i in range(2)]
        extents = [np.array([key[1][i] for key in keys], np.int64) for i in range(3)]
        leading = [np.array([key[2][i] for key in keys], np.int64) for i in range(3)]
        counts = np.array([len(self._groups[key]) for key in keys], np.int64)
        alphas, betas = np.zeros(len(keys), work), np.zeros(len(keys), work)
        keep = operations, extents, leading, counts, alphas, betas
        size = ITEMSIZE[work]
        for i, (*_, beta) in enumerate(keys):
            for numbers, slot in ((alphas, alpha), (betas, Slot(beta))):
                calls.append(Call(COPY, [numbers[i:].ctypes.data, slot, size], name="copy", keep=numbers))
        given: list[np.ndarray] = [*operations, *extents]
        address = [numbers.ctypes.data for numbers in given]
        ld = [numbers.ctypes.data for numbers in leading]
        arguments = [
            handle, *address, alphas.ctypes.data, tables[0], ld[0], tables[1], ld[1], betas.ctypes.data, tables[2],
            ld[2], len(keys), counts.ctypes.data,
        ]  # fmt: skip
        calls.append(call_of(_name(self._problem), arguments, keep=keep, unless_zero=(alpha, work)))
        return calls


def _name(problem: ListProblem) -> str:
    return f"cublas{LETTER[problem.members[0].work_dtype].upper()}gemmGroupedBatched_64"
