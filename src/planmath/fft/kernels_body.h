/* Included once for each instruction set. A transform of R n elements is put together from those of every R-th element,
 * which lie one after the other, `step` elements apart: element k of each is multiplied by its root of unity, and the R of
 * them are transformed in place. `roots` has those for 1 to R - 1, `step` elements each, which `offset` and `x` are into. */
#define PM_JOIN2(a, b, c) a##_##b##_##c
#define PM_JOIN(a, b, c) PM_JOIN2(a, b, c)

#define PM_TURNED(REAL, name, w, x, k)                                                      \
    const REAL name##r = x[2 * (k)] * w[2 * (k)] - x[2 * (k) + 1] * w[2 * (k) + 1],   \
               name##i = x[2 * (k)] * w[2 * (k) + 1] + x[2 * (k) + 1] * w[2 * (k)]

#define PM_COMBINE(REAL, P)                                                                                         \
    static void PM_JOIN(pm_combine_2, P, PM_ISA)(intptr_t n, intptr_t step, intptr_t sign, const REAL *roots,       \
                                                 intptr_t offset, REAL *x) {                                        \
        const REAL *restrict w = roots + 2 * offset;                                                                \
        REAL *restrict first = x, *restrict second = x + 2 * step;                                                  \
        (void)sign;                                                                                                 \
        for (intptr_t k = 0; k < n; k++) {                                                                          \
            PM_TURNED(REAL, b, w, second, k);                                                                             \
            const REAL ar = first[2 * k], ai = first[2 * k + 1];                                                    \
            first[2 * k] = ar + br, first[2 * k + 1] = ai + bi;                                                     \
            second[2 * k] = ar - br, second[2 * k + 1] = ai - bi;                                                   \
        }                                                                                                           \
    }                                                                                                               \
    static void PM_JOIN(pm_combine_4, P, PM_ISA)(intptr_t n, intptr_t step, intptr_t sign, const REAL *roots,       \
                                                 intptr_t offset, REAL *x) {                                        \
        const REAL *restrict u = roots + 2 * offset, *restrict v = u + 2 * step, *restrict w = v + 2 * step;        \
        REAL *restrict x0 = x, *restrict x1 = x0 + 2 * step, *restrict x2 = x1 + 2 * step, *restrict x3 = x2 + 2 * step; \
        const REAL s = (REAL)sign;                                                                                  \
        for (intptr_t k = 0; k < n; k++) {                                                                          \
            PM_TURNED(REAL, b, u, x1, k);                                                                                 \
            PM_TURNED(REAL, c, v, x2, k);                                                                                 \
            PM_TURNED(REAL, d, w, x3, k);                                                                                 \
            const REAL ar = x0[2 * k], ai = x0[2 * k + 1];                                                          \
            const REAL er = ar + cr, ei = ai + ci, fr = ar - cr, fi = ai - ci;                                      \
            const REAL gr = br + dr, gi = bi + di, hr = s * (br - dr), hi = s * (bi - di);                          \
            x0[2 * k] = er + gr, x0[2 * k + 1] = ei + gi;                                                           \
            x1[2 * k] = fr - hi, x1[2 * k + 1] = fi + hr;                                                           \
            x2[2 * k] = er - gr, x2[2 * k + 1] = ei - gi;                                                           \
            x3[2 * k] = fr + hi, x3[2 * k + 1] = fi - hr;                                                           \
        }                                                                                                           \
    }
PM_COMBINE(float, f32)
PM_COMBINE(double, f64)

static void *const PM_JOIN(pm, kernels, PM_ISA)[] = {
    PM_JOIN(pm_combine_2, f32, PM_ISA), PM_JOIN(pm_combine_2, f64, PM_ISA),
    PM_JOIN(pm_combine_4, f32, PM_ISA), PM_JOIN(pm_combine_4, f64, PM_ISA),
};
#undef PM_COMBINE
#undef PM_TURNED
#undef PM_JOIN
#undef PM_JOIN2
