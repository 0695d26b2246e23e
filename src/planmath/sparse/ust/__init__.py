"""Universal sparse tensors: formats as data, tensors in them, and conversions between any two."""

from planmath.sparse.ust.expressions import Dimension, LevelExpr
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat, LevelProperty, is_ordered, is_unique
from planmath.sparse.ust.named import NamedFormats

__all__ = [
    "Dimension",
    "LevelExpr",
    "LevelFormat",
    "LevelProperty",
    "NamedFormats",
    "TensorFormat",
    "is_ordered",
    "is_unique",
]
