"""What opt_einsum asks of a backend: ``opt_einsum.contract(..., backend="planmath")``.

opt_einsum finds the three functions as ``planmath.tensordot``, ``planmath.transpose`` and ``planmath.einsum``.

Examples
--------
>>> import numpy as np, opt_einsum
>>> a, b, c = np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 2))
>>> opt_einsum.contract("ij,jk,kl->il", a, b, c, backend="planmath")
array([[12., 12.],
       [12., 12.]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.tensor import contract, einsum

__all__ = ["einsum", "tensordot", "transpose"]


def tensordot(a: Any, b: Any, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Any:
    """Sum products over axes of two tensors, as `numpy.tensordot`.

    Parameters
    ----------
    a, b : array
    axes : int or pair of sequences of int
        How many of a's last axes and b's first ones; or which of both.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.interfaces.opt_einsum import tensordot
    >>> tensordot(np.ones((2, 3)), np.ones((3, 4)), 1).shape
    (2, 4)
    """
    of_a: list[int]
    of_b: list[int]
    if isinstance(axes, int):
        of_a, of_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        of_a, of_b = (np.atleast_1d(side).tolist() for side in axes)
    if len(of_a) != len(of_b):
        raise ValueError(f"axes has {len(of_a)} axes of a, and {len(of_b)} of b; expected as many")
    of_a, of_b = [axis % a.ndim for axis in of_a], [axis % b.ndim for axis in of_b]
    modes_a = list(range(a.ndim))
    modes_b = [of_a[of_b.index(axis)] if axis in of_b else a.ndim + axis for axis in range(b.ndim)]
    free = [mode for mode in (*modes_a, *modes_b) if mode not in of_a]
    return contract(a, modes_a, b, modes_b, free)


def transpose(a: Any, axes: Sequence[int]) -> Any:
    """A view with the axes in another order."""
    return a.permute(*axes) if hasattr(a, "permute") else a.transpose(axes)
