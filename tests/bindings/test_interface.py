"""Libraries that are missing, too old or of the right version, and the errors that say so."""

from __future__ import annotations

import pickle
import sys

import pytest

from planmath.bindings.interface import Interface, attribute_dtypes, struct
from planmath.native import library as finding
from planmath.native.library import Library, MissingLibraryError, nvidia_library
from tests.bindings.conftest import StandInError


def test_version_of_the_loaded_library(interface: Interface) -> None:
    assert interface.loaded_version == "12.3.4"


def test_function_that_came_later(interface: Interface) -> None:
    with pytest.raises(MissingLibraryError, match=r"^StandIn 12.3.4 \(.*libstandin.so\) has no function standinLater: "
                                                  r"StandIn 12.9.1 has it$"):  # fmt: skip
        interface.function("standinLater")()


def test_function_that_no_version_is_known_to_lack(interface: Interface) -> None:
    with pytest.raises(MissingLibraryError, match=r"has no function standinNowhere: StandIn 13.0.0 has it"):
        interface.function("standinNowhere")()


def test_function_that_the_header_declares_in_vain(interface: Interface) -> None:
    interface.version = "12.3.4"
    with pytest.raises(MissingLibraryError, match="its header declares it, but the library does not have it"):
        interface.function("standinNowhere")()


def test_function_with_other_parameters_before(interface: Interface) -> None:
    with pytest.raises(MissingLibraryError, match=r"StandIn 12.3.4 \(.*\) has standinChanged with other parameters: "
                                                  r"StandIn 13.0.0 has the one that these bindings call"):  # fmt: skip
        interface.function("standinChanged")()
    interface.function("standinNothing")()  # changed as well, but before this version


def test_missing_library() -> None:
    missing = nvidia_library("cuNothing", "cunothing", ("libcunothing.so.13",), "cunothingGetVersion")
    assert "pip install 'planmath[cu13]'" in str(missing.missing)
    function = Interface("m", "cuNothing", missing, "13.0.0").function("cunothingGetVersion")
    for _ in range(2):
        with pytest.raises(MissingLibraryError, match=r"^cuNothing was not found: install it with: pip install "
                                                      r"'planmath\[cu13\]', or 'planmath\[cu12\]' where"):  # fmt: skip
            function()


def test_library_is_found_by_pathfinder(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    asked = []

    class Pathfinder:
        @staticmethod
        def load_nvidia_dynamic_lib(name: str) -> object:
            asked.append(name)
            return type("Found", (), {"abs_path": library.path or next(iter(library.candidates()))})

    monkeypatch.setitem(sys.modules, "cuda", type("cuda", (), {"pathfinder": Pathfinder}))
    found = nvidia_library("StandIn", "standin", (), "standinGetProperty")
    assert found.missing is None
    assert asked == ["standin"]


def test_library_without_pathfinder(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    monkeypatch.setattr(finding, "_found_by_pathfinder", lambda name: [])
    found = nvidia_library("StandIn", "standin", library.candidates(), "standinGetProperty")
    assert found.missing is None


def test_check_status(interface: Interface) -> None:
    interface.check_status(0)
    with pytest.raises(StandInError, match=r"^STANDIN_INVALID_VALUE \(3\): an argument is wrong$"):
        interface.check_status(3)


def test_errors_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(StandInError(3, "standinFails")))
    assert (error.status, error.function, error.name) == (3, "standinFails", "STANDIN_INVALID_VALUE")


def test_variable(interface: Interface) -> None:
    assert interface.variable("standinVariable") == 0x1234
    with pytest.raises(MissingLibraryError, match="has no standinElsewhere"):
        interface.variable("standinElsewhere")


def test_struct() -> None:
    inner = struct(8, x=("f", 0), y=("i", 4))
    outer = struct(32, a=(inner, 0), u=("Q", 8), v=("d", 8), name=("S", 16, 8), more=("h", 24, 2, 2))
    assert outer.itemsize == 32
    assert [outer.fields[name][1] for name in outer.names] == [0, 8, 8, 16, 24]
    assert outer["more"].shape == (2, 2)


def test_attribute_dtypes() -> None:
    dtype = attribute_dtypes({1: "P", 2: "i"})
    assert dtype(2).__name__ == "int32"
    with pytest.raises(ValueError, match="3 is not an attribute with one type: 1, 2"):
        dtype(3)
