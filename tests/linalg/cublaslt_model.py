"""What cuBLASLt does with an arrangement, in NumPy, with the limits that it has: for machines without a device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from planmath.native.call import Slot

from planmath.core.arrays import ITEMSIZE
from planmath.linalg.advanced import MatmulEpilog
from planmath.linalg.advanced.providers.arrangement import POINTERS_OF_A_BATCH, Arrangement, Clear, Copy, Walk, transfer

E = MatmulEpilog


class At:
    """Memory from an address on, for NumPy's array interface."""

    def __init__(self, address: int, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.__array_interface__ = {
            "version": 3, "data": (address, False), "typestr": np.dtype(dtype).str, "shape": shape,
            "strides": tuple(step * np.dtype(dtype).itemsize for step in strides),
        }  # fmt: skip


def columns(address: int, dtype: str, rows: int, cols: int, leading: int) -> np.ndarray:
    return np.asarray(At(address, dtype, (rows, cols), (1, leading)))


class Model:
    """Runs an arrangement.

    Parameters
    ----------
    arrangement : Arrangement
    arrays : list of array
        Operands, scale factors and results, as programs number them.
    """

    def __init__(self, arrangement: Arrangement, arrays: list[np.ndarray]):
        self.arrangement = arrangement
        self.workspace = np.full(arrangement.workspace_size + 256, 0x7F, np.uint8)
        start = self.workspace.ctypes.data
        self.addresses = [array.ctypes.data for array in arrays] + [start + -start % 256]
        self.alpha, self.beta = (arrays[arrangement.slot(name).operand][()] for name in ("alpha", "beta"))
        self.products = 0

    def address(self, slot: Slot) -> int:
        return self.addresses[slot.operand] + slot.offset

    def run(self) -> None:
        for step in self.arrangement.before:
            self.around(step)
        self.product()
        for step in self.arrangement.after:
            self.around(step)

    def around(self, step: Copy | Clear) -> None:
        if isinstance(step, Clear):
            np.asarray(At(self.address(step.slot), "uint8", (step.size,), (1,)))[...] = 0
            return
        (s, t), operation, over = transfer(self.arrangement.problem.batch, step)
        dtype = step.source.matrix.dtype
        sizes = [ITEMSIZE[dtype]] * 2
        assert over.matrices == 1 or operation or s.leading != t.leading, "the library would copy the first one only"
        for source, target in visits(over, sizes, [self.address(r.slot) for r in (step.source, step.target)]):
            values = operated(columns(source, dtype, s.rows, s.cols, s.leading), operation)
            columns(target, dtype, t.rows, t.cols, t.leading)[...] = values

    def product(self) -> None:
        a = self.arrangement
        check_limits(a)
        moving = [factor.region for factor in a.factors]
        moving += [a.pointers[name] for name in POINTERS_OF_A_BATCH if name in a.pointers]
        sizes = [ITEMSIZE[region.matrix.dtype] for region in moving]
        assert len(a.walk.loops) == 0 or len(moving) == 4
        for addresses in visits(a.walk, sizes, [self.address(region.slot) for region in moving]):
            self.products += 1
            first, second, addend, result = (
                columns(address, factor.dtype, factor.rows, factor.cols, factor.leading)
                for factor, address in zip(a.factors, addresses, strict=False)
            )
            wide = np.int64 if result.dtype.kind == "i" else result.dtype
            x, y = operated(first, a.first.operation).astype(wide), operated(second, a.second.operation).astype(wide)
            values = self.alpha * (x @ y)
            if self.beta != 0:
                values = values + self.beta * addend
            result[...] = self.after_product(values, x, y, dict(zip(self.pointer_names, addresses[4:], strict=True)))

    @property
    def pointer_names(self) -> list[str]:
        return [name for name in POINTERS_OF_A_BATCH if name in self.arrangement.pointers]

    def after_product(self, values: np.ndarray, x: np.ndarray, y: np.ndarray, pointers: dict[str, int]) -> np.ndarray:
        """The epilog, with a GELU that changes nothing: how it is computed is not the model's matter."""
        a = self.arrangement
        epilog, dtype, (m, n) = a.problem.epilog, a.result.dtype, values.shape
        name = epilog.name
        vector = np.asarray(
            At(pointers.get("BIAS_POINTER", 0) or values.ctypes.data, dtype, (n if epilog is E.BGRADB else m,), (1,))
        )
        if "BIAS" in name:
            values = values + vector[:, None]
        if epilog is E.BGRADA:
            vector[...] = x.sum(1)
        if epilog is E.BGRADB:
            vector[...] = y.sum(0)
        leading = a.attributes.get("EPILOGUE_AUX_LD", 0)
        if "RELU_AUX" in name or name.startswith("DRELU"):
            bits = np.asarray(At(pointers["EPILOGUE_AUX_POINTER"], "uint8", (leading // 8, n), (1, leading // 8)))
            if name.startswith("DRELU"):
                values = np.where(np.unpackbits(bits, axis=0, bitorder="little")[:m], values, 0)
            else:
                bits[...] = 0
                bits[: -(-m // 8)] = np.packbits(values > 0, axis=0, bitorder="little")
        if "GELU_AUX" in name or name.startswith("DGELU"):
            state = columns(pointers["EPILOGUE_AUX_POINTER"], dtype, m, n, leading)
            if name.startswith("DGELU"):
                values = values * state
            else:
                state[...] = values
        if name.startswith("RELU"):
            values = np.maximum(values, 0)
        if name.endswith("_BGRAD"):
            vector[...] = values.sum(1)
        return values


def visits(over: Walk, sizes: list[int], addresses: list[int]) -> Iterator[list[int]]:
    """The participants' addresses for each matrix of the batch."""
    for position in itertools.product(*(range(count) for count, _ in over.loops)):
        for i in range(over.matrices):
            yield [
                address
                + sum(n * by[p] for n, (_, by) in zip(position, over.loops, strict=True))
                + i * over.steps[p] * sizes[p]
                for p, address in enumerate(addresses)
            ]


def operated(matrix: np.ndarray, operation: int) -> np.ndarray:
    return (matrix, matrix.T, matrix.conj().T)[operation]


def check_limits(a: Arrangement) -> None:
    """What an H200's cuBLASLt 13.1 was seen to refuse."""
    assert min(a.walk.steps) >= 0
    assert all(factor.leading >= factor.rows for factor in (a.first, a.second, a.result))
    assert a.addend.leading == 0 or a.addend.leading >= a.m
    assert (a.addend.rows, a.addend.cols) == (a.result.rows, a.result.cols) == (a.m, a.n)
    if a.problem.epilog is E.BGRADA:
        assert a.first.operation == 0
    if a.problem.epilog is E.BGRADB:
        assert a.second.operation != 0
    if a.problem.a.dtype == "int8":
        inner = a.first.cols if a.first.operation == 0 else a.first.rows
        for number in (inner, a.first.leading, a.second.leading, *a.walk.steps[:2]):
            assert number % 16 == 0
    if a.problem.a.dtype.startswith("float8"):
        assert (a.first.operation, a.second.operation) == (1, 0)
    if "EPILOGUE_AUX_LD" in a.attributes:
        unit = 128 if a.epilog.mask == "relu_aux" else 8
        assert a.attributes["EPILOGUE_AUX_LD"] % unit == a.attributes.get("EPILOGUE_AUX_BATCH_STRIDE", 0) % unit == 0


def problem_arrays(problem: Any, inputs: dict[str, np.ndarray], results: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Arrays as programs number them."""
    return [inputs[name] for name in (*problem.operand_names, "alpha", "beta")] + list(results.values())
