"""What the tests of the Fourier transforms share."""

from __future__ import annotations

import pytest

from planmath.fft.providers import PROVIDERS
from tests.providers import provider_parameters


@pytest.fixture(params=provider_parameters(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> str:
    """The name of a library that computes transforms."""
    return request.param
