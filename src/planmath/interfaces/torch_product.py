"""Products of matrices, with bias and activation, as an operator of PyTorch's."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from planmath.interfaces.torch_operators import at_front, present, register
from planmath.interfaces.torch_plans import executed
from planmath.linalg.advanced import Matmul, MatmulEpilog
from planmath.linalg.advanced import matmul as planned_matmul

#: The epilogs that the operator has: the activation, and whether there is a bias for each row.
EPILOGS = {
    MatmulEpilog.DEFAULT: ("identity", False),
    MatmulEpilog.RELU: ("relu", False),
    MatmulEpilog.GELU: ("gelu", False),
    MatmulEpilog.BIAS: ("identity", True),
    MatmulEpilog.RELU_BIAS: ("relu", True),
    MatmulEpilog.GELU_BIAS: ("gelu", True),
}

#: (activation, whether there is a bias, whether GELU's state is kept) -> planmath's epilog.
_FUSED = {
    **{(activation, bias, False): epilog for epilog, (activation, bias) in EPILOGS.items()},
    ("gelu", False, True): MatmulEpilog.GELU_AUX,
    ("gelu", True, True): MatmulEpilog.GELU_AUX_BIAS,
}

#: The result, and GELU's argument where that is kept.
Pair = tuple[torch.Tensor, torch.Tensor | None]


def _activated(z: torch.Tensor, activation: str) -> torch.Tensor:
    if activation == "gelu":
        return functional.gelu(z, approximate="tanh")
    return functional.relu(z) if activation == "relu" else z


def _in_order(x: torch.Tensor) -> torch.Tensor:
    """A matrix, or a batch of them, that lies by rows or by columns."""
    (rows, columns), (row, column) = x.shape[-2:], x.stride()[-2:]
    return x if (column == 1 and row >= columns) or (row == 1 and column >= rows) else x.contiguous()


def _compute(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, activation: str, keep: bool) -> Pair:
    keep = keep and activation == "gelu"
    of_a, of_b = a.shape, b.shape
    if 0 in of_a or 0 in of_b:
        z = torch.matmul(a, b)
        z = z if bias is None else z + bias
        return _activated(z, activation).contiguous(), z.clone() if keep else None
    epilog = _FUSED[activation, bias is not None, keep]
    # otherwise the transposed product, whose result is column-major, and has a bias for each row
    straight = epilog in (MatmulEpilog.DEFAULT, MatmulEpilog.RELU) and a.stride(-1) == 1
    left, right = (a, b) if straight else (b.mT, a.mT)
    operands = (left, right) if bias is None else (left, right, bias)
    kind = (activation, bias is None, keep, straight, of_a, of_b)
    result = executed(kind, None, operands)
    if result is None:
        result = _first(kind, epilog, _in_order(left), _in_order(right), bias)
    if keep:
        d, state = result[0], result[1]["gelu_aux"]
        if state.shape[-2] != d.shape[-2]:
            state = state[..., : d.shape[-2], :]
        return d.mT.contiguous(), state.mT.contiguous()
    return (result if straight else result.mT).contiguous(), None


def _first(
    kind: tuple[Any, ...], epilog: MatmulEpilog, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None
) -> Any:
    """The first product of a kind, or one that is not kept."""
    inputs = None if bias is None else {"bias": bias.contiguous()}

    def plan(left: torch.Tensor, right: torch.Tensor, *_: torch.Tensor) -> Matmul:
        product = Matmul(left, right)
        try:
            product.plan(epilog=epilog, epilog_inputs=inputs)
        except BaseException:
            product.free()
            raise
        return product

    result = executed(kind, None, (left, right, *(inputs or {}).values()), plan)
    return planned_matmul(left, right, epilog=epilog, epilog_inputs=inputs) if result is None else result


def _fake(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, activation: str, keep: bool) -> Pair:
    d = a.new_empty((*a.shape[:-1], b.shape[-1]))
    return d, torch.empty_like(d) if keep and activation == "gelu" else a.new_empty(0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Pair) -> tuple[torch.Tensor | None, ...]:
    a, b, bias, activation, keep = inputs
    ctx.set_materialize_grads(False)
    ctx.activation, ctx.keep = activation, keep and activation == "gelu"
    state = {"gelu": output[1] if keep else None, "relu": output[0]}.get(activation)
    return a, b, bias, state


def _backward(ctx: Any, of_result: torch.Tensor | None, of_state: torch.Tensor | None) -> tuple[Any, ...]:
    saved = a, b, bias, _ = ctx.saved_tensors  # which is asked for once: checkpoints compute them then
    dz = None if of_result is None else _through_activation(ctx.activation, of_result, *saved)
    if ctx.keep and of_state is not None:
        dz = of_state if dz is None else dz + of_state
    if dz is None:
        return None, None, None, None, None
    wanted = ctx.needs_input_grad
    of_a = _like(a, dz, b.mH) if wanted[0] else None
    of_b = _like(b, a.mH, dz) if wanted[1] else None
    of_bias = dz.sum(tuple(range(dz.ndim - 1))) if bias is not None and wanted[2] else None
    return of_a, of_b, of_bias, None, None


def _through_activation(
    activation: str, change: torch.Tensor, a: torch.Tensor, b: torch.Tensor, bias: Any, state: torch.Tensor | None
) -> torch.Tensor:
    """A change of the result in that of the activation's argument, or the other way round, which is the same."""
    if activation == "relu":
        return torch.ops.aten.threshold_backward(change, state, 0)
    if activation == "gelu":
        z = _product(a, b, bias, "identity", False)[0] if state is None else state
        return torch.ops.aten.gelu_backward(change, z, approximate="tanh")
    return change


