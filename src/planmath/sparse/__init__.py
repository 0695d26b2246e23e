"""Sparse linear algebra."""

from planmath.sparse import advanced

__all__ = ["advanced"]
