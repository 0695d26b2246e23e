"""Universal sparse tensors as tensors of PyTorch, for products without gradients, and models whose weights they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils import prune

from planmath.native.forks import load_module
from planmath.sparse.ust.tensor import Tensor

#: How many plans a tensor keeps, the most recently used.
PLANS = 8


class TorchUST(torch.Tensor):
    """A torch.Tensor that is a `ust.Tensor`: products with it are planmath's.

    `from_torch` makes one. It answers `detach`, `t`, `dot`, `mv`, `addmv`, `mm`, `addmm`, `matmul`, `linear`, `bmm`,
    `baddbmm`, the functions whose names end with ``_like``, and ``*=`` by a number; results are tensors of their own.

    Examples
    --------
    >>> import torch
    >>> from planmath.sparse.ust.interfaces.torch_interface import TorchUST
    >>> a = TorchUST.from_torch(torch.tensor([[0.0, 2], [1, 0]]).to_sparse())
    >>> a @ torch.tensor([1.0, 10])
    tensor([20.,  1.])
    """

    ust: Tensor
    transposed: bool
    _plans: OrderedDict[Any, Any]

    @staticmethod
    def from_torch(t: torch.Tensor) -> TorchUST:
        """The same tensor, dense or of any sparse layout; nothing is copied."""
        return TorchUST.of(Tensor.from_package(t))

    @staticmethod
    def of(tensor: Tensor, transposed: bool = False) -> TorchUST:
        """A tensor of PyTorch's around one whose arrays are PyTorch's."""
        if tensor.package != "torch":
            raise TypeError(f"tensor consists of {tensor.package} arrays; expected torch's")
        shape = tuple(tensor.extents[::-1] if transposed else tensor.extents)
        made = torch.Tensor._make_wrapper_subclass(TorchUST, shape, dtype=tensor.val.dtype, device=tensor.val.device)
        made.ust, made.transposed, made._plans = tensor, transposed, OrderedDict()
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"TorchUST({self.ust!r}{', transposed' if self.transposed else ''})"

    def product(self, other: torch.Tensor, first: bool) -> torch.Tensor:
        """``self @ other``, or with the other one first ``other @ self``."""
        key = first, tuple(other.shape), other.stride(), other.dtype, other.is_conj()
        plan = self._plans.pop(key, None)
        if plan is None:
            products = load_module("planmath.sparse.product")  # which stands above tensors
            qualifiers = np.zeros(3, products.matmul_matrix_qualifiers_dtype)
            qualifiers[0 if first else 1]["is_transpose"] = self.transposed
            plan = products.Matmul(*((self.ust, other) if first else (other, self.ust)), qualifiers=qualifiers)
            plan.plan()
        else:
            plan.reset_operands_unchecked(**{"b" if first else "a": other})
        result = plan.execute()
        plan._release_dense()
        self._plans[key] = plan
        if len(self._plans) > PLANS:
            self._plans.popitem(last=False)[1].free()
        return result

    def __del__(self) -> None:
        for plan in self.__dict__.get("_plans", {}).values():
            plan.free()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise NotImplementedError(f"{func} is not available for a TorchUST; convert it with .ust.to_package()")

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = _ANSWERS.get(getattr(func, "__name__", ""))
        if answer is not None:
            return answer(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _product(a: Any, b: Any) -> Any:
    if isinstance(a, TorchUST) and isinstance(b, TorchUST):
        raise NotImplementedError("both operands are TorchUST; expected one of them to be dense")
    return a.product(b, True) if isinstance(a, TorchUST) else b.product(a, False)


def _added(c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    found = alpha * _product(a, b)
    return found if beta == 0 else found + beta * c


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    found = _product(x.reshape(-1, x.shape[-1]), _t(weight)).reshape(*x.shape[:-1], weight.shape[0])
    return found if bias is None else found + bias


def _t(a: Any) -> Any:
    if a.dim() != 2:
        raise NotImplementedError(f"a TorchUST of {a.dim()} dimensions cannot be transposed; expected 2")
    found = a.__dict__.get("_other")
    if found is None:  # kept, for the plans that it has
        found = a.__dict__["_other"] = TorchUST.of(a.ust, not a.transposed)
    return found


def _permute(a: Any, *dims: Any) -> Any:
    order = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return a if tuple(d % a.dim() for d in order) == tuple(range(a.dim())) else _t(a)


def _scale(a: Any, factor: Any) -> Any:
    if isinstance(factor, torch.Tensor) and factor.dim():
        raise NotImplementedError("a TorchUST is multiplied in place by a number only")
    a.ust.val.mul_(factor)
    return a


def _like(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, **options: make(tuple(a.shape), **{"dtype": a.dtype, "device": a.device, **options})


#: PyTorch's functions and methods, by their names -> what answers them.
_ANSWERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("matmul", "__matmul__", "mm", "mv", "dot", "bmm"), _product),
    "__rmatmul__": lambda b, a: _product(a, b),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), _added),
    "linear": _linear, "t": _t, "permute": _permute, "detach": lambda a: TorchUST.of(a.ust, a.transposed),
    **dict.fromkeys(("mul_", "__imul__"), _scale),
    "zeros_like": _like(torch.zeros), "ones_like": _like(torch.ones), "empty_like": _like(torch.empty),
}  # fmt: skip


def prune_model(model: torch.nn.Module, *, local: bool = True, amount: float = 0.5) -> None:
    """Set the least weights of all linear layers to zero.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    local : bool
        Whether the share is that of each layer, or of all layers together.
    amount : float
        The share.
    """
    layers = [(layer, "weight") for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    if local:
        for layer, name in layers:
            prune.l1_unstructured(layer, name, amount)
    elif layers:
        prune.global_unstructured(layers, prune.L1Unstructured, amount=amount)
    for layer, name in layers:
        prune.remove(layer, name)


def reformat_model(model: torch.nn.Module, *, func: Callable[[torch.Tensor], Any] | None = None) -> None:
    """Replace the weights of all linear layers by `TorchUST`.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    func : callable, optional
        Makes a TorchUST of a weight, or returns None where it is to stay. Default: in COO format.
    """
    make = func or (lambda weight: TorchUST.from_torch(weight.to_sparse().coalesce()))
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            made = make(layer.weight.detach())
            if made is not None:
                layer.weight = torch.nn.Parameter(made, requires_grad=False)
