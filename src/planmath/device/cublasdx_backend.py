"""Limits of products in kernels."""

from planmath.device.matmul import MAX_ALIGNMENT, Alignment

__all__ = ["MAX_ALIGNMENT", "Alignment"]
