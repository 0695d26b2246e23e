"""A stand-in for cuTENSOR on that for the CUDA runtime: what the provider asks for is done by NumPy, on the host.

It has the library's rules: strides are positive, addresses are multiples of the elements' size at least, each mode
occurs once in a tensor, what is added has the result's descriptor, and a contraction applies no operator but the
conjugate.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from planmath.bindings import cutensor

DEVICE = 1 << 56
INVALID, NOT_SUPPORTED, EXECUTION_FAILED, INSUFFICIENT = 7, 15, 13, 19
DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 4: np.complex64, 5: np.complex128}
SCALARS = {np.float16: np.float32}
OPERATORS: dict[int, Callable[[Any], Any]] = {
    1: lambda x: x, 2: np.sqrt, 8: lambda x: np.maximum(x, 0), 9: np.conj, 10: lambda x: 1 / x, 12: np.tanh, 22: np.exp,
    24: np.abs, 25: np.negative, 26: np.sin, 37: np.floor, 11: lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip
#: Bytes that every contraction wants for itself, at best.
SCRATCH = 128


@dataclass(frozen=True)
class Tensor:
    extents: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any
    alignment: int

    def view(self, address: int) -> np.ndarray:
        if not address & DEVICE or address % self.alignment:
            raise Failure(EXECUTION_FAILED)
        size = np.dtype(self.dtype).itemsize
        reach = size * (1 + sum((n - 1) * step for n, step in zip(self.extents, self.strides, strict=True)))
        memory = (ctypes.c_char * reach).from_address(address & (DEVICE - 1))
        return np.ndarray(self.extents, self.dtype, memory, 0, tuple(step * size for step in self.strides))


@dataclass(frozen=True)
class Operation:
    kind: str
    tensors: tuple[tuple[Tensor, tuple[int, ...], int], ...]
    """The last one is the result; the one before, if the operation adds, is what is added."""


class Failure(Exception):
    pass


class StandIn:
    """The library: its functions by name, and how often each was called."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self.numbers = itertools.count(1000)
        self.calls: list[str] = []
        self.made: dict[str, Any] = {}

    def __getitem__(self, symbol: str) -> Any:
        if symbol not in self.made:
            name = symbol.removeprefix("cutensor")
            method = getattr(self, name, None)
            if method is None:
                raise AttributeError(symbol)
            count = method.__code__.co_argcount - 1
            arguments = COUNTS.get(name, count)

            def call(*words: int) -> int:
                self.calls.append(name)
                try:
                    return method(*words) or 0
                except Failure as failure:
                    return failure.args[0]

            self.made[symbol] = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *[ctypes.c_ssize_t] * arguments)(call)
        return self.made[symbol]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cutensor"):
            return self[name]
        raise AttributeError(name)

    def keep(self, where: int, thing: Any) -> None:
        number = next(self.numbers)
        self.objects[number] = thing
        ctypes.c_ssize_t.from_address(where).value = number

    def GetVersion(self) -> int:
        return 20800

    def Create(self, where: int) -> None:
        self.keep(where, "handle")

    def CreateTensorDescriptor(
        self, handle: int, where: int, count: int, extents: int, strides: int, dtype: int, alignment: int
    ) -> None:
        read = [tuple((ctypes.c_int64 * count).from_address(a)) if count else () for a in (extents, strides)]
        if dtype not in DTYPES:
            raise Failure(NOT_SUPPORTED)
        if any(n < 1 for numbers in read for n in numbers) or alignment % np.dtype(DTYPES[dtype]).itemsize:
            raise Failure(INVALID)
        self.keep(where, Tensor(*read, DTYPES[dtype], alignment))

    def describe(self, kind: str, where: int, inputs: tuple[int, ...], result: tuple[int, ...]) -> None:
        triples = [inputs[position : position + 3] for position in range(0, len(inputs), 3)]
        tensors = [(*self.tensor(descriptor, modes), operator) for descriptor, modes, operator in triples]
        tensors.append((*self.tensor(*result), 1))
        *factors, addend, last = tensors if kind != "Permute" else [*tensors[:-1], None, tensors[-1]]
        if addend is not None and addend != last:
            raise Failure(NOT_SUPPORTED)
        if kind.startswith("Contract") and any(operator not in (1, 9) for *_, operator in factors):
            raise Failure(NOT_SUPPORTED)
        if any(operator not in OPERATORS for *_, operator in factors):
            raise Failure(NOT_SUPPORTED)
        if kind != "Permute" and len({tensor.dtype for tensor, *_ in tensors}) > 1:
            raise Failure(NOT_SUPPORTED)
        every = {m for _, modes, _ in factors for m in modes}
        if kind != "Permute" and set(last[1]) - every:
            raise Failure(NOT_SUPPORTED)
        if kind == "Permute" and every - set(last[1]):
            raise Failure(INVALID)
        self.keep(where, Operation(kind, tuple(tensors)))

    def tensor(self, descriptor: int, modes: int) -> tuple[Tensor, tuple[int, ...]]:
        tensor = self.objects[descriptor]
        count = len(tensor.extents)
        found = tuple((ctypes.c_int32 * count).from_address(modes)) if count else ()
        if len(set(found)) < count:
            raise Failure(INVALID)
        return tensor, found

    def CreateContraction(self, handle: int, where: int, *rest: int) -> None:
        self.describe("Contract", where, rest[:9], rest[9:11])

    def CreateContractionTrinary(self, handle: int, where: int, *rest: int) -> None:
        self.describe("ContractTrinary", where, rest[:12], rest[12:14])

    def CreateReduction(self, handle: int, where: int, *rest: int) -> None:
        self.describe("Reduce", where, rest[:6], rest[6:8])

    def CreatePermutation(self, handle: int, where: int, *rest: int) -> None:
        self.describe("Permute", where, rest[:3], rest[3:5])

    def OperationDescriptorGetAttribute(self, handle: int, operation: int, which: int, where: int, size: int) -> None:
        dtype = self.objects[operation].tensors[-1][0].dtype
        numbers = {dtype: number for number, dtype in DTYPES.items()}
        ctypes.c_int32.from_address(where).value = numbers[SCALARS.get(dtype, dtype)]

    def CreatePlanPreference(self, handle: int, where: int, algo: int, jit: int) -> None:
        self.keep(where, {"algo": algo})

    def PlanPreferenceSetAttribute(self, handle: int, preference: int, attribute: int, where: int, size: int) -> None:
        self.objects[preference][attribute] = ctypes.c_int32.from_address(where).value

    def EstimateWorkspaceSize(self, handle: int, operation: int, preference: int, wish: int, where: int) -> None:
        contracts = self.objects[operation].kind.startswith("Contract")
        ctypes.c_uint64.from_address(where).value = SCRATCH if contracts else 0

    def CreatePlan(self, handle: int, where: int, operation: int, preference: int, limit: int) -> None:
        needed = SCRATCH if self.objects[preference]["algo"] in (-3, -2) else min(limit, SCRATCH)
        if needed > limit:
            raise Failure(INSUFFICIENT)
        self.keep(where, (self.objects[operation], needed))

    def PlanGetAttribute(self, handle: int, plan: int, attribute: int, where: int, size: int) -> None:
        ctypes.c_uint64.from_address(where).value = self.objects[plan][1]

    def destroy(self, number: int) -> None:
        del self.objects[number]

    def DestroyPlan(self, number: int) -> None:
        self.destroy(number)

    def DestroyOperationDescriptor(self, number: int) -> None:
        self.destroy(number)

    def DestroyTensorDescriptor(self, number: int) -> None:
        self.destroy(number)

    def DestroyPlanPreference(self, number: int) -> None:
        self.destroy(number)

    def run(self, kind: str, plan: int, alpha: int, factors: tuple[int, ...], beta: int, c: int, d: int) -> None:
        operation, _ = self.objects.get(plan, (None, 0))
        if operation is None or operation.kind != kind:
            raise Failure(INVALID)
        tensors = operation.tensors
        result, modes, _ = tensors[-1]
        scalar = SCALARS.get(result.dtype, result.dtype)
        values = [np.ctypeslib.as_array((ctypes.c_char * np.dtype(scalar).itemsize).from_address(a)).view(scalar)[0]
                  if a else scalar(0) for a in (alpha, beta)]  # fmt: skip
        wide = np.promote_types(result.dtype, np.float64)
        numbers = {mode: i for i, mode in enumerate(dict.fromkeys(m for _, ms, _ in tensors for m in ms))}
        sublists: list[Any] = []
        for (tensor, of, operator), address in zip(tensors, factors, strict=False):
            sublists += [OPERATORS[operator](tensor.view(address).astype(wide)), [numbers[m] for m in of]]
        target = result.view(d)
        missing = [m for m in modes if not any(m in of for _, of, _ in tensors[: len(factors)])]
        present = [m for m in modes if m not in missing]
        value = np.einsum(*sublists, [numbers[m] for m in present]) * values[0]
        shape = [n if m in present else 1 for m, n in zip(modes, result.extents, strict=True)]
        value = value.reshape(shape)
        if beta and values[1] != 0:
            value = value + values[1] * result.view(c).astype(wide)
        target[...] = value

    def Contract(self, handle: int, plan: int, alpha: int, *rest: int) -> None:
        self.run("Contract", plan, alpha, rest[:2], *rest[2:5])

    def ContractTrinary(self, handle: int, plan: int, alpha: int, *rest: int) -> None:
        self.run("ContractTrinary", plan, alpha, rest[:3], *rest[3:6])

    def Reduce(self, handle: int, plan: int, alpha: int, a: int, beta: int, c: int, d: int, *rest: int) -> None:
        self.run("Reduce", plan, alpha, (a,), beta, c, d)

    def Permute(self, handle: int, plan: int, alpha: int, a: int, b: int, stream: int) -> None:
        self.run("Permute", plan, alpha, (a,), 0, 0, b)


#: How many arguments the functions have that are written with fewer above.
COUNTS = {
    "CreateContraction": 14, "CreateContractionTrinary": 17, "CreateReduction": 12, "CreatePermutation": 8,
    "Contract": 11, "ContractTrinary": 12, "Reduce": 10,
}  # fmt: skip


def install() -> StandIn:
    """Let planmath find the stand-in in cuTENSOR's place."""
    standin = StandIn()
    vars(cutensor.LIBRARY).update(missing=None, _handle=standin, path="stand-in")
    cutensor._api.variable = lambda symbol: math.prod(symbol.encode()) % 997  # type: ignore[method-assign]
    return standin
