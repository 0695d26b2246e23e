"""Kernels of the dense solver on a CUDA device: their parameters, and how they are launched."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from planmath.core.arrays import REAL_OF
from planmath.core.cuda import device_code
from planmath.native.call import Call, Slot

#: Flags, as the source has them.
SYMMETRIC, HERMITIAN, UNIT, EXPAND, CONJUGATE, TRANSPOSE = (1 << bit for bit in range(6))
FIRST, AFTER, JUDGES, PROJECTS = (1 << bit for bit in range(4))
#: Columns of a matrix that a block measures.
TILE = 32
#: The pieces of the source, behind what all begin with, that have kernels which not every plan needs.
PARTS = {
    ("refining",): ("residual", "norms", "relative", "add", "spoil", "detect"),
    ("narrowing",): ("demote", "demote_sides", "correct"),
    ("kernels", "bands"): ("take_band", "factorize_band", "solve_band"),
    ("kernels", "small"): ("factorize_small", "solve_small"),
}  # fmt: skip
#: In C: real numbers of each precision.
REALS = {"float32": "float", "float64": "double"}


def _words(*names: str) -> list[tuple[str, Any]]:
    return [(name, np.int64) for name in names]


#: What the kernels are given, as the source declares it.
PLACE = np.dtype(_words("base", "offsets", "table", "row", "col"))
TAKING = np.dtype(
    [("a", PLACE), *_words(
        "factors", "w", "u", "squares", "status", "v", "w_parts", "u_parts", "square_parts", "count", "rows", "cols",
        "below", "above", "flags", "row_tiles", "col_tiles",
    ), ("tolerance", np.float64)]
)  # fmt: skip
WEIGHING = np.dtype(
    [*_words("status", "squares", "count"), ("tiny", np.float64), *_words("found", "stamp")]
)  # fmt: skip
MOVING = np.dtype(
    [("source", PLACE), ("target", PLACE), *_words(
        "weights", "squares", "projections", "chosen", "weights_step", "part", "n", "k", "per_matrix", "columns",
        "flags",
    ), *((name, np.float64) for name in ("tolerance", "product", "growth", "tiny")), *_words("found", "stamp")]
)  # fmt: skip
DIVIDING = np.dtype(_words("diagonals", "x", "n", "columns_of_matrix", "count"))
FACTORIZING = np.dtype([("taking", TAKING), ("weighing", WEIGHING), *_words("pivots", "order")])
SOLVING = np.dtype([("moving", MOVING), *_words("v", "factors", "order", "transposed")])
IN_BAND = np.dtype(_words(
    "factors", "y", "pivots", "status", "n", "low", "high", "count", "columns_of_matrix", "transposed", "definite",
))  # fmt: skip
RANKING = np.dtype([*_words("values", "ranks", "x", "n", "columns_of_matrix", "count"), ("tolerance", np.float64)])
WIDENING = np.dtype(_words("source", "target", "count"))
REFINING = np.dtype(
    [("a", PLACE), *_words("x", "b", "r", "status"), ("target", PLACE), *_words(
        "rows", "cols", "b_rows", "below", "above", "flags", "columns", "columns_of_matrix", "noisy", "k", "found",
    )]
)  # fmt: skip
DETECTING = np.dtype([("a", PLACE), *_words("facts", "n", "count")])
NARROWING = np.dtype(
    _words(
        "source", "b", "target", "x", "r", "squares", "scales", "n", "k", "columns", "columns_of_matrix", "count",
        "takes_part",
    )
)


def record(dtype: np.dtype, **fields: Any) -> np.ndarray:
    """The parameters of a kernel; what is not named is 0."""
    made = np.zeros(1, dtype)
    for name, value in fields.items():
        made[name][0] = value
    return made


class Kernels:
    """The kernels for matrices of one dtype and size, with at least as many rows as columns.

    Parameters
    ----------
    dtype : str
        'float32', 'float64', 'complex64' or 'complex128'.
    rows, cols : int
    device_id : int

    Raises
    ------
    UnavailableError
        At the first launch that is made, where kernels cannot be compiled or loaded.
    """

    def __init__(self, dtype: str, rows: int, cols: int, device_id: int):
        self.rows, self.cols, self._device_id = rows, cols, device_id
        n = max(rows, cols)
        self.small = n <= 32
        self.threads = 64 if 32 < n <= 128 else 256
        #: how many of them share a column, or a row of a matrix
        self.lanes = max(8, 1 << (n - 1).bit_length()) if self.small else self.threads
        real = REALS[REAL_OF.get(dtype, dtype)]
        is_complex = dtype in REAL_OF
        self._definitions = (
            f"REAL={real}", f"NUMBER={real}{2 if is_complex else ''}", f"IS_COMPLEX={int(is_complex)}",
            f"THREADS={self.threads}", f"LANES={self.lanes}", f"EPSILON={float(np.finfo(dtype).eps)!r}",
            f"SINGLE=float{2 if is_complex else ''}",
        )  # fmt: skip

    @property
    def tiles(self) -> tuple[int, int]:
        """Along rows and columns, how many pieces of a matrix are measured apart."""
        return -(-self.rows // self.threads), -(-self.cols // TILE)

    def launch(self, name: str, work: int, parameters: np.ndarray) -> Call:
        """A launch on the stream that is a program's first address, with a thread for each piece of work."""
        return self.launch_blocks(name, -(-work // self.threads), parameters)

    def launch_blocks(self, name: str, blocks: int, parameters: np.ndarray) -> Call:
        """The same with so many blocks."""
        definitions: tuple[str, ...] = self._definitions
        if name in PARTS["kernels", "small"]:  # which are compiled for this size
            definitions = *definitions, f"ROWS={self.rows}"
        kernel = device_code.kernel(_source(name), name, self._device_id, definitions)
        return device_code.launch(kernel, (blocks, 1), self.threads, parameters, Slot(0))

    def take(self, parameters: np.ndarray, matrices: int, kind: str) -> list[Call]:
        """What copies matrices and measures them: 'dg', those that stay in a 'band', or others."""
        if kind in ("dg", "band"):
            return [self.launch_blocks("take_diagonal" if kind == "dg" else "take_band", matrices, parameters)]
        if self.small:
            return [self.launch_blocks("take_small", -(-matrices * self.lanes // self.threads), parameters)]
        rows, cols = self.tiles
        return [
            self.launch_blocks("take_tiles", matrices * rows * cols, parameters),
            self.launch_blocks("gather", matrices * -(-self.rows // self.threads), parameters),
        ]

    def residual(self, parameters: np.ndarray) -> Call:
        """What forms residuals."""
        rows = int(parameters["columns"][0]) * int(parameters["rows"][0])
        return self.launch("residual", rows * self.lanes, parameters)

    def move(self, parameters: np.ndarray) -> Call:
        """What copies right-hand sides or solutions."""
        return self.launch("move", int(parameters["columns"][0]) * self.lanes, parameters)


@cache
def _source(name: str) -> str:
    """The source of a kernel, which is compiled with those that are used with it."""
    parts = next((parts for parts, names in PARTS.items() if name in names), ("kernels",))
    return "".join(Path(__file__).with_name(f"device_{part}.cu").read_text() for part in ("numbers", *parts))
