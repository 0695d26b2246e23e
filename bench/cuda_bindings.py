"""What a call through planmath.bindings costs, beside the same call through nvmath-python's bindings.

Run as ``python -m bench.cuda_bindings [--json FILE]``. Both call the same libraries. Without a device the calls are
descriptors, queries and the like, whose own work takes nanoseconds, so that the figures are the bindings' cost; with
one there are launches of as little work as there is.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from planmath.bindings import cublas, cublasLt, cufft, curand, cusparse, runtime
from planmath.native.library import MissingLibraryError

#: A call through planmath may cost this much of the same call through nvmath-python.
TARGET = 1.5
ROUNDS, TURN_SECONDS = 25, 0.004
#: The most launches before the device is waited for: else a full queue would be measured.
LAUNCHES = 500

R_32F, R_64F, COMPUTE_32F = 0, 1, 68


@dataclass(frozen=True)
class Row:
    """One call. With `undo`, its result is given to that function, and both are timed."""

    module: str
    function: str
    arguments: tuple[Any, ...]
    work: str = ""
    undo: str = ""

    @property
    def name(self) -> str:
        parts = [f"{self.module}.{self.function}", self.undo and f"+ {self.undo}", self.work]
        return " ".join(part for part in parts if part) + f" ({len(self.arguments)})"


def rows_without_device() -> Iterator[Row]:
    buffer = _kept(np.ones(16)).ctypes.data
    desc, layout = cublasLt.matmul_desc_create(COMPUTE_32F, R_32F), cublasLt.matrix_layout_create(R_32F, 64, 64, 64)
    generator = curand.create_generator_host(curand.RngType.PSEUDO_DEFAULT)
    yield Row("cublasLt", "get_version", ())
    yield Row("cublasLt", "get_property", (1,))
    yield Row("cublasLt", "matmul_desc_set_attribute", (desc, cublasLt.MatmulDescAttribute.TRANSA, buffer, 4))
    yield Row("cublasLt", "matrix_layout_set_attribute", (layout, cublasLt.MatrixLayoutAttribute.LD, buffer, 8))
    yield Row("cublasLt", "matrix_layout_create", (R_32F, 64, 64, 64), undo="matrix_layout_destroy")
    yield Row("cusparse", "create_dn_vec", (16, buffer, R_64F), undo="destroy_dn_vec")
    yield Row("curand", "set_generator_offset", (generator, 1))
    yield Row("curand", "generate_normal_double", (generator, buffer, 0, 0.0, 1.0), "of no numbers")


def rows_on_device() -> Iterator[Row]:
    stream = runtime.stream_create_with_flags(runtime.STREAM_NON_BLOCKING)
    memory, one = runtime.malloc(1 << 20), _kept(np.ones(1, np.float32)).ctypes.data
    handle, light_handle, sparse_handle = cublas.create(), cublasLt.create(), cusparse.create()
    cublas.set_stream(handle, stream)
    yield Row("cublas", "get_pointer_mode", (handle,))
    yield Row("cublas", "set_stream", (handle, stream))
    yield Row("cusparse", "get_stream", (sparse_handle,))
    plan = cufft.plan1d(8, cufft.Type.C2C, 1)
    cufft.set_stream(plan, stream)
    yield Row("cufft", "set_stream", (plan, stream))
    yield Row("cufft", "exec_c2c", (plan, memory, memory, cufft.FORWARD), "of 8 numbers")
    operands = (8, 8, 8, one, memory, 8, memory, 8, one, memory, 8)
    yield Row("cublas", "sgemm", (handle, cublas.Operation.N, cublas.Operation.N, *operands), "8x8x8")
    desc, layout = cublasLt.matmul_desc_create(COMPUTE_32F, R_32F), cublasLt.matrix_layout_create(R_32F, 8, 8, 8)
    results, four = _kept(np.zeros(1, cublasLt.matmul_heuristic_result_dtype)), (layout,) * 4
    preference = cublasLt.matmul_preference_create()
    cublasLt.matmul_algo_get_heuristic(light_handle, desc, *four, preference, 1, results.ctypes.data)
    operands = (one, memory, layout, memory, layout, one, memory, layout, memory, layout)
    yield Row("cublasLt", "matmul", (light_handle, desc, *operands, results.ctypes.data, 0, 0, stream), "8x8x8")


_KEPT: list[np.ndarray] = []


def _kept(array: np.ndarray) -> np.ndarray:
    _KEPT.append(array)
    return array


def measure(loops: dict[str, Callable[[int], float]], device: bool) -> dict[str, float]:
    """Nanoseconds of a call: the best of many turns, taken in turn by the contenders."""
    number = {}
    for name, loop in loops.items():
        count = 10
        while (elapsed := loop(count)) < TURN_SECONDS and not (device and count >= LAUNCHES):
            count = max(2 * count, int(0.8 * count * TURN_SECONDS / max(elapsed, 1e-6)))
        number[name] = min(count, LAUNCHES) if device else count
    best = dict.fromkeys(loops, float("inf"))
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            best[name] = min(best[name], loop(number[name]) / number[name])
            if device:
                runtime.device_synchronize()
    return {name: seconds * 1e9 for name, seconds in best.items()}


def loop_of(row: Row, module: ModuleType) -> Callable[[int], float]:
    """A function that makes the call a number of times, written out as a program would write it, and times that."""
    function, undo = getattr(module, row.function), getattr(module, row.undo) if row.undo else None
    run = _loop_over(len(row.arguments), bool(row.undo))

    def loop(number: int) -> float:
        gc.disable()
        try:
            start = time.perf_counter()
            run(range(number), function, undo, *row.arguments)
            return time.perf_counter() - start
        finally:
            gc.enable()

    loop(1)  # whatever the first call does besides
    return loop


@cache
def _loop_over(n_arguments: int, undo: bool) -> Callable[..., None]:
    names = ", ".join(f"a{n}" for n in range(n_arguments))
    call = f"undo(function({names}))" if undo else f"function({names})"
    namespace: dict[str, Any] = {}
    exec(f"def run(times, function, undo{', ' * bool(names)}{names}):\n for _ in times: {call}", namespace)
    return namespace["run"]


def has_device() -> bool:
    try:
        return runtime.get_device_count() > 0
    except (MissingLibraryError, runtime.CUDARuntimeError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cuda_bindings", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file too")
    arguments = parser.parse_args()
    device = has_device()
    figures: dict[str, dict[str, float]] = {}
    print(f"{'call (number of arguments)':58s} planmath     nvmath  ratio, at most {TARGET}")
    for on_device, rows in ((False, rows_without_device()), (True, rows_on_device() if device else ())):
        for row in rows:
            loops = {"planmath": loop_of(row, importlib.import_module(f"planmath.bindings.{row.module}"))}
            try:
                loops["nvmath"] = loop_of(row, importlib.import_module(f"nvmath.bindings.{row.module}"))
            except Exception as error:  # whatever keeps it from being called; the row still has our figure
                print(f"nvmath.bindings.{row.module}.{row.function}: {error}", file=sys.stderr)
            figures[row.name] = taken = measure(loops, on_device)
            ours, theirs = taken["planmath"], taken.get("nvmath", float("nan"))
            print(f"{row.name:58s} {ours:5.0f} ns {theirs:7.0f} ns  {ours / theirs:.2f}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"device": device, "at most": TARGET, "nanoseconds": figures}, file, indent=1)


if __name__ == "__main__":
    main()
