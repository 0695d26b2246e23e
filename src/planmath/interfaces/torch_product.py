"""Products of matrices, with bias and activation, as an operator of PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from planmath.core.executor import Program
from planmath.core.operands import make_slot
from planmath.core.slots import ArraySlot
from planmath.interfaces.epilogs import FUSED, read_epilog
from planmath.interfaces.torch_operators import at_front, not_as_views, present, register
from planmath.interfaces.torch_plans import executed
from planmath.linalg.advanced import Matmul, MatmulEpilog
from planmath.linalg.advanced import matmul as planned_matmul

#: What a product does beside multiplying. With sums of an operand's columns: the gradient of weights, and of a bias.
_FUSED = {**FUSED, ("sum", False, False): MatmulEpilog.BGRADB}

#: Those whose results are column-major, which the transposed product then has.
_COLUMN_MAJOR = ("gelu", "sum")

_GELU_BACKWARD, _RELU_BACKWARD = torch.ops.aten.gelu_backward.default, torch.ops.aten.threshold_backward.default

#: The dtypes in which a product has the sums of an operand's columns beside it.
_SUMMED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

#: The result, and GELU's argument where that is kept.
Pair = tuple[torch.Tensor, torch.Tensor | None]


def _activated(z: torch.Tensor, activation: str) -> torch.Tensor:
    if activation == "gelu":
        return functional.gelu(z, approximate="tanh")
    return functional.relu(z) if activation == "relu" else z


class _Product(Matmul):
    """A product whose programs get matrices as they lie in memory: without views of those that count as transposed.

    Parameters
    ----------
    a, b : torch.Tensor
    turned : tuple of bool
        Whether a, b and the results are transposed in memory, as they are given in each execution.
    """

    def __init__(self, a: torch.Tensor, b: torch.Tensor, turned: tuple[bool, bool, bool]):
        self._turned = turned
        super().__init__(a.mT if turned[0] else a, b.mT if turned[1] else b)

    def _result_slots(self, problem: Any) -> dict[str, ArraySlot]:
        return _turned_slots(super()._result_slots(problem), [self._turned[2]] * 2)

    def _make_executor(self, problem: Any, prepared: Any, slots: Any) -> Any:
        if any(program.function for program in prepared.programs.values()):
            programs = {key: _turned_program(program, self._turned) for key, program in prepared.programs.items()}
            prepared = replace(prepared, programs=programs)
        return super()._make_executor(problem, prepared, _turned_slots(slots, self._turned[:2]))


def _turned_slots(slots: Mapping[str, ArraySlot], turned: Sequence[bool]) -> dict[str, ArraySlot]:
    """The first slots for transposed matrices, where those are."""
    found = dict(slots)
    for (name, slot), turns in zip(slots.items(), turned, strict=False):
        if turns and len(slot.shape) > 1:
            (*batch, m, n), (*between, row, column) = slot.shape, slot.strides
            layout = slot.layout._replace(shape=(*batch, n, m), strides=(*between, column, row))
            found[name] = make_slot(slot.package, layout, writeable=slot.writeable)
    return found


def _turned_program(program: Program, turned: tuple[bool, bool, bool]) -> Program:
    """A program in Python that gets arrays as they count."""
    if program.function is None:
        return program

    def run(operands: Any, results: Any) -> None:
        given = [x.mT if turns else x for x, turns in zip(operands[:2], turned, strict=False)]
        made = [_across(x) for x in results] if turned[2] else results
        program.function((*given, *operands[2:]), tuple(made))

    return Program(function=run)


def _across(x: torch.Tensor) -> torch.Tensor:
    """A matrix, or a batch of them, transposed; a vector as it is."""
    return x.mT if x.ndim > 1 else x


def _in_order(x: torch.Tensor) -> torch.Tensor:
    """A matrix, or a batch of them, that lies by rows or by columns."""
    (rows, columns), (row, column) = x.shape[-2:], x.stride()[-2:]
    return x if (column == 1 and row >= columns) or (row == 1 and column >= rows) else x.contiguous()


def _compute(
    a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, turned_a: bool, turned_b: bool, activation: str,
    keep: bool,
) -> Pair:  # fmt: skip
    # as it is only where a lies by rows; otherwise the transposed product, whose result is column-major, and has a bias
    # for each row
    straight = bias is None and activation not in _COLUMN_MAJOR and a.stride(-2 if turned_a else -1) == 1
    kind = (a.shape, b.shape, turned_a, turned_b, bias is None, activation, keep, straight)
    operands = (a, b) if straight else (b, a) if bias is None else (b, a, bias)
    result = executed(kind, None, operands)
    if result is None:
        result = _first(kind, *operands)
    if type(result) is tuple:
        d, states = result
        (state,) = states.values()
        columns = d.shape[-1]
        if activation == "gelu" and state.shape[-1] != columns:
            with not_as_views():
                state = state[..., :columns].contiguous()
        return d if d.is_contiguous() else d.contiguous(), state
    return result if result.is_contiguous() else result.contiguous(), None


def _first(kind: tuple[Any, ...], left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    """The first product of a kind, or one that is not kept."""
    *_, turned_a, turned_b, _, activation, keep, straight = kind
    if 0 in left.shape or 0 in right.shape:
        return _of_nothing(left, right, bias, kind)
    turned = (turned_a, turned_b, False) if straight else (not turned_b, not turned_a, True)
    epilog = _FUSED[activation, bias is not None, keep and activation == "gelu"]
    left, right = _in_order(left), _in_order(right)
    inputs = None if bias is None else {"bias": bias.contiguous()}

    def plan(left: torch.Tensor, right: torch.Tensor, *_: torch.Tensor) -> Matmul:
        product = _Product(left, right, turned)
        try:
            product.plan(epilog=epilog, epilog_inputs=inputs)
        except BaseException:
            product.free()
            raise
        return product

    result = executed(kind, None, (left, right, *(inputs or {}).values()), plan)
    if result is None:
        left, right = left.mT if turned[0] else left, right.mT if turned[1] else right
        with not_as_views():
            result = planned_matmul(left, right, epilog=epilog, epilog_inputs=inputs)
            if turned[2]:
                if isinstance(result, tuple):
                    result = result[0].mT, {name: _across(x) for name, x in result[1].items()}
                else:
                    result = result.mT
    return result


def _of_nothing(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None, kind: tuple[Any, ...]) -> Any:
    """A product without elements, or of vectors without."""
    *_, turned_a, turned_b, _, activation, keep, straight = kind
    a, b = (left, right) if straight else (right, left)
    z = torch.matmul(a.mT if turned_a else a, b.mT if turned_b else b)
    z = z if bias is None else z + bias
    if activation == "sum":
        return z, {"bgradb": a.sum(-2)}
    d = _activated(z, activation)
    return (d, {"gelu_aux": z.clone()}) if keep and activation == "gelu" else d


def _fake(
    a: torch.Tensor, b: torch.Tensor, bias: Any, turned_a: bool, turned_b: bool, activation: str, keep: bool
) -> Pair:
    d = a.new_empty((*a.shape[:-2], a.shape[-1 if turned_a else -2], b.shape[-2 if turned_b else -1]))
    return d, torch.empty_like(d) if keep and activation == "gelu" else a.new_empty(0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Pair) -> tuple[torch.Tensor | None, ...]:
    a, b, bias, *ctx.how = inputs
    ctx.set_materialize_grads(False)
    *_, activation, keep = ctx.how
    if activation == "identity":
        return a, b, bias, None
    return a, b, bias, output[0] if activation == "relu" else output[1] if keep else None


def _backward(
    product: Any, ctx: Any, of_result: torch.Tensor | None, of_state: torch.Tensor | None = None
) -> tuple[Any, ...]:
    saved = a, b, bias, _ = ctx.saved_tensors  # which is asked for once: checkpoints compute them then
    turned_a, turned_b, activation, keep = ctx.how
    dz = of_result
    if dz is not None and activation != "identity":
        dz = _through_activation(product, ctx, dz, *saved)
    if of_state is not None and keep and activation == "gelu":
        dz = of_state if dz is None else dz + of_state
    if dz is None:
        return None, None, None, None, None, None, None
    needs = ctx.needs_input_grad
    of_a = of_b = of_bias = None
    if needs[0]:
        of_a = _like(product, a, turned_a, dz, b.conj() if b.is_complex() else b, False, not turned_b)
    if bias is not None and needs[2]:
        if product is _compute and needs[1] and _sums_beside(b, turned_b, dz):
            of_b, of_bias = _compute(dz, a, None, True, turned_a, "sum", False)
        else:
            of_bias = dz.sum(tuple(range(dz.ndim - 1)))
    if needs[1] and of_b is None:
        of_b = _like(product, b, turned_b, a.conj() if a.is_complex() else a, dz, not turned_a, False)
    return of_a, of_b, of_bias, None, None, None, None


def _sums_beside(weights: torch.Tensor, turned: bool, dz: torch.Tensor) -> bool:
    """Whether the product that has the gradient of a bias beside it makes that of weights in their order."""
    return turned and dz.ndim == 2 and weights.stride(1) == 1 and dz.dtype in _SUMMED


def _through_activation(
    product: Any, ctx: Any, change: torch.Tensor, a: torch.Tensor, b: torch.Tensor, bias: Any,
    state: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """A change of the result in that of the activation's argument, or the other way round, which is the same."""
    turned_a, turned_b, activation, _ = ctx.how
    if activation == "relu":
        return _RELU_BACKWARD(change, state, 0)
    if activation == "gelu":
        if state is None or (torch.is_grad_enabled() and getattr(ctx, "saves_constants", False)):
            state = product(a, b, bias, turned_a, turned_b, "identity", False)[0]
        return _GELU_BACKWARD(change, state, approximate="tanh")
    raise AssertionError(f"an activation {activation!r} has no derivative here")


