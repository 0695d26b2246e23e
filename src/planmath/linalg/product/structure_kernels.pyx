"""Addresses of the kernels for matrices with a structure (structure_kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

cdef extern from "structure_kernels.h":
    enum: PM_SYMMETRIC, PM_HERMITIAN, PM_TRIANGULAR
    enum: PM_UPPER, PM_UNIT, PM_CONJUGATE, PM_CONJUGATE_X, PM_CONJUGATE_G
    enum: PM_EXPAND, PM_SPREAD, PM_SCALE
    void *pm_decide
    void *pm_unpack_16
    void *pm_unpack_32
    void *pm_unpack_64
    void *pm_unpack_128
    void *pm_unband_16
    void *pm_unband_32
    void *pm_unband_64
    void *pm_unband_128
    void **pm_best_kernels() except NULL

cdef void **kernels = pm_best_kernels()

#: The kinds of matrices that are expanded, by their structure's letters.
KIND = {"sy": PM_SYMMETRIC, "he": PM_HERMITIAN, "tr": PM_TRIANGULAR}
UPPER, UNIT, CONJUGATE = PM_UPPER, PM_UNIT, PM_CONJUGATE
CONJUGATE_X, CONJUGATE_G = PM_CONJUGATE_X, PM_CONJUGATE_G

#: f(size, parts, hermitian, alpha, beta, a, b, flags): the address of a function for all dtypes.
DECIDE = <intptr_t>&pm_decide

#: bytes of an element -> f(upper, n, step, src, dst)
UNPACK = {
    2: <intptr_t>&pm_unpack_16, 4: <intptr_t>&pm_unpack_32, 8: <intptr_t>&pm_unpack_64, 16: <intptr_t>&pm_unpack_128,
}

#: bytes of an element -> f(n, below, above, low, high, row, col, src, dst): the diagonals from `low` below the main one
#: to `high` above it.
UNBAND = {
    2: <intptr_t>&pm_unband_16, 4: <intptr_t>&pm_unband_32, 8: <intptr_t>&pm_unband_64, 16: <intptr_t>&pm_unband_128,
}

_DTYPES = ("float32", "float64", "complex64", "complex128")

#: dtype -> f(kind, flags, n, src_row, src_col, dst_row, dst_col, src, dst); strides in elements.
EXPAND = {dtype: <intptr_t>kernels[PM_EXPAND + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(flags, n, x_step, dst_row, dst_col, x, dst)
SPREAD = {dtype: <intptr_t>kernels[PM_SPREAD + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(flags, rows, cols, x_step, g_row, g_col, c_row, c_col, d_row, d_col, alpha, beta, x, g, c, d)
SCALE = {dtype: <intptr_t>kernels[PM_SCALE + i] for i, dtype in enumerate(_DTYPES)}
