"""A product of large matrices by tiles in shared memory, with tensors and an accumulator in registers.

Here in Numba's simulator; on a device: NUMBA_ENABLE_CUDASIM=0 python examples/device_tiled_product.py
"""

import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import numpy as np
from numba import cuda

from planmath.device import Matmul, copy, copy_fragment, copy_wait, launch, make_tensor

TILE = 16
mm = Matmul((TILE, TILE, TILE), np.float32, "real", arrangement=("row_major",) * 3, block_size=64)


@cuda.jit
def multiply(a, b, c):
    layout_a, layout_b = mm.suggest_layout_smem_a(), mm.suggest_layout_smem_b()
    tile_a = make_tensor(cuda.shared.array(layout_a.cosize, dtype=np.float32, alignment=16), layout_a)
    tile_b = make_tensor(cuda.shared.array(layout_b.cosize, dtype=np.float32, alignment=16), layout_b)
    accumulator = mm.suggest_accumulator()  # at zero
    row, column = cuda.blockIdx.x * TILE, cuda.blockIdx.y * TILE
    for k in range(0, a.shape[1], TILE):
        copy(make_tensor(a[row:, k:], mm.get_layout_gmem_a(a.shape[1])), tile_a)
        copy(make_tensor(b[k:, column:], mm.get_layout_gmem_b(b.shape[1])), tile_b)
        copy_wait()
        mm.execute(tile_a, tile_b, accumulator)
        cuda.syncthreads()
    result = accumulator.get_results()
    copy_fragment(result, make_tensor(c[row:, column:], mm.get_layout_gmem_c(c.shape[1])))


rng = np.random.default_rng(0)
a, b = rng.standard_normal((32, 64), np.float32), rng.standard_normal((64, 48), np.float32)
there = cuda.to_device(np.zeros((32, 48), np.float32))
launch(multiply, (32 // TILE, 48 // TILE), mm, cuda.to_device(a), cuda.to_device(b), there)
c = there.copy_to_host()
assert np.allclose(c, a @ b, atol=1e-4)
print(f"{mm}: the largest difference to NumPy's is {abs(c - a @ b).max():.1e}")
