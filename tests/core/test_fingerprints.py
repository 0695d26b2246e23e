"""Functions have one digest where a compiler makes the same of them, and only there."""

from __future__ import annotations

import collections
import math
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from planmath.core.cuda.compiling import compiling_for
from planmath.core.fingerprints import fingerprint

numba = pytest.importorskip("numba", reason="numba is not installed")


def using(*values):
    """A function that computes with values."""
    return lambda x: (x, values)


def same(one, other):
    first, second = fingerprint(one), fingerprint(other)
    assert first is not None
    assert second is not None
    return first == second


def helpers():
    return (lambda x: x + 1), (lambda x: x + 2)


def ordinary(by, helper):
    def function(x):
        return np.exp(x) * math.sqrt(by) + math.pi * helper(x) + np.linalg.norm(TABLE) + np.float32(len(TABLE))

    return function


TABLE = np.arange(3.0)


def test_ordinary_functions_have_digests():
    def helper():
        return numba.njit(lambda x: abs(x) + 1)

    assert same(ordinary(2, helper()), ordinary(2, helper()))
    assert not same(ordinary(2, helper()), ordinary(3, helper()))
    assert not same(ordinary(2, helper()), ordinary(2, numba.njit(fastmath=True)(lambda x: abs(x) + 1)))
    assert not same(ordinary(2, helper()), ordinary(2, numba.njit(lambda x: abs(x) + 2)))
    steady = np, math, np.sin, np.float64, np.dtype("f4"), numba.float32, numba.prange, int, abs
    assert same(using(*steady), using(*steady))
    for one, other in ((np.sin, np.cos), (numba.float32, numba.float64), (abs, len), (np, math)):
        assert not same(using(one), using(other))


def test_which_function_comes_again():
    f, g = helpers()
    assert same(using(f, g, f), using(f, g, f))
    assert not same(using(f, g, f), using(f, g, g))


def test_fields_of_dtypes():
    one, other = np.dtype([("re", "f8"), ("im", "f8")]), np.dtype([("im", "f8"), ("re", "f8")])
    assert not same(using(np.zeros(2, one)), using(np.zeros(2, other)))
    assert not same(using(np.zeros(2, one)[0]), using(np.zeros(2, other)[0]))
    assert same(using(np.zeros(2, one)), using(np.zeros(2, one)))


def test_fields_of_tuples():
    one, other = (collections.namedtuple("Pair", fields) for fields in ("re im", "im re"))
    assert same(using(one(1, 2)), using(one(1, 2)))
    assert not same(using(one(1, 2)), using(other(1, 2)))

    class Own(list):
        pass

    assert fingerprint(using(Own([1]))) is None


def plain(x):
    return x


def test_what_numba_was_told_of_a_function():
    single, double = numba.njit("float32(float32)")(plain), numba.njit("float64(float64)")(plain)
    assert not same(using(single), using(double))
    assert same(using(double), using(numba.njit("float64(float64)")(plain)))
    free = numba.njit(plain)
    before = fingerprint(using(free))
    free(1.0)
    assert fingerprint(using(free)) == before, "what it was compiled for meanwhile does not matter"
    assert not same(using(free), using(double))
    assert not same(using(free), using(numba.njit(locals={"x": numba.float32})(plain)))


def test_functions_for_c():
    one, again = (numba.cfunc("float64(float64)")(lambda x: x + 1) for _ in range(2))
    other = numba.cfunc("float64(float64)")(lambda x: x + 2)
    single = numba.cfunc("float32(float32)")(lambda x: x + 1)
    assert same(using(one), using(again))
    assert not same(using(one), using(other))
    assert not same(using(one), using(single))


def test_what_is_only_like_what_is_steady():
    impostor = SimpleNamespace(__module__="numpy", __qualname__="sin")
    for value in (impostor, [].append, np.random.default_rng(1), numba.vectorize(plain)):
        assert fingerprint(using(value)) is None


def test_threads_compile_for_other_devices(monkeypatch):
    dispatcher = SimpleNamespace(get_current_device=lambda: "the current one")
    monkeypatch.setitem(sys.modules, "numba.cuda.dispatcher", dispatcher)
    inside, left = threading.Event(), threading.Event()

    def compile_meanwhile():
        with compiling_for((8, 0)):
            inside.set()
            left.wait(20)
            found.append(dispatcher.get_current_device().compute_capability)

    found: list[tuple[int, int]] = []
    thread = threading.Thread(target=compile_meanwhile)
    with compiling_for((9, 0)):
        thread.start()
        inside.wait(20)
        assert dispatcher.get_current_device().compute_capability == (9, 0)
    left.set()
    thread.join()
    assert found == [(8, 0)]
    assert dispatcher.get_current_device() == "the current one"