def _forward(ctx: Any, of_a: Any, of_b: Any, of_bias: Any, *_: Any) -> tuple[Any, Any]:
    saved = a, b, *_ = ctx.saved_tensors
    parts = [] if of_a is None else [_product(of_a, b, None, "identity", False)[0]]
    parts += [] if of_b is None else [_product(a, of_b, None, "identity", False)[0]]
    parts += [] if of_bias is None else [of_bias.expand(*a.shape[:-1], b.shape[-1])]
    dz = sum(parts[1:], parts[0])
    return _through_activation(ctx.activation, dz, *saved), dz if ctx.keep else a.new_empty(0)


def _like(x: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left @ right`` in the order of `x`: gradients of parameters in another one are copied."""
    if x.stride(-1) != 1 and x.stride(-2) == 1:
        return _product(right.mT, left.mT, None, "identity", False)[0].mT
    return _product(left, right, None, "identity", False)[0]


def _both(a: torch.Tensor, *more: Any) -> tuple[torch.Tensor, torch.Tensor]:
    d, state = _product(a, *more)
    return d, present(state, d)


def _vmap(info: Any, in_dims: tuple[Any, ...], a: Any, b: Any, bias: Any, activation: str, keep: bool) -> Any:
    a, b = at_front(a, in_dims[0]), at_front(b, in_dims[1])
    if in_dims[0] is None:
        a = a.expand(info.batch_size, *a.shape)
    if in_dims[1] is None and a.ndim == 3:  # one matrix for all: one product
        flat = a.reshape(-1, a.shape[-1])
        if in_dims[2] is None:
            results = _both(flat, b, bias, activation, keep)
            return tuple(x.reshape(*a.shape[:-1], -1) if x.ndim > 1 else x for x in results), tuple(
                0 if x.ndim > 1 else None for x in results
            )
    if in_dims[1] is None:
        b = b.expand(info.batch_size, *b.shape)
    if in_dims[2] is None:
        results = _both(a, b, bias, activation, keep)
        return results, tuple(0 if x.ndim > 1 else None for x in results)
    z = _product(a, b, None, "identity", False)[0]
    bias = at_front(bias, in_dims[2])
    z = z + bias.reshape(bias.shape[0], *[1] * (z.ndim - 2), bias.shape[1])
    if keep and activation == "gelu":
        return (_activated(z, activation), z.clone()), (0, 0)
    return (_activated(z, activation), present(None, z)), (0, None)


_product = register(
    "product(Tensor a, Tensor b, Tensor? bias, str activation, bool keep) -> (Tensor, Tensor)",
    _compute,
    fake=_fake,
    backward=_backward,
    forward=_forward,
    save=_save,
    vmap=_vmap,
)


def _result(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    """``activation(a @ b + bias)`` of matrices or batches of them that broadcast."""
    of_a, of_b = a.shape, b.shape
    if of_a[-1] != of_b[-2]:
        raise ValueError(
            f"a of shape {tuple(a.shape)} and b of shape {tuple(b.shape)} do not fit: a has {a.shape[-1]} columns, and "
            f"b {b.shape[-2]} rows"
        )
    keep = (
        activation == "gelu" and torch.is_grad_enabled()
        and (a.requires_grad or b.requires_grad or (bias is not None and bias.requires_grad))
    )  # fmt: skip
    if len(of_a) == len(of_b) == 2:
        return _product(a, b, bias, activation, keep)[0]
    if a.ndim > 2 and b.ndim == 2:  # one product of all rows
        flat = _product(a.reshape(-1, a.shape[-1]), b, bias, activation, keep)[0]
        return flat.reshape(*a.shape[:-1], b.shape[-1])
    batch = torch.broadcast_shapes(of_a[:-2], of_b[:-2])
    a, b = a.expand(*batch, *of_a[-2:]), b.expand(*batch, *of_b[-2:])
    return _product(a, b, bias, activation, keep)[0]


def linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, activation: str | None = None
) -> torch.Tensor:
    """``activation(x @ weight.T + bias)``, as `torch.nn.functional.linear`, and an activation in the same call.

    Parameters
    ----------
    x : torch.Tensor
        Of shape (..., k).
    weight : torch.Tensor
        Of shape (n, k).
    bias : torch.Tensor, optional
        Of shape (n,).
    activation : {'relu', 'gelu'}, optional
        GELU is the approximation by tanh, as ``torch.nn.functional.gelu(..., approximate="tanh")``.

    Returns
    -------
    torch.Tensor
        Of shape (..., n).

    Raises
    ------
    ValueError
        If the shapes do not fit, or there is no such activation.

    Examples
    --------
    >>> import torch
    >>> from planmath.interfaces.torch import linear
    >>> linear(torch.tensor([[1.0, 2]]), torch.tensor([[1.0, 1], [-1, -1]]), activation="relu")
    tensor([[3., 0.]])
    """
    if activation not in (None, "relu", "gelu"):
        raise ValueError(f"activation is {activation!r}; expected 'relu', 'gelu' or None")
    of_weight = weight.shape
    if len(of_weight) != 2:
        raise ValueError(f"weight has the shape {tuple(of_weight)}; expected two axes, (n, k)")
    if bias is not None and bias.shape != of_weight[:1]:
        raise ValueError(f"bias has the shape {tuple(bias.shape)}; expected {tuple(of_weight[:1])}")
    try:
        if x.ndim == 1:
            return _result(x[None], weight.mT, bias, activation or "identity")[0]
        return _result(x, weight.mT, bias, activation or "identity")
    except (TypeError, ValueError, IndexError, RuntimeError):
        _check_layer(x, weight, bias)
        raise


def _check_layer(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Raise where the operands of a layer do not fit, in the words of its arguments."""
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, and weight {tuple(weight.shape)}; expected x of shape "
            f"(..., {weight.shape[1]}): as many columns as weight has"
        ) from None
    for name, other in (("weight", weight), ("bias", bias)):
        for what in ("dtype", "device"):
            if other is not None and getattr(other, what) != getattr(x, what):
                raise ValueError(
                    f"{name} has the {what} {getattr(other, what)}, and x {getattr(x, what)}; expected equal ones: "
                    f"pass {name}.to(x.{what})"
                ) from None


def matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    /,
    c: torch.Tensor | None = None,
    *,
    alpha: complex | None = None,
    beta: complex | None = None,
    epilog: MatmulEpilog | None = None,
    epilog_inputs: dict[str, Any] | None = None,
) -> torch.Tensor:
    """``epilog(alpha * a @ b + beta * c)``, as `planmath.linalg.advanced.matmul`, with gradients.

    Parameters
    ----------
    a, b : torch.Tensor
        Vectors, matrices, or batches of matrices that broadcast.
    c : torch.Tensor, optional
        What broadcasts to the result.
    alpha, beta : number, optional
    epilog : MatmulEpilog, optional
        One of DEFAULT, RELU, GELU, BIAS, RELU_BIAS and GELU_BIAS. The others are parts of gradients, which autograd
        asks for here.
    epilog_inputs : dict, optional
        ``{"bias": bias}``, with a number for each row of the result, which is column-major then.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the epilog is none of these.

    Examples
    --------
    >>> import torch
    >>> from planmath.interfaces.torch import matmul
    >>> a = torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)
    >>> matmul(a, torch.tensor([1.0, -1])).sum().backward()
    >>> a.grad
    tensor([[ 1., -1.],
            [ 1., -1.]])
    """
    epilog = MatmulEpilog.DEFAULT if epilog is None else MatmulEpilog(epilog)
    if epilog not in EPILOGS:
        raise ValueError(
            f"epilog is {epilog.name}, which is a part of a gradient, or leaves something for one; autograd does that "
            f"here: expected one of {', '.join(of.name for of in EPILOGS)}"
        )
    activation, has_bias = EPILOGS[epilog]
    inputs = epilog_inputs or {}
    if set(inputs) != ({"bias"} if has_bias else set()):
        wanted = "{'bias': ...}" if has_bias else "none"
        raise ValueError(f"epilog_inputs has {', '.join(inputs) or 'nothing'}; {epilog.name} needs {wanted}")
    bias = inputs.get("bias")
    if c is None and beta is not None:
        raise ValueError("beta was given without c")
    row, column = a.ndim == 1, b.ndim == 1
    a, b = a[None] if row else a, b[:, None] if column else b
    if bias is not None:
        bias = bias.reshape(-1)
        if bias.shape[0] != a.shape[-2]:
            raise ValueError(f"bias has {bias.shape[0]} elements; expected {a.shape[-2]}, one for each row")
    if c is None and alpha is None:
        d = _result(a, b, None, activation) if bias is None else _result(b.mT, a.mT, bias, activation).mT
    else:
        z = _result(a, b, None, "identity")
        if alpha is not None:  # by the rule of BLAS: what is multiplied by 0 does not matter
            z = torch.zeros_like(z) if alpha == 0 else alpha * z
        z = z if bias is None else z + bias[:, None]
        if c is not None and (beta is None or beta != 0):
            c = c.unsqueeze(-1) if column and c.ndim else c
            c = c.unsqueeze(-2) if row and c.ndim else c
            z = z + (c if beta is None else beta * c)
        d = _activated(z, activation)
    d = d[..., 0] if column else d
    return (d[..., 0] if column else d[..., 0, :]) if row else d
