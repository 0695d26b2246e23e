"""What the rows about CUDA share: clocks, arrays on the device, captured graphs, and what the machine is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from bench.contender import Clock
from planmath.bindings import cublasLt, cufft, cutensor, runtime
from planmath.core.cuda import devices

#: The most launches before the device is waited for: a full queue would make the host wait, and that be measured.
LAUNCHES = 500

#: What a call costs the host, which goes on while the device works.
HOST = Clock(
    stop="taken = now() - start; wait(); return taken", names={"wait": runtime.device_synchronize}, most=LAUNCHES
)


#: For so many seconds, as long as a turn, a large product runs before it is timed: until the device's clocks are what
#: its power allows this one, and not the one before.
SETTLING = 0.03


@cache
def device_clock(lead: float = 0.0) -> Clock:
    """The time between two events on the default stream, one before the first call and one after the last."""
    begin, end = runtime.event_create(), runtime.event_create()

    def elapsed() -> int:
        runtime.event_synchronize(end)
        return int(1e6 * runtime.event_elapsed_time(begin, end))

    names = {"record": runtime.event_record, "begin": begin, "end": end, "elapsed": elapsed}
    return Clock("record(begin, 0)", "record(end, 0); return elapsed()", names, lead=lead)


# ---- arrays ----


def importable(package: str) -> Any:
    """The module of an array package: `torch` or `cupy`."""
    return importlib.import_module(package)


def on_device(array: np.ndarray, package: str) -> Any:
    """A copy on the device."""
    if package == "cupy":
        return importable("cupy").asarray(array)
    return importable("torch").from_numpy(array).cuda()


def address(array: Any) -> int:
    """Of its first element."""
    return int(array.data.ptr if hasattr(array.data, "ptr") else array.data_ptr())


# ---- graphs ----


def captured(steps: Sequence[Callable[[], object]]) -> Callable[[], None]:
    """A function that replays a CUDA graph of these steps, each of which puts work on torch's current stream."""
    torch = importable("torch")
    for step in steps:
        step()  # what a first call does, such as loading a kernel, cannot be captured
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for step in steps:
            step()
    replay: Callable[[], None] = graph.replay
    return replay


# ---- the machine ----


def facts() -> dict[str, Any]:
    """The device, its driver, and the versions of what runs on it."""
    device = devices.device(0)
    return {
        "device": device.name,
        "compute capability": ".".join(map(str, device.compute_capability)),
        "memory in bytes": device.total_memory,
        "driver for CUDA": dotted(runtime.driver_get_version()),
        "CUDA runtime": dotted(runtime.runtime_get_version()),
        "cuBLASLt": cublasLt._api.loaded_version,
        "cuFFT": cufft._api.loaded_version,
        "cuTENSOR": cutensor.LIBRARY.missing or cutensor._api.loaded_version,
        "cupy": module_version("cupy"),
    }


def dotted(version: int) -> str:
    """13000 as 13.0, as CUDA counts its versions."""
    return f"{version // 1000}.{version % 1000 // 10}"


def module_version(name: str) -> str | None:
    """For a package whose distributions have several names."""
    try:
        return str(importable(name).__version__)
    except ImportError:
        return None
