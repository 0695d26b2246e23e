"""PyTorch's tensors. Imported only when one comes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from planmath.core.arrays import ITEMSIZE, Layout
from planmath.core.arrays.numpy_arrays import share_memory
from planmath.core.errors import UnsupportedLayoutError


class Torch:
    name = "torch"
    array_type = torch.Tensor
    _dtypes = {name: getattr(torch, name) for name in ITEMSIZE}  # noqa: RUF012

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

    def empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device: Any = None) -> torch.Tensor:
        return torch.empty_strided(shape, strides, dtype=dtype, device=device)

    def with_strides(self, array: torch.Tensor, layout: Layout) -> torch.Tensor:
        return array.detach().as_subclass(torch.Tensor).as_strided(layout.shape, layout.strides)

    def to_numpy(self, array: torch.Tensor) -> np.ndarray:
        array = array.detach()
        return array.view(torch.int16).numpy() if array.dtype is torch.bfloat16 else array.numpy()

    def is_writeable(self, array: torch.Tensor) -> bool:
        return not array.is_inference() or torch.is_inference_mode_enabled()

    def share_memory(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        return share_memory(self.to_numpy(a), self.to_numpy(b))

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        copy = torch.empty_strided(array.shape, torch.empty_like(array).stride(), dtype=array.dtype)
        return copy.copy_(array.detach())


PACKAGE = Torch()
