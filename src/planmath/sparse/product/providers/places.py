"""Where programs find the arrays of a product: the sparse operand's, then b, c, factors, and what is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import package_named
from planmath.sparse.product.pair_problem import PairProblem
from planmath.sparse.product.problem import MatmulProblem, Sparse
from planmath.sparse.product.sampled_problem import SampledProblem
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


class SparsePlaces(NamedTuple):
    """Numbers of the arrays of a sparse operand."""

    pos: tuple[int | None, ...]
    crd: tuple[int | None, ...]
    val: int


class PairPlaces(NamedTuple):
    """Numbers of the arrays that a program of a product of two sparse tensors runs on."""

    a: SparsePlaces
    b: SparsePlaces
    c: int
    """The values of a sparse result, or a dense one."""
    alpha: int
    beta: int
    workspace: int


class SampledPlaces(NamedTuple):
    """Numbers of the arrays that a program of a product into the entries of c runs on."""

    a: int
    b: int
    sparse: SparsePlaces
    c: int
    """The values of c."""
    alpha: int
    beta: int
    workspace: int


def sparse_places(sparse: Sparse, number: int) -> SparsePlaces:
    """The numbers of the arrays of a sparse operand, the first of which has this one."""
    pos: list[int | None] = []
    crd: list[int | None] = []
    for has_pos, has_crd in sparse.arrays:
        for has, to in ((has_pos, pos), (has_crd, crd)):
            to.append(number if has else None)
            number += has
    return SparsePlaces(tuple(pos), tuple(crd), number)


def places_of(problem: MatmulProblem) -> Places:
    """The numbers of the arrays of a problem."""
    pos, crd, val = sparse_places(problem.sparse, 0)
    b = val + 1
    scalars = b + 1 + problem.inplace
    result = b + 1 if problem.inplace else scalars + 2
    return Places(pos, crd, val, b, result, scalars, scalars + 1, scalars + 2 + (not problem.inplace))


def pair_places(problem: PairProblem) -> PairPlaces:
    """The numbers of the arrays of a product of two sparse tensors."""
    a = sparse_places(problem.a, 0)
    b = sparse_places(problem.b, a.val + 1)
    after = b.val + 1
    if not problem.inplace:
        return PairPlaces(a, b, after + 2, after, after + 1, after + 3)
    c = after if problem.result is None else sparse_places(problem.result, after).val
    return PairPlaces(a, b, c, c + 1, c + 2, c + 3)


def sampled_places(problem: SampledProblem) -> SampledPlaces:
    """The numbers of the arrays of a product into the entries of c."""
    sparse = sparse_places(problem.sparse, 2)
    c = sparse.val
    return SampledPlaces(0, 1, sparse, c, c + 1, c + 2, c + 3)


PLACES: dict[str, Callable[[Any], Any]] = {"dense": places_of, "pair": pair_places, "sampled": sampled_places}


class Stage:
    """What a function of Python's sees of an execution, in the dtype of the work.

    Parameters
    ----------
    problem : MatmulProblem, PairProblem or SampledProblem
    """

    def __init__(self, problem: Any):
        self.problem, self.functions = problem, dict(problem.functions)
        self.places = PLACES[problem.kind](problem)
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
