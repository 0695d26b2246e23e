"""Addresses of the kernels of transforms (kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

cdef extern from "kernels.h":
    enum: PM_COMBINE_2, PM_COMBINE_4
    void pm_scale_f32(intptr_t n, const double *factor, float *x) noexcept nogil
    void pm_scale_f64(intptr_t n, const double *factor, double *x) noexcept nogil
    void **pm_best_kernels() except NULL

cdef void **kernels = pm_best_kernels()

#: precision -> f(n, factor, x): n real numbers that follow each other, times one double.
SCALE = {"float32": <intptr_t>&pm_scale_f32, "float64": <intptr_t>&pm_scale_f64}

_PRECISIONS = ("float32", "float64")
#: (parts, precision) -> f(n, step, sign, roots, offset, x): n elements of a transform's parts put together, from the
#: one at `offset` on, where x is.
COMBINE = {
    **{(2, precision): <intptr_t>kernels[PM_COMBINE_2 + i] for i, precision in enumerate(_PRECISIONS)},
    **{(4, precision): <intptr_t>kernels[PM_COMBINE_4 + i] for i, precision in enumerate(_PRECISIONS)},
}
