"""cuRAND's distributions in Python: uniform ones bit for bit, the others to the rounding of a device's functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from planmath.device.random.generators import MRG32k3a, Philox4_32_10, State

_32, _53 = 2.0**-32, 2.0**-53
_TAU = np.float32(6.2831855)
_f = np.float32


def uniform(state: State) -> Any:
    """(0, 1] in single precision."""
    if isinstance(state, MRG32k3a):
        return _f(state.word() * 2.3283065498378288e-10)
    return _uniform(state.next() >> (state.bits - 32))


def _uniform(word: int) -> Any:
    return _f(float(_f(word)) * _32 + _32 / 2)


def uniform_double(state: State) -> float:
    """(0, 1] in double precision."""
    if isinstance(state, MRG32k3a):
        return state.word() * 2.3283065498378288e-10
    if state.bits == 64:
        return (state.next() >> 11) * _53 + _53 / 2
    if type(state).__name__ == "XORWOW":
        return _fine(state.next(), state.next())
    return state.next() * _32 + _32


def _fine(low: int, high: int) -> float:
    return (low ^ high << 21) * _53 + _53 / 2


def uniform4(state: Philox4_32_10) -> tuple[Any, ...]:
    return tuple(map(_uniform, state.next4()))


def uniform2_double(state: Philox4_32_10) -> tuple[float, float]:
    a, b, c, d = state.next4()
    return _fine(a, b), _fine(c, d)


# Normal.


def _pair(state: State) -> tuple[Any, Any]:
    """Two normal numbers in single precision."""
    if isinstance(state, MRG32k3a):
        u, v = uniform(state), uniform(state) * _TAU
        return _box_muller(u, v)
    return _pair_of(state.next(), state.next())


def _pair_of(x: int, y: int) -> tuple[Any, Any]:
    step = _f(_f(_32) * _TAU)
    return _box_muller(_uniform(x), _f(float(_f(y)) * float(step) + float(step) / 2))


def _box_muller(u: Any, v: Any) -> tuple[Any, Any]:
    s = np.sqrt(_f(-2) * np.log(u))
    return _f(s * np.sin(v)), _f(s * np.cos(v))


def _pair_double(state: State) -> tuple[float, float]:
    if isinstance(state, MRG32k3a):
        u, v = uniform_double(state), uniform_double(state) * 2
    else:
        words = state.next4() if isinstance(state, Philox4_32_10) else [state.next() for _ in range(4)]
        u, v = _fine(*words[:2]), 2 * _fine(*words[2:])
    s = math.sqrt(-2 * math.log(u))
    return s * math.sin(math.pi * v), s * math.cos(math.pi * v)


def _inverse(state: State, double: bool) -> float:
    """By the inverse of the distribution, for quasi-random numbers."""
    from scipy.special import erfcinv

    word, bits = state.next(), state.bits
    if double and bits == 64:
        word, bits = word >> 11, 53
    elif bits == 64:
        word, bits = word >> 32, 32
    sign = -math.sqrt(2)
    if word > 1 << (bits - 1):
        word, sign = (1 << bits) - 1 - word, -sign
    return float(sign * erfcinv(2 * (word * 2.0**-bits + 2.0 ** -(bits + 1))))


def _in_turn(state: State, kind: str, pair: Callable[[], tuple[Any, Any]]) -> Any:
    """The first of a pair, and next time the second one."""
    precision, _, distribution = kind.partition(" ")
    found = state.extra.pop(precision, None)
    if found is not None and found[0] == distribution:
        return found[1]
    first, second = pair()
    state.extra[precision] = (distribution, second)
    return first


def normal(state: State) -> Any:
    if state.quasi:
        return _f(_inverse(state, False))
    return _in_turn(state, "single normal", lambda: _pair(state))


def normal_double(state: State) -> float:
    if state.quasi:
        return _inverse(state, True)
    return _in_turn(state, "double normal", lambda: _pair_double(state))


def normal2(state: State) -> tuple[Any, Any]:
    return _pair(state)


def normal2_double(state: State) -> tuple[float, float]:
    return _pair_double(state)


def normal4(state: Philox4_32_10) -> tuple[Any, ...]:
    a, b, c, d = state.next4()
    return _pair_of(a, b) + _pair_of(c, d)


# Log-normal.


def _exp(value: Any, mean: Any, stddev: Any) -> Any:
    return _f(np.exp(_f(mean) + _f(stddev) * _f(value)))


def _exp_double(value: float, mean: float, stddev: float) -> float:
    return math.exp(mean + stddev * value)


def log_normal(state: State, mean: Any, stddev: Any) -> Any:
    if state.quasi:
        return _exp(_inverse(state, False), mean, stddev)
    return _in_turn(
        state,
        "single log-normal",
        lambda: tuple(_exp(each, mean, stddev) for each in _pair(state)),
    )


def log_normal_double(state: State, mean: float, stddev: float) -> float:
    if state.quasi:
        return _exp_double(_inverse(state, True), mean, stddev)
    return _in_turn(
        state,
        "double log-normal",
        lambda: tuple(_exp_double(each, mean, stddev) for each in _pair_double(state)),  # type: ignore[arg-type,return-value]
    )


def log_normal2(state: State, mean: Any, stddev: Any) -> tuple[Any, ...]:
    return tuple(_exp(each, mean, stddev) for each in _pair(state))


def log_normal2_double(state: State, mean: float, stddev: float) -> tuple[float, ...]:
    return tuple(_exp_double(each, mean, stddev) for each in _pair_double(state))


def log_normal4(state: Philox4_32_10, mean: Any, stddev: Any) -> tuple[Any, ...]:
    return tuple(_exp(each, mean, stddev) for each in normal4(state))


# Poisson.


def poisson(state: State, mean: float) -> int:
    if state.quasi:
        return _poisson_quasi(state, mean)
    if mean < 64:
        return _knuth(state, mean)
    if mean > 4000:
        return int(math.sqrt(mean) * normal_double(state) + mean + 0.5)
    return _rejected(state, mean)


def poisson4(state: Philox4_32_10, mean: float) -> tuple[int, ...]:
    if mean > 4000:
        return tuple(int(math.sqrt(mean) * each + mean + 0.5) for each in (*_pair_double(state), *_pair_double(state)))
    return tuple(_knuth(state, mean) if mean < 64 else _rejected(state, mean) for _ in range(4))


def _knuth(state: State, mean: float) -> int:
    """D. Knuth, The Art of Computer Programming, volume 2, 3.4.1."""
    count, product = 0, np.exp(_f(mean))
    while True:
        product = _f(product * uniform(state))
        if not product > 1:
            return count
        count += 1


def _rejected(state: State, mean: float) -> int:
    """By an approximation of the incomplete gamma function, which is inverted and then corrected by rejection."""
    mean = float(_f(mean))
    alpha = 1.4324803507554091 / math.sqrt(mean - 0.12400979329415655) + 0.00025361074907033
    beta = 0.21096734870196546 / math.sqrt(mean - 1.9738116413999420) + 0.94201734077887530

    def below(x: float) -> float:
        return (1 + math.exp(alpha * (mean - x) - beta)) ** -2

    while True:
        y = float(uniform(state))
        inner = 1 / math.sqrt(y) - 1
        # at y = 1 the logarithm is -inf, and so is the proposal: it is rejected
        x = math.floor(mean - (beta + math.log(inner)) / alpha) if inner > 0 else None
        z = float(uniform(state))
        if x is None:
            continue
        width = (below(x + 1.0) - below(x)) * 1.3
        if x >= 0 and width >= 1e-20 and z * width < math.exp(-mean + x * math.log(mean) - math.lgamma(x + 1.0)):
            return int(x)


def _poisson_quasi(state: State, mean: float) -> int:
    if mean >= 1000:
        return int(math.sqrt(mean) * _inverse(state, True) + mean + 0.5)
    u = state.next() * _32 + _32 / 2 if state.bits == 32 else (state.next() >> 11) * _53 + _53 / 4
    probability = total = 1.0
    count, power = 0, 0
    while True:
        factor = math.exp(-500.0 if mean > power + 500 else power - mean)
        probability, total, power = probability * factor, total * factor, power + 500
        while u > total:
            count += 1
            probability *= mean / count
            total += probability
        if not power < mean:
            return count
