"""Addresses of the sparse solver's own kernels (kernels.h), for prepared calls, and what is made of their results."""

cimport numpy as cnp
from libc.math cimport INFINITY, hypot
from libc.stdint cimport intptr_t
from libc.stdlib cimport free, malloc

from planmath.native.call cimport Call, pm_call, pm_run, word

cnp.import_array()

cdef extern from "kernels.h":
    enum: PM_FULL, PM_LOWER, PM_UPPER
    enum: PM_RIGHT, PM_START, PM_DECREASING, PM_LENGTH, PM_RANGE, PM_UNSORTED, PM_DUPLICATE
    enum: PM_ROW, PM_COLUMN, PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_EMPTY_ROW, PM_EMPTY_COLUMN, PM_NO_DIAGONAL, \
        PM_CHECKSUM, PM_FACTS
    void *pm_differ
    void *pm_check_i32_any
    void *pm_check_i64_any
    enum: PM_SYMMETRIC, PM_HERMITIAN, PM_POSITIVE_DIAGONAL
    void *pm_upper_i32_any
    void *pm_upper_i64_any
    void *pm_pairs_i32_any
    void *pm_pairs_i64_any
    void *pm_symmetries_i32_f32
    void *pm_symmetries_i32_f64
    void *pm_symmetries_i32_c64
    void *pm_symmetries_i32_c128
    void *pm_symmetries_i64_f32
    void *pm_symmetries_i64_f64
    void *pm_symmetries_i64_c64
    void *pm_symmetries_i64_c128
    void *pm_project_i32_f32
    void *pm_project_i32_f64
    void *pm_project_i32_c64
    void *pm_project_i32_c128
    void *pm_measure_i32_f32
    void *pm_measure_i32_f64
    void *pm_measure_i32_c64
    void *pm_measure_i32_c128
    void *pm_measure_i64_f32
    void *pm_measure_i64_f64
    void *pm_measure_i64_c64
    void *pm_measure_i64_c128
    void *pm_residual_i32_f32
    void *pm_residual_i32_f64
    void *pm_residual_i32_c64
    void *pm_residual_i32_c128
    void *pm_residual_i64_f32
    void *pm_residual_i64_f64
    void *pm_residual_i64_c64
    void *pm_residual_i64_c128
    void *pm_magnitudes_i32_f32
    void *pm_magnitudes_i32_f64
    void *pm_magnitudes_i32_c64
    void *pm_magnitudes_i32_c128
    void *pm_magnitudes_i64_f32
    void *pm_magnitudes_i64_f64
    void *pm_magnitudes_i64_c64
    void *pm_magnitudes_i64_c128
    void *pm_place_i32_f32
    void *pm_place_i32_f64
    void *pm_place_i32_c64
    void *pm_place_i32_c128

FULL, LOWER, UPPER = PM_FULL, PM_LOWER, PM_UPPER
RIGHT, START, DECREASING, LENGTH, RANGE, UNSORTED, DUPLICATE = \
    PM_RIGHT, PM_START, PM_DECREASING, PM_LENGTH, PM_RANGE, PM_UNSORTED, PM_DUPLICATE
ROW, COLUMN, LOWER_BANDWIDTH, UPPER_BANDWIDTH, EMPTY_ROW, EMPTY_COLUMN, NO_DIAGONAL, CHECKSUM, FACTS = \
    PM_ROW, PM_COLUMN, PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_EMPTY_ROW, PM_EMPTY_COLUMN, PM_NO_DIAGONAL, \
    PM_CHECKSUM, PM_FACTS

SYMMETRIC, HERMITIAN, POSITIVE_DIAGONAL = PM_SYMMETRIC, PM_HERMITIAN, PM_POSITIVE_DIAGONAL

#: f(bytes, a, b): whether two blocks of memory differ.
DIFFER = <intptr_t>&pm_differ

