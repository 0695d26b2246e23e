/* The kernels of transforms that are planmath's own, for prepared calls. */
#ifndef PLANMATH_FFT_KERNELS_H
#define PLANMATH_FFT_KERNELS_H

#include <stdint.h>

#define PM_SCALE(real, name)                                                     \
    static void name(intptr_t n, const double *factor, real *x) {                \
        const real f = (real)*factor;                                            \
        for (intptr_t i = 0; i < n; i++) x[i] *= f;                              \
    }
PM_SCALE(float, pm_scale_f32)
PM_SCALE(double, pm_scale_f64)

/* Of each instruction set: what puts transforms of two parts together, and of four, by precision. */
enum { PM_COMBINE_2 = 0, PM_COMBINE_4 = 2 };

#define PM_BODY "../fft/kernels_body.h"
#include "instruction_sets.h"
#endif
