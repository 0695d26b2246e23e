"""What cuBLASLt does with an arrangement, in NumPy, with the limits that it has: for machines without a device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from planmath.native.call import Slot

from planmath.bindings.cublasLt import MatmulDescAttribute, MatmulMatrixScale
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.advanced import MatmulEpilog
from planmath.linalg.advanced.helpers.matmul import FP4, BlockScalingFormat, expand_block_scale, to_block_scale
from planmath.linalg.advanced.providers.arrangement import (
    CUDA_TYPE,
    Arrangement,
    Clear,
    Copy,
    Factor,
    Walk,
    transfer,
)

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
        dtype = STORED.get(step.source.matrix.dtype, step.source.matrix.dtype)
        sizes = [ITEMSIZE[step.source.matrix.dtype]] * 2
        assert over.matrices == 1 or operation or s.leading != t.leading, "the library would copy the first one only"
        for source, target in visits(over, sizes, [self.address(r.slot) for r in (step.source, step.target)]):
            values = operated(columns(source, dtype, s.rows, s.cols, s.leading), operation)
            columns(target, dtype, t.rows, t.cols, t.leading)[...] = values

    def product(self) -> None:
        a = self.arrangement
        check_limits(a)
        moving = [factor.region for factor in a.factors]
        moving += [a.pointers[name] for name in a.moving_pointers]
        sizes = [ITEMSIZE[region.matrix.dtype] for region in moving]
        assert len(a.walk.loops) == 0 or len(moving) == 4 or a.one_by_one
        for addresses in visits(a.walk, sizes, [self.address(region.slot) for region in moving]):
            self.products += 1
            if a.one_by_one:
                self.block_scaled(addresses)
                continue
            first, second, addend, result = (
                columns(address, factor.dtype, factor.rows, factor.cols, factor.leading)
                for factor, address in zip(a.factors, addresses, strict=False)
            )
            wide = np.int64 if result.dtype.kind == "i" else result.dtype
            x, y = operated(first, a.first.operation).astype(wide), operated(second, a.second.operation).astype(wide)
            values = self.alpha * (x @ y)
            if self.beta != 0:
                values = values + self.beta * addend
            result[...] = self.after_product(values, x, y, dict(zip(a.moving_pointers, addresses[4:], strict=True)))

    def block_scaled(self, addresses: list[int]) -> None:
        """One product of operands whose blocks have scales (cuBLAS documentation, "1D Block Scaling")."""
        a = self.arrangement
        pointers = dict(zip(a.moving_pointers, addresses[len(a.factors) :], strict=True))
        assert not any(address % 16 for address in (*addresses[:2], addresses[3], *pointers.values()))
        form = SCALE_MODE[a.attributes["A_SCALE_MODE"]]
        assert a.attributes["A_SCALE_MODE"] == a.attributes["B_SCALE_MODE"]
        x, y = (
            numbers(address, factor.dtype, factor.rows, factor.cols, factor.leading)
            * scales(pointers[f"{letter}_SCALE_POINTER"], form, factor.rows, factor.cols)
            for letter, factor, address in zip("AB", a.factors, addresses, strict=False)
        )
        values = self.alpha * (x.T @ y)
        if self.beta != 0:
            c = a.addend
            values = values + self.beta * numbers(addresses[2], c.dtype, c.rows, c.cols, c.leading)
        if "BIAS_POINTER" in pointers:
            bias = a.pointers["BIAS_POINTER"].matrix.dtype
            assert CUDA_TYPE[bias] == a.attributes.get("BIAS_DATA_TYPE", CUDA_TYPE[a.result.dtype])
            values = values + numbers(pointers["BIAS_POINTER"], bias, a.m, 1, a.m)
        values = self.activated(values, pointers)
        place = columns(addresses[3], STORED[a.result.dtype], *stored(a.result))
        if "D_OUT_SCALE_POINTER" not in pointers:
            place[...] = encoded(values, a.result.dtype)
            return
        assert SCALE_MODE[a.attributes["D_OUT_SCALE_MODE"]] is form
        codes, factors = quantized(values, a.result.dtype, form)
        place[...] = codes
        flat = to_block_scale(factors, values.shape, form, axis=-2)
        np.asarray(At(pointers["D_OUT_SCALE_POINTER"], "uint8", flat.shape, (1,)))[...] = flat

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
        values = self.activated(values, pointers)
        if name.endswith("_BGRAD"):
            vector[...] = values.sum(1)
        return values

    def activated(self, values: np.ndarray, pointers: dict[str, int]) -> np.ndarray:
        """The activation, or its derivative; what it leaves for that, or finds."""
        a = self.arrangement
        name, (m, n) = a.problem.epilog.name, values.shape
        leading = a.attributes.get("EPILOGUE_AUX_LD", 0)
        if "RELU_AUX" in name or name.startswith("DRELU"):
            bits = np.asarray(At(pointers["EPILOGUE_AUX_POINTER"], "uint8", (leading // 8, n), (1, leading // 8)))
            if name.startswith("DRELU"):
                values = np.where(np.unpackbits(bits, axis=0, bitorder="little")[:m], values, 0)
            else:
                bits[...] = 0
                bits[: -(-m // 8)] = np.packbits(values > 0, axis=0, bitorder="little")
        if "GELU_AUX" in name or name.startswith("DGELU"):
            state = columns(pointers["EPILOGUE_AUX_POINTER"], a.result.dtype, m, n, leading)
            if name.startswith("DGELU"):
                values = values * state
            else:
                state[...] = values
        if name.startswith("RELU"):
            values = np.maximum(values, 0)
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


SCALE_MODE = {
    MatmulMatrixScale.VEC32_UE8M0: BlockScalingFormat.MXFP8, MatmulMatrixScale.VEC16_UE4M3: BlockScalingFormat.NVFP4
}  # fmt: skip
#: What NumPy stores the numbers of each dtype as.
STORED = {
    "float8_e4m3fn": "u1", "float8_e5m2": "u1", "float4_e2m1fn_x2": "u1", "bfloat16": "u2", "float16": "f2",
    "float32": "f4",
}  # fmt: skip


def stored(factor: Factor) -> tuple[int, int, int]:
    """Rows, columns and leading dimension in elements of memory, where two numbers of 4 bits are one."""
    per = 2 if "float4" in factor.dtype else 1
    return factor.rows // per, factor.cols, factor.leading // per


def numbers(address: int, dtype: str, rows: int, cols: int, leading: int) -> np.ndarray:
    """The numbers of a column-major matrix."""
    per = 2 if "float4" in dtype else 1
    codes = columns(address, STORED[dtype], rows // per, cols, leading // per)
    if per == 2:
        both = np.stack([codes & 15, codes >> 4], 1).reshape(rows, cols)
        return np.array([*FP4, *(-value for value in FP4)])[both]
    if codes.dtype.kind == "f":
        return codes.astype(float)
    torch: Any = __import__("torch")
    return torch.from_numpy(codes.copy()).view(getattr(torch, dtype)).double().numpy()


def encoded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers as they are stored, for dtypes that have one in an element."""
    if STORED[dtype][0] == "f":
        return values.astype(STORED[dtype])
    torch: Any = __import__("torch")
    bits = torch.int16 if dtype == "bfloat16" else torch.uint8
    return torch.from_numpy(values).to(getattr(torch, dtype)).view(bits).numpy().view(STORED[dtype])


