"""Processes get operations with their operands, and plan them for themselves: multiprocessing, joblib, dask."""

from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context

import numpy as np
import scipy.sparse as sp

import planmath


def spectrum(transform, x):
    transform.reset_operand(x)
    return transform.execute()


def solution(solver, b):
    solver.factorize()  # a factorization is not sent
    return solver.solve(b)


if __name__ == "__main__":
    xs = [np.full(64, float(i)) for i in range(4)]
    a = sp.csr_array(sp.diags_array([np.full(63, -1.0), np.full(64, 4.0), np.full(63, -1.0)], offsets=[-1, 0, 1]))
    with planmath.fft.FFT(xs[0]) as transform, planmath.sparse.advanced.DirectSolver(a, xs[0]) as solver:
        transform.plan()
        solver.plan()
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            spectra = list(pool.map(spectrum, [transform] * 4, xs))
            solutions = list(pool.map(solution, [solver] * 4, xs))
        assert all(np.allclose(found, np.fft.rfft(x)) for found, x in zip(spectra, xs, strict=True))
        assert all(np.allclose(a @ found, x) for found, x in zip(solutions, xs, strict=True))
        print("multiprocessing: transforms and solvers are planned where they arrive")
        if find_spec("joblib"):
            from joblib import Parallel, delayed

            spectra = Parallel(2)(delayed(spectrum)(transform, x) for x in xs)
            assert all(np.allclose(found, np.fft.rfft(x)) for found, x in zip(spectra, xs, strict=True))
            print("joblib: the same")
        if find_spec("dask"):
            import dask

            calls = [dask.delayed(spectrum)(transform, x) for x in xs]
            spectra = dask.compute(*calls, scheduler="processes", num_workers=1)
            assert all(np.allclose(found, np.fft.rfft(x)) for found, x in zip(spectra, xs, strict=True))
            print("dask: the same")
