"""Products of matrices, with bias and activation, and contractions as primitives of JAX's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

from planmath.interfaces.einsum_terms import batched, extents_of, of_gradient, parts, reduced
from planmath.interfaces.epilogs import FUSED, read_epilog
from planmath.interfaces.jax_primitives import Result, multilinear, primitive
from planmath.linalg import matmul as planned_product
from planmath.linalg.advanced import MatmulEpilog
from planmath.linalg.advanced import matmul as planned_matmul
from planmath.tensor import contract

REAL = ("float16", "float32", "float64")
DTYPES = (*REAL, "complex64", "complex128")


def _shape(a: Any, b: Any, *bias: Any) -> tuple[int, ...]:
    """Of a product of matrices with equally many axes, in which those in front broadcast."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], *[x.shape[:-1] for x in bias])
    return (*batch, a.shape[-2], b.shape[-1])


def _summed(gradient: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of what was repeated along the axes of a batch."""
    repeated = tuple(i for i, n in enumerate(shape) if n != gradient.shape[i])
    return gradient.sum(repeated, keepdims=True) if repeated else gradient


def _factor(i: int, shape: tuple[int, ...], gradient: Any, operands: Sequence[Any]) -> Any:
    a, b = operands
    return _summed(_product(a.mT, gradient) if i else _product(gradient, b.mT), shape)


_product: Callable[..., Any] = multilinear(
    "product",
    lambda a, b: np.ascontiguousarray(planned_product(a, b)),
    result=lambda a, b: (_shape(a, b), a.dtype),
    mapped=lambda operands: _product(*operands),
    transposed=_factor,
)


# A product with bias and activation: it is not linear, and leaves the activation's argument z for the derivative.


def _activated(activation: str, z: Any) -> Any:
    if activation == "gelu":
        return jax.nn.gelu(z, approximate=True)
    return jax.nn.relu(z) if activation == "relu" else z


def _layer_results(a: Any, b: Any, *bias: Any, activation: str, keeps: bool) -> list[Result]:
    return [(_shape(a, b, *bias), a.dtype)] * (1 + keeps)


def _layer(a: np.ndarray, b: np.ndarray, *bias: np.ndarray, activation: str, keeps: bool) -> list[np.ndarray]:
    *batch, _, _ = _shape(a, b, *bias)
    if batch:
        a, b = (np.ascontiguousarray(np.broadcast_to(x, (*batch, *x.shape[-2:]))) for x in (a, b))
    inputs = None
    if bias:
        inputs = {"bias": np.ascontiguousarray(np.broadcast_to(bias[0][..., None], (*batch, a.shape[-2], 1)))}
    found: Any = planned_matmul(a, b, epilog=FUSED[activation, bool(bias), keeps], epilog_inputs=inputs)
    d, states = found if keeps else (found, {})
    return [np.ascontiguousarray(x) for x in (d, *(state[..., : a.shape[-2], :] for state in states.values()))]


def _layer_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, activation: str, keeps: bool
) -> tuple[list[Any], list[Any]]:
    a, b, *_ = primals
    d, *states = _fused(*primals, activation=activation, keeps=activation == "gelu")
    of_a, of_b, *of_bias = tangents
    of_each = [] if type(of_a) is ad.Zero else [_product(of_a, b)]
    of_each += [] if type(of_b) is ad.Zero else [_product(a, of_b)]
    of_each += [jnp.broadcast_to(x[..., None], d.shape) for x in of_bias if type(x) is not ad.Zero]
    dz = jnp.broadcast_to(sum(of_each[1:], of_each[0]), d.shape)
    if activation == "gelu":
        _, of_d = jax.jvp(lambda z: _activated("gelu", z), tuple(states), (dz,))
    else:  # the result is positive where the argument is
        of_d = jnp.where(d > 0, dz, 0) if activation == "relu" else dz
    return [d, *states][: 1 + keeps], [of_d, dz][: 1 + keeps]


_fused: Callable[..., Any] = primitive(
    "layer",
    _layer,
    results=_layer_results,
    jvp=_layer_jvp,
    mapped=lambda operands, **how: _fused(*operands, **how),
)


def matmul(
    a: Any,
    b: Any,
    /,
    c: Any = None,
    *,
    alpha: complex | None = None,
    beta: complex | None = None,
    epilog: MatmulEpilog | None = None,
    epilog_inputs: dict[str, Any] | None = None,
) -> jax.Array:
    """``epilog(alpha * a @ b + beta * c)``, by `planmath.linalg`, with derivatives.

    Parameters
    ----------
    a, b : jax.Array
        Vectors (k,), matrices (m, k) and (k, n), or batches of such, whose shapes broadcast. float16, float32,
        float64, complex64 or complex128; two dtypes are promoted.
    c : jax.Array, optional
        What broadcasts to the result.
    alpha, beta : number, optional
    epilog : MatmulEpilog, optional
        One of DEFAULT, RELU, GELU, BIAS, RELU_BIAS and GELU_BIAS, for real numbers. The others are parts of gradients,
        which differentiation makes here. GELU is the approximation by tanh, as that of `jax.nn.gelu`.
    epilog_inputs : dict, optional
        ``{"bias": bias}``, with a number for each row of the result.

    Raises
    ------
    ValueError
        If shapes or dtypes are others, or there is no such epilog.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from planmath.interfaces.jax import matmul
    >>> from planmath.linalg.advanced import MatmulEpilog
    >>> def loss(weights, bias):
    ...     layer = matmul(weights, jnp.ones((3, 2)), epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
    ...     return layer.sum()
    >>> jax.jit(jax.grad(loss, argnums=1))(jnp.ones((2, 3)), jnp.array([1.0, -9]))
    Array([2., 0.], dtype=float32)
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    activation, bias = read_epilog(epilog, epilog_inputs)
    dtype = jnp.result_type(a, b)
    known = DTYPES if activation == "identity" and bias is None else REAL
    if str(dtype) not in known:
        raise ValueError(f"a and b are of {a.dtype} and {b.dtype}; expected {', '.join(known)}: convert them")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"a and b have the shapes {a.shape} and {b.shape}; expected at least one axis each")
    if c is None and beta is not None:
        raise ValueError("beta was given without c")
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
    if bias is not None:
        bias = jnp.asarray(bias, dtype).reshape(-1)
        if bias.shape[0] != left.shape[-2]:
            raise ValueError(f"bias has {bias.shape[0]} elements; expected {left.shape[-2]}, one for each row")
    if c is None is alpha and (activation != "identity" or bias is not None):
        given = [] if bias is None else [bias.reshape(*[1] * (ndim - 2), -1)]
        d = _fused(left, right, *given, activation=activation, keeps=False)[0]
    else:
        d = _product(left, right)
        if alpha is not None:  # by the rule of BLAS: what is multiplied by 0 does not matter
            d = jnp.zeros_like(d) if _is_zero(alpha) else (alpha * d).astype(dtype)
        d = d if bias is None else d + bias[:, None]
        if c is not None and not _is_zero(beta):
            c = jnp.asarray(c, dtype)
            c = c[..., None] if not columns and c.ndim else c
            c = c[..., None, :] if not rows and c.ndim else c
            d = d + (c if beta is None else (beta * c).astype(dtype))
        d = _activated(activation, d)
    d = d if rows else d[..., 0, :]
    return d if columns else d[..., 0]


def _is_zero(factor: Any) -> bool:
    """Whether a factor is 0 while tracing: of one that is traced itself nobody knows."""
    return factor is not None and not isinstance(factor, jax.core.Tracer) and factor == 0


# Contractions.


def _of_operand(i: int, shape: tuple[int, ...], gradient: Any, operands: Sequence[Any], *, expr: str) -> Any:
    others = [x for j, x in enumerate(operands) if j != i]
    return _contraction(gradient, *others, expr=of_gradient(expr, i))


def _contracted(*operands: Any, expr: str) -> Result:
    extents = extents_of(expr, [x.shape for x in operands])
    return tuple([extents[mode] for mode in parts(expr)[1]]), operands[0].dtype


def _mapped(operands: Sequence[Any], *, expr: str) -> Any:
    size = max(x.shape[0] for x in operands)
    is_mapped = [x.shape[0] == size for x in operands]
    given = [x if of else x[0] for x, of in zip(operands, is_mapped, strict=True)]
    return _contraction(*given, expr=batched(expr, is_mapped))


_contraction: Callable[..., Any] = multilinear(
    "contraction",
    lambda *operands, expr: contract(expr, *operands, options={"result_layout": "C"}),
    result=_contracted,
    mapped=_mapped,
    transposed=_of_operand,
)


def einsum(expr: str, *operands: Any) -> jax.Array:
    """Contract arrays, as `jax.numpy.einsum`, by `planmath.tensor.contract`, with derivatives.

    Parameters
    ----------
    expr : str
        Such as ``"ij,jk->ik"``, with ``...`` for axes that broadcast. Without ``->``, the modes that are there once
        make the result, in alphabetical order.
    *operands : jax.Array
        float16, float32, float64, complex64 or complex128; different dtypes are promoted.

    Raises
    ------
    ValueError
        If the expression and the operands do not fit.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from planmath.interfaces.jax import einsum
    >>> jax.jacfwd(lambda x: einsum("i,i->", x, x))(jnp.arange(3.0))
    Array([0., 2., 4.], dtype=float32)
    """
    arrays = [jnp.asarray(x) for x in operands]
    if not arrays:
        raise ValueError("einsum() got no operand; pass one for each term of the expression")
    dtype = jnp.result_type(*arrays)
    if str(dtype) not in DTYPES:
        given = ", ".join(str(x.dtype) for x in arrays)
        raise ValueError(f"the operands are of {given}; expected {', '.join(DTYPES)}: convert them")
    arrays = [x.astype(dtype) for x in arrays]
    terms, output = reduced(expr, arrays, lambda x, first, second: jnp.diagonal(x, axis1=first, axis2=second))
    if len(terms) == 1:
        ((modes, operand),) = terms
        return operand.transpose([modes.index(mode) for mode in output])
    return _contraction(*[x for _, x in terms], expr=f"{','.join(modes for modes, _ in terms)}->{output}")
