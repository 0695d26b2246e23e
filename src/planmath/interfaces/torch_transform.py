"""Fourier transforms as an operator of PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

import planmath.fft
from planmath.fft.options import TURNED
from planmath.interfaces.torch_operators import at_front, not_as_views, register
from planmath.interfaces.torch_plans import executed

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "C2C": planmath.fft.fft, "R2C": planmath.fft.rfft, "C2R": planmath.fft.irfft,
}  # fmt: skip


def _factor(norm: str, inverse: bool, elements: int) -> float:
    if norm == "ortho":
        return 1 / math.sqrt(elements)
    return 1 / elements if norm == ("backward" if inverse else "forward") else 1.0


def _compute(x: torch.Tensor, axes: list[int], kind: str, inverse: bool, odd: bool, norm: str) -> torch.Tensor:
    if 0 in x.shape and all(x.shape[axis] for axis in axes):  # an empty batch
        return _fake(x, axes, kind, inverse, odd, norm)
    direction = 1 if inverse else -1
    planned = norm if x.is_cpu else "none"  # on devices, libraries do not scale
    of_calls = (kind, tuple(axes), direction, odd, planned, x.shape)
    result = executed(of_calls, direction, (x,))
    if result is None:
        with not_as_views():
            result = _first(of_calls, x.resolve_conj().resolve_neg(), axes, kind, direction, odd, planned)
    if planned != norm:
        whole = x if kind == "R2C" else result
        result *= _factor(norm, inverse, math.prod(whole.shape[axis] for axis in axes))
    return result


def _first(
    of_calls: tuple[Any, ...], x: torch.Tensor, axes: list[int], kind: str, direction: int, odd: bool, norm: str
) -> torch.Tensor:
    """The first transform of a kind of calls, or one that is not kept."""
    options: dict[str, Any] = {"result_layout": "C", "last_axis_parity": "odd" if odd else "even"}
    if norm != "none":
        options["norm"] = norm

    def plan(x: torch.Tensor) -> planmath.fft.FFT:
        transform = planmath.fft.FFT(x, axes=axes, options={**options, "fft_type": kind})
        try:
            transform.plan(direction=direction)
        except BaseException:
            transform.free()
            raise
        return transform

    result = executed(of_calls, direction, (x,), plan)
    if result is None:
        of_direction = {"direction": direction} if kind == "C2C" else {}
        result = _FUNCTIONS[kind](x, axes=axes, options=options, **of_direction)
    return result


def _fake(x: torch.Tensor, axes: list[int], kind: str, inverse: bool, odd: bool, norm: str) -> torch.Tensor:
    shape = list(x.shape)
    if kind == "C2C":
        return x.new_empty(shape)
    if kind == "R2C":
        shape[axes[-1]] = shape[axes[-1]] // 2 + 1
        return x.new_empty(shape, dtype=x.dtype.to_complex())
    shape[axes[-1]] = 2 * (shape[axes[-1]] - 1) + odd
    return x.new_empty(shape, dtype=x.dtype.to_real())


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> tuple[()]:
    x, ctx.axes, ctx.kind, ctx.inverse, ctx.odd, ctx.norm = inputs
    ctx.n = (output if ctx.kind == "C2R" else x).shape[ctx.axes[-1]]
    return ()


def _backward(transform: Any, ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    axes, inverse, n, norm = ctx.axes, ctx.inverse, ctx.n, TURNED.get(ctx.norm, ctx.norm)
    last = axes[-1]
    if ctx.kind == "C2C":
        of_x = transform(gradient, axes, "C2C", not inverse, False, norm)
    elif ctx.kind == "R2C":
        padding = [0, 0] * (gradient.ndim - 1 - last) + [0, n - gradient.shape[last]]
        whole = torch.nn.functional.pad(gradient, padding)
        of_x = transform(whole, axes, "C2C", True, False, norm).real
    else:  # what stands for two elements of the whole spectrum counts twice
        half = n // 2 + 1
        weights = torch.full((half,), 2.0, dtype=gradient.dtype, device=gradient.device)
        weights = torch.where(_is_single(half, n, gradient.device), 1.0, weights).to(gradient.dtype)
        of_x = transform(gradient, axes, "R2C", False, False, norm)
        of_x = of_x * weights.reshape(-1, *[1] * (gradient.ndim - 1 - last))
    return of_x, None, None, None, None, None


def _forward(ctx: Any, of_x: torch.Tensor, *_: Any) -> torch.Tensor:
    return _transform(of_x, ctx.axes, ctx.kind, ctx.inverse, ctx.odd, ctx.norm)


def _is_single(half: int, n: int, device: torch.device) -> torch.Tensor:
    """Which elements of a half spectrum stand for one of the whole."""
    index = torch.arange(half, device=device)
    return (index == 0) | (2 * index == n)


def _vmap(info: Any, in_dims: tuple[Any, ...], x: torch.Tensor, axes: list[int], *of: Any) -> tuple[torch.Tensor, int]:
    return _transform(at_front(x, in_dims[0]), [axis + 1 for axis in axes], *of), 0


_transform, _ = register(
    "transform(Tensor x, int[] axes, str kind, bool inverse, bool odd, str norm) -> Tensor",
    _compute,
    fake=_fake,
    backward=_backward,
    forward=_forward,
    save=_save,
    vmap=_vmap,
)


def _checked(
    name: str, x: torch.Tensor, axes: Sequence[int] | None, kind: str, inverse: bool, norm: str | None,
    odd: bool = False,
) -> torch.Tensor:  # fmt: skip
    is_real = kind == "R2C"
    if x.is_complex() == is_real or not (x.is_complex() or x.is_floating_point()):
        raise ValueError(f"{name}() got an operand of {x.dtype}; expected a {'real' if is_real else 'complex'} one")
    if norm is not None and norm not in TURNED:
        raise ValueError(f"norm is {norm!r}; expected 'backward', 'ortho', 'forward' or None")
    chosen = list(range(x.ndim)) if axes is None else list(axes)
    for axis in chosen:
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"axes has {axis}, which is out of range for an operand of {x.ndim} dimensions")
    chosen = [axis % x.ndim for axis in chosen]
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(f"axes is {axes}; expected at least one axis, and each once")
    return _transform(x, chosen, kind, inverse, odd, norm or "none")


def fft(x: torch.Tensor, *, axes: Sequence[int] | None = None, norm: str | None = None) -> torch.Tensor:
    """The forward transform of a complex tensor, as `planmath.fft.fft`, with gradients.

    Parameters
    ----------
    x : torch.Tensor
    axes : sequence of int, optional
        Default: all.
    norm : {'backward', 'ortho', 'forward'}, optional
        Which transforms are scaled, as in `torch.fft`. Default: none.
    """
    return _checked("fft", x, axes, "C2C", False, norm)


def ifft(x: torch.Tensor, *, axes: Sequence[int] | None = None, norm: str | None = None) -> torch.Tensor:
    """The inverse transform of a complex tensor, as `planmath.fft.ifft`, with gradients. Parameters: see `fft`."""
    return _checked("ifft", x, axes, "C2C", True, norm)


def rfft(x: torch.Tensor, *, axes: Sequence[int] | None = None, norm: str | None = None) -> torch.Tensor:
    """The transform of a real tensor, as `planmath.fft.rfft`, with gradients. Parameters: see `fft`."""
    return _checked("rfft", x, axes, "R2C", False, norm)


def irfft(
    x: torch.Tensor, *, axes: Sequence[int] | None = None, norm: str | None = None, last_axis_parity: str = "even"
) -> torch.Tensor:
    """The transform of a half spectrum back into a real tensor, as `planmath.fft.irfft`, with gradients.

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
