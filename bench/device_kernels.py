"""Kernels of the tables about functions inside kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

import planmath.device as pmd


def convolution(forward: Any, inverse: Any) -> Any:
    """Transform, multiply by a filter and by 1/n, transform back: `ffts_per_block` rows a block."""
    stride, n, per_block = forward.stride, forward.size, forward.ffts_per_block
    scale, zero = np.float32(1 / n), np.complex64(0)  # of other types the arithmetic would be in double precision

    @cuda.jit
    def kernel(x, factors):
        registers = cuda.local.array(forward.storage_size, dtype=forward.value_type)
        shared = cuda.shared.array(0, dtype=forward.value_type)
        row = cuda.blockIdx.x * per_block + cuda.threadIdx.y
        inside = row < x.shape[0]
        for i in range(forward.elements_per_thread):
            j = cuda.threadIdx.x + i * stride
            if j < n:
                registers[i] = x[row, j] if inside else zero
        forward.execute(registers, shared)
        for i in range(forward.elements_per_thread):
            j = cuda.threadIdx.x + i * stride
            if j < n:
                registers[i] = registers[i] * factors[j] * scale
        inverse.execute(registers, shared)
        for i in range(forward.elements_per_thread):
            j = cuda.threadIdx.x + i * stride
            if j < n and inside:
                x[row, j] = registers[i]

    return kernel


def product(mm: Any) -> Any:
    """C = A B, a product a block: asynchronous copies to shared memory, the result straight from registers."""
    ta, tb = mm.a_value_type, mm.b_value_type

    @cuda.jit
    def kernel(a, b, c):
        la, lb = mm.suggest_layout_smem_a(), mm.suggest_layout_smem_b()
        sa = cuda.shared.array(la.cosize, dtype=ta, alignment=16)
        sb = cuda.shared.array(lb.cosize, dtype=tb, alignment=16)
        ga, gb, gc = mm.get_layout_gmem_a(), mm.get_layout_gmem_b(), mm.get_layout_gmem_c()
        tensor_a, tensor_b = pmd.make_tensor(sa, la), pmd.make_tensor(sb, lb)
        accumulator = mm.suggest_accumulator()
        block = cuda.blockIdx.x
        pmd.copy(pmd.make_tensor(a[block], ga), tensor_a, 16)
        pmd.copy(pmd.make_tensor(b[block], gb), tensor_b, 16)
        pmd.copy_wait()
        mm.execute(tensor_a, tensor_b, accumulator)
        pmd.copy_fragment(accumulator.get_results(), pmd.make_tensor(c[block], gc))

    return kernel


def products_by_vectors(mm: Any, turns: int, stored: str) -> Any:
    """So many products a block, one after the other, all that is in global memory read and written by 16 bytes.

    The next operands are read into registers while a product is computed. Results go to global memory as the threads
    have them, by single elements or, where a thread has four in a row, by those (`stored` is "alone" or "fours"), or
    through shared memory ("through"). The matrices are square, in plain layouts, their rows in shared memory 16 bytes
    longer where `mm` says so.
    """
    n, threads, four = mm.size[0], mm.block_size, pmd.float32x4_type
    row, lines, each = n // 4, mm.leading_dimension.a // 4, n * n // 4 // threads
    ta, tb, float32x4 = mm.a_value_type, mm.b_value_type, pmd.float32x4
    through, fours, count = stored == "through", stored == "fours", n * n // threads
    step = 4 if n == 32 and threads == 32 else 2  # elements of a thread between those that are neighbours in a row

    @cuda.jit
    def kernel(a, b, c):
        la, lb = mm.get_layout_smem_a(), mm.get_layout_smem_b()
        sa = cuda.shared.array(la.cosize, dtype=ta, alignment=16)
        sb = cuda.shared.array(lb.cosize, dtype=tb, alignment=16)
        tensor_a, tensor_b = pmd.make_tensor(sa, la), pmd.make_tensor(sb, lb)
        sa4, sb4 = sa.view(four), sb.view(four)
        a4, b4, c4 = a.view(four), b.view(four), c.view(four)
        ra, rb = cuda.local.array(each, dtype=four), cuda.local.array(each, dtype=four)
        thread, start = cuda.threadIdx.x, cuda.blockIdx.x * turns
        for i in range(each):
            ra[i], rb[i] = a4[start, thread + i * threads], b4[start, thread + i * threads]
        for turn in range(turns):
            m = start + turn
            if m < a.shape[0]:
                if turn:
                    cuda.syncthreads()
                for i in range(each):
                    j = thread + i * threads
                    sa4[j // row * lines + j % row], sb4[j] = ra[i], rb[i]
                cuda.syncthreads()
                if turn + 1 < turns and m + 1 < a.shape[0]:
                    for i in range(each):
                        ra[i], rb[i] = a4[m + 1, thread + i * threads], b4[m + 1, thread + i * threads]
                accumulator = mm.get_accumulator()
                mm.execute(tensor_a, tensor_b, accumulator)
                results = accumulator.get_results()
                if through:
                    cuda.syncthreads()
                y, x = accumulator.map_fragment_index(0)
                last_y, last_x = accumulator.map_fragment_index(3 * step)
                if fours and last_y == y and last_x == x + 3:
                    for k in range(count // 4):
                        i = k // step * 4 * step + k % step
                        y, x = accumulator.map_fragment_index(i)
                        c4[m, (y * n + x) // 4] = float32x4(
                            results[i], results[i + step], results[i + 2 * step], results[i + 3 * step]
                        )
                else:
                    for i in range(results.layout.size):
                        y, x = accumulator.map_fragment_index(i)
                        if through:
                            sa[y * lines * 4 + x] = results[i]
                        else:
                            c[m, y * n + x] = results[i]
                if through:
                    cuda.syncthreads()
                    for i in range(each):
                        j = thread + i * threads
                        c4[m, j] = sa4[j // row * lines + j % row]

    return kernel


def factorization(solver: Any) -> Any:
    """Cholesky factorizations, `batches_per_block` a block."""
    na, batches, threads = solver.a_size(), solver.batches_per_block, solver.block_dim.x
    value = solver.value_type

    @cuda.jit
    def kernel(a, info):
        sa, si = cuda.shared.array(na, dtype=value), cuda.shared.array(batches, dtype=np.int32)
        block = cuda.blockIdx.x
        for i in range(cuda.threadIdx.x, na, threads):
            sa[i] = a[block, i]
        cuda.syncthreads()
        solver.factorize(sa, si)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, na, threads):
            a[block, i] = sa[i]
        for i in range(cuda.threadIdx.x, batches, threads):
            info[block, i] = si[i]

    return kernel
