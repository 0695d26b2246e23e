"""Products as planned local products between planned exchanges.

``gather``: each rank gets the rows of a and the columns of b that its part of the result needs, where it does not have
them (AllGather and product), and multiplies, epilog included.

``reduce``: where k is cut, each rank multiplies what it has; the products of all ranks are exchanged and summed up
(product and ReduceScatter, or AllReduce), and the epilog follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Layout, contiguous_strides
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Exchange, Traffic, turns
from planmath.core.datatypes import DTYPE_OF
from planmath.distributed.linalg.advanced.enums import LocalEpilog, MatmulEpilog
from planmath.distributed.linalg.advanced.exchanges import Factor, MakeSession, Spread, Sums, Total
from planmath.distributed.linalg.advanced.problem import MatmulProblem, Placed
from planmath.linalg.advanced.epilog import EPILOGS, EXTENTS, is_vector
from planmath.linalg.advanced.operation import Matmul
from planmath.linalg.advanced.options import matrix_qualifiers_dtype

#: The dtype in which the products of several ranks are added.
WIDE = {"float16": "float32", "bfloat16": "float32"}
#: Epilogs whose sums are those of a factor, not of the result.
OF_FACTORS = (MatmulEpilog.BGRADA, MatmulEpilog.BGRADB)


class Product:
    """A planned local product whose operands are bound at each execution."""

    def __init__(self, a: Any, b: Any, c: Any, scalars: dict[str, Any], plan: dict[str, Any], **arguments: Any):
        self.matmul = Matmul(a, b, c, **scalars, **arguments)
        self.inputs = dict(plan.get("epilog_inputs") or {})
        self._has_let_go = False
        self.matmul.plan(**plan)

    def __call__(self, a: Any, b: Any, c: Any, out: Any = None) -> Any:
        given = {"a": a, "b": b} if c is None else {"a": a, "b": b, "c": c}
        if self._has_let_go:
            given["epilog_inputs"] = self.inputs
            self._has_let_go = False
        self.matmul.reset_operands(**given)
        return self.matmul.execute(out=out)

    def reset(self, inputs: dict[str, Any], **others: Any) -> None:
        """Take other inputs of the epilog, scale factors and scales."""
        if inputs and not self._has_let_go:
            others["epilog_inputs"] = inputs
        if any(value is not None for value in others.values()):
            self.matmul.reset_operands(**others)
        self.inputs |= inputs

    def let_go(self) -> None:
        """Drop the references to the user's arrays."""
        self.matmul.release_operands()
        self.inputs, self._has_let_go = {}, True

    def __del__(self) -> None:
        if hasattr(self, "matmul"):
            self.matmul.free()


