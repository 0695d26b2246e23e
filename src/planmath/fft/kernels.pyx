"""Addresses of the kernels of transforms, for prepared calls."""

from libc.stdint cimport intptr_t

cdef extern from *:
    """
    #define PM_SCALE(real, name)                                                     \
        static void name(intptr_t n, const double *factor, real *x) {                \
            const real f = (real)*factor;                                            \
            for (intptr_t i = 0; i < n; i++) x[i] *= f;                              \
        }
    PM_SCALE(float, pm_scale_f32)
    PM_SCALE(double, pm_scale_f64)
    """
    void pm_scale_f32(intptr_t n, const double *factor, float *x) noexcept nogil
    void pm_scale_f64(intptr_t n, const double *factor, double *x) noexcept nogil

#: precision -> f(n, factor, x): n real numbers that follow each other, times one double.
SCALE = {"float32": <intptr_t>&pm_scale_f32, "float64": <intptr_t>&pm_scale_f64}
