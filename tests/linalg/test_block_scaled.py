"""Block-scaled products (MXFP8, NVFP4) on the CPU, against dequantized operands in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planmath.core.datatypes import CudaDataType
from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.helpers.matmul import (
    BlockScalingFormat,
    create_mxfp8_scale,
    expand_block_scale,
    quantize_to_fp4,
    to_block_scale,
    unpack_fp4,
)
from tests.linalg.operands import with_auxiliary
from tests.linalg.reference import relu
from tests.misuse import Misuse, check

torch = pytest.importorskip("torch", reason="torch is not installed")
needs_fp4 = pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no dtype of 4 bits")

MXFP8, NVFP4 = BlockScalingFormat.MXFP8, BlockScalingFormat.NVFP4
FORMATS = [MXFP8, pytest.param(NVFP4, marks=needs_fp4)]
BLOCK = {MXFP8: 32, NVFP4: 16}
SINGLE, NARROW = CudaDataType.CUDA_R_32F, {MXFP8: CudaDataType.CUDA_R_8F_E4M3, NVFP4: CudaDataType.CUDA_R_4F_E2M1}
E = MatmulEpilog


def operand(form: BlockScalingFormat, shape: tuple[int, ...], axis: int) -> tuple[Any, Any, np.ndarray]:
    """An operand blocked along an axis, its scales, and the values of both together."""
    rng = np.random.default_rng([*shape, -axis])
    x = torch.from_numpy(rng.standard_normal(shape).astype("f4")).movedim(axis, -1).contiguous().movedim(-1, axis)
    extents = list(shape)
    extents[axis] //= BLOCK[form]
    if form is MXFP8:
        narrow = x.to(torch.float8_e4m3fn)
        numbers = narrow.double()
        scales = torch.from_numpy(rng.integers(120, 134, extents).astype(np.uint8))
        factors = 2.0 ** (scales.double() - 127)
    else:
        packed = [quantize_to_fp4(matrix, axis) for matrix in x.reshape(-1, *shape[-2:])]
        bits = torch.stack([matrix.view(torch.uint8).movedim(axis, -1) for matrix in packed])
        bits = bits.reshape(*shape[:-2], *bits.shape[-2:])
        narrow = bits.movedim(-1, axis).view(torch.float4_e2m1fn_x2)
        numbers = torch.stack([unpack_fp4(matrix, axis) for matrix in packed]).reshape(shape).double()
        scales = torch.from_numpy(rng.uniform(0.1, 3, extents)).to(torch.float8_e4m3fn)
        factors = scales.double()
    values = numbers * factors.repeat_interleave(BLOCK[form], axis)
    return narrow, to_block_scale(scales, tuple(shape), form, axis=axis), values.numpy()


def problem(form: BlockScalingFormat, batch_a: tuple[int, ...] = (), batch_b: tuple[int, ...] = ()) -> Any:
    a, scale_a, x = operand(form, (*batch_a, 128, 256), -1)
    b, scale_b, y = operand(form, (*batch_b, 256, 384), -2)
    return a, b, {"a": scale_a, "b": scale_b}, x @ y, abs(x) @ abs(y)


def assert_near(result: Any, expected: np.ndarray, size: np.ndarray, unit: float = 2.0**-24) -> None:
    error = abs(result.double().numpy() - expected)
    assert (error <= 2.0**-15 * size + unit * abs(expected)).all()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("batches", [((), ()), ((3,), (3,)), ((2, 2), ()), ((), (3,))], ids=str)
def test_products(form, batches):
    a, b, scales, expected, size = problem(form, *batches)
    options = {"result_type": SINGLE, "block_scaling": True}
    assert_near(matmul(a, b, quantization_scales=scales, options=options), expected, size)
    c = torch.randn(expected.shape).to(torch.bfloat16)
    options = {"block_scaling": True}
    result = matmul(a, b, c, alpha=2, beta=0.5, quantization_scales=scales, options=options)
    assert result.dtype is torch.bfloat16
    both = 2 * expected + 0.5 * c.double().numpy()
    assert_near(result, both, 2 * size + abs(both), 2.0**-8)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("order", ["row-major", "column-major"])
def test_results_with_scales_of_their_own(form, order):
    """The blocks lie along the result's memory; each is nearest to the product among its numbers."""
    a, b, scales, expected, size = problem(form, (2,), (2,))
    epilog = E.DEFAULT if order == "row-major" else E.RELU_BIAS
    inputs = None if order == "row-major" else {"bias": torch.zeros(128, dtype=torch.float16)}
    with Matmul(a, b, quantization_scales=scales, options={"block_scaling": True}) as mm:
        mm.plan(epilog=epilog, epilog_inputs=inputs)
        result, auxiliary = mm.execute()
        again, repeated = mm.execute()
    assert list(auxiliary) == ["d_out_scale"]
    assert torch.equal(repeated["d_out_scale"].view(torch.uint8), auxiliary["d_out_scale"].view(torch.uint8))
    assert torch.equal(again.view(torch.uint8), result.view(torch.uint8))
    axis = -1 if order == "row-major" else -2
    expected = expected if order == "row-major" else relu(expected)
    assert auxiliary["d_out_scale"].shape == (expected.size // BLOCK[form],)
    factors = expand_block_scale(
        auxiliary["d_out_scale"], tuple(expected.shape), form, axis=axis, output_dtype=torch.float64
    ).numpy()
    if form is MXFP8:
        numbers, unit, least = result.double().numpy(), 2.0**-4, 2.0**-10
    else:
        numbers, unit, least = torch.stack([unpack_fp4(x, axis) for x in result]).double().numpy(), 2.0**-2, 2.0**-2
    error = abs(numbers * factors - expected)
    # a scale of NVFP4 is rounded to nearest, so the largest of a block may be a little beyond its largest number
    beyond = 2.0**-4 * abs(expected) if form is NVFP4 else 0
    assert (error <= unit * abs(expected) + beyond + least * factors + 2.0**-15 * size).all()


@needs_fp4
def test_compression_of_results_of_four_bits():
    a, b, scales, _, _ = problem(NVFP4)
    results = []
    for factor in (None, 0.25, torch.tensor(0.25)):
        given = scales if factor is None else scales | {"d": factor}
        _, auxiliary = matmul(a, b, quantization_scales=given, options={"block_scaling": True})
        results.append(auxiliary["d_out_scale"].float())
    assert torch.equal(results[1], results[2])
    large = results[0] > 0.5
    assert torch.equal(results[0][large] / 4, results[1][large])
    assert large.any()


@pytest.mark.parametrize("form", FORMATS)
def test_scales_are_read_when_the_product_is_computed(form):
    a, b, scales, expected, size = problem(form)
    with Matmul(a, b, quantization_scales=scales, options={"result_type": SINGLE, "block_scaling": True}) as mm:
        mm.plan()
        assert_near(mm.execute(), expected, size)
        if form is MXFP8:
            scales["a"] += 1
            assert_near(mm.execute(), 2 * expected, 2 * size)
            scales["a"] -= 1
        mm.autotune(iterations=1)
        other = scales["b"].clone().view(torch.uint8).fill_(127 if form is MXFP8 else 0x38)
        mm.reset_operands(quantization_scales={"b": other})
        assert not torch.equal(mm.execute(), torch.from_numpy(expected).float())


@pytest.mark.parametrize("form", FORMATS)
def test_scale_factors_of_zero(form):
    """With an alpha of 0 neither operands nor the scales of their blocks are read; with a beta of 0, c is not."""
    a, b, scales, expected, size = problem(form, (2,), (2,))
    options = {"result_type": SINGLE, "block_scaling": True}
    c = torch.full(expected.shape, torch.nan)
    result = matmul(a, b, c, beta=0, quantization_scales=scales, options=options)
    assert_near(result, expected, size)
    nan = scales["a"].clone().view(torch.uint8).fill_(255 if form is MXFP8 else 127)
    c = torch.arange(384.0).expand(expected.shape).contiguous()
    with Matmul(a, b, c, alpha=0, beta=2, quantization_scales=scales | {"a": nan}, options=options) as mm:
        mm.plan()
        assert torch.equal(mm.execute(), 2 * c)
        mm.reset_operands(beta=0)
        assert not mm.execute().any()
        mm.reset_operands(alpha=1, quantization_scales={"a": scales["a"]})
        assert_near(mm.execute(), expected, size)
    narrow = options | {"result_type": NARROW[form]}
    result, auxiliary = matmul(a, b, alpha=0, quantization_scales=scales | {"a": nan}, options=narrow)
    assert not result.view(torch.uint8).any()
    assert not auxiliary["d_out_scale"].view(torch.uint8).any()


@pytest.mark.pairwise
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("epilog", [e for e in E if e is not E.DEFAULT], ids=lambda e: e.name)
def test_epilogs(form, narrow, epilog):
    """As of the dequantized operands in double precision."""
    a, b, scales, _, size = problem(form, (2,))
    alpha = 2.0**-8  # so that sums are within the range of float16
    kind = EPILOGS[epilog]
    options = {"block_scaling": True, "result_type": NARROW[form] if narrow else SINGLE}
    given = {"alpha": alpha, "quantization_scales": scales, "options": options}
    inputs = {}
    if "bias" in kind.inputs:
        inputs["bias"] = torch.linspace(-2, 2, 128).to(torch.float16 if narrow else torch.bfloat16)
    state = next((name for name in kind.inputs if name.endswith("_aux")), None)
    if state:  # what the forward pass leaves
        _, left = matmul(a, b, epilog=E.RELU_AUX if state == "relu_aux" else E.GELU_AUX, **given)
        inputs[state] = left[state]
    found, auxiliary = with_auxiliary(matmul(a, b, epilog=epilog, epilog_inputs=inputs or None, **given))

    x, y = dequantized(a, scales["a"], form, -1), dequantized(b, scales["b"], form, -2)
    inputs = {name: x if x.dtype is torch.uint8 else x.double() for name, x in inputs.items()}
    expected, others = with_auxiliary(matmul(x, y, alpha=alpha, epilog=epilog, epilog_inputs=inputs or None))
    assert set(auxiliary) == set(others) | ({"d_out_scale"} if narrow else set())
    for name, array in others.items():
        assert auxiliary[name].shape == array.shape
        if array.dtype is torch.uint8:
            assert (auxiliary[name] != array).sum() <= 2
        else:
            assert_near(auxiliary[name], array.numpy(), abs(array).numpy() + 1, 2.0**-7)
    if not narrow:
        assert_near(found, expected.numpy(), alpha * size)
        return
    axis = -1 if found.stride(-1) == 1 else -2
    found = dequantized(found, auxiliary["d_out_scale"], form, axis)
    largest = abs(expected).amax(axis, keepdim=True)
    unit, least = (2.0**-3.9, 2.0**-9) if form is MXFP8 else (2.0**-1.8, 2.0**-4)
    assert (abs(found - expected) <= unit * abs(expected) + least * largest).all()


def dequantized(x: Any, scales: Any, form: BlockScalingFormat, axis: int) -> Any:
    """The numbers times the scales of their blocks, in double precision."""
    if form is MXFP8:
        numbers = x.double()
    else:
        matrices = [unpack_fp4(matrix, axis).double() for matrix in x.reshape(-1, *x.shape[-2:])]
        numbers = torch.stack(matrices).reshape(*x.shape[:-2], *matrices[0].shape)
    return numbers * expand_block_scale(scales, tuple(numbers.shape), form, axis=axis, output_dtype=torch.float64)


def misuses() -> list[Misuse]:
    a, b, scales, _, _ = problem(MXFP8)
    options = {"block_scaling": True}

    def product(x: Any = a, y: Any = b, given: Any = scales, **more: Any) -> Any:
        return lambda: matmul(x, y, quantization_scales=given, options=options | more)

    return [
        Misuse("a number", product(given=scales | {"a": 1.0}), TypeError, ("expected an array of scales",)),
        Misuse("too few", product(given=scales | {"a": scales["a"][:-1]}), ValueError, (r"expected \(1024,\)",)),
        Misuse("dtype", product(given=scales | {"a": scales["a"].float()}), ValueError, ("of uint8",)),
        Misuse("of the result", product(given=scales | {"d": 1.0}), ValueError, ("has 'd', but d is float8_e4m3fn",)),
        Misuse("missing", product(given={"a": scales["a"]}), ValueError, ("b missing",)),
        Misuse("amax", product(result_amax=True), ValueError, ("returned as d_out_scale",)),
        Misuse("rows", product(a[:64]), ValueError, ("rows of a in multiples of 128",)),
        Misuse("columns", product(y=b[:, :64]), ValueError, ("columns of b in multiples of 128",)),
        Misuse("k", product(first(a, 64), first(b.mT, 64).mT), ValueError, ("common extent in multiples of 128",)),
    ]


def first(x: Any, k: int) -> Any:
    return x[:, :k].contiguous()


@pytest.mark.parametrize("misuse", misuses(), ids=lambda misuse: misuse.what)
def test_message(misuse):
    check(misuse)


@needs_fp4
def test_four_bits_need_scales_of_blocks():
    a, b, scales, _, _ = problem(NVFP4)
    check(Misuse("one", lambda: matmul(a, b, quantization_scales=scales), ValueError, ("'block_scaling': True",)))


def test_uniform_scales():
    a, b, _, _, _ = problem(MXFP8)
    scales = {"a": create_mxfp8_scale(a, 3), "b": create_mxfp8_scale(b, -2)}
    result = matmul(a, b, quantization_scales=scales, options={"result_type": SINGLE, "block_scaling": True})
    x, y = a.double().numpy(), b.double().numpy()
    assert_near(result, 2 * (x @ y), 2 * (abs(x) @ abs(y)))
