"""What the tests of the Fourier transforms share."""

from __future__ import annotations

import pytest

from planmath.fft.providers import PROVIDERS
from tests.providers import Pair, pairs


@pytest.fixture(params=pairs(PROVIDERS))
def pair(request: pytest.FixtureRequest) -> Pair:
    """A library that computes transforms, and a package whose arrays are where it computes."""
    return request.param


@pytest.fixture
def provider(pair: Pair) -> str:
    """The name of a library that computes transforms."""
    return pair.provider


@pytest.fixture
def package(pair: Pair) -> str:
    """The name of a package whose arrays are where the provider computes."""
    return pair.package
