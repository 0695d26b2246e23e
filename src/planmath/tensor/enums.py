"""The enumerations of tensor contractions, numbered as cuTENSOR numbers them (``cutensor.h``)."""

from __future__ import annotations

import enum


class Operator(enum.IntEnum):
    """What is done to each element of an operand before it is multiplied or added (``cutensorOperator_t``)."""

    OP_IDENTITY = 1
    OP_SQRT = 2
    OP_ADD = 3
    OP_MUL = 5
    OP_MAX = 6
    OP_MIN = 7
    OP_RELU = 8
    OP_CONJ = 9
    OP_RCP = 10
    OP_SIGMOID = 11
    OP_TANH = 12
    OP_EXP = 22
    OP_LOG = 23
    OP_ABS = 24
    OP_NEG = 25
    OP_SIN = 26
    OP_COS = 27
    OP_TAN = 28
    OP_SINH = 29
    OP_COSH = 30
    OP_ASIN = 31
    OP_ACOS = 32
    OP_ATAN = 33
    OP_ASINH = 34
    OP_ACOSH = 35
    OP_ATANH = 36
    OP_CEIL = 37
    OP_FLOOR = 38
    OP_MISH = 39
    OP_SWISH = 40
    OP_SOFT_PLUS = 41
    OP_SOFT_SIGN = 42
    OP_UNKNOWN = 126


_O = Operator
#: Those that take two elements, or none, and so cannot be applied to an operand.
NOT_UNARY = frozenset({_O.OP_ADD, _O.OP_MUL, _O.OP_MAX, _O.OP_MIN, _O.OP_UNKNOWN})
#: Those that are not defined for complex elements, or whose result would be real.
REAL_ONLY = frozenset({
    _O.OP_RELU, _O.OP_SIGMOID, _O.OP_ABS, _O.OP_CEIL, _O.OP_FLOOR, _O.OP_MISH, _O.OP_SWISH, _O.OP_SOFT_PLUS,
    _O.OP_SOFT_SIGN,
})  # fmt: skip


class ContractionAlgo(enum.IntEnum):
    """How a contraction is carried out (``cutensorAlgo_t``)."""

    DEFAULT_PATIENT = -6
    GETT = -4
    TGETT = -3
    TTGT = -2
    DEFAULT = -1


class ContractionAutotuneMode(enum.IntEnum):
    """Whether the library tries its kernels in the first executions (``cutensorAutotuneMode_t``)."""

    NONE = 0
    INCREMENTAL = 1


class ContractionCacheMode(enum.IntEnum):
    """Which plans are taken from the library's cache (``cutensorCacheMode_t``)."""

    NONE = 0
    PEDANTIC = 1


class ContractionJitMode(enum.IntEnum):
    """Whether the library compiles a kernel for the contraction (``cutensorJitMode_t``)."""

    NONE = 0
    DEFAULT = 1


class ComputeDescriptor(enum.IntEnum):
    """How products are computed and summed. The numbers are planmath's own: cuTENSOR has objects in their place."""

    COMPUTE_16F = 1
    COMPUTE_32F = 4
    COMPUTE_64F = 16
    COMPUTE_16BF = 1024
    COMPUTE_TF32 = 4096
    COMPUTE_3XTF32 = 8192
    COMPUTE_4X16F = 16384
    COMPUTE_9X16BF = 32768
    COMPUTE_8XINT8 = 65536


class ComputeDesc:
    """The compute descriptors, for `ContractionOptions.compute_type`.

    A descriptor names the least accurate arithmetic that is allowed; the CPU computes in single precision where a
    descriptor of float16, bfloat16, float32 or complex64 operands allows less, and always in double precision for
    float64 and complex128.

    Examples
    --------
    >>> from planmath.tensor import ComputeDesc
    >>> ComputeDesc.COMPUTE_32F()
    <ComputeDescriptor.COMPUTE_32F: 4>
    """

    @classmethod
    def COMPUTE_16F(cls) -> int:
        """Half precision."""
        return ComputeDescriptor.COMPUTE_16F

    @classmethod
    def COMPUTE_16BF(cls) -> int:
        """bfloat16."""
        return ComputeDescriptor.COMPUTE_16BF

    @classmethod
    def COMPUTE_TF32(cls) -> int:
        """TensorFloat-32."""
        return ComputeDescriptor.COMPUTE_TF32

    @classmethod
    def COMPUTE_3XTF32(cls) -> int:
        """Single precision out of three products in TensorFloat-32."""
        return ComputeDescriptor.COMPUTE_3XTF32

    @classmethod
    def COMPUTE_32F(cls) -> int:
        """Single precision."""
        return ComputeDescriptor.COMPUTE_32F

    @classmethod
    def COMPUTE_64F(cls) -> int:
        """Double precision."""
        return ComputeDescriptor.COMPUTE_64F

    @classmethod
    def COMPUTE_4X16F(cls) -> int:
        """Single precision out of four products in half precision."""
        return ComputeDescriptor.COMPUTE_4X16F

    @classmethod
    def COMPUTE_9X16BF(cls) -> int:
        """Single precision out of nine products in bfloat16."""
        return ComputeDescriptor.COMPUTE_9X16BF

    @classmethod
    def COMPUTE_8XINT8(cls) -> int:
        """Double precision out of products of 8-bit integers."""
        return ComputeDescriptor.COMPUTE_8XINT8
