"""Contractions as an operator of PyTorch's."""

from __future__ import annotations

from typing import Any

import torch

from planmath.interfaces.einsum_terms import as_given, batched, extents_of, of_gradient, parts, reduced
from planmath.interfaces.torch_operators import at_front, not_as_views, register
from planmath.interfaces.torch_plans import executed
from planmath.tensor import Contraction, contract


def _compute(expr: str, operands: list[torch.Tensor]) -> torch.Tensor:
    kind = (expr, *[operand.shape for operand in operands])
    result = executed(kind, None, tuple(operands))
    return _first(kind, expr, operands) if result is None else result


def _first(kind: tuple[Any, ...], expr: str, operands: list[torch.Tensor]) -> torch.Tensor:
    """The first contraction of a kind, or one that is not kept."""
    if any(0 in operand.shape for operand in operands):
        return torch.einsum(expr, operands).contiguous()
    options: Any = {"result_layout": "C"}

    def plan(*operands: torch.Tensor) -> Contraction[torch.Tensor]:
        contraction = Contraction(expr, *operands, options=options)
        try:
            contraction.plan()
        except BaseException:
            contraction.free()
            raise
        return contraction

    with not_as_views():
        carried_out = tuple([operand.resolve_conj().resolve_neg() for operand in operands])
        result = executed(kind, None, carried_out, plan)
        return contract(expr, *carried_out, options=options).contiguous() if result is None else result


def _fake(expr: str, operands: list[torch.Tensor]) -> torch.Tensor:
    extents = extents_of(expr, [operand.shape for operand in operands])
    return operands[0].new_empty([extents[mode] for mode in parts(expr)[1]])


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> list[torch.Tensor]:
    ctx.expr, operands = inputs
    ctx.wanted = [operand.requires_grad for operand in operands]
    return operands


def _backward(contraction: Any, ctx: Any, gradient: torch.Tensor) -> tuple[None, list[torch.Tensor | None]]:
    operands = ctx.saved_tensors
    gradients: list[torch.Tensor | None] = []
    for i, wanted in enumerate(ctx.wanted):
        others = [x.conj() if x.is_complex() else x for j, x in enumerate(operands) if j != i and wanted]
        gradients.append(contraction(of_gradient(ctx.expr, i), [gradient, *others]) if wanted else None)
    return None, gradients


def _forward(ctx: Any, _: None, tangents: list[torch.Tensor | None]) -> torch.Tensor:
    operands = ctx.saved_tensors
    of_each = [
        _contraction(ctx.expr, [*operands[:i], tangent, *operands[i + 1 :]])
        for i, tangent in enumerate(tangents)
        if tangent is not None
    ]
    return sum(of_each[1:], of_each[0])


def _vmap(info: Any, in_dims: Any, expr: str, operands: list[torch.Tensor]) -> tuple[torch.Tensor, int]:
    moved = [at_front(x, axis) for x, axis in zip(operands, in_dims[1], strict=True)]
    return _contraction(batched(expr, [axis is not None for axis in in_dims[1]]), moved), 0


#: Every mode of an operand is in another one or in the result, and none is there twice; so it is for gradients too.
_contraction, _ = register(
    "contraction(str expr, Tensor[] operands) -> Tensor",
    _compute,
    fake=_fake,
    backward=_backward,
    forward=_forward,
    save=_save,
    vmap=_vmap,
)


def einsum(expr: str, *operands: torch.Tensor) -> torch.Tensor:
    """Contract tensors, as `torch.einsum`, by `planmath.tensor.contract`, with gradients.

    Parameters
    ----------
    expr : str
        Such as ``"ij,jk->ik"``, with ``...`` for axes that broadcast. Without ``->``, the modes that are there once
        make the result, in alphabetical order.
    *operands : torch.Tensor
        Of one dtype.

    Raises
    ------
    ValueError
        If the expression and the operands do not fit.

    Examples
    --------
    >>> import torch
    >>> from planmath.interfaces.torch import einsum
    >>> x = torch.arange(3.0, requires_grad=True)
    >>> einsum("i,i->", x, x).backward()
    >>> x.grad
    tensor([0., 2., 4.])
    """
    if not torch.compiler.is_compiling():
        try:
            given = as_given(expr, *[operand.shape for operand in operands])
        except TypeError:  # of extents that are symbols
            given = None
        if given is not None:
            return _contraction(given, list(operands))
    terms, output = reduced(expr, operands, lambda x, first, second: x.diagonal(dim1=first, dim2=second))
    if len(terms) == 1:
        ((modes, operand),) = terms
        return operand.permute([modes.index(mode) for mode in output])
    return _contraction(f"{','.join(modes for modes, _ in terms)}->{output}", [operand for _, operand in terms])