#: index dtype -> f(n, length, view, starts, columns, seen, facts)
CHECK = {"int32": <intptr_t>&pm_check_i32_any, "int64": <intptr_t>&pm_check_i64_any}

#: index dtype -> f(n, view, sign, starts, columns, upper_starts, upper_columns, source)
UPPER_PART = {"int32": <intptr_t>&pm_upper_i32_any, "int64": <intptr_t>&pm_upper_i64_any}

#: index dtype -> f(n, starts, columns, lower, upper, diagonal, next), which returns whether an entry has no mirror image
PAIRS = {"int32": <intptr_t>&pm_pairs_i32_any, "int64": <intptr_t>&pm_pairs_i64_any}

#: (index dtype, dtype) -> f(n, count, lower, upper, diagonal, values, expected), which returns what they are, or whether
#: they lack something
SYMMETRIES = {
    ("int32", "float32"): <intptr_t>&pm_symmetries_i32_f32, ("int64", "float32"): <intptr_t>&pm_symmetries_i64_f32,
    ("int32", "float64"): <intptr_t>&pm_symmetries_i32_f64, ("int64", "float64"): <intptr_t>&pm_symmetries_i64_f64,
    ("int32", "complex64"): <intptr_t>&pm_symmetries_i32_c64, ("int64", "complex64"): <intptr_t>&pm_symmetries_i64_c64,
    ("int32", "complex128"): <intptr_t>&pm_symmetries_i32_c128, ("int64", "complex128"): <intptr_t>&pm_symmetries_i64_c128,
}

#: dtype -> f(n, columns, w, x, out)
PROJECT = {
    "float32": <intptr_t>&pm_project_i32_f32, "float64": <intptr_t>&pm_project_i32_f64,
    "complex64": <intptr_t>&pm_project_i32_c64, "complex128": <intptr_t>&pm_project_i32_c128,
}

#: dtype -> f(n, source, positions, values, placed, erased)
PLACE = {
    "float32": <intptr_t>&pm_place_i32_f32, "float64": <intptr_t>&pm_place_i32_f64,
    "complex64": <intptr_t>&pm_place_i32_c64, "complex128": <intptr_t>&pm_place_i32_c128,
}

#: (index dtype, dtype) -> f(n, view, hermitian, starts, columns, values, v, w, sums, out): whether a value is not finite
MEASURE = {
    ("int32", "float32"): <intptr_t>&pm_measure_i32_f32, ("int64", "float32"): <intptr_t>&pm_measure_i64_f32,
    ("int32", "float64"): <intptr_t>&pm_measure_i32_f64, ("int64", "float64"): <intptr_t>&pm_measure_i64_f64,
    ("int32", "complex64"): <intptr_t>&pm_measure_i32_c64, ("int64", "complex64"): <intptr_t>&pm_measure_i64_c64,
    ("int32", "complex128"): <intptr_t>&pm_measure_i32_c128, ("int64", "complex128"): <intptr_t>&pm_measure_i64_c128,
}

#: (index dtype, dtype) -> f(n, n_columns, view, hermitian, starts, columns, values, x, b, r, work, out)
RESIDUAL = {
    ("int32", "float32"): <intptr_t>&pm_residual_i32_f32, ("int64", "float32"): <intptr_t>&pm_residual_i64_f32,
    ("int32", "float64"): <intptr_t>&pm_residual_i32_f64, ("int64", "float64"): <intptr_t>&pm_residual_i64_f64,
    ("int32", "complex64"): <intptr_t>&pm_residual_i32_c64, ("int64", "complex64"): <intptr_t>&pm_residual_i64_c64,
    ("int32", "complex128"): <intptr_t>&pm_residual_i32_c128, ("int64", "complex128"): <intptr_t>&pm_residual_i64_c128,
}

