"""What the sparse direct solver raises and warns of, beyond what every operation does."""

from __future__ import annotations

import numpy as np

from planmath.core.errors import InvalidStateError


class InvalidDirectSolverState(InvalidStateError):
    """A method of `DirectSolver` was called out of order."""


class SingularMatrixError(np.linalg.LinAlgError):
    """The matrix has no inverse, or is not positive definite although its type says so.

    Parameters
    ----------
    message : str
    row : int, optional
        The row of the matrix, or the number of the pivot, where that became certain.
    """

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row


class InaccurateSolutionError(ArithmeticError):
    """A solution is inaccurate, also after refinement, and the options say to raise."""


class InaccurateSolutionWarning(RuntimeWarning):
    """A solution is inaccurate, also after refinement."""
