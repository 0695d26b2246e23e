"""The operands of a product as they are passed: which are sparse, and what arrays they consist of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import Package, package_named, package_of
from planmath.sparse.ust import packages, pattern
from planmath.sparse.ust.conversion import expand
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.tensor import Tensor


def is_sparse(array: Any) -> bool:
    """Whether an operand is a sparse one: a matrix of SciPy or CuPy, a sparse torch.Tensor, or a sparse ust.Tensor."""
    if isinstance(array, Tensor):
        return not packages.is_dense(array.tensor_format)
    if hasattr(array, "layout") and hasattr(array, "is_sparse"):
        return str(array.layout) != "torch.strided"
    return hasattr(array, "tocoo") and hasattr(array, "nnz")


def dense_array(array: Any, name: str) -> Any:
    """The array of a dense operand, that of a dense ust.Tensor included."""
    found = array.to_package() if isinstance(array, Tensor) else array
    package_of(found, name)
    return found


def read(array: Any, name: str, check: bool = True) -> Tensor:
    """A sparse operand as a tensor over its arrays.

    Raises
    ------
    TypeError, ValueError
        If it is none, or with `check` its coordinates are not as its format promises.
    """
    if isinstance(array, Tensor):
        array._filled()
        form = array.tensor_format
        if check and (found := pattern.described(form, array.extents, array._filled())) is not form:
            raise ValueError(
                f"{name} has the format {form.name}, and its coordinates are not in the order that this promises, "
                f"or come twice; sort it with convert(), or say so: {found}"
            )
        return array
    try:
        return Tensor.from_package(array)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def parts_of(name: str, tensor: Tensor, given: Any = None) -> list[tuple[str, Any]]:
    """The arrays of a sparse operand, by their names as operands; the values are the last.

    Those of a torch.Tensor that requires grad do so, too, though PyTorch itself hands them out without their history.
    """
    found: list[tuple[str, Any]] = []
    for level in range(tensor.num_levels):
        for kind, array in (("pos", tensor.pos(level)), ("crd", tensor.crd(level))):
            if array is not None:
                found.append((f"{name}.{kind}({level})", array))
    val = tensor.val
    if not isinstance(given, Tensor) and getattr(given, "requires_grad", False):
        val = val.detach().requires_grad_(True)
    return [*found, (f"{name}.val", val)]


def check_once(c: Tensor) -> None:
    """Raise ValueError where a sparse result stores an element twice."""
    stored = c.tensor_format.stored
    if all(
        level.unique or (n + 1 < len(stored) and stored[n + 1].format is F.SINGLETON) for n, level in enumerate(stored)
    ):
        return
    host = c._filled().each(packages.to_host)
    indices = expand(c.tensor_format, c.extents, host).indices
    places = np.ravel_multi_index(indices, tuple(c.extents)) if len(indices[0]) else indices[0]
    if len(np.unique(places)) < len(places):
        raise ValueError("c has more than one entry for an element; sum them (.sum_duplicates(), .coalesce()) first")


class Taken(NamedTuple):
    """The operands of a product: the sparse ones as tensors, the dense ones as arrays, of one package."""

    sparse: dict[str, Tensor]
    dense: dict[str, Any]
    package: Package
    given: dict[str, Any]
    """As they were passed."""

    def parts(self) -> list[tuple[str, Any]]:
        """All arrays by their names as operands: those of sparse a and b first, those of c last."""
        order = [*(n for n in "ab" if n in self.sparse), *(n for n in "ab" if n in self.dense), "c"]
        found: list[tuple[str, Any]] = []
        for name in order:
            if name in self.sparse:
                found += parts_of(name, self.sparse[name], self.given[name])
            elif name in self.dense:
                found.append((name, self.dense[name]))
        return found


def take(a: Any, b: Any, c: Any) -> Taken:
    """The operands of a product as they are passed.

    Raises
    ------
    TypeError, ValueError
        If none is sparse, or they are of different packages.
    """
    given = {"a": a, "b": b} | ({} if c is None else {"c": c})
    kinds = {name: is_sparse(x) for name, x in given.items()}
    if not any(kinds.values()):
        dense = next((name for name, x in (("a", a), ("b", b)) if isinstance(x, Tensor)), None)
        if dense is None:
            raise TypeError("neither a nor b is sparse; planmath.linalg.matmul multiplies dense arrays")
        kinds[dense] = True  # a dense tensor with a format is multiplied as any other one
    if kinds.get("c") and kinds["a"] != kinds["b"]:
        one = "a" if kinds["a"] else "b"
        raise ValueError(
            f"c is sparse, which takes a product of two dense or of two sparse operands, and {one} alone is sparse; "
            "pass a dense c, or leave it away"
        )
    sparse = {name: read(given[name], name) for name, is_one in kinds.items() if is_one}
    arrays = {name: dense_array(given[name], name) for name, is_one in kinds.items() if not is_one}
    if "c" in sparse:
        check_once(sparse["c"])
    owners = {name: package_of(array, name).name for name, array in arrays.items()}
    owners |= {name: tensor.package for name, tensor in sparse.items()}
    names = sorted(owners)
    for name in names[1:]:
        if owners[name] != owners[names[0]]:
            raise TypeError(
                f"{names[0]} consists of {owners[names[0]]} arrays, and {name} of {owners[name]} ones; all must belong "
                "to the same package (NumPy's arrays go with SciPy's matrices)"
            )
    return Taken(sparse, arrays, package_named(owners["a"]), given)


def are_tensors(given: Mapping[str, Any]) -> bool:
    """Whether a ust.Tensor is among the operands, so that a sparse result is one, too."""
    return any(isinstance(x, Tensor) for x in given.values())