def scales(address: int, form: BlockScalingFormat, rows: int, cols: int) -> np.ndarray:
    """The factor of each number of a column-major matrix whose blocks lie along its columns."""
    block = 32 if form is BlockScalingFormat.MXFP8 else 16
    torch: Any = __import__("torch")
    flat = torch.from_numpy(np.array(np.asarray(At(address, "uint8", (rows * cols // block,), (1,)))))
    return abs(expand_block_scale(flat, (rows, cols), form, axis=-2, output_dtype=torch.float64).numpy())


def quantized(values: np.ndarray, dtype: str, form: BlockScalingFormat) -> tuple[np.ndarray, np.ndarray]:
    """Columns of numbers as they are stored, and the scales' codes (cuBLAS documentation, "1D Block Quantization")."""
    most = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, "float4_e2m1fn_x2": 6.0}[dtype]
    block = 32 if form is BlockScalingFormat.MXFP8 else 16
    blocks = values.reshape(-1, block, values.shape[1])
    wanted = (abs(blocks).max(1) / most).astype("f4").astype(float)
    if form is BlockScalingFormat.MXFP8:
        codes = np.where(wanted > 0, np.ceil(np.log2(np.where(wanted > 0, wanted, 1))) + 127, 0).astype(np.uint8)
        factors = np.exp2(127 - codes.astype(float))
        return encoded((blocks * factors[:, None]).reshape(values.shape), dtype), codes
    codes = encoded(wanted, "float8_e4m3fn")
    chosen = np.array(codes)
    sizes = numbers(chosen.ctypes.data, "float8_e4m3fn", chosen.size, 1, chosen.size).reshape(chosen.shape)
    factors = np.where(sizes > 0, 1 / np.where(sizes > 0, sizes, 1), 0).astype("f4")
    scaled = (blocks.astype("f4") * factors[:, None]).astype("f4")
    between = np.array([(low + high) / 2 for low, high in itertools.pairwise(FP4)])
    size = abs(scaled).reshape(values.shape)
    below = np.searchsorted(between, size)
    ties = np.isin(size, between) & (below % 2 == 1)
    four = (below + ties + 8 * np.signbit(scaled).reshape(values.shape)).astype(np.uint8)
    return four[::2] | four[1::2] << 4, codes


def check_limits(a: Arrangement) -> None:
    """What an H200's cuBLASLt 13.1 was seen to refuse."""
    assert {*a.attributes, *a.pointers} <= set(MatmulDescAttribute.__members__)
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
    if a.one_by_one:  # as documented, and not seen
        assert a.walk.matrices == 1
        assert a.first.rows % 128 == a.m % 128 == a.n % 128 == 0
        assert a.first.leading * (0.5 if "float4" in a.first.dtype else 1) % 16 == 0
    if a.problem.a.dtype.startswith(("float8", "float4")):
        assert (a.first.operation, a.second.operation) == (1, 0)
    if "EPILOGUE_AUX_LD" in a.attributes:
        unit = 128 if a.epilog.mask == "relu_aux" else 8
        assert a.attributes["EPILOGUE_AUX_LD"] % unit == a.attributes.get("EPILOGUE_AUX_BATCH_STRIDE", 0) % unit == 0


def problem_arrays(problem: Any, inputs: dict[str, np.ndarray], results: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Arrays as programs number them."""
    return [inputs[name] for name in (*problem.operand_names, "alpha", "beta")] + list(results.values())
