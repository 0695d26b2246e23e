"""Random numbers inside kernels: cuRAND's generators and distributions.

In a kernel, ``states[i]`` of an array of states is one generator. `init` starts it, and the functions below draw from
it. Integers and uniform numbers are the same, bit for bit, on a device and in the simulator; the other distributions
within 1e-5.

Examples
--------
>>> from planmath.device import random
>>> states = random.StatesXORWOW(64)  # doctest: +SKIP
>>> @cuda.jit  # doctest: +SKIP
... def draw(states, out):
...     i = cuda.grid(1)
...     random.init(1234, i, 0, states[i])
...     out[i] = random.uniform(states[i])
"""

from __future__ import annotations

from typing import Any, NamedTuple

from planmath.device.inside import KernelFunction
from planmath.device.random.states import (
    Compile,
    StatesMRG32k3a,
    StatesPhilox4_32_10,
    StatesScrambledSobol32,
    StatesScrambledSobol64,
    StatesSobol32,
    StatesSobol64,
    StatesTest,
    StatesXORWOW,
)

_PSEUDO = ("XORWOW", "MRG32k3a", "Philox4_32_10")
_QUASI = ("Sobol32", "Sobol64", "ScrambledSobol32", "ScrambledSobol64")


class Drawing(NamedTuple):
    """One function.

    Parameters
    ----------
    result : str
        The type of the result, by NumPy's name; with ``x2`` or ``x4`` a vector; '' for nothing.
    generators : tuple of str
    parameters : tuple of str
        Types of the arguments beside the state.
    state_last : bool
        Whether the state is the last argument and not the first.
    doc : str
    """

    result: str
    generators: tuple[str, ...]
    parameters: tuple[str, ...]
    state_last: bool
    doc: str


_ALL, _TWO, _FOUR = (*_PSEUDO, *_QUASI), _PSEUDO, ("Philox4_32_10",)
_F, _D = ("float32", "float32"), ("float64", "float64")
FUNCTIONS = {
    "rand": Drawing("uint", (*_ALL, "Test"), (), False, "An integer of all bits: 32, or 64 of 64-bit Sobol."),
    "rand4": Drawing("uint32x4", _FOUR, (), False, "Four integers."),
    "uniform": Drawing("float32", (*_ALL, "Test"), (), False, "A number in (0, 1]."),
    "uniform_double": Drawing("float64", (*_ALL, "Test"), (), False, "A number in (0, 1], in double precision."),
    "uniform4": Drawing("float32x4", _FOUR, (), False, "Four numbers in (0, 1]."),
    "uniform2_double": Drawing("float64x2", _FOUR, (), False, "Two numbers in (0, 1], in double precision."),
    "normal": Drawing("float32", _ALL, (), False, "A number of mean 0 and deviation 1."),
    "normal_double": Drawing("float64", _ALL, (), False, "A number of mean 0 and deviation 1, in double precision."),
    "normal2": Drawing("float32x2", _TWO, (), False, "Two numbers of mean 0 and deviation 1."),
    "normal2_double": Drawing("float64x2", _TWO, (), False, "Two such, in double precision."),
    "normal4": Drawing("float32x4", _FOUR, (), False, "Four numbers of mean 0 and deviation 1."),
    "log_normal": Drawing("float32", _ALL, _F, False, "exp of a normal one: (state, mean, stddev)."),
    "log_normal_double": Drawing("float64", _ALL, _D, False, "exp of a normal number, in double precision."),
    "log_normal2": Drawing("float32x2", _TWO, _F, False, "exp of two normal numbers: (state, mean, stddev)."),
    "log_normal2_double": Drawing("float64x2", _TWO, _D, False, "exp of two normal numbers, in double precision."),
    "log_normal4": Drawing("float32x4", _FOUR, _F, False, "exp of four normal numbers: (state, mean, stddev)."),
    "poisson": Drawing("uint32", _ALL, ("float64",), False, "A number of events of which Lambda are expected."),
    "poisson4": Drawing("uint32x4", _FOUR, ("float64",), False, "Four such numbers."),
    "skipahead": Drawing("", (*_PSEUDO, "Test"), ("uint64",), True, "Pass over n numbers: (n, state)."),
    "skipahead_sequence": Drawing("", _TWO, ("uint64",), True, "Pass over n sequences: (n, state)."),
    "skipahead_subsequence": Drawing("", ("MRG32k3a",), ("uint64",), True, "Pass over n subsequences: (n, state)."),
}

init = KernelFunction(
    "init",
    "random.init",
    """Start a generator: (seed, subsequence, offset, state), for Sobol's (vectors, offset, state), and for scrambled
    ones (vectors, scramble, offset, state).""",
)

load = KernelFunction(
    "load",
    "random.load",
    "A state's copy in registers: a thread that draws many numbers from it draws faster than from memory.",
)
store = KernelFunction("store", "random.store", "Put the copy of a state back: (copy, state).")


def _draw(name: str) -> Any:
    return KernelFunction(name, f"random.{name}", FUNCTIONS[name].doc)


rand, rand4 = _draw("rand"), _draw("rand4")
uniform, uniform_double = _draw("uniform"), _draw("uniform_double")
uniform4, uniform2_double = _draw("uniform4"), _draw("uniform2_double")
normal, normal_double = _draw("normal"), _draw("normal_double")
normal2, normal2_double, normal4 = _draw("normal2"), _draw("normal2_double"), _draw("normal4")
log_normal, log_normal_double = _draw("log_normal"), _draw("log_normal_double")
log_normal2, log_normal2_double = _draw("log_normal2"), _draw("log_normal2_double")
log_normal4 = _draw("log_normal4")
poisson, poisson4 = _draw("poisson"), _draw("poisson4")
skipahead, skipahead_sequence = _draw("skipahead"), _draw("skipahead_sequence")
skipahead_subsequence = _draw("skipahead_subsequence")

__all__ = [
    "Compile",
    "StatesMRG32k3a",
    "StatesPhilox4_32_10",
    "StatesScrambledSobol32",
    "StatesScrambledSobol64",
    "StatesSobol32",
    "StatesSobol64",
    "StatesTest",
    "StatesXORWOW",
    "init",
    "load",
    "store",
    *FUNCTIONS,
]
