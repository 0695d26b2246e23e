"""Products of FP8 operands against dequantized ones in double precision."""
# ruff: noqa: E501 - the tables read best with one mistake a line

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from planmath.core.datatypes import CudaDataType
from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.linalg.advanced.epilog import EPILOGS
from tests.arrays import missing
from tests.linalg.operands import wide, with_auxiliary
from tests.linalg.reference import ROUNDOFF, gelu, gelu_derivative, relu
from tests.misuse import Misuse, check

torch = pytest.importorskip("torch", reason="torch is not installed")
reason = missing("torch-cuda")
needs_device = pytest.mark.skipif(reason is not None, reason=str(reason))

E = MatmulEpilog
E4, E5 = torch.float8_e4m3fn, torch.float8_e5m2
PAIRS = [(E4, E4), (E4, E5), (E5, E4)]
RESULTS = {
    torch.bfloat16: CudaDataType.CUDA_R_16BF, torch.float16: CudaDataType.CUDA_R_16F,
    torch.float32: CudaDataType.CUDA_R_32F, E4: CudaDataType.CUDA_R_8F_E4M3, E5: CudaDataType.CUDA_R_8F_E5M2,
}  # fmt: skip
UNIT = {E4: 2.0**-4, E5: 2.0**-3} | {dtype: ROUNDOFF[str(dtype).removeprefix("torch.")] for dtype in list(RESULTS)[:3]}
LARGEST = {E4: 448.0, E5: 57344.0}
#: Half the smallest number: what is below becomes 0.
LEAST = {E4: 2.0**-10, E5: 2.0**-17}
#: The tensor cores of compute capability 9.0 sum products of FP8 with about 14 bits, relative to the largest; these
#: sums are then added in single precision (DeepSeek-V3 technical report, section 3.3.2), unless that is left out for
#: speed.
SUMMING, FAST_SUMMING = 2.0**-12, 2.0**-9
#: Where products are computed; the CPU sums in single precision, which is within these bounds.
everywhere = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_device)])


def number(value: float, device: str = "cuda") -> Any:
    return torch.tensor([value], device=device)


def operands(m: int, n: int, k: int, pair: Any = (E4, E4), batch: tuple[int, ...] = (), device: str = "cuda") -> Any:
    """a row-major, b column-major, of size 1."""
    rng = np.random.default_rng([m, n, k, *batch])
    a = torch.from_numpy(rng.standard_normal((*batch, m, k))).to(pair[0])
    b = torch.from_numpy(rng.standard_normal((*batch, n, k))).to(pair[1]).mT
    return a.to(device), b.to(device)


