"""Options of the distributed dense solver."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, TypedDict

from planmath.core.options import check_choice, check_common


class DirectSolverOptionsDict(TypedDict, total=False):
    """The fields of `DirectSolverOptions`, as a dictionary may have them."""

    logger: logging.Logger | None
    blocking: Literal["auto", True]
    inplace_a: bool
    inplace_b: bool
    handle: int | None
    structure: Literal["positive definite"] | None
    provider: str | None
    tuning: bool
    check: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSolverOptions:
    """Options of `DirectSolver` and `direct_solver`.

    Parameters
    ----------
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        When calls on a device return. On the CPU they return when they are done.
    inplace_a : bool
        Whether the factors replace the matrix: L below the diagonal, U on it and above, the rows in
        the order of the pivots.
    inplace_b : bool
        Whether the solution replaces the right-hand sides, and is returned in their place.
    handle : int, optional
        A handle of a library, on all ranks or on none. Without effect on the CPU.
    structure : {None, 'positive definite'}
        'positive definite': a symmetric or Hermitian matrix that has a Cholesky factorization, which takes half of the
        work. The lower triangle is read, and in place that is what the factor replaces.
    provider : str, optional
        How messages are sent: 'mapped' (memory that the ranks of one host share), 'ipc' (the same of CUDA devices),
        'nccl', 'mpi', 'torch', or 'broadcast' (by the collectives of any group; from devices these three go by way of
        the host). Default: the first of them that all ranks have. For ranks of MPI on the host also 'scalapack_mkl'
        (MKL's ScaLAPACK) and 'scalapack' (the one beside this program's MPI), which are taken where measured faster.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    check : bool
        Whether to make sure before each call that all ranks are in the same one. The environment variable
        PLANMATH_DISTRIBUTED_CHECK=1 says so for all objects.
    """

    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    inplace_a: bool = True
    inplace_b: bool = True
    handle: int | None = None
    structure: Literal["positive definite"] | None = None
    provider: str | None = None
    tuning: bool = True
    check: bool = False

    def __post_init__(self) -> None:
        for name in ("inplace_a", "inplace_b", "check"):
            check_choice("DirectSolverOptions", name, getattr(self, name), (False, True))
        check_choice("DirectSolverOptions", "structure", self.structure, (None, "positive definite"))
        if self.handle is not None and (not isinstance(self.handle, int) or isinstance(self.handle, bool)):
            raise ValueError(f"DirectSolverOptions.handle is {self.handle!r}; expected an integer")
        check_common(self)
