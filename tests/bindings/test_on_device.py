"""The bindings on a CUDA device: every library does a small piece of its work."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest

from planmath.bindings import library_types, runtime
from planmath.native.library import MissingLibraryError


def _no_device() -> str:
    try:
        return "" if runtime.get_device_count() else "there is no CUDA device"
    except (MissingLibraryError, runtime.CUDARuntimeError) as error:
        return f"there is no CUDA device: {error}"


pytestmark = pytest.mark.skipif(bool(_no_device()), reason=_no_device() or "there is one")

R_32F, R_64F, C_32F = (library_types.CudaDataType[f"CUDA_{name}"] for name in ("R_32F", "R_64F", "C_32F"))
H2D, D2H = runtime.MemcpyKind.HOST_TO_DEVICE, runtime.MemcpyKind.DEVICE_TO_HOST


def load(name: str) -> ModuleType:
    """A module, or a skipped test where its library is missing."""
    module = importlib.import_module(f"planmath.bindings.{name}")
    if module.LIBRARY.missing:
        pytest.skip(module.LIBRARY.missing)
    return module


class Device:
    """Arrays in device memory."""

    def __init__(self) -> None:
        self.addresses: list[int] = []

    def put(self, array: np.ndarray) -> int:
        """The address of a copy."""
        address = self.empty(array.nbytes)
        runtime.memcpy(address, np.ascontiguousarray(array).ctypes.data, array.nbytes, H2D)
        runtime.device_synchronize()  # a copy of pageable memory may be on its way still, and no stream of a test waits
        return address

    def empty(self, size: int) -> int:
        self.addresses.append(runtime.malloc(max(size, 1)))
        return self.addresses[-1]

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        result = np.empty_like(like)
        runtime.device_synchronize()
        runtime.memcpy(result.ctypes.data, address, result.nbytes, D2H)
        return result


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    for address in device.addresses:
        runtime.free(address)


@contextmanager
def made(create: Callable[..., int], destroy: Callable[[int], None], *arguments: int) -> Iterator[int]:
    """An object of a library for a while."""
    created = create(*arguments)
    try:
        yield created
    finally:
        destroy(created)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


@pytest.mark.parametrize(
    "name", ["cublas", "cublasLt", "cufft", "curand", "cusparse", "cusolver", "cusolverDn", "cusolverSp", "cusolverRf",
             "runtime", "cudss", "cutensor"],
)  # fmt: skip
def test_version(name: str) -> None:
    api = load(name)._api if name not in ("cusolverDn", "cusolverSp", "cusolverRf") else load("cusolver")._api
    found = [int(number) for number in api.loaded_version.split(".")]
    assert found[0] >= int(api.version.split(".")[0]) - 1


@pytest.mark.parametrize(
    ("name", "create", "destroy", "arguments"),
    [
        ("cublas", "create", "destroy", ()), ("cublas", "xt_create", "xt_destroy", ()),
        ("cublasLt", "create", "destroy", ()), ("cufft", "create", "destroy", ()),
        ("curand", "create_generator", "destroy_generator", (100,)), ("cusparse", "create", "destroy", ()),
        ("cusolverDn", "create", "destroy", ()), ("cusolverDn", "create_params", "destroy_params", ()),
        ("cusolverSp", "create", "destroy", ()), ("cusolverRf", "create", "destroy", ()),
        ("cudss", "create", "destroy", ()), ("cudss", "config_create", "config_destroy", ()),
        ("cutensor", "create", "destroy", ()), ("runtime", "stream_create", "stream_destroy", ()),
        ("runtime", "event_create", "event_destroy", ()), ("runtime", "graph_create", "graph_destroy", (0,)),
    ],
)  # fmt: skip
def test_handles(name: str, create: str, destroy: str, arguments: tuple[int, ...]) -> None:
    if name in ("cusolverDn", "cusolverSp", "cusolverRf"):
        load("cusolver")
    module = importlib.import_module(f"planmath.bindings.{name}") if name.startswith("cusolver") else load(name)
    with made(getattr(module, create), getattr(module, destroy), *arguments) as handle:
        assert isinstance(handle, int)


def test_runtime() -> None:
    assert runtime.get_device() >= 0
    free, total = runtime.mem_get_info()
    assert 0 < free <= total
    major = runtime.device_get_attribute(runtime.DeviceAttr.COMPUTE_CAPABILITY_MAJOR, 0)
    properties = np.zeros(1, runtime.device_prop_dtype)
    runtime.get_device_properties(address(properties), 0)
    assert properties["major"][0] == major
    assert properties["name"][0]
    with pytest.raises(runtime.CUDARuntimeError, match="cudaSetDevice failed: cudaErrorInvalidDevice") as caught:
        runtime.set_device(10_000)
    assert caught.value.status == runtime.Error.INVALID_DEVICE
    runtime.get_last_error()  # the runtime keeps it until it is asked for
    assert runtime.get_last_error() == runtime.Error.SUCCESS


def test_stream_event_and_graph(device: Device) -> None:
    values = np.arange(1000, dtype=np.float32)
    source, target = device.put(values), device.empty(values.nbytes)
    with made(runtime.stream_create_with_flags, runtime.stream_destroy, runtime.STREAM_NON_BLOCKING) as stream:
        start, end = runtime.event_create(), runtime.event_create()
        runtime.stream_begin_capture(stream, runtime.StreamCaptureMode.THREAD_LOCAL)
        runtime.memcpy_async(target, source, values.nbytes, runtime.MemcpyKind.DEVICE_TO_DEVICE, stream)
        graph = runtime.stream_end_capture(stream)
        executable = runtime.graph_instantiate(graph, 0)
        runtime.event_record(start, stream)
        runtime.graph_launch(executable, stream)
        runtime.event_record(end, stream)
        runtime.stream_synchronize(stream)
        assert 0 <= runtime.event_elapsed_time(start, end) < 1e4
        for destroy, thing in ((runtime.graph_exec_destroy, executable), (runtime.graph_destroy, graph),
                               (runtime.event_destroy, start), (runtime.event_destroy, end)):  # fmt: skip
            destroy(thing)
    np.testing.assert_array_equal(device.get(target, values), values)


def test_struct_by_value() -> None:
    extent, pitched = np.array([(100, 3, 2)], runtime.extent_dtype), np.zeros(1, runtime.pitched_ptr_dtype)
    runtime.malloc3d(address(pitched), address(extent))
    assert pitched["pitch"][0] >= 100
    runtime.memset3d(address(pitched), 0, address(extent))
    runtime.free(int(pitched["ptr"][0]))


def test_cublas(device: Device) -> None:
    cublas = load("cublas")
    rng = np.random.default_rng(1)
    a, b = rng.random((30, 20), np.float32), rng.random((20, 10), np.float32)
    c, result = device.empty(30 * 10 * 4), np.zeros(1, np.int32)
    with made(cublas.create, cublas.destroy) as handle:
        assert cublas.get_pointer_mode(handle) == cublas.PointerMode.HOST
        n = cublas.Operation.N  # row-major operands in the other order: the transpose of the product
        cublas.sgemm(handle, n, n, 10, 30, 20, address(ONE), device.put(b), 10, device.put(a), 20, address(ZERO), c, 10)
        cublas.isamax(handle, 600, device.put(a), 1, address(result))
    np.testing.assert_allclose(device.get(c, np.empty((30, 10), np.float32)), a @ b, rtol=1e-4)
    assert result[0] == abs(a).argmax() + 1
    with pytest.raises(cublas.cuBLASError, match="CUBLAS_STATUS_NOT_INITIALIZED"):
        cublas.get_pointer_mode(0)


def test_cublas_lt(device: Device) -> None:
    """A matrix multiplication with an epilog, chosen by the heuristic."""
    cublas, lt = load("cublas"), load("cublasLt")
    rng = np.random.default_rng(2)
    a, b, bias = (rng.standard_normal(shape, np.float32) for shape in ((64, 48), (48, 32), (64,)))
    desc = lt.matmul_desc_create(cublas.ComputeType.COMPUTE_32F, R_32F)

    def set_attribute(name: str, value: int) -> None:
        attribute = lt.MatmulDescAttribute[name]
        buffer = np.array([value], lt.get_matmul_desc_attribute_dtype(attribute))
        lt.matmul_desc_set_attribute(desc, attribute, address(buffer), buffer.nbytes)
        back = np.zeros_like(buffer)
        assert lt.matmul_desc_get_attribute(desc, attribute, address(back), back.nbytes) == back.nbytes
        assert back[0] == value

    set_attribute("EPILOGUE", lt.Epilogue.RELU_BIAS)
    set_attribute("BIAS_POINTER", device.put(bias))
    layouts = [lt.matrix_layout_create(R_32F, rows, columns, rows) for rows, columns in ((64, 48), (48, 32), (64, 32))]
    preference = lt.matmul_preference_create()
    limit = np.array([1 << 22], np.uint64)
    attribute = lt.MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES
    lt.matmul_preference_set_attribute(preference, attribute, address(limit), 8)
    results = np.zeros(4, lt.matmul_heuristic_result_dtype)
    product = device.empty(64 * 32 * 4)
    with made(lt.create, lt.destroy) as handle:
        first, second, third = layouts
        found = lt.matmul_algo_get_heuristic(handle, desc, first, second, third, third, preference, 4, address(results))
        assert 1 <= found <= 4
        count = np.zeros(1, np.int32)  # and with the address of the output, as in C
        lt.matmul_algo_get_heuristic(
            handle, desc, first, second, third, third, preference, 4, address(results), address(count)
        )
        assert count[0] == found
        size = int(results["workspace_size"][0])
        lt.matmul(
            handle, desc, address(ONE), device.put(a.T), first, device.put(b.T), second, address(ZERO), product, third,
            product, third, address(results[:1]), device.empty(size), size, 0,
        )  # fmt: skip
        np.testing.assert_allclose(
            device.get(product, np.empty((32, 64), np.float32)).T, np.maximum(a @ b + bias[:, None], 0), rtol=1e-4,
            atol=1e-4,
        )  # fmt: skip
        with pytest.raises(lt.cuBLASLtError, match=r"cublasLtMatmul failed: CUBLAS_STATUS_INVALID_VALUE \(7\)"):
            lt.matmul(handle, *[0] * 15)
    for layout in layouts:
        lt.matrix_layout_destroy(layout)
    lt.matmul_preference_destroy(preference)
    lt.matmul_desc_destroy(desc)


def test_cufft(device: Device) -> None:
    cufft = load("cufft")
    rng = np.random.default_rng(3)
    x = (rng.random((4, 64)) + 1j * rng.random((4, 64))).astype(np.complex64)
    data, result = device.put(x), device.empty(x.nbytes)
    plans = []
    plans.append(cufft.plan1d(64, cufft.Type.C2C, 4))
    plans.append(cufft.create())
    assert cufft.make_plan_many(plans[1], 1, [64], [64], 1, 64, [64], 1, 64, cufft.Type.C2C, 4) >= 0
    plans.append(cufft.create())
    work = cufft.xt_make_plan_many(plans[2], 1, [64], [64], 1, 64, C_32F, [64], 1, 64, C_32F, 4, C_32F)
    assert work == cufft.get_size(plans[2])
    for n, plan in enumerate(plans):
        if n < 2:
            cufft.exec_c2c(plan, data, result, cufft.FORWARD)
        else:
            cufft.xt_exec(plan, data, result, cufft.FORWARD)
        np.testing.assert_allclose(device.get(result, x), np.fft.fft(x), rtol=1e-4, atol=1e-4)
        cufft.destroy(plan)
    with pytest.raises(cufft.cuFFTError, match=r"cufftExecC2C failed: CUFFT_INVALID_PLAN \(1\)"):
        cufft.exec_c2c(plans[0], data, result, cufft.FORWARD)


def test_curand(device: Device) -> None:
    curand = load("curand")
    n = 1 << 16
    numbers = device.empty(8 * n)
    with made(curand.create_generator, curand.destroy_generator, curand.RngType.PSEUDO_PHILOX4_32_10) as generator:
        curand.set_pseudo_random_generator_seed(generator, 2**63)
        curand.generate_uniform_double(generator, numbers, n)
        uniform = device.get(numbers, np.empty(n))
        curand.generate_normal(generator, numbers, n, 3.0, 0.5)
        normal = device.get(numbers, np.empty(n, np.float32))
        curand.generate_normal_double(generator, numbers, n, -4.0, 2.0)
        doubles = device.get(numbers, np.empty(n))
    assert abs(uniform.mean() - 0.5) < 0.01
    assert uniform.min() > 0
    assert uniform.max() <= 1
    np.testing.assert_allclose([normal.mean(), normal.std()], [3, 0.5], atol=0.02)
    np.testing.assert_allclose([doubles.mean(), doubles.std()], [-4, 2], atol=0.05)


def test_cusparse(device: Device) -> None:
    cusparse = load("cusparse")
    offsets, columns = np.array([0, 2, 3, 5], np.int32), np.array([0, 2, 1, 0, 2], np.int32)
    values, x = np.array([1, 2, 3, 4, 5], np.float32), np.array([1, 10, 100], np.float32)
    result = device.empty(12)
    index, base = cusparse.IndexType.INDEX_32I, cusparse.IndexBase.ZERO
    with made(cusparse.create, cusparse.destroy) as handle:
        at = [device.put(array) for array in (offsets, columns, values, x)]
        matrix = cusparse.create_csr(3, 3, 5, *at[:3], index, index, base, R_32F)
        assert cusparse.sp_mat_get_size(matrix) == (3, 3, 5)
        assert cusparse.csr_get(matrix) == (3, 3, 5, *at[:3], index, index, base, R_32F)
        vector, product = cusparse.create_dn_vec(3, at[3], R_32F), cusparse.create_dn_vec(3, result, R_32F)
        arguments = (handle, cusparse.Operation.NON_TRANSPOSE, address(ONE), matrix, vector, address(ZERO), product,
                     R_32F, cusparse.SpMVAlg.DEFAULT)  # fmt: skip
        size = cusparse.sp_mv_buffer_size(*arguments)
        cusparse.sp_mv(*arguments, device.empty(size))
        np.testing.assert_allclose(device.get(result, x), [201, 30, 504])
        for destroy, thing in ((cusparse.destroy_sp_mat, matrix), (cusparse.destroy_dn_vec, vector),
                               (cusparse.destroy_dn_vec, product)):  # fmt: skip
            destroy(thing)


def test_cusolver(device: Device) -> None:
    load("cusolver")
    dn = importlib.import_module("planmath.bindings.cusolverDn")
    cublas = load("cublas")
    a = np.array([[4, 2, 0], [2, 5, 1], [0, 1, 6]], np.float32)
    matrix, info, lower = device.put(a), device.put(np.zeros(1, np.int32)), cublas.FillMode.LOWER
    with made(dn.create, dn.destroy) as handle:
        size = dn.spotrf_buffer_size(handle, lower, 3, matrix, 3)
        dn.spotrf(handle, lower, 3, matrix, 3, device.empty(4 * size), size, info)
        factor = np.tril(device.get(matrix, a).T)
        np.testing.assert_allclose(factor @ factor.T, a, rtol=1e-5, atol=1e-6)
        with made(dn.create_params, dn.destroy_params) as parameters:
            matrix = device.put(a)
            sizes = dn.xpotrf_buffer_size(handle, parameters, lower, 3, R_32F, matrix, 3, R_32F)
            host = np.zeros(max(sizes[1], 1), np.uint8)
            dn.xpotrf(handle, parameters, lower, 3, R_32F, matrix, 3, R_32F, device.empty(sizes[0]), sizes[0],
                      address(host), sizes[1], info)  # fmt: skip
            np.testing.assert_allclose(np.tril(device.get(matrix, a).T), factor, rtol=1e-5)
    assert device.get(info, np.zeros(1, np.int32))[0] == 0


def test_cusolver_with_more_than_twenty_arguments(device: Device) -> None:
    """The singular values of a matrix through the function of the most parameters."""
    load("cusolver")
    dn = importlib.import_module("planmath.bindings.cusolverDn")
    a = np.random.default_rng(4).random((5, 3))
    matrix, info = device.put(a.T), device.put(np.zeros(1, np.int32))
    s, u, vt = device.empty(24), device.empty(200), device.empty(72)
    with made(dn.create, dn.destroy) as handle, made(dn.create_params, dn.destroy_params) as parameters:
        first = (handle, parameters, "N", "N", 5, 3, R_64F, matrix, 5, R_64F, s, R_64F, u, 5, R_64F, vt, 3, R_64F)
        on_device, on_host = dn.xgesvd_buffer_size(*first)
        host = np.zeros(max(on_host, 1), np.uint8)
        dn.xgesvd(*first, device.empty(on_device), on_device, address(host), on_host, info)
    np.testing.assert_allclose(device.get(s, np.zeros(3)), np.linalg.svd(a, compute_uv=False), rtol=1e-10)


def test_cudss(device: Device) -> None:
    """Solve a sparse system."""
    cudss = load("cudss")
    a = np.array([[4, 1, 0], [1, 5, 2], [0, 2, 6]])
    offsets, columns = np.array([0, 2, 5, 7], np.int32), np.array([0, 1, 0, 1, 2, 1, 2], np.int32)
    values, b = a[a != 0].astype(float), np.array([1.0, 2, 3])
    x = device.empty(24)
    int32 = cudss.DataType.R_32I
    with (
        made(cudss.create, cudss.destroy) as handle,
        made(cudss.config_create, cudss.config_destroy) as config,
        made(lambda: cudss.data_create(handle), lambda data: cudss.data_destroy(handle, data)) as data,
    ):
        dense = (cudss.DataType.R_64F, cudss.Layout.COL_MAJOR)
        right = cudss.matrix_create_dn(3, 1, 3, device.put(b), *dense)
        solution = cudss.matrix_create_dn(3, 1, 3, x, *dense)
        matrix = cudss.matrix_create_csr(
            3, 3, 7, device.put(offsets), 0, device.put(columns), device.put(values), int32, int32, dense[0],
            cudss.MatrixType.GENERAL, cudss.MatrixViewType.FULL, cudss.IndexBase.ZERO,
        )  # fmt: skip
        for phase in ("ANALYSIS", "FACTORIZATION", "SOLVE"):
            cudss.execute(handle, cudss.Phase[phase], config, data, matrix, solution, right)
        np.testing.assert_allclose(device.get(x, b), np.linalg.solve(a, b), rtol=1e-10)
        for thing in (right, solution, matrix):
            cudss.matrix_destroy(thing)


def test_cutensor(device: Device) -> None:
    """A contraction: ``ij,jk->ik``."""
    cutensor = load("cutensor")
    rng = np.random.default_rng(5)
    a, b = rng.random((6, 5), np.float32), rng.random((5, 4), np.float32)
    result = device.empty(6 * 4 * 4)
    none = cutensor.Operator.IDENTITY
    with made(cutensor.create, cutensor.destroy) as handle:
        shapes = ((6, 5), (5, 4), (6, 4))
        tensors = [cutensor.create_tensor_descriptor(handle, 2, s, (s[1], 1), R_32F, 128) for s in shapes]
        i, j, k = (ord(mode) for mode in "ijk")
        operation = cutensor.create_contraction(
            handle, tensors[0], [i, j], none, tensors[1], [j, k], none, tensors[2], [i, k], none, tensors[2], [i, k],
            cutensor.ComputeDesc.COMPUTE_32F(),
        )  # fmt: skip
        preference = cutensor.create_plan_preference(handle, cutensor.Algo.DEFAULT, cutensor.JitMode.NONE)
        size = cutensor.estimate_workspace_size(
            handle, operation, preference, cutensor.WorksizePreference.WORKSPACE_MAX
        )
        plan = cutensor.create_plan(handle, operation, preference, size)
        cutensor.contract(handle, plan, address(ONE), device.put(a), device.put(b), address(ZERO), result, result,
                          device.empty(size), size, 0)  # fmt: skip
        np.testing.assert_allclose(device.get(result, np.empty((6, 4), np.float32)), a @ b, rtol=1e-5)
        cutensor.destroy_plan(plan)
        cutensor.destroy_plan_preference(preference)
        cutensor.destroy_operation_descriptor(operation)
        for tensor in tensors:
            cutensor.destroy_tensor_descriptor(tensor)
