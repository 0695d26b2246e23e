"""Allocators for the tests, and the pools of the packages."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import planmath
from planmath.bindings import runtime

MIB = 1 << 20


class Recording:
    """An allocator that counts what it gives, and may be told to fail."""

    def __init__(self, device_id: int = 0, logger: logging.Logger | None = None):
        self.sizes: list[int] = []
        self.living: set[int] = set()
        self.failure: Exception | None = None

    def given(self, address: int, size: int, give_back: Callable[[], None]) -> planmath.MemoryPointer:
        self.sizes.append(size)
        self.living.add(address)

        def finalizer() -> None:
            self.living.remove(address)
            give_back()

        return planmath.MemoryPointer(address, size, finalizer)

    def fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Manager(Recording):
    def memalloc(self, size: int) -> planmath.MemoryPointer:
        self.fail()
        address = runtime.malloc(size)
        return self.given(address, size, lambda: runtime.free(address))


class AsyncManager(Recording):
    def __init__(self) -> None:
        super().__init__()
        self.streams: list[int] = []

    def memalloc_async(self, size: int, stream: Any) -> planmath.MemoryPointer:
        self.fail()
        address = runtime.malloc_async(size, int(stream))
        self.streams.append(int(stream))
        return self.given(address, size, lambda: runtime.free_async(address, int(stream)))


class TorchPool:
    def used(self) -> int:
        import torch

        return torch.cuda.memory_allocated()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let the process have no more memory than it has."""
        import torch

        gc.collect()  # what would be collected in between would be room
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + MIB) / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)


class CuPyPool:
    def used(self) -> int:
        import cupy

        return cupy.get_default_memory_pool().used_bytes()

    @contextmanager
    def full(self) -> Iterator[None]:
        import cupy

        pool = cupy.get_default_memory_pool()
        gc.collect()
        cupy.cuda.Device().synchronize()
        pool.free_all_blocks()
        pool.set_limit(size=pool.total_bytes() + MIB)
        try:
            yield
        finally:
            pool.set_limit(size=0)


POOLS: dict[str, Any] = {"torch-cuda": TorchPool(), "cupy": CuPyPool()}
