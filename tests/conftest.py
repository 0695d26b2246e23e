"""What the tests of all operations share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from planmath.bindings import runtime
from planmath.core import execution, remembered
from planmath.core.cuda import devices, memory, streams
from planmath.core.tuning import record
from planmath.native import threads
from tests import pairwise
from tests.arrays import PACKAGES

COMMON = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.function_scoped_fixture]}
#: The same examples in every run, so that a change of the result means a change of the code.
hypothesis.settings.register_profile("repeatable", derandomize=True, max_examples=300, **COMMON)
#: New examples in every run, to look for trouble: pytest --hypothesis-profile=explore
hypothesis.settings.register_profile("explore", max_examples=5000, **COMMON)
hypothesis.settings.load_profile("repeatable")


#: Packages and providers that only a CUDA device has, as they stand in the parameters of tests.
CUDA_PARAMETERS = {"cupy", "torch-cuda", "cufft", "cublas", "cublaslt", "cutensor", "cudss", "cusolver", "cusparse"}
CUDA_TESTS = (
    "tests/cuda/", "tests/bindings/test_on_device", "tests/device/test_on_device", "test_cublas", "test_cufft",
    "test_fp8", "test_cutensor", "test_cudss", "test_cusolver", "test_cusparse", "test_callbacks_cuda",
    "test_device_code", "test_device_kernels", "test_strided_copy",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before the markers choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-cuda` runs: whole files, and of the others what has a device's parameter.

    And mark what `make test` leaves out.
    """
    for item in items:
        words = re.split(r"[^a-z0-9]+", item.name.partition("[")[2].replace("torch-cuda", "cupy"))
        if CUDA_PARAMETERS.intersection(words) or any(part in item.path.as_posix() for part in CUDA_TESTS):
            item.add_marker("cuda")
    tests: dict[Any, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("pairwise"):
            tests.setdefault((item.path, item.name.partition("[")[0]), []).append(item)
    for combinations in tests.values():
        pairwise.choose(combinations)


@pytest.fixture(scope="session", autouse=True)
def _tuning_record_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the user's own tuning record, and the workers of a parallel run from each other's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANMATH_CACHE_DIR", str(tmp_path_factory.mktemp("tuning")))
        yield


@pytest.fixture
def eight_cpus() -> Iterator[None]:
    """Let executions have more threads than this machine has CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (execution, threads):
            patch.setattr(module, "available_cpus", lambda: 8)
        yield


@pytest.fixture(scope="session", autouse=True)
def _poisoned_temporary_memory() -> Iterator[None]:
    """Fill temporary memory on a device with NaN: what a test before left there may be just what a copy forgot."""
    if devices.missing():
        yield
        return
    allocate = memory.allocate

    def poisoned(size: int, package: Any, allocator: Any, device_id: int, stream: int) -> tuple[Any, int]:
        owner, address = allocate(size, package, allocator, device_id, stream)
        if not streams.is_capturing(stream):
            runtime.memset_async(address, 0xFF, size, stream)
        return owner, address

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "allocate", poisoned)
        yield


@pytest.fixture
def tuning_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty tuning record of the test's own; the path of its file."""
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    record._forget()
    yield tmp_path / "tuning.json"
    record._forget()


@pytest.fixture
def nothing_remembered() -> Iterator[None]:
    """No plans of earlier stateless calls, and none left behind."""
    remembered.clear()
    yield
    remembered.clear()


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """The name of an array package."""
    return request.param
