"""Linear algebra."""

from planmath.linalg import advanced

__all__ = ["advanced"]
