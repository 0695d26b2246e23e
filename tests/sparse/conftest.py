"""What the tests of the sparse solver share."""

from __future__ import annotations

import pytest

from planmath.sparse.advanced.providers import PROVIDERS
from tests.providers import provider_parameters


@pytest.fixture(params=provider_parameters(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> str:
    """The name of a library that solves sparse systems."""
    return request.param
