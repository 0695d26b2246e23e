"""Addresses of the loops over two sparse matrices (pairs.h), and the places in their descriptors."""

from libc.stdint cimport intptr_t

from planmath.native.team import SHARE

cdef extern from "pairs.h":
    void pm_set_share(intptr_t address)
    enum: PM_WAY, PM_ROWS, PM_COLUMNS, PM_THREADS, PM_PARTS, PM_WIDE, PM_OFFSET_BYTES, PM_MASKED, PM_ROW_STEP, \
        PM_COLUMN_STEP, PM_POS_1, PM_CRD_1, PM_POS_2, PM_CRD_2, PM_POS_C, PM_CRD_C, PM_SCHEDULE, PM_STARTS, PM_BEFORE, \
        PM_PAIR_WORDS
    enum: PM_SCHEDULED, PM_GATHERED, PM_FILLED
    void pm_plus_times_f32_product(...)
    void pm_plus_times_f64_product(...)
    void pm_plus_times_c64_product(...)
    void pm_plus_times_c128_product(...)
    void pm_plus_first_f32_product(...)
    void pm_plus_first_f64_product(...)
    void pm_plus_second_f32_product(...)
    void pm_plus_second_f64_product(...)
    void pm_min_plus_f32_product(...)
    void pm_min_plus_f64_product(...)
    void pm_min_times_f32_product(...)
    void pm_min_times_f64_product(...)
    void pm_min_max_f32_product(...)
    void pm_min_max_f64_product(...)
    void pm_max_plus_f32_product(...)
    void pm_max_plus_f64_product(...)
    void pm_max_times_f32_product(...)
    void pm_max_times_f64_product(...)
    void pm_max_min_f32_product(...)
    void pm_max_min_f64_product(...)

pm_set_share(SHARE)

#: Places in a descriptor.
PLACE = {
    "way": PM_WAY, "rows": PM_ROWS, "columns": PM_COLUMNS, "threads": PM_THREADS, "parts": PM_PARTS, "wide": PM_WIDE,
    "offset_bytes": PM_OFFSET_BYTES, "masked": PM_MASKED, "row_step": PM_ROW_STEP, "column_step": PM_COLUMN_STEP,
    "pos_1": PM_POS_1, "crd_1": PM_CRD_1, "pos_2": PM_POS_2, "crd_2": PM_CRD_2, "pos_c": PM_POS_C, "crd_c": PM_CRD_C,
    "schedule": PM_SCHEDULE, "starts": PM_STARTS, "before": PM_BEFORE,
}
WORDS = PM_PAIR_WORDS
#: How a row is put together.
WAYS = {"scheduled": PM_SCHEDULED, "gathered": PM_GATHERED, "filled": PM_FILLED}

#: (semiring, dtype) -> f(descriptor, values of first, of second, c, alpha, beta, room)
PRODUCT = {
    ("plus_times", "float32"): <intptr_t>&pm_plus_times_f32_product,
    ("plus_times", "float64"): <intptr_t>&pm_plus_times_f64_product,
    ("plus_times", "complex64"): <intptr_t>&pm_plus_times_c64_product,
    ("plus_times", "complex128"): <intptr_t>&pm_plus_times_c128_product,
    ("plus_first", "float32"): <intptr_t>&pm_plus_first_f32_product,
    ("plus_first", "float64"): <intptr_t>&pm_plus_first_f64_product,
    ("plus_second", "float32"): <intptr_t>&pm_plus_second_f32_product,
    ("plus_second", "float64"): <intptr_t>&pm_plus_second_f64_product,
    ("min_plus", "float32"): <intptr_t>&pm_min_plus_f32_product,
    ("min_plus", "float64"): <intptr_t>&pm_min_plus_f64_product,
    ("min_times", "float32"): <intptr_t>&pm_min_times_f32_product,
    ("min_times", "float64"): <intptr_t>&pm_min_times_f64_product,
    ("min_max", "float32"): <intptr_t>&pm_min_max_f32_product,
    ("min_max", "float64"): <intptr_t>&pm_min_max_f64_product,
    ("max_plus", "float32"): <intptr_t>&pm_max_plus_f32_product,
    ("max_plus", "float64"): <intptr_t>&pm_max_plus_f64_product,
    ("max_times", "float32"): <intptr_t>&pm_max_times_f32_product,
    ("max_times", "float64"): <intptr_t>&pm_max_times_f64_product,
    ("max_min", "float32"): <intptr_t>&pm_max_min_f32_product,
    ("max_min", "float64"): <intptr_t>&pm_max_min_f64_product,
}
