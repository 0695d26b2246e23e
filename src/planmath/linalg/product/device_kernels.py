"""Work of planmath's own on matrices on CUDA devices: copies with all that is known of a matrix, scaled sums, and
products with matrices in band storage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import device_code, devices
from planmath.core.cuda.device_code import ELEMENTS
from planmath.linalg.product.matrix import Matrix, batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.linalg.product.structure import KINDS, Structure
from planmath.native.call import COPY, MAX_LOOPS, STORE, Call, Slot

#: Threads of a block, and the most blocks for each multiprocessor.
THREADS, BLOCKS = 256, 32
#: Addresses that one launch leaves in a table.
ADDRESSES = 256
#: Below this many elements, the kernels count them in 32 bits, whose divisions are several times faster.
FEW = 1 << 31
_KIND = {kind: number for number, kind in enumerate(KINDS)}
_LIMITS = (
    f"LOOPS={MAX_LOOPS}", f"GENERAL={_KIND['ge']}", f"SYMMETRIC={_KIND['sy']}", f"HERMITIAN={_KIND['he']}",
    f"TRIANGULAR={_KIND['tr']}", f"DIAGONAL={_KIND['dg']}",
)  # fmt: skip
#: What numbers are computed with that are narrow in memory.
COMPUTED = {"float16": "float32", "bfloat16": "float32"}


def expand(
    structure: Structure, source: Region, target: Region, batch: tuple[int, ...], stream: Slot, device_id: int, *,
    conjugate: bool = False, both: bool = False, **options: Any,
) -> tuple[list[Call], Call]:  # fmt: skip
    """All elements of a matrix, in any layout and in another dtype where that differs.

    Parameters
    ----------
    structure : Structure
        Of the source; a diagonal one is stored as a column. One in band or packed storage is not transposed.
    source, target : Region
        A row or a column of a general source is repeated where the target has more.
    batch : tuple of int
    stream : Slot
    device_id : int
    conjugate : bool
    both : bool
        Whether source and target are the same memory, and one triangle is read.
    **options
        Of the launch's `Call`.

    Returns
    -------
    preparations : list of Call
        What has to be called before.
    launch : Call
    """
    s, t = source.matrix, target.matrix
    steps = {
        "s_row": s.row if s.rows == t.rows else 0, "s_col": s.col if s.cols == t.cols else 0, "t_row": t.row,
        "t_col": t.col,
    }  # fmt: skip
    reach = {"below": t.rows, "above": t.cols}
    if structure.storage == "banded":
        source, steps["s_row"], steps["s_col"] = _in_band(structure, source)
        reach = {"below": structure.below, "above": structure.above}
    inner_is_row = abs(t.row) <= abs(t.col) or t.cols == 1
    values: dict[str, int] = {
        **steps, **_extents(t, inner_is_row), **reach, "inner_is_row": inner_is_row, "kind": _KIND[structure.kind],
        "upper": structure.upper, "unit": structure.unit, "packed": structure.storage == "packed",
        "conjugated": conjugate, "both": both,
    }  # fmt: skip
    fields: list[tuple[str, Any]] = [(name, np.uintp) for name in ("source", "target")]
    fields += [(name, np.int64) for name in (
        "count", "inner", "outer", "inner_is_row", "s_row", "s_col", "t_row", "t_col", "kind", "upper", "unit",
        "packed", "below", "above", "conjugated", "both", "loops",
    )]  # fmt: skip
    parameters, count = _record(fields, values, batch, {"s_steps": s, "t_steps": t})
    types = (f"SOURCE={ELEMENTS[s.dtype]}", f"TARGET={ELEMENTS[t.dtype]}")
    regions = {"source": source, "target": target}
    stores = [device_code.store(parameters, name, region.slot) for name, region in regions.items()]
    return stores, _launch("expand", types, parameters, count, stream, device_id, **options)


def _in_band(structure: Structure, source: Region) -> tuple[Region, int, int]:
    """Where element (0, 0) of a matrix in band storage is, and the steps to the next row and column."""
    m = source.matrix
    slot = source.slot._replace(offset=source.slot.offset + structure.above * m.row * ITEMSIZE[m.dtype])
    return source._replace(slot=slot), m.row, m.col - m.row


def combine(
    target: Region, batch: tuple[int, ...], stream: Slot, device_id: int, *, alpha: Slot | None = None,
    x: Region | None = None, x_step: int = 0, general: Region | None = None, beta: Slot | None = None,
    addend: Region | None = None, **options: Any,
) -> tuple[list[Call], Call]:  # fmt: skip
    """target = alpha diag(x) general + beta addend, element by element.

    Parameters
    ----------
    target : Region
    batch : tuple of int
    stream : Slot
    device_id : int
    alpha, beta : Slot, optional
        Numbers on the host, single ones where elements are narrower. Default: 1.
    x : Region, optional
        The first element of a factor for each row of the target. Default: ones.
    x_step : int
        Elements from one to the next.
    general, addend : Region, optional
        Default: nothing.
    **options
        Of the launch's `Call`.

    Returns
    -------
    preparations : list of Call
        What has to be called before.
    launch : Call
    """
    d = target.matrix
    inner_is_row = abs(d.row) <= abs(d.col) or d.cols == 1
    names = [f"{name}_{axis}" for name in "xgcd" for axis in ("inner", "outer")]
    names = ["count", "inner", "outer", *names, "conjugated_x", "conjugated_g", "loops"]
    values: dict[str, int] = _extents(d, inner_is_row)
    regions = {"x": x, "g": general, "c": addend, "d": target}
    matrices = _matrices(regions, d.dtype)
    for name, matrix in zip("xgcd", matrices.values(), strict=True):
        row, col = (x_step, 0) if name == "x" else (matrix.row, matrix.col)
        values[f"{name}_inner"], values[f"{name}_outer"] = (row, col) if inner_is_row else (col, row)
    for name in "xg":
        values[f"conjugated_{name}"] = matrices[f"{name}_steps"].conjugate
    made = _Scaled(names, values, batch, regions, matrices)
    return made.stores(alpha, beta), _launch(
        "combine", made.types, made.parameters, made.count, stream, device_id, **options
    )


def multiply_band(
    structure: Structure, a: Region, general: Region, target: Region, batch: tuple[int, ...], stream: Slot,
    device_id: int, *, alpha: Slot, beta: Slot, addend: Region | None = None,
) -> tuple[list[Call], Call]:  # fmt: skip
    """target = alpha a general + beta addend for a matrix in band storage.

    Parameters
    ----------
    structure : Structure
        Of a.
    a, general, target : Region
    batch : tuple of int
    stream : Slot
    device_id : int
    alpha, beta : Slot
        Numbers on the host, single ones where elements are narrower.
    addend : Region, optional
        Default: nothing.

    Returns
    -------
    preparations : list of Call
        What has to be called before.
    launch : Call
    """
    d = target.matrix
    inner_is_row = abs(d.row) <= abs(d.col) or d.cols == 1
    first, a_row, a_col = _in_band(structure, a)
    regions: dict[str, Region | None] = {"a": first, "g": general, "c": addend, "d": target}
    matrices = _matrices(regions, d.dtype)
    values: dict[str, int] = {
        **_extents(d, inner_is_row), "inner_is_row": inner_is_row, "a_row": a_row, "a_col": a_col,
        "kind": _KIND[structure.kind], "upper": structure.upper, "unit": structure.unit, "turned": structure.turned,
        "below": structure.below, "above": structure.above, "conjugated_a": a.matrix.conjugate,
        "conjugated_g": general.matrix.conjugate,
    }  # fmt: skip
    for name in "gcd":
        matrix = matrices[f"{name}_steps"]
        values[f"{name}_row"], values[f"{name}_col"] = matrix.row, matrix.col
    steps = [f"{name}_{axis}" for name in "agcd" for axis in ("row", "col")]
    names = ["count", "inner", "outer", "inner_is_row", *steps, "kind", "upper", "unit", "turned", "below", "above",
             "conjugated_a", "conjugated_g", "loops"]  # fmt: skip
    made = _Scaled(names, values, batch, regions, matrices)
    return made.stores(alpha, beta), _launch("band", made.types, made.parameters, made.count, stream, device_id)


def tabulate(addresses: Sequence[Slot], table: Slot, stream: Slot, device_id: int) -> list[Call]:
    """What leaves operands' addresses in a table on the device: parameters of kernels, which each launch has anew."""
    calls = []
    for first in range(0, len(addresses), ADDRESSES):
        part = addresses[first : first + ADDRESSES]
        fields = [("target", np.uintp), ("count", np.int64), ("addresses", np.uint64, ADDRESSES)]
        parameters = np.zeros(1, np.dtype(fields, align=True))
        parameters["count"] = len(part)
        words = parameters["addresses"][0]
        calls += [
            Call(STORE, [words[i:].ctypes.data, slot], name="store", keep=parameters) for i, slot in enumerate(part)
        ]
        calls.append(device_code.store(parameters, "target", table._replace(offset=table.offset + 8 * first)))
        kernel = device_code.kernel(text("tabulate"), "tabulate", device_id, (f"MOST={ADDRESSES}",))
        calls.append(device_code.launch(kernel, (1, 1), ADDRESSES, parameters, stream))
    return calls


