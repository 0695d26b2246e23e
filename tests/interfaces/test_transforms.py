"""The functions of `scipy.fft` and `numpy.fft` by planmath: against extended precision, and by SciPy's own tests."""

from __future__ import annotations

import importlib.util
import logging
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st

from planmath.interfaces import numpy_fft, scipy_fft, transforms
from tests.processes import run_python

DTYPES = [
    "float16", "float32", "float64", "complex64", "complex128", "int16", "bool", "longdouble", "clongdouble", ">f8",
]  # fmt: skip
NORMS = [None, "backward", "ortho", "forward"]
REAL = {"rfft", "ihfft"}


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    yield
    transforms.clear()


def stem(name: str) -> str:
    return name.rstrip("2n")


def operand(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = rng.uniform(-4, 4, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.uniform(-4, 4, shape)
    return np.asarray(values).astype(dtype)


def tolerance(dtype: np.dtype) -> float:
    return 100 * float(np.finfo(dtype).eps)


def check(result: np.ndarray, expected: np.ndarray, dtype: Any) -> None:
    assert result.dtype == dtype
    assert result.shape == expected.shape
    assert result.flags.c_contiguous
    scale = float(np.abs(expected).max()) if expected.size else 0.0
    assert np.abs(result - expected).max(initial=0) <= tolerance(result.dtype) * max(scale, 1.0)


def expected_dtype(name: str, x: np.ndarray) -> np.dtype:
    return getattr(scipy.fft, name)(np.ones_like(x, shape=(2,) * max(x.ndim, 2))).dtype


def as_extended(x: np.ndarray) -> np.ndarray:
    return x.astype(np.clongdouble if x.dtype.kind == "c" else np.longdouble)


def layouts(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another layout."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "reversed":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    if layout == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if layout == "unaligned":
        memory = np.empty(x.nbytes + 1, np.uint8)
        view = memory[1:].view(x.dtype).reshape(x.shape)
        view[...] = x
        return view
    if layout == "read-only":
        x = x.copy()
        x.flags.writeable = False
    return x


LAYOUTS = ["C", "F", "reversed", "strided", "unaligned", "read-only"]


@given(data=st.data())
def test_every_function_with_every_argument(data):
    name = data.draw(st.sampled_from(list(transforms.FUNCTIONS)))
    several = name[-1] in "2n"
    dtype = data.draw(st.sampled_from([d for d in DTYPES if stem(name) not in REAL or np.dtype(d).kind != "c"]))
    shape = tuple(data.draw(st.lists(st.integers(2, 7), min_size=2 if several else 1, max_size=3)))
    x = operand(np.random.default_rng(data.draw(st.integers(0, 99))), shape, dtype)
    x = layouts(x, data.draw(st.sampled_from(LAYOUTS)))
    arguments: dict[str, Any] = {"norm": data.draw(st.sampled_from(NORMS))}
    extents = st.integers(1, 9)
    if several:
        axes = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(1, len(shape)))]
        axes = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in axes]
        arguments["axes"] = data.draw(st.sampled_from([tuple(axes), axes]))
        if data.draw(st.booleans()):
            arguments["s"] = data.draw(st.lists(extents, min_size=len(axes), max_size=len(axes)))
    else:
        arguments["axis"] = data.draw(st.integers(-len(shape), len(shape) - 1))
        arguments["n"] = data.draw(st.none() | extents)
    expected = getattr(scipy.fft, name)(as_extended(x), **arguments)
    before = x.copy()
    for _ in range(2):  # planned, then kept
        check(getattr(scipy_fft, name)(x, **arguments), expected, expected_dtype(name, x))
    np.testing.assert_array_equal(x, before)
    if hasattr(numpy_fft, name):
        check(getattr(numpy_fft, name)(x, **arguments), expected, expected_dtype(name, x))


@pytest.mark.parametrize("name", ["fft", "ifft"])
@pytest.mark.parametrize("n", [2048, 2049, 4000])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_long_transforms_of_real_numbers(name, n, axis, dtype):
    x = operand(np.random.default_rng(n), (n, 3) if axis == 0 else (2, n), dtype)
    for norm in NORMS:
        expected = getattr(scipy.fft, name)(as_extended(x), axis=axis, norm=norm)
        check(getattr(scipy_fft, name)(x, axis=axis, norm=norm), expected, expected_dtype(name, x))