def values(a: Any, b: Any, scales: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """The product in double precision, and that of the moduli."""
    x, y = wide(a) * scales["a"], wide(b) * scales["b"]
    return x @ y, abs(x) @ abs(y)


def assert_close(
    result: Any, expected: np.ndarray, size: np.ndarray, scale: float = 1.0, summing: float = SUMMING
) -> None:
    """Within the error of summing, and half a unit of the result's last place; what is too large becomes the largest."""
    exact = expected * scale
    bound = (summing * size * scale) + UNIT[result.dtype] * (abs(exact) + summing * size * scale)
    if result.dtype in LARGEST:
        exact = np.clip(exact, -LARGEST[result.dtype], LARGEST[result.dtype])
        bound = bound + LEAST[result.dtype]
    error = abs(wide(result) - exact)
    assert (error <= bound).all(), float((error / bound).max())


@everywhere
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("dtype", list(RESULTS), ids=str)
def test_every_result_type(pair, dtype, device):
    if dtype is E5 and E5 not in pair:
        a, b = operands(32, 16, 64, pair, device=device)
        with pytest.raises(ValueError, match="operands of float8_e4m3fn have results of"):
            matmul(a, b, quantization_scales={"a": 1, "b": 1, "d": 1}, options={"result_type": RESULTS[dtype]})
        return
    scales = {"a": 0.5, "b": 2.0} | ({"d": 0.25} if dtype in LARGEST else {})
    for (m, n, k), batch in product([(32, 48, 64), (16, 16, 16), (128, 256, 512)], [(), (3,), (2, 2)]):
        a, b = operands(m, n, k, pair, batch, device=device)
        result = matmul(a, b, alpha=1.5, quantization_scales=scales, options={"result_type": RESULTS[dtype]})
        assert result.dtype is dtype
        assert result.shape == (*batch, m, n)
        assert result.is_contiguous()
        exact, size = values(a, b, scales)
        assert_close(result, 1.5 * exact, 1.5 * size, scales.get("d", 1.0))


@everywhere
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_result_type_by_default(pair, device):
    a, b = operands(32, 16, 64, pair, device=device)
    assert matmul(a, b, quantization_scales={"a": 1, "b": 1, "d": 1}).dtype is pair[0]
    c = torch.zeros(32, 16, device=device, dtype=torch.bfloat16)
    assert matmul(a, b, c, beta=1, quantization_scales={"a": 1, "b": 1}).dtype is torch.bfloat16


@everywhere
@pytest.mark.parametrize("order", ["row-major", "column-major"])
@pytest.mark.parametrize(
    ("dtype", "added"),
    [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float16), (torch.float32, torch.float32),
     (E4, torch.bfloat16), (E4, torch.float16)], ids=str,
)  # fmt: skip
def test_what_is_added(dtype, added, order, device):
    scales = {"a": 0.5, "b": 2.0} | ({"d": 0.25} if dtype is E4 else {})
    a, b = operands(32, 48, 64, device=device)
    c = torch.randn(32, 48, device=device).to(added)
    c = c if order == "row-major" else c.mT.contiguous().mT
    options = {"result_type": RESULTS[dtype]}
    # with bfloat16, the product is rounded before it is added
    summing = SUMMING + (UNIT[dtype] if dtype is torch.bfloat16 else 0)
    result = matmul(a, b, c, alpha=2, beta=-0.5, quantization_scales=scales, options=options)
    exact, size = values(a, b, scales)
    assert result.stride() == c.stride()
    added_up = 2 * size + 0.5 * abs(wide(c))
    assert_close(result, 2 * exact - 0.5 * wide(c), added_up, scales.get("d", 1.0), summing)
    if dtype is added:
        before = wide(c)
        replaced = matmul(a, b, c, beta=1, quantization_scales=scales, options=options | {"inplace": True})
        assert replaced is c
        assert_close(c, exact + before, size + abs(before), 1.0, summing)


@everywhere
def test_operands_that_are_broadcast_and_vectors(device):
    scales = {"a": 1.0, "b": 1.0}
    options = {"result_type": CudaDataType.CUDA_R_32F}
    a, b = operands(32, 48, 64, batch=(3,), device=device)
    for x, y in ((a, b[0]), (a[0], b), (a[0, 0], b[0]), (a[0], b[0, :, 0])):
        result = matmul(x, y, quantization_scales=scales, options=options)
        exact, size = values(x, y, scales)
        assert_close(result, exact, size)


@everywhere
def test_scales_as_numbers_and_as_tensors(device):
    """A tensor is read when the product is computed: what it holds then counts."""
    a, b = operands(32, 48, 64, device=device)
    exact, size = values(a, b, {"a": 1.0, "b": 1.0})
    options = {"result_type": CudaDataType.CUDA_R_32F}
    one = torch.tensor(0.5, device=device)
    two = torch.tensor([2.0], device=device)
    with Matmul(a, b, quantization_scales={"a": one, "b": two}, options=options) as mm:
        mm.plan()
        assert_close(mm.execute(), exact, size)
        one.fill_(4.0)
        two.mul_(8)
        assert_close(mm.execute(), 64 * exact, 64 * size)
        mm.reset_operands(quantization_scales={"a": 3})
        assert_close(mm.execute(), 48 * exact, 48 * size)
        mm.reset_operands(quantization_scales={"b": number(0.25, device)}, a=a, alpha=2.0)
        assert_close(mm.execute(), 1.5 * exact, 1.5 * size)
        mm.reset_operands_unchecked(quantization_scales={"a": 1, "b": 1}, alpha=1)
        assert_close(mm.execute(), exact, size)
        mm.release_operands()
        with pytest.raises(ValueError, match=r"quantization_scales.a, quantization_scales.b missing"):
            mm.reset_operands(a=a, b=b)
        mm.reset_operands(a=a, b=b, quantization_scales={"a": 1, "b": 2})
        assert_close(mm.execute(), 2 * exact, 2 * size)


