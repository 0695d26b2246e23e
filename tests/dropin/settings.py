"""How programs set things: options in place, executions by name, preferences for the libraries of a GPU on the host."""

import logging
import sys

import cpu_arrays as cp
import numpy as np
import nvmath


def close(result, expected):
    return np.allclose(cp.numpy(result), expected)


def complex_numbers(*shape):
    return cp.random(*shape, dtype=cp.float64) + 1j * cp.random(*shape, dtype=cp.float64)


# Options are objects that a program fills in; an operation keeps those that it was made with.

a, b = complex_numbers(6, 4), complex_numbers(4, 5)
x, y = cp.numpy(a), cp.numpy(b)
options = nvmath.fft.FFTOptions()
options.result_layout = "natural"
with nvmath.fft.FFT(a, axes=[0], options=options) as transform:
    options.inplace = True
    transform.plan()
    print("transform's options:", close(transform.execute(), np.fft.fft(x, axis=0)) and close(a, x))
options = nvmath.linalg.advanced.MatmulOptions()
options.compute_type = nvmath.linalg.advanced.MatmulComputeType.COMPUTE_64F
print("product's options:", close(nvmath.linalg.advanced.matmul(a, b, options=options), x @ y))
options = nvmath.tensor.ContractionOptions()
options.memory_limit = "1 GiB"
print("contraction's options:", close(nvmath.tensor.binary_contraction("ij,jk", a, b, options=options), x @ y))

# Executions by their names, and by what they are to use.

for number, execution in enumerate(["CPU", {"name": "CPU"}, {"name": "cpu", "num_threads": 2}, {"num_threads": 1}]):
    print(f"execution {number}:", close(nvmath.fft.fft(a, axes=[1], execution=execution), np.fft.fft(x, axis=1)))

# Conjugates, which PyTorch does not carry out, as any operand and in a reset.

print("conjugates:", close(nvmath.linalg.advanced.matmul(a.conj(), b.conj()), x.conj() @ y.conj()))
with nvmath.linalg.advanced.Matmul(a.conj(), b, a.conj() @ b.conj(), beta=1.0) as mm:
    mm.plan()
    mm.reset_operands(a=(2 * a).conj())
    print("conjugate reset:", close(mm.execute(), 2 * x.conj() @ y + x.conj() @ y.conj()))

# What is said to cuTENSOR is a hint where it is not there.

logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
with nvmath.tensor.BinaryContraction("ij,jk->ik", a, b) as contraction:
    contraction.plan_preference.algo = nvmath.tensor.ContractionAlgo.GETT
    contraction.plan_preference.kernel_rank = 1
    contraction.plan_preference.jit = nvmath.tensor.ContractionJitMode.DEFAULT
    contraction.plan()
    print("contraction by preference:", close(contraction.execute(), x @ y))

# Sequences of systems have sequences of solutions, and a plan tells what it needs.

dense = [np.diag([4.0] * n) + np.diag([1.0] * (n - 1), 1) + np.diag([-1.0] * (n - 1), -1) for n in (5, 8)]
sides = [cp.random(len(matrix), dtype=cp.float64) for matrix in dense]
matrices = [cp.csr(matrix) for matrix in dense]
with nvmath.sparse.advanced.DirectSolver(matrices, sides) as solver:
    solver.plan()
    solver.factorize()
    solutions = solver.solve()
    expected = [np.linalg.solve(matrix, cp.numpy(side)) for matrix, side in zip(dense, sides, strict=True)]
    print("solutions:", isinstance(solutions, tuple) and all(map(close, solutions, expected)))
with nvmath.sparse.advanced.DirectSolver(matrices[0], sides[0]) as solver:
    solver.plan_config.nd_min_levels = 3
    info = solver.plan()
    print("memory:", info.memory_estimates.peak_host_memory >= 3 * 5 * 8)
    solver.factorize()
    print("solution by preference:", close(solver.solve(), expected[0]))
