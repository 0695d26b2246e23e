"""planmath's transforms and products as functions of JAX's, on the CPU: under `jax.jit`, `jax.vmap` and `jax.grad`.

What is traced has no memory: shapes and dtypes of results are known without computing, and the work is done by
callbacks from the compiled program, which keep plans between calls. An axis that `vmap` maps over is one more axis of
the batch, in one call. Gradients are made of the same functions, so they have gradients; forward mode (`jax.jvp`,
`jax.jacfwd`) is not there. Arrays on other devices are copied to the host and back.

Examples
--------
>>> import jax, jax.numpy as jnp
>>> from planmath.interfaces.jax import matmul, rfft
>>> jax.jit(rfft)(jnp.arange(4.0))
Array([ 6.+0.j, -2.+2.j, -2.+0.j], dtype=complex64)
>>> jax.grad(lambda a: matmul(a, jnp.eye(2)).sum())(jnp.ones((3, 2))).shape
(3, 2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import planmath.fft
from planmath.fft.options import TURNED
from planmath.linalg import matmul as planned_matmul

__all__ = ["fft", "ifft", "irfft", "matmul", "rfft"]

#: The real dtypes of operands with the complex ones.
DTYPES = {"float32": "complex64", "float64": "complex128"}
_REAL_OF = {cplx: real for real, cplx in DTYPES.items()}
_PRODUCTS = (*DTYPES, *_REAL_OF, "float16")


def _called(function: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: Any, *operands: Any) -> Any:
    """A function of NumPy's arrays, which may have more axes in front than were traced."""
    result = jax.ShapeDtypeStruct(shape, dtype)
    if 0 in shape:
        return jnp.zeros(shape, dtype)
    on_host = lambda *arrays: function(*map(np.asarray, arrays))  # noqa: E731
    return jax.pure_callback(on_host, result, *operands, vmap_method="expand_dims")


# Transforms. Axes are counted from the last one, so that those which `vmap` puts in front change nothing.

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "C2C": planmath.fft.fft, "R2C": planmath.fft.rfft, "C2R": planmath.fft.irfft,
}  # fmt: skip
Kind = tuple[str, bool, tuple[int, ...], str | None, bool]
"""C2C, R2C or C2R; whether inverse; axes; norm; whether a real result has an odd number of elements."""


