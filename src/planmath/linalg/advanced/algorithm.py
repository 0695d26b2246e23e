"""Algorithms as users see them: chosen, listed, saved and given back to a later plan."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from planmath.core import provider

#: An algorithm as an array that can be saved with `numpy.save`.
ALGORITHM_DTYPE = np.dtype([("provider", "U32"), ("knobs", "U480")])


class Algorithm:
    """One way to compute a planned matrix multiplication.

    Parameters
    ----------
    algorithm : core.provider.Algorithm

    Notes
    -----
    The properties that describe a cuBLASLt kernel (tile, stages, split_k, ...) are None on the CPU, where an algorithm
    is a provider with its settings: see `provider` and `knobs`.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg.advanced import Algorithm, Matmul
    >>> with Matmul(np.eye(2), np.eye(2)) as mm:
    ...     best = mm.plan()[0]
    >>> Algorithm.from_numpy(best.as_numpy()) == best
    True
    """

    def __init__(self, algorithm: provider.Algorithm):
        if not isinstance(algorithm, provider.Algorithm):
            raise TypeError(
                f"algorithm is a {type(algorithm).__name__}; take it from Matmul.plan() or make it with "
                "Algorithm.from_numpy"
            )
        self._algorithm = algorithm

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self._algorithm.provider

    @property
    def knobs(self) -> dict[str, Any]:
        """The provider's settings."""
        return dict(self._algorithm.knobs)

    @property
    def algorithm_id(self) -> int:
        """A number that identifies the algorithm, the same in every process."""
        return int.from_bytes(str(self._algorithm).encode(), "big") % (2**31 - 1)

    capabilities = cluster_shape = cta_swizzling = custom_option = inner_shape = property(
        lambda self: None, doc="None on the CPU."
    )
    reduction_scheme = split_k = stages = tile = property(lambda self: None, doc="None on the CPU.")

    def as_numpy(self) -> np.ndarray:
        """The algorithm as an array of one element, to be saved."""
        return np.array([(self.provider, json.dumps(self._algorithm.knobs))], ALGORITHM_DTYPE)

    @classmethod
    def from_numpy(cls, array: np.ndarray) -> Algorithm:
        """The algorithm that `as_numpy` made the array of."""
        if not isinstance(array, np.ndarray) or array.dtype != ALGORITHM_DTYPE or array.size != 1:
            raise ValueError("array is not one that Algorithm.as_numpy made")
        name, text = array.reshape(())[()]
        try:
            knobs = tuple((str(knob), value) for knob, value in json.loads(str(text)))
            return cls(provider.Algorithm(str(name), knobs))
        except (TypeError, ValueError) as error:
            raise ValueError(f"array is not one that Algorithm.as_numpy made: {error}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Algorithm) and other._algorithm == self._algorithm

    def __hash__(self) -> int:
        return hash(self._algorithm)

    def __repr__(self) -> str:
        return f"<Algorithm {self._algorithm}>"
