"""The specification of a matrix multiplication."""

from __future__ import annotations

import math
from typing import NamedTuple

from planmath.core.arrays import ITEMSIZE, Layout, contiguous_strides
from planmath.core.datatypes import DTYPE_OF, CudaDataType
from planmath.core.errors import UnsupportedLayoutError
from planmath.linalg.advanced.enums import MatmulComputeType, MatmulEpilog
from planmath.linalg.advanced.epilog import EPILOGS, EXTENTS, is_vector


class Matrix(NamedTuple):
    """A matrix, or a batch of them, in memory. Strides are in elements; those of broadcast batch axes are 0."""

    dtype: str
    rows: int
    cols: int
    row: int
    col: int
    batch: tuple[int, ...] = ()
    conjugate: bool = False

    @property
    def leading(self) -> tuple[bool, int]:
        """Whether the matrix is row-major, and its leading dimension."""
        if self.row == 1 or self.rows == 1:
            column_step = self.col if self.cols > 1 else max(self.rows, 1)
            if column_step >= max(self.rows, 1) and (self.row == 1 or self.rows == 1):
                return False, column_step
        return True, self.row if self.rows > 1 else max(self.cols, 1)

    @property
    def span(self) -> int:
        """Elements that a matrix takes in memory, with the gaps behind its rows or columns."""
        row_major, step = self.leading
        return step * (self.rows if row_major else self.cols)

    @property
    def T(self) -> Matrix:
        """The transposed matrix: the same memory with the roles of rows and columns exchanged."""
        return self._replace(rows=self.cols, cols=self.rows, row=self.col, col=self.row)


class MatmulProblem(NamedTuple):
    """What to multiply: all that matters for planning. The values of alpha and beta are not part of it."""

    m: int
    n: int
    k: int
    batch: tuple[int, ...]
    a: Matrix
    b: Matrix
    c: Matrix | None
    d: Matrix
    compute: str
    """The least accurate dtype in which products may be accumulated."""
    inplace: bool
    execution: tuple[str, int]
    package: str
    epilog: MatmulEpilog = MatmulEpilog.DEFAULT
    inputs: tuple[Matrix, ...] = ()
    """The epilog's inputs in the order of its table."""
    constant: tuple[str, ...] = ()
    """Names of the operands whose values stay between executions."""

    @property
    def threads(self) -> int:
        return self.execution[1]

    @property
    def work(self) -> int:
        """Multiplications: m n k for each matrix of the batch."""
        return self.m * self.n * self.k * math.prod(self.batch)

    def auxiliary(self) -> dict[str, Matrix]:
        """The results beside the main one, dense and column-major."""
        matrices = {}
        for name in EPILOGS[self.epilog].auxiliary:
            rows, cols = EXTENTS[name](self.m, self.n)
            dtype = "uint8" if name == "relu_aux" else self.d.dtype
            steps = tuple(step * rows * cols for step in contiguous_strides(self.batch))
            matrices[name] = Matrix(dtype, rows, cols, 1, rows, steps)
        return matrices

    def array_layout(self, name: str, matrix: Matrix) -> Layout:
        """Shape and strides of the array that holds an auxiliary result."""
        if is_vector(name) and not self.batch:
            return Layout((matrix.rows,), (1,), matrix.dtype, "cpu", None)
        shape = (*self.batch, matrix.rows, matrix.cols)
        return Layout(shape, (*matrix.batch, matrix.row, matrix.col), matrix.dtype, "cpu", None)


#: Accumulation by dtype of the operands: the default first. The other compute types of the same precision allow faster,
#: less accurate arithmetic, which the CPU's libraries do not need: they get the full one.
COMPUTE_OF: dict[str, tuple[MatmulComputeType, ...]] = {}
_T = MatmulComputeType
_SINGLE = (_T.COMPUTE_32F, _T.COMPUTE_32F_PEDANTIC)
_FAST = (_T.COMPUTE_32F_FAST_16F, _T.COMPUTE_32F_FAST_16BF, _T.COMPUTE_32F_FAST_TF32, _T.COMPUTE_32F_EMULATED_16BFX9)
_DOUBLE = (_T.COMPUTE_64F, _T.COMPUTE_64F_PEDANTIC, _T.COMPUTE_64F_EMULATED_FIXEDPOINT)
COMPUTE_OF |= {
    "float16": (*_SINGLE, _T.COMPUTE_16F, _T.COMPUTE_16F_PEDANTIC),
    "bfloat16": _SINGLE,
    "float32": _SINGLE + _FAST,
    "complex64": _SINGLE + _FAST,
    "float64": _DOUBLE,
    "complex128": _DOUBLE,
    "int8": (_T.COMPUTE_32I, _T.COMPUTE_32I_PEDANTIC),
}

#: The dtype in which the CPU computes; int8 products summed in double precision are exact for any k below 2^38.
WORK_DTYPE = {
    "float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64",
    "complex64": "complex64", "complex128": "complex128", "int8": "float64",
}  # fmt: skip

