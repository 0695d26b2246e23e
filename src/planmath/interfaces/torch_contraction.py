"""Contractions as an operator of PyTorch's."""

from __future__ import annotations

import string
from typing import Any

import torch

from planmath.interfaces.torch_operators import at_front, not_as_views, register
from planmath.tensor import contract


def _parts(expr: str) -> tuple[list[str], str]:
    inputs, _, output = expr.partition("->")
    return inputs.split(","), output


def _compute(expr: str, operands: list[torch.Tensor]) -> torch.Tensor:
    if any(0 in operand.shape for operand in operands):
        return torch.einsum(expr, operands).contiguous()
    with not_as_views():
        carried_out = [operand.resolve_conj().resolve_neg() for operand in operands]
        return contract(expr, *carried_out, options={"result_layout": "C"}).contiguous()


def _fake(expr: str, operands: list[torch.Tensor]) -> torch.Tensor:
    inputs, output = _parts(expr)
    extents = dict(zip("".join(inputs), [n for operand in operands for n in operand.shape], strict=True))
    return operands[0].new_empty([extents[mode] for mode in output])


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> list[torch.Tensor]:
    ctx.expr, operands = inputs
    ctx.wanted = [operand.requires_grad for operand in operands]
    return operands


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, list[torch.Tensor | None]]:
    inputs, output = _parts(ctx.expr)
    operands = ctx.saved_tensors
    gradients: list[torch.Tensor | None] = []
    for i, modes in enumerate(inputs):
        if not ctx.wanted[i]:
            gradients.append(None)
            continue
        others = [x.conj() if x.is_complex() else x for j, x in enumerate(operands) if j != i]
        expr = ",".join([output, *(m for j, m in enumerate(inputs) if j != i)]) + "->" + modes
        gradients.append(_contraction(expr, [gradient, *others]))
    return None, gradients


def _forward(ctx: Any, _: None, tangents: list[torch.Tensor | None]) -> torch.Tensor:
    operands = ctx.saved_tensors
    parts = [
        _contraction(ctx.expr, [*operands[:i], tangent, *operands[i + 1 :]])
        for i, tangent in enumerate(tangents)
        if tangent is not None
    ]
    return sum(parts[1:], parts[0])


def _vmap(info: Any, in_dims: Any, expr: str, operands: list[torch.Tensor]) -> tuple[torch.Tensor, int]:
    inputs, output = _parts(expr)
    new = _unused(expr)
    moved = [at_front(x, axis) for x, axis in zip(operands, in_dims[1], strict=True)]
    named = [m if axis is None else new + m for m, axis in zip(inputs, in_dims[1], strict=True)]
    return _contraction(f"{','.join(named)}->{new}{output}", moved), 0


def _unused(expr: str) -> str:
    for letter in string.ascii_letters:
        if letter not in expr:
            return letter
    raise ValueError(f"the contraction {expr!r} has a name for every letter; none is left for the axis of vmap")


#: Every mode of an operand is in another one or in the result, and none is there twice; so it is for gradients too.
_contraction = register(
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
    inputs, output = _named(expr, [operand.ndim for operand in operands])
    unique = [_of_unique_modes(modes, operand) for modes, operand in zip(inputs, operands, strict=True)]
    extents = _extents(expr, unique)
    terms = [_without_stretched(modes, operand, extents) for modes, operand in unique]
    terms = [
        _without_lone(modes, operand, output + "".join(other for j, (other, _) in enumerate(terms) if j != i))
        for i, (modes, operand) in enumerate(terms)
    ]
    if len(terms) == 1:
        ((modes, operand),) = terms
        return operand.permute([modes.index(mode) for mode in output])
    return _contraction(f"{','.join(modes for modes, _ in terms)}->{output}", [operand for _, operand in terms])


def _without_stretched(modes: str, operand: torch.Tensor, extents: dict[str, int]) -> tuple[str, torch.Tensor]:
    """Without axes of one element that stand for more, as in `torch.einsum`."""
    kept = [n == extents[mode] for mode, n in zip(modes, operand.shape, strict=True)]
    if all(kept):
        return modes, operand
    index = tuple([slice(None) if keep else 0 for keep in kept])
    return "".join([mode for mode, keep in zip(modes, kept, strict=True) if keep]), operand[index]


def _without_lone(modes: str, operand: torch.Tensor, elsewhere: str) -> tuple[str, torch.Tensor]:
    """The sum over axes whose modes are nowhere else."""
    alone = [axis for axis, mode in enumerate(modes) if mode not in elsewhere]
    return ("".join([mode for mode in modes if mode in elsewhere]), operand.sum(alone)) if alone else (modes, operand)


def _of_unique_modes(modes: str, operand: torch.Tensor) -> tuple[str, torch.Tensor]:
    """The diagonals that modes which are named twice stand for."""
    for mode in modes:
        while modes.count(mode) > 1:
            first, second = modes.index(mode), modes.rindex(mode)
            if operand.shape[first] != operand.shape[second]:
                raise ValueError(
                    f"the mode {mode!r} is that of two axes, of {operand.shape[first]} and of {operand.shape[second]} "
                    "elements; expected as many of both, for their diagonal"
                )
            operand = operand.diagonal(dim1=first, dim2=second)  # which has the diagonal as its last axis
            modes = modes[:first] + modes[first + 1 : second] + modes[second + 1 :] + mode
    return modes, operand


def _extents(expr: str, terms: list[tuple[str, torch.Tensor]]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for modes, operand in terms:
        for mode, n in zip(modes, operand.shape, strict=True):
            known = extents.get(mode, 1)
            if known != 1 and n not in (1, known):
                raise ValueError(f"in {expr!r} the mode {mode!r} has the extents {known} and {n}; expected one")
            extents[mode] = known if n == 1 else n
    return extents


def _named(expr: str, ranks: list[int]) -> tuple[list[str], str]:
    """The modes of each operand and of the result, with letters in place of ``...``."""
    expr = expr.replace(" ", "")
    given, arrow, output = expr.partition("->")
    terms = given.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"{expr!r} is for {len(terms)} operands, and {len(ranks)} are given")
    free = "".join([letter for letter in string.ascii_letters if letter not in expr])
    counts = [max(rank - len(modes) + 3, 0) if "..." in modes else 0 for modes, rank in zip(terms, ranks, strict=True)]
    dots = free[: max(counts)]
    inputs = [modes.replace("...", dots[len(dots) - n :]) for modes, n in zip(terms, counts, strict=True)]
    for modes, letters, rank in zip(terms, inputs, ranks, strict=True):
        if len(letters) != rank or not all(mode in string.ascii_letters for mode in letters):
            raise ValueError(f"in {expr!r} {modes!r} is for an operand of {rank} dimensions; give each a letter")
    if arrow:
        output = output.replace("...", dots)
    else:
        letters = "".join(inputs)
        output = dots + "".join(sorted([m for m in letters if letters.count(m) == 1 and m not in dots]))
    for mode in output:
        if output.count(mode) > 1 or not any(mode in modes for modes in inputs):
            raise ValueError(f"in {expr!r} the result has the mode {mode!r} twice, or no operand has it")
    return inputs, output
