"""Functions around matrix products: the scales of block-scaled formats."""

from planmath.linalg.advanced.helpers import matmul

__all__ = ["matmul"]
