"""Memory of equal size on all ranks. No operation of planmath needs it: these are ordinary arrays."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import Any

from planmath.core.arrays import ITEMSIZE, Package, contiguous_strides, dtype_name, package_named
from planmath.core.collective.agreement import agreed
from planmath.core.log import LOGGER
from planmath.distributed.runtime import required_context

#: The packages whose arrays it makes, and the dtype that each makes where none is named.
DEFAULT_DTYPES = {"cupy": "float64", "torch": None}

#: What was made and not freed yet, by address: a reference to it, and its size in bytes.
_allocated: dict[int, tuple[Any, int]] = {}


def allocate_symmetric_memory(
    shape: int | Sequence[int],
    package: ModuleType,
    *,
    dtype: Any = None,
    axis_order: str | Sequence[int] = "C",
    make_symmetric: bool = False,
    skip_symmetric_check: bool = False,
    logger: logging.Logger | None = None,
) -> Any:
    """An uninitialized array of equal size on all ranks, on the context's device. Collective.

    Parameters
    ----------
    shape : int or sequence of int
    package : module
        cupy or torch.
    dtype : optional
        Default: float64 for cupy, torch's own default for torch.
    axis_order : {'C', 'F'} or sequence of int
        The order of the axes in memory; as a sequence the fastest one comes first.
    make_symmetric : bool
        Whether ranks may ask for different sizes: all get the largest.
    skip_symmetric_check : bool
        Whether the caller knows that sizes are equal.
    logger : logging.Logger, optional

    Returns
    -------
    array
        On a machine without a CUDA device, a tensor of torch on the host.

    Raises
    ------
    ValueError
        If `package` is neither, the order is none of the axes, or sizes differ and may not.
    RuntimeError
        Before `planmath.distributed.initialize`.
    """
    name = getattr(package, "__name__", None)
    if not isinstance(package, ModuleType) or name not in DEFAULT_DTYPES:
        raise ValueError(f"package is {package!r}; expected the module cupy or torch")
    if make_symmetric and skip_symmetric_check:
        raise ValueError("make_symmetric and skip_symmetric_check are both True; what is made equal has to be compared")
    context = required_context()
    group = context.process_group
    call = "allocate_symmetric_memory()"

    def specify() -> tuple[Package, tuple[int, ...], tuple[int, ...], str]:
        extents = (shape,) if isinstance(shape, int) else tuple(shape)
        if any(not isinstance(n, int) or n < 0 for n in extents):
            raise ValueError(f"shape is {shape!r}; expected an integer from 0 on, or a sequence of them")
        order = _order(axis_order, len(extents))
        chosen = dtype_name(dtype or DEFAULT_DTYPES[name] or str(package.get_default_dtype()))
        return package_named(name), extents, contiguous_strides(extents, order), chosen

    if skip_symmetric_check:
        of, extents, strides, chosen = specify()
        size = prod(extents) * ITEMSIZE[chosen]
    else:
        with agreed(group, call) as agreement:
            of, extents, strides, chosen = specify()
            agreement.equal = {"package": name, "make_symmetric": make_symmetric}
            agreement.local = [prod(extents) * ITEMSIZE[chosen]]
        sizes = [words[0] for words in agreement.everybody]
        size = max(sizes)
        if not make_symmetric and min(sizes) != size:
            raise ValueError(
                f"the arrays of the ranks have {sizes} bytes; expected the same on all ranks, or make_symmetric=True"
            )
    device = _device(context.device_id, name)
    memory = of.empty((-(-size // ITEMSIZE[chosen]),), (1,), of.dtype(chosen), device)
    array = of.with_strides(memory, of.layout(memory, "memory")._replace(shape=extents, strides=strides))
    address = of.address(array)
    _allocated[address] = array, size
    log = logger or LOGGER
    log.info("%s: %s bytes at %#x.", call, size, address)
    return array


def free_symmetric_memory(*tensors: Any) -> None:
    """Free arrays that `allocate_symmetric_memory` made, in the same order on all ranks.

    Raises
    ------
    TypeError
        If something is no array of cupy or torch.
    RuntimeError
        If an array was not made so, was freed before, or is a view of one.
    """
    addresses = []
    for tensor in tensors:
        module = type(tensor).__module__.partition(".")[0]
        if module not in DEFAULT_DTYPES or module not in sys.modules:
            raise TypeError(
                f"free_symmetric_memory() got a {type(tensor).__name__}; expected an array of cupy or torch"
            )
        address = package_named(module).address(tensor)
        made = _allocated.get(address)
        if made is None or address in addresses:
            raise RuntimeError(
                f"the array at {address:#x} was not made by allocate_symmetric_memory(), was freed, or is a view"
            )
        if made[0] is not tensor:
            raise RuntimeError(
                f"the array at {address:#x} is a view of one that allocate_symmetric_memory() made; pass that"
            )
        addresses.append(address)
    for address in addresses:
        del _allocated[address]


def _device(device_id: int, name: str) -> int | None:
    from planmath.core.cuda import devices

    missing = devices.missing()
    if missing is None:
        return device_id
    if name == "cupy":
        raise RuntimeError(f"cupy has arrays on CUDA devices alone, and there is none: {missing}")
    return None


def _order(axis_order: str | Sequence[int], ndim: int) -> tuple[int, ...]:
    """The axes from the slowest to the fastest."""
    if axis_order in ("C", "F"):
        return tuple(range(ndim)) if axis_order == "C" else tuple(reversed(range(ndim)))
    order = tuple(axis_order)
    if isinstance(axis_order, str) or sorted(order) != list(range(ndim)):  # type: ignore[type-var]
        raise ValueError(f"axis_order is {axis_order!r}; expected 'C', 'F' or the {ndim} axes, the fastest first")
    return tuple(reversed(order))  # type: ignore[arg-type]
