"""Operands whose buffers hold the result as well."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import product
from types import ModuleType
from typing import Any

from planmath.core.arrays import COMPLEX_OF, ITEMSIZE, contiguous_strides, dtype_name, package_named
from planmath.core.collective.agreement import agreed
from planmath.core.cuda import devices
from planmath.core.log import LOGGER
from planmath.distributed.distribution.distributions import Box, Distribution
from planmath.distributed.fft import memory
from planmath.distributed.fft.options import FFTOptions
from planmath.distributed.fft.specification import as_given, kind_of, padded_strides, specify
from planmath.distributed.runtime import required_context

SPACES = ("cpu", "cuda")


def allocate_operand(
    shape: Sequence[int],
    package: ModuleType,
    *,
    input_dtype: Any = None,
    distribution: Distribution | Sequence[Box],
    memory_space: str | None = None,
    fft_type: str | None = None,
    logger: logging.Logger | None = None,
) -> Any:
    """An uninitialized operand of a transform, whose buffer holds the result as well. Collective.

    Parameters
    ----------
    shape : sequence of int
        Of this rank's part.
    package : module
        numpy or torch.
    input_dtype : optional
        Default: float64 for R2C, else complex128.
    distribution : Slab, BlockCyclic, BlockNonCyclic, or pair of Box
        As for `FFT`.
    memory_space : {'cpu', 'cuda'}, optional
        Must be given for torch.
    fft_type : {'C2C', 'R2C', 'C2R'}, optional
        Default: by the dtype.
    logger : logging.Logger, optional

    Returns
    -------
    array
        For R2C of slabs its last axis is padded to ``2 * (n // 2 + 1)`` elements.

    Raises
    ------
    ValueError, TypeError
        If the arguments do not describe an operand, on any rank.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.fft import Slab, allocate_operand
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nvshmem"])
    >>> a = allocate_operand((4, 6), np, input_dtype=np.float64, distribution=Slab.X, fft_type="R2C")
    >>> a.shape, a.strides
    ((4, 6), (64, 8))
    >>> distributed.finalize()
    """
    context = required_context()
    group = context.process_group
    with agreed(group, "allocate_operand()") as agreement:
        name = getattr(package, "__name__", None)
        if name not in ("numpy", "cupy", "torch"):
            raise ValueError(f"package is {package!r}; expected the module numpy, cupy or torch")
        space = _space(name, memory_space)
        if space == "cuda":
            devices.device(context.device_id)  # explains why there is none
        options = FFTOptions(fft_type=fft_type)  # type: ignore[arg-type]
        dtype = dtype_name(input_dtype or ("float64" if fft_type == "R2C" else "complex128"))
        kind = kind_of(dtype, options)
        extents = tuple(shape)
        if not extents or any(not isinstance(n, int) or n < 0 for n in extents):
            raise ValueError(f"shape is {shape!r}; expected a sequence of integers from 0 on")
        given = as_given(distribution, len(extents))
        pads = dtype in COMPLEX_OF and given.result is None
        strides = padded_strides(extents, len(extents) - 1) if pads else contiguous_strides(extents)
        agreement.equal = {
            "package": name, "memory_space": space, "the dtype": dtype, "the number of axes": len(extents),
            "fft_type": kind, "distribution": given.described(),
        }  # fmt: skip
        agreement.local = *extents, *strides, *given.corners(len(extents))
    axes = tuple(range(len(extents)))
    size = 0
    for redistribute, parity in product((True, False), ("even", "odd")):
        one = FFTOptions(fft_type=kind, redistribute=redistribute, last_axis_parity=parity)  # type: ignore[arg-type]
        try:
            problems = specify(kind, dtype, axes, given, one, len(extents), agreement.everybody, ("cpu", 1))
        except ValueError:
            continue  # of distributions that have no other slab, and boxes of the other parity
        size = max(size, problems[group.rank].capacity)
    if not size:  # nothing fits: say why
        one = FFTOptions(fft_type=kind)  # type: ignore[arg-type]
        specify(kind, dtype, axes, given, one, len(extents), agreement.everybody, ("cpu", 1))
    of = package_named(name)
    device_id = context.device_id if space == "cuda" else None
    with devices.on(device_id):
        buffer = of.empty((-(-size // 16) * 16 // ITEMSIZE[dtype],), (1,), of.dtype(dtype), device_id)
    (logger or LOGGER).info("allocate_operand(): %s bytes for %s %s.", size, dtype, extents)
    return memory.view(of, buffer, extents, strides, dtype)


def _space(name: str, memory_space: str | None) -> str:
    if memory_space is None:
        if name == "torch":
            raise ValueError("memory_space was not given; pass 'cpu' or 'cuda' for tensors of torch")
        return "cuda" if name == "cupy" else "cpu"
    if memory_space not in SPACES:
        raise ValueError(f"memory_space is {memory_space!r}; expected 'cpu' or 'cuda'")
    if (name, memory_space) in (("numpy", "cuda"), ("cupy", "cpu")):
        raise ValueError(f"memory_space is {memory_space!r}, where {name} has no arrays")
    return memory_space
