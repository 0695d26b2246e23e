"""A contraction as native calls: tensors copied where they have to be, the product, the result copied back.

A product takes tensors of one dtype, without operators, and adds to what is in its result. Whatever a problem asks
beyond that becomes a copy before or after it, on temporary memory.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

import planmath.tensor.kernels as kernels
from planmath.bindings.blas import BLAS, INTEGER, LETTER
from planmath.core.arrays import ITEMSIZE
from planmath.native.call import Call, Slot
from planmath.tensor.enums import Operator
from planmath.tensor.problem import Tensor, by_step
from planmath.tensor.providers.strategy import (
    LINE,
    Modes,
    Strategy,
    copy_order,
    dense,
    extent_of,
    packing_of,
    parts_of,
    shared_sum,
)

#: Below this many bytes a copy is made by one thread, and below this many multiplications a contraction without a
#: matrix product: more than 50 µs, several times what starting a thread takes.
THREADED_BYTES, THREADED_WORK = 1 << 20, 1 << 17
#: Numbers that are only summed come as fast as memory has them: below this many bytes by one thread.
THREADED_SUMS = 16 << 20

Loop = tuple[int, tuple[int, int, int]]


class Region(NamedTuple):
    """Where the elements of a tensor are when a program runs; an address, if they stay there."""

    tensor: Tensor
    slot: Slot | int


class Sharing(NamedTuple):
    """How the work of a product is divided."""

    library: BLAS
    threads: int
    what: str
    """What threads share: each 'product' (threads of the library) or 'blocks' of it (planmath's own, which end with the
    call), the 'batch' that one call of the library makes, the 'loops' over products, or the parts of 'sums', which are
    added afterwards."""

    @property
    def among_products(self) -> bool:
        """Whether each call of the library is made by one thread."""
        return self.threads == 1 or self.what in ("blocks", "loops", "sums")


class Builder:
    """Collects the calls of a contraction.

    Parameters
    ----------
    extents : sequence of int
        By the modes' numbers.
    work : str
        The dtype in which products are computed.
    workspace : int
        Index of the temporary memory among the arrays that a program sees.
    threads : int
        Most threads for copies.

    Attributes
    ----------
    calls : list of Call
    workspace_size : int
    multiplications : int
        Of all steps.
    one, zero : int
        Addresses of these numbers.
    """

    def __init__(self, extents: Sequence[int], work: str, workspace: int, threads: int):
        self.extents, self.work, self.threads = extents, work, threads
        self.calls: list[Call] = []
        self.workspace_size = self.multiplications = 0
        self._workspace = workspace
        self._numbers = np.array([1, 0], work)
        self.one = self._numbers.ctypes.data
        self.zero = self.one + self._numbers.itemsize

    def temporary(self, order: Sequence[int], dtype: str | None = None, count: int = 1) -> Region:
        """Dense temporary memory for `count` tensors with these modes, the slowest first; the first of them there."""
        slot = self._memory(count * extent_of(tuple(order), self.extents) * ITEMSIZE[dtype or self.work])
        steps = dense(order, self.extents)
        return Region(Tensor(dtype or self.work, tuple(steps), tuple(steps.values())), slot)

    def _memory(self, size: int) -> Slot:
        offset = self.workspace_size
        self.workspace_size += -(-size // LINE) * LINE
        return Slot(self._workspace, offset)

    # Copies.

    def copy(self, source: Region, target: Region) -> None:
        """Put the source's elements, its operator applied, in the target; what the target lacks is summed."""
        s, t = source.tensor, target.tensor
        steps, size, to_size = s.steps, ITEMSIZE[s.dtype], ITEMSIZE[t.dtype]
        result = [(self.extents[m], (steps.get(m, 0) * size, 0, step * to_size)) for m, step in t.steps.items()]
        summed = [(self.extents[m], (step * size, 0, 0)) for m, step in steps.items() if m not in t.modes]
        result = fused(sorted(result, key=lambda loop: -abs(loop[1][2])))
        summed = fused(sorted(summed, key=lambda loop: -abs(loop[1][0])))
        least = THREADED_SUMS if summed and s.operator == Operator.OP_IDENTITY else THREADED_BYTES
        header = {"threads": self._threads_for(result, summed, least // to_size)}
        if s.dtype == t.dtype and s.operator == Operator.OP_IDENTITY and not summed:
            last = len(result) - 1
            if last > 0 and result[last][1][2] == size != result[last][1][0]:
                header["tile"] = next((i for i in range(last) if result[i][1][0] == size), -1)
            function, name = kernels.COPY[size], "copy"
        else:
            along = bool(summed) and abs(summed[-1][1][0]) <= min((abs(loop[1][0]) for loop in result), default=1 << 62)
            header |= {"operator": s.operator, "along_sum": int(along)}
            function, name = kernels.TRANSFORM[s.dtype, t.dtype], "transformation"
        kept = descriptor(result, summed, header)
        self.calls.append(Call(function, [kept.ctypes.data, source.slot, target.slot], name=name, keep=kept))

    def _threads_for(self, result: Sequence[Loop], summed: Sequence[Loop], least: int) -> int:
        work = math.prod(count for count, _ in (*result, *summed))
        return self.threads if work >= least else 1

    # Products.

    def contract(
        self, a: Region, b: Region, d: Region, c: Region | None, strategy: Strategy, sharing: Sharing,
        alpha: Slot | int, beta: Slot | int,
    ) -> None:  # fmt: skip
        """d = alpha a b + beta c; beta has to be 0 where c is None. d may be where c is."""
        original = {"a": a, "b": b, "d": d}
        regions = dict(original)
        parts = parts_of(strategy, self.extents, sharing.threads) if sharing.what == "sums" else 1
        for name in "ab":
            if name in strategy.copies:
                regions[name] = self.temporary(copy_order(name, original[name].tensor, strategy))
                self.copy(original[name], regions[name])
        if "d" in strategy.copies:
            regions["d"] = self.temporary(copy_order("d", d.tensor, strategy), count=parts)
        added = regions["d"] if parts == 1 else d
        if c is not None and (c.slot != added.slot or c.tensor.operator != Operator.OP_IDENTITY):
            self.copy(c, added)
        if strategy.direct:
            self._direct(regions, strategy, sharing, alpha, beta)
        elif strategy.gett:
            self._gett(regions, strategy, sharing.threads, alpha, beta)
        else:
            self._products(regions, strategy, sharing, alpha, beta if parts == 1 else self.zero, parts)
        if parts > 1:
            self._add(regions["d"], parts, d, self.one, beta)
        elif "d" in strategy.copies:
            self.copy(regions["d"], d)

    def scale(self, c: Region | None, d: Region, factor: Slot | int) -> None:
        """d = factor c; 0 where c is None."""
        if c is None:
            self.copy(Region(Tensor(self.work, (), ()), self.zero), d)
            return
        order = by_step(d.tensor)
        source = c
        if (c.tensor.dtype, c.tensor.operator) != (self.work, Operator.OP_IDENTITY):
            source = self.temporary(order)
            self.copy(c, source)
        target = d if d.tensor.dtype == self.work else self.temporary(order)
        self._add(source, 1, target, factor, self.zero)
        if target is not d:
            self.copy(target, d)

    def _add(self, source: Region, parts: int, target: Region, alpha: Slot | int, beta: Slot | int) -> None:
        """target = alpha (the sum of tensors that follow each other) + beta target."""
        size, steps = ITEMSIZE[self.work], source.tensor.steps
        loops = [(self.extents[m], (steps.get(m, 0) * size, 0, step * size)) for m, step in target.tensor.steps.items()]
        result = fused(sorted(loops, key=lambda loop: -abs(loop[1][2])))
        kept = descriptor(result, [(parts, (extent_of(tuple(steps), self.extents) * size, 0, 0))], {})
        arguments = [kept.ctypes.data, source.slot, self.one, target.slot, alpha, beta]
        self.calls.append(Call(kernels.DIRECT[self.work], arguments, name="sum", keep=(kept, self._numbers)))

    def _loops(self, regions: Mapping[str, Region], modes: Iterable[Modes]) -> list[Loop]:
        """Loops over groups of modes: count, and the bytes by which a, b and d move."""
        steps = [(regions[name].tensor.steps, ITEMSIZE[regions[name].tensor.dtype]) for name in "abd"]
        return fused([
            (extent_of(group, self.extents), tuple(of.get(group[-1], 0) * size for of, size in steps))  # type: ignore[misc]
            for group in modes
        ])  # fmt: skip

    def _direct(
        self, regions: Mapping[str, Region], strategy: Strategy, sharing: Sharing, alpha: Slot | int, beta: Slot | int
    ) -> None:
        result, summed = self._loops(regions, strategy.result_loops), self._loops(regions, strategy.summed_loops)
        self.multiplications += math.prod(count for count, _ in (*result, *summed))
        threads = sharing.threads if self._threads_for(result, summed, THREADED_WORK) > 1 else 1
        kept = descriptor(result, summed, {"threads": threads, "along_sum": int(strategy.along)})
        arguments = [kept.ctypes.data, *(regions[name].slot for name in "abd"), alpha, beta]
        self.calls.append(Call(kernels.DIRECT[self.work], arguments, name="contraction", keep=(kept, self._numbers)))

    def _gett(
        self, regions: Mapping[str, Region], strategy: Strategy, threads: int, alpha: Slot | int, beta: Slot | int
    ) -> None:
        ordered = {name: regions[which] for name, which in zip("abd", (*strategy.gett, "d"), strict=True)}
        sides = {"a": strategy.m, "b": strategy.n}
        batch = self._loops(ordered, strategy.result_loops)
        rows, columns, summed = (
            self._loops(ordered, [(mode,) for mode in modes])
            for modes in (sides[strategy.gett[0]], sides[strategy.gett[1]], strategy.k)
        )
        m, n = (math.prod(count for count, _ in loops) for loops in (rows, columns))
        self.multiplications += m * n * math.prod(count for count, _ in (*batch, *summed))
        share, each, together = packing_of(strategy, self.extents, self.work, threads)
        header = {"threads": threads, "m": len(rows), "n": len(columns), "bytes": each}
        if share != "batch":
            header["block"] = 1 if share == "rows" else 2
            batch = [(max(m, n), (0, 0, 0)), *batch]
        kept = descriptor([*batch, *rows, *columns], summed, header)
        work = self._memory(threads * each + together)
        arguments = [kept.ctypes.data, *(ordered[name].slot for name in "abd"), alpha, beta, work]
        self.calls.append(Call(kernels.GETT[self.work], arguments, name="gett", keep=(kept, self._numbers)))

    def _products(
        self, regions: Mapping[str, Region], strategy: Strategy, sharing: Sharing, alpha: Slot | int, beta: Slot | int,
        parts: int,
    ) -> None:  # fmt: skip
        m, n, k = (extent_of(modes, self.extents) for modes in (strategy.m, strategy.n, strategy.k))
        call = strategy.call
        assert call is not None
        if call.by_rows:
            m, n = n, m
        ordered = {name: regions[which] for name, which in zip("abd", (*call.factors, "d"), strict=True)}
        result, summed = self._loops(ordered, strategy.result_loops), self._loops(ordered, strategy.summed_loops)
        if parts > 1:  # as many results as parts, of which each sums its share
            ((count, steps),) = self._loops(ordered, [group := shared_sum(strategy)])
            each = count // parts
            size = extent_of(regions["d"].tensor.modes, self.extents) * ITEMSIZE[self.work]
            result = [(parts, (each * steps[0], each * steps[1], size))]
            if group in strategy.summed_loops:
                summed = fused([(each, steps), *self._loops(ordered, strategy.summed_loops[1:])])
            else:
                k = each
        name, library = f"{LETTER[self.work]}gemm", sharing.library
        values = [INTEGER(x) for x in (m, n, k, *call.leading)]
        flags = [ctypes.c_char(x) for x in call.letters]
        pm, pn, pk, plda, pldb, pldd = map(ctypes.addressof, values)
        places = [ordered[x].slot for x in "abd"]
        one_thread = sharing.among_products
        work = m * n * k * math.prod(count for count, _ in (*result, *summed))
        self.multiplications += work
        limited = library.threads_setter and work >= library.threaded_work
        block = {}
        if sharing.what == "blocks":  # of the longer side of the result
            size, natural = ITEMSIZE[self.work], [letter == ord("N") for letter in call.letters]
            lda, ldb, ldd = call.leading
            if m > n:
                block, loop = {"block": 1}, (m, (size * (1 if natural[0] else lda), 0, size))
            else:
                block, loop = {"block": 2}, (n, (0, size * (ldb if natural[1] else 1), size * ldd))
            result = [loop, *result]
        loops = bool(result or summed)
        inside = one_thread and library.sets_locally and loops  # each thread limits itself
        if limited and not inside:
            self.calls.append(Call(library.threads_setter, [1 if one_thread else sharing.threads], name="thread limit"))
        keep = (values, flags, self._numbers)
        if sharing.what == "batch":
            ((count, steps),) = result
            sizes = [INTEGER(x) for x in (*(step // ITEMSIZE[self.work] for step in steps), count)]
            s1, s2, s3, size = map(ctypes.addressof, sizes)
            arguments = [
                *map(ctypes.addressof, flags), pm, pn, pk, alpha, places[0], plda, s1, places[1], pldb, s2, beta,
                places[2], pldd, s3, size,
            ]  # fmt: skip
            function = f"{name}_batch_strided"
            self.calls.append(Call(library.find(function), arguments, name=function, keep=(keep, sizes)))
        elif not loops:
            arguments = [
                *map(ctypes.addressof, flags), pm, pn, pk, alpha, places[0], plda, places[1], pldb, beta, places[2],
                pldd,
            ]  # fmt: skip
            self.calls.append(Call(library.find(name), arguments, name=name, keep=keep))
        else:
            header = {
                "threads": sharing.threads if one_thread else 1, "gemm": library.find(name),
                "limit": library.threads_setter if inside else 0, "letters": call.letters[0] | call.letters[1] << 8,
                "m": m, "n": n, "k": k, "one": self.one,
                **dict(zip(("lda", "ldb", "ldd"), call.leading, strict=True)), **block,
            }  # fmt: skip
            kept = descriptor(result, summed, header)
            arguments = [kept.ctypes.data, *places, alpha, beta]
            self.calls.append(Call(kernels.PRODUCTS, arguments, name=f"products by {name}", keep=(keep, kept)))
        if limited and not inside:
            self.calls.append(Call(library.threads_setter, [0], name="thread limit"))


def fused(loops: Sequence[Loop]) -> list[Loop]:
    """The same loops with those made one that are one in memory; those that run once are left out."""
    found: list[Loop] = []
    for count, steps in loops:
        if count == 1:
            continue
        if found and all(outer == count * inner for outer, inner in zip(found[-1][1], steps, strict=True)):
            found[-1] = (found[-1][0] * count, steps)
        else:
            found.append((count, steps))
    return found


def descriptor(result: Sequence[Loop], summed: Sequence[Loop], header: Mapping[str, int]) -> np.ndarray:
    """What a kernel reads (contraction_kernels.h)."""
    result = list(result) or [(1, (0, 0, 0))]
    numbers = np.zeros(kernels.HEADER + 4 * (len(result) + len(summed)), np.int64)
    tile = header.get("tile", -1)
    threads = header.get("threads", 1)
    # threads share the first loop where it is a product's rows, or the slowest that has enough for each, or the longest
    enough = [i for i, (count, _) in enumerate(result) if count >= 4 * threads]
    longest = max(range(len(result)), key=lambda i: result[i][0])
    values = {
        "operator": int(Operator.OP_IDENTITY), **header, "tile": tile, "threads": threads, "result": len(result),
        "summed": len(summed),
        "split": -1 if threads == 1 else 0 if "block" in header else enough[0] if enough else longest,
    }  # fmt: skip
    for name, value in values.items():
        numbers[kernels.PLACE[name]] = value
    for i, (count, steps) in enumerate((*result, *summed)):
        numbers[kernels.HEADER + 4 * i : kernels.HEADER + 4 * i + 4] = (count, *steps)
    return numbers
