"""What is known of factors and solutions: which matrices are singular, and how accurate each solution is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.core.accuracy import Judge, SolutionInfo, summary
from planmath.core.errors import LibraryError, UnavailableError
from planmath.linalg.solver.information import Factors
from planmath.linalg.solver.problem import KINDS, RECTANGULAR, DenseProblem, Form, LinearSystem, PreparedSolver
from planmath.linalg.solver.refinement import (
    Refinement,
    exponent,
    is_extreme,
    is_out_of_range,
    least_squares,
    refined_in_range,
    scaled,
    size,
)
from planmath.linalg.solver.structure import address_of, elements, memory_at, whole

#: The routines that make factors, by kind.
ROUTINES = {
    "ge": "getrf", "po": "potrf", "sy": "sytrf", "he": "hetrf", "tr": "trtrs", "dg": "division", "gb": "gbtrf",
    "gt": "gttrf", "pb": "pbtrf", "ls": "geqrf", "rr": "geqp3",
}  # fmt: skip
#: What a matrix is taken for that is not positive definite after all.
INDEFINITE = {"po": {False: "sy", True: "he"}, "pb": {False: "gb", True: "gb"}}


class Judgement:
    """What is known of the factors and solutions that are in a plan's memory.

    Parameters
    ----------
    problem : DenseProblem
    prepared : PreparedSolver
    memory : numpy.ndarray
    """

    def __init__(self, problem: DenseProblem, prepared: PreparedSolver, memory: np.ndarray):
        self._problem, self._prepared, self._memory = problem, prepared, memory
        self.parts = [Part(problem, part, memory) for part in prepared.parts]
        #: the first bad pivot of each singular matrix, by its part and its number there
        self.singular: dict[tuple[int, int], int]
        self._norms: dict[tuple[int, int], float]
        #: whether factors in single precision did not do before
        self.gave_up = False
        #: what was found out about the last solutions beyond their projections, if they were looked at
        self.looked: list[list[SolutionInfo]] | None = None
        self.factorized_well()

    def factorized_well(self) -> None:
        """Note that there was nothing to look at."""
        self.singular, self._norms = {}, {}
        #: whether solutions have to be looked at whatever their projections say
        self.suspects = self._prepared.parts[0].form.kind in RECTANGULAR

    # Factors.

    def look_at_factors(self, a: Sequence[np.ndarray]) -> Form | None:
        """Find out what a factorization found.

        Returns
        -------
        Form or None
            What the matrices have to be taken for instead.

        Raises
        ------
        ValueError
            If a matrix has an element that is not finite.
        """
        self.factorized_well()
        self.looked = None
        indefinite = False
        for number, part in enumerate(self.parts):
            for index in np.flatnonzero(~((part.squares > part.tiny) & (part.squares < np.inf))):
                self._norms[number, int(index)] = self._size_of(number, int(index), a)
            for index in np.flatnonzero(part.status):
                status = int(part.status[index])
                if status < 0 or part.form.kind == "rr":  # the steps of a decomposition that do not converge
                    raise LibraryError("the factorization", status)
                if (number, int(index)) in self._norms and self._is_regular(part, int(index), a):
                    continue
                self.singular[number, int(index)] = status - 1
                indefinite = indefinite or part.form.kind in INDEFINITE
        self.suspects = self.suspects or bool(self.singular or self._norms)
        form = self._problem.form
        if self.parts[0].form.mixed and self.suspects:
            return self.parts[0].form._replace(mixed=False)
        if indefinite and not self._problem.inplace[0] and (self._problem.detect or form.kind == "po"):
            taken = self.parts[0].form
            kind, width = INDEFINITE[taken.kind][self._problem.dtype.startswith("complex")], taken.below + taken.above
            return Form(kind, taken.upper, False, width, width)
        return None

    def _is_regular(self, part: Part, index: int, a: Sequence[np.ndarray]) -> bool:
        """Whether a matrix has factors once it is scaled, and only those in its own range went wrong."""
        if self._problem.inplace[0]:
            return False
        matrix = part.matrix(index, a)
        if not is_extreme(matrix):
            return False
        matrix = scaled(matrix, -exponent(matrix))
        if part.form.kind in RECTANGULAR:
            return int(np.linalg.matrix_rank(matrix)) == min(matrix.shape)
        with suppress(np.linalg.LinAlgError):
            return bool((np.linalg.cholesky if part.form.kind in INDEFINITE else np.linalg.inv)(matrix).any())
        return False

    def _size_of(self, number: int, index: int, a: Sequence[np.ndarray]) -> float:
        """A norm whose squares are out of range. Raises where an element is not finite."""
        part = self.parts[number]
        name = self.name("a", number, index)
        if self._problem.inplace[0]:
            if np.isfinite(part.squares[index]):
                return float(np.sqrt(part.squares[index]))
            raise ValueError(f"{name} has an element that is not finite (NaN or infinity), or is out of range")
        values = elements(part.system, part.form, index, a)
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = map(int, bad[0])
            raise ValueError(
                f"{name} has an element that is not finite (NaN or infinity) in row {row}, column {column}; "
                "replace it, or leave the system out"
            )
        return size(whole(values, part.form))

    def name(self, letter: str, number: int, index: int) -> str:
        """How messages call one of the systems."""
        if len(self.parts) > 1:
            return f"{letter}[{number}]"
        batch = self.parts[0].system.matrices if letter == "a" else self.parts[0].system.batch
        if not batch:
            return letter
        return f"{letter}[{', '.join(str(int(i)) for i in np.unravel_index(index, batch))}]"

    @property
    def singular_indices(self) -> tuple[Any, ...]:
        """The singular matrices' places in the batch."""
        if len(self.parts) > 1:
            return tuple(number for number, _ in self.singular)
        shape = self.parts[0].system.matrices
        found = [tuple(int(i) for i in np.unravel_index(index, shape)) for _, index in self.singular] if shape else []
        return tuple(at[0] if len(at) == 1 else at for at in found)

    def about_singular(self) -> str:
        """What is wrong with the matrices that are singular."""
        told = []
        kind = self.parts[0].form.kind
        what = "not positive definite: the leading minor" if kind in INDEFINITE else "singular: the pivot"
        for (number, index), pivot in list(self.singular.items())[:5]:
            how = f"of order {pivot + 1} is not positive" if kind in INDEFINITE else f"of row {pivot} is exactly zero"
            told.append(f"{self.name('a', number, index)} is {what} {how}")
        more = f", and {len(self.singular) - 5} more" if len(self.singular) > 5 else ""
        if kind == "ls":
            what = "; ".join(told).replace("singular: the pivot of row", "of deficient rank: the diagonal of R in row")
            what = what.replace("is exactly zero", "is zero but for rounding")
            return f"{what}{more}: pass structure='least squares', which finds the rank"
        return "; ".join(told) + more

    # Solutions.

    def look_at_solutions(
        self, trans: str, a: Sequence[np.ndarray], b: Sequence[np.ndarray], x: Sequence[np.ndarray]
    ) -> tuple[SolutionInfo, ...]:
        """How good the solutions are, after refinement where that is needed.

        Raises
        ------
        ValueError
            If a right-hand side has an element that is not finite.
        """
        found: list[list[SolutionInfo]] = []
        for number, part in enumerate(self.parts):
            infos = part.estimates(self._norms_of(number))
            for i, info in enumerate(infos):
                matrix = int(part.matrix_of[i])
                if (number, matrix) in self.singular:
                    part.solution(x, i)[...] = np.nan
                    infos[i] = info._replace(backward_error=np.nan, accurate=False)
                elif part.form.kind in RECTANGULAR:
                    infos[i] = self._least_squares(number, i, a, b, x)
                elif (number, matrix) in self._norms or not part.judge(info.backward_error, info.growth):
                    infos[i] = self._refined(trans, number, i, a, b, x)
            found.append(infos)
        self.looked = found
        judged = [
            info for number, infos in enumerate(found) for i, info in enumerate(infos)
            if (number, int(self.parts[number].matrix_of[i])) not in self.singular
        ]  # fmt: skip
        return (summary(tuple(judged)),) if judged else ()

    def unrefined(self, b: Sequence[np.ndarray]) -> bool:
        """Whether factors in single precision did not do for one of these right-hand sides."""
        return any(part.unrefined(b) for part in self.parts)

    def _norms_of(self, number: int) -> np.ndarray:
        norms = np.sqrt(self.parts[number].squares)
        for (other, index), norm in self._norms.items():
            if other == number:
                norms[index] = norm
        return norms

    def _refined(
        self, trans: str, number: int, i: int, a: Sequence[np.ndarray], b: Sequence[np.ndarray],
        x: Sequence[np.ndarray],
    ) -> SolutionInfo:  # fmt: skip
        """Refine one solution as long as that helps."""
        part = self.parts[number]
        index = int(part.matrix_of[i])
        rhs, solution = self._finite_side(number, i, b), part.solution(x, i)
        judge = Judge(part.dtype)
        judge.norm = float(self._norms_of(number)[index])
        if self._problem.inplace[0]:
            info = part.estimates(self._norms_of(number))[i]
            return judge.info(info.backward_error, True, 0, info.growth)
        matrix = part.matrix(index, a, trans)
        if is_out_of_range(matrix, rhs, solution):
            with suppress(np.linalg.LinAlgError):
                return refined_in_range(judge, matrix, rhs, solution, lambda side: part.solve(index, trans, a, side))
        if not part.part.solves_alone:  # without lanes first
            with suppress(np.linalg.LinAlgError):
                solution[...] = part.solve(index, trans, a, rhs)
        return Refinement(judge, matrix, rhs, solution, lambda side: part.solve(index, trans, a, side)).run()

    def _least_squares(
        self, number: int, i: int, a: Sequence[np.ndarray], b: Sequence[np.ndarray], x: Sequence[np.ndarray]
    ) -> SolutionInfo:
        """How good one solution in the sense of least squares is."""
        part = self.parts[number]
        index, rhs = int(part.matrix_of[i]), self._finite_side(number, i, b)
        info, rank = least_squares(part.matrix(index, a), rhs, part.solution(x, i), part.rank_tolerance)
        if rank is not None and part.rank_tolerance is not None:
            part.note_rank(index, rank)
        return info

    def _finite_side(self, number: int, i: int, b: Sequence[np.ndarray]) -> np.ndarray:
        """The right-hand sides of one solution. Raises where one is not finite."""
        rhs = self.parts[number].side(b, i)
        bad = np.argwhere(~np.isfinite(rhs))
        if len(bad):
            raise ValueError(
                f"{self.name('b', number, i)} has an element that is not finite (NaN or infinity) in row {bad[0][0]}; "
                "replace it, or leave the system out"
            )
        return rhs

    def infos(self) -> list[SolutionInfo]:
        """How good each of the last solutions is."""
        if self.looked is None:
            return [info for number, part in enumerate(self.parts) for info in part.estimates(self._norms_of(number))]
        return [info for infos in self.looked for info in infos]

    def complaint(self) -> str:
        """What is wrong with the solutions that are not accurate, and what may help."""
        told = []
        for number, infos in enumerate(self.looked or ()):
            for i, info in enumerate(infos):
                if info.accurate or (number, int(self.parts[number].matrix_of[i])) in self.singular:
                    continue
                why = f"{self.name('x', number, i)}: its backward error is {info.backward_error:.2g}"
                if info.forward_error is not None:
                    why += f", the relative error of an unknown about {min(info.forward_error, 1):.0%} or more"
                    why += f", the condition number of the matrix at least {info.growth:.2g}"
                told.append(why)
        more = f", and {len(told) - 3} more" if len(told) > 3 else ""
        if self.parts[0].form.kind in RECTANGULAR:
            return (
                f"the solution is inaccurate ({'; '.join(told[:3])}{more}). The rank of the matrix is deficient, or "
                "nearly so: pass structure='least squares', or a larger options.rank_tolerance where that is there"
            )
        return (
            f"the solution is inaccurate after refinement ({'; '.join(told[:3])}{more}). The matrix is singular, "
            "nearly so, or badly scaled: scale its rows and columns, or use numpy.linalg.lstsq"
        )

    def facts(self, phase: str, name: str) -> Sequence[Any]:
        """What is known of each system after a phase."""
        raise UnavailableError(f"{name} of the {phase} is not known")

    @property
    def notes(self) -> list[str]:
        """What is worth knowing of the plan."""
        taken, said = self.parts[0].form, self._problem.form
        found = []
        if taken.kind != said.kind:
            why = "found in the values" if self._problem.detect else f"not {KINDS[said.kind]} after all"
            found.append(f"factorized as {taken}: {why}")
        if self.gave_up:
            found.append(
                f"factorized in {self._problem.dtype}: factors in single precision did not do, by which solutions "
                "were to be refined; the matrix is ill-conditioned, or not definite in single precision"
            )
        return found


