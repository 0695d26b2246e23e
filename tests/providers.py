"""Providers as test parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from planmath.core.provider import Provider


def provider_parameters(providers: Sequence[Provider]) -> list[Any]:
    """The names of the providers; those that this machine lacks are skipped, for the reason they give themselves."""
    return [
        pytest.param(p.name, marks=pytest.mark.skipif((reason := p.unavailable()) is not None, reason=str(reason)))
        for p in providers
    ]


def available(providers: Sequence[Provider]) -> list[str]:
    """The names of the providers that this machine has."""
    return [p.name for p in providers if p.unavailable() is None]
