"""What cuSPARSE is told of a product: its handle, and the descriptions of matrices."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from planmath.bindings import cusparse, runtime
from planmath.bindings.library_types import CudaDataType
from planmath.core.cuda import devices
from planmath.native.call import Call, Slot
from planmath.sparse.product.problem import Steps

TYPES = {
    "float16": CudaDataType.CUDA_R_16F, "bfloat16": CudaDataType.CUDA_R_16BF, "float32": CudaDataType.CUDA_R_32F,
    "float64": CudaDataType.CUDA_R_64F, "complex64": CudaDataType.CUDA_C_32F, "complex128": CudaDataType.CUDA_C_64F,
}  # fmt: skip
INDEX_TYPES = {4: cusparse.IndexType.INDEX_32I, 8: cusparse.IndexType.INDEX_64I}
ROW, COLUMN = cusparse.Order.ROW, cusparse.Order.COL
#: Stands for the address of an array that is not known yet: descriptions get the real ones before they are used.
NOWHERE = 256

_idle: dict[tuple[int, int], list[int]] = {}


class Handle:
    """A handle of the library's for one plan at a time, so that nobody else changes its stream.

    Parameters
    ----------
    device_id : int
        The current device.
    """

    def __init__(self, device_id: int):
        idle = _idle.setdefault((device_id, os.getpid()), [])
        try:
            self.address = idle.pop()
        except IndexError:
            self.address = cusparse.create()
        self._end = weakref.finalize(self, idle.append, self.address)
        self._end.atexit = False


class Dense(NamedTuple):
    """A dense matrix as cuSPARSE takes it."""

    rows: int
    columns: int
    leading: int
    order: int
    dtype: str
    batch: int = 1
    batch_step: int = 0

    def turned(self) -> Dense:
        """The transposed matrix in the same memory."""
        return self._replace(rows=self.columns, columns=self.rows, order=COLUMN if self.order == ROW else ROW)


def order_of(steps: Steps, rows: int, columns: int) -> tuple[int, int] | None:
    """The order and the leading dimension of a matrix, or None where cuSPARSE takes none such."""
    if columns == 1 and steps.row >= 1:
        return (COLUMN, rows) if steps.row == 1 else (ROW, steps.row)
    if rows == 1 and steps.column >= 1:
        return (ROW, columns) if steps.column == 1 else (COLUMN, steps.column)
    if steps.column == 1 and steps.row >= columns:
        return ROW, steps.row
    if steps.row == 1 and steps.column >= rows:
        return COLUMN, steps.column
    return None


class Descriptions:
    """Descriptions that are destroyed when nothing refers to them any more.

    Parameters
    ----------
    device_id : int
        The current device.
    """

    def __init__(self, device_id: int) -> None:
        self.device_id = device_id
        self._made: list[tuple[Callable[[int], Any], int]] = []
        self._end = weakref.finalize(self, _destroy, self._made)
        self._end.atexit = False

    def dense(self, matrix: Dense) -> int:
        made = cusparse.create_dn_mat(
            matrix.rows, matrix.columns, matrix.leading, NOWHERE, TYPES[matrix.dtype], matrix.order
        )
        self._made.append((cusparse.destroy_dn_mat, made))
        if matrix.batch > 1:
            cusparse.dn_mat_set_strided_batch(made, matrix.batch, matrix.batch_step)
        return made

    def vector(self, size: int, dtype: str) -> int:
        made = cusparse.create_dn_vec(size, NOWHERE, TYPES[dtype])
        self._made.append((cusparse.destroy_dn_vec, made))
        return made

    def sparse(self, create: Callable[..., int], *arguments: int) -> int:
        made = create(*arguments)
        self._made.append((cusparse.destroy_sp_mat, made))
        return made

    def memory(self, size: int) -> int:
        """Device memory for as long as these descriptions."""
        address = runtime.malloc_async(max(size, 1), 0)
        runtime.stream_synchronize(0)
        self._made.append((partial(_free, self.device_id), address))
        return address


def _free(device_id: int, address: int) -> None:
    with devices.on(device_id):
        runtime.free_async(address, 0)


def _destroy(made: Sequence[tuple[Callable[[int], Any], int]]) -> None:
    for destroy, address in reversed(made):
        destroy(address)


def call(function: str, arguments: Sequence[int | Slot], keep: object) -> Call:
    """A prepared call of the library's."""
    address = cusparse.LIBRARY.address(function)
    return Call(
        address, list(arguments), name=function, returns_status=True, error=cusparse.cuSPARSEError, keep=keep
    )  # fmt: skip
