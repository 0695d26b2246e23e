"""What the tests on a CUDA device share."""

from __future__ import annotations

from typing import Any

import pytest

from planmath.core.cuda import devices
from tests.arrays import DEVICE_PACKAGES
from tests.cuda.streams import STREAMS
from tests.cuda.work import WORKS, Work


@pytest.fixture(autouse=True)
def _on_a_device(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("without_device"):
        return
    if reason := devices.missing():
        pytest.skip(reason)
    if "work" in request.fixturenames and (reason := request.getfixturevalue("work").missing()):
        pytest.skip(reason)


@pytest.fixture(params=DEVICE_PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """A package whose arrays are on the device."""
    return request.param


@pytest.fixture
def streams(package: str) -> Any:
    return STREAMS[package]


@pytest.fixture(params=WORKS, ids=lambda work: work.name)
def work(request: pytest.FixtureRequest) -> Work:
    return request.param
