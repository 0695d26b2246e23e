"""Block-scaled products as they are described to cuBLASLt, by a model of it, against the same on the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from planmath.core.arrays import package_named
from planmath.core.cuda import devices
from planmath.core.datatypes import CudaDataType
from planmath.core.errors import UnavailableError
from planmath.core.execution import ExecutionCUDA
from planmath.core.provider import Algorithm
from planmath.linalg.advanced import Matmul, MatmulEpilog, MatmulOptions
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.helpers.matmul import BlockScalingFormat, to_block_scale
from planmath.linalg.advanced.operation import Matmul as Operation
from planmath.linalg.advanced.problem import MatmulProblem, narrow_result, result_order
from planmath.linalg.advanced.providers import cublaslt
from planmath.linalg.advanced.providers.arrangement import Arrangement
from planmath.linalg.advanced.providers.cublaslt import CublasLtProvider
from planmath.linalg.advanced.specification import check_execution_space, specify
from tests.linalg.cublaslt_model import Model, problem_arrays
from tests.linalg.operands import with_auxiliary

torch = pytest.importorskip("torch", reason="torch is not installed")
E, MXFP8, NVFP4 = MatmulEpilog, BlockScalingFormat.MXFP8, BlockScalingFormat.NVFP4
needs_fp4 = pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no dtype of 4 bits")
FORMATS = [MXFP8, pytest.param(NVFP4, marks=needs_fp4)]
RESULTS = {
    "float32": CudaDataType.CUDA_R_32F, "bfloat16": CudaDataType.CUDA_R_16BF, "narrow": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_device_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "memory_limit", lambda value, device_id: value)


def operand(form: BlockScalingFormat, shape: tuple[int, ...], axis: int) -> tuple[Any, Any]:
    """Small integers, in blocks with powers of two as scales: sums of products are exact."""
    rng = np.random.default_rng([*shape, -axis])
    extents = list(shape)
    extents[axis] //= 32 if form is MXFP8 else 16
    if form is MXFP8:
        values = torch.from_numpy(rng.integers(-2, 3, shape).astype("f4")).movedim(axis, -1).contiguous()
        narrow = values.to(torch.float8_e4m3fn).movedim(-1, axis)
        scales = torch.from_numpy(rng.integers(126, 129, extents).astype(np.uint8))
    else:
        codes = torch.from_numpy(rng.choice([0, 2, 4, 10, 12], shape).astype(np.uint8)).movedim(axis, -1)
        narrow = (codes[..., ::2] | codes[..., 1::2] << 4).contiguous().movedim(-1, axis).view(torch.float4_e2m1fn_x2)
        scales = torch.from_numpy(rng.choice([0.5, 1, 2], extents)).to(torch.float8_e4m3fn)
    return narrow, to_block_scale(scales, shape, form, axis=axis)


def problem_of(
    a: Any, b: Any, c: Any, scales: dict[str, Any], epilog: E, inputs: dict[str, Any], **options: Any
) -> MatmulProblem:
    package = package_named("torch")
    arrays = {name: array for name, array in (("a", a), ("b", b), ("c", c)) if array is not None}
    layouts = {name: package.layout(array, name) for name, array in arrays.items()}
    chosen = MatmulOptions(**options, block_scaling=True, memory_limit=1 << 20)
    problem = specify(layouts, chosen, None, ExecutionCUDA(), "torch", dict.fromkeys("abc", 16), scales)
    operation = Operation.__new__(Operation)
    operation._package, operation._execution = package, ExecutionCUDA()
    matrices = tuple([operation._epilog_input(name, array, problem)[1] for name, array in inputs.items()])
    row_major = result_order(problem.a, problem.c, epilog)
    d = narrow_result(problem.d.dtype, problem.batch, problem.m, problem.n, row_major)
    return problem._replace(d=d, epilog=epilog, inputs=matrices)


def by_model(problem: MatmulProblem, operands: dict[str, Any], beta: float) -> tuple[Any, dict[str, Any], Model]:
    package = package_named("torch")
    d = problem.d
    dtype = package.dtype(d.dtype)
    results = {"d": package.empty((*problem.batch, d.rows, d.cols), (*d.batch, d.row, d.col), dtype)}
    for name, matrix in problem.auxiliary().items():
        layout = problem.array_layout(name, matrix)
        results[name] = package.empty(layout.shape, layout.strides, package.dtype(layout.dtype))
    scalars = {"alpha": torch.tensor(2.0), "beta": torch.tensor(beta)}
    arrays = [as_numpy(x) for x in problem_arrays(problem, operands | scalars, results)]
    model = Model(Arrangement(problem), arrays)
    model.run()
    return results.pop("d"), results, model


def as_numpy(x: Any) -> np.ndarray:
    """The tensor's own memory."""
    if x.dtype in (torch.float32, torch.float16):
        return x.numpy()
    return x.view(torch.int16 if x.element_size() == 2 else torch.uint8).numpy()


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("batches", [((), ()), ((3,), (3,)), ((2, 2), ()), ((), (3,))], ids=str)
@pytest.mark.parametrize("result", list(RESULTS))
@pytest.mark.parametrize(
    "epilog", [E.DEFAULT, E.RELU, E.BIAS, E.RELU_BIAS, E.RELU_AUX, E.RELU_AUX_BIAS, E.DRELU], ids=lambda e: e.name
)
@pytest.mark.parametrize("added", ["", "row-major", "column-major"])
def test_products_with_scales_of_blocks(form, batches, result, epilog, added):
    a, scale_a = operand(form, (*batches[0], 128, 256), -1)
    b, scale_b = operand(form, (*batches[1], 256, 384), -2)
    batch = batches[0] or batches[1]
    scales = {"quantization_scales.a": scale_a, "quantization_scales.b": scale_b}
    if added == "row-major" and EPILOGS[epilog].column_major and (result == "narrow" or EPILOGS[epilog].mask):
        added = "column-major"
    c = None
    if added:
        c = torch.randint(-9, 9, (*batch, 128, 384)).to(torch.float32 if result == "float32" else torch.bfloat16)
        c = c if added == "row-major" else c.mT.contiguous().mT
    bias = torch.randint(-9, 9, (128,)).to(torch.bfloat16 if result != "narrow" or added else torch.float16)
    mask = torch.randint(0, 256, (*batch, 128 // 8, 384)).to(torch.uint8).mT.contiguous().mT
    inputs = {name: {"bias": bias, "relu_aux": mask}[name] for name in EPILOGS[epilog].inputs}
    kind = RESULTS[result] if result != "narrow" else NARROW_RESULT[form]
    problem = problem_of(a, b, c, {"a": scale_a, "b": scale_b}, epilog, inputs, result_type=kind)
    operands = {"a": a, "b": b} | scales | inputs | ({"c": c} if added else {})
    found, auxiliary, model = by_model(problem, operands, 0.5 if added else 0.0)
    assert model.products == int(np.prod(batch))
    assert model.arrangement.before == [] or EPILOGS[epilog].column_major
    options = {"block_scaling": True, "result_type": kind}
    more = {"c": c, "beta": 0.5} if added else {}
    with Matmul(a, b, alpha=2, quantization_scales={"a": scale_a, "b": scale_b}, options=options, **more) as mm:
        mm.plan(epilog=epilog, epilog_inputs=inputs or None)
        expected, others = with_auxiliary(mm.execute())
    assert set(auxiliary) == set(others)
    for name, array in others.items():
        np.testing.assert_array_equal(as_numpy(auxiliary[name]), as_numpy(array), name)
    assert found.stride() == expected.stride()
    np.testing.assert_array_equal(as_numpy(found), as_numpy(expected))


NARROW_RESULT = {MXFP8: CudaDataType.CUDA_R_8F_E4M3, NVFP4: CudaDataType.CUDA_R_4F_E2M1}


def a_device(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    device = devices.Device(0, "a device", capability, 1, 1, 1)
    monkeypatch.setattr(devices, "device", lambda device_id: device)


def test_devices_that_have_them(monkeypatch):
    chosen = MatmulOptions(block_scaling=True)
    a_device(monkeypatch, (9, 0))
    with pytest.raises(UnavailableError, match=r"from compute capability 10\.0 on, and a device has 9\.0: .*cpu"):
        check_execution_space(chosen, ExecutionCUDA())
    for capability in ((10, 0), (12, 1)):
        a_device(monkeypatch, capability)
        check_execution_space(chosen, ExecutionCUDA())


def test_what_has_no_description(monkeypatch):
    """A row-major result cannot have its blocks' scales from a column-major one."""
    a_device(monkeypatch, (10, 0))
    a, scale_a = operand(MXFP8, (128, 256), -1)
    b, scale_b = operand(MXFP8, (256, 384), -2)
    bias = {"bias": torch.zeros(128, dtype=torch.bfloat16)}
    provider = CublasLtProvider()
    for c, reason in ((torch.zeros(128, 384), "pass a column-major copy of c"), (torch.zeros(384, 128).mT, None)):
        scales, kind = {"a": scale_a, "b": scale_b}, NARROW_RESULT[MXFP8]
        problem = problem_of(a, b, c.to(torch.bfloat16), scales, E.BIAS, bias, result_type=kind)
        found = provider.unsupported(problem)
        assert found is None if reason is None else reason in str(found)


def test_addresses_move_with_the_batch(monkeypatch):
    """What is set before each call, and where that finds its matrices."""
    made: list[tuple[str, Any]] = []

    class Recorded:
        handle = address = 0
        refusal = staticmethod(lambda: None)
        heuristics = staticmethod(lambda *arguments, **more: [])

        def __init__(self, problem: MatmulProblem, arrangement: Arrangement):
            self.arrangement, self.choices = arrangement, problem.cuda
            self.layouts = [SimpleNamespace(address=0)] * 4

        def set_pointer(self, name: str, slot: Any, unaligned: Any = None) -> list[Any]:
            return [(name, slot)]

    def call(function: int, arguments: list[Any], **more: Any) -> Any:
        assert more["loops"] == []
        return more["name"], [arguments[place] for place in (3, 5, 8, 10)]

    monkeypatch.setattr(cublaslt, "Description", Recorded)
    monkeypatch.setattr(cublaslt, "Call", call)
    monkeypatch.setattr(cublaslt, "Program", made.extend)
    monkeypatch.setattr(cublaslt, "Prepared", lambda programs, size: programs)
    monkeypatch.setattr(cublaslt.cublaslt_algorithm, "struct_of", lambda algorithm: np.zeros(8, np.uint64))
    monkeypatch.setattr(cublaslt.bindings.cublasLt.LIBRARY, "address", lambda name: 0)
    a, scale_a = operand(MXFP8, (2, 2, 128, 256), -1)
    b, scale_b = operand(MXFP8, (256, 384), -2)
    problem = problem_of(a, b, None, {"a": scale_a, "b": scale_b}, E.DEFAULT, {})
    CublasLtProvider().prepare(problem, Algorithm("cublaslt", (("_workspace", 0),)))
    # the result is row-major, so b comes first, and its scales with it
    pointers = ["D_OUT_SCALE_POINTER", "B_SCALE_POINTER", "A_SCALE_POINTER"]
    assert [name for name, _ in made] == [*pointers, "cublasLtMatmul"] * 4
    moved = {name: [slot.offset for found, slot in made if found == name] for name in pointers}
    assert moved["B_SCALE_POINTER"] == [i * 128 * 256 // 32 for i in range(4)]
    assert moved["A_SCALE_POINTER"] == [0] * 4
    assert moved["D_OUT_SCALE_POINTER"] == [i * 128 * 384 // 32 for i in range(4)]
    first, second, _, result = zip(*[slots for name, slots in made if name == "cublasLtMatmul"], strict=True)
    assert [slot.offset for slot in first] == [0] * 4
    assert [slot.offset for slot in second] == [i * 128 * 256 for i in range(4)]
    assert [slot.offset for slot in result] == [i * 128 * 384 for i in range(4)]
