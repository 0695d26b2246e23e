"""PyTorch's tensors. Imported only when one comes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from planmath.core.arrays import ITEMSIZE, Bytes, Layout, Maker
from planmath.core.arrays.torch_functions import Found, Functions, find
from planmath.core.errors import UnsupportedLayoutError
from planmath.native.forks import computed

#: PyTorch's compiled functions for the programs that TorchInductor writes, where this version has them.
_INDUCTOR = getattr(getattr(torch._C, "_dynamo", None), "guards", None)

#: Tensors whose elements are not in memory as numbers at strides: what they are, how to tell, and what to do.
UNUSABLE: tuple[tuple[str, Callable[[torch.Tensor], bool], str], ...] = (
    ("nested tensor", lambda x: x.is_nested, "pass its parts from .unbind(), or torch.nested.to_padded_tensor of it"),
    ("quantized tensor", lambda x: x.is_quantized, "call .dequantize() on it"),
    ("tensor of layout {0.layout}", lambda x: x.layout is not torch.strided, "call .to_dense() on it"),
    ("tensor of zeros without memory", torch.Tensor._is_zerotensor, "call .clone() on it"),
)

#: What is behind `torch.autograd.graph.increment_version`, in half its time.
_INCREMENT: Any = getattr(torch._C, "_increment_version", None)


def _takes_several(increment: Any) -> bool:
    """Whether it takes any number of tensors, and not one only, as in earlier versions of PyTorch."""
    try:
        increment(())
    except TypeError:
        return False
    return True


def check_memory(tensor: torch.Tensor, argument: str) -> None:
    """Raise where a tensor has no elements in memory, although it looks as if it had."""
    try:
        present = tensor.numel() == 0 or (tensor.data_ptr() != 0 and not isinstance(tensor, FakeTensor))
    except RuntimeError:
        present = False
    if not present and _was_freed(tensor):
        raise TypeError(
            f"{argument} is a {type(tensor).__name__} whose storage was freed (untyped_storage().resize_(0), as in "
            "distributed training between uses); expected a tensor with values: call planmath while it has them"
        )
    if not present:
        raise TypeError(
            f"{argument} is a {type(tensor).__name__} without memory of its own, as in FakeTensorMode and within "
            "torch.func's transforms (vmap, grad, jvp, functionalize); expected a tensor with values: call planmath "
            "outside of these"
        )


def _was_freed(tensor: torch.Tensor) -> bool:
    """Whether a tensor that had elements has no memory for them any more."""
    try:
        return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.untyped_storage().nbytes() == 0
    except (RuntimeError, NotImplementedError):  # it has no storage at all
        return False


def _changed(tensors: tuple[torch.Tensor, ...]) -> None:
    for tensor in tensors:
        torch.autograd.graph.increment_version(tensor)


class Torch:
    name = "torch"
    array_type, parameter_type = torch.Tensor, torch.nn.Parameter
    host = "torch"
    out_of_memory = (torch.cuda.OutOfMemoryError,)
    differentiates = True
    #: PyTorch's functions by DLPack's C interface, where it has them.
    dlpack_exchange = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    #: Called with tensors that are written to, so that autograd can tell that they are not what it saved.
    changed = staticmethod(_INCREMENT if _takes_several(_INCREMENT) else _changed)
    _dtypes = {name: getattr(torch, name) for name in ITEMSIZE if hasattr(torch, name)}  # noqa: RUF012

    @computed
    def reading(self) -> Found:
        """How tensors are read at each execution."""
        return find()

    @property
    def functions(self) -> Functions | None:
        return self.reading.functions

    def how_read(self) -> str:
        """How tensors are read at each execution, and why not faster, in words."""
        if self.functions is not None:
            return "read by PyTorch's functions in C"
        way = "by Python" if self.dlpack_exchange is None else "by DLPack's functions"
        return f"read {way}: PyTorch's own cannot be used, because {self.reading.reason}"

    def layout(self, array: torch.Tensor, argument: str, *, lazy: bool = False) -> Layout:
        for what, is_such, mend in UNUSABLE:
            if is_such(array):
                raise UnsupportedLayoutError(f"{argument} is a {what.format(array)}; expected a dense tensor: {mend}")
        conjugate = array.is_conj()
        for what, is_pending in (("conj", conjugate and not lazy), ("neg", array.is_neg())):
            if is_pending:
                raise UnsupportedLayoutError(
                    f"{argument} is a view whose {what} is not carried out in memory; call .resolve_{what}() on it"
                )
        kind = array.device.type
        if kind not in ("cpu", "cuda"):
            mend = "make it anew on one of these, for it has no values" if kind == "meta" else "move it there"
            raise ValueError(
                f"{argument} is on the device {array.device}; expected one on the CPU or a CUDA device: {mend}"
            )
        check_memory(array, argument)
        dtype = str(array.dtype).removeprefix("torch.")
        return Layout(tuple(array.shape), array.stride(), dtype, kind, array.device.index, conjugate)

    def dtype(self, name: str) -> torch.dtype:
        return self._dtypes[name]

    def empty(
        self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None = None
    ) -> torch.Tensor:
        # the host is named as well: programs may have made another device the default
        return torch.empty_strided(shape, strides, dtype=dtype, device="cpu" if device_id is None else device_id)

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
        view = array.detach().as_subclass(torch.Tensor).as_strided(layout.shape, layout.strides)
        if type(view) is not torch.Tensor:
            raise TypeError(
                f"a view of a {type(array).__name__} is a {type(view).__name__}: a mode such as FakeTensorMode is "
                "active, whose tensors have no memory; call planmath outside of it"
            )
        return view

    def address(self, array: torch.Tensor) -> int:
        return array.data_ptr()

    def over(self, owner: Any, address: int, size: int, device_id: int | None) -> torch.Tensor:
        if device_id is None:
            return torch.from_numpy(np.asarray(Bytes(owner, address, size)))
        return torch.as_tensor(Bytes(owner, address, size, on_device=True), device=f"cuda:{device_id}")

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
