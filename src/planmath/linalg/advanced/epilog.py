"""What each epilog is made of, as data: its activation, its inputs, its auxiliary results and their shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from planmath.linalg.advanced.enums import MatmulEpilog


class Epilog(NamedTuple):
    """One epilog.

    Parameters
    ----------
    activation : {'identity', 'relu', 'gelu', 'drelu', 'dgelu'}
    inputs : tuple of str
        Names of the arrays that the user gives.
    auxiliary : tuple of str
        Names of the results beside the main one.
    """

    activation: str = "identity"
    inputs: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()

    @property
    def column_major(self) -> bool:
        """Whether the result is laid out by columns: where bias, masks or gradients run along its rows' index."""
        return bool(self.inputs or self.auxiliary)

    @property
    def mask(self) -> str | None:
        """Name of the array that carries the activation's state from the forward to the backward pass."""
        return next((name for name in (*self.inputs, *self.auxiliary) if name.endswith("_aux")), None)

    @property
    def sums(self) -> str | None:
        """Name of the auxiliary result that sums over columns."""
        return next((name for name in self.auxiliary if name.endswith("_bgrad") or name.startswith("bgrad")), None)


E = MatmulEpilog
EPILOGS: dict[MatmulEpilog, Epilog] = {
    E.DEFAULT: Epilog(),
    E.RELU: Epilog("relu"),
    E.RELU_AUX: Epilog("relu", (), ("relu_aux",)),
    E.BIAS: Epilog("identity", ("bias",)),
    E.RELU_BIAS: Epilog("relu", ("bias",)),
    E.RELU_AUX_BIAS: Epilog("relu", ("bias",), ("relu_aux",)),
    E.DRELU: Epilog("drelu", ("relu_aux",)),
    E.DRELU_BGRAD: Epilog("drelu", ("relu_aux",), ("drelu_bgrad",)),
    E.GELU: Epilog("gelu"),
    E.GELU_AUX: Epilog("gelu", (), ("gelu_aux",)),
    E.GELU_BIAS: Epilog("gelu", ("bias",)),
    E.GELU_AUX_BIAS: Epilog("gelu", ("bias",), ("gelu_aux",)),
    E.DGELU: Epilog("dgelu", ("gelu_aux",)),
    E.DGELU_BGRAD: Epilog("dgelu", ("gelu_aux",), ("dgelu_bgrad",)),
    E.BGRADA: Epilog("identity", (), ("bgrada",)),
    E.BGRADB: Epilog("identity", (), ("bgradb",)),
}
del E


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


#: Rows and columns of an epilog's arrays for an (m, n) result. The mask has one bit for each element, and columns of a
#: multiple of 128 bits; GELU's state has columns of a multiple of 8 elements (cuBLASLt, EPILOGUE_AUX_LD).
EXTENTS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "bias": lambda m, n: (m, 1),
    "relu_aux": lambda m, n: (round_up(m, 128) // 8, n),
    "gelu_aux": lambda m, n: (round_up(m, 8), n),
    "drelu_bgrad": lambda m, n: (m, 1),
    "dgelu_bgrad": lambda m, n: (m, 1),
    "bgrada": lambda m, n: (m, 1),
    "bgradb": lambda m, n: (n, 1),
}


def is_vector(name: str) -> bool:
    """Whether the array is a vector, which is one-dimensional where there is no batch."""
    return not name.endswith("_aux")
