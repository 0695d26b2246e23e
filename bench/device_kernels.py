"""Kernels of the tables about functions inside kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

import planmath.device as pmd


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
        pmd.copy(pmd.make_tensor(a[block], ga), tensor_a)
        pmd.copy(pmd.make_tensor(b[block], gb), tensor_b)
        pmd.copy_wait()
        mm.execute(tensor_a, tensor_b, accumulator)
        pmd.copy_fragment(accumulator.get_results(), pmd.make_tensor(c[block], gc))

    return kernel


def products_in_turn(mm: Any, pairs: int) -> Any:
    """The same for twice as many products a block as there are pairs: the next one is copied while one is computed."""
    ta, tb = mm.a_value_type, mm.b_value_type

    @cuda.jit
    def kernel(a, b, c):
        la, lb = mm.suggest_layout_smem_a(), mm.suggest_layout_smem_b()
        sa = cuda.shared.array(la.cosize, dtype=ta, alignment=16)
        sb = cuda.shared.array(lb.cosize, dtype=tb, alignment=16)
        ra = cuda.shared.array(la.cosize, dtype=ta, alignment=16)
        rb = cuda.shared.array(lb.cosize, dtype=tb, alignment=16)
        ga, gb, gc = mm.get_layout_gmem_a(), mm.get_layout_gmem_b(), mm.get_layout_gmem_c()
        first_a, first_b = pmd.make_tensor(sa, la), pmd.make_tensor(sb, lb)
        second_a, second_b = pmd.make_tensor(ra, la), pmd.make_tensor(rb, lb)
        start = cuda.blockIdx.x * 2 * pairs
        if start < a.shape[0]:
            pmd.copy(pmd.make_tensor(a[start], ga), first_a)
            pmd.copy(pmd.make_tensor(b[start], gb), first_b)
        for pair in range(pairs):
            n = start + 2 * pair
            pmd.copy_wait()
            if n + 1 < a.shape[0]:
                pmd.copy(pmd.make_tensor(a[n + 1], ga), second_a)
                pmd.copy(pmd.make_tensor(b[n + 1], gb), second_b)
            if n < a.shape[0]:
                accumulator = mm.suggest_accumulator()
                mm.execute(first_a, first_b, accumulator)
                pmd.copy_fragment(accumulator.get_results(), pmd.make_tensor(c[n], gc))
            pmd.copy_wait()
            if pair + 1 < pairs and n + 2 < a.shape[0]:
                pmd.copy(pmd.make_tensor(a[n + 2], ga), first_a)
                pmd.copy(pmd.make_tensor(b[n + 2], gb), first_b)
            if n + 1 < a.shape[0]:
                accumulator = mm.suggest_accumulator()
                mm.execute(second_a, second_b, accumulator)
                pmd.copy_fragment(accumulator.get_results(), pmd.make_tensor(c[n + 1], gc))

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
