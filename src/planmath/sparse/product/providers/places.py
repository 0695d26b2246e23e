"""Where programs find the arrays of a product: the sparse operand's, then b, c, factors, and what is written."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import package_named
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.ust.conversion import Arrays


class Places(NamedTuple):
    """Numbers of the arrays that a program runs on."""

    pos: tuple[int | None, ...]
    crd: tuple[int | None, ...]
    val: int
    b: int
    c: int
    """The result: c itself where it is replaced."""
    alpha: int
    beta: int
    workspace: int


def places_of(problem: MatmulProblem) -> Places:
    """The numbers of the arrays of a problem."""
    number = 0
    pos: list[int | None] = []
    crd: list[int | None] = []
    for has_pos, has_crd in problem.sparse.arrays:
        for has, to in ((has_pos, pos), (has_crd, crd)):
            to.append(number if has else None)
            number += has
    val, b = number, number + 1
    scalars = b + 1 + problem.inplace
    result = b + 1 if problem.inplace else scalars + 2
    return Places(tuple(pos), tuple(crd), val, b, result, scalars, scalars + 1, scalars + 2 + (not problem.inplace))


class Stage:
    """What a function of Python's sees of an execution, in the dtype of the work.

    Parameters
    ----------
    problem : MatmulProblem
    """

    def __init__(self, problem: MatmulProblem):
        self.problem, self.functions = problem, dict(problem.functions)
        self.places = places_of(problem)
        self.package = package_named(problem.package)

    def arrays(self, operands: tuple[Any, ...]) -> Arrays:
        """The sparse operand's arrays, its values ready to be multiplied."""
        pos, crd = (
            tuple(None if n is None else operands[n] for n in numbers) for numbers in (self.places.pos, self.places.crd)
        )
        name = "b" if self.problem.swapped else "a"
        return Arrays(pos, crd, self.ready(operands[self.places.val], self.problem.conjugate[0], name))

    def dense(self, operands: tuple[Any, ...]) -> Any:
        """The dense operand, ready to be multiplied."""
        name = "a" if self.problem.swapped else "b"
        return self.ready(operands[self.places.b], self.problem.conjugate[1], name)

    def scalars(self, operands: tuple[Any, ...]) -> tuple[Any, Any]:
        return operands[self.places.alpha], operands[self.places.beta]

    def ready(self, array: Any, conjugate: bool, name: str) -> Any:
        """An operand in the dtype of the work, conjugated, and what the user's function makes of it."""
        work = self.package.dtype(self.problem.work)
        if array.dtype != work:
            array = array.to(work) if self.package.name == "torch" else array.astype(work, order="K")
        if conjugate:
            array = array.conj_physical() if self.package.name == "torch" else array.conj()
        function = self.functions.get(name)
        return array if function is None else self.mapped(function, array)

    def mapped(self, function: Any, array: Any) -> Any:
        """What a user's function makes of each element, as an array with the same strides."""
        from planmath.sparse.ust.elementwise import mapped

        if self.package.name == "torch":
            import torch

            return torch.from_numpy(self.mapped_numpy(mapped, function, array.numpy()))
        return self.mapped_numpy(mapped, function, array)

    @staticmethod
    def mapped_numpy(mapped: Any, function: Any, array: np.ndarray) -> np.ndarray:
        made = np.empty_like(array, order="K")
        made[...] = mapped(function, array)
        return made

    def target(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> Any:
        """The array that takes the result."""
        return operands[self.places.c] if self.problem.inplace else results[0]
