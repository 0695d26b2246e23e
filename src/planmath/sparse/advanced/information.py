"""What the solver tells of each phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from planmath.core.accuracy import SolutionInfo as DirectSolverSolutionInfo
from planmath.core.accuracy import summary
from planmath.core.errors import UnavailableError
from planmath.report.pages import of_fields

__all__ = [
    "DirectSolverFactorizationInfo", "DirectSolverPlanInfo", "DirectSolverSolutionInfo", "complaint", "summary",
]  # fmt: skip


class Informed(Protocol):
    """What knows the facts of its phases: a solver."""

    def _fact(self, phase: str, name: str) -> Any: ...

    def _notes(self) -> Sequence[str]: ...


class _Info:
    """Facts of a phase. For a batch each is a tuple with that of every system.

    Raises
    ------
    UnavailableError
        Where the provider does not tell a fact.
    """

    phase = ""

    def __init__(self, solver: Informed):
        self._solver = solver

    def _fact(self, name: str) -> Any:
        return self._solver._fact(self.phase, name)

    def _told(self) -> dict[str, Any]:
        """The facts that the provider tells."""
        found = {}
        for name, value in vars(type(self)).items():
            if isinstance(value, property):
                with suppress(UnavailableError):
                    found[name] = getattr(self, name)
        return found

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={_short(value)}" for name, value in self._told().items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        return of_fields(type(self).__name__, {name: _short(value) for name, value in self._told().items()})


def _short(value: Any) -> str:
    """A fact in a few words: of a large array its beginning and end."""
    return np.array2string(value, threshold=8, edgeitems=3) if isinstance(value, np.ndarray) else repr(value)


def _facts(**descriptions: str) -> Any:
    """A class decorator that adds a property for each fact."""

    def add(cls: type[_Info]) -> type[_Info]:
        for name, text in descriptions.items():
            setattr(cls, name, property(_getter(name), doc=text))
        return cls

    return add


def _getter(name: str) -> Callable[[_Info], Any]:
    return lambda info: info._fact(name)


@_facts(
    row_permutation="The order of the rows: entry k is the row that comes k-th (`numpy.ndarray` of the index dtype).",
    col_permutation="The order of the columns, likewise.",
    matching_col_permutation="The permutation of the columns that brings large entries to the diagonal.",
    memory_estimates="What the next phases will need, in bytes: a record array of `memory_estimates_dtype`, "
    "with its fields as attributes, as in ``memory_estimates.peak_host_memory``.",
    num_superpanels="The number of superpanels.",
)
class DirectSolverPlanInfo(_Info):
    """What `DirectSolver.plan` found out. A fact that the provider does not tell raises UnavailableError."""

    phase = "plan"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of the plan, such as a threading layer that was not found."""
        return tuple(self._solver._notes())


@_facts(
    info="0, or where pivots were replaced, the number (from 1) of the unknown with the smallest one.",
    lu_nnz="Nonzeros in the factors.",
    npivots="How many pivots were replaced because they were too small.",
    inertia="Numbers of positive and negative eigenvalues, of symmetric and Hermitian matrices.",
    row_permutation="The order of the rows, with the exchanges of pivoting where the provider tells them ('superlu').",
    col_permutation="The order of the columns, likewise.",
    row_scale_factors="The factors by which rows were multiplied.",
    col_scale_factors="The factors by which columns were multiplied.",
    diag="The diagonal of the factors, in the order in which unknowns are eliminated.",
)
class DirectSolverFactorizationInfo(_Info):
    """What `DirectSolver.factorize` found out. A fact that the provider does not tell raises UnavailableError."""

    phase = "factorization"


def complaint(titles: Sequence[str], infos: Sequence[DirectSolverSolutionInfo], pivots: Sequence[int]) -> str:
    """What is wrong with the inaccurate ones of these solutions, and what may help.

    Parameters
    ----------
    titles : sequence of str
        What to call the solutions.
    infos : sequence of DirectSolverSolutionInfo
    pivots : sequence of int
        The `info` of each factorization; 0 where it is not known.
    """
    told = []
    for title, info, pivot in zip(titles, infos, pivots, strict=True):
        if info.accurate:
            continue
        why = f"its backward error is {info.backward_error:.2g}"
        if info.forward_error is not None:
            why += f", the relative error of an unknown about {min(info.forward_error, 1):.0%} or more"
            why += f", the condition number of the matrix at least {info.growth:.2g}"
        if info.perturbed_pivots:
            why += f", and {info.perturbed_pivots} pivots were too small and replaced"
            why += f" (the smallest is that of unknown {pivot - 1})" * bool(pivot)
        told.append(f"{title}: {why}")
    more = f", and {len(told) - 3} more" if len(told) > 3 else ""
    return (
        f"the solution is inaccurate after refinement ({'; '.join(told[:3])}{more}). The matrix is singular, nearly "
        "so, or badly scaled: scale its rows and columns, or try another provider or pivot_eps"
    )
