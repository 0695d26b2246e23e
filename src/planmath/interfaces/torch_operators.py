"""How planmath's operators are told to PyTorch, and the ways around its dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch._functorch import eager_transforms
from torch._functorch.autograd_function import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode

_LIBRARY = torch.library.Library("planmath", "DEF")

#: Tensors that have memory, and no rules of their own for what is done with them.
_PLAIN = {torch.Tensor, torch.nn.Parameter}

_JVP = torch._C._functorch.TransformType.Jvp

#: By which PyTorch tracks views.
_VIEWS = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)

# Asked in each call.
_transforming = torch._C._functorch.peek_interpreter_stack
_dispatch_modes, _function_modes = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack
_tracing, _is_grad_enabled = torch._C._get_tracing_state, torch.is_grad_enabled
_is_batched = torch._C._functorch.is_legacy_batchedtensor


def register(
    schema: str,
    compute: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    backward: Callable[..., Any],
    forward: Callable[..., Any],
    save: Callable[..., Sequence[torch.Tensor | None]],
    vmap: Callable[..., Any],
    traced: Callable[..., Any] | None = None,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator of PyTorch's.

    Parameters
    ----------
    schema : str
        Name, arguments and results, as in PyTorch's declarations.
    compute : callable
        What it does, on the CPU and on devices. It records nothing. Of two results the second one is there for
        gradients; it may be None.
    fake : callable
        The same for tensors without values: shapes, strides, dtypes and devices of the results.
    backward : callable
        ``backward(operator, ctx, *gradients)``: gradients of the arguments, by differentiable functions, and by
        `operator`: this one, or what stands for it where nobody else has anything to say, or where it is traced.
    forward : callable
        ``forward(ctx, *tangents)``: tangents of the results from those of the arguments, by differentiable functions;
        None stands for a tangent of zero.
    save : callable
        ``save(ctx, inputs, output)``: keeps in the context what `backward` and `forward` need, and returns the tensors
        that these find in its ``saved_tensors``.
    vmap : callable
        ``vmap(info, in_dims, *arguments)``: the results for arguments with a further axis, and where they have it.
    traced : callable, optional
        The same by PyTorch's own operators, for gradients in programs that are compiled, in which they are fused with
        what is around them.

    Returns
    -------
    callable
        The operator, whose second result may be None. The dispatcher and what PyTorch registers for operators in Python
        takes four times as long as a small product, so where nobody but autograd has anything to say it is left out.
    callable
        The same with all results, which have gradients.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)

    def unrecorded(*arguments: Any) -> Any:
        if _is_grad_enabled():
            with torch.no_grad():
                return unrecorded(*arguments)
        results = compute(*arguments)
        return tuple([present(x, arguments[0]) for x in results]) if type(results) is tuple else results

    def batched(*arguments: Any) -> Any:
        return _mapped(vmap, takes_list, arguments)

    taken, _, returned = schema.partition("->")
    takes_list, count, has_two = "Tensor[]" in taken, taken.count("Tensor"), returned.count("Tensor") == 2
    _LIBRARY.impl(name, unrecorded, "CompositeExplicitAutograd")
    _LIBRARY.impl(name, batched, "Batched")
    qualified = f"planmath::{name}"
    torch.library.register_fake(qualified, fake, lib=_LIBRARY)
    torch.library.register_vmap(qualified, vmap, lib=_LIBRARY)
    operator = getattr(torch.ops.planmath, name).default
    composed = _composed(operator, lambda *of: backward(call, *of), forward, save, vmap, takes_list)
    recorded = _recorded(compute, lambda *of: call(*of), backward, save, takes_list, count)

    def in_graphs(*of: Any) -> Any:
        return backward(call if traced is None or get_proxy_mode() is None else traced, *of)

    dispatched = _dispatched(operator, unrecorded, in_graphs, save, takes_list, count)
    _LIBRARY.impl(name, dispatched, "Autograd", with_keyset=True)

    def call(*arguments: Any) -> Any:
        if torch.compiler.is_compiling():
            _refuse_tangents()
            return operator(*arguments)
        if forward_ad._current_level >= 0 or _transforming() is not None:
            return composed(*arguments)
        wants_gradient = False
        for tensor in arguments[1] if takes_list else arguments[:count]:
            if type(tensor) in _PLAIN:
                if not wants_gradient:
                    wants_gradient = tensor.requires_grad
            elif tensor is not None:
                return operator(*arguments)
        if _dispatch_modes() or _function_modes() or _tracing() is not None:
            return operator(*arguments)
        try:
            if not (wants_gradient and _is_grad_enabled()):
                return compute(*arguments)
            if takes_list:
                return recorded(arguments[0], *arguments[1])
            result = recorded(*arguments[:count], arguments[count:])
            return (result, None) if has_two else result
        except Exception:
            if any(map(_is_known_to_dispatcher_only, arguments[1] if takes_list else arguments[:count])):
                return operator(*arguments)
            raise

    def whole(*arguments: Any) -> Any:
        if forward_ad._current_level >= 0 or _transforming() is not None:
            return call(*arguments)
        return operator(*arguments)

    return call, whole


def _is_left_alone(tensors: Sequence[torch.Tensor | None]) -> bool:
    """Whether nobody but autograd has anything to say about what is done with tensors."""
    for tensor in tensors:
        if tensor is not None and (type(tensor) not in _PLAIN or tensor.is_meta or _is_batched(tensor)):
            return False
    return (
        not (_dispatch_modes() or _function_modes() or torch.compiler.is_compiling())
        and _tracing() is _transforming() is None
        and forward_ad._current_level < 0
    )


def _refuse_tangents() -> None:
    """Compiled operators have none: PyTorch would take them for 0."""
    if eager_transforms.JVP_NESTING > 0 or forward_ad._current_level >= 0:
        raise NotImplementedError(
            "tangents (torch.func.jvp, dual numbers) of planmath's functions are not compiled: compile the function "
            "without them, or leave torch.compile away"
        )


def not_as_views() -> Any:
    """Within this, what is a view of a result is a tensor like others to autograd, that may be changed in place."""
    return torch._C._ExcludeDispatchKeyGuard(_VIEWS)


# The older `vmap`, in which batched gradients are computed (`is_grads_batched`, ``jacobian(vectorize=True)``). No stack
# tells that it is there, and its tensors look like others.


def _mapped_size(x: Any, level: int) -> int | None:
    """How many tensors one is that is mapped at a level. One that is not would be repeated as often as asked for."""
    if not (isinstance(x, torch.Tensor) and _is_batched(x)):
        return None
    one, two = (torch._remove_batch_dim(x, level, n, 0).shape[0] for n in (1, 2))
    return one if one == two else None


def _is_known_to_dispatcher_only(tensor: Any) -> bool:
    """Whether a tensor has no memory that can be computed with, and operators have rules for it all the same."""
    return tensor is not None and (tensor.is_meta or _is_batched(tensor))


class _Info(NamedTuple):
    """What rules for `vmap` are told."""

    batch_size: int
    randomness: str = "error"


def _mapped(vmap: Callable[..., Any], takes_list: bool, arguments: tuple[Any, ...]) -> Any:
    """An operator of such tensors, by the rule for `vmap`, of those that the innermost mapping maps."""
    flat = [*arguments[:1], *arguments[1]] if takes_list else arguments
    level = torch._C._vmapmode_increment_nesting()
    torch._C._vmapmode_decrement_nesting()
    sizes: list[int | None] = []
    while not any(sizes):
        level -= 1
        sizes = [_mapped_size(x, level) for x in flat]
    size = next(n for n in sizes if n is not None)
    dims = [None if n is None else 0 for n in sizes]
    given = [x if n is None else torch._remove_batch_dim(x, level, size, 0) for x, n in zip(flat, sizes, strict=True)]
    results, axes = vmap(_Info(size), _folded(tuple(dims), takes_list), *_folded(tuple(given), takes_list))
    if not isinstance(results, tuple):
        return results if axes is None else torch._add_batch_dim(results, axes, level)
    return tuple(
        [x if axis is None else torch._add_batch_dim(x, axis, level) for x, axis in zip(results, axes, strict=True)]
    )


def _recorded(
    compute: Callable[..., Any], call: Callable[..., Any], backward: Callable[..., Any], save: Callable[..., Any],
    takes_list: bool, count: int,
) -> Callable[..., Any]:  # fmt: skip
    """The operator as a function that autograd records.

    It has one result only, and one argument for all that are no tensors, for what autograd does about each takes time.
    Gradients that are recorded compute the second result again: of what was saved and is no result they would see no
    derivative.
    """

    class Recorded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            given = _folded(arguments, True) if takes_list else (*arguments[:count], *arguments[count])
            output = compute(*given)
            ctx.saves_constants = True
            ctx.save_for_backward(*save(ctx, given, output))
            return output[0] if type(output) is tuple else output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            by = call if _is_grad_enabled() or not _is_left_alone(gradients) else compute
            found = backward(by, ctx, *gradients)
            return _flat(found, True) if takes_list else (*found[:count], None)

    # `Function.apply` looks for defaults and for transforms of `torch.func` first, which takes longer than all the rest
    return super(torch.autograd.Function, Recorded).apply


def _dispatched(
    operator: Any, unrecorded: Callable[..., Any], backward: Callable[..., Any], save: Callable[..., Any],
    takes_list: bool, count: int,
) -> Callable[..., Any]:  # fmt: skip
    """What the dispatcher calls for gradients: as PyTorch's own, but for transforms of `torch.func` as well."""

    def below(keys: Any, *arguments: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operator.redispatch(keys & torch._C._after_autograd_keyset, *arguments)

    class Dispatched(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            *flat, keys = arguments
            given = _folded(tuple(flat), takes_list)
            with torch.enable_grad():  # which functions switch off, and outer transforms need
                output = below(keys, *given)
            ctx.save_for_backward(*save(ctx, given, output))
            return output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return *_flat(backward(ctx, *gradients), takes_list), None

    apply = super(torch.autograd.Function, Dispatched).apply

    def autograd(keys: Any, *arguments: Any) -> Any:
        tensors = arguments[1] if takes_list else arguments[:count]
        if _is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors):
            with enable_single_level_autograd_function():
                return apply(*_flat(arguments, takes_list), keys)
        if _is_left_alone(tensors):
            return unrecorded(*arguments)  # of compiled programs: there is nothing below
        return below(keys, *arguments)

    return autograd


def _composed(
    operator: Any, backward: Callable[..., Any], forward: Callable[..., Any], save: Callable[..., Any],
    vmap: Callable[..., Any], takes_list: bool,
) -> Callable[..., Any]:  # fmt: skip
    """The operator for the transforms of `torch.func`, which do not see gradients of operators, but those of functions.

    Forward-mode differentiation is one of them, and is for functions only where no transform is.
    """

    class Composed(torch.autograd.Function):
        @staticmethod
        def forward(*arguments: Any) -> Any:
            return operator(*_folded(arguments, takes_list))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            tensors = save(ctx, _folded(inputs, takes_list), output)
            ctx.save_for_backward(*tensors)
            ctx.save_for_forward(*tensors)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return _flat(backward(ctx, *gradients), takes_list)

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            if sum(level.key() == _JVP for level in torch._C._functorch.get_interpreter_stack() or ()) > 1:
                raise NotImplementedError(
                    "forward-mode differentiation within forward-mode differentiation, a jvp or jacfwd of another one, "
                    "loses terms at functions written in Python; take jacrev for one of the two, as torch.func.hessian "
                    "does"
                )
            return forward(ctx, *_folded(tangents, takes_list))

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
            return vmap(info, _folded(in_dims, takes_list), *_folded(arguments, takes_list))

    return lambda *arguments: Composed.apply(*_flat(arguments, takes_list))


def _folded(flat: tuple[Any, ...], takes_list: bool) -> tuple[Any, ...]:
    """Arguments of an operator, of which the second and last may be a list of tensors, from those of a function."""
    return (flat[0], list(flat[1:])) if takes_list else flat


def _flat(folded: tuple[Any, ...], takes_list: bool) -> tuple[Any, ...]:
    """The same the other way round: functions take tensors one by one."""
    return (folded[0], *folded[1]) if takes_list else folded


def present(result: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """A result as operators have it, which know none that is not there."""
    return like.new_empty(0) if result is None else result


def at_front(tensor: torch.Tensor, axis: int | None) -> torch.Tensor:
    """A tensor with an axis of `vmap` moved to the front, if it has one."""
    return tensor if axis is None else tensor.movedim(axis, 0)
