"""What the CPU's providers share: one system, and how accurate its solutions are."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol, TypeAlias

import numpy as np

from planmath.core.errors import UnavailableError
from planmath.native.call import Call, Slot
from planmath.native.forks import computed
from planmath.sparse.advanced import kernels
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverMatrixViewType as View
from planmath.sparse.advanced.errors import SingularMatrixError
from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.kernels import address, estimated_errors
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences, DirectSolverSolutionPreferences
from planmath.sparse.advanced.pattern import Pattern, kernel
from planmath.sparse.advanced.providers.accuracy import Judge, Request, carry_out

#: The dtype in which sums are kept.
SUM_DTYPE = {"float32": "float64", "float64": "float64", "complex64": "complex128", "complex128": "complex128"}

#: What a right-hand side is divided by whose sums would be beyond the range.
SCALE = 2.0**100

#: An address, or what stands for one that is known when a program runs; and a call with those to make it on.
Place: TypeAlias = int | Slot
Step = tuple[Call, tuple[Place, ...]]

PROJECT = {dtype: kernel(function, 5) for dtype, function in kernels.PROJECT.items()}
PLACE = {dtype: kernel(function, 6) for dtype, function in kernels.PLACE.items()}


class Factorization(Protocol):
    """One library's factorization of one matrix.

    A phase gives the calls that do its work, so that those of many systems run in one stretch; what is reached through
    Python does it at once, and gives none. All arrays are dense; matrices of right-hand sides column by column.
    """

    perturbed: int
    """Pivots that were replaced."""
    looks_at_values: bool
    """Whether the analysis reads the values."""

    @property
    def special(self) -> bool:
        """Whether it makes use of what the values happen to be beyond the type of the matrix."""

    def generalize(self) -> None:
        """Do so no more, from the next analysis on."""

    def analyse(self, values: np.ndarray) -> list[Step]: ...

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]: ...

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]: ...

    def check(self, phase: str) -> None:
        """Raise where the phase ('plan', 'factorization' or 'solution') that ran last has failed."""

    def fact(self, phase: str, name: str) -> Any:
        """A fact of the info objects; `UnavailableError` where the library does not tell it."""


class Placed:
    """The values of a matrix in the order that a library wants.

    Parameters
    ----------
    source : numpy.ndarray or None
        As in `Arrangement`.
    dtype : str
    positions : numpy.ndarray, optional
        Where each value goes in `size` elements, of which the others are zero. Default: one after the other.
    size : int, optional
    """

    def __init__(
        self, source: np.ndarray | None, dtype: str, positions: np.ndarray | None = None, size: int | None = None
    ):
        self.source, self.positions = source, positions
        self.place = PLACE[dtype]
        self.values = np.empty(0 if source is None else len(source) if size is None else size, dtype)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The user's values rearranged: his own array where nothing is to be done."""
        if self.source is None:
            return values
        kernels.run(self.steps(address(values)))
        return self.values

    def placing(self, values: Place) -> tuple[Place, list[Step]]:
        """Where the user's values, which are at this address, are rearranged, and what rearranges them."""
        return (values, []) if self.source is None else (address(self.values), self.steps(values))

    def steps(self, values: Place) -> list[Step]:
        """What rearranges the values at this address."""
        assert self.source is not None
        placed = address(self.values)
        positions, erased = 0, 0
        if self.positions is not None:
            positions, erased = address(self.positions), self.values.nbytes
        return [(self.place, (len(self.source), address(self.source), positions, values, placed, erased))]


class Measures:
    """The linear-time kernels of one pattern and dtype, which all systems that share it use."""

    def __init__(self, pattern: Pattern, dtype: str):
        self._pattern, self._key = pattern, (pattern.index_dtype, dtype)
        self.probe = probe_of(pattern.n, SUM_DTYPE[dtype])
        self._fixed = [pattern.view, int(pattern.hermitian), address(pattern.starts), address(pattern.columns)]
        self.measure = Call(
            kernels.MEASURE[self._key],
            [pattern.n, *self._fixed, VALUE, address(self.probe), *THREE], name="measure", returns_status=True,
            keep=(pattern, self.probe),
        )  # fmt: skip
        self.project = PROJECT[dtype]

    @computed
    def residual(self) -> Call:
        fixed = [self._pattern.n, VALUE, *self._fixed, *(Slot(i) for i in range(1, 7))]
        return Call(kernels.RESIDUAL[self._key], fixed, name="residual", keep=self._pattern)

    @computed
    def magnitudes(self) -> Call:
        fixed = [self._pattern.n, VALUE, self._fixed[0], *self._fixed[2:], *(Slot(i) for i in range(1, 5))]
        return Call(kernels.MAGNITUDES[self._key], fixed, name="magnitudes", keep=self._pattern)


#: The operands of measures: the values, and what they are measured with.
VALUE, THREE = Slot(0), (Slot(1), Slot(2), Slot(3))

