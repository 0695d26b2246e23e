"""Sparse results: objects around an array of values, whose entries are where the plan says."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.sparse.product import patterns
from planmath.sparse.product.operands import is_sparse, read
from planmath.sparse.product.pair_problem import PairProblem
from planmath.sparse.ust.packages import put_like, to_host
from planmath.sparse.ust.tensor import Tensor


def wrapped(problem: PairProblem, val: Any, package: str, as_tensor: bool) -> Any:
    """A sparse result of the kind of the operands over its values; its index arrays are its own."""
    made = patterns.new_result(problem, val, lambda x: put_like(x, val), package)
    if as_tensor:
        return made
    found = made.to_package()
    return found._coalesced_(True) if getattr(found, "is_sparse", False) else found  # PyTorch's lists are told so


def values_of(sparse: Any) -> Any:
    """The values of a sparse tensor, as a view."""
    if isinstance(sparse, Tensor):
        return sparse.val
    if not hasattr(sparse, "is_sparse"):
        return sparse.data
    return sparse._values() if sparse.is_sparse else sparse.values().view(-1)  # those of batches have an axis for them


def checked_values(out: Any, problem: PairProblem, as_tensor: bool) -> Any:
    """The values of a sparse tensor that is to take a result.

    Raises
    ------
    TypeError, ValueError
        If it is none, or its entries are others than the result's.
    """
    if not is_sparse(out) or isinstance(out, Tensor) != as_tensor:
        raise TypeError(f"out is a {type(out).__name__}; expected a sparse one as empty_result() makes")
    tensor, result = read(out, "out"), problem.result
    assert result is not None
    if (tensor.tensor_format, tuple(tensor.extents)) != (result.format, result.extents):
        raise ValueError(
            f"out is {tensor!r}; expected {result.format.name} of {result.extents}; empty_result() makes one that fits"
        )
    planned = problem.pattern.index_arrays(problem)
    for level in range(tensor.num_levels):
        for mine, wanted in ((tensor.pos(level), planned.pos[level]), (tensor.crd(level), planned.crd[level])):
            if mine is not None and not np.array_equal(to_host(mine), wanted):
                raise ValueError("out has entries at other places than the product; empty_result() makes one that fits")
    return tensor.val
