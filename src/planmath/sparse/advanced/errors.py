"""What the sparse direct solver raises and warns of, beyond what every operation does."""

from planmath.core.errors import InvalidStateError
from planmath.core.factorization import InaccurateSolutionError, InaccurateSolutionWarning, SingularMatrixError

__all__ = ["InaccurateSolutionError", "InaccurateSolutionWarning", "InvalidDirectSolverState", "SingularMatrixError"]


class InvalidDirectSolverState(InvalidStateError):
    """A method of `DirectSolver` was called out of order."""
