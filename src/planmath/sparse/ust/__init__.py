"""Universal sparse tensors: formats as data, tensors in them, and conversions between any two."""

from planmath.sparse.ust.expressions import Dimension, LevelExpr
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat, LevelProperty, is_ordered, is_unique
from planmath.sparse.ust.named import NamedFormats
from planmath.sparse.ust.tensor import Tensor

__all__ = [
    "Dimension",
    "LevelExpr",
    "LevelFormat",
    "LevelProperty",
    "NamedFormats",
    "Tensor",
    "TensorFormat",
    "is_ordered",
    "is_unique",
]