def _forward(ctx: Any, of_a: Any, of_b: Any, of_bias: Any, *_: Any) -> tuple[Any, Any]:
    saved = a, b, *_ = ctx.saved_tensors
    turned_a, turned_b, activation, keep = ctx.how
    as_they_lie = (turned_a, turned_b, "identity", False)
    parts = [] if of_a is None else [_product(of_a, b, None, *as_they_lie)[0]]
    parts += [] if of_b is None else [_product(a, of_b, None, *as_they_lie)[0]]
    if of_bias is not None:
        shape = (*a.shape[:-2], a.shape[-1 if turned_a else -2], b.shape[-2 if turned_b else -1])
        parts.append(of_bias.expand(shape))
    dz = sum(parts[1:], parts[0])
    of_state = dz if keep and activation == "gelu" else a.new_empty(0)
    return dz if activation == "identity" else _through_activation(_product, ctx, dz, *saved), of_state


def _like(
    product: Any, x: torch.Tensor, turned: bool, left: torch.Tensor, right: torch.Tensor, turned_left: bool,
    turned_right: bool,
) -> torch.Tensor:  # fmt: skip
    """The gradient of `x`, ``left @ right`` or its transposed, in its order: parameters copy those in another."""
    by_columns = not x.is_contiguous() and x.stride(-1) != 1 and x.stride(-2) == 1
    if turned != by_columns:
        left, right, turned_left, turned_right = right, left, not turned_right, not turned_left
    result = product(left, right, None, turned_left, turned_right, "identity", False)[0]
    return result.mT if by_columns else result


