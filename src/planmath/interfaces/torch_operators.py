"""How planmath's operators are told to PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("planmath", "DEF")


def register(
    schema: str,
    compute: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    backward: Callable[..., Any],
    save: Callable[..., None],
    vmap: Callable[..., Any],
) -> Any:
    """An operator of PyTorch's.

    Parameters
    ----------
    schema : str
        Name, arguments and results, as in PyTorch's declarations.
    compute : callable
        What it does, on the CPU and on devices. It records nothing.
    fake : callable
        The same for tensors without values: shapes, strides, dtypes and devices of the results.
    backward : callable
        ``backward(ctx, *gradients)``: gradients of the arguments, by differentiable functions.
    save : callable
        ``save(ctx, inputs, output)``: keeps in the context what `backward` needs.
    vmap : callable
        ``vmap(info, in_dims, *arguments)``: the results for arguments with a further axis, and where they have it.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)

    def unrecorded(*arguments: Any) -> Any:
        with torch.no_grad():
            return compute(*arguments)

    _LIBRARY.impl(name, unrecorded, "CompositeExplicitAutograd")
    qualified = f"planmath::{name}"
    torch.library.register_fake(qualified, fake, lib=_LIBRARY)
    torch.library.register_autograd(qualified, backward, setup_context=save, lib=_LIBRARY)
    torch.library.register_vmap(qualified, vmap, lib=_LIBRARY)
    operator = getattr(torch.ops.planmath, name).default
    function = _function(operator, backward, save, vmap, "Tensor[]" in schema)

    def call(*arguments: Any) -> Any:
        if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is None:
            return operator(*arguments)
        return function(*arguments)

    return call


def _function(
    operator: Any, backward: Callable[..., Any], save: Callable[..., None], vmap: Callable[..., Any], takes_list: bool
) -> Callable[..., Any]:
    """The operator for the transforms of `torch.func`, which do not see gradients of operators, but those of functions.

    With `takes_list`, the second and last argument is a list of tensors, which functions take one by one.
    """

    def folded(flat: tuple[Any, ...]) -> tuple[Any, ...]:
        return (flat[0], list(flat[1:])) if takes_list else flat

    def flat(folded: tuple[Any, ...]) -> tuple[Any, ...]:
        return (folded[0], *folded[1]) if takes_list else folded

    class Composed(torch.autograd.Function):
        @staticmethod
        def forward(*arguments: Any) -> Any:
            return operator(*folded(arguments))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            save(ctx, folded(inputs), output)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return flat(backward(ctx, *gradients))

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
            return vmap(info, folded(in_dims), *folded(arguments))

    return lambda *arguments: Composed.apply(*flat(arguments))


def at_front(tensor: torch.Tensor, axis: int | None) -> torch.Tensor:
    """A tensor with an axis of `vmap` moved to the front, if it has one."""
    return tensor if axis is None else tensor.movedim(axis, 0)