def _matrices(regions: dict[str, Region | None], dtype: str) -> dict[str, Matrix]:
    """Those of regions, by the name of their steps; of what is not there one that does not move."""
    nothing = Matrix(dtype, 1, 1, 0, 0)
    return {f"{name}_steps": region.matrix if region else nothing for name, region in regions.items()}


class _Scaled:
    """The parameters of a kernel with four matrices and the factors alpha and beta, of which none given is 1."""

    def __init__(
        self, names: Sequence[str], values: dict[str, int], batch: tuple[int, ...],
        regions: dict[str, Region | None], matrices: dict[str, Matrix],
    ):  # fmt: skip
        dtype = matrices["d_steps"].dtype
        self._number, self._regions = np.dtype(COMPUTED.get(dtype, dtype)), regions
        fields: list[tuple[str, Any]] = [("alpha", self._number), ("beta", self._number)]
        fields += [*((name, np.uintp) for name in regions), *((name, np.int64) for name in names)]
        self.parameters, self.count = _record(fields, {"alpha": 1, "beta": 1, **values}, batch, matrices)
        self.types = (
            f"NUMBER={ELEMENTS[str(self._number)]}",
            *(f"{name.upper()}_TYPE={ELEMENTS[matrices[f'{name}_steps'].dtype]}" for name in regions),
        )  # fmt: skip

    def stores(self, alpha: Slot | None, beta: Slot | None) -> list[Call]:
        """What leaves addresses and factors in them."""
        stores = [
            device_code.store(self.parameters, name, region.slot)
            for name, region in self._regions.items() if region is not None
        ]  # fmt: skip
        assert self.parameters.dtype.fields is not None
        for name, slot in (("alpha", alpha), ("beta", beta)):
            if slot is not None:
                where = self.parameters.ctypes.data + self.parameters.dtype.fields[name][1]
                stores.append(Call(COPY, [where, slot, self._number.itemsize], name="copy", keep=self.parameters))
        return stores