#: Unknowns up to which systems share one probe, of which each takes as many numbers as it has unknowns.
SHARED = 1 << 16


def probe_of(n: int, dtype: str) -> np.ndarray:
    """Numbers of mean 0 and variance 1: the square of their product with a residual has the residual's as its mean."""
    return _random(SHARED, dtype)[:n] if n <= SHARED else _random.__wrapped__(n, dtype)


@cache
def _random(n: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(n).uniform(-(3**0.5), 3**0.5, n).astype(dtype)


class System(Judge):
    """One linear system: its matrix, its factorization, and how accurate its solutions are.

    Parameters
    ----------
    pattern : Pattern
    dtype : str
    measures : Measures
    factorization : Factorization
    name : str
        What messages call the matrix.
    most_nonzeros : int, optional
        More of them in the factors are an error.
    """

    def __init__(
        self, pattern: Pattern, dtype: str, measures: Measures, factorization: Factorization, name: str,
        most_nonzeros: int | None,
    ):  # fmt: skip
        super().__init__(dtype)
        self.pattern, self.dtype, self.measures, self.factorization, self.name = (
            pattern, dtype, measures, factorization, name,
        )  # fmt: skip
        self.most_nonzeros = most_nonzeros
        self.weights, self.measured = np.empty(pattern.n, SUM_DTYPE[dtype]), np.empty(2)
        self.sums = np.empty(0 if pattern.view == View.FULL else pattern.n)
        self.factorized_since_analysis = 0

    @property
    def perturbed(self) -> int:  # type: ignore[override]
        return self.factorization.perturbed

    @property
    def may_start_over(self) -> bool:  # type: ignore[override]
        return self.factorized_since_analysis > 1 or self.factorization.special

    def measure(self, values: Place) -> list[Step]:
        """Find the matrix's norm and the weights of its random projection."""
        to = address(self.weights), address(self.sums), address(self.measured)
        return [(self.measures.measure, (values, *to))]

    def check_values(self) -> None:
        """Raise where a value is not finite."""
        self.norm, row = self.measured.tolist()
        if row >= 0:
            raise ValueError(f"{self.name} has a value that is not finite (NaN or infinity) in row {int(row)}")

    def check_analysis(self) -> None:
        self.factorization.check("plan")
        self.factorized_since_analysis = 0
        self._check_nonzeros("plan")

    def check_factorization(self) -> None:
        self.factorization.check("factorization")
        self.factorized_since_analysis += 1
        self._check_nonzeros("factorization")

    def _check_nonzeros(self, phase: str) -> None:
        if self.most_nonzeros is None:
            return
        try:
            found = self.factorization.fact(phase, "lu_nnz")
        except UnavailableError:  # known after the factorization only
            return
        if found > self.most_nonzeros:
            raise UnavailableError(
                f"{self.name}: the factors have {found} nonzeros, more than plan_config.max_nnz = {self.most_nonzeros}"
            )

    def solve(self, b: np.ndarray, x: np.ndarray) -> list[Step]:
        """Solve for x, and project the residual; b and x are dense, column by column."""
        columns = 1 if b.ndim == 1 else b.shape[1]
        self.projected = np.empty((2, columns, 3))
        return self.projecting(address(b), address(x), self.projected, self.factorization.solve(b, x, columns))

    def projecting(self, b: Place, x: Place, projected: np.ndarray, solve: list[Step]) -> list[Step]:
        """The calls that solve, between those that project b and x."""
        n, columns, project, to = self.pattern.n, projected.shape[1], self.measures.project, address(projected)
        return [
            (project, (n, columns, address(self.measures.probe), b, to)),
            *solve,
            (project, (n, columns, address(self.weights), x, to + 24 * columns)),
        ]

    def check_solution(
        self, values: np.ndarray, b: np.ndarray, x: np.ndarray, exact: bool,
        preferences: DirectSolverSolutionPreferences, factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> DirectSolverSolutionInfo:  # fmt: skip
        """How good the solution is, after refinement where that is needed."""
        error, growth, finite = estimated_errors(self.projected, self.norm)
        if not finite:
            check_right_hand_side(self.name, b)
        self.factorization.check("solution")
        if self.satisfied(error, growth) and not exact and not preferences.ir_num_steps:
            return self.info(error, True, 0, growth)
        wanted = (1 if b.ndim == 1 else b.shape[1]), preferences, factorization_preferences
        if not finite and self.dtype in ("float64", "complex128"):  # the others' sums are kept in these
            return self._solve_scaled(values, b, x, *wanted)
        return self._refine(values, b, x, *wanted)

    @np.errstate(all="ignore")
    def _solve_scaled(
        self, values: np.ndarray, b: np.ndarray, x: np.ndarray, columns: int,
        preferences: DirectSolverSolutionPreferences, factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> DirectSolverSolutionInfo:  # fmt: skip
        """Solve for columns divided by a power of two, where sums of finite elements are beyond the dtype's range."""
        b_sizes, x_sizes = self.projected[:, :, 2]
        scales = np.where(np.isfinite(self.norm * x_sizes + b_sizes), 1.0, SCALE)
        scale = scales[0] if b.ndim == 1 else scales
        smaller = np.asfortranarray(b / scale)
        kernels.run(self.factorization.solve(smaller, x, columns))
        info = self._refine(values, smaller, x, columns, preferences, factorization_preferences)
        np.multiply(x, scale, out=x)
        return info if np.isfinite(x).all() else info._replace(backward_error=np.inf, accurate=False)

    @np.errstate(all="ignore")
    def _refine(
        self, values: np.ndarray, b: np.ndarray, x: np.ndarray, columns: int,
        preferences: DirectSolverSolutionPreferences, factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> DirectSolverSolutionInfo:  # fmt: skip
        """Refine by the residual as long as that helps, or as often as asked for."""
        residual, correction, refined = np.empty_like(x), np.empty_like(x), np.empty_like(x)

        def refine() -> tuple[float, float]:
            kernels.run(self.factorization.solve(residual, correction, columns))
            np.add(x, correction, out=refined)
            return self._residual(values, refined, b, residual, columns)

        def start_over() -> None:
            self.factorization.generalize()
            kernels.run(self.factorization.analyse(values))
            self.check_analysis()
            kernels.run(self.factorization.factorize(values, factorization_preferences))
            self.check_factorization()
            kernels.run(self.factorization.solve(b, x, columns))

        return carry_out(self.decide(preferences.ir_num_steps), {
            Request.RESIDUAL: lambda: self._residual(values, x, b, residual, columns),
            Request.REFINE: refine,
            Request.KEEP: lambda: np.copyto(x, refined),
            Request.DISCARD: lambda: self._residual(values, x, b, residual, columns),
            Request.FORWARD: lambda: self._forward_error(values, x, b, residual, columns),
            Request.START_OVER: start_over,
        })  # fmt: skip

    def _forward_error(
        self, values: np.ndarray, x: np.ndarray, b: np.ndarray, residual: np.ndarray, columns: int
    ) -> float:
        """The largest relative error of an unknown, estimated.

        The errors are at most ``|inverse(A)| (|r| + eps (|A| |x| + |b|))`` (as in LAPACK's gerfs; LAPACK Users' Guide,
        "Further Details: Error Bounds for Linear Equation Solving"), which is estimated by one solution with random
        signs. It does not depend on how rows and columns are scaled.
        """
        sums = np.empty_like(x, dtype=np.float64)
        self.measures.magnitudes(columns, *map(address, (values, x, b, sums)))
        rounding = float(np.finfo(self.dtype).eps)
        signs = np.where(np.random.default_rng(self.pattern.n).random(x.shape) < 0.5, -1.0, 1.0)
        noise = np.asfortranarray((signs * (np.abs(residual) + rounding * sums)).astype(x.dtype))
        effect = np.empty_like(x)
        kernels.run(self.factorization.solve(noise, effect, columns))
        size = np.abs(x)
        relative = np.abs(effect) / np.maximum(size, rounding * size.max(axis=0))
        return float(np.inf if np.isnan(relative).any() else relative.max())

    def _residual(
        self, values: np.ndarray, x: np.ndarray, b: np.ndarray, residual: np.ndarray, columns: int
    ) -> tuple[float, float]:
        """The largest backward error and growth of the columns; the residual goes into its array."""
        work, out = np.empty(self.pattern.n, SUM_DTYPE[self.dtype]), np.empty((columns, 3))
        self.measures.residual(columns, *map(address, (values, x, b, residual, work, out)))
        return self.error(out)


def check_right_hand_side(name: str, b: np.ndarray) -> None:
    """Raise where the right-hand side of the matrix of this name has a value that is not finite."""
    finite = np.isfinite(b)
    rows = np.flatnonzero(~(finite if b.ndim == 1 else finite.all(axis=1)))
    if len(rows):
        side = name.replace("a", "b", 1)
        raise ValueError(f"{side} has a value that is not finite (NaN or infinity) in row {rows[0]}")


def unknown(provider: str, name: str) -> UnavailableError:
    """The error for a fact that a library does not tell."""
    return UnavailableError(
        f"{provider} does not tell {name}; plan with another provider (options={{'provider': ...}})"
    )


def not_definite(name: str, kind: int, row: int | None) -> SingularMatrixError:
    """The error for a matrix that is not positive definite although its type says so."""
    pivot = "a pivot is" if row is None else f"the pivot of row {row} is"
    return singular(
        name, row,
        f"{pivot} not positive; options.sparse_system_type is {MatrixType(kind).name}: use SYMMETRIC or HERMITIAN for "
        "a matrix that is not positive definite",
    )  # fmt: skip


def singular(name: str, row: int | None, detail: str) -> SingularMatrixError:
    """The error for a matrix that a library could not factorize."""
    return SingularMatrixError(f"{name} is singular: {detail}", row)
