"""Fourier transforms as a primitive of JAX's.

Axes are counted from the last one, so that those which `vmap` puts in front change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import planmath.fft
from planmath.fft.options import TURNED
from planmath.interfaces.jax_primitives import Result, multilinear

#: The real dtypes of operands with the complex ones.
DTYPES = {"float32": "complex64", "float64": "complex128"}
REAL_OF = {cplx: real for real, cplx in DTYPES.items()}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "C2C": planmath.fft.fft, "R2C": planmath.fft.rfft, "C2R": planmath.fft.irfft,
}  # fmt: skip
Kind = tuple[str, bool, tuple[int, ...], str | None, bool]
"""C2C, R2C or C2R; whether inverse; axes; norm; whether a real result has an odd number of elements."""


def _result(x: Any, *, kind: Kind) -> Result:
    name, _, axes, _, odd = kind
    extents, last = list(x.shape), axes[-1]
    if name == "C2C":
        return x.shape, x.dtype
    if name == "R2C":
        extents[last] = extents[last] // 2 + 1
        return tuple(extents), DTYPES[str(x.dtype)]
    extents[last] = 2 * (extents[last] - 1) + odd
    return tuple(extents), REAL_OF[str(x.dtype)]


def _compute(x: np.ndarray, *, kind: Kind) -> np.ndarray:
    name, inverse, axes, norm, odd = kind
    options = {"result_layout": "C", "norm": norm, "last_axis_parity": "odd" if odd else "even"}
    arguments: dict[str, Any] = {"direction": 1 if inverse else -1} if name == "C2C" else {}
    return _FUNCTIONS[name](x, axes=[axis % x.ndim for axis in axes], options=options, **arguments)


def _transposed(_: int, shape: tuple[int, ...], gradient: Any, __: Any, *, kind: Kind) -> Any:
    """The transposed transform: a matrix of one is symmetric."""
    name, _, axes, norm, _ = kind
    last = axes[-1]
    if name == "C2C":
        return _transform(gradient, kind=kind)
    if name == "R2C":
        padding = [(0, 0)] * len(shape)
        padding[last] = (0, shape[last] - gradient.shape[last])
        return _transform(jnp.pad(gradient, padding), kind=("C2C", False, axes, norm, False)).real
    turned = TURNED[norm] if norm else None
    spectrum = _transform(gradient, kind=("R2C", False, axes, turned, False)).conj()
    half, n = shape[last], gradient.shape[last]
    index = jnp.arange(half)  # what stands for two elements of the whole spectrum counts twice
    weights = jnp.where((index == 0) | (2 * index == n), 1, 2).astype(gradient.dtype)
    return spectrum * weights.reshape(-1, *[1] * (-1 - last))


_transform: Callable[..., Any] = multilinear(
    "transform",
    lambda x, *, kind: _compute(x, kind=kind),
    result=_result,
    mapped=lambda operands, *, kind: _transform(*operands, kind=kind),
    transposed=_transposed,
)


def _checked(
    name: str, x: Any, axes: Sequence[int] | None, kind: str, inverse: bool, norm: str | None, odd: bool = False
) -> Any:
    x = jnp.asarray(x)
    domain = list(DTYPES if kind == "R2C" else REAL_OF)
    if str(x.dtype) not in domain:
        raise ValueError(f"{name}() got an operand of {x.dtype}; expected {' or '.join(domain)}: convert it")
    if norm not in (None, *TURNED):
        raise ValueError(f"norm is {norm!r}; expected 'backward', 'ortho', 'forward' or None")
    chosen = list(range(x.ndim)) if axes is None else list(axes)
    for axis in chosen:
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"axes has {axis}, which is out of range for an operand of {x.ndim} dimensions")
    chosen = [axis % x.ndim - x.ndim for axis in chosen]
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(f"axes is {axes}; expected at least one axis, and each once")
    if math.prod(x.shape[axis] for axis in chosen) == 0:
        raise ValueError(f"the operand has the shape {x.shape}; expected at least one element along axes")
    return _transform(x, kind=(kind, inverse, tuple(chosen), norm, odd))


def fft(x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None) -> jax.Array:
    """The forward transform of a complex array, as `planmath.fft.fft`, with derivatives.

    Parameters
    ----------
    x : jax.Array
        complex64 or complex128.
    axes : sequence of int, optional
        Default: all.
    norm : {'backward', 'ortho', 'forward'}, optional
        Which transforms are scaled, as in `jax.numpy.fft`. Default: none.

    Raises
    ------
    ValueError
        If the operand has another dtype, or an axis is not there.
    """
    return _checked("fft", x, axes, "C2C", False, norm)


def ifft(x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None) -> jax.Array:
    """The inverse transform of a complex array, as `planmath.fft.ifft`, with derivatives. Parameters: see `fft`."""
    return _checked("ifft", x, axes, "C2C", True, norm)


def rfft(x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None) -> jax.Array:
    """The transform of a real array, as `planmath.fft.rfft`, with derivatives. Parameters: see `fft`."""
    return _checked("rfft", x, axes, "R2C", False, norm)


def irfft(
    x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None, last_axis_parity: str = "even"
) -> jax.Array:
    """The transform of a half spectrum back into a real array, as `planmath.fft.irfft`, with derivatives.

    Parameters
    ----------
    x, axes, norm
        See `fft`.
    last_axis_parity : {'even', 'odd'}
        Whether the result has an even or odd number of elements along the last of the axes.
    """
    if last_axis_parity not in ("even", "odd"):
        raise ValueError(f"last_axis_parity is {last_axis_parity!r}; expected 'even' or 'odd'")
    return _checked("irfft", x, axes, "C2R", True, norm, last_axis_parity == "odd")
