"""The enumerations of the sparse direct solver, numbered as cuDSS numbers them (``cudss.h``)."""

from __future__ import annotations

import enum


class DirectSolverMatrixType(enum.IntEnum):
    """What is known of the matrix (``cudssMatrixType_t``)."""

    GENERAL = 0
    """Nothing."""
    SYMMETRIC = 1
    """Equal to its transpose, real or complex."""
    HERMITIAN = 2
    """Complex, equal to its conjugate transpose."""
    SPD = 3
    """Real, symmetric and positive definite."""
    HPD = 4
    """Complex, Hermitian and positive definite."""


#: The types that promise positive pivots, which every provider holds the matrix to.
DEFINITE = (DirectSolverMatrixType.SPD, DirectSolverMatrixType.HPD)


class DirectSolverMatrixViewType(enum.IntEnum):
    """Which entries of the operand count (``cudssMatrixViewType_t``)."""

    FULL = 0
    """All."""
    LOWER = 1
    """Those on and below the diagonal; the others are ignored and mirror them."""
    UPPER = 2
    """Those on and above the diagonal; the others are ignored and mirror them."""


class DirectSolverReorderingAlg(enum.IntEnum):
    """How unknowns are ordered to keep the factors sparse (``cudssReorderingAlg_t``)."""

    DEFAULT = 0
    """What the provider expects to be best."""
    BTF_COLAMD = 1
    """Block triangular form, then COLAMD."""
    COLAMD = 2
    """Column approximate minimum degree."""
    AMD = 3
    """(Approximate) minimum degree."""
    NESTED_DISSECTION = 4
    """Nested dissection, as in METIS."""
    NONE = 5
    """Leave the order as it is."""


class DirectSolverMatchingAlg(enum.IntEnum):
    """How large entries are moved to the diagonal before the factorization (``cudssMatchingAlg_t``)."""

    NONE = 0
    MAX_DIAG_COUNT = 1
    MAX_MIN_DIAG = 2
    MAX_MIN_DIAG_ALT = 3
    MAX_DIAG_SUM = 4
    MAX_DIAG_PRODUCT = 5
    AUTO = 6


class DirectSolverFactorizationAlg(enum.IntEnum):
    """How to factorize (``cudssFactorizationAlg_t``)."""

    DEFAULT = 0
    MULTIBLOCK = 1
    GENERAL = 2


class DirectSolverPivotEpsilonAlg(enum.IntEnum):
    """What small pivots are compared with (``cudssPivotEpsilonAlg_t``)."""

    DEFAULT = 0
    SCALED = 1
    """`pivot_eps` times the size of the matrix."""
    STATIC = 2
    """`pivot_eps` itself."""


class DirectSolverSolveAlg(enum.IntEnum):
    """How to solve with the factors (``cudssSolveAlg_t``)."""

    DEFAULT = 0
    GENERAL = 1
