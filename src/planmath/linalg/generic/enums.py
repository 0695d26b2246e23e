"""Numbers with names that qualifiers of generic products take, with cuBLAS's values."""

import enum


class FillMode(enum.IntEnum):
    """Which triangle of a matrix is read (``cublasFillMode_t``)."""

    LOWER = 0
    UPPER = 1
    FULL = 2


class DiagType(enum.IntEnum):
    """Whether the diagonal of a triangular matrix is stored, or consists of ones (``cublasDiagType_t``)."""

    NON_UNIT = 0
    UNIT = 1


class SideMode(enum.IntEnum):
    """On which side of a product the structured matrix stands (``cublasSideMode_t``)."""

    LEFT = 0
    RIGHT = 1


class ComputeType(enum.IntEnum):
    """How products are accumulated (``cublasComputeType_t``)."""

    COMPUTE_16F = 64
    COMPUTE_16F_PEDANTIC = 65
    COMPUTE_32F = 68
    COMPUTE_32F_PEDANTIC = 69
    COMPUTE_64F = 70
    COMPUTE_64F_PEDANTIC = 71
    COMPUTE_32I = 72
    COMPUTE_32I_PEDANTIC = 73
    COMPUTE_32F_FAST_16F = 74
    COMPUTE_32F_FAST_16BF = 75
    COMPUTE_32F_FAST_TF32 = 77
    COMPUTE_32F_EMULATED_16BFX9 = 78
    COMPUTE_64F_EMULATED_FIXEDPOINT = 79