@cache
def text(name: str) -> str:
    """A piece of the kernels' source: 'places', which all have behind numbers, or a kernel's own."""
    return Path(__file__).with_name(f"device_{name}.cu").read_text()


def _extents(matrix: Matrix, inner_is_row: bool) -> dict[str, int]:
    inner, outer = (matrix.rows, matrix.cols) if inner_is_row else (matrix.cols, matrix.rows)
    return {"inner": inner, "outer": outer}


def _record(
    fields: Sequence[tuple], values: dict[str, int], batch: tuple[int, ...], matrices: dict[str, Matrix]
) -> tuple[np.ndarray, int]:  # fmt: skip
    """A kernel's parameters, and how many elements it has to compute."""
    arrays = [(name, np.int64, MAX_LOOPS) for name in ("extents", *matrices)]
    parameters = np.zeros(1, np.dtype([*fields, *arrays], align=True))
    loops = batch_loops(batch, [matrix.batch or (0,) * len(batch) for matrix in matrices.values()])
    for axis, (extent, steps) in enumerate(loops):
        parameters["extents"][0, axis] = extent
        for name, step in zip(matrices, steps, strict=True):
            parameters[name][0, axis] = step
    count = values["inner"] * values["outer"] * math.prod(extent for extent, _ in loops)
    for name, value in {**values, "count": count, "loops": len(loops)}.items():
        parameters[name] = value
    return parameters, count


def _launch(
    name: str, types: tuple[str, ...], parameters: np.ndarray, count: int, stream: Slot, device_id: int, **options: Any
) -> Call:
    index = "unsigned int" if count < FEW else "unsigned long long"
    source = device_code.numbers() + text("places") + text(name)
    kernel = device_code.kernel(source, name, device_id, (*types, f"INDEX={index}", *_LIMITS))
    blocks = min(-(-count // THREADS), devices.device(device_id).multiprocessors * BLOCKS)
    return device_code.launch(kernel, (blocks, 1), THREADS, parameters, stream, **options)
