"""Callbacks that a transform calls when it loads and stores elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True)
class DeviceCallable:
    """A compiled callback.

    Parameters
    ----------
    ltoir : int or bytes, optional
        The callback in LTO-IR form, or the address of it.
    size : int, optional
        Its size in bytes, where `ltoir` is an address.
    data : int, optional
        Address of the data that the callback gets.
    """

    ltoir: Any = None
    size: int | None = None
    data: int | None = None


def reject_callbacks(prolog: Any, epilog: Any) -> None:
    """Raise where a callback is given."""
    for name, callback in (("prolog", prolog), ("epilog", epilog)):
        if callback is not None:
            _not_yet(f"the {name} callback of a transform")


def compile_prolog(
    function: Any, element_dtype: str, user_info_dtype: Any, *, name: str | None = None, phase: Any = None,
    representation: str = "ltoir", compute_capability: Any = None,
) -> DeviceCallable:  # fmt: skip
    """Compile a Python function into a callback for loading elements. Not available yet: raises NotImplementedError."""
    _not_yet("compile_prolog")


def compile_epilog(
    function: Any, element_dtype: str, user_info_dtype: Any, *, name: str | None = None, phase: Any = None,
    representation: str = "ltoir", compute_capability: Any = None,
) -> DeviceCallable:  # fmt: skip
    """Compile a Python function into a callback for storing elements. Not available yet: raises NotImplementedError."""
    _not_yet("compile_epilog")


def _not_yet(what: str) -> NoReturn:
    raise NotImplementedError(f"{what} is not supported yet; apply the function to the operand or the result instead")