class Stages:
    """A planned product across ranks; subclasses are the ways to compute it.

    Parameters
    ----------
    problem : MatmulProblem
    bench : Bench
        Of whose package the operands are.
    operands : sequence of array
        The present ones: a and b.
    scalars : dict
        alpha and beta.
    scales : object
        Quantization scales, if there are some.
    preferences : object
        Of the epilog.
    inputs : dict
        The epilog's.
    make_session : callable
        From the most bytes that this rank receives at once to a place for exchanges. Collective.
    """

    def __init__(
        self, problem: MatmulProblem, bench: Bench, operands: Sequence[Any], scalars: dict[str, Any], scales: Any,
        preferences: Any, inputs: dict[str, Any], make_session: MakeSession,
    ):  # fmt: skip
        self.problem, self.bench, self.package, self.scalars = problem, bench, bench.package, dict(scalars)
        self.sums = Sums(bench)
        #: In which parts of the result are added.
        self._dtype = WIDE.get(problem.d.dtype, problem.d.dtype)
        self.scales, self.preferences, self.inputs = scales, preferences, inputs
        self.make_session = make_session
        self.traffics: list[Traffic] = []
        #: The layouts of auxiliary results, by name.
        self.layouts: dict[str, Layout] = {}
        self._totals: dict[str, Total | Spread] = {}
        self._own: dict[str, Any] = {}
        self.products: list[Product] = []
        self._plan(*operands)

    def _plan(self, a: Any, b: Any) -> None:
        raise NotImplementedError

    def run(self, a: Any, b: Any, d: Any, auxiliary: dict[str, Any]) -> None:
        """Compute into d, which has c's values where there is a c."""
        raise NotImplementedError

    def reset(self, scalars: dict[str, Any], inputs: dict[str, Any], scales: Any) -> None:
        """Take other scale factors, inputs of the epilog and scales. Raises where they do not fit."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Drop the references to the user's arrays."""
        for product in self.products:
            product.let_go()

    # What the ways have in common.

    def make_exchange(self, traffic: Traffic, buffered: bool) -> Exchange:
        """A planned exchange with memory of its own. Collective."""
        return self.make_session(traffic.size).exchange(traffic, buffered)

    @property
    def _beta(self) -> Any:
        return self.scalars["beta"] if self.problem.has_c else 0

    @property
    def _is_empty(self) -> bool:
        """Whether this rank has nothing of the result."""
        return 0 in self.problem.local_shape

    def _product(self, a: Any, b: Any, c: Any, alpha: Any, beta: Any, epilog: Any, **options: Any) -> Product:
        p = self.problem
        qualifiers = None
        if alpha != 0 and (p.a.conjugate or p.b.conjugate):
            qualifiers = np.zeros(3, matrix_qualifiers_dtype)
            qualifiers["is_conjugate"] = p.a.conjugate, p.b.conjugate, 0
        chosen = {"compute_type": p.compute, "scale_type": p.scale, "tuning": False, **options}
        local = LocalEpilog.DEFAULT if epilog is None else epilog.local
        inputs = self.inputs if EPILOGS[local].inputs else {}
        scalars = {"alpha": alpha, "beta": beta} if c is not None else {"alpha": alpha}
        preferences = None if self.preferences is None else {"epilog": self.preferences}
        plan = {"epilog": local, "epilog_inputs": inputs, "preferences": preferences}
        product = Product(
            a, b, c, scalars, plan, qualifiers=qualifiers, quantization_scales=self.scales, options=chosen,
            execution=self.bench.execution(p.execution[1]),
        )  # fmt: skip
        self.products.append(product)
        return product

    def _empty_result(self) -> Any:
        return self.bench.empty(self.problem.local_shape, self.problem.d.dtype, (1, 0))

    def _plan_auxiliary(self, product: Product | None, epilog: MatmulEpilog | None) -> None:
        """The auxiliary results, and which of them the ranks have to add up or to spread."""
        p = self.problem
        local = LocalEpilog.DEFAULT if epilog is None else epilog.local
        m, n = p.local_shape
        made = product.matmul.empty_result()[1] if product is not None and EPILOGS[local].auxiliary else {}
        rows, columns = (tuple([(of[k],) for of in p.d.placed]) for k in (0, 1))
        for name in EPILOGS[local].auxiliary:
            layout = self.package.layout(made[name], name) if name in made else None
            dtype = layout.dtype if layout else ("uint8" if name == "relu_aux" else p.d.dtype)
            if layout is None:
                extents = EXTENTS[name](m, n)
                dense = contiguous_strides(extents, (1, 0))
                n_axes = 1 if is_vector(name) else 2
                layout = Layout(extents[:n_axes], dense[:n_axes], dtype, "cpu", None)
            wide = WIDE.get(dtype, dtype)
            if name.endswith("_bgrad"):
                if sum(sections.extent_of(of[0]) for of in rows) != p.d.shape[0]:
                    self._totals[name] = Total(rows, rows, p.rank, wide, (1,), self.make_exchange, self.sums)
            elif name in ("bgrada", "bgradb"):
                self._plan_factor_sums(name, dtype, rows, columns)
                extent = m if name == "bgrada" else p.d.shape[1]
                layout = Layout((extent,), (1,), dtype, "cpu", None)
            self.layouts[name] = layout
            if name in self._totals:
                self._own[name] = made.get(name)
                self.traffics.append(self._totals[name].traffic)

    def _dtype_of(self, name: str) -> str:
        """In which an auxiliary result is added up."""
        dtype = self.layouts[name].dtype
        return WIDE.get(dtype, dtype)

    def _plan_factor_sums(self, name: str, dtype: str, rows: Placed, columns: Placed) -> None:
        raise NotImplementedError

    def _out(self, auxiliary: dict[str, Any]) -> dict[str, Any]:
        """Where the local product puts its auxiliary results."""
        return {name: self._own.get(name, array) if name in self._own else array for name, array in auxiliary.items()}

    def _plan_end(self, epilog: MatmulEpilog | None) -> None:
        """Prepare what comes behind a sum: the epilog is one of a product with nothing."""
        self._last: Product | None = None
        if epilog is not None and not self._is_empty:
            (rows, columns), dtype = self.problem.local_shape, self.problem.d.dtype
            self._zeros = [self.bench.empty(shape, dtype, (1, 0)) for shape in ((rows, 1), (1, columns))]
            for array in self._zeros:
                array[...] = 0
            column, row = self._zeros
            self._last = self._product(column, row, self._empty_result(), 0, 1, epilog, inplace=True)

    def _end(self, total: Any, d: Any, out: dict[str, Any]) -> None:
        """Bring a sum to the result, with c and the epilog."""
        if self.problem.has_c and self._beta != 0:
            # the factor as an element of the dtype, so that NumPy widens nothing
            beta = np.asarray(self._beta, total.dtype) if isinstance(total, np.ndarray) else self._beta
            total += beta * self.sums.wide(d, self._dtype)
        d[...] = self.sums.in_package(total)
        if self._last is not None:
            self._last(self._zeros[0], self._zeros[1], d, (None, out) if out else None)

    def _finish(self, auxiliary: dict[str, Any]) -> None:
        """Add up, or spread, what the local product left."""
        for name, total in self._totals.items():
            own, result = self._own[name], auxiliary[name]
            if isinstance(total, Spread):
                total.run(self.package, result if own is None else own, result)
                continue
            part = total.zeros if own is None else self.sums.wide(own, self._dtype_of(name)).reshape(-1)
            result[...] = self.sums.in_package(total.of(part))


