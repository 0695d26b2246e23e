"""Operands on one side and the work on the other: copied across, and the result comes back to where they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planmath.fft import FFT, fft, irfft, rfft
from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from tests.arrays import HOST, PACKAGES, address_of, missing, package_of, strides_of, to_numpy, to_package
from tests.cuda.work import noise


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """The package of the operands."""
    return request.param


@pytest.fixture
def execution(package: str) -> str:
    """Where the work is done: on the other side."""
    return "cuda" if package in HOST else "cpu"


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 1) -> np.ndarray:
    return noise(shape, dtype)(np.random.default_rng(seed))


def check(result: Any, expected: np.ndarray, package: str, tolerance: float = 2e-6) -> None:
    """In the operands' package, on their side, and right."""
    assert package_of(result) == package
    np.testing.assert_allclose(to_numpy(result), expected, rtol=0, atol=tolerance * np.abs(expected).max())


def dense(array: np.ndarray) -> np.ndarray:
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.T).T


def sliced(array: np.ndarray) -> np.ndarray:
    memory = np.zeros((array.shape[0] + 2, array.shape[1] * 2), array.dtype)
    view = memory[1:-1, ::2]
    view[...] = array
    return view


LAYOUTS = (dense, transposed, sliced)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "dtype", "reference"),
    [(fft, "complex64", np.fft.fft), (rfft, "float32", np.fft.rfft), (fft, "complex128", np.fft.fft)],
    ids=["C2C", "R2C", "C2C double"],
)
def test_transform(package, execution, layout, function, dtype, reference):
    x = drawn((12, 50), dtype)
    result = function(to_package(layout(x), package), axes=[1], execution=execution)
    check(result, reference(x, axis=1), package)


@pytest.mark.parametrize("parity", ["even", "odd"])
def test_back_to_real(package, execution, parity):
    n = 30 + (parity == "odd")
    x = drawn((4, n), "float64")
    spectrum = to_package(np.fft.rfft(x), package)
    result = irfft(spectrum, axes=[1], options={"last_axis_parity": parity}, execution=execution)
    check(result, n * x, package)
    np.testing.assert_array_equal(to_numpy(spectrum), np.fft.rfft(x), "the operand is only read")


def test_transform_in_place(package, execution):
    x = drawn((6, 40), "complex64")
    operand = to_package(x.copy(), package)
    with FFT(operand, axes=[1], options={"inplace": True}, execution=execution) as operation:
        operation.plan()
        result = operation.execute()
        assert result is operand
        check(result, np.fft.fft(x), package)
        operation.execute(direction="inverse")
        check(operand, 40 * x, package)


def test_operand_is_copied_at_each_execution(package, execution):
    x = drawn((6, 40), "complex64")
    operand = to_package(x.copy(), package)
    with FFT(operand, axes=[1], execution=execution) as operation:
        operation.plan()
        check(operation.execute(), np.fft.fft(x), package)
        operand[...] = to_package(2 * x, package)
        check(operation.execute(), np.fft.fft(2 * x), package)
        y = drawn((6, 40), "complex64", seed=2)
        operation.reset_operand(to_package(y, package))
        out = operation.empty_result()
        address = address_of(out)
        assert operation.execute(out=out) is out
        assert address_of(out) == address
        check(out, np.fft.fft(y), package)


def test_gaps_between_results_stay(package, execution):
    """The result goes into every second column: what is between them is not the operation's."""
    x = drawn((6, 40), "complex64")
    with FFT(to_package(x, package), axes=[1], execution=execution) as operation:
        operation.plan()
        memory = to_package(np.full((6, 80), 7, np.complex64), package)
        planned = operation.empty_result()
        out = memory[:, ::2]
        if strides_of(planned) != strides_of(out):
            with pytest.raises(ValueError, match="strides"):
                operation.execute(out=out)
        assert bool((memory == 7).all())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_product(package, execution, layout, dtype):
    a, b = drawn((20, 30), dtype), drawn((30, 10), dtype, seed=2)
    if layout is sliced:  # a product needs one of the strides to be one
        a = a[::2]
    result = matmul(
        to_package(a if layout is sliced else layout(a), package), to_package(b, package), execution=execution
    )
    check(result, a.astype("complex128") @ b, package)


