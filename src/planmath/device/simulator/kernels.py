"""Simulated kernels: what ``numba.cuda.jit`` makes, and the module ``cuda`` inside of a kernel."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba.cuda.simulator import api
from numba.cuda.simulator import kernel as numba_kernel
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray, FakeWithinKernelCUDAArray
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDAModule

from planmath.device.simulator import SimulationError, memory, scheduler, warps
from planmath.device.targets import check_block, check_grid


class Module(FakeCUDAModule):
    """``cuda``, inside of a kernel."""

    def __init__(self, grid: Any, block: Any, dynamic: int):
        super().__init__(grid, block, 0)
        self._local, self._shared, self._dynamic = memory.Local(), memory.Shared(dynamic), dynamic
        self._cg = SimpleNamespace(this_grid=lambda: SimpleNamespace(sync=self._sync_grid))

    def renew(self) -> None:
        """Shared memory for the next block."""
        self._shared = memory.Shared(self._dynamic)

    #: Of the thread that has the turn.
    threadIdx: Any = None
    blockIdx: Any = None

    def turn(self, thread: Any) -> None:
        """Another thread has the turn."""
        self.threadIdx, self.blockIdx = thread.threadIdx, thread.blockIdx

    @property
    def laneid(self) -> int:
        return scheduler.running.lane  # type: ignore[union-attr]

    def nanosleep(self, nanoseconds: int) -> None:
        """Time does not pass for the other threads, which have their turns at barriers."""

    def _sync_grid(self) -> None:
        if self.gridDim.x * self.gridDim.y * self.gridDim.z > 1:
            raise SimulationError("blocks run one after the other, so a grid of several cannot be synchronized")
        self.syncthreads()

    def syncthreads(self) -> None:
        scheduler.running.syncthreads()  # type: ignore[union-attr]

    def syncwarp(self, mask: int = warps.WHOLE) -> None:
        scheduler.running.in_warp("syncwarp", mask)  # type: ignore[union-attr]

    def syncthreads_count(self, value: Any) -> int:
        return self._vote("syncthreads_count", value, np.sum)

    def syncthreads_and(self, value: Any) -> int:
        return self._vote("syncthreads_and", value, np.all)

    def syncthreads_or(self, value: Any) -> int:
        return self._vote("syncthreads_or", value, np.any)

    @staticmethod
    def _vote(name: str, value: Any, decide: Callable[[Any], Any]) -> int:
        return scheduler.running.vote(name, value, lambda all_: int(decide(all_)))  # type: ignore[union-attr]

    def __getattr__(self, name: str) -> Any:
        if name not in warps.FUNCTIONS:
            raise AttributeError(f"cuda.{name} does not exist in the simulator")
        return functools.partial(scheduler.running.in_warp, name)  # type: ignore[union-attr]


@contextlib.contextmanager
def _swapped(function: Any, module: Any) -> Iterator[None]:
    """Let a function's ``cuda`` be the one inside of a kernel: a global name, or a name of the function around it."""
    from numba import cuda

    cells = [cell for cell in function.__closure__ or () if cell.cell_contents is cuda]
    with numba_kernel.swapped_cuda_module(function, module):
        for cell in cells:
            cell.cell_contents = module
        try:
            yield
        finally:
            for cell in cells:
                cell.cell_contents = cuda


class Kernel(numba_kernel.FakeCUDAKernel):
    """A kernel, or a function for kernels."""

    #: Bytes of dynamic shared memory that `planmath.device.launch` allowed it.
    allowed = 0

    def __call__(self, *arguments: Any) -> Any:
        if self._device or scheduler.running is not None:
            with _swapped(self.fn, numba_kernel._get_kernel_context()):
                return self.fn(*arguments)
        if self.grid_dim is None:
            raise ValueError("a kernel is launched with a grid and a block: kernel[grid, block](...)")
        if self.dynshared_size > max(memory.USUAL, self.allowed):
            raise SimulationError(
                f"{self.dynshared_size} bytes of dynamic shared memory: more than {memory.USUAL} are there on a GPU "
                "where planmath.device.launch allows them"
            )
        return self._launch(self.grid_dim, self.block_dim, self.dynshared_size, arguments)

    def _launch(self, grid: Any, block: Any, dynamic: int, arguments: tuple[Any, ...]) -> None:
        module = Module(grid, block, dynamic)
        returned: list[Any] = []
        prepared = [self._prepared(argument, returned) for argument in arguments]
        with numba_kernel._push_kernel_context(module), _swapped(self.fn, module):
            for index in np.ndindex(*grid[::-1]):
                module.renew()
                scheduler.Block(self.fn, Dim3(*index[::-1]), tuple(block), Dim3, module).run(prepared)
        for back in returned:
            back()

    def _prepared(self, argument: Any, returned: list[Any]) -> Any:
        _, argument = functools.reduce(
            lambda pair, each: each.prepare_args(*pair, stream=0, retr=returned), self.extensions, (None, argument)
        )
        if isinstance(argument, np.ndarray) and argument.ndim:
            return argument
        if isinstance(argument, FakeCUDAArray):
            return argument._ary
        if isinstance(argument, np.void):
            return FakeWithinKernelCUDAArray(FakeCUDAArray(argument))
        if hasattr(argument, "to_device") and not isinstance(argument, np.generic):
            return argument.to_device(returned)
        return argument

    def __getitem__(self, configuration: Any) -> Any:
        if not isinstance(configuration, tuple) or len(configuration) < 2:
            raise ValueError("a kernel is launched with a grid and a block: kernel[grid, block](...)")
        if self._device:
            raise TypeError("a function for kernels (device=True) cannot be launched: kernels call it")
        launch = Kernel(self.fn, self._device, self._fastmath, self.extensions, self._debug)
        launch.grid_dim = check_grid("the grid", configuration[0])
        launch.block_dim = check_block("the block", configuration[1])
        launch.dynshared_size = configuration[3] if len(configuration) > 3 else 0
        launch.allowed = self.allowed
        return launch


def jit(func_or_sig: Any = None, device: bool = False, debug: Any = None, extensions: Any = (), **options: Any) -> Any:
    """``numba.cuda.jit``. What is about compiling (``link``, ``lto``, ``launch_bounds``, ...) is for real devices."""

    def make(function: Any) -> Kernel:
        return Kernel(function, device, bool(options.get("fastmath")), extensions or (), bool(debug))

    return make(func_or_sig) if callable(func_or_sig) and not _is_signature(func_or_sig) else make


def _is_signature(value: Any) -> bool:
    return not hasattr(value, "__code__")


def install() -> None:
    from numba import cuda

    cuda.jit = jit
    api.jit = jit
