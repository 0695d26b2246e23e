"""The specification of a matrix multiplication."""

from __future__ import annotations

import math
from typing import NamedTuple

from planmath.core.arrays import Layout, contiguous_strides
from planmath.linalg.advanced.enums import MatmulEpilog, MatmulNumericalImplFlags, MatmulReductionScheme
from planmath.linalg.advanced.epilog import EPILOGS, EXTENTS, is_vector
from planmath.linalg.product.matrix import WORK_DTYPE, Matrix, dense_result


class Choices(NamedTuple):
    """What matters for planning on a CUDA device only."""

    compute_type: int
    """A `MatmulComputeType`."""
    scale: str
    """dtype of alpha and beta."""
    memory: int
    """Most bytes of temporary memory."""
    multiprocessors: int = 0
    """How many to plan for; 0 stands for all."""
    fast_accumulation: bool = False
    handle: int = 0
    """The user's own, or 0."""
    reductions: int = int(MatmulReductionScheme.MASK)
    waves: float = 0.0
    implementations: int = int(MatmulNumericalImplFlags.ALL)


class Quantization(NamedTuple):
    """What operands of 8 and 4 bits bring along."""

    scaled: tuple[str, ...]
    """Which of a, b and d have a quantization scale."""
    blocks: tuple[Matrix, ...] = ()
    """The scales of a's and b's blocks; none where there is one scale for a matrix."""
    amax: bool = False
    """Whether the largest magnitude in the result is a result, too."""
    auxiliary: str = ""
    """dtype of GELU's auxiliary result, where it is not the result's."""
    auxiliary_amax: bool = False


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
    cuda: Choices | None = None
    """None on the CPU."""
    narrow: Quantization | None = None
    """None for operands of 16 bits and more, and of integers."""

    @property
    def scale(self) -> str:
        """dtype of alpha and beta."""
        return self.cuda.scale if self.cuda else WORK_DTYPE[self.a.dtype]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The epilog's inputs."""
        quantized = self.narrow is not None and self.narrow.auxiliary in NARROW
        return EPILOGS[self.epilog].inputs + ((AUXILIARY_SCALE,) if quantized else ())

    @property
    def operand_names(self) -> tuple[str, ...]:
        """The user's operands in their order."""
        scales = [scale_slot(name) for name in self.narrow.scaled] if self.narrow else []
        return ("a", "b", *(["c"] if self.c else []), *scales, *self.input_names)

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
            if self.narrow:
                dtype = self._narrow_auxiliary(name)
            steps = tuple(step * rows * cols for step in contiguous_strides(self.batch))
            matrices[name] = Matrix(dtype, rows, cols, 1, rows, steps)
        if self.narrow and self.narrow.amax:
            matrices[RESULT_AMAX] = SINGLE
        if self.narrow and self.narrow.auxiliary_amax:
            matrices[AUXILIARY_AMAX] = SINGLE
        if self.narrow and self.narrow.blocks and self.d.dtype in SCALED:
            matrices[RESULT_SCALES] = scales_of(self.d, self.batch)
        return matrices

    def _narrow_auxiliary(self, name: str) -> str:
        """dtype of an epilog's result where operands have 8 bits or 4: a gradient of a bias has that of biases."""
        assert self.narrow is not None
        if name == "relu_aux":
            return "uint8"
        if name == "gelu_aux":
            return self.narrow.auxiliary or self.d.dtype
        return BIASES[self.c.dtype if self.c else ADDENDS[self.d.dtype][-1]]

    def array_layout(self, name: str, matrix: Matrix) -> Layout:
        """Shape and strides of the array that holds an auxiliary result."""
        if name == RESULT_SCALES:
            count = math.prod(self.batch) * matrix.rows
            return Layout((count,), (1,), matrix.dtype, "cpu", None)
        if matrix is SINGLE or (is_vector(name) and not self.batch):
            return Layout((matrix.rows,), (1,), matrix.dtype, "cpu", None)
        shape = (*self.batch, matrix.rows, matrix.cols)
        return Layout(shape, (*matrix.batch, matrix.row, matrix.col), matrix.dtype, "cpu", None)


#: The dtypes of 8 bits that are scaled, and the one of 4 bits, of which two numbers are one element.
NARROW = ("float8_e4m3fn", "float8_e5m2")
FP4 = "float4_e2m1fn_x2"
SCALED = (*NARROW, FP4)
#: Numbers that share a scale where blocks have one, and the scales' dtype.
BLOCK = {"float8_e4m3fn": 32, "float8_e5m2": 32, FP4: 16}
BLOCK_SCALES = {"float8_e4m3fn": "uint8", "float8_e5m2": "uint8", FP4: "float8_e4m3fn"}
#: The compute capability from which on devices have products whose blocks have scales.
BLOCK_SCALING = (10, 0)
#: What can be added to products of them with each result, the default first.
ADDENDS = {
    "bfloat16": ("bfloat16",), "float16": ("float16",), "float32": ("float32",),
} | dict.fromkeys(SCALED, ("bfloat16", "float16"))  # fmt: skip
#: The bias, by what is added.
BIASES = {"bfloat16": "bfloat16", "float16": "float16", "float32": "bfloat16"}
#: Names of what they bring along: the scale of an epilog's auxiliary result, and largest magnitudes before scaling.
AUXILIARY_SCALE, RESULT_AMAX, AUXILIARY_AMAX = "aux_quantization_scale", "result_amax", "gelu_aux_amax"
#: And the scales of a result's blocks.
RESULT_SCALES = "d_out_scale"
#: A quantization scale, or a largest magnitude.
SINGLE = Matrix("float32", 1, 1, 1, 1)


def scale_slot(name: str) -> str:
    """What the quantization scale of one of a, b, c and d is called among the operands."""
    return f"quantization_scales.{name}"


def numbers_of(matrix: Matrix) -> Matrix:
    """The matrix counted in numbers, where an element may be two of them, along memory."""
    if matrix.dtype != FP4:
        return matrix
    if matrix.col == 1:
        return matrix._replace(cols=2 * matrix.cols, row=2 * matrix.row)
    return matrix._replace(rows=2 * matrix.rows, col=2 * matrix.col)


def narrow_result(dtype: str, batch: tuple[int, ...], m: int, n: int, row_major: bool) -> Matrix:
    """As `dense_result`, for a result that may have two numbers in an element."""
    if dtype != FP4:
        return dense_result(dtype, batch, m, n, row_major)
    return dense_result(dtype, batch, m, n // 2, True) if row_major else dense_result(dtype, batch, m // 2, n, False)


def scales_of(matrix: Matrix, batch: tuple[int, ...]) -> Matrix:
    """The scales of a matrix's blocks, one after the other in the order of their layout, for each matrix of a batch."""
    whole = numbers_of(matrix)
    count = whole.rows * whole.cols // BLOCK[matrix.dtype]
    return Matrix(
        BLOCK_SCALES[matrix.dtype], count, 1, 1, count, tuple(count * step for step in contiguous_strides(batch))
    )


def result_order(a: Matrix, c: Matrix | None, epilog: MatmulEpilog) -> bool:
    """Whether the result is row-major: it inherits c's order, else what the epilog needs, else a's order."""
    if c is not None:
        return c.cols > 1 and c.leading[0]
    return not EPILOGS[epilog].column_major and a.col == 1
