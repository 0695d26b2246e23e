"""Small matrices on a device, by kernels of planmath's own: one launch factorizes them all, and one solves, each with
all that is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planmath.linalg.solver import device_kernels
from planmath.linalg.solver.device_kernels import FACTORIZING, SOLVING
from planmath.linalg.solver.problem import BANDS, DenseProblem, Form
from planmath.linalg.solver.providers.cusolver_group import BY_LU, Group
from planmath.linalg.solver.providers.cusolver_routines import Routine
from planmath.native.call import Call

#: Rows up to which a few threads have a matrix in their registers.
FEW_ROWS = 16


class SmallLU(Routine):
    """What the kernels leave beside the factors, which are getrf's."""

    pivot_dtype = "int32"

    def prepare(self) -> None:
        for name in ("pivots", "order"):
            self.of.reserve(name, 4 * self.n * self.count)


class SmallGroup(Group):
    """Systems of few unknowns that LU is made of."""

    libraries = False

    @staticmethod
    def fits(problem: DenseProblem, members: Sequence[int], form: Form, settings: tuple[bool, bool, bool]) -> bool:
        """Whether systems, with settings as a `Group` has them, are of this kind."""
        at_once, symmetric_by_lu, in_band = settings
        system = problem.systems[members[0]]
        by_lu = form.kind in BY_LU or (form.kind == "sy" and symmetric_by_lu)
        several = len(members) * system.factorizations > 1
        return (
            by_lu and system.a.rows <= FEW_ROWS and (at_once or not several) and not (form.kind in BANDS and in_band)
        )

    def _routine_of(self, settings: tuple[bool, bool, bool]) -> Routine:
        return SmallLU(self)

    def _make_records(self) -> None:
        super()._make_records()
        self._factorizing = np.zeros(1, FACTORIZING)
        for name in ("pivots", "order"):
            self._factorizing[name] = self.at(name)
        for name in ("taking", "weighing"):  # which stay those that addresses are put into
            self._factorizing[name] = getattr(self, name)
            setattr(self, name, self._factorizing[name])

    def factorization(self) -> list[Call]:
        calls = [self.kernels.launch("factorize_small", self.count * self.kernels.lanes, self._factorizing)]
        if self.problem.inplace[0]:
            calls.append(self.kernels.launch("give_back", self.count * self.rows * self.cols, self.taking))
        return calls

    def _solve(
        self, trans: str, source: tuple[int, ...], target: tuple[int, ...], flags: int = 0
    ) -> tuple[Call, np.ndarray]:  # fmt: skip
        """What solves, and the parameters that tell where b and x are."""
        transposed, conjugate = self.turned(trans)
        flags |= device_kernels.FIRST | device_kernels.AFTER if conjugate else 0
        made = np.zeros(1, SOLVING)
        made["moving"] = self.moving(
            source, target, flags, weights=self.at("u" if transposed else "w"), weights_step=self.rows
        )
        made["transposed"] = transposed
        for name in ("v", "factors", "order"):
            made[name] = self.at(name)
        return self.kernels.launch("solve_small", self.solutions * self.k * self.kernels.lanes, made), made["moving"]

    def solution(self, trans: str) -> tuple[list[Call], tuple[np.ndarray, np.ndarray]]:
        nowhere = (0, 0, 0, 0, 0)
        call, places = self._solve(trans, nowhere, nowhere, device_kernels.PROJECTS | device_kernels.JUDGES)
        return [*self._keeping(trans), call], (places, places)

    def solving(self, trans: str, source: int, target: int) -> list[Call]:
        return [self._solve(trans, self.packed(source), self.packed(target))[0]]

