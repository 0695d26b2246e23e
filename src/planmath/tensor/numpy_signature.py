"""Contractions with the signature of `numpy.einsum`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from planmath.core.arrays import ITEMSIZE
from planmath.tensor.network import contract

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What `order` is called as an option.
_LAYOUTS = {"K": "auto", "A": "auto", "C": "C", "F": "F"}


@overload
def einsum(
    subscripts: str, /, *operands: NDArray[Any], out: Any = None, dtype: Any = None, order: str = "K",
    casting: str = "safe", optimize: Any = True,
) -> NDArray[Any]: ...  # fmt: skip
@overload
def einsum(
    *operands: Any, out: Any = None, dtype: Any = None, order: str = "K", casting: str = "safe", optimize: Any = True
) -> Any: ...
def einsum(
    *operands: Any,
    out: Any = None,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
    optimize: Any = True,
) -> Any:
    """Contract tensors, as `numpy.einsum` does, by `contract`.

    Parameters
    ----------
    *operands : str and array_like, or array_like and sequences of int in turn
        ``"ij,jk->ik", a, b`` or ``a, [0, 1], b, [1, 2], [0, 2]``.
    out : array, optional
        Where to put the result; of any layout, and of a dtype to which the result's may be cast.
    dtype : dtype, optional
        Of the computation. Default: what NumPy promotes the operands to.
    order : {'K', 'A', 'C', 'F'}
        Memory order of a new result; 'K' and 'A' leave it to planmath.
    casting : {'safe', 'same_kind', 'unsafe', 'no', 'equiv'}
        Which conversions of operands and of the result are allowed.
    optimize : bool, str or list
        The order of the contraction: the name of one of opt_einsum's optimizers, or what `numpy.einsum_path` returns.
        True and False both leave it to planmath.

    Returns
    -------
    array
        New memory in any case, where NumPy returns views of a single operand.

    Notes
    -----
    Operands that are no arrays of CuPy or PyTorch are NumPy's. What no library contracts, integers and numbers of
    extended precision, and arrays without elements, `numpy.einsum` does.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import einsum
    >>> a, b = np.ones((2, 3)), np.ones((3, 2), np.float32)
    >>> einsum("ij,jk->ik", a, b)
    array([[3., 3.],
           [3., 3.]])
    >>> einsum(a, [0, 1], [1])
    array([2., 2., 2.])
    """
    if order not in _LAYOUTS:
        raise ValueError(f"order is {order!r}; expected 'K', 'A', 'C' or 'F'")
    if not operands:
        raise TypeError("einsum() got no operand; pass an expression, and a tensor for each of its terms")
    is_text = isinstance(operands[0], str)
    arrays = list(operands[1:]) if is_text else list(operands[: len(operands) // 2 * 2 : 2])
    if not is_text and len(operands) < 2:
        raise TypeError("einsum() got one operand without its modes; pass an expression in text, or modes behind each")
    path = _path(optimize)
    options = {"result_layout": _LAYOUTS[order]}
    if any(hasattr(array, "device") and not isinstance(array, np.ndarray | np.generic) for array in arrays):
        result = contract(*_as_given(operands, arrays, is_text), optimize=path, options=options)
    else:
        arrays = [np.asarray(array) for array in arrays]
        chosen = np.result_type(*arrays) if dtype is None else np.dtype(dtype)
        if chosen.name not in ITEMSIZE or chosen.kind not in "fc" or any(0 in array.shape for array in arrays):
            given: dict[str, Any] = {"dtype": dtype, "order": order, "casting": casting, "optimize": optimize}
            return np.einsum(*operands, out=out, **given)
        for i, array in enumerate(arrays):
            if not np.can_cast(array.dtype, chosen, casting):  # type: ignore[arg-type]
                raise TypeError(f"operand {i} of dtype {array.dtype} cannot be cast to {chosen} by casting={casting!r}")
        arrays = [np.require(array, chosen, "A") for array in arrays]
        result = contract(*_as_given(operands, arrays, is_text), optimize=path, options=options)
        if out is not None and not np.can_cast(result.dtype, out.dtype, casting):  # type: ignore[arg-type]
            raise TypeError(f"the result of dtype {result.dtype} cannot be cast to out's {out.dtype} by {casting=}")
    if out is None:
        return result
    if tuple(out.shape) != tuple(result.shape):
        raise ValueError(f"out has the shape {tuple(out.shape)}; expected {tuple(result.shape)}")
    out[...] = result
    return out


def _as_given(operands: Sequence[Any], arrays: Sequence[Any], is_text: bool) -> tuple[Any, ...]:
    """The arguments with other arrays in the places of the operands."""
    if is_text:
        return (operands[0].replace(" ", ""), *arrays)
    turns: list[Any] = list(operands)
    turns[: 2 * len(arrays) : 2] = arrays
    turns[1 : 2 * len(arrays) : 2] = [tuple(modes) for modes in turns[1 : 2 * len(arrays) : 2]]
    return (*turns[: 2 * len(arrays)], *(tuple(modes) for modes in turns[2 * len(arrays) :]))


def _path(optimize: Any) -> Any:
    """NumPy's way to say the order of a contraction, as opt_einsum's."""
    if isinstance(optimize, bool | None):
        return "auto"
    if isinstance(optimize, str):
        return optimize
    kept = list(optimize)
    if kept and kept[0] == "einsum_path":
        return [tuple(step) for step in kept[1:]]
    return kept[0] if kept and isinstance(kept[0], str) else [tuple(step) for step in kept]
