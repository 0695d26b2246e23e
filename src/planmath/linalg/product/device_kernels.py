"""Element-wise work on matrices on CUDA devices: copies with all that is known of a matrix, and scaled sums."""

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
from planmath.native.call import COPY, MAX_LOOPS, Call, Slot

#: Threads of a block, and the most blocks for each multiprocessor.
THREADS, BLOCKS = 256, 32
#: Below this many elements, the kernels count them in 32 bits, whose divisions are several times faster.
FEW = 1 << 31
_KIND = {kind: number for number, kind in enumerate(KINDS)}
_LIMITS = (
    f"LOOPS={MAX_LOOPS}", f"GENERAL={_KIND['ge']}", f"HERMITIAN={_KIND['he']}", f"TRIANGULAR={_KIND['tr']}",
    f"DIAGONAL={_KIND['dg']}",
)  # fmt: skip


def expand(
    structure: Structure, source: Region, target: Region, batch: tuple[int, ...], stream: Slot, device_id: int, *,
    conjugate: bool = False, **options: Any,
) -> tuple[list[Call], Call]:  # fmt: skip
    """All elements of a matrix, in any layout and in another dtype where that differs.

    Parameters
    ----------
    structure : Structure
        Of the source; a diagonal one is stored as a column.
    source, target : Region
        A row or a column of a general source is repeated where the target has more.
    batch : tuple of int
    stream : Slot
    device_id : int
    conjugate : bool
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
    inner_is_row = abs(t.row) <= abs(t.col) or t.cols == 1
    values: dict[str, int] = {
        **steps, **_extents(t, inner_is_row), "inner_is_row": inner_is_row, "kind": _KIND[structure.kind],
        "upper": structure.upper, "unit": structure.unit, "conjugated": conjugate,
    }  # fmt: skip
    fields: list[tuple[str, Any]] = [(name, np.uintp) for name in ("source", "target")]
    fields += [(name, np.int64) for name in (
        "count", "inner", "outer", "inner_is_row", "s_row", "s_col", "t_row", "t_col", "kind", "upper", "unit",
        "conjugated", "loops",
    )]  # fmt: skip
    parameters, count = _record(fields, values, batch, {"s_steps": s, "t_steps": t})
    types = (f"SOURCE={ELEMENTS[s.dtype]}", f"TARGET={ELEMENTS[t.dtype]}")
    regions = {"source": source, "target": target}
    stores = [device_code.store(parameters, name, region.slot) for name, region in regions.items()]
    return stores, _launch("expand", types, parameters, count, stream, device_id, **options)


def combine(
    target: Region, batch: tuple[int, ...], stream: Slot, device_id: int, *, alpha: Slot | None = None,
    x: Region | None = None, x_step: int = 0, general: Region | None = None, beta: Slot | None = None,
    addend: Region | None = None,
) -> tuple[list[Call], Call]:  # fmt: skip
    """target = alpha diag(x) general + beta addend, element by element.

    Parameters
    ----------
    target : Region
    batch : tuple of int
    stream : Slot
    device_id : int
    alpha, beta : Slot, optional
        Numbers on the host. Default: 1.
    x : Region, optional
        The first element of a factor for each row of the target. Default: ones.
    x_step : int
        Elements from one to the next.
    general, addend : Region, optional
        Default: nothing.

    Returns
    -------
    preparations : list of Call
        What has to be called before.
    launch : Call
    """
    d = target.matrix
    inner_is_row = abs(d.row) <= abs(d.col) or d.cols == 1
    number = np.dtype(d.dtype)
    fields: list[tuple[str, Any]] = [("alpha", number), ("beta", number), *((name, np.uintp) for name in "xgcd")]
    names = [f"{name}_{axis}" for name in "xgcd" for axis in ("inner", "outer")]
    names = ["count", "inner", "outer", *names, "conjugated_x", "conjugated_g", "loops"]
    fields += [(name, np.int64) for name in names]
    values: dict[str, int] = {"alpha": 1, "beta": 1, **_extents(d, inner_is_row)}
    regions = {"x": x, "g": general, "c": addend, "d": target}
    stores, matrices = [], {}
    for name, region in regions.items():
        matrix = Matrix(d.dtype, 1, 1, 0, 0) if region is None else region.matrix
        row, col = (x_step, 0) if name == "x" else (matrix.row, matrix.col)
        values[f"{name}_inner"], values[f"{name}_outer"] = (row, col) if inner_is_row else (col, row)
        matrices[f"{name}_steps"] = matrix
    for name in "xg":
        values[f"conjugated_{name}"] = matrices[f"{name}_steps"].conjugate
    parameters, count = _record(fields, values, batch, matrices)
    for name, region in regions.items():
        if region is not None:
            stores.append(device_code.store(parameters, name, region.slot))
    for name, slot in (("alpha", alpha), ("beta", beta)):
        if slot is not None:
            assert parameters.dtype.fields is not None
            where = parameters.ctypes.data + parameters.dtype.fields[name][1]
            stores.append(Call(COPY, [where, slot, ITEMSIZE[d.dtype]], name="copy", keep=parameters))
    types = (f"NUMBER={ELEMENTS[d.dtype]}",)
    return stores, _launch("combine", types, parameters, count, stream, device_id)


@cache
def _source(name: str) -> str:
    own = (Path(__file__).with_name(f"device_{part}.cu").read_text() for part in ("places", name))
    return "".join([device_code.numbers(), *own])


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
    kernel = device_code.kernel(_source(name), name, device_id, (*types, f"INDEX={index}", *_LIMITS))
    blocks = min(-(-count // THREADS), devices.device(device_id).multiprocessors * BLOCKS)
    return device_code.launch(kernel, (blocks, 1), THREADS, parameters, stream, **options)
