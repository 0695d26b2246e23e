"""Runs in a process of its own, on the stand-in for the CUDA runtime whose path is the first argument."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from planmath.core.executor import Program
from planmath.native.call import Call, Slot

from planmath import BaseCUDAMemoryManager, MemoryPointer
from planmath.bindings import runtime
from planmath.core.arrays import Layout
from planmath.core.execution import resolve_execution
from planmath.core.operation import Operation
from planmath.core.provider import Algorithm, Prepared

STANDIN = ctypes.CDLL(sys.argv[1])
STANDIN.standinJournal.restype = ctypes.c_char_p
STANDIN.standinAvailable.argtypes = [ctypes.c_size_t]
runtime.LIBRARY.candidates = lambda: [sys.argv[1]]

A, B = np.arange(6.0), np.full(6, 10.0)


def journal() -> list[str]:
    """What the runtime was asked for since the last time."""
    lines = STANDIN.standinJournal().decode().splitlines()
    STANDIN.standinForget()
    return lines


@dataclass
class Options:
    provider: str | None = None
    logger: Any = None
    tuning: bool = False
    inplace: bool = False
    allocator: Any = None
    blocking: Any = "auto"


class Problem(NamedTuple):
    layout: Layout
    execution: tuple[str, int]


class Adder:
    """Adds on the device, and needs some temporary memory."""

    name = "adder"

    def unavailable(self) -> None:
        return None

    unsupported = lambda self, problem: None  # noqa: E731

    def version(self) -> str:
        return "1"

    def algorithms(self, problem: Problem) -> list[Algorithm]:
        return [Algorithm(self.name, (("way", 1),)), Algorithm(self.name, (("way", 2),))]

    def lingers(self, algorithm: Algorithm) -> float:
        return 0.0

    def prepare(self, problem: Problem, algorithm: Algorithm) -> Prepared:
        (step,) = problem.layout.strides
        address = ctypes.cast(STANDIN.standinAdd, ctypes.c_void_p).value
        last = 3  # after the operands and the result comes the workspace, then the stream
        arguments = [6, Slot(0), step, Slot(1), 1, Slot(2), 1, Slot(last + 1)]
        call = Call(address, arguments, name="standinAdd", returns_status=True, error=runtime.CUDARuntimeError)
        return Prepared({None: Program([call])}, workspace_size=1000)


class Sum(Operation):
    noun = "Sum"

    def __init__(self, a: Any, b: Any, execution: Any = "cuda", **options: Any):
        super().__init__(Options(**options))
        self._execution = resolve_execution(execution, "cpu")
        layout = self._add_operand("a", a)
        self._add_operand("b", b)
        self._problem = Problem(layout, (self._execution.space, 0))

    def plan(self, stream: Any = None) -> None:
        self._make_plan(self._problem, self._slots, stream=stream)

    def execute(self, *, out: Any = None, stream: Any = None) -> Any:
        result = self._executor.run(None, out, stream)
        return self._execute(None, out, stream) if result is None else result

    def _providers(self) -> list[Adder]:
        return [Adder()]

    def _result_slots(self, problem: Problem) -> dict[str, Any]:
        return {"sum": self._make_slot(problem.layout._replace(strides=(1,)), writeable=True)}

    def _describe(self) -> str:
        return "a sum"


class Allocator(BaseCUDAMemoryManager):
    """Memory of the stand-in's, or of the host, or none."""

    def __init__(self, kind: str):
        self.kind, self.sizes, self.freed = kind, [], 0

    def memalloc(self, size: int) -> MemoryPointer:
        self.sizes.append(size)
        if self.kind == "fails":
            raise MemoryError("nothing left")
        if self.kind == "host":
            return MemoryPointer(np.empty(size, np.uint8).ctypes.data, size, None)
        address = runtime.malloc_async(size, 0)

        def free() -> None:
            self.freed += 1
            runtime.free_async(address, 0)

        return MemoryPointer(address, size, free)
