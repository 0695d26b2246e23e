"""Tensors in kernels."""

from __future__ import annotations

from typing import Any

from numba.cuda import types


class TensorType(types.Type):
    """A tensor."""


def execute(kind: Any, args: Any) -> Any:
    raise NotImplementedError