def _traced(
    a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, turned_a: bool, turned_b: bool, *_: Any
) -> tuple[torch.Tensor, None]:
    """A product by PyTorch's own operators."""
    z = torch.matmul(a.mT if turned_a else a, b.mT if turned_b else b)
    return z if bias is None else z + bias, None


def _vmap(info: Any, in_dims: Any, a: Any, b: Any, bias: Any, *how: Any) -> Any:
    turned_a, turned_b, activation, keep = how
    a, b = at_front(a, in_dims[0]), at_front(b, in_dims[1])
    if in_dims[0] is None:
        a = a.expand(info.batch_size, *a.shape)
    if in_dims[1] is None and a.ndim == 3 and not turned_a and in_dims[2] is None:  # one matrix for all: one product
        results = _both(a.reshape(-1, a.shape[-1]), b, bias, *how)
        columns = results[0].shape[-1]
        return tuple(x.reshape(*a.shape[:-1], columns) if x.ndim > 1 else x for x in results), tuple(
            0 if x.ndim > 1 else None for x in results
        )
    if in_dims[1] is None:
        b = b.expand(info.batch_size, *b.shape)
    if in_dims[2] is None:
        results = _both(a, b, bias, *how)
        return results, tuple(0 if x.ndim > 1 else None for x in results)
    z = _product(a, b, None, turned_a, turned_b, "identity", False)[0]
    bias = at_front(bias, in_dims[2])
    z = z + bias.reshape(bias.shape[0], *[1] * (z.ndim - 2), bias.shape[1])
    if keep and activation == "gelu":
        return (_activated(z, activation), z.clone()), (0, 0)
    return (_activated(z, activation), present(None, z)), (0, None)