#: (index dtype, dtype) -> f(n, n_columns, view, starts, columns, values, x, b, sums)
MAGNITUDES = {
    ("int32", "float32"): <intptr_t>&pm_magnitudes_i32_f32, ("int64", "float32"): <intptr_t>&pm_magnitudes_i64_f32,
    ("int32", "float64"): <intptr_t>&pm_magnitudes_i32_f64, ("int64", "float64"): <intptr_t>&pm_magnitudes_i64_f64,
    ("int32", "complex64"): <intptr_t>&pm_magnitudes_i32_c64, ("int64", "complex64"): <intptr_t>&pm_magnitudes_i64_c64,
    ("int32", "complex128"): <intptr_t>&pm_magnitudes_i32_c128, ("int64", "complex128"): <intptr_t>&pm_magnitudes_i64_c128,
}


def address(cnp.ndarray array not None):
    """Address of the first element."""
    return <intptr_t>cnp.PyArray_DATA(array)


def largest_errors(cnp.ndarray sizes not None, double norm):
    """The largest backward error and growth of the columns of a solution; NaN where one is.

    Parameters
    ----------
    sizes : numpy.ndarray of shape (columns, 3), float64, dense
        Of each column, the sizes of r, x and b.
    norm : float
        The matrix's.
    """
    cdef const double *size = <const double *>cnp.PyArray_DATA(sizes)
    cdef double product, scale, error = 0, growth = 0
    cdef Py_ssize_t i
    for i in range(cnp.PyArray_DIMS(sizes)[0]):
        product = norm * size[1]
        scale = product + size[2]
        error = larger(error, size[0] / scale if scale != 0 else 0)
        growth = larger(growth, product / size[2] if size[2] != 0 else 0)
        size += 3
    return error, growth


def estimated_errors(cnp.ndarray projected not None, double norm):
    """The largest backward error, estimated, and growth of the columns of a solution, and whether all sizes are finite.

    Parameters
    ----------
    projected : numpy.ndarray of shape (2, columns, 3), float64, dense
        Of each column of b and then of x, real and imaginary part of its projection, and its size.
    norm : float
        The matrix's.
    """
    cdef Py_ssize_t columns = cnp.PyArray_DIMS(projected)[1], i
    cdef const double *b = <const double *>cnp.PyArray_DATA(projected)
    cdef const double *x = b + 3 * columns
    cdef double product, scale, error = 0, growth = 0
    cdef bint finite = True
    for i in range(columns):
        product = norm * x[2]
        scale = product + b[2]
        finite = finite and scale < INFINITY
        error = larger(error, hypot(b[0] - x[0], b[1] - x[1]) / scale if scale != 0 else 0)
        growth = larger(growth, product / b[2] if b[2] != 0 else 0)
        b += 3
        x += 3
    return error, growth, finite


cpdef double larger(double a, double b):
    """The larger of the two; NaN where one is."""
    return a if a > b or a != a else b


def run(list steps):
    """Make calls in order, in one stretch without the Python lock.

    Parameters
    ----------
    steps : list of (Call, tuple of int)
        Each call with the addresses that it is made on.
    """
    cdef Py_ssize_t n = len(steps), words = 0, used = 0, i
    cdef const pm_call **calls
    cdef word **operands
    cdef word *memory
    cdef tuple addresses
    for step in steps:
        words += len(<tuple?>step[1])
    calls = <const pm_call **>malloc(n * sizeof(void *) + n * sizeof(void *) + words * sizeof(word) + 1)
    if calls == NULL:
        raise MemoryError(f"no memory for a list of {n} calls")
    operands = <word **>(calls + n)
    memory = <word *>(operands + n)
    try:
        for i in range(n):
            call, addresses = steps[i]
            if (<Call?>call).highest_slot >= len(addresses):
                raise ValueError(f"{call.name}: {len(addresses)} addresses; it refers to number {call.highest_slot}")
            calls[i], operands[i] = &(<Call>call).native, memory + used
            for address in addresses:
                memory[used] = address
                used += 1
        with nogil:
            for i in range(n):
                pm_run(calls[i], operands[i])
    finally:
        free(calls)
