"""Products on grids of two axes, panel by panel (SUMMA).

The inner extent is cut into panels. Of each the columns of a go to the ranks that have the same rows of the result, and
the rows of b to those that have the same columns; the product of the two is added. The next panel is on its way
meanwhile, where the transport sends by itself, and no rank ever has more than two panels of what is others'.
"""

from __future__ import annotations

from typing import Any

from planmath.core.collective import sections
from planmath.distributed.linalg.advanced.exchanges import PanelFactor
from planmath.distributed.linalg.advanced.problem import MatmulProblem
from planmath.distributed.linalg.advanced.stages import OF_FACTORS, WIDE, Product, Stages

#: The panels of a product at most, and the least columns of one: those of the last are what nothing is beside.
PANELS, LEAST = 8, 256
#: The types that are multiplied so: results of 16 bits are added in a wider one.
DTYPES = {*WIDE, "float32", "float64", "complex64", "complex128"}


class Summa(Stages):
    """Panels come to the products, which are added."""

    @staticmethod
    def suits(problem: MatmulProblem) -> bool:
        """Whether there is something to send, in more than one panel."""
        p = problem
        return (
            {p.a.dtype, p.b.dtype, p.d.dtype} <= DTYPES
            and p.epilog not in OF_FACTORS
            and p.a.shape[1] >= 2 * LEAST
            and (p.a.placed, p.b.placed) != (p.rows, p.columns)
        )

    def _plan(self, a: Any, b: Any) -> None:
        p = self.problem
        k = p.a.shape[1]
        count = min(PANELS, k // LEAST)
        bounds = [sections.part(k, count, number)[0] for number in range(count)]
        given = bounds, p.rank, self.bench, self.make_session
        self._factors = PanelFactor(p.a, p.rows, 1, *given), PanelFactor(p.b, p.columns, 0, *given)
        self.traffics += [of for factor in self._factors for of in factor.traffics if of is not None]
        self._steps: list[Product] = []
        #: Where products of 16 bits are added; others are in the result.
        self._part: Any = None
        if p.d.dtype in WIDE:
            self._part = self.sums.bench.empty(p.local_shape, self._dtype, (1, 0))
            self._plan_end(p.epilog)
        if not self._is_empty:
            self._plan_products(a, b, count)
        last = self._steps[-1] if self._steps else None
        self._plan_auxiliary(last if self._part is None else self._last, p.epilog)

    def _plan_products(self, a: Any, b: Any, count: int) -> None:
        added = self._part is not None
        c, planned = self.sums.in_package(self._part) if added else self._empty_result(), dict[Any, Product]()
        for number in range(count):
            is_first, is_last = number == 0, number == count - 1
            first, second = self._factors[0].panel(number, a), self._factors[1].panel(number, b)
            key = is_first, is_last, *(tuple(self.package.layout(of, "a panel")) for of in (first, second))
            if key not in planned:
                beta = 1 if not is_first else 0 if added else self._beta
                epilog = self.problem.epilog if is_last and not added else None
                planned[key] = self._product(first, second, c, self.scalars["alpha"], beta, epilog, inplace=True)
            self._steps.append(planned[key])

    def run(self, a: Any, b: Any, d: Any, auxiliary: dict[str, Any]) -> None:
        (left, right), out = self._factors, self._out(auxiliary)
        failure: Exception | None = None
        result = d if self._part is None else self.sums.in_package(self._part)
        last = len(left.traffics) - 1
        left.start(0, a)
        right.start(0, b)
        for number in range(last + 1):
            if number < last:
                left.start(number + 1, a)
                right.start(number + 1, b)
            left.arrive(number, a)
            right.arrive(number, b)
            if self._steps and failure is None:
                ends = (None, out) if out and number == last and self._part is None else None
                try:
                    self._steps[number](left.panel(number, a), right.panel(number, b), result, ends)
                except Exception as error:  # the other ranks still get what they need of this one
                    failure = error
            left.release(number)
            right.release(number)
        if failure is not None:
            raise failure
        if self._part is not None and not self._is_empty:
            self._end(self._part, d, out)
        self._finish(auxiliary)

    def reset(self, scalars: dict[str, Any], inputs: dict[str, Any], scales: Any) -> None:
        added = self._part is not None
        if added and self._last is not None:
            self._last.reset(inputs)
        for product in dict.fromkeys(self._steps):
            others = {"alpha": scalars.get("alpha")}
            if product is self._steps[0] and self.problem.has_c and not added:
                others["beta"] = scalars.get("beta")
            product.reset(inputs if product is self._steps[-1] and not added else {}, **others)
        self.scalars |= scalars
