"""What functions for kernels have in common: how their parameters are checked, and how kernels see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class DeviceFunction:
    """An object that kernels call methods of. It is a constant of the kernel, and so are its attributes."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells functions apart: everything that code depends on."""
        raise NotImplementedError

    #: Attributes that kernels cannot see, for they are no numbers or types.
    hidden: ClassVar[frozenset[str]] = frozenset({"real_fft_options"})

    @property
    def _numba_type_(self) -> Any:
        from planmath.device import kernels

        return kernels.type_of(self)


class Choice:
    """Numbers of words, as libmathdx has them."""

    EXECUTION: ClassVar[dict[str, int]] = {"Thread": 0, "Block": 1}
    ARRANGEMENT: ClassVar[dict[str, int]] = {"col_major": 0, "row_major": 1}
    TRANSPOSE: ClassVar[dict[str, int]] = {"non_transposed": 0, "transposed": 1, "conj_transposed": 2}
    TYPE: ClassVar[dict[str, int]] = {"real": 0, "complex": 1}
    FILL: ClassVar[dict[str, int]] = {"upper": 0, "lower": 1}
    SIDE: ClassVar[dict[str, int]] = {"left": 0, "right": 1}
    DIAG: ClassVar[dict[str, int]] = {"unit": 0, "non_unit": 1}
    JOB: ClassVar[dict[str, int]] = {
        "no_vectors": 0, "all_vectors": 1, "multiply_vectors": 2, "overwrite_vectors": 3,
    }  # fmt: skip


def choose(name: str, given: Any, allowed: Sequence[str]) -> str:
    """A word out of a list."""
    if not isinstance(given, str) or given not in allowed:
        raise ValueError(f"{name} is {' or '.join(map(repr, allowed))}, not {given!r}")
    return given


def positive(name: str, given: Any) -> int:
    """A positive integer."""
    if isinstance(given, bool) or not hasattr(given, "__index__") or given.__index__() < 1:
        raise ValueError(f"{name} is a positive integer, not {given!r}")
    return given.__index__()


def positives(name: str, given: Any, counts: Sequence[int]) -> tuple[int, ...]:
    """Some positive integers, so many of them as there may be."""
    try:
        found = tuple(given)
    except TypeError:
        found = (given,)
    if len(found) not in counts:
        raise ValueError(f"{name} is {' or '.join(map(str, counts))} integers, not {given!r}")
    return tuple(positive(name, each) for each in found)
