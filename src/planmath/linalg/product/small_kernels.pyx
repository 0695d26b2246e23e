"""Addresses of the kernels for products of small matrices (small_kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

from planmath.native.team import SHARE

cdef extern from "small_kernels.h":
    enum: PM_MOST_EXTENT, PM_MOST_THREADS
    void **pm_best_kernels() except NULL
    void pm_set_share(intptr_t address)

pm_set_share(SHARE)

cdef void **kernels = pm_best_kernels()

#: Rows and columns of a factor, and threads of a batch, at most.
MOST_EXTENT, MOST_THREADS = PM_MOST_EXTENT, PM_MOST_THREADS

#: dtype -> f(sizes, alpha, beta, a, b, c, d): d = alpha a b + beta c for each of a batch. The sizes are m, n, k, count,
#: threads, and the strides of the operands in elements: (row, col, step) of a, b and c, (row, step) of d, whose
#: columns follow each other.
MULTIPLY = {
    dtype: <intptr_t>kernels[i] for i, dtype in enumerate(("float32", "float64", "complex64", "complex128"))
}