class Part:
    """One group of systems: what is in memory of them, as arrays."""

    def __init__(self, problem: DenseProblem, part: Any, memory: np.ndarray):
        self.problem, self.part, self.memory = problem, part, memory
        self.system: LinearSystem = part.system
        self.form: Form = part.form.T if part.transposed else part.form
        self.dtype = problem.dtype
        self.tiny = 1e-20 if self.dtype in ("float32", "complex64") else 1e-270
        count = self.system.factorizations  # lanes may have more
        self.status = part.regions["status"].view(memory)[:count, 0]
        self.squares = part.regions["squares"].view(memory)[:count, 0]
        numbers = np.arange(self.system.factorizations).reshape(self.system.matrices)
        self.matrix_of = np.broadcast_to(numbers, self.system.batch).reshape(-1)

    def judge(self, error: float, growth: float) -> bool:
        """Whether nothing has to be done about a solution."""
        return Judge(self.dtype).satisfied(error, growth)

    def unrefined(self, b: Sequence[np.ndarray]) -> bool:
        """Whether a solution for finite numbers could not be refined by factors in single precision."""
        if not self.form.mixed:
            return False
        failed = np.flatnonzero(self.part.refinement(self.memory)[:, kernels.STATE] != kernels.DONE)
        return any(np.isfinite(self.side(b, int(i))).all() for i in failed)

    def estimates(self, norms: np.ndarray) -> list[SolutionInfo]:
        """How good the solutions are: by their projections, or by their residuals where these were formed."""
        judge = Judge(self.dtype)
        if self.form.mixed:
            order = [kernels.ERROR, kernels.STEPS, kernels.GROWTH]
            known = self.part.refinement(self.memory)[:, order].tolist()
            return [judge.info(error, False, int(steps), grown) for error, steps, grown in known]
        pairs = zip(*(found.tolist() for found in self.measures(norms)), strict=True)
        return [judge.info(error, True, 0, grown) for error, grown in pairs]

    @np.errstate(all="ignore")
    def measures(self, norms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Their backward errors and growth, by the projections."""
        projections = self.part.projections(self.memory)
        b, x = projections[:, :3], projections[:, 3:]
        norm = norms[self.matrix_of][:, None]
        sizes, products = np.sqrt(b[:, 2]), norm * np.sqrt(x[:, 2])
        scale = products + sizes
        errors = np.where(scale == 0, 0, np.hypot(b[:, 0] - x[:, 0], b[:, 1] - x[:, 1]) / scale).max(axis=1)
        return errors, np.where(products == 0, 0, products / sizes).max(axis=1)

    def side(self, b: Sequence[np.ndarray], i: int) -> np.ndarray:
        """One system's right-hand sides: a matrix, in the user's memory."""
        return self._columns(b[self.system.places[1][0]], self.system.b, self.system.places[1][1], i)

    def solution(self, x: Sequence[np.ndarray], i: int) -> np.ndarray:
        number, start = self.system.places[1 if self.problem.inplace[1] else 2]
        return self._columns(x[number], self.system.x, start, i)

    def _columns(self, array: np.ndarray, matrix: Any, start: int, i: int) -> np.ndarray:
        at = np.unravel_index(i, self.system.batch) if self.system.batch else ()
        start += sum(int(k) * step for k, step in zip(at, matrix.batch, strict=True))
        first = array.__array_interface__["data"][0] + start * array.itemsize
        strides = matrix.row * array.itemsize, matrix.col * array.itemsize
        return memory_at(first, (matrix.rows, matrix.cols), strides, array, writeable=array.flags.writeable)

    @property
    def rank_tolerance(self) -> float | None:
        """The part of a matrix that counts as zero, where the rank is found out."""
        return self.problem.rank_tolerance if self.form.kind == "rr" else None

    def rank(self, index: int) -> int:
        """That of one matrix."""
        return int(self.part.regions["rank"].view(self.memory)[index, 0])

    def note_rank(self, index: int, rank: int) -> None:
        """Take over a rank that was found in another way."""
        self.part.regions["rank"].view(self.memory)[index, 0] = rank

    def matrix(self, index: int, a: Sequence[np.ndarray], trans: str = "N") -> np.ndarray:
        """All of one matrix that is solved with, or transposed so, as a new array."""
        found = whole(elements(self.system, self.form, index, a), self.form)
        found = found.conj() if self.system.a.conjugate else found
        return {"N": found, "T": found.T, "C": found.conj().T}[trans]

    def fine(self, index: int) -> bool:
        """Whether the matrix has factors to solve with."""
        return int(self.status[index]) == 0

    def factors(self, index: int, a: Sequence[np.ndarray]) -> Factors:
        """One matrix's factors, copied."""
        part, kind = self.part.factored, self.part.form.kind
        if not (part.solves_alone or self.form.mixed):
            raise UnavailableError("the factors are in the lanes of vectors; plan with options={'provider': 'lapack'}")
        if part.there:
            m, itemsize = part.a, a[0].itemsize
            start, strides = address_of(self.system, index, a), (m.row * itemsize, m.col * itemsize)
            values = memory_at(start, (m.rows, m.cols), strides, a[self.system.places[0][0]]).copy(order="F")
        else:
            values = part.regions["factors"].view(self.memory)[index].copy()
            if kind not in ("gt", "dg"):
                values = values.reshape(part.cols, -1).T
        pivots = part.regions["pivots"].view(self.memory)[index].copy() if "pivots" in part.regions else None
        if pivots is not None and kind in ("ge", "gb", "gt", "rr"):
            pivots -= 1
        return Factors(ROUTINES[kind], values, pivots, part.transposed)

    def diagonal(self, index: int, a: Sequence[np.ndarray] = ()) -> tuple[Any, np.ndarray]:
        """Numbers whose product is the determinant, but for a sign."""
        part, kind, n = self.part, self.part.form.kind, self.system.a.rows
        if not part.solves_alone:
            return part.diagonal(self.memory, index)
        if kind in RECTANGULAR:
            raise UnavailableError(f"a is {KINDS[kind]} and has no determinant; pass a square one of full rank")
        _, values, pivots, _ = self.factors(index, a)
        if kind in ("sy", "he") and pivots is not None:
            return 1, block_diagonal(values, pivots, part.form.upper, kind == "he")
        if kind in ("po", "pb"):
            roots = values[-1 if part.form.upper else 0] if kind == "pb" else np.diagonal(values)
            return 1, roots.real.astype(self.dtype) ** 2
        if kind == "tr":
            return 1, np.ones(n, self.dtype) if part.form.unit else np.diagonal(values)
        rows = {"ge": np.arange(n)}.get(kind)
        found = {
            "ge": lambda: values[rows, rows], "dg": lambda: values, "gt": lambda: values[n : 2 * n],
            "gb": lambda: values[part.form.below + part.form.above],
        }[kind]()  # fmt: skip
        exchanges = 0 if pivots is None else int(np.count_nonzero(pivots != np.arange(n)))
        return (-1) ** exchanges, found

    def solve(self, index: int, trans: str, a: Sequence[np.ndarray], side: np.ndarray) -> np.ndarray:
        """Solve with one matrix's factors, for a matrix of columns."""
        if not self.part.solves_alone:
            return np.linalg.solve(self.matrix(index, a, trans), side)
        transposed, conjugate = self.part.turned(trans)
        found = np.array(side.conj() if conjugate else side, order="F")
        program = self.part.solving_one(index, transposed, side.shape[1])
        program(*[array.__array_interface__["data"][0] for array in (*a, self.memory, found)])
        return found.conj() if conjugate else found


def block_diagonal(values: np.ndarray, pivots: np.ndarray, upper: bool, hermitian: bool) -> np.ndarray:
    """The determinants of the blocks that `sytrf` and `hetrf` leave on the diagonal, with a 1 for each second row."""
    n, found, i = len(pivots), [], 0
    while i < n:
        if pivots[i] > 0:
            found.append(values[i, i].real if hermitian else values[i, i])
            i += 1
            continue
        p, q, r = values[i, i], values[i + 1, i + 1], values[i, i + 1] if upper else values[i + 1, i]
        found += [(p * q).real - abs(r) ** 2 if hermitian else p * q - r * r, 1]
        i += 2
    return np.array(found, values.dtype)
