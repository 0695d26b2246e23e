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
