"""Linear algebra across processes."""

from planmath.distributed.linalg import advanced

__all__ = ["advanced"]
