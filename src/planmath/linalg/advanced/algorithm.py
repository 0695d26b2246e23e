"""Algorithms as users see them: chosen, listed, saved and given back to a later plan."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from planmath.core import provider
from planmath.linalg.advanced.capabilities import AlgorithmCapabilities, extents
from planmath.linalg.advanced.enums import MatmulInnerShape, MatmulReductionScheme
from planmath.linalg.advanced.providers import PROVIDERS

#: An algorithm as an array that can be saved with `numpy.save`.
ALGORITHM_DTYPE = np.dtype([("provider", "U32"), ("knobs", "U720")])


class Algorithm:
    """One way to compute a planned matrix multiplication.

    Parameters
    ----------
    algorithm : core.provider.Algorithm

    Notes
    -----
    The properties that describe a cuBLASLt kernel (tile, stages, split_k, ...) can be set within its `capabilities`;
    the changed algorithm is another one, to be given to `Matmul.plan` or `Matmul.execute`. They are None on the CPU,
    where an algorithm is a provider with its settings: see `provider` and `knobs`.

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
        return {name: value for name, value in self._algorithm.knobs if not name.startswith("_")}

    @property
    def algorithm_id(self) -> int:
        """A number that identifies the algorithm, the same in every process: the library's own where it has one."""
        if (number := self._algorithm.get("id")) is not None:
            return int(number)
        return int.from_bytes(str(self._algorithm).encode(), "big") % (2**31 - 1)

    @property
    def capabilities(self) -> AlgorithmCapabilities | None:
        """What the knobs can be set to; None on the CPU."""
        provider = self._library()
        return provider.capabilities(self._algorithm) if hasattr(provider, "capabilities") else None

    def _library(self) -> Any:
        """The provider as an object."""
        return next((p for p in PROVIDERS if p.name == self.provider), None)

    def _set(self, knob: str, value: Any) -> None:
        provider = self._library()
        if not hasattr(provider, "configured"):
            raise AttributeError(f"algorithms of {self.provider} have no {knob}; only those of cublaslt do")
        self._algorithm = provider.configured(self._algorithm, knob, value)

    @staticmethod
    def _knob(name: str, meaning: str, kind: Any = None) -> Any:
        """A property that is a knob of a CUDA library's algorithms."""

        def get(self: Algorithm) -> Any:
            value = self._algorithm.get(name)
            if isinstance(value, str):
                return extents(value)
            return value if kind is None or value is None else kind(value)

        def put(self: Algorithm, value: Any) -> None:
            self._set(name, value)

        return property(get, put, doc=f"{meaning} None on the CPU.")

    tile = _knob("tile", "Rows and columns of the result that a thread block computes; one of ``tile_ids``.")
    stages = _knob("stages", "Depth and number of the buffers for operands; one of ``stages_ids``.")
    cluster_shape = _knob("cluster_shape", "Thread blocks of a cluster; one of ``cluster_shape_ids``, or 'AUTO'.")
    split_k = _knob("split_k", "Parts into which sums over k are split; more than 1 where ``splitk_support`` is 1.")
    reduction_scheme = _knob(
        "reduction_scheme", "How these are summed; within ``reduction_scheme_mask``.", MatmulReductionScheme
    )
    cta_swizzling = _knob("cta_swizzling", "Whether tiles are reordered; only where ``cta_swizzling_support`` is 1.")
    custom_option = _knob("custom_option", "An option of the algorithm's own, up to ``custom_option_max``.")
    inner_shape = _knob("inner_shape", "Shape of the matrix instruction, a `MatmulInnerShape`.", MatmulInnerShape)

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
