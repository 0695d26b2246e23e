"""Addresses of the kernels of products for some elements (sampled.h), and the places in their descriptors."""

from libc.stdint cimport intptr_t

from planmath.native.team import SHARE

cdef extern from "sampled.h":
    void pm_set_share(intptr_t address)
    enum: PM_COUNT, PM_SUMMED, PM_THREADS, PM_PARTS, PM_WIDE, PM_LIST_A, PM_LIST_B, PM_VALUES, PM_SIDE_A, PM_SIDE_B, \
        PM_SAMPLED_WORDS
    enum: PM_STEP, PM_COPIED, PM_INNER, PM_LINES, PM_BATCHES, PM_OFFSETS
    enum: PM_NOT_COPIED, PM_COPIED_TO_ALIGN, PM_ALWAYS_COPIED, PM_LINE
    enum: PM_F32, PM_F64, PM_C64, PM_C128
    void **pm_best_kernels() except NULL
    void pm_sampled_plus_first_f32_product(...)
    void pm_sampled_plus_first_f64_product(...)
    void pm_sampled_plus_second_f32_product(...)
    void pm_sampled_plus_second_f64_product(...)
    void pm_sampled_min_plus_f32_product(...)
    void pm_sampled_min_plus_f64_product(...)
    void pm_sampled_min_times_f32_product(...)
    void pm_sampled_min_times_f64_product(...)
    void pm_sampled_min_max_f32_product(...)
    void pm_sampled_min_max_f64_product(...)
    void pm_sampled_max_plus_f32_product(...)
    void pm_sampled_max_plus_f64_product(...)
    void pm_sampled_max_times_f32_product(...)
    void pm_sampled_max_times_f64_product(...)
    void pm_sampled_max_min_f32_product(...)
    void pm_sampled_max_min_f64_product(...)

pm_set_share(SHARE)

cdef void **kernels = pm_best_kernels()

#: Places in a descriptor; those of the sides begin at SIDES.
PLACE = {
    "count": PM_COUNT, "summed": PM_SUMMED, "threads": PM_THREADS, "parts": PM_PARTS, "wide": PM_WIDE,
    "list_a": PM_LIST_A, "list_b": PM_LIST_B, "values": PM_VALUES,
}
SIDES = (PM_SIDE_A, PM_SIDE_B)
SIDE = {"step": PM_STEP, "copied": PM_COPIED, "inner": PM_INNER, "lines": PM_LINES, "batches": PM_BATCHES,
        "offsets": PM_OFFSETS}
WORDS = PM_SAMPLED_WORDS
#: Whether a side is copied: never, where its address is no multiple of LINE bytes, or always.
NOT_COPIED, COPIED_TO_ALIGN, ALWAYS_COPIED, LINE = PM_NOT_COPIED, PM_COPIED_TO_ALIGN, PM_ALWAYS_COPIED, PM_LINE

#: (semiring, dtype) -> f(descriptor, a, b, values of c, alpha, beta, room)
PRODUCT = {("plus_times", dtype): <intptr_t>kernels[PM_F32 + n]
           for n, dtype in enumerate(("float32", "float64", "complex64", "complex128"))}
PRODUCT |= {
    ("plus_first", "float32"): <intptr_t>&pm_sampled_plus_first_f32_product,
    ("plus_first", "float64"): <intptr_t>&pm_sampled_plus_first_f64_product,
    ("plus_second", "float32"): <intptr_t>&pm_sampled_plus_second_f32_product,
    ("plus_second", "float64"): <intptr_t>&pm_sampled_plus_second_f64_product,
    ("min_plus", "float32"): <intptr_t>&pm_sampled_min_plus_f32_product,
    ("min_plus", "float64"): <intptr_t>&pm_sampled_min_plus_f64_product,
    ("min_times", "float32"): <intptr_t>&pm_sampled_min_times_f32_product,
    ("min_times", "float64"): <intptr_t>&pm_sampled_min_times_f64_product,
    ("min_max", "float32"): <intptr_t>&pm_sampled_min_max_f32_product,
    ("min_max", "float64"): <intptr_t>&pm_sampled_min_max_f64_product,
    ("max_plus", "float32"): <intptr_t>&pm_sampled_max_plus_f32_product,
    ("max_plus", "float64"): <intptr_t>&pm_sampled_max_plus_f64_product,
    ("max_times", "float32"): <intptr_t>&pm_sampled_max_times_f32_product,
    ("max_times", "float64"): <intptr_t>&pm_sampled_max_times_f64_product,
    ("max_min", "float32"): <intptr_t>&pm_sampled_max_min_f32_product,
    ("max_min", "float64"): <intptr_t>&pm_sampled_max_min_f64_product,
}
