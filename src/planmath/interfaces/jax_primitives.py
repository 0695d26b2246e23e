"""How planmath's functions are told to JAX: as primitives that a compiled program calls back for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

#: Shape and dtype.
Result = tuple[tuple[int, ...], Any]


def primitive(
    name: str,
    compute: Callable[..., Sequence[np.ndarray]],
    *,
    results: Callable[..., Sequence[Result]],
    jvp: Callable[..., Any],
    mapped: Callable[..., Any],
    transposed: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """A primitive of JAX's whose work is done on the host.

    Parameters
    ----------
    name : str
    compute : callable
        ``compute(*arrays, **parameters)``: the results, of NumPy's arrays.
    results : callable
        ``results(*operands, **parameters)``: what they are, from shapes and dtypes.
    jvp : callable
        ``jvp(primals, tangents, **parameters)``: results and their tangents, by JAX's functions.
    mapped : callable
        ``mapped(operands, **parameters)``: results for operands of which each has one more axis in front, which has one
        element where an operand is the same for all.
    transposed : callable, optional
        ``transposed(i, shape, gradient, operands, **parameters)`` of what is linear in each operand: the gradient of
        operand `i`, which has that shape, from that of the result.

    Returns
    -------
    callable
        Of arrays and parameters, which returns a list of results.
    """
    made = Primitive(f"planmath_{name}")
    made.multiple_results = True

    def bind(*operands: Any, **parameters: Any) -> list[Any]:
        return made.bind(*operands, **parameters)

    def abstract(*operands: Any, **parameters: Any) -> list[Any]:
        return [jax.core.ShapedArray(shape, np.dtype(dtype)) for shape, dtype in results(*operands, **parameters)]

    def called(*operands: Any, **parameters: Any) -> list[Any]:
        expected = [jax.ShapeDtypeStruct(*of) for of in results(*operands, **parameters)]
        if any(0 in x.shape for x in operands):
            return [jnp.zeros(of.shape, of.dtype) for of in expected]
        on_host = lambda *arrays: list(compute(*map(np.asarray, arrays), **parameters))  # noqa: E731
        return jax.pure_callback(on_host, expected, *operands)

    def batcher(operands: Sequence[Any], axes: Sequence[Any], **parameters: Any) -> tuple[list[Any], list[int]]:
        in_front = [
            x[None] if axis is None else jnp.moveaxis(x, axis, 0)
            for x, axis in zip(operands, axes, strict=True)
        ]
        found = mapped(in_front, **parameters)
        return found, [0] * len(found)

    def transpose(gradients: Sequence[Any], *operands: Any, **parameters: Any) -> list[Any]:
        (gradient,) = gradients
        linear = [ad.is_undefined_primal(x) for x in operands]
        if type(gradient) is ad.Zero:
            return [ad.Zero(x.aval) if of else None for x, of in zip(operands, linear, strict=True)]
        assert transposed is not None
        return [
            transposed(i, x.aval.shape, gradient, operands, **parameters) if of else None
            for i, (x, of) in enumerate(zip(operands, linear, strict=True))
        ]

    made.def_abstract_eval(abstract)
    made.def_impl(called)
    mlir.register_lowering(made, mlir.lower_fun(called, multiple_results=True))
    ad.primitive_jvps[made] = jvp
    batching.primitive_batchers[made] = batcher
    if transposed is not None:
        ad.primitive_transposes[made] = transpose
    return bind


def multilinear(
    name: str,
    compute: Callable[..., np.ndarray],
    *,
    result: Callable[..., Result],
    mapped: Callable[..., Any],
    transposed: Callable[..., Any],
) -> Callable[..., Any]:
    """A primitive with one result that is linear in each operand; `primitive` says what the arguments are."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **parameters: Any) -> tuple[list[Any], list[Any]]:
        of_each = [
            bind(*primals[:i], tangent, *primals[i + 1 :], **parameters)[0]
            for i, tangent in enumerate(tangents)
            if type(tangent) is not ad.Zero
        ]
        return bind(*primals, **parameters), [sum(of_each[1:], of_each[0])]

    bind = primitive(
        name,
        lambda *arrays, **parameters: [compute(*arrays, **parameters)],
        results=lambda *operands, **parameters: [result(*operands, **parameters)],
        jvp=jvp,
        mapped=lambda operands, **parameters: [mapped(operands, **parameters)],
        transposed=transposed,
    )
    return lambda *operands, **parameters: bind(*operands, **parameters)[0]
