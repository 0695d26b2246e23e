"""NaN, infinities, signed zeros, subnormal numbers, overflow, scale factors of 0: all providers agree."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from planmath.bindings import blas
from planmath.linalg.advanced import Matmul, MatmulComputeType, MatmulEpilog, matmul
from planmath.linalg.advanced.providers import blas_interface, subnormals, torch_kernels
from planmath.linalg.advanced.providers.blas_interface import BLASProvider
from tests.linalg.operands import COMPLEX, INTEGER, REAL, Case, cases, wide

#: Extents below and above which libraries have kernels of their own, one for vectors, and batches.
SHAPES = [((3, 3), (3, 3)), ((3, 5, 4), (4, 6)), ((2, 33, 70), (2, 70, 33)), ((9,), (9, 8))]
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028235e38, "float64": np.finfo("f8").max}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
PARTS = {"complex64": "float32", "complex128": "float64"}


def variants(case: Case) -> list[dict[str, Any]]:
    """Options that lead to other routines of the library: packed operands, sums in half precision."""
    constant = [] if case.on_device or case.provider == "torch" else [{"constant": ["a"]}, {"constant": ["b"]}]
    half = [{"compute_type": MatmulComputeType.COMPUTE_16F}] if case.dtype == "float16" else []
    return [case.options | {"tuning": False} | extra for extra in ({}, *constant, *half)]


def results(case: Case, a: Any, b: Any, c: Any = None, **arguments: Any):
    """The product by each algorithm that the provider has, and its name."""
    epilog = {name: arguments.pop(name) for name in ("epilog", "epilog_inputs") if name in arguments}
    inplace = arguments.pop("inplace", False)
    for options in variants(case):
        with Matmul(a, b, c, options=options | {"inplace": inplace}, **arguments) as mm:
            for algorithm in mm.plan(**epilog):
                mm.plan(algorithms=[algorithm], **epilog)
                if inplace:
                    mm.reset_operands(c=case.like(wide(c), case.result_dtype))
                yield f"{algorithm} {options}", mm.execute()


def kinds(values: np.ndarray) -> np.ndarray:
    """What each number is; of a complex one that is not finite, only that: which part is NaN depends on the order."""
    if np.iscomplexobj(values):
        finite = np.isfinite(values)
        parts = [np.where(finite, kinds(part), "not finite") for part in (values.real, values.imag)]
        return np.stack(parts)
    names = np.where(np.isnan(values), "NaN", np.where(values == 0, "0", np.where(np.isinf(values), "inf", "finite")))
    return np.char.add(np.where(np.signbit(values) & ~np.isnan(values), "-", ""), names)


def filled(case: Case, shape: tuple[int, ...], value: float) -> Any:
    return case.like(np.full(shape, value), case.dtype if case.dtype not in INTEGER else None)


@pytest.mark.parametrize("case", cases(*REAL, *COMPLEX))
@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES, ids=str)
def test_alpha_of_zero_leaves_the_operands_alone(case, a_shape, b_shape):
    a, b = filled(case, a_shape, np.inf), filled(case, b_shape, np.nan)
    scale = complex(-0.0, 0.0) if case.dtype in COMPLEX else -0.0 if len(a_shape) > 2 else 0.0
    for name, result in results(case, a, b, alpha=scale):
        assert (wide(result) == 0).all(), name


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("beta", [0, 1, -2])
def test_alpha_of_zero_scales_c(case, beta):
    a, b = (case.operand(shape) for shape in ((3, 20, 30), (30, 25)))
    if case.dtype not in INTEGER:
        a = filled(case, (3, 20, 30), np.nan)
    c = case.addend((3, 20, 25))
    if beta == 0 and case.dtype not in INTEGER:
        c = case.like(np.full((3, 20, 25), np.nan))
    expected = beta * wide(c) if beta else np.zeros((3, 20, 25))
    for inplace in (False, True):
        for name, result in results(case, a, b, c, alpha=0, beta=beta, inplace=inplace):
            np.testing.assert_array_equal(wide(result), expected, name)


@pytest.mark.parametrize("case", cases(*COMPLEX))
def test_beta_of_one_leaves_c_as_it_is(case):
    """Times 1 + 0i, an infinity would become NaN, as it does on devices."""
    if case.on_device:
        pytest.skip("cuBLASLt multiplies by any beta")
    a, b, c = filled(case, (3, 3), np.nan), filled(case, (3, 3), 1), case.like(np.full((3, 3), complex(np.inf, 2)))
    for name, result in results(case, a, b, c, alpha=0, beta=1):
        np.testing.assert_array_equal(wide(result), wide(c), name)


@pytest.mark.parametrize("case", cases(*REAL, *COMPLEX))
@pytest.mark.parametrize(("a_shape", "b_shape"), [s for s in SHAPES if len(s[0]) > 1], ids=str)
def test_beta_of_zero_leaves_c_alone(case, a_shape, b_shape):
    a, b = case.exact(a_shape), case.exact(b_shape)
    expected = wide(a) @ wide(b)
    for column_only in (False, True):
        c = filled(case, (*expected.shape[:-1], 1) if column_only else expected.shape, np.nan)
        for name, result in results(case, a, b, c, beta=0.0):
            assert np.isfinite(wide(result)).all(), name


@pytest.mark.parametrize("case", cases("float32", "bfloat16"))
def test_alpha_is_known_when_executing(case):
    """Programs are made before; packed operands, too."""
    infinite, ones = filled(case, (8, 8), np.inf), filled(case, (8, 8), 1)
    for options in variants(case):
        with Matmul(infinite, ones, options=options) as mm:
            mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": filled(case, (8,), 3)})
            assert np.isinf(wide(mm.execute())).all(), options
            mm.reset_operands(alpha=0)
            assert (wide(mm.execute()) == 3).all(), options
            mm.reset_operands(a=ones, alpha=2)
            assert (wide(mm.execute()) == 19).all(), options


@pytest.mark.parametrize("case", cases(*REAL, *COMPLEX))
@pytest.mark.parametrize("extent", [4, 40, 100])
def test_values_that_are_special(case, extent):
    """What IEEE 754 says of sums of products, in whatever order: each has one term that is not a positive zero."""
    largest, smallest = (table[PARTS.get(case.dtype, case.dtype)] for table in (LARGEST, SMALLEST))
    a, b = np.zeros((extent, extent)), np.eye(extent)
    a[0, 0], a[1, 1], a[2, 2], a[3, 0], a[3, 1], a[3, 2] = np.nan, np.inf, -np.inf, -0.0, largest, -smallest
    b[1, 3] = 2
    with np.errstate(all="ignore"):
        expected = a @ b
    expected[3, 3] = np.inf  # beyond the dtype's largest number, which float64 holds for the narrower ones
    found = {}
    for name, result in results(case, case.like(a), case.like(b)):
        found[name] = wide(result)
        if case.dtype not in COMPLEX:  # 0 times infinity is in the other part of complex products
            np.testing.assert_array_equal(kinds(found[name]), kinds(expected), name)
            assert found[name][3, 2] == -smallest, name
    first = next(iter(found.values()))
    for name, values in found.items():
        np.testing.assert_array_equal(kinds(values), kinds(first), name)


@pytest.mark.parametrize("case", cases(*REAL, *COMPLEX))
@pytest.mark.parametrize("extent", [1, 8, 64, 150])
def test_subnormal_numbers_are_numbers(case, extent):
    smallest = SMALLEST[PARTS.get(case.dtype, case.dtype)]
    a, b = np.eye(extent) * smallest, np.eye(extent) * 3
    for name, result in results(case, case.like(a), case.like(b)):
        np.testing.assert_array_equal(wide(result), a * 3, name)


@pytest.mark.parametrize("case", cases("int8"))
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_int8_are_modulo_2_to_the_32(case, sign):
    """2^17 products of 128 by 127 or 128 are more than int32 holds, and c makes it more or less."""
    terms = 1 << 17
    a = case.like(np.full((16, terms), -128))
    b = case.like(np.full((terms, 16), -128 if sign > 0 else 127))
    total = terms * 128 * (128 if sign > 0 else -127)
    for name, result in results(case, a, b):
        assert (wide(result) == (total + 2**31) % 2**32 - 2**31).all(), name
    c = case.like(np.full((16, 16), sign * (2**31 - 1)), "int32")
    for name, result in results(case, a, b, c, beta=1):
        total_c = total + sign * (2**31 - 1)
        assert (wide(result) == (total_c + 2**31) % 2**32 - 2**31).all(), name


@pytest.mark.parametrize("factor", [1, 3, -5, 1 << 20, 1 << 40, 1 << 62])
def test_scaled_sums_of_int8_are_modulo_2_to_the_32(factor):
    torch = pytest.importorskip("torch")
    a = torch.full((2, 16), 127, dtype=torch.int8)
    b = torch.tensor([[-128, 127]] * 16, dtype=torch.int8)
    expected = ((a[:1].numpy().astype(object) @ b.numpy().astype(object)) * factor + 2**31) % 2**32 - 2**31
    result = matmul(a, b, alpha=factor, execution="cpu")
    assert result.tolist() == expected.tolist() * 2


class _Poisoned:
    """A library that fills d with NaN, whatever it is asked for."""

    def __init__(self) -> None:
        self.calls = 0
        self._function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(self._multiply)

    def _multiply(self, *arguments: int) -> None:
        self.calls += 1
        m = ctypes.c_int.from_address(arguments[2]).value
        n = ctypes.c_int.from_address(arguments[3]).value
        ctypes.memset(arguments[11], 0xFF, 8 * m * n)

    def provider(self) -> BLASProvider:
        address = ctypes.cast(self._function, ctypes.c_void_p).value
        return BLASProvider("poisoned", blas.BLAS(
            "poisoned", lambda: None, lambda name: address if name == "dgemm" else 0, lambda: "1", lambda: None,
            lambda: 0, lambda: 1, 1, sets_locally=True,
        ))  # fmt: skip


def test_a_library_never_gets_an_alpha_of_zero(monkeypatch):
    library = _Poisoned()
    monkeypatch.setattr("planmath.linalg.advanced.operation.PROVIDERS", (library.provider(),))
    a, b, c = np.ones((2, 4, 4)), np.ones((4, 4)), np.arange(16.0).reshape(4, 4)
    with Matmul(a, b, c, alpha=0, beta=2) as mm:
        mm.plan()
        np.testing.assert_array_equal(mm.execute(), np.broadcast_to(2 * c, (2, 4, 4)))
        assert library.calls == 0
        mm.reset_operands(alpha=1)
        assert np.isnan(mm.execute()).all()
        assert library.calls > 0


def test_who_gets_subnormal_numbers_wrong_is_asked_only_where_that_is_allowed(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch_kernels, "_keeps_subnormals", lambda: False)
    monkeypatch.setattr(blas_interface, "_keeps_subnormals", lambda *routine: False)
    a = torch.full((64, 64), 2.0**-130, dtype=torch.bfloat16)
    b = torch.eye(64, dtype=torch.bfloat16)
    allowed = {"compute_type": MatmulComputeType.COMPUTE_32F_FAST_16BF, "tuning": False}
    with Matmul(a, b, options={"tuning": False}) as strict, Matmul(a, b, options=allowed) as fast:
        names = [{str(algorithm) for algorithm in mm.plan(preferences={"limit": 99})} for mm in (strict, fast)]
        assert names[0] < names[1]
        assert not any("torch" in name or "bf16" in name for name in names[0])
        assert any("torch" in name for name in names[1])
        assert (strict.execute() == a).all()
    with pytest.raises(RuntimeError, match="COMPUTE_32F_FAST_16BF"):
        matmul(a, b, options={"provider": "torch"})
    assert matmul(a, b, options={"provider": "torch", **allowed}).shape == (64, 64)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_wrong_subnormal_numbers_are_seen(dtype):
    def multiply(a: np.ndarray, b: np.ndarray, least: float) -> np.ndarray:
        x, y = (subnormals.values(bits, dtype).astype("f8") for bits in (a, b))
        product = np.where(abs(x) < least, 0, x) @ np.where(abs(y) < least, 0, y)
        return np.where(abs(product) < least, 0, product)

    assert subnormals.kept(dtype, lambda a, b: multiply(a, b, 0))
    assert not subnormals.kept(dtype, lambda a, b: multiply(a, b, 2.0**-14 if dtype == "float16" else 2.0**-126))
