"""What the tests of the sparse solver share."""

from __future__ import annotations

import pytest

from planmath.sparse.advanced.providers import PROVIDERS
from tests.arrays import HOST_PACKAGES
from tests.providers import on_host, provider_parameters


@pytest.fixture(params=HOST_PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """The name of an array package on the host; test_cudss.py has those of devices."""
    return request.param


@pytest.fixture(params=provider_parameters(on_host(PROVIDERS)))
def provider(request: pytest.FixtureRequest) -> str:
    """The name of a library that solves sparse systems on the CPU."""
    return request.param
