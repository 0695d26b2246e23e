"""Sparse linear algebra: products with sparse tensors in any format, and the direct solver."""

from planmath.sparse import advanced, product, ust
from planmath.sparse.product import *  # noqa: F403
from planmath.sparse.product import __all__ as _product_names

__all__ = ["advanced", "product", "ust", *_product_names]
