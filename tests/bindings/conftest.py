"""A C library made for the tests, and an interface to it like those of the generated modules."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from planmath.bindings.interface import Interface, StatusError
from planmath.native.library import Library
from tests.bindings.standin import SOURCE


class StandInError(StatusError):
    """The error of the stand-in library."""

    statuses = {0: ("STANDIN_SUCCESS", "fine"), 3: ("STANDIN_INVALID_VALUE", "an argument is wrong")}  # noqa: RUF012


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("standin") / "libstandin.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-x", "c", "-o", path, "-"]
    subprocess.run(command, input=SOURCE, text=True, check=True)
    return Library("StandIn", lambda: [str(path)], "compile it", requires=("standinGetProperty",))


@pytest.fixture
def interface(library: Library) -> Interface:
    return Interface(
        __name__, "StandIn", library, "13.0.0", StandInError, version_function="standinGetProperty",
        since={"standinLater": "12.9.1", "standinChanged": "13.0.0", "standinNothing": "12.1.0"},
        changed=frozenset({"standinChanged", "standinNothing"}),
    )  # fmt: skip