@dataclass
class Panel:
    """Some columns of the result, and where b's come from."""

    source: int | None
    """The rank; None for this one, whose own array is multiplied."""
    at: slice
    """The columns there, or in the receive buffer."""
    columns: slice
    sample: Any
    c: Any
    """For planning."""
    product: Product | None = None


class Gather(Stages):
    """Whole rows and columns come to the product."""

    def _plan(self, a: Any, b: Any) -> None:
        p = self.problem
        self._operand = a
        self._a = Factor(p.a, p.rows, p.rank, self.bench, self.make_exchange)
        self._b = Factor(p.b, p.columns, p.rank, self.bench, self.make_exchange)
        self.traffics += [factor.traffic for factor in (self._a, self._b) if factor.traffic]
        self._product_made: Product | None = None
        self._narrow = ITEMSIZE[p.a.dtype] == 1 and "float" in p.a.dtype
        if not self._is_empty:
            c = None if self._narrow and not p.has_c else self._empty_result()
            options = {"result_type": datatype_of(p.d.dtype)} if c is None else {"inplace": True}
            self._product_made = self._product(
                self._a.sample(a), self._b.sample(b), c, self.scalars["alpha"], self._beta, p.epilog, **options
            )
        self._plan_auxiliary(self._product_made, p.epilog)
        self._panels = self._cut_into_panels(b) if self._product_made is not None else []
        self._operand = None

    def _cut_into_panels(self, b: Any) -> list[Panel]:
        """The columns of the result by the rank that b's come from, this one first, where each may be multiplied alone.

        Empty where they are not contiguous, the epilog leaves more than the result, or messages come together.
        """
        p, factor = self.problem, self._b
        if self._a.exchange is not None or not hasattr(factor.exchange, "await_from") or self.layouts or self._narrow:
            return []
        assert factor.traffic is not None
        k, found = p.a.shape[1], []
        for message in filter(None, (factor.traffic.own, *factor.traffic.received)):
            rows, columns = message.axes
            if rows != ((0, 0, k),) or len(columns) != 1:
                return []
            source, first, n = columns[0]
            is_own = message.source == p.rank
            at = slice(source, source + n) if is_own else slice(first, first + n)
            sample = (factor.own(b) if is_own else factor.array)[:, at]
            c = self.bench.empty((p.local_shape[0], n), p.d.dtype, (1, 0))
            found.append(Panel(None if is_own else message.source, at, slice(first, first + n), sample, c))
        planned: dict[Any, Product] = {}
        for panel in found:
            key = [tuple(self.package.layout(of, "a panel")) for of in (panel.sample, panel.c)]
            panel.product = planned.get(tuple(key)) or self._product(
                self._a.sample(self._operand), panel.sample, panel.c, self.scalars["alpha"], self._beta, p.epilog,
                inplace=True,
            )  # fmt: skip
            planned[tuple(key)] = panel.product
            panel.sample = panel.c = None
        return found

    def _run_panels(self, a: Any, b: Any, d: Any) -> None:
        """Send what this rank has of b, and multiply each panel as it comes."""
        exchange: Any = self._b.exchange
        number = exchange.start(self.package.address(b))
        a, b = self._a.own(a), self._b.own(b)
        try:
            for panel in self._panels:
                if panel.source is not None:
                    exchange.await_from(panel.source, number)
                assert panel.product is not None
                panel.product(a, (b if panel.source is None else self._b.array)[:, panel.at], d[:, panel.columns])
        finally:  # the other ranks have what they need, and are told when they may send again
            exchange.finish()
            exchange.release()

    def _plan_factor_sums(self, name: str, dtype: str, rows: Placed, columns: Placed) -> None:
        if name == "bgradb":
            self._totals[name] = Spread(columns, self.problem.d.shape[1], self.problem.rank, dtype, self.make_exchange)

    def run(self, a: Any, b: Any, d: Any, auxiliary: dict[str, Any]) -> None:
        if self._panels:
            self._run_panels(a, b, d)
            return
        try:
            a, b = self._a.fetch(a), self._b.fetch(b)
            if self._product_made is not None:
                self._multiply(self._product_made, a, b, d, self._out(auxiliary))
        finally:
            self._a.release()
            self._b.release()
        self._finish(auxiliary)

    def _multiply(self, product: Product, a: Any, b: Any, d: Any, out: dict[str, Any]) -> None:
        if not self._narrow or self.problem.has_c:
            product(a, b, d, (None, out) if out else None)
            return
        result = product(a, b, None)  # whose layout is the library's to choose
        d[...] = result[0] if out else result
        for name, array in out.items():
            array[...] = result[1][name]

    def reset(self, scalars: dict[str, Any], inputs: dict[str, Any], scales: Any) -> None:
        others = {name: value for name, value in scalars.items() if name == "alpha" or self.problem.has_c}
        for product in self.products:
            product.reset(inputs, quantization_scales=scales, **others)
        self.scalars |= scalars