@pytest.mark.parametrize("x", [[1, 2, 3], (1.5, 2j), np.ones(3).view(np.recarray), [True, False], range(4)])
def test_what_is_like_an_array(x):
    for module in (scipy_fft, numpy_fft):
        result = module.fft(x)
        assert type(result) is np.ndarray
        np.testing.assert_allclose(result, np.fft.fft(np.asarray(x)), atol=1e-12)


def test_arrays_without_elements_have_results_without():
    for name in transforms.FUNCTIONS:
        shape = (0, 4, 3)
        arguments = {"axes": (1, 2)} if name[-1] in "2n" else {"axis": 1}
        expected = getattr(scipy.fft, name)(np.ones(shape), **arguments)
        result = getattr(scipy_fft, name)(np.ones(shape), **arguments)
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_overwrite_x_replaces_what_it_may(dtype):
    x = operand(np.random.default_rng(0), (16, 8), dtype)
    expected = np.fft.fft2(x)
    assert np.shares_memory(scipy_fft.fft2(x, overwrite_x=True), x)
    np.testing.assert_allclose(x, expected, rtol=1e-4)
    x = layouts(x, "read-only")
    before = x.copy()
    assert not np.shares_memory(scipy_fft.fft2(x, overwrite_x=True), x)
    np.testing.assert_array_equal(x, before)
    y = layouts(x.copy(), "strided")
    assert scipy_fft.ifft(y, n=3, overwrite_x=True).shape == (16, 3)


ERRORS = [
    (lambda f: f.fft([]), ValueError, "number of data points"),
    (lambda f: f.fft([1, 2], 0), ValueError, "number of data points"),
    (lambda f: f.irfft([1]), ValueError, "number of data points"),
    (lambda f: f.fft([1, 2], axis=1), IndexError, "axis 1"),
    (lambda f: f.fft([1, 2], norm="o"), ValueError, "Invalid norm value 'o'"),
    (lambda f: f.fft([1, 2], norm=[]), ValueError, r"Invalid norm value \[\]"),
    (lambda f: f.fft([1, 2], n=1.5), TypeError, "integer"),
    (lambda f: f.fft([1, 2], n=[2]), TypeError, "integer"),
    (lambda f: f.fft([1, 2], n=np.array([2.5])), ValueError, "integers"),
    (lambda f: f.fft2([1, 2]), ValueError, "axes exceeds"),
    (lambda f: f.fftn([[1, 2]], axes=(0, 0)), ValueError, "unique"),
    (lambda f: f.fftn([[1, 2]], s=(1, 2, 3)), ValueError, "more axes"),
    (lambda f: f.fftn([[1, 2]], s=(1,), axes=(0, 1)), ValueError, "same length"),
    (lambda f: f.fftn([[1, 2]], s=("a",)), ValueError, "integers"),
    (lambda f: f.rfft([1j, 2]), TypeError, "real sequence"),
    (lambda f: f.rfftn([1, 2], axes=()), ValueError, "at least 1 axis"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), ERRORS)
@pytest.mark.parametrize("module", [scipy_fft, numpy_fft])
def test_what_does_not_fit_is_told(module, call, error, match):
    for _ in range(2):
        with pytest.raises(error, match=match):
            call(module)


def test_workers():
    x = np.ones((64, 64), complex)
    for workers in (1, 2, -1):
        np.testing.assert_allclose(scipy_fft.fft(x, workers=workers), np.fft.fft(x))
    with pytest.raises(ValueError, match="must not be zero"):
        scipy_fft.fft(x, workers=0)
    with pytest.raises(ValueError, match="out of range"), scipy_fft.set_workers(-10_000):
        pass
    assert scipy_fft.get_workers() is None
    with scipy.fft.set_workers(3):
        assert scipy_fft.get_workers() == 3
        with scipy_fft.set_workers(1):
            assert scipy_fft.get_workers() == 1
    assert scipy_fft.get_workers() is None


