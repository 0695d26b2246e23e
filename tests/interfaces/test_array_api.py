"""Operands of packages that planmath does not know, with results of theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planmath import linalg
from planmath.interfaces import array_api
from planmath.linalg.advanced import MatmulEpilog


class Namespace:
    """As much of an array namespace as results are handed to."""

    __name__ = "small"

    @staticmethod
    def from_dlpack(array: Any) -> Small:
        return Small(np.from_dlpack(array))


class Small:
    """An array that speaks DLPack, and tells its namespace."""

    space = Namespace()

    def __init__(self, values: np.ndarray):
        self.values = values

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.values.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.values.__dlpack_device__()

    def __array_namespace__(self, api_version: str | None = None) -> Namespace:
        return self.space


class Other(Small):
    space = type("Elsewhere", (Namespace,), {"__name__": "other"})()


class Nameless:
    __dlpack__, __dlpack_device__, __init__ = Small.__dlpack__, Small.__dlpack_device__, Small.__init__


class Elsewhere(Small):
    def __dlpack_device__(self) -> tuple[int, int]:
        return 8, 0  # Metal


RANDOM = np.random.default_rng(0)
A, B, X = RANDOM.random((3, 3)), RANDOM.random((3, 3)), RANDOM.random(8) + 1j


def calls(wrap: Any) -> list[tuple[Any, np.ndarray]]:
    return [
        (array_api.fft(wrap(X)), np.fft.fft(X)),
        (array_api.ifft(wrap(X)), np.fft.ifft(X) * 8),
        (array_api.rfft(wrap(X.real.copy())), np.fft.rfft(X.real)),
        (array_api.irfft(wrap(np.fft.rfft(X.real))), X.real * 8),
        (array_api.matmul(wrap(A), wrap(B)), A @ B),
        (array_api.contract("ij,kj->ik", wrap(A), wrap(B)), A @ B.T),
        (array_api.solve(wrap(A), wrap(B)), np.linalg.solve(A, B)),
    ]


def test_any_array_that_speaks_dlpack():
    for result, expected in calls(Small):
        assert type(result) is Small
        np.testing.assert_allclose(result.values, expected, atol=1e-12)


def test_jaxs_arrays():
    jax = pytest.importorskip("jax", reason="jax is not installed")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        for result, expected in calls(jax.numpy.asarray):
            assert isinstance(result, jax.Array)
            assert result.dtype == expected.dtype
            np.testing.assert_allclose(np.asarray(result), expected, atol=1e-12)


def test_strict_arrays():
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    for result, expected in calls(strict.asarray):
        assert type(result) is type(strict.asarray(1))
        np.testing.assert_allclose(np.from_dlpack(result), expected, atol=1e-12)


def test_arrays_and_blocks_of_dask():
    dask = pytest.importorskip("dask.array", reason="dask is not installed")
    rows = RANDOM.random((8, 16)) + 0j
    blocks = dask.from_array(rows, chunks=(4, 16))
    np.testing.assert_allclose(array_api.fft(blocks, axes=(1,)), np.fft.fft(rows), atol=1e-12)
    lazy = blocks.map_blocks(lambda block: array_api.fft(block, axes=(1,)), dtype=complex)
    np.testing.assert_allclose(lazy.compute(), np.fft.fft(rows), atol=1e-12)


def test_numpys_own_kinds():
    read_only = X.copy()
    read_only.flags.writeable = False
    for x in (X.view(np.recarray), read_only):
        assert type(array_api.fft(x)) is np.ndarray
    product = array_api.contract(",i->i", np.float64(2), X.real.copy())
    np.testing.assert_allclose(product, 2 * X.real)


def test_results_and_inputs_in_dictionaries():
    result, auxiliary = array_api.matmul(
        Small(A), Small(B), epilog=MatmulEpilog.RELU_AUX_BIAS, epilog_inputs={"bias": Small(A[0])}
    )
    np.testing.assert_allclose(result.values, np.maximum(A @ B + A[0][:, None], 0))
    assert type(auxiliary["relu_aux"]) is Small


def test_any_other_function():
    result = array_api.adapted(linalg.matmul)(Small(A), Small(B))
    np.testing.assert_allclose(result.values, A @ B)


def test_what_cannot_be_taken_is_told():
    with pytest.raises(TypeError, match="of several packages: other, small"):
        array_api.matmul(Small(A), Other(B))
    with pytest.raises(TypeError, match="names no array namespace"):
        array_api.fft(Nameless(X))
    with pytest.raises(ValueError, match="on the device"):
        array_api.fft(Elsewhere(X))
    with pytest.raises(TypeError, match="operand is a list"):
        array_api.fft([1j, 2])
