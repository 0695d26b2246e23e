"""Addresses of the sparse solver's own kernels (kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

cdef extern from "kernels.h":
    enum: PM_FULL, PM_LOWER, PM_UPPER
    enum: PM_RIGHT, PM_START, PM_DECREASING, PM_LENGTH, PM_RANGE, PM_UNSORTED, PM_DUPLICATE
    enum: PM_ROW, PM_COLUMN, PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_EMPTY_ROW, PM_EMPTY_COLUMN, PM_NO_DIAGONAL, \
        PM_CHECKSUM, PM_FACTS
    void *pm_same
    void *pm_check_i32_any
    void *pm_check_i64_any
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

#: f(bytes, a, b): whether two blocks of memory are equal.
SAME = <intptr_t>&pm_same

#: index dtype -> f(n, length, view, starts, columns, seen, facts)
CHECK = {"int32": <intptr_t>&pm_check_i32_any, "int64": <intptr_t>&pm_check_i64_any}

#: dtype -> f(n, columns, w, x, out)
PROJECT = {
    "float32": <intptr_t>&pm_project_i32_f32, "float64": <intptr_t>&pm_project_i32_f64,
    "complex64": <intptr_t>&pm_project_i32_c64, "complex128": <intptr_t>&pm_project_i32_c128,
}

#: dtype -> f(n, source, positions, values, placed)
PLACE = {
    "float32": <intptr_t>&pm_place_i32_f32, "float64": <intptr_t>&pm_place_i32_f64,
    "complex64": <intptr_t>&pm_place_i32_c64, "complex128": <intptr_t>&pm_place_i32_c128,
}

#: (index dtype, dtype) -> f(n, view, hermitian, starts, columns, values, v, w, sums, out)
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