def test_plans_are_kept_between_calls(monkeypatch):
    x = np.ones(24, complex)
    scipy_fft.fft(x)
    monkeypatch.setattr(transforms, "_way", None)
    np.testing.assert_allclose(scipy_fft.fft(2 * x), np.fft.fft(2 * x), atol=1e-12)
    with pytest.raises(TypeError):
        scipy_fft.fft(x, 12)


def test_operands_are_let_go():
    x = np.ones(24, complex)
    before = sys.getrefcount(x)
    scipy_fft.fft(x)
    scipy_fft.fft(x)
    assert sys.getrefcount(x) == before


def test_no_more_than_the_capacity_is_kept(monkeypatch):
    monkeypatch.setattr(transforms, "CAPACITY", 4)
    for n in range(2, 12):
        scipy_fft.fft(np.ones(n))
    assert len(transforms._ways) == 4


def test_threads_share_no_plan():
    xs = [operand(np.random.default_rng(i), (4096,), "complex128") for i in range(8)]
    expected = [np.fft.fft(x) for x in xs]
    wrong = []

    def work(i: int) -> None:
        wrong.extend(i for _ in range(200) if not np.allclose(scipy_fft.fft(xs[i]), expected[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_who_listens_to_the_log_hears_of_calls(caplog):
    x = np.arange(8.0) + 0j
    with caplog.at_level(logging.INFO, "planmath"):
        for _ in range(2):
            np.testing.assert_allclose(scipy_fft.fft(x), np.fft.fft(x), atol=1e-12)
    assert sum("new operands" in message for message in caplog.messages) == 2


def test_out_of_numpys_functions():
    x = operand(np.random.default_rng(0), (4, 6), "float64")
    out = np.empty((6, 4), complex).T
    assert numpy_fft.fft(x, out=out) is out
    np.testing.assert_allclose(out, np.fft.fft(x))
    with pytest.raises(ValueError, match=r"out has the shape \(3,\)"):
        numpy_fft.fft(x, out=np.empty(3, complex))
    with pytest.raises(TypeError, match="cannot hold complex128"):
        numpy_fft.fft(x, out=np.empty((4, 6)))


def test_the_backend_leaves_to_scipy_what_it_has_not():
    x = np.arange(8.0)
    with scipy.fft.set_backend(scipy_fft):
        np.testing.assert_allclose(scipy.fft.fft(x), np.fft.fft(x), atol=1e-12)
        assert scipy.fft.dct(x).shape == (8,)
    with scipy.fft.set_backend(scipy_fft, only=True), pytest.raises(NotImplementedError):
        scipy.fft.dct(x)
    with scipy.fft.set_backend(scipy_fft, only=True), pytest.raises(NotImplementedError, match="precomputed plan"):
        scipy.fft.fft(x, plan="a plan")


def test_a_global_backend_leaves_to_scipy_what_it_has_not():
    try:
        scipy.fft.set_global_backend(scipy_fft)
        assert scipy.fft.dct(np.arange(8.0)).shape == (8,)
        assert type(scipy.fft.fft([1, 2])) is np.ndarray
    finally:
        scipy.fft.set_global_backend("scipy", try_last=True)


@pytest.mark.slow
def test_scipys_own_tests_of_the_family():
    """SciPy's tests with no other backend; of its private tests those of pocketfft, on the public functions."""
    if importlib.util.find_spec("scipy.fft.tests") is None:
        pytest.skip("SciPy is installed without its tests")
    program = """
        import sys, pytest, scipy.fft
        import planmath.interfaces.scipy_fft as backend
        scipy.fft.set_global_backend(backend, only=True)
        for name in backend.FUNCTIONS:
            setattr(sys.modules["scipy.fft._pocketfft"], name, getattr(scipy.fft, name))
        # rounding of single precision, 4e-8 of the largest value, is another library's
        sys.exit(pytest.main([
            "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "/dev/null", "-W", "ignore",
            "--pyargs", "scipy.fft.tests.test_basic", "scipy.fft._pocketfft.tests.test_basic",
            "-k", "not multiprocess and not (TestSingleIFFT and djbfft)",
        ]))
    """
    output = run_python(textwrap.dedent(program))
    assert " passed" in output
    assert " failed" not in output
