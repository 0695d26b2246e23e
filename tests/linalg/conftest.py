"""What the tests of matrix multiplication share."""

from __future__ import annotations

import pytest

from tests.linalg.operands import cases


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest):
    """A library, a package and a dtype."""
    return request.param