@everywhere
@pytest.mark.parametrize("dtype", [E4, E5], ids=str)
def test_largest_magnitude(dtype, device):
    """Before it is scaled; of the whole batch."""
    scales = {"a": 1.0, "b": 1.0, "d": 2.0**-6}
    options = {"result_amax": True, "result_type": RESULTS[dtype]}
    for batch in ((), (3,)):
        a, b = operands(32, 48, 64, (E4, E5) if dtype is E5 else (E4, E4), batch, device=device)
        with Matmul(a, b, quantization_scales=scales, options=options) as mm:
            mm.plan()
            for factor in (1.0, 3.0):
                mm.reset_operands(alpha=factor)
                result, auxiliary = mm.execute()
                exact, size = values(a, b, scales)
                assert_close(result, factor * exact, factor * size, scales["d"])
                amax = auxiliary["result_amax"]
                assert (amax.shape, amax.dtype) == ((1,), torch.float32)
                assert amax.item() == pytest.approx(factor * abs(exact).max(), rel=2.0**-9)
            out = mm.empty_result()
            assert mm.execute(out=out) is out


@everywhere
@pytest.mark.parametrize(
    ("dtype", "bias"),
    [
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16),
        (torch.float32, torch.bfloat16),
        (E4, torch.bfloat16),
        (E4, torch.float16),
    ],
    ids=str,
)
def test_epilogs(dtype, bias, device):
    scales = {"a": 0.5, "b": 2.0} | ({"d": 0.5} if dtype is E4 else {})
    a, b = operands(128, 48, 64, device=device)
    exact, size = values(a, b, scales)
    added = torch.randn(128, device=device).to(bias)
    with_bias = exact + wide(added)[:, None]
    options = {"quantization_scales": scales, "options": {"result_type": RESULTS[dtype]}}
    inputs = {"epilog_inputs": {"bias": added}}
    for epilog, expected, given in (
        (E.RELU, relu(exact), {}), (E.GELU, gelu(exact), {}), (E.BIAS, with_bias, inputs),
        (E.RELU_BIAS, relu(with_bias), inputs), (E.GELU_BIAS, gelu(with_bias), inputs),
    ):  # fmt: skip
        result = matmul(a, b, epilog=epilog, **given, **options)
        assert_close(result, expected, size + abs(with_bias), scales.get("d", 1.0), 2.0**-9)
    result, auxiliary = matmul(a, b, epilog=E.RELU_AUX, **options)
    assert_close(result, relu(exact), size, scales.get("d", 1.0))
    bits = np.unpackbits(auxiliary["relu_aux"].cpu().numpy(), axis=-2, bitorder="little").astype(bool)
    certain = abs(exact) > SUMMING * size
    assert (bits == (exact > 0))[certain].all()
    if dtype is not torch.float32:
        result, auxiliary = matmul(a, b, epilog=E.GELU_AUX_BIAS, **inputs, **options)
        state = auxiliary["gelu_aux"]
        assert state.dtype is (dtype if dtype is not E4 else bias)
        assert_close(state, with_bias, size + abs(with_bias), 1.0, 2.0**-9)
        assert_close(result, gelu(with_bias), size + abs(with_bias), scales.get("d", 1.0), 2.0**-9)


@everywhere
def test_auxiliary_result_of_eight_bits(device):
    """It has a scale of its own, and a largest magnitude before scaling."""
    scales = {"a": 1.0, "b": 1.0, "d": 0.5}
    a, b = operands(64, 48, 64, device=device)
    exact, size = values(a, b, scales)
    preferences = {"epilog": {"aux_type": CudaDataType.CUDA_R_8F_E4M3, "aux_amax": True}}
    scale = number(0.25, device)
    with Matmul(a, b, quantization_scales=scales) as mm:
        mm.plan(epilog=E.GELU_AUX, epilog_inputs={"aux_quantization_scale": scale}, preferences=preferences)
        for factor in (0.25, 2.0):
            scale.fill_(factor)
            result, auxiliary = mm.execute()
            assert set(auxiliary) == {"gelu_aux", "gelu_aux_amax"}
            assert auxiliary["gelu_aux"].dtype is E4
            assert_close(result, gelu(exact), size, 0.5, 2.0**-9)
            assert_close(auxiliary["gelu_aux"], exact, size, factor, 2.0**-9)
            assert auxiliary["gelu_aux_amax"].item() == pytest.approx(abs(exact).max(), rel=2.0**-9)
        mm.reset_operands(epilog_inputs={"aux_quantization_scale": 1.0})
        assert_close(mm.execute()[1]["gelu_aux"], exact, size, 1.0, 2.0**-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, E4], ids=str)
