"""Mistakes of a user, and what the messages must say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest


class Misuse(NamedTuple):
    """What a user does, and what the message must have in it."""

    what: str
    call: Callable[[], Any]
    error: type[Exception]
    says: tuple[str, ...]


def check(misuse: Misuse) -> None:
    with pytest.raises(misuse.error) as caught:
        misuse.call()
    assert type(caught.value) is misuse.error
    for part in misuse.says:
        assert re.search(part, str(caught.value)), f"{part!r} is not in: {caught.value}"


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
