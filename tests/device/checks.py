"""What kernels compute, in the simulator and on a device: the tests of both, imported by the modules that run them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from numba import cuda
from scipy import linalg

import planmath.device as pmd
from planmath.device import inside
from planmath.device.random import FUNCTIONS
from planmath.device.random.generators import GENERATORS
from tests.device import kernels, random_vectors
from tests.device.kernels import random_array, run

ROWS = ("row_major",) * 3
COMPLEX = {np.float32: np.complex64, np.float64: np.complex128}
#: In the simulator the kind of device does not matter; on one, it is the one there is.
SM = 90 if inside.simulating() else None
simulated_only = pytest.mark.skipif(not inside.simulating(), reason="what only the simulator finds")


def close(found: Any, expected: Any, precision: Any, factor: float = 200) -> None:
    scale = max(float(np.abs(expected).max()), 1e-30)
    error = float(np.abs(np.asarray(found, np.result_type(expected, np.float64)) - expected).max()) / scale
    assert error < factor * np.finfo(precision).eps, error


# Transforms.


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize(
    ("size", "knobs"), [(40, {}), (27, {"ffts_per_block": 3}), (256, {"ffts_per_block": "suggested"})]
)
def test_complex_transforms(size: int, knobs: dict[str, Any], direction: str, precision: Any) -> None:
    fft = pmd.FFT(size, precision, "c2c", "Block", sm=SM, direction=direction, **knobs)
    x = random_array((7, size), COMPLEX[precision])
    kernel = kernels.transform(fft, fft.elements_per_thread, fft.elements_per_thread)
    _, y = run(kernel, fft, -(-7 // fft.ffts_per_block), x, np.zeros_like(x))
    close(y, np.fft.fft(x) if direction == "forward" else np.fft.ifft(x) * size, precision)


def _spectrum(x: np.ndarray, layout: str) -> np.ndarray:
    if layout == "full":
        return np.fft.fft(x)
    found = np.fft.rfft(x)
    if layout == "packed":
        found[:, 0] = found[:, 0].real + 1j * found[:, -1].real
        found = found[:, :-1]
    return found


@pytest.mark.parametrize("mode", ["normal", "folded"])
@pytest.mark.parametrize("layout", ["natural", "packed", "full"])
@pytest.mark.parametrize("fft_type", ["r2c", "c2r"])
def test_real_transforms(fft_type: str, layout: str, mode: str) -> None:
    size, precision = 64, np.float32
    options = {"complex_layout": layout, "real_mode": mode}
    fft = pmd.FFT(size, precision, fft_type, "Block", sm=SM, real_fft_options=options, ffts_per_block=2)
    x = random_array((5, size), precision)
    spectrum = _spectrum(x, layout).astype(np.complex64)
    real = x.view(np.complex64) if mode == "folded" else x
    given, expected = (real, spectrum) if fft_type == "r2c" else (spectrum, real * size)
    kernel = kernels.transform(fft, fft.output_elements_per_thread, fft.input_elements_per_thread)
    _, y = run(kernel, fft, 3, given.copy(), np.zeros_like(expected))
    close(y, expected, precision)


@pytest.mark.parametrize("size", [8, 31])
def test_transforms_of_a_thread(size: int) -> None:
    fft = pmd.FFT(size, np.float32, "c2c", "Thread", sm=SM, direction="forward")
    x = random_array((9, size), np.complex64)
    (y,) = run(kernels.thread_transform(fft), None, 3, x, block=4)
    close(y, np.fft.fft(x), np.float32)


def test_transforms_in_shared_memory() -> None:
    fft = pmd.FFT(64, np.float32, "c2c", "Block", sm=SM, direction="forward", ffts_per_block=2)
    x = random_array(2 * 2 * 64, np.complex64)
    (y,) = run(kernels.shared_transform(fft), fft, 2, x, shared=max(fft.shared_memory_size, 2 * 64 * 8))
    close(y.reshape(4, 64), np.fft.fft(x.reshape(4, 64)), np.float32)


def test_more_shared_memory_than_is_usual() -> None:
    @cuda.jit
    def kernel(x):
        shared = cuda.shared.array(0, dtype=np.float32)
        for i in range(cuda.threadIdx.x, x.size, cuda.blockDim.x):
            shared[i] = x[i]
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, x.size, cuda.blockDim.x):
            x[i] = shared[x.size - 1 - i]

    x = np.arange(17_000, dtype=np.float32)
    (y,) = run(kernel, None, 1, x, shared=4 * x.size, block=32)
    assert (y == x[::-1]).all()
    with pytest.raises(ValueError, match="cannot give a block 1073741824 bytes of dynamic shared memory"):
        run(kernel, None, 1, x, shared=1 << 30, block=32)


def test_what_threads_of_a_warp_tell_each_other() -> None:
    whole = 0xFFFFFFFF

    @cuda.jit
    def kernel(x, sums, votes):
        i = cuda.threadIdx.x
        value = x[i]
        for step in range(5):
            value += cuda.shfl_xor_sync(whole, value, 1 << step)
        sums[0, i] = value
        sums[1, i] = cuda.shfl_up_sync(whole, x[i], 1)
        sums[2, i] = cuda.shfl_down_sync(whole, x[i], 3)
        sums[3, i] = cuda.shfl_sync(whole, x[i], 5)
        cuda.syncwarp()
        if i < 32:  # another warp has nothing to do with it
            votes[i] = cuda.ballot_sync(whole, i % 3 == 0)
            if i < 4:
                votes[i] += cuda.any_sync(0xF, i == 3) + 2 * cuda.all_sync(0xF, i < 3) + 4 * cuda.eq_sync(0xF, i < 9)
        cuda.syncthreads()

    x = random_array(64, np.float32)
    lanes = np.arange(32)
    sums, votes = run(kernel, None, 1, x, np.zeros((4, 64), np.float32), np.zeros(64, np.int64), block=64)[1:]
    for warp in (slice(0, 32), slice(32, 64)):
        np.testing.assert_allclose(sums[0, warp], x[warp].sum(), rtol=1e-5, atol=1e-5)
        assert (sums[1, warp] == x[warp][np.maximum(lanes - 1, 0)]).all()
        assert (sums[2, warp] == x[warp][np.where(lanes + 3 < 32, lanes + 3, lanes)]).all()
        assert (sums[3, warp] == x[warp][5]).all()
    thirds = sum(1 << lane for lane in range(0, 32, 3))
    assert votes.tolist() == [thirds + 5] * 4 + [thirds] * 28 + [0] * 32


def test_convolution_in_one_kernel() -> None:
    make = functools.partial(pmd.FFT, 128, np.float32, "c2c", "Block", sm=SM, ffts_per_block="suggested")
    forward, inverse = make(direction="forward"), make(direction="inverse")
    x, factors = random_array((10, 128), np.complex64), random_array(128, np.complex64, 1)
    y, _ = run(kernels.convolution(forward, inverse), forward, -(-10 // forward.ffts_per_block), x, factors)
    close(y, np.fft.ifft(np.fft.fft(x) * factors), np.float32)


def test_half_precision_holds_two_transforms_in_a_register() -> None:
    fft = pmd.FFT(64, np.float16, "c2c", "Block", sm=SM, direction="forward")
    assert fft.implicit_type_batching == 2
    float16x4 = pmd.float16x4

    @cuda.jit
    def kernel(x, y):
        registers = cuda.local.array(fft.storage_size, dtype=fft.value_type)
        shared = cuda.shared.array(0, dtype=fft.value_type)
        for i in range(fft.elements_per_thread):
            j = cuda.threadIdx.x + i * fft.stride
            registers[i] = float16x4(x[0, 0, j], x[1, 0, j], x[0, 1, j], x[1, 1, j])
        fft.execute(registers, shared)
        for i in range(fft.elements_per_thread):
            j = cuda.threadIdx.x + i * fft.stride
            v = registers[i]
            y[0, 0, j], y[1, 0, j], y[0, 1, j], y[1, 1, j] = v.x, v.y, v.z, v.w

    x = random_array((2, 2, 64), np.float16)
    _, y = run(kernel, fft, 1, x, np.zeros_like(x))
    wide = x.astype(np.float64)
    spectrum = np.fft.fft(wide[:, 0] + 1j * wide[:, 1])
    close(y.astype(np.float64), np.stack([spectrum.real, spectrum.imag], axis=1), np.float16, 4)


# Products.


def _matrix(flat: np.ndarray, dim: tuple[int, int], row_major: bool) -> np.ndarray:
    return flat.reshape(-1, *dim) if row_major else flat.reshape(-1, *dim[::-1]).transpose(0, 2, 1)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("arrangement", [ROWS, ("col_major", "row_major", "col_major")], ids=["rows", "mixed"])
@pytest.mark.parametrize(
    ("precision", "data_type"),
    [(np.float32, "real"), (np.float64, "complex"), (np.float32, "complex"),
     ((np.float16, np.float16, np.float32), "real"), ((np.int8, np.int8, np.int32), "real")],
    ids=["float32", "complex128", "complex64", "half", "int8"],
)  # fmt: skip
def test_products(precision: Any, data_type: str, arrangement: Any, dynamic: bool) -> None:
    mm = pmd.Matmul((16, 8, 16), precision, data_type, sm=SM, arrangement=arrangement, block_size=32)
    kinds = [np.dtype(COMPLEX[p]) if data_type == "complex" else np.dtype(p) for p in mm.precision]
    a, b, c = (random_array((2, n), kind, seed) for seed, (n, kind) in enumerate(
        zip((mm.a_size, mm.b_size, mm.c_size), kinds, strict=True)))  # fmt: skip
    found = run(kernels.product(mm, dynamic), mm, 2, 2, a, b, 3, c)[2]
    x, y, z = (
        _matrix(each, dim, row == "row_major").astype(np.result_type(each.dtype, np.float64))
        for each, dim, row in zip((a, b, c), (mm.a_dim, mm.b_dim, mm.c_dim), arrangement, strict=True)
    )
    got = _matrix(found, mm.c_dim, arrangement[2] == "row_major")
    inner = mm.precision.c if np.dtype(mm.precision.c).kind == "f" else np.float64
    close(got, 2 * x @ y + 3 * z, inner)


@pytest.mark.parametrize("suggested", [False, True], ids=["plain", "suggested"])
def test_tiled_product_with_tensors(suggested: bool) -> None:
    mm = pmd.Matmul((16, 16, 16), np.float32, "real", sm=SM, arrangement=ROWS, block_size=64)
    a, b = random_array((32, 64), np.float32), random_array((64, 48), np.float32, 1)
    c = run(kernels.tiled(mm, suggested), mm, (2, 3), a, b, np.zeros((32, 48), np.float32))[2]
    close(c, a.astype(float) @ b, np.float32)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("arrangement", [ROWS, ("col_major", "row_major", "row_major")], ids=["rows", "mixed"])
def test_pipelines(arrangement: Any, depth: int) -> None:
    mm = pmd.Matmul(
        (16, 16, 16), np.float32, "real", sm=SM, arrangement=arrangement, block_size=64, with_pipeline=True
    )
    a, b = random_array((32, 80), np.float32), random_array((80, 64), np.float32, 1)
    given_a = a if arrangement[0] == "row_major" else np.asfortranarray(a)
    if not inside.simulating():
        given_a, b = kernels.to_device(given_a), kernels.to_device(b)
    pipeline = mm.suggest_device_pipeline(depth, given_a, b)
    c = run(kernels.pipelined(mm), mm, (2, 2), pipeline, np.zeros((32, 64), np.float32), shared=pipeline.buffer_size)[0]
    expected = a.astype(float) @ (b if inside.simulating() else b.copy_to_host())
    close(c, expected, np.float32)
    with pytest.raises(ValueError, match=r"a is a matrix of multiples of \(16, 16\), not of shape \(32, 72\)"):
        mm.suggest_device_pipeline(depth, a[:, :72], b)


def test_fragments_cover_c_once() -> None:
    mm = pmd.Matmul((16, 16, 16), np.float32, "real", sm=SM, arrangement=ROWS, block_size=64)

    @cuda.jit
    def kernel(counts, c):
        accumulator = mm.get_accumulator()
        tensor = pmd.make_tensor(c, mm.get_layout_gmem_c(c.shape[1]))
        part = accumulator.make_partition_and_copy(tensor)
        other = accumulator.make_empty_fragment()
        for i in range(part.layout.size):
            other[i] = 2 * part[i]
            if accumulator.is_index_in_bounds(i):
                row, column = accumulator.map_fragment_index(i)
                cuda.atomic.add(counts, (row, column), 1)
        pmd.axpby(3.0, other, 1.0, part)
        if accumulator.is_thread_active():
            accumulator.partition_and_copy(part, tensor)

    c = random_array((16, 16), np.float32)
    counts, found = run(kernel, mm, 1, np.zeros((16, 16), np.int32), c)
    assert (counts == 1).all()
    close(found, 7 * c, np.float32)


# Solvers.


@pytest.mark.parametrize("data_type", ["real", "complex"])
@pytest.mark.parametrize("fill_mode", ["lower", "upper"])
def test_cholesky_of_a_batch(fill_mode: str, data_type: str) -> None:
    solver = pmd.CholeskySolver(
        (5, 5, 2), np.float32, "Block", fill_mode, sm=SM, batches_per_block=2, data_type=data_type
    )
    dtype = np.dtype(COMPLEX[np.float32] if data_type == "complex" else np.float32)
    m = random_array((3, 2, 5, 5), dtype)
    m = (m @ m.conj().transpose(0, 1, 3, 2) + 5 * np.eye(5)).astype(dtype)
    m[1, 1] = -m[1, 1]  # not definite
    b = random_array((3, 2, 5, 2), dtype, 1)
    flat = [np.ascontiguousarray(each.transpose(0, 1, 3, 2)).reshape(3, -1) for each in (m, b)]
    _, x, info = run(kernels.cholesky(solver), solver, 3, *flat, np.full((3, 2), -7, np.int32))
    assert info[1, 1] == 1
    info[1, 1] = 0
    assert not info.any()
    expected = np.linalg.solve(m.astype(np.complex128), b)
    fine = np.ones((3, 2), bool)
    fine[1, 1] = False
    close(x.reshape(3, 2, 2, 5).transpose(0, 1, 3, 2)[fine], expected[fine], np.float32)


def _call(function: str, size: Any, arrays: dict[str, np.ndarray], **parameters: Any) -> dict[str, np.ndarray]:
    """One problem; matrices of the shape that the function has, others as they are."""
    solver = pmd.Solver(function, size, np.float64, "Block", sm=SM, **parameters)
    assert solver.parameters == tuple(arrays)
    flat = {name: np.ascontiguousarray(each.T if each.ndim == 2 else each).reshape(-1) for name, each in arrays.items()}
    if "workspace" in flat:
        flat["workspace"] = np.zeros(solver.workspace_size)
    kernel = kernels.solver_kernel(
        solver, {name: each.size for name, each in flat.items()}, {name: each.dtype for name, each in flat.items()}
    )
    rest = [np.zeros(1, np.float32)] * (5 - len(flat))
    found = run(kernel, solver, 1, *flat.values(), *rest)
    return {
        name: each.reshape(arrays[name].shape[::-1]).T if arrays[name].ndim == 2 else each
        for name, each in zip(flat, found, strict=False)
    }


INFO = np.full(1, -7, np.int32)


def test_lu() -> None:
    a, b = random_array((6, 6), np.float64), random_array((6, 3), np.float64, 1)
    pivots = np.zeros(6, np.int32)
    found = _call("getrf_partial_pivot", 6, {"a": a, "ipiv": pivots, "info": INFO})
    lu, expected = linalg.lu_factor(a)
    close(found["a"], lu, np.float64)
    assert found["info"] == 0
    assert (found["ipiv"] - 1).tolist() == expected.tolist()
    solved = _call(
        "getrs_partial_pivot", (6, 6, 3), {"a": found["a"], "ipiv": found["ipiv"], "b": b}, transpose_mode="transposed"
    )
    close(solved["b"], np.linalg.solve(a.T, b), np.float64, 1e4)
    easy = a + 10 * np.eye(6)
    close(
        _call("gesv_no_pivot", (6, 6, 3), {"a": easy, "b": b, "info": INFO})["b"],
        np.linalg.solve(easy, b),
        np.float64,
        1e4,
    )


@pytest.mark.parametrize("shape", [(8, 5), (5, 5)])
def test_qr(shape: tuple[int, int]) -> None:
    m, n = shape
    a, tau = random_array(shape, np.float64), np.zeros(n)
    found = _call("geqrf", shape, {"a": a, "tau": tau})
    r = np.triu(found["a"])[:n]
    q = _call("ungqr", (m, n, n), {"a": found["a"], "tau": found["tau"]})["a"]
    close(q @ r, a, np.float64)
    c = random_array((m, 3), np.float64, 1)
    product = _call(
        "unmqr", (m, 3, n), {"a": found["a"], "tau": found["tau"], "c": c}, side="left", transpose_mode="transposed"
    )
    close(product["c"][:n], q.T @ c, np.float64)


def test_lq() -> None:
    a, tau = random_array((4, 7), np.float64), np.zeros(4)
    found = _call("gelqf", (4, 7), {"a": a, "tau": tau})
    q = _call("unglq", (4, 7, 4), {"a": found["a"], "tau": found["tau"]})["a"]
    close(np.tril(found["a"])[:, :4] @ q, a, np.float64)
    c = random_array((3, 7), np.float64, 1)
    product = _call(
        "unmlq", (3, 7, 4), {"a": found["a"], "tau": found["tau"], "c": c}, side="right", transpose_mode="transposed"
    )
    close(product["c"][:, :4], c @ q.T, np.float64)


@pytest.mark.parametrize("shape", [(8, 5), (5, 8)])
def test_least_squares(shape: tuple[int, int]) -> None:
    m, n = shape
    a, b = random_array(shape, np.float64), np.zeros((max(shape), 2))
    b[:m] = random_array((m, 2), np.float64, 1)
    found = _call("gels", (m, n, 2), {"a": a, "tau": np.zeros(min(shape)), "b": b})
    close(found["b"][:n], np.linalg.lstsq(a, b[:m], rcond=None)[0], np.float64, 1e4)


@pytest.mark.parametrize("diag", ["unit", "non_unit"])
@pytest.mark.parametrize("fill_mode", ["upper", "lower"])
@pytest.mark.parametrize(("side", "mode"), [("left", "non_transposed"), ("right", "transposed")])
def test_triangular(side: str, mode: str, fill_mode: str, diag: str) -> None:
    order = 5 if side == "left" else 3
    a, b = random_array((order, order), np.float64), random_array((5, 3), np.float64, 1)
    a += 3 * np.eye(order)
    t = np.tril(a) if fill_mode == "lower" else np.triu(a)
    if diag == "unit":
        np.fill_diagonal(t, 1)
    t = t.T if mode == "transposed" else t
    found = _call("trsm", (5, 3), {"a": a, "b": b}, side=side, fill_mode=fill_mode, diag=diag, transpose_mode=mode)
    expected = np.linalg.solve(t, b) if side == "left" else np.linalg.solve(t.T, b.T).T
    close(found["b"], expected, np.float64, 1e4)


def test_eigenvalues() -> None:
    a = random_array((6, 6), np.float64)
    a = a + a.T
    values, zero = np.linalg.eigvalsh(a), np.zeros(6)
    arrays = {"a": a, "lambda": zero, "workspace": zero, "info": INFO}
    found = _call("heev", 6, arrays, fill_mode="lower", job="overwrite_vectors")
    close(np.sort(found["lambda"]), values, np.float64, 1e3)
    close(found["a"] * found["lambda"] @ found["a"].T, a, np.float64, 1e3)
    d, e = random_array(6, np.float64), random_array(5, np.float64, 1)
    found = _call("htev", 6, {"d": d, "e": e, "info": INFO}, job="no_vectors")
    close(np.sort(found["d"]), linalg.eigh_tridiagonal(d, e)[0], np.float64, 1e3)


def test_tridiagonal() -> None:
    dl, d, du = (random_array(n, np.float64, seed) for seed, n in enumerate((5, 6, 5)))
    d += 5
    b = random_array((6, 2), np.float64, 3)
    found = _call("gtsv_no_pivot", (6, 6, 2), {"dl": dl, "d": d, "du": du, "b": b, "info": INFO})
    matrix = np.diag(d) + np.diag(dl, -1) + np.diag(du, 1)
    close(found["b"], np.linalg.solve(matrix, b), np.float64, 1e3)


def test_vectors_as_elements_of_arrays() -> None:
    four = pmd.float32x4_type

    @cuda.jit
    def kernel(x):
        shared, local = cuda.shared.array(4, dtype=four, alignment=16), cuda.local.array(1, dtype=four)
        values = x.view(four)
        local[0] = values[cuda.threadIdx.x]
        shared[3 - cuda.threadIdx.x] = local[0]
        cuda.syncthreads()
        v = shared[cuda.threadIdx.x]
        values[cuda.threadIdx.x] = pmd.float32x4(v.w, v.z, v.y, v.x)

    x = np.arange(16, dtype=np.float32)
    (y,) = run(kernel, None, 1, x, block=4)
    assert (y == x[::-1]).all()


# Random numbers: vectors that were recorded on a device.


@pytest.mark.parametrize("generator", sorted(GENERATORS))
def test_random_numbers(generator: str) -> None:
    for name, drawing in FUNCTIONS.items():
        if generator in drawing.generators and drawing.result:
            recorded = random_vectors.load()[f"{generator} {name}"]
            found = random_vectors.draw(generator, name)
            if recorded is None:
                pytest.skip("nothing was recorded")
            if name.startswith(("rand", "uniform")):
                assert found.tolist() == recorded, name
            else:
                np.testing.assert_allclose(found, recorded, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("generator", ["XORWOW", "MRG32k3a", "Philox4_32_10"])
def test_passing_over_numbers(generator: str) -> None:
    pmdr = pmd.random

    @cuda.jit(extensions=[pmdr.states.Extension()])
    def kernel(states, out):
        pmdr.init(99, 3, 0, states[0])
        for _ in range(5):
            pmdr.rand(states[0])
        pmdr.init(99, 3, 5, states[1])
        pmdr.init(99, 3, 0, states[2])
        pmdr.skipahead(5, states[2])
        pmdr.init(99, 2, 5, states[3])
        if generator == "MRG32k3a":
            pmdr.skipahead_subsequence(1, states[3])
        else:
            pmdr.skipahead_sequence(1, states[3])
        for i in range(4):
            out[i] = pmdr.rand(states[i])

    if generator != "MRG32k3a" and not inside.simulating():
        pytest.skip("a kernel names functions of its generator only")
    (out,) = run(kernel, None, 1, getattr(pmdr, f"States{generator}")(4), np.zeros(4, np.uint32), block=1)
    assert len(set(out.tolist())) == 1, out
