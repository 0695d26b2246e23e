"""Streams of the array packages, and work that keeps one busy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import pytest

#: Clock cycles of a device that passes about two a nanosecond: a delay of some 50 ms.
CYCLES = 100_000_000

#: Delays to try in turn where the host has to be done sooner, which may be held up by others.
LONGER = (CYCLES, 8 * CYCLES, 64 * CYCLES)

SPIN = """
extern "C" __global__ void spin(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


class TorchStreams:
    """What the tests need of PyTorch's streams, none of which waits for the default stream."""

    def new(self) -> Any:
        import torch

        return torch.cuda.Stream()

    def default(self) -> Any:
        import torch

        return torch.cuda.default_stream()

    def use(self, stream: Any) -> AbstractContextManager[Any]:
        """Make a stream the current one for a while."""
        import torch

        return torch.cuda.stream(stream)

    def current(self) -> int:
        """The address of the current stream."""
        import torch

        return torch.cuda.current_stream().cuda_stream

    def address(self, stream: Any) -> int:
        return stream.cuda_stream

    def delay(self, cycles: int = CYCLES) -> None:
        """Keep the current stream busy."""
        import torch

        torch.cuda._sleep(cycles)

    def busy(self, stream: Any) -> bool:
        return not stream.query()


class CuPyStreams:
    """The same of CuPy's."""

    def new(self) -> Any:
        import cupy

        return cupy.cuda.Stream(non_blocking=True)

    def default(self) -> Any:
        import cupy

        return cupy.cuda.Stream.null

    def use(self, stream: Any) -> AbstractContextManager[Any]:
        return stream

    def current(self) -> int:
        import cupy

        return cupy.cuda.get_current_stream().ptr

    def address(self, stream: Any) -> int:
        return stream.ptr

    def delay(self, cycles: int = CYCLES) -> None:
        spin()((1,), (1,), (cycles,))

    def busy(self, stream: Any) -> bool:
        return not stream.done


def outlasting(attempt: Callable[[int], bool]) -> None:
    """Make an attempt with a delay of so many cycles, then with longer ones until the host was done sooner."""
    for cycles in LONGER:
        if attempt(cycles):
            return
    pytest.fail(f"a device that was kept busy for {cycles} cycles was idle before the host had launched all work")


@cache
def spin() -> Any:
    """A kernel that does nothing for a while."""
    import cupy
    import numpy as np

    kernel = cupy.RawKernel(SPIN, "spin")

    def launch(grid: tuple[int], block: tuple[int], arguments: tuple[int]) -> None:
        kernel(grid, block, tuple(map(np.int64, arguments)))

    return launch


STREAMS: dict[str, Any] = {"torch-cuda": TorchStreams(), "cupy": CuPyStreams()}
