"""Addresses of the dense solver's own kernels (kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

from planmath.native.team import SHARE

cdef extern from "kernels.h":
    enum: PM_SYMMETRIC, PM_HERMITIAN, PM_UNIT, PM_MEASURE, PM_CONJUGATE
    enum: PM_TAKE, PM_GIVE, PM_JUDGE, PM_SWAP, PM_DIVIDE, PM_ZEROS, PM_DETECT, PM_FACTOR_LANES, PM_SOLVE_LANES, PM_DEMOTE, PM_BEGIN, PM_CORRECT, PM_LOOK, PM_RANK, PM_PERMUTE, PM_LU, PM_DEFICIENT, PM_VECTOR_BYTES, PM_MOST_THREADS, PM_MOST_UNKNOWNS
    enum: PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_IS_SYMMETRIC, PM_IS_HERMITIAN, PM_IS_POSITIVE, PM_FACTS
    void *pm_factorized
    void *pm_wipe
    void *pm_wipe_behind
    void *pm_unrefined
    enum: PM_ERROR, PM_GROWTH, PM_STEPS, PM_STATE, PM_SCALES, PM_DONE
    void **pm_best_kernels() except NULL
    void pm_set_share(intptr_t address)

pm_set_share(SHARE)
cdef void **kernels = pm_best_kernels()

SYMMETRIC, HERMITIAN, UNIT, MEASURE, CONJUGATE = PM_SYMMETRIC, PM_HERMITIAN, PM_UNIT, PM_MEASURE, PM_CONJUGATE
LOWER_BANDWIDTH, UPPER_BANDWIDTH, IS_SYMMETRIC, IS_HERMITIAN, IS_POSITIVE, FACTS = \
    PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_IS_SYMMETRIC, PM_IS_HERMITIAN, PM_IS_POSITIVE, PM_FACTS

_DTYPES = ("float32", "float64", "complex64", "complex128")

#: f(count, status, squares, is_single), which returns whether one is not ordinary
FACTORIZED = <intptr_t>&pm_factorized

#: f(col, first, end, k, itemsize, x)
WIPE = <intptr_t>&pm_wipe

#: f(col, address of first, end, k, itemsize, x)
WIPE_BEHIND = <intptr_t>&pm_wipe_behind

#: dtype -> f(least, cols, step, f, tolerance, rank): the rank of a triangle, and how many columns are left
RANK = {dtype: <intptr_t>kernels[PM_RANK + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(n, k, col, pivots, x, work)
PERMUTE = {dtype: <intptr_t>kernels[PM_PERMUTE + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(flags, rows, cols, kl, ku, a_row, a_col, d_row, d_col, v, a, d, w, u, out); strides in elements.
TAKE = {dtype: <intptr_t>kernels[PM_TAKE + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(flags, n, k, b_row, b_col, x_row, x_col, v, b, x, out)
GIVE = {dtype: <intptr_t>kernels[PM_GIVE + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(flags, n, k, y_row, y_col, x_row, x_col, w, y, x, squares of a, out, limits), which returns whether one
#: of the solutions has to be looked at
JUDGE = {dtype: <intptr_t>kernels[PM_JUDGE + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(undo, n, k, row, pivots, x)
SWAP = {dtype: <intptr_t>kernels[PM_SWAP + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(n, k, row, col, d, x)
DIVIDE = {dtype: <intptr_t>kernels[PM_DIVIDE + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(n, step, d, status)
ZEROS = {dtype: <intptr_t>kernels[PM_ZEROS + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(n, leading, f, tolerance, status)
DEFICIENT = {dtype: <intptr_t>kernels[PM_DEFICIENT + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(n, row, col, a, facts)
DETECT = {dtype: <intptr_t>kernels[PM_DETECT + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(n, a, leading, pivots, status): the factors and pivots of `getrf`
LU = {dtype: <intptr_t>kernels[PM_LU + i] for i, dtype in enumerate(_DTYPES)}

#: Bytes of a vector, whose lanes have one system each, and threads of a batch, and unknowns, at most.
VECTOR, MOST_THREADS, MOST_UNKNOWNS = <intptr_t>kernels[PM_VECTOR_BYTES], PM_MOST_THREADS, PM_MOST_UNKNOWNS

#: dtype -> f(sizes, probe, a, f, w, u, norms, squares, order, status, scratch), which returns whether one is not
#: ordinary; sizes are n, count, definite, threads, the strides (step, row, col) of a, and
#: whether a definite matrix is conjugated.
FACTOR_BATCH = {dtype: <intptr_t>kernels[PM_FACTOR_LANES + i] for i, dtype in enumerate(_DTYPES)}

#: dtype -> f(sizes, probe, f, w, u, norms, order, b, x, scratch, out, limits), which returns whether one of the
#: solutions has to be looked at; sizes are n, k, count, definite, transposed, threads, the strides of b and x, the
#: bytes of scratch memory for each thread, and whether right-hand sides and solutions are conjugated.
SOLVE_BATCH = {dtype: <intptr_t>kernels[PM_SOLVE_LANES + i] for i, dtype in enumerate(_DTYPES)}

#: Where the facts of a solution that is refined are, the number of those that do not depend on its columns, and the
#: state of one that is accurate.
ERROR, GROWTH, STEPS, STATE, SCALES, DONE = PM_ERROR, PM_GROWTH, PM_STEPS, PM_STATE, PM_SCALES, PM_DONE

#: f(count, each, facts), which returns whether a solution could not be refined
UNREFINED = <intptr_t>&pm_unrefined

_DOUBLE = ("float64", "complex128")

#: dtype -> f(rows, cols, kl, ku, a, f, squares, scale): a in single precision
DEMOTE = {dtype: <intptr_t>kernels[PM_DEMOTE + i] for i, dtype in enumerate(_DOUBLE)}

#: dtype -> f(n, k, b, x, y, scale, facts)
BEGIN = {dtype: <intptr_t>kernels[PM_BEGIN + i] for i, dtype in enumerate(_DOUBLE)}

#: dtype -> f(n, k, y, b, x, r, facts): adds the correction y to x, and puts b into r
CORRECT = {dtype: <intptr_t>kernels[PM_CORRECT + i] for i, dtype in enumerate(_DOUBLE)}

#: dtype -> f(n, k, steps, last, b, r, x, y, squares, scale, facts, next, limits): decides whether to go on
LOOK = {dtype: <intptr_t>kernels[PM_LOOK + i] for i, dtype in enumerate(_DOUBLE)}
