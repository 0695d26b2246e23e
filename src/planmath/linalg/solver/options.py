"""Options of the dense solver."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from planmath.core.options import check_choice, check_common


class DirectSolverOptionsDict(TypedDict, total=False):
    """The fields of `DirectSolverOptions`, as a dictionary may have them."""

    allocator: Any
    blocking: Literal["auto", True]
    logger: logging.Logger | None
    handle: int | None
    inplace_a: bool
    inplace_b: bool
    provider: str | None
    tuning: bool
    precision: Literal["full", "mixed", "auto"]
    rank_tolerance: float | None
    on_inaccurate: Literal["warn", "raise", "ignore"]
    on_singular: Literal["raise", "warn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSolverOptions:
    """Options of `DirectSolver` and `direct_solver`.

    Parameters
    ----------
    allocator : BaseCUDAMemoryManager or BaseCUDAMemoryManagerAsync, optional
        Where temporary device memory comes from. Without effect on the CPU.
    blocking : {'auto', True}
        On a device: with 'auto', `factorize` returns before it is done, and the first `solve` behind it waits, tells of
        matrices that are singular or not finite, and refines. If there was nothing to refine, further solutions by the
        same factors of operands on the device are not waited for; one that turns out to be less accurate, or whose
        right-hand side is not finite, is warned of by the next phase, and those behind it are waited for again. With
        True both wait, tell and refine each time, as they do with `inplace_b`, with `precision` 'mixed', with
        `on_inaccurate` 'raise', of least squares, and on the CPU.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    precision : {'full', 'mixed', 'auto'}
        Of the factors. With 'full' they have the dtype of the matrices. With 'mixed' those of float64 and complex128
        matrices are made in float32 and complex64, which takes about half the time, and each solution is refined by
        its residual to the accuracy of the matrices' dtype; `SolutionInfo.refinement_steps` counts. Where
        refinement does not get there, because the matrix is ill-conditioned, factors are made in full, and stay so
        until the next `plan`; `report` says so. For general, symmetric, Hermitian and positive definite matrices.
        'auto': in full, unless `autotune` has measured that mixed is faster.
    rank_tolerance : float, optional
        With structure 'least squares': what part of the matrix counts as zero. On the CPU the columns of a are
        exchanged so that the diagonal of R decreases, and rows of R whose diagonal element is not more than this part
        of the first one's are left out; on a device, singular values that are not more than this part of the largest
        one. Where rows and singular values fall off slowly near the tolerance, the two ranks may differ. Default: the
        rounding unit of the dtype times the larger extent.
    handle : int, optional
        A cuSOLVER handle. Without effect on the CPU.
    inplace_a : bool
        Whether the factors replace the matrices. Then a has the factors after `factorize`, and the residual of a
        solution can be estimated but not formed, so that there is no refinement.
    inplace_b : bool
        Whether the solutions replace the right-hand sides: `solve` returns b.
    provider : str, optional
        The library to use, such as 'mkl', 'lapack', 'own' or 'cusolver'. Default: the one expected to be fastest.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    on_inaccurate : {'warn', 'raise', 'ignore'}
        What to do about a solution that stays inaccurate after refinement: an `InaccurateSolutionWarning`, an
        `InaccurateSolutionError`, or nothing; `DirectSolver.solution_info` has the numbers in every case.
    on_singular : {'raise', 'warn'}
        What to do about singular matrices: a `SingularMatrixError`, which for a batch has the solutions of the other
        systems as its `solution`; or an `InaccurateSolutionWarning`, after which `solve` gives the others' solutions.
        Those of singular systems are NaN.
    """

    allocator: Any = None
    blocking: Literal["auto", True] = "auto"
    logger: logging.Logger | None = None
    handle: int | None = None
    inplace_a: bool = False
    inplace_b: bool = False
    provider: str | None = None
    tuning: bool = True
    precision: Literal["full", "mixed", "auto"] = "full"
    rank_tolerance: float | None = None
    on_inaccurate: Literal["warn", "raise", "ignore"] = "warn"
    on_singular: Literal["raise", "warn"] = "raise"

    def __post_init__(self) -> None:
        owner = "DirectSolverOptions"
        for name, choices in (
            ("inplace_a", (False, True)), ("inplace_b", (False, True)), ("on_inaccurate", ("warn", "raise", "ignore")),
            ("on_singular", ("raise", "warn")), ("precision", ("full", "mixed", "auto")),
        ):  # fmt: skip
            check_choice(owner, name, getattr(self, name), choices)
        given = self.rank_tolerance
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1):
            raise ValueError(f"{owner}.rank_tolerance is {given!r}; expected a number from 0 up to 1, or None")
        check_common(self)
