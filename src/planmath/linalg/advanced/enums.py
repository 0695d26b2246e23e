"""The enumerations of advanced matrix multiplication, numbered as cuBLASLt numbers them (``cublasLt.h``)."""

from __future__ import annotations

import enum

from planmath.linalg.generic.enums import ComputeType


class MatmulEpilog(enum.IntEnum):
    """What is done to the product before it becomes the result (``cublasLtEpilogue_t``)."""

    DEFAULT = 1
    RELU = 2
    BIAS = 4
    RELU_BIAS = 6
    GELU = 32
    GELU_BIAS = 36
    RELU_AUX = 130
    RELU_AUX_BIAS = 134
    DRELU = 136
    DRELU_BGRAD = 152
    GELU_AUX = 160
    GELU_AUX_BIAS = 164
    DGELU = 192
    DGELU_BGRAD = 208
    BGRADA = 256
    BGRADB = 512


#: How products are accumulated.
MatmulComputeType = ComputeType


class MatmulInnerShape(enum.IntEnum):
    """Shape of the matrix instruction inside a kernel (``cublasLtMatmulInnerShape_t``)."""

    UNDEFINED = 0
    MMA884 = 1
    MMA1684 = 2
    MMA1688 = 3
    MMA16816 = 4


class MatmulNumericalImplFlags(enum.IntFlag):
    """Numerical implementations that planning may choose (``cublasLtNumericalImplFlags_t``)."""

    OP_TYPE_FMA = 1
    OP_TYPE_TENSOR_HMMA = 2
    OP_TYPE_TENSOR_IMMA = 4
    OP_TYPE_TENSOR_DMMA = 8
    OP_TYPE_TENSOR_MASK = 254
    OP_TYPE_MASK = 255
    ACCUMULATOR_16F = 256
    ACCUMULATOR_32F = 512
    ACCUMULATOR_64F = 1024
    ACCUMULATOR_32I = 2048
    ACCUMULATOR_TYPE_MASK = 65280
    INPUT_TYPE_16F = 65536
    INPUT_TYPE_16BF = 131072
    INPUT_TYPE_TF32 = 262144
    INPUT_TYPE_32F = 524288
    INPUT_TYPE_64F = 1048576
    INPUT_TYPE_8I = 2097152
    INPUT_TYPE_8F_E4M3 = 4194304
    INPUT_TYPE_8F_E5M2 = 8388608
    INPUT_TYPE_MASK = 16711680
    GAUSSIAN = 4294967296
    ALL = 18446744073709551615


class MatmulReductionScheme(enum.IntFlag):
    """How the parts of a product split along k are summed (``cublasLtReductionScheme_t``)."""

    NONE = 0
    INPLACE = 1
    COMPUTE_TYPE = 2
    OUTPUT_TYPE = 4
    MASK = 7
