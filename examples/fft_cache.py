"""A plan cache of your own: keys say whether two operands can share a plan."""

import numpy as np

from planmath.fft import FFT


class PlanCache(dict):
    """Planned transforms by key. Use it in a `with` statement, which frees them all."""

    def transform(self, operand, **specification):
        key = FFT.create_key(operand, **specification)
        if key not in self:
            self[key] = FFT(operand, **specification)
            self[key].plan()
        else:
            self[key].reset_operand(operand)
        return self[key].execute()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for plan in self.values():
            plan.free()


rng = np.random.default_rng(0)
with PlanCache() as cache:
    for shape in ((64,), (8, 32), (64,), (8, 32), (64,)):
        operand = rng.normal(size=shape) + 0j
        assert np.allclose(cache.transform(operand), np.fft.fftn(operand))
    cache.transform(operand.astype(np.complex64))  # another dtype, another plan
    print(f"6 transforms, {len(cache)} plans")
    assert len(cache) == 3
    assert cache[FFT.create_key(operand)].get_key() in cache