def test_gradients_on_the_cpu(dtype):
    """Devices have none of these for FP8. What the forward pass leaves is what the backward one takes."""
    scales = {"a": 0.5, "b": 2.0} | ({"d": 0.5} if dtype is E4 else {})
    scale = scales.get("d", 1.0)
    a, b = operands(64, 48, 64, device="cpu")
    exact, size = values(a, b, scales)
    options = {"quantization_scales": scales, "options": {"result_type": RESULTS[dtype]}}
    of_bias = torch.float16 if dtype is E4 else torch.bfloat16
    _, auxiliary = matmul(a, b, epilog=E.RELU_AUX, **options)
    result, sums = matmul(a, b, epilog=E.DRELU_BGRAD, epilog_inputs=auxiliary, **options)
    positive = np.where(exact > 0, exact, 0)
    assert_close(result, positive, size, scale)
    assert sums["drelu_bgrad"].dtype is of_bias
    assert_close(sums["drelu_bgrad"], positive.sum(1), size.sum(1))
    _, auxiliary = matmul(a, b, epilog=E.GELU_AUX, **options)
    state = auxiliary["gelu_aux"]
    expected = exact * gelu_derivative(wide(state))
    result, sums = matmul(a, b, epilog=E.DGELU_BGRAD, epilog_inputs={"gelu_aux": state}, **options)
    assert_close(result, expected, size, scale, 2.0**-9)
    assert_close(sums["dgelu_bgrad"], expected.sum(1), size.sum(1), 1.0, 2.0**-9)
    result = matmul(a, b, epilog=E.DGELU, epilog_inputs={"gelu_aux": state}, **options)
    assert_close(result, expected, size, scale, 2.0**-9)
    for epilog, name, terms in ((E.BGRADA, "bgrada", wide(a) * 0.5), (E.BGRADB, "bgradb", wide(b).T * 2.0)):
        result, sums = matmul(a, b, epilog=epilog, **options)
        assert_close(result, exact, size, scale)
        assert sums[name].dtype is of_bias
        assert_close(sums[name], terms.sum(1), abs(terms).sum(1))


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, E4], ids=str)
def test_scale_factors_of_zero(dtype, device):
    """With an alpha of 0 operands are not read, on the CPU nor are their scales; with a beta of 0, c is not."""
    a, b = operands(32, 48, 64, batch=(2,), device=device)
    exact, size = values(a, b, {"a": 1.0, "b": 1.0})
    added = torch.float32 if dtype is torch.float32 else torch.bfloat16
    c = torch.full((2, 32, 48), torch.nan, device=device, dtype=added)
    options = {"options": {"result_type": RESULTS[dtype]}}
    scales = {"a": 1, "b": 1} | ({"d": 1} if dtype is E4 else {})
    assert_close(matmul(a, b, c, beta=0, quantization_scales=scales, **options), exact, size)
    nan = torch.full_like(a, torch.nan)
    c = torch.arange(48, device=device, dtype=added).expand(2, 32, 48).contiguous()
    with Matmul(nan, b, c, alpha=0, beta=2, quantization_scales=scales, **options) as mm:
        mm.plan()
        np.testing.assert_array_equal(wide(mm.execute()), wide((2 * c).to(dtype)))
        # of the scales cuBLASLt's documentation says nothing
        mm.reset_operands(beta=0, quantization_scales={"a": number(torch.nan, device)} if device == "cpu" else None)
        np.testing.assert_array_equal(wide(mm.execute()), 0)
        mm.reset_operands(a=a, alpha=1, quantization_scales={"a": 1})
        assert_close(mm.execute(), exact, size)


