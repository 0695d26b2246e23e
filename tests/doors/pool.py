"""Processes get operands and plan for themselves; an operation that is sent to one says so."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

import planmath


def spectrum(x):
    return planmath.fft.rfft(x)  # which keeps its plan for the next call in that process


if __name__ == "__main__":
    xs = [np.full(64, float(i)) for i in range(4)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        results = list(pool.map(spectrum, xs))
    assert all(np.allclose(result, np.fft.rfft(x)) for result, x in zip(results, xs, strict=True))
    with planmath.fft.FFT(xs[0]) as transform:
        transform.plan()
        try:
            pickle.dumps(transform)
        except TypeError as error:
            print("multiprocessing:", error)
