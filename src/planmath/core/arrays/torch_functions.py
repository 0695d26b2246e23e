"""PyTorch's own functions in C and C++ for what tensors are asked at each execution.

Through Python a question takes 20 to 90 ns, and an execution of a small product has ten of them. The functions behind
take 2 to 4 ns. They are reached by their names in PyTorch's libraries, and get the ``at::Tensor`` that lies within
the object of Python's. Neither is promised to stay: what is not found, or does not answer as the properties in Python
do, is not used at all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from threading import Thread
from typing import Any, NamedTuple

import torch

WORD = ctypes.sizeof(ctypes.c_void_p)

#: Functions of PyTorch's stable interface in C, of a tensor and a place for the result, which return 0 or an error; and
#: some of C++, whose names tell the types of arguments, so that a function with others is not found.
SYMBOLS = {
    "data": "aoti_torch_get_data_ptr",
    "dim": "aoti_torch_get_dim",
    "sizes": "aoti_torch_get_sizes",
    "strides": "aoti_torch_get_strides",
    "dtype": "aoti_torch_get_dtype",
    "device_type": "aoti_torch_get_device_type",
    "device_index": "aoti_torch_get_device_index",
    "is_conj": "_ZN2at6native7is_conjERKNS_6TensorE",  # at::native::is_conj(at::Tensor const&)
    "is_neg": "_ZN2at6native6is_negERKNS_6TensorE",
    "is_inference": "_ZN2at6native12is_inferenceERKNS_6TensorE",
    "requires_grad": "_ZNK3c1010TensorImpl13requires_gradEv",  # c10::TensorImpl::requires_grad() const
    "bump_version": "_ZN5torch8autograd4impl12bump_versionERKN2at6TensorE",  # torch::autograd::impl::bump_version
}

#: The types of results that are written to a place.
RESULTS: dict[str, Any] = {
    "data": ctypes.c_void_p, "dim": ctypes.c_int64, "sizes": ctypes.POINTER(ctypes.c_int64),
    "strides": ctypes.POINTER(ctypes.c_int64), "dtype": ctypes.c_int32, "device_type": ctypes.c_int32,
    "device_index": ctypes.c_int32,
}  # fmt: skip

#: How each of the other questions is asked in Python.
QUESTIONS: dict[str, Callable[[torch.Tensor], bool]] = {
    "is_conj": torch.Tensor.is_conj, "is_neg": torch.Tensor.is_neg, "is_inference": torch.Tensor.is_inference,
    "requires_grad": lambda tensor: tensor.requires_grad,
}  # fmt: skip


class Functions(ctypes.Structure):
    """Where PyTorch's functions are, and where they find the tensor: `pm_tensors` in `core/tensors.pxd`."""

    _fields_ = [("place", ctypes.c_ssize_t), *((name, ctypes.c_void_p) for name in SYMBOLS)]

    @property
    def address(self) -> int:
        return ctypes.addressof(self)


class Found(NamedTuple):
    functions: Functions | None
    reason: str
    """Why they are not used; empty where they are."""


class _Difference(Exception):
    """PyTorch is not as it is expected here."""


def find() -> Found:
    """Look for the functions, and compare what they answer with what Python does."""
    found = [Found(None, "they could not be verified")]

    def verify() -> None:
        try:
            found[0] = Found(_verified(), "")
        except (_Difference, AttributeError, OSError, RuntimeError, TypeError, ValueError) as difference:
            found[0] = Found(None, str(difference).partition("\n")[0])

    # modes that give tensors other meanings, FakeTensorMode or those of torch.func, belong to a thread
    thread = Thread(target=verify, name="planmath asks PyTorch")
    try:
        thread.start()
    except RuntimeError as refusal:
        return Found(None, f"they could not be verified: {refusal}")
    thread.join()
    return found[0]


def _verified() -> Functions:
    library = ctypes.PyDLL(torch._C.__file__)  # names are looked for in the libraries that it needs as well
    samples = list(_samples())
    functions = Functions(_place(samples))
    for name, symbol in SYMBOLS.items():
        setattr(functions, name, ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value)
    codes: dict[torch.dtype, int] = {}
    for tensor in samples:
        told = {name: _ask(functions, name, tensor) for name in RESULTS}
        n = tensor.ndim
        _compare(tensor, "data", told["data"] or 0, tensor.data_ptr())
        _compare(tensor, "dim", told["dim"], n)
        _compare(tensor, "sizes", tuple(told["sizes"][:n]), tuple(tensor.shape))
        _compare(tensor, "strides", tuple(told["strides"][:n]), tensor.stride())
        _compare(tensor, "dtype", told["dtype"], codes.setdefault(tensor.dtype, told["dtype"]))
        _compare(tensor, "device_index", told["device_index"], -1)
        for name, question in QUESTIONS.items():
            _compare(tensor, name, _is(functions, name, tensor), question(tensor))
        if not tensor.is_inference():
            before = tensor._version
            ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(functions.bump_version)(id(tensor) + functions.place)
            _compare(tensor, "bump_version", tensor._version, before + 1)
    if len(set(codes.values())) != len(codes):
        raise _Difference("dtypes have no numbers of their own")
    if _ask(functions, "device_type", torch.empty(2, device="meta")) == _ask(functions, "device_type", samples[0]):
        raise _Difference("devices have no numbers of their own")
    return functions


class _Derived(torch.Tensor):
    pass


def _samples() -> Iterator[torch.Tensor]:
    """Tensors on the host of which no two have all properties in common."""
    for dtype in ("uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"):
        yield torch.zeros((2, 3), dtype=getattr(torch, dtype), device="cpu")
    number = torch.zeros((4, 5, 6), dtype=torch.complex128, device="cpu")
    yield from (number, number[1:, ::2, 3], number.conj(), number.conj().imag, number.mT, number[0, 0, 0])
    weight = torch.ones((3, 3), dtype=torch.float32, device="cpu", requires_grad=True)
    yield from (weight, weight * 2, weight.detach(), torch.nn.Parameter(weight.detach()))
    yield torch.zeros(3, dtype=torch.float32, device="cpu").as_subclass(_Derived)
    with torch.inference_mode():
        yield torch.zeros(3, dtype=torch.float32, device="cpu")


def _place(samples: Iterable[torch.Tensor]) -> int:
    """Bytes from the beginning of an object of Python's to the pointer that an ``at::Tensor`` is."""
    places = range(object.__basicsize__, torch.Tensor.__base__.__basicsize__ - WORD + 1, WORD)  # type: ignore[union-attr]
    found = [
        place for place in places
        if all(ctypes.c_void_p.from_address(id(tensor) + place).value == tensor._cdata for tensor in samples)
    ]  # fmt: skip
    if len(found) != 1:
        raise _Difference(f"the tensor is at {len(found)} places of an object")
    return found[0]


def _ask(functions: Functions, name: str, tensor: torch.Tensor) -> Any:
    result = RESULTS[name]()
    ask = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(getattr(functions, name))
    if ask(id(tensor) + functions.place, ctypes.addressof(result)):
        raise _Difference(f"{SYMBOLS[name]} fails")
    return getattr(result, "value", result)


def _is(functions: Functions, name: str, tensor: torch.Tensor) -> bool:
    ask = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(getattr(functions, name))
    return ask(tensor._cdata if name == "requires_grad" else id(tensor) + functions.place)


def _compare(tensor: torch.Tensor, name: str, told: Any, expected: Any) -> None:
    if told != expected:
        raise _Difference(f"{SYMBOLS[name]} tells {told} of a tensor of which Python tells {expected}")
