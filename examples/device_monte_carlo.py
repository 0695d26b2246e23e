"""An estimate by random numbers that are drawn where they are used: the price of an option, and pi.

Here in Numba's simulator; on a device: NUMBA_ENABLE_CUDASIM=0 python examples/device_monte_carlo.py
"""

import math
import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import numpy as np
from numba import cuda

from planmath.device import launch, random

THREADS, DRAWS = 64, 64
extension = random.Compile().extension


@cuda.jit(extensions=[extension])
def estimate(states, inside, payoff):
    i = cuda.grid(1)
    random.init(2026, i, 0, states[i])  # each thread its own subsequence
    state = random.load(states[i])  # drawn from in registers
    for _ in range(DRAWS):
        x, y = random.uniform(state), random.uniform(state)
        if x * x + y * y < 1:
            inside[i] += 1
        price = 100 * random.log_normal(state, -0.02, 0.2)
        payoff[i] += max(price - 100, 0.0)
    random.store(state, states[i])


inside, payoff = cuda.to_device(np.zeros(THREADS)), cuda.to_device(np.zeros(THREADS))
launch(estimate, THREADS // 32, None, random.StatesXORWOW(THREADS), inside, payoff, block=32)
draws = THREADS * DRAWS
pi, value = 4 * inside.copy_to_host().sum() / draws, payoff.copy_to_host().sum() / draws

exact = 100 * (2 * 0.5 * (1 + math.erf(0.1 / math.sqrt(2))) - 1)  # at the money, without interest
assert abs(pi - math.pi) < 5 * 1.65 / math.sqrt(draws)
assert abs(value - exact) < 5 * 13 / math.sqrt(draws)
print(f"pi is about {pi:.3f}, and the option is worth about {value:.2f} (exactly {exact:.2f})")