@pytest.mark.parametrize("batches", [((3,), (3,)), ((2, 2), ()), ((), (3,))], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, E4], ids=str)
def test_epilogs_of_a_batch_on_the_cpu(batches, dtype):
    """Each matrix has what it has by itself, with a bias of its own."""
    scales = {"a": 0.5, "b": 2.0} | ({"d": 0.5} if dtype is E4 else {})
    given = {"quantization_scales": scales, "options": {"result_type": RESULTS[dtype]}}
    batch = batches[0] or batches[1]
    a, b = operands(64, 48, 64, batch=batch, device="cpu")
    first = (0,) * len(batch)
    a, b = a if batches[0] else a[first], b if batches[1] else b[first]
    biases = torch.randn(*batch, 64, 1).to(torch.bfloat16)
    for epilog in E:
        kind = EPILOGS[epilog]
        inputs = {"bias": biases} if "bias" in kind.inputs else {}
        state = next((name for name in kind.inputs if name.endswith("_aux")), None)
        if state:  # what the forward pass leaves
            _, left = matmul(a, b, epilog=E.RELU_AUX if state == "relu_aux" else E.GELU_AUX, **given)
            inputs[state] = left[state]
        found, auxiliary = with_auxiliary(matmul(a, b, epilog=epilog, epilog_inputs=inputs or None, **given))
        assert set(auxiliary) == set(kind.auxiliary)
        for which in np.ndindex(batch):
            x, y = (m[which] if m.ndim > 2 else m for m in (a, b))
            of_one = {name: array[which] for name, array in inputs.items()}
            expected, others = with_auxiliary(matmul(x, y, epilog=epilog, epilog_inputs=of_one or None, **given))
            assert_same(found[which], expected, epilog.name)
            for name, array in others.items():
                assert_same(auxiliary[name][which].reshape(array.shape), array, f"{epilog.name} {name}")


def assert_same(found: Any, expected: Any, what: str) -> None:
    """Equal but for the order of sums, which a batch that is one taller matrix may have otherwise."""
    assert found.dtype is expected.dtype
    if found.dtype is torch.uint8:
        assert (found != expected).sum() <= 1, what
        return
    error = abs(wide(found) - wide(expected))
    assert (error <= 2 * UNIT[found.dtype] * abs(wide(expected)) + 1e-4).all(), what


@everywhere
def test_fast_accumulation(device):
    a, b = operands(64, 48, 4096, device=device)
    exact, size = values(a, b, {"a": 1.0, "b": 1.0})
    options = {"result_type": CudaDataType.CUDA_R_32F, "fast_accumulation": True}
    assert_close(matmul(a, b, quantization_scales={"a": 1, "b": 1}, options=options), exact, size, 1.0, FAST_SUMMING)


@needs_device
def test_operands_on_the_host():
    a, b = operands(32, 48, 64, device="cpu")
    exact, size = values(a, b, {"a": 0.5, "b": 2.0})
    with Matmul(a, b, quantization_scales={"a": 0.5, "b": torch.tensor(2.0), "d": 0.5}, options={"result_amax": True}, execution="cuda") as mm:  # fmt: skip
        mm.plan()
        result, auxiliary = mm.execute()
        assert result.device.type == auxiliary["result_amax"].device.type == "cpu"
        assert_close(result, exact, size, 0.5)
        assert auxiliary["result_amax"].item() == pytest.approx(abs(exact).max(), rel=2.0**-9)


@everywhere
def test_algorithms_of_fp8(device):
    a, b = operands(256, 256, 256, device=device)
    exact, size = values(a, b, {"a": 1.0, "b": 1.0})
    with Matmul(a, b, quantization_scales={"a": 1, "b": 1}, options={"result_type": CudaDataType.CUDA_R_16BF}) as mm:
        for algorithm in mm.plan():
            assert_close(mm.execute(algorithm=algorithm), exact, size)
        mm.autotune(iterations=2)
        assert_close(mm.execute(), exact, size)


def scaled(a: Any, b: Any, scales: Any = None, **options: Any) -> Any:
    return lambda: matmul(a, b, quantization_scales=scales or {"a": 1, "b": 1, "d": 1}, options=options)