def test_product_with_c(package, execution):
    a, b, c = (drawn(shape, "float32", seed) for seed, shape in enumerate([(20, 30), (30, 10), (20, 10)]))
    arrays = [to_package(array, package) for array in (a, b, c)]
    with Matmul(*arrays, alpha=0.5, beta=2.0, execution=execution) as operation:
        operation.plan()
        check(operation.execute(), 0.5 * a @ b + 2 * c, package, 1e-5)
        operation.reset_operands(c=to_package(3 * c, package), alpha=1.0, beta=-1.0)
        check(operation.execute(), a @ b - 3 * c, package, 1e-5)


def test_product_in_place(package, execution):
    a, b, c = (drawn(shape, "float32", seed) for seed, shape in enumerate([(20, 30), (30, 10), (20, 10)]))
    target = to_package(c.copy(), package)
    options = {"inplace": True}
    with Matmul(to_package(a, package), to_package(b, package), target, beta=1.0, options=options,
                execution=execution) as operation:  # fmt: skip
        operation.plan()
        assert operation.execute() is target
        check(target, a @ b + c, package, 1e-5)


def test_batch_of_products(package, execution):
    a, b = drawn((5, 20, 30), "float32"), drawn((30, 10), "float32", seed=2)
    check(matmul(to_package(a, package), to_package(b, package), execution=execution), a @ b, package, 1e-5)


def test_epilog_with_an_auxiliary_result(package, execution):
    a, b, bias = drawn((128, 30), "float32"), drawn((30, 16), "float32", seed=2), drawn((128,), "float32", seed=3)
    d, auxiliary = matmul(
        to_package(a, package), to_package(b, package), epilog=MatmulEpilog.GELU_AUX_BIAS,
        epilog_inputs={"bias": to_package(bias, package)}, execution=execution,
    )  # fmt: skip
    z = a @ b + bias[:, None]
    assert set(auxiliary) == {"gelu_aux"}
    assert package_of(auxiliary["gelu_aux"]) == package
    check(auxiliary["gelu_aux"], z, package, 1e-5)
    check(d, 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))), package, 1e-4)


def test_autotuning(package, execution, tuning_record):
    a, b = drawn((40, 30), "float32"), drawn((30, 20), "float32", seed=2)
    with Matmul(to_package(a, package), to_package(b, package), execution=execution) as operation:
        operation.plan()
        operation.autotune(iterations=2)
        check(operation.execute(), a @ b, package, 1e-5)


def misuses(package: str, execution: str) -> list[tuple[Callable[[Any], Any], str]]:
    other = {"numpy": "cupy", "torch": "torch-cuda", "cupy": "numpy", "torch-cuda": "torch"}[package]
    if reason := missing(other):
        pytest.skip(reason)
    return [
        (lambda operation: operation.reset_operands(a=to_package(drawn((20, 30), "float32"), other)), "a "),
        (lambda operation: operation.execute(out=to_package(drawn((20, 10), "float32"), other)), "out "),
    ]


def test_operands_stay_on_their_side(package, execution):
    """An operand that is already where the work is done is not taken in place of one from the other side."""
    a, b = drawn((20, 30), "float32"), drawn((30, 10), "float32", seed=2)
    with Matmul(to_package(a, package), to_package(b, package), execution=execution) as operation:
        operation.plan()
        for call, names in misuses(package, execution):
            with pytest.raises((TypeError, ValueError), match=names):
                call(operation)
        check(operation.execute(), a @ b, package, 1e-5)


def test_operands_on_both_sides():
    if reason := missing("torch-cuda"):
        pytest.skip(reason)
    a, b = drawn((20, 30), "float32"), drawn((30, 10), "float32", seed=2)
    with pytest.raises(ValueError, match=r"b is on the CPU and a on CUDA device 0"):
        matmul(to_package(a, "torch-cuda"), to_package(b, "torch"))
