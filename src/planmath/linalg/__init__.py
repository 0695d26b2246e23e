"""Linear algebra: products of matrices with a structure, and products with what libraries fuse into them."""

from planmath.linalg import advanced, generic
from planmath.linalg.generic import *  # noqa: F403
from planmath.linalg.generic import __all__ as _generic_names

__all__ = ["advanced", "generic", *_generic_names]