def _result_of(kind: Kind, shape: tuple[int, ...], dtype: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of a transform's result."""
    name, _, axes, _, odd = kind
    extents, last = list(shape), axes[-1]
    if name == "C2C":
        return shape, str(dtype)
    if name == "R2C":
        extents[last] = extents[last] // 2 + 1
        return tuple(extents), DTYPES[str(dtype)]
    extents[last] = 2 * (extents[last] - 1) + odd
    return tuple(extents), _REAL_OF[str(dtype)]


def _compute(kind: Kind, x: np.ndarray) -> np.ndarray:
    name, inverse, axes, norm, odd = kind
    options = {"result_layout": "C", "norm": norm, "last_axis_parity": "odd" if odd else "even"}
    arguments: dict[str, Any] = {"direction": 1 if inverse else -1} if name == "C2C" else {}
    return _FUNCTIONS[name](x, axes=[axis % x.ndim for axis in axes], options=options, **arguments)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _transform(kind: Kind, x: Any) -> Any:
    return _called(partial(_compute, kind), *_result_of(kind, x.shape, x.dtype), x)


def _transform_forward(kind: Kind, x: Any) -> tuple[Any, tuple[int, ...]]:
    return _transform(kind, x), x.shape


def _transform_backward(kind: Kind, shape: tuple[int, ...], of_result: Any) -> tuple[Any]:
    """The transposed transform: a matrix of one is symmetric."""
    name, _, axes, norm, _ = kind
    last = axes[-1]
    if name == "C2C":
        return (_transform(kind, of_result),)
    if name == "R2C":
        padding = [(0, 0)] * len(shape)
        padding[last] = (0, shape[last] - of_result.shape[last])
        whole = jnp.pad(of_result, padding)
        return (_transform(("C2C", False, axes, norm, False), whole).real,)
    spectrum = _transform(("R2C", False, axes, TURNED[norm] if norm else None, False), of_result).conj()
    half, n = shape[last], of_result.shape[last]
    index = jnp.arange(half)  # what stands for two elements of the whole spectrum counts twice
    weights = jnp.where((index == 0) | (2 * index == n), 1, 2).astype(of_result.dtype)
    return (spectrum * weights.reshape(-1, *[1] * (-1 - last)),)


_transform.defvjp(_transform_forward, _transform_backward)


def _checked(
    name: str, x: Any, axes: Sequence[int] | None, kind: str, inverse: bool, norm: str | None, odd: bool = False
) -> Any:
    x = jnp.asarray(x)
    domain = list(DTYPES if kind == "R2C" else _REAL_OF)
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
    return _transform((kind, inverse, tuple(chosen), norm, odd), x)


def fft(x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None) -> jax.Array:
    """The forward transform of a complex array, as `planmath.fft.fft`, with gradients.

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
    """The inverse transform of a complex array, as `planmath.fft.ifft`, with gradients. Parameters: see `fft`."""
    return _checked("ifft", x, axes, "C2C", True, norm)


def rfft(x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None) -> jax.Array:
    """The transform of a real array, as `planmath.fft.rfft`, with gradients. Parameters: see `fft`."""
    return _checked("rfft", x, axes, "R2C", False, norm)


def irfft(
    x: Any, *, axes: Sequence[int] | None = None, norm: str | None = None, last_axis_parity: str = "even"
) -> jax.Array:
    """The transform of a half spectrum back into a real array, as `planmath.fft.irfft`, with gradients.

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


# Products.


@jax.custom_vjp
def _product(a: Any, b: Any) -> Any:
    """Of matrices with equally many axes, in which those in front broadcast."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*batch, a.shape[-2], b.shape[-1])
    if a.shape[-1] == 0:
        return jnp.zeros(shape, a.dtype)
    return _called(_multiply, shape, a.dtype, a, b)


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planned_matmul(a, b))


def _product_forward(a: Any, b: Any) -> tuple[Any, tuple[Any, Any]]:
    return _product(a, b), (a, b)


def _product_backward(factors: tuple[Any, Any], of_result: Any) -> tuple[Any, Any]:
    a, b = factors
    return _summed(_product(of_result, b.mT), a.shape), _summed(_product(a.mT, of_result), b.shape)


def _summed(gradient: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of what was repeated along the axes of a batch."""
    repeated = tuple(i for i, n in enumerate(shape) if n != gradient.shape[i])
    return gradient.sum(repeated, keepdims=True) if repeated else gradient


_product.defvjp(_product_forward, _product_backward)


def matmul(a: Any, b: Any) -> jax.Array:
    """The product of vectors, matrices or batches of them, as `numpy.matmul`, by `planmath.linalg.matmul`.

    Parameters
    ----------
    a, b : jax.Array
        Vectors (k,), matrices (m, k) and (k, n), or batches of such, whose shapes broadcast. float16, float32,
        float64, complex64 or complex128; two dtypes are promoted.

    Raises
    ------
    ValueError
        If shapes or dtypes are others.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    dtype = jnp.result_type(a, b)
    if str(dtype) not in _PRODUCTS:
        raise ValueError(f"a and b are of {a.dtype} and {b.dtype}; expected {', '.join(_PRODUCTS)}: convert them")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"a and b have the shapes {a.shape} and {b.shape}; expected at least one axis each")
    rows, columns = a.ndim > 1, b.ndim > 1
    left, right = a if rows else a[None], b if columns else b[:, None]
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"a and b have the shapes {a.shape} and {b.shape}; expected as many columns of a as rows of b")
    try:
        np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise ValueError(f"the batches of a and b, of the shapes {a.shape} and {b.shape}, do not broadcast") from None
    ndim = max(left.ndim, right.ndim)
    left, right = (x.astype(dtype).reshape(*[1] * (ndim - x.ndim), *x.shape) for x in (left, right))
    result = _product(left, right)
    result = result if rows else result[..., 0, :]
    return result if columns else result[..., 0]
