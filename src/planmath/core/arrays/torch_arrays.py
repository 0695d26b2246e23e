"""PyTorch's tensors. Imported only when one comes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch

from planmath.core.arrays import ITEMSIZE, Layout, Maker
from planmath.core.errors import UnsupportedLayoutError

#: PyTorch's compiled functions for the programs that TorchInductor writes, where this version has them.
_INDUCTOR = getattr(getattr(torch._C, "_dynamo", None), "guards", None)

#: What is behind `torch.autograd.graph.increment_version`, in half its time.
_INCREMENT: Any = getattr(torch._C, "_increment_version", None)


def _takes_several(increment: Any) -> bool:
    """Whether it takes any number of tensors, and not one only, as in earlier versions of PyTorch."""
    try:
        increment(())
    except TypeError:
        return False
    return True


def _changed(tensors: tuple[torch.Tensor, ...]) -> None:
    for tensor in tensors:
        torch.autograd.graph.increment_version(tensor)


class Torch:
    name = "torch"
    array_type = torch.Tensor
    host = "torch"
    out_of_memory = (torch.cuda.OutOfMemoryError,)
    differentiates = True
    #: PyTorch's functions by DLPack's C interface, where it has them.
    dlpack_exchange = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    #: Called with tensors that are written to, so that autograd can tell that they are not what it saved.
    changed = staticmethod(_INCREMENT if _takes_several(_INCREMENT) else _changed)
    _dtypes = {name: getattr(torch, name) for name in ITEMSIZE if hasattr(torch, name)}  # noqa: RUF012

    def __init__(self) -> None:
        self.requires_grad = torch.Tensor.requires_grad  # the property itself

    def layout(self, array: torch.Tensor, argument: str) -> Layout:
        if array.layout is not torch.strided:
            raise UnsupportedLayoutError(f"{argument} is a tensor of layout {array.layout}; call .to_dense() on it")
        for lazy, mend in (("conj", "resolve_conj"), ("neg", "resolve_neg")):
            if getattr(array, f"is_{lazy}")():
                raise UnsupportedLayoutError(
                    f"{argument} is a view whose {lazy} is not carried out in memory; call .{mend}() on it"
                )
        kind = array.device.type
        if kind not in ("cpu", "cuda"):
            raise ValueError(f"{argument} is on the device {array.device}; expected one on the CPU or a CUDA device")
        dtype = str(array.dtype).removeprefix("torch.")
        return Layout(tuple(array.shape), array.stride(), dtype, kind, array.device.index)

    def dtype(self, name: str) -> torch.dtype:
        return self._dtypes[name]

    def empty(
        self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None = None
    ) -> torch.Tensor:
        return torch.empty_strided(shape, strides, dtype=dtype, device=device_id)

    def maker(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None) -> Maker:
        # what TorchInductor's programs allocate with takes less time than empty_like, and that less than empty_strided
        quick = getattr(_INDUCTOR, "_empty_strided_cpu" if device_id is None else "_empty_strided_cuda", None)
        if quick is not None:  # on the current device
            return quick, (shape, strides, dtype)
        # what empty_like copies the layout from needs no memory
        prototype = self.empty(shape, strides, dtype, device_id)
        prototype.untyped_storage().resize_(0)
        if torch.empty_like(prototype).stride() == strides:
            return torch.empty_like, (prototype,)
        return self.empty, (shape, strides, dtype, device_id)

    def with_strides(self, array: torch.Tensor, layout: Layout) -> torch.Tensor:
        return array.detach().as_subclass(torch.Tensor).as_strided(layout.shape, layout.strides)

    def address(self, array: torch.Tensor) -> int:
        return array.data_ptr()

    def is_writeable(self, array: torch.Tensor) -> bool:
        return not array.is_inference() or torch.is_inference_mode_enabled()

    def records(self, array: torch.Tensor) -> bool:
        return array.requires_grad and torch.is_grad_enabled()

    def current_stream(self, device_id: int) -> Callable[[], int]:
        return partial(torch._C._cuda_getCurrentRawStream, device_id)

    def stream_object(self, device_id: int) -> Any:
        return torch.cuda.current_stream(device_id)

    def on_stream(self, stream: int, device_id: int) -> AbstractContextManager[Any]:
        # ExternalStream(0) is not the default stream, but one of PyTorch's own
        default = torch.cuda.default_stream(device_id)
        return torch.cuda.stream(torch.cuda.ExternalStream(stream, device_id) if stream else default)

    def allocate(self, size: int, device_id: int) -> tuple[Any, int]:
        memory = torch.empty(size, dtype=torch.uint8, device=device_id)
        return memory, memory.data_ptr()


PACKAGE = Torch()