def device_misuses() -> list[Misuse]:
    a, b = operands(32, 48, 64)
    wide_a = torch.zeros(32, 64, device="cuda")
    return [
        Misuse("no scales", lambda: matmul(a, b), ValueError, ("a, b, d missing", "such as 1.0")),
        Misuse("one scale", scaled(a, b, {"a": 1}), ValueError, ("b, d missing",)),
        Misuse("scale of c", scaled(a, b, {"a": 1, "b": 1, "c": 1, "d": 1}), ValueError, ("has 'c', but c is not given",)),
        Misuse("scale of a wide result", scaled(a, b, result_type=CudaDataType.CUDA_R_16F), ValueError, ("has 'd', but d is float16",)),
        Misuse("scales of wide operands", scaled(wide_a, wide_a.mT), ValueError, ("but a is float32", "leave them away")),
        Misuse("amax of wide operands", lambda: matmul(wide_a, wide_a.mT, options={"result_amax": True}), ValueError, ("result_amax is set, but a is float32",)),
        Misuse("amax of a wide result", scaled(a, b, {"a": 1, "b": 1}, result_amax=True, result_type=CudaDataType.CUDA_R_16F), ValueError, ("but the result is float16",)),
        Misuse("infinite scale", scaled(a, b, {"a": np.inf, "b": 1, "d": 1}), ValueError, ("quantization_scales.a is inf",)),
        Misuse("scale on the host", scaled(a, b, {"a": torch.tensor(1.0), "b": 1, "d": 1}), ValueError, ("not where a and b are",)),
        Misuse("scale of another dtype", scaled(a, b, {"a": number(1.0).double(), "b": 1, "d": 1}), ValueError, ("one element of float32",)),
        Misuse("two scales", scaled(a, b, {"a": torch.ones(2, device="cuda"), "b": 1, "d": 1}), ValueError, (r"shape \(2,\)",)),
        Misuse("text for a scale", scaled(a, b, {"a": "1", "b": 1, "d": 1}), TypeError, ("quantization_scales.a is a str",)),
        Misuse("column-major a", scaled(a.mT.contiguous().mT, b), UnsupportedLayoutError, ("need a row-major a", "a.contiguous")),
        Misuse("row-major b", scaled(a, b.contiguous()), UnsupportedLayoutError, ("need a column-major b",)),
        Misuse("k", scaled(a[:, :24].contiguous(), b[:24].mT.contiguous().mT), ValueError, ("multiple of 16, and this is 24",)),
        Misuse("n", scaled(a, b[:, :40].mT.contiguous().mT), ValueError, ("rows that are multiples of 16 bytes",)),
        Misuse("two of e5m2", scaled(a.to(E5), b.to(E5)), ValueError, ("one of the two must be float8_e4m3fn",)),
        Misuse("mixed with float16", scaled(a, b.to(torch.float16)), ValueError, ("expected the same",)),
        Misuse("addend", lambda: matmul(a, b, torch.zeros(32, 48, device="cuda"), beta=1, quantization_scales={"a": 1, "b": 1, "d": 1}, options={"result_type": RESULTS[E4]}), ValueError, ("c has the dtype float32; expected bfloat16 or float16",)),
        Misuse("bias", lambda: matmul(a, b, epilog=E.BIAS, epilog_inputs={"bias": torch.zeros(32, device="cuda")}, quantization_scales={"a": 1, "b": 1, "d": 1}), ValueError, ("expected bfloat16 or float16",)),
        Misuse("auxiliary scale", lambda: matmul(a, b, epilog=E.GELU_AUX, preferences={"epilog": {"aux_type": RESULTS[E4]}}, quantization_scales={"a": 1, "b": 1, "d": 1}), ValueError, ("GELU_AUX needs aux_quantization_scale",)),
        Misuse("auxiliary amax", lambda: matmul(a, b, epilog=E.GELU_AUX, preferences={"epilog": {"aux_amax": True}}, quantization_scales={"a": 1, "b": 1, "d": 1}), ValueError, ("set aux_type to one of them",)),
        Misuse("blocks", scaled(a, b, block_scaling=True), UnavailableError, ("compute capability 10.0", "has 9")),
    ]  # fmt: skip


@needs_device
def test_messages():
    for misuse in device_misuses():
        try:
            check(misuse)
        except BaseException as error:
            raise AssertionError(misuse.what) from error


def test_messages_without_a_device():
    a, b = operands(32, 48, 64, device="cpu")
    check(Misuse("no scales", lambda: matmul(a, b), ValueError, ("a, b, d missing", "such as 1.0")))
    check(Misuse("layout", scaled(a, b.contiguous()), UnsupportedLayoutError, ("need a column-major b",)))
    for options in ({"result_amax": True}, {"block_scaling": True}):
        check(Misuse("option", lambda options=options: matmul(np.ones((2, 2)), np.ones((2, 2)), options=options), ValueError, ("is set, but a is float64", "leave it away")))  # fmt: skip
    c = torch.zeros(32, 48, dtype=torch.bfloat16)
    inplace = {"inplace": True, "result_type": RESULTS[E4]}
    check(Misuse("in place", lambda: matmul(a, b, c, beta=1, quantization_scales={"a": 1, "b": 1, "d": 1}, options=inplace), ValueError, ("c has the dtype bfloat16, but the result float8_e4m3fn",)))  # fmt: skip
