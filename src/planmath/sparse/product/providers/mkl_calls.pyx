"""Addresses of MKL's sparse routines in a form for prepared calls (mkl_calls.h)."""

from libc.stdint cimport int64_t, intptr_t

cdef extern from "mkl_calls.h":
    enum: PM_CSR, PM_CSC, PM_COO, PM_BSR
    int pm_create(...)
    int pm_mv_s(...)
    int pm_mv_d(...)
    int pm_mv_c(...)
    int pm_mv_z(...)
    int pm_mm_s(...)
    int pm_mm_d(...)
    int pm_mm_c(...)
    int pm_mm_z(...)

CSR, CSC, COO, BSR = PM_CSR, PM_CSC, PM_COO, PM_BSR
#: Words of a description of a matrix: handle, kind, rows, columns, extra, layout; addresses of the functions to make, end,
#: hint and optimize; operation, expected executions (0: not optimized), layout and columns of the product.
WORDS = 14
#: f(matrix, first index array, second one, values, bytes of an index): makes a handle.
CREATE = <intptr_t>&pm_create
#: letter -> f(matrix, routine, operation, x, y, alpha, beta)
MV = {"s": <intptr_t>&pm_mv_s, "d": <intptr_t>&pm_mv_d, "c": <intptr_t>&pm_mv_c, "z": <intptr_t>&pm_mv_z}
#: letter -> f(matrix, routine, operation, b, c, alpha, beta, layout, columns, ldb, ldc)
MM = {"s": <intptr_t>&pm_mm_s, "d": <intptr_t>&pm_mm_d, "c": <intptr_t>&pm_mm_c, "z": <intptr_t>&pm_mm_z}