class Reduce(Stages):
    """Products of parts of k, which are added up."""

    def _plan(self, a: Any, b: Any) -> None:
        p = self.problem
        m, n = p.d.shape
        self._of_factors = p.epilog if p.epilog in OF_FACTORS else None
        self._part_made: Product | None = None
        part = self.sums.bench.empty((m, n), self._dtype, (1, 0))
        part[...] = 0
        if sections.extent_of(p.a.placed[p.rank][1]):
            a, b = (x.T if side.transposed else x for x, side in ((a, p.a), (b, p.b)))
            self._part_made = self._product(
                a, b, self.sums.in_package(part), self.scalars["alpha"], 0, self._of_factors, inplace=True
            )
        self._part = part
        whole = tuple([sections.whole((m, n)) for _ in p.d.placed])
        self._total = Total(
            whole, p.d.placed, p.rank, self._dtype, contiguous_strides((m, n), (1, 0)), self.make_exchange, self.sums
        )
        self.traffics.append(self._total.traffic)
        self._pieces = self._cut_into_pieces(a, b)
        self._plan_end(None if self._of_factors or p.epilog is MatmulEpilog.ALLREDUCE else p.epilog)
        self._plan_auxiliary(self._part_made if self._of_factors else self._last, p.epilog)

    def _cut_into_pieces(self, a: Any, b: Any) -> list[tuple[slice, Product]]:
        """The columns of each rank's part of the result, this one's last, where they can leave when they are there."""
        p, total = self.problem, self._total
        split = getattr(total.exchange, "split", None)
        if split is None or self._of_factors or self._part_made is None:
            return []
        (m, n), nranks = p.d.shape, len(p.d.placed)
        intervals: list[tuple[int, int]] = []
        for rank in [*turns(p.rank, nranks), p.rank]:
            rows, columns = p.d.placed[rank]
            if rows != sections.interval(0, m) or len(columns) > 1:
                return []
            intervals += columns
        if sum(stop - start for start, stop in intervals) != n:
            return []
        made, planned = [], dict[int, Product]()
        part = self.sums.in_package(self._part)
        for start, stop in intervals:
            if stop - start not in planned:
                planned[stop - start] = self._product(
                    a, b[:, start:stop], part[:, start:stop], self.scalars["alpha"], 0, None, inplace=True
                )
            made.append((slice(start, stop), planned[stop - start]))
        split(2, intervals)
        return made

    def _multiply_piece(self, a: Any, b: Any, columns: slice, product: Product) -> None:
        product(a, b[:, columns], self.sums.in_package(self._part)[:, columns])

    def _plan_factor_sums(self, name: str, dtype: str, rows: Placed, columns: Placed) -> None:
        p = self.problem
        m, n = p.d.shape
        part = ((sections.interval(0, m if name == "bgrada" else n),),) * len(rows)
        wanted = rows if name == "bgrada" else part
        self._totals[name] = Total(part, wanted, p.rank, WIDE.get(dtype, dtype), (1,), self.make_exchange, self.sums)

    def run(self, a: Any, b: Any, d: Any, auxiliary: dict[str, Any]) -> None:
        p, out = self.problem, self._out(auxiliary)
        a, b = (x.T if side.transposed else x for x, side in ((a, p.a), (b, p.b)))
        works = [partial(self._multiply_piece, a, b, *piece) for piece in self._pieces]
        if self._part_made is not None and not works:
            try:
                self._part_made(a, b, self.sums.in_package(self._part), (None, out) if self._of_factors else None)
            except BaseException as error:
                self._total.exchange.abandon(error)
                raise
        total = self._total.of(self._part, works)
        if not self._is_empty:
            self._end(total, d, out)
        self._finish(auxiliary)

    def reset(self, scalars: dict[str, Any], inputs: dict[str, Any], scales: Any) -> None:
        for product in self.products:
            if product is self._last:
                product.reset(inputs)
            else:
                product.reset({}, alpha=scalars.get("alpha"))
        self.scalars |= scalars


class Run:
    """Planned stages, as what a program runs."""

    def __init__(self, stages: Stages):
        self.stages = stages

    def __call__(self, operands: Sequence[Any], results: Sequence[Any]) -> None:
        stages, problem = self.stages, self.stages.problem
        names = list(stages.layouts)
        if problem.inplace:
            d, auxiliary = operands[2], dict(zip(names, results, strict=True))
        else:
            d, auxiliary = results[0], dict(zip(names, results[1:], strict=True))
            if problem.has_c:
                d[...] = operands[2]
        stages.run(operands[0], operands[1], d, auxiliary)


def datatype_of(dtype: str) -> int:
    """The number of a dtype among cuBLAS's."""
    return int(next(number for number, name in DTYPE_OF.items() if name == dtype))