#: dtypes of alpha and beta, by that of the operands or else of the computation.
SCALES_OF: dict[str, tuple[str, ...]] = {
    "int8": ("CUDA_R_32I", "CUDA_R_32F"), "float32": ("CUDA_R_32F",), "float64": ("CUDA_R_64F",),
    "complex64": ("CUDA_C_32F",), "complex128": ("CUDA_C_64F",),
}  # fmt: skip

#: Results that each operand dtype can have, the default first.
RESULTS_OF = {
    "float16": ("float16", "float32"), "bfloat16": ("bfloat16", "float32"), "float32": ("float32",),
    "float64": ("float64",), "complex64": ("complex64",), "complex128": ("complex128",), "int8": ("int32", "float32"),
}  # fmt: skip


def matrix_of(name: str, layout: Layout, shape: tuple[int, int], strides: tuple[int, int], conjugate: bool) -> Matrix:
    """The matrices of an operand, once shape and strides of a single one are known.

    Raises
    ------
    UnsupportedLayoutError
        If they are neither row- nor column-major.
    """
    rows, cols = shape
    row, col = strides
    n_batch = max(len(layout.shape) - 2, 0)
    matrix = Matrix(layout.dtype, rows, cols, row, col, layout.strides[:n_batch], conjugate)
    by_columns = (row == 1 or rows == 1) and (cols == 1 or col >= max(rows, 1))
    by_rows = (col == 1 or cols == 1) and (rows == 1 or row >= max(cols, 1))
    if not (by_columns or by_rows):
        raise UnsupportedLayoutError(
            f"{name} has the shape {layout.shape} and the strides {layout.strides} (in elements); expected matrices that "
            "are row-major or column-major, one stride being 1 and the other at least the extent of that axis: "
            f"copy {name}, for example with numpy.ascontiguousarray or .contiguous()"
        )
    return matrix


def check_extents(name: str, layout: Layout) -> None:
    if not layout.shape or 0 in layout.shape:
        raise ValueError(f"{name} has the shape {layout.shape}; expected at least one axis, and no extent of 0")


def batch_of(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The batch of the product, whose operands have equal batches or one of them none."""
    if a and b and a != b:
        raise ValueError(f"a has the batch shape {a} and b {b}; expected equal ones, or none for one of the two")
    return a or b


def result_dtype(a_dtype: str, c_dtype: str | None, result_type: int | None) -> str:
    """dtype of the result. Raises ValueError for combinations that do not exist."""
    possible = RESULTS_OF[a_dtype]
    wanted = DTYPE_OF.get(CudaDataType(result_type)) if result_type is not None else c_dtype
    if result_type is not None and wanted not in possible:
        raise ValueError(
            f"options.result_type is {CudaDataType(result_type).name}; operands of {a_dtype} have results of "
            f"{' or '.join(possible)}"
        )
    if c_dtype is not None and c_dtype != (wanted or possible[0]):
        raise ValueError(f"c has the dtype {c_dtype}; expected that of the result, {wanted or possible[0]}")
    if wanted is not None and wanted not in possible:
        raise ValueError(f"c has the dtype {wanted}; operands of {a_dtype} have results of {' or '.join(possible)}")
    return wanted or possible[0]


def result_order(a: Matrix, c: Matrix | None, epilog: MatmulEpilog) -> bool:
    """Whether the result is row-major: it inherits c's order, else what the epilog needs, else a's order."""
    if c is not None:
        return c.cols > 1 and c.leading[0]
    return not EPILOGS[epilog].column_major and a.col == 1


def dense_result(dtype: str, batch: tuple[int, ...], m: int, n: int, row_major: bool) -> Matrix:
    steps = tuple(step * m * n for step in contiguous_strides(batch))
    return Matrix(dtype, m, n, n if row_major else 1, 1 if row_major else m, steps)


def bytes_of(matrix: Matrix, batch: tuple[int, ...]) -> int:
    """Bytes of the matrix stored densely, with the whole batch."""
    return matrix.rows * matrix.cols * math.prod(batch) * ITEMSIZE[matrix.dtype]


def check_compute(dtype: str, compute_type: int | None, scale_type: int | None) -> str:
    """The least accurate dtype in which products of this dtype may be accumulated. Raises ValueError for types that do not fit."""
    possible = COMPUTE_OF[dtype]
    if compute_type is not None and compute_type not in possible:
        names = ", ".join(t.name for t in possible)
        raise ValueError(f"options.compute_type is {MatmulComputeType(compute_type).name}; {dtype} has {names}")
    compute = possible[0] if compute_type is None else MatmulComputeType(compute_type)
    work = WORK_DTYPE[dtype]
    half = compute in (_T.COMPUTE_16F, _T.COMPUTE_16F_PEDANTIC)
    scales = ("CUDA_R_16F",) if half else SCALES_OF.get(dtype, SCALES_OF[work])
    if scale_type is not None and CudaDataType(scale_type).name not in scales:
        raise ValueError(
            f"options.scale_type is {CudaDataType(scale_type).name}; products of {dtype} computed as {compute.name} have "
            f"{' or '.join(scales)}"
        )
    return "float16" if half else work
