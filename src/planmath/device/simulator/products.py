"""`Matmul` in the simulator: products of views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from planmath.device.simulator import SimulationError
from planmath.device.simulator.memory import check_written
from planmath.device.simulator.transforms import check_array, check_block
from planmath.device.value_types import host_dtype

if TYPE_CHECKING:
    from planmath.device.matmul import Matmul


def execute(thread: Any, mm: Matmul, *args: Any) -> None:
    """C ← alpha A B + beta C, or an accumulator's += A B."""
    from planmath.device.simulator import tensors

    name = "Matmul.execute"
    if mm.execution == "Block":
        check_block(thread, mm.block_dim, name)
    if len(args) == 3:
        tensors.accumulate(thread, mm, *args)
        return
    if len(args) == 8:
        alpha, a, lda, b, ldb, beta, c, ldc = args
        leading: Any = (lda, ldb, ldc)
    elif len(args) == 5:
        alpha, a, b, beta, c = args
        leading = mm.leading_dimension
    else:
        raise SimulationError(
            "Matmul.execute takes (alpha, a, b, beta, c), (alpha, a, lda, b, ldb, beta, c, ldc), "
            f"or tensors (a, b, accumulator), not {len(args)} arguments"
        )
    alpha, beta = _number(mm, "alpha", alpha), _number(mm, "beta", beta)
    arrays = [each.array if isinstance(each, tensors.Tensor) else each for each in (a, b, c)]
    views = [_view(mm, which, array, leading[which]) for which, array in enumerate(arrays)]

    def work(_: Any) -> None:
        product(mm, views, alpha, beta)

    if mm.execution == "Thread":
        work(None)
    else:
        check_arrived(thread, name, views)
        places = tuple(view.__array_interface__["data"][0] for view in views)
        thread.together(name, (mm.key, places, repr(alpha), repr(beta)), None, work)


def check_arrived(thread: Any, name: str, views: Any) -> None:
    """Raise where something is read that a copy is under way to."""
    for target, _ in thread.block.copies:
        if any(np.may_share_memory(view, target) for view in views):
            raise SimulationError(f"{thread} calls {name} with what a copy is under way to: call copy_wait before")


def _number(mm: Matmul, name: str, value: Any) -> complex:
    """alpha or beta, which may be a vector of two parts."""
    if isinstance(value, np.void) and len(value.dtype.names or ()) == 2:
        value = complex(value["x"], value["y"])
    if not isinstance(value, (int, float, complex, np.number)):
        raise SimulationError(f"Matmul.execute takes a number for {name}, not {type(value).__name__}")
    if isinstance(value, (complex, np.complexfloating)) and mm.data_type == "real":
        raise SimulationError(f"{name} is complex, and the product is of real matrices")
    return complex(value)


def _view(mm: Matmul, which: int, array: Any, leading: Any) -> np.ndarray:
    kind = (mm.a_value_type, mm.b_value_type, mm.c_value_type)[which]
    check_array("Matmul.execute", array, host_dtype(kind), kind)
    flat = np.asarray(array)
    if not flat.flags.c_contiguous:
        raise SimulationError("Matmul.execute takes contiguous arrays: what lies between elements is a GPU's to read")
    if isinstance(leading, bool) or not hasattr(leading, "__index__"):
        raise SimulationError(f"Matmul.execute takes an integer for ld{'abc'[which]}, not {leading!r}")
    return matrix(mm, which, flat.reshape(-1), int(leading), "abc"[which])


def matrix(mm: Matmul, which: int, flat: np.ndarray, leading: int, name: str) -> np.ndarray:
    """A matrix in flat memory, as a view of its shape."""
    rows, columns = mm._dims[which]
    row_major = mm._rows[which]
    lines, length = (rows, columns) if row_major else (columns, rows)
    if leading < length:
        raise SimulationError(f"the leading dimension of {name} is {length} at least, not {leading}")
    if flat.size < (lines - 1) * leading + length:
        raise SimulationError(
            f"{name} has {(lines - 1) * leading + length} elements with a leading dimension of {leading}; the array "
            f"has {flat.size}"
        )
    strides = (flat.itemsize * leading, flat.itemsize) if row_major else (flat.itemsize, flat.itemsize * leading)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), strides)


def product(mm: Matmul, views: Any, alpha: Any, beta: Any) -> None:
    """C ← alpha A B + beta C. What is zero times is not read, as in BLAS."""
    a, b, c = views
    check_written("Matmul.execute", "a", a)
    check_written("Matmul.execute", "b", b)
    if mm.data_type == "real":
        alpha, beta = alpha.real, beta.real
    found = numbers(a, mm.a_value_type, mm, "a") @ numbers(b, mm.b_value_type, mm, "b") * alpha
    if beta != 0:
        check_written("Matmul.execute", "c", c)
        found = found + beta * numbers(c, mm.c_value_type, mm, "c")
    assign(c, found)


def numbers(view: np.ndarray, kind: Any, mm: Matmul, name: str) -> np.ndarray:
    """Elements in the precision of the computation, transposed as the mode says."""
    found = np.asarray(view)
    if found.dtype.names:
        found = found["x"].astype(np.float32) + 1j * found["y"].astype(np.float32)
    elif found.dtype == np.float16:
        found = found.astype(np.float32)
    if mm.precision.c is np.float64 and found.dtype != np.complex128:
        found = found.astype(np.complex128 if found.dtype.kind == "c" else np.float64)
    elif found.dtype.kind in "iu":
        found = found.astype(np.int64)
    mode = getattr(mm.transpose_mode, name, None) if mm.transpose_mode and name != "c" else None
    if mode in ("transposed", "conj_transposed"):
        found = found.T
    return found.conj() if mode == "conj_transposed" else found


def assign(target: np.ndarray, values: np.ndarray) -> None:
    """Store numbers, in whatever elements."""
    if target.dtype.names:
        target["x"], target["y"] = values.real, values.imag
    else:
        target[...] = (values if target.dtype.kind == "c" else np.real(values)).astype(target.dtype)
