"""Random numbers of each generator and function, as a device drew them: recorded by ``python -m`` this module."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_suffix(".json")
#: Arguments of distributions, and how many numbers are drawn of each generator.
EXTRA = {"log_normal": (0.5, 0.25), "poisson": (7.5,)}
THREADS, NUMBERS = 3, 8


@cache
def load() -> dict[str, list[Any]]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def draw(generator: str, name: str) -> np.ndarray:
    """The numbers of one function, of generators that start at their own subsequence."""
    from numba import cuda

    import planmath.device as pmd
    from planmath.device.random import FUNCTIONS
    from tests.device import kernels

    result = FUNCTIONS[name].result
    base, _, count = result.partition("x")
    dtype = ("uint64" if generator.endswith("64") else "uint32") if result == "uint" else base
    extra = next((value for key, value in EXTRA.items() if name.startswith(key)), ())
    states = getattr(pmd.random, f"States{generator}")(THREADS)
    out = np.zeros((THREADS, NUMBERS), dtype)
    if "Sobol" in generator:
        bits = 64 if generator.endswith("64") else 32
        vectors = np.array([1 << (bits - 1 - n) | 1 << (bits - 1 - n) >> 1 for n in range(bits)], f"uint{bits}")
        kernel = _sobol(name, extra, "Scrambled" in generator)
        arguments = (states, cuda.to_device(vectors))
    else:
        kernel = kernels.drawing(name, extra, int(count or 1))
        arguments = (states,)
    there = cuda.to_device(out)
    pmd.launch(kernel, 1, None, *arguments, there, block=THREADS)
    return there.copy_to_host()


def _sobol(name: str, extra: tuple[Any, ...], scrambled: bool) -> Any:
    from numba import cuda

    import planmath.device as pmd

    function, count = getattr(pmd.random, name), len(extra)
    first, second = (*extra, 0, 0)[:2]

    @cuda.jit(extensions=[pmd.random.states.Extension()])
    def kernel(states, vectors, out):
        i = cuda.grid(1)
        if scrambled:
            pmd.random.init(vectors, 12345, 100 * i, states[i])
        else:
            pmd.random.init(vectors, 100 * i, states[i])
        for k in range(out.shape[1]):
            if count == 0:
                out[i, k] = function(states[i])
            elif count == 1:
                out[i, k] = function(states[i], first)
            else:
                out[i, k] = function(states[i], first, second)

    return kernel


def main() -> None:
    from planmath.device.random import FUNCTIONS

    found = {
        f"{generator} {name}": draw(generator, name).tolist()
        for name, drawing in FUNCTIONS.items()
        for generator in drawing.generators
        if drawing.result
    }
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
    Path(sys.argv[1] if len(sys.argv) > 1 else FILE).write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
