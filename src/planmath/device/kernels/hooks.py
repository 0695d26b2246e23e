"""All hooks, registered by importing what registers them."""

from __future__ import annotations

from typing import Any

from numba.cuda import types
from numba.cuda.descriptor import cuda_target

from planmath.device.function import DeviceFunction
from planmath.device.inside import KernelFunction
from planmath.device.kernels import fragments, objects, pipelines, products, random, solvers, transforms, vectors
from planmath.device.pipelines import DevicePipeline

REGISTERED = (fragments, pipelines, products, random, solvers, transforms)


def type_of(value: Any) -> Any:
    """Numba's type of an object that kernels can name."""
    if isinstance(value, DeviceFunction):
        return objects.type_of(value)
    if isinstance(value, DevicePipeline):
        return pipelines.type_of(value)
    if isinstance(value, KernelFunction):
        cuda_target.typing_context.refresh()
        return cuda_target.typing_context._lookup_global(value)
    return types.DType(vectors.of(value))


def _refresh() -> None:
    """Let the contexts see what was registered: Numba may be in the middle of a kernel."""
    cuda_target.typing_context.refresh()
    cuda_target.target_context.refresh()


_refresh()