_product, _both = register(
    "product(Tensor a, Tensor b, Tensor? bias, bool turned_a, bool turned_b, str activation, bool keep) -> "
    "(Tensor, Tensor)",
    _compute,
    fake=_fake,
    backward=_backward,
    forward=_forward,
    save=_save,
    vmap=_vmap,
    traced=_traced,
)


def _requires_grad(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None) -> bool:
    return a.requires_grad or b.requires_grad or (bias is not None and bias.requires_grad)


def _result(
    a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, activation: str, turned_a: bool = False,
    turned_b: bool = False,
) -> torch.Tensor:  # fmt: skip
    """``activation(a @ b + bias)`` of matrices or batches of them that broadcast, and may be transposed."""
    of_a, of_b = a.shape, b.shape
    if of_a[-2 if turned_a else -1] != of_b[-1 if turned_b else -2]:
        of_a, of_b = (x.mT.shape if turns else x.shape for x, turns in ((a, turned_a), (b, turned_b)))
        raise ValueError(
            f"a of shape {tuple(of_a)} and b of shape {tuple(of_b)} do not fit: a has {of_a[-1]} columns, and "
            f"b {of_b[-2]} rows"
        )
    keep = activation == "gelu" and torch.is_grad_enabled() and _requires_grad(a, b, bias)
    if len(of_a) == len(of_b) == 2:
        return _product(a, b, bias, turned_a, turned_b, activation, keep)[0]
    if len(of_a) > 2 and len(of_b) == 2 and not turned_a:  # one product of all rows
        flat = _product(a.reshape(-1, of_a[-1]), b, bias, False, turned_b, activation, keep)[0]
        return flat.reshape(*of_a[:-1], flat.shape[-1])
    batch = torch.broadcast_shapes(of_a[:-2], of_b[:-2])
    a, b = a.expand(*batch, *of_a[-2:]), b.expand(*batch, *of_b[-2:])
    return _product(a, b, bias, turned_a, turned_b, activation, keep)[0]


def linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, activation: str | None = None
) -> torch.Tensor:
    """``activation(x @ weight.T + bias)``, as `torch.nn.functional.linear`, and an activation in the same call.

    The dtype is that of the operands, also within `torch.autocast`, which converts nothing here: pass operands of the
    dtype that you want, as ``weight.to(x.dtype)``.

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
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != of_weight[0]):
        raise ValueError(f"bias has the shape {tuple(bias.shape)}; expected {tuple(of_weight[:1])}")
    try:
        if x.ndim == 1:
            return _result(x[None], weight, bias, activation or "identity", False, True)[0]
        if x.ndim == 2 and x.shape[1] == of_weight[1]:
            keep = activation == "gelu" and torch.is_grad_enabled() and _requires_grad(x, weight, bias)
            return _product(x, weight, bias, False, True, activation or "identity", keep)[0]
        return _result(x, weight, bias, activation or "identity", False, True)
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
    if c is None is alpha is beta is epilog is epilog_inputs and a.ndim > 1 < b.ndim:
        return _result(a, b, None, "identity")
    activation, bias = read_epilog(epilog, epilog_inputs)
    if c is None and beta is not None:
        raise ValueError("beta was given without c")
    row, column = a.ndim == 1, b.ndim == 1
    a, b = a[None] if row else a, b[:, None] if column else b
    if bias is not None:
        bias = bias.reshape(-1)
        if bias.shape[0] != a.shape[-2]:
            raise ValueError(f"bias has {bias.shape[0]} elements; expected {a.shape[-2]}, one for each row")
    if c is None and alpha is None:
        d = _result(a, b, None, activation) if bias is None else _result(b, a, bias, activation, True, True).mT
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
