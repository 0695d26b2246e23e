"""Kernels that run in the simulator and on a device, and the references for what they compute.

The same functions are compiled without a device, run under ``NUMBA_ENABLE_CUDASIM=1``, and run on one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

import planmath.device as pmd


def to_device(array: np.ndarray) -> Any:
    return cuda.to_device(array)


def run(
    kernel: Any, traits: Any, grid: Any, *arrays: np.ndarray, shared: int | None = None, block: Any = None
) -> list[np.ndarray]:
    """Launch with copies of arrays, and return what they hold then."""
    there = [to_device(array) if isinstance(array, np.ndarray) else array for array in arrays]
    pmd.launch(kernel, grid, traits, *there, shared=shared, block=block)
    return [each.copy_to_host() for each in there if hasattr(each, "copy_to_host")]


def random_array(shape: Any, dtype: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    if np.dtype(dtype).kind in "iu":
        values = rng.integers(0, 5, shape)
    return values.astype(dtype)


# Transforms.


def transform(fft: Any, out_registers: int, in_registers: int) -> Any:
    """Load, transform, store: elements of the input and output types, a transform for each ``threadIdx.y``."""
    real_in, real_out = fft.input_type in pmd.REAL_NP_TYPES, fft.output_type in pmd.REAL_NP_TYPES
    scalar, n_in, n_out = fft.precision, fft.input_length, fft.output_length
    groups = fft.block_dim.y

    @cuda.jit
    def kernel(x, y):
        registers = cuda.local.array(fft.storage_size, dtype=fft.value_type)
        shared = cuda.shared.array(0, dtype=fft.value_type)
        reals = registers.view(scalar)
        row = cuda.blockIdx.x * groups + cuda.threadIdx.y
        inside = row < x.shape[0]
        for i in range(in_registers):
            j = cuda.threadIdx.x + i * fft.stride
            if j < n_in:
                if real_in:
                    reals[i] = x[row, j] if inside else 0
                else:
                    registers[i] = x[row, j] if inside else 0
        fft.execute(registers, shared)
        for i in range(out_registers):
            j = cuda.threadIdx.x + i * fft.stride
            if j < n_out and inside:
                if real_out:
                    y[row, j] = reals[i]
                else:
                    y[row, j] = registers[i]

    return kernel


def shared_transform(fft: Any) -> Any:
    """Transforms in shared memory, c2c."""
    count = fft.size * fft.ffts_per_block
    threads = fft.block_dim.x * fft.block_dim.y

    @cuda.jit
    def kernel(x):
        shared = cuda.shared.array(0, dtype=fft.value_type)
        thread = cuda.threadIdx.x + cuda.threadIdx.y * cuda.blockDim.x
        for i in range(thread, count, threads):
            shared[i] = x[cuda.blockIdx.x * count + i]
        cuda.syncthreads()
        fft.execute(shared)
        cuda.syncthreads()
        for i in range(thread, count, threads):
            x[cuda.blockIdx.x * count + i] = shared[i]

    return kernel


def thread_transform(fft: Any) -> Any:
    """Each thread its own transform, c2c."""

    @cuda.jit
    def kernel(x):
        registers = cuda.local.array(fft.storage_size, dtype=fft.value_type)
        row = cuda.grid(1)
        if row < x.shape[0]:
            for i in range(fft.elements_per_thread):
                registers[i] = x[row, i]
            fft.execute(registers)
            for i in range(fft.elements_per_thread):
                x[row, i] = registers[i]

    return kernel


def convolution(forward: Any, inverse: Any) -> Any:
    """Transform, multiply by a filter, transform back."""

    @cuda.jit
    def kernel(x, factors):
        registers = cuda.local.array(forward.storage_size, dtype=forward.value_type)
        shared = cuda.shared.array(0, dtype=forward.value_type)
        row = cuda.blockIdx.x * forward.ffts_per_block + cuda.threadIdx.y
        inside = row < x.shape[0]
        for i in range(forward.elements_per_thread):
            j = cuda.threadIdx.x + i * forward.stride
            if j < forward.size:
                registers[i] = x[row, j] if inside else 0
        forward.execute(registers, shared)
        for i in range(forward.elements_per_thread):
            j = cuda.threadIdx.x + i * forward.stride
            if j < forward.size:
                registers[i] = registers[i] * factors[j] / forward.size
        inverse.execute(registers, shared)
        for i in range(forward.elements_per_thread):
            j = cuda.threadIdx.x + i * forward.stride
            if j < forward.size and inside:
                x[row, j] = registers[i]

    return kernel


# Products.


def product(mm: Any, dynamic: bool = False) -> Any:
    """C ← alpha A B + beta C of one matrix a block, all contiguous as the product has them."""
    la, lb, lc = mm.leading_dimension
    na, nb, nc = mm.a_size, mm.b_size, mm.c_size
    ta, tb, tc = mm.a_value_type, mm.b_value_type, mm.c_value_type
    threads = mm.block_size

    @cuda.jit
    def kernel(alpha, a, b, beta, c):
        sa, sb = cuda.shared.array(na, dtype=ta), cuda.shared.array(nb, dtype=tb)
        sc = cuda.shared.array(nc, dtype=tc)
        block = cuda.blockIdx.x
        for i in range(cuda.threadIdx.x, na, threads):
            sa[i] = a[block, i]
        for i in range(cuda.threadIdx.x, nb, threads):
            sb[i] = b[block, i]
        for i in range(cuda.threadIdx.x, nc, threads):
            sc[i] = c[block, i]
        cuda.syncthreads()
        if dynamic:
            mm.execute(alpha, sa, la, sb, lb, beta, sc, lc)
        else:
            mm.execute(alpha, sa, sb, beta, sc)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, nc, threads):
            c[block, i] = sc[i]

    return kernel


def tiled(mm: Any, suggested: bool) -> Any:
    """C = A B of large matrices: each block computes a tile of C, with tensors and an accumulator."""
    tile_m, tile_n, tile_k = mm.size
    ta, tb = mm.a_value_type, mm.b_value_type

    @cuda.jit
    def kernel(a, b, c):
        la = mm.suggest_layout_smem_a() if suggested else mm.get_layout_smem_a()
        lb = mm.suggest_layout_smem_b() if suggested else mm.get_layout_smem_b()
        sa = cuda.shared.array(la.cosize, dtype=ta, alignment=16)
        sb = cuda.shared.array(lb.cosize, dtype=tb, alignment=16)
        ga, gb = mm.get_layout_gmem_a(a.shape[1]), mm.get_layout_gmem_b(b.shape[1])
        gc = mm.get_layout_gmem_c(c.shape[1])
        tensor_a, tensor_b = pmd.make_tensor(sa, la), pmd.make_tensor(sb, lb)
        accumulator = mm.suggest_accumulator() if suggested else mm.get_accumulator()
        row, column = cuda.blockIdx.x * tile_m, cuda.blockIdx.y * tile_n
        for k in range(0, a.shape[1], tile_k):
            pmd.copy(pmd.make_tensor(a[row:, k:], ga), tensor_a)
            pmd.copy(pmd.make_tensor(b[k:, column:], gb), tensor_b)
            pmd.copy_wait()
            mm.execute(tensor_a, tensor_b, accumulator)
            cuda.syncthreads()
        pmd.copy_fragment(accumulator.get_results(), pmd.make_tensor(c[row:, column:], gc))

    return kernel


def pipelined(mm: Any) -> Any:
    """The same by a pipeline; each block computes two tiles of C."""
    tile_m, tile_n, _ = mm.size

    @cuda.jit(extensions=pmd.cublasdx_numba.pipeline_extensions)
    def kernel(pipeline, c):
        smem = cuda.shared.array(0, dtype=np.uint8)
        tile = pipeline.get_tile(smem, cuda.blockIdx.x, cuda.blockIdx.y)
        for half in range(2):
            column = cuda.blockIdx.y + half * cuda.gridDim.y
            pipeline.reset_tile(tile, (cuda.blockIdx.x, 0), (column, 0))
            accumulator = mm.suggest_accumulator()
            tile.execute(accumulator)
            layout = mm.get_layout_gmem_c(c.shape[1])
            tensor = pmd.make_tensor(c[tile_m * cuda.blockIdx.x :, tile_n * column :], layout)
            accumulator.partition_and_store(tensor)
        tile._del()

    return kernel


# Solvers.


def cholesky(solver: Any) -> Any:
    """Factorize and solve, `batches_per_block` problems a block."""
    na, nb, batches = solver.a_size(), solver.b_size(), solver.batches_per_block
    value = solver.value_type
    threads = solver.block_dim.x

    @cuda.jit
    def kernel(a, b, info):
        sa, sb = cuda.shared.array(na, dtype=value), cuda.shared.array(nb, dtype=value)
        si = cuda.shared.array(batches, dtype=np.int32)
        block = cuda.blockIdx.x
        for i in range(cuda.threadIdx.x, na, threads):
            sa[i] = a[block, i]
        for i in range(cuda.threadIdx.x, nb, threads):
            sb[i] = b[block, i]
        cuda.syncthreads()
        solver.factorize(sa, si)
        cuda.syncthreads()
        solver.solve(sa, sb)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, na, threads):
            a[block, i] = sa[i]
        for i in range(cuda.threadIdx.x, nb, threads):
            b[block, i] = sb[i]
        for i in range(cuda.threadIdx.x, batches, threads):
            info[block, i] = si[i]

    return kernel


def solver_kernel(solver: Any, sizes: dict[str, int], kinds: dict[str, Any]) -> Any:
    """A call of `Solver.execute` with the arrays of its parameters in shared memory, up to four of them."""
    names = list(sizes)
    counts = [sizes[name] for name in names] + [1] * (5 - len(names))
    types = [kinds[name] for name in names] + [np.float32] * (5 - len(names))
    n0, n1, n2, n3, n4 = counts
    t0, t1, t2, t3, t4 = types
    count, threads = len(names), solver.block_dim.x

    @cuda.jit
    def kernel(x0, x1, x2, x3, x4):
        s0, s1 = cuda.shared.array(n0, dtype=t0), cuda.shared.array(n1, dtype=t1)
        s2, s3 = cuda.shared.array(n2, dtype=t2), cuda.shared.array(n3, dtype=t3)
        s4 = cuda.shared.array(n4, dtype=t4)
        first = cuda.threadIdx.x
        for i in range(first, n0, threads):
            s0[i] = x0[i]
        for i in range(first, n1, threads):
            s1[i] = x1[i]
        for i in range(first, n2, threads):
            s2[i] = x2[i]
        for i in range(first, n3, threads):
            s3[i] = x3[i]
        for i in range(first, n4, threads):
            s4[i] = x4[i]
        cuda.syncthreads()
        if count == 2:
            solver.execute(s0, s1)
        elif count == 3:
            solver.execute(s0, s1, s2)
        elif count == 4:
            solver.execute(s0, s1, s2, s3)
        else:
            solver.execute(s0, s1, s2, s3, s4)
        cuda.syncthreads()
        for i in range(first, n0, threads):
            x0[i] = s0[i]
        for i in range(first, n1, threads):
            x1[i] = s1[i]
        for i in range(first, n2, threads):
            x2[i] = s2[i]
        for i in range(first, n3, threads):
            x3[i] = s3[i]
        for i in range(first, n4, threads):
            x4[i] = s4[i]

    return kernel


# Random numbers.


def drawing(name: str, extra: tuple[Any, ...], components: int) -> Any:
    """Draw with one function, from generators that start at their own subsequence."""
    function = getattr(pmd.random, name)
    count = len(extra)
    first, second = (*extra, 0, 0)[:2]

    @cuda.jit(extensions=[pmd.random.states.Extension()])
    def kernel(states, out):
        i = cuda.grid(1)
        if i < out.shape[0]:
            pmd.random.init(1234, i, 0, states[i])
            for k in range(0, out.shape[1], components):
                if count == 0:
                    v = function(states[i])
                elif count == 1:
                    v = function(states[i], first)
                else:
                    v = function(states[i], first, second)
                if components == 1:
                    out[i, k] = v
                else:
                    out[i, k], out[i, k + 1] = v.x, v.y
                if components == 4:
                    out[i, k + 2], out[i, k + 3] = v.z, v.w

    return kernel
