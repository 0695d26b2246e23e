"""How many threads an execution may use, and one object in each of many threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from planmath.fft import FFT, ExecutionCPU

rng = np.random.default_rng(0)
image = rng.normal(size=(512, 512)) + 1j * rng.normal(size=(512, 512))
expected = np.fft.fft2(image)

for threads in (1, 2):
    with FFT(image, execution=ExecutionCPU(num_threads=threads)) as transform:
        transform.plan()
        assert np.allclose(transform.execute(), expected)
        print(transform)


def transformed(row_block):
    """An object belongs to one thread at a time, so each task has its own."""
    with FFT(row_block, axes=[1], execution={"name": "cpu", "num_threads": 1}) as transform:
        transform.plan()
        return transform.execute()


with ThreadPoolExecutor(2) as pool:
    blocks = list(pool.map(transformed, np.split(image, 8)))
assert np.allclose(np.concatenate(blocks), np.fft.fft(image, axis=1))
