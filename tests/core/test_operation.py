"""An operation of one's own, made of a problem and a provider: what the core does for operations with many operands."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from planmath.core.executor import Program
from planmath.core.slots import ArraySlot

from planmath.core.arrays import Layout, package_named
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError, nearest
from planmath.core.operands import make_slot
from planmath.core.operation import Operation
from planmath.core.options import as_options
from planmath.core.provider import Algorithm, Prepared, Provider
from tests.arrays import HOST, extent, to_numpy, to_package

SHAPE = (3, 4)
A, B = np.arange(12.0).reshape(SHAPE), np.full(SHAPE, 100.0)


@dataclass(frozen=True)
class SumOptions:
    provider: str | None = None
    logger: logging.Logger | None = None
    tuning: bool = False
    inplace: bool = False


class SumProblem(NamedTuple):
    layout: Layout
    inplace: bool


class PythonProvider(Provider):
    """Adds, and tells where the sum is negative."""

    def __init__(self, name: str, reason: str | None = None):
        self.name, self.reason = name, reason

    def unavailable(self) -> str | None:
        return self.reason

    def version(self) -> str:
        return "1"

    def unsupported(self, problem: SumProblem) -> str | None:
        return None if problem.layout.dtype == "float64" else f"it does not add {problem.layout.dtype}"

    def algorithms(self, problem: SumProblem) -> list[Algorithm]:
        return [Algorithm(self.name)]

    def prepare(self, problem: SumProblem, algorithm: Algorithm) -> Prepared:
        def add(operands: tuple, results: tuple) -> None:
            a, b = (to_numpy(array) for array in operands)
            total = a if problem.inplace else to_numpy(results[0])
            np.add(a, b, out=total)
            to_numpy(results[-1])[...] = total < 0

        return Prepared({None: Program(function=add)})


class Sum(Operation):
    noun = "Sum"

    def __init__(self, a: Any, b: Any, **options: Any):
        super().__init__(as_options(SumOptions, options))
        layout = self._add_operand("a", a, writeable=self._options.inplace)
        self._add_operand("b", b)
        self._problem = SumProblem(layout, self._options.inplace)

    def plan(self) -> None:
        self._make_plan(self._problem, self._slots)

    def execute(self, *, out: Any = None) -> Any:
        result = self._executor.run(None, out)
        return self._execute(None, out) if result is None else result

    def reset_operands(self, **arrays: Any) -> None:
        self._reset(arrays, "reset_operands")

    def release_operands(self) -> None:
        self._release()

    def _providers(self) -> list[PythonProvider]:
        return [PythonProvider("abacus", "there is none here"), PythonProvider("python")]

    def _result_slots(self, problem: SumProblem) -> dict[str, ArraySlot]:
        layout = problem.layout
        results = {} if problem.inplace else {"sum": make_slot(self._package, layout, writeable=True)}
        return results | {"negative": make_slot(self._package, layout._replace(dtype="float32"), writeable=True)}

    def _inplace_operand(self) -> str | None:
        return "a" if self._options.inplace else None

    def _describe(self) -> str:
        return str(self._problem.layout.shape)


@pytest.fixture
def planned(package):
    with Sum(to_package(A.copy(), package), to_package(B.copy(), package)) as operation:
        operation.plan()
        yield operation


def check(results, a, b):
    total, auxiliary = results
    np.testing.assert_array_equal(to_numpy(total), a + b)
    np.testing.assert_array_equal(to_numpy(auxiliary["negative"]), a + b < 0)


def test_many_operands_and_results(planned):
    check(planned.execute(), A, B)


def test_new_operands_together_and_one_by_one(planned, package):
    planned.reset_operands(a=to_package(B.copy(), package), b=to_package(-A, package))
    check(planned.execute(), B, -A)
    planned.reset_operands(b=to_package(-2 * B, package))
    check(planned.execute(), B, -2 * B)


MISFITS = [np.ones((4, 3)), np.ones(SHAPE, "f4"), np.asfortranarray(A), "no array"]


@pytest.mark.parametrize("misfit", MISFITS, ids=["shape", "dtype", "strides", "type"])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_one_that_does_not_fit_keeps_all(planned, package, misfit, order):
    fitting = to_package(7 * A, package)
    given = {"a": fitting, "b": to_package(misfit, package) if isinstance(misfit, np.ndarray) else misfit}
    with pytest.raises((ValueError, TypeError), match=r"^b "):
        planned.reset_operands(**{name: given[name] for name in order})
    check(planned.execute(), A, B)


def test_all_are_needed_after_a_release(planned, package):
    planned.release_operands()
    with pytest.raises(ValueError, match=r"got a only; after release_operands\(\) it needs all operands: b missing"):
        planned.reset_operands(a=to_package(A, package))
    planned.reset_operands(a=to_package(B.copy(), package), b=to_package(A, package))
    check(planned.execute(), B, A)


def test_operands_that_do_not_exist(planned, package):
    with pytest.raises(ValueError, match="no operand; pass at least one of a, b"):
        planned.reset_operands()
    with pytest.raises(ValueError, match=r"c was given to reset_operands.*created without it"):
        planned.reset_operands(c=to_package(A, package))


def test_packages_do_not_mix():
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(TypeError, match="b is a torch array and a a numpy one; all operands must belong to the same"):
        Sum(A, to_package(B, "torch"))


def test_out_with_auxiliary_results(planned):
    total, auxiliary = planned.empty_result()
    result = planned.execute(out=(total, auxiliary))
    assert result[0] is total
    assert result[1]["negative"] is auxiliary["negative"]
    check(result, A, B)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda total, aux: total, TypeError, "expected a tuple of .* the auxiliary results negative"),
        (lambda total, aux: (total, {}), ValueError, r"keys \[\]; expected \['negative'\]"),
        (lambda total, aux: (total, {"positive": total}), ValueError, r"keys \['positive'\]"),
        (lambda total, aux: (total[:2], aux), ValueError, r"out\[0\] has the shape .*empty_result"),
        (lambda total, aux: (total, {"negative": total}), ValueError, r"out\[1\]\['negative'\] has the dtype"),
    ],
)
def test_out_that_does_not_fit(planned, change, error, says):
    with pytest.raises(error, match=says):
        planned.execute(out=change(*planned.empty_result()))
    check(planned.execute(), A, B)


def test_out_that_is_an_operand(planned, package):
    operand = to_package(A.copy(), package)
    planned.reset_operands(a=operand)
    auxiliary = planned.empty_result()[1]
    with pytest.raises(ValueError, match="shares memory with a"):
        planned.execute(out=(operand, auxiliary))
    np.testing.assert_array_equal(to_numpy(operand), A)


def test_in_place_with_an_auxiliary_result(package):
    a = to_package(-A, package)
    with Sum(a, to_package(A - 1, package), inplace=True) as operation:
        operation.plan()
        total, auxiliary = operation.execute()
        assert total is a
        np.testing.assert_array_equal(to_numpy(a), np.full(SHAPE, -1.0))
        assert to_numpy(auxiliary["negative"]).all()


def test_provider_that_is_chosen_and_those_that_are_not(planned):
    assert "chosen by the heuristic: python" in planned.report()
    with Sum(A, B, provider="abacus") as operation, pytest.raises(UnavailableError, match="abacus: there is none here"):
        operation.plan()
    with Sum(A, B, provider="slide rule") as operation, pytest.raises(ValueError, match="'slide rule'") as caught:
        operation.plan()
    assert str(caught.value).endswith("choose from 'abacus', 'python'; abacus is unavailable: there is none here")


def test_no_provider_says_why_each_cannot():
    with Sum(A.astype("f4"), B.astype("f4")) as operation, pytest.raises(UnavailableError) as caught:
        operation.plan()
    assert str(caught.value).endswith("abacus: there is none here; python: it does not add float32")


def test_choice_of_the_user():
    with Sum(A, B) as operation:
        with pytest.raises(ValueError, match="algorithm abacus"):
            operation._make_plan(operation._problem, operation._slots, [Algorithm("abacus")])
        operation._make_plan(operation._problem, operation._slots, [Algorithm("python")])
        assert "chosen by the user: python" in operation.report()


@pytest.mark.parametrize("strides", [(16, 4, 1), (1, 4, 40), (60, 20, 5), (0, 0, 0), (4, -1, 12), (-60, -20, -5)])
def test_new_array_has_memory_for_all_that_it_spans(package, strides):
    """Gaps included, and what lies before its first element."""
    arrays = package_named(package.removesuffix("-cuda"))
    if arrays.name == "torch" and min(strides) < 0:
        pytest.skip("PyTorch has no negative strides")
    device_id = None if package in HOST else 0
    layout = Layout((2, 4, 3), strides, "float32", "cpu" if device_id is None else "cuda", device_id)
    with devices.on(device_id):
        for array in (make_slot(arrays, layout).empty(), arrays.empty(*layout[:2], arrays.dtype("float32"), device_id)):
            assert arrays.layout(array, "it") == layout
            low, span = extent(array)
            begin, size = memory_of(array)
            assert begin <= low
            assert low + span <= begin + size


def memory_of(array):
    """Where the memory begins that an array lies in, and its size in bytes."""
    if hasattr(array, "untyped_storage"):
        return array.untyped_storage().data_ptr(), array.untyped_storage().nbytes()
    if not isinstance(array, np.ndarray):
        return array.data.mem.ptr, array.data.mem.size
    while not array.flags.owndata:
        array = array.base if isinstance(array.base, np.ndarray) else array.base.base  # as_strided has one of its own
    return array.ctypes.data, array.nbytes


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_layouts_of_packages_agree(name):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    layout = package_named(name).layout(to_package(A[1:, ::2], name), "a")
    assert layout == Layout((2, 2), (4, 2), "float64", "cpu", None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("inplce", "did you mean 'inplace'? (there are 'inplace', 'RELU')"),
        ("relu", "did you mean 'RELU'? (there are 'inplace', 'RELU')"),
        ("quux", "choose from 'inplace', 'RELU'"),
        (3, "choose from 'inplace', 'RELU'"),
    ],
)
def test_nearest_name(given, says):
    assert nearest(given, ["inplace", "RELU"]) == says
