"""What the tests on a CUDA device share."""

from __future__ import annotations

from typing import Any

import pytest

from planmath.core import devices
from tests.cuda.streams import STREAMS
from tests.cuda.work import WORKS, Work

WITHOUT_DEVICE = "without_device"
PACKAGES = {"cupy": "cupy", "torch-cuda": "torch"}
"""The packages of device arrays, and the module that each one needs."""


@pytest.fixture(autouse=True)
def _on_a_device(request: pytest.FixtureRequest) -> None:
    if not request.node.get_closest_marker(WITHOUT_DEVICE) and (reason := devices.missing()):
        pytest.skip(reason)


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """A package whose arrays are on the device."""
    pytest.importorskip(PACKAGES[request.param])
    return request.param


@pytest.fixture
def streams(package: str) -> Any:
    return STREAMS[package]


@pytest.fixture(params=WORKS, ids=lambda work: work.name)
def work(request: pytest.FixtureRequest) -> Work:
    return request.param
