"""The enumerations of distributed products, numbered as cuBLASMp numbers them."""

from __future__ import annotations

import enum

from planmath.linalg.advanced.enums import MatmulComputeType
from planmath.linalg.advanced.enums import MatmulEpilog as LocalEpilog


class MatmulEpilog(enum.IntEnum):
    """What is done to the product before it becomes the result."""

    ALLREDUCE = 1
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

    @property
    def local(self) -> LocalEpilog:
        """What is done to this rank's part; to ALLREDUCE's nothing."""
        return LocalEpilog(self.value)


class MatmulAlgoType(enum.IntEnum):
    """How exchange and product are made to overlap: a hint for libraries that have the choice."""

    DEFAULT = 0
    SPLIT_P2P = 1
    SPLIT_MULTICAST = 2
    ATOMIC_P2P = 3
    ATOMIC_MULTICAST = 4
    NO_OVERLAP = 5


__all__ = ["LocalEpilog", "MatmulAlgoType", "MatmulComputeType", "MatmulEpilog"]
