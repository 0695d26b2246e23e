"""Doubles of local transforms and products on the stand-in for CUDA: what is between the exchanges, by NumPy.

The operations themselves are tested on stand-ins of the libraries elsewhere. Here is what the exchanges around them do:
which memory is read and written, and in which order.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import driver, nccl, runtime
from planmath.core.cuda import devices
from planmath.distributed.fft import pipeline
from planmath.distributed.linalg.advanced import stages
from planmath.distributed.linalg.solver import providers
from planmath.distributed.linalg.solver.providers.routines import Routines as HostRoutines
from planmath.linalg.advanced import MatmulEpilog
from tests.core import standin_cupy


def install(path: str) -> None:
    """Let this process have the stand-in's devices, and arrays on them."""
    library = ctypes.CDLL(path)
    library.standinAvailable.argtypes = [ctypes.c_size_t]
    library.standinAvailable(1 << 30)
    for binding in (runtime, driver, nccl):
        binding.LIBRARY.candidates = lambda: [path]
    devices._name_of = lambda device_id: "Stand-in"  # both alike, as ranks' devices are
    standin_cupy.install()
    pipeline.FFT = FFT  # type: ignore[misc, assignment]
    stages.Matmul = Matmul  # type: ignore[misc, assignment]
    providers.DeviceRoutines = Routines  # type: ignore[misc, assignment]


def numbers(address: int, count: int) -> np.ndarray:
    """Numbers of 32 bits in the memory of the stand-in's devices."""
    return np.ctypeslib.as_array((ctypes.c_int32 * count).from_address(address & (standin_cupy.DEVICE - 1)))


class Double:
    def __init__(self, *arrays: Any):
        for array in arrays:
            assert array is None or isinstance(array, sys.modules["cupy"].ndarray), type(array)

    def free(self) -> None:
        self.freed = True


class Problem(NamedTuple):
    result_strides: Any


def steps(array: Any) -> tuple[int, ...]:
    return tuple(step // array.itemsize for step in array.strides)


class FFT(Double):
    def __init__(self, operand: Any, *, axes: Any, options: Any, execution: Any):
        super().__init__(operand)
        assert execution["name"] == "cuda"
        self.operand, self.axes, self.options = operand, axes, options
        self.layout = operand.shape, operand.strides, operand.dtype
        self._problem = Problem(None)

    def plan(self) -> None:
        pass

    def reset_operand(self, operand: Any) -> None:
        assert (operand.shape, operand.strides, operand.dtype) == self.layout
        self.operand = operand

    def release_operand(self) -> None:
        self.operand = None

    def execute(self, direction: Any, *, out: Any = None) -> None:
        kind, values = self.options["fft_type"], self.operand.view()
        shape = values.shape
        if kind == "R2C":
            result = np.fft.rfftn(values, axes=self.axes)
        elif kind == "C2R":
            shape = out.shape
            result = np.fft.irfftn(values, [shape[k] for k in self.axes], axes=self.axes)
        elif int(direction) == -1:
            result = np.fft.fftn(values, axes=self.axes)
        else:
            result = np.fft.ifftn(values, axes=self.axes)
        planned = self._problem.result_strides
        assert out is None or (out.flags.c_contiguous if planned is None else steps(out) == planned), out.strides
        if int(direction) == 1:
            result = result * np.prod([shape[k] for k in self.axes])
        (self.operand if out is None else out).set(result)


class Routines:
    """Blocks of a factorization, by LAPACK on the host."""

    def __init__(self, dtype: str, bench: Any):
        assert bench.space.device_id is not None
        self.host = HostRoutines(dtype, 1)

    def limit(self, on: bool) -> None:
        pass

    def _in_place(self, array: Any, values: np.ndarray) -> Any:
        array.set(values)
        return array

    def getrf(self, a: Any) -> Any:
        values, *others = self.host.getrf(np.asfortranarray(a.view()))
        return self._in_place(a, values), *others

    def make_room(self, shapes: Any, example: int) -> None:
        pass

    def factorize_beside(self, stream: int, a: Any, pivots: int, status: int) -> None:
        values, swaps, info = self.host.getrf(np.asfortranarray(a.view()))
        a.set(values)
        numbers(pivots, a.shape[1])[:] = swaps + 1
        numbers(status, 1)[:] = info

    def swap(self, a: Any, pivots: int, count: int) -> None:
        rows = a.view()
        for k, other in enumerate(numbers(pivots, count) - 1):
            rows[[k, other]] = rows[[other, k]]

    def potrf(self, a: Any) -> Any:
        values, info = self.host.potrf(np.asfortranarray(a.view()))
        return self._in_place(a, values), info

    def trsm(self, triangle: Any, b: Any, **how: bool) -> Any:
        return self._in_place(b, self.host.trsm(triangle.view(), np.asfortranarray(b.view()), **how))

    def trsm_right(self, triangle: Any, b: Any) -> Any:
        return self._in_place(b, self.host.trsm_right(triangle.view(), np.asfortranarray(b.view())))

    def subtract_product(self, c: Any, a: Any, b: Any) -> None:
        for array in (a, b, c):
            assert array.strides[0] == array.itemsize or array.shape[0] <= 1 or 0 in array.shape
        c.view()[...] -= a.view() @ b.view()


class Matmul(Double):
    def __init__(
        self, a: Any, b: Any, c: Any, *, options: Any, execution: Any, qualifiers: Any, quantization_scales: Any,
        alpha: Any = 1, beta: Any = 0,
    ):  # fmt: skip
        super().__init__(a, b, c)
        assert execution["name"] == "cuda"
        assert options["inplace"]
        self.operands: dict[str, Any] = {"a": a, "b": b, "c": c}
        self.layouts = {name: (of.shape, of.strides) for name, of in self.operands.items()}
        self.scalars = {"alpha": alpha, "beta": beta}
        self.conjugate = (False, False) if qualifiers is None else tuple(qualifiers["is_conjugate"][:2])

    def plan(self, *, epilog: Any, epilog_inputs: Any, preferences: Any) -> None:
        self.epilog, self.inputs = epilog, epilog_inputs

    def reset_operands(self, **given: Any) -> None:
        for name in given.keys() & self.operands.keys():
            assert (given[name].shape, given[name].strides) == self.layouts[name], name
            self.operands[name] = given[name]
        self.scalars |= {name: given[name] for name in given.keys() & self.scalars.keys() if given[name] is not None}
        self.inputs = {**self.inputs, **given.get("epilog_inputs", {})}

    def release_operands(self) -> None:
        self.operands = dict.fromkeys(self.operands)

    def execute(self, *, out: Any = None) -> Any:
        a, b, c = (self.operands[name].view() for name in "abc")
        a, b = (x.conj() if of else x for x, of in zip((a, b), self.conjugate, strict=True))
        result = self.scalars["alpha"] * (a @ b)
        if self.scalars["beta"]:
            result = result + self.scalars["beta"] * c
        if self.epilog is not None and "BIAS" in MatmulEpilog(self.epilog).name:
            result = result + self.inputs["bias"].view().reshape(-1, 1)
        if self.epilog is not None and "RELU" in MatmulEpilog(self.epilog).name:
            result = np.maximum(result, 0)
        self.operands["c"].set(result)
        return self.operands["c"]
