/* The kernels, for one instruction set: included by structure_kernels.h once for each, with PM_ISA naming it. */

#define PM_JOIN_(a, b) a##_##b
#define PM_JOIN(a, b) PM_JOIN_(a, b)
#define K(name) PM_JOIN(name, PM_ISA)

#define PM_ITSELF(x) (x)

/* All elements of a matrix of which one triangle is stored. The other one is never read, nor is the diagonal of a matrix
 * with ones on it; the diagonal of a Hermitian one is real. */
#define PM_EXPAND_KERNEL(suffix, type, conj, real)                                                                     \
    static void K(pm_expand_##suffix)(pm_index kind, pm_index flags, pm_index n, pm_index src_row, pm_index src_col,   \
                                      pm_index dst_row, pm_index dst_col, const type *src, type *dst) {                \
        pm_index i, j, conjugate = flags & PM_CONJUGATE;                                                               \
        if (flags & PM_UPPER) { /* the lower triangle of the transposed matrix */                                      \
            pm_index t = src_row; src_row = src_col; src_col = t;                                                      \
            t = dst_row; dst_row = dst_col; dst_col = t;                                                               \
        }                                                                                                              \
        for (i = 0; i < n; i++) {                                                                                      \
            for (j = 0; j < i; j++) {                                                                                  \
                type x = src[i * src_row + j * src_col], y = x;                                                        \
                if (conjugate) x = conj(x);                                                                            \
                if (kind == PM_TRIANGULAR) y = 0;                                                                      \
                else if ((kind == PM_HERMITIAN) != (conjugate != 0)) y = conj(y);                                      \
                dst[i * dst_row + j * dst_col] = x;                                                                    \
                dst[j * dst_row + i * dst_col] = y;                                                                    \
            }                                                                                                          \
            type x = flags & PM_UNIT ? 1 : src[i * (src_row + src_col)];                                               \
            dst[i * (dst_row + dst_col)] = kind == PM_HERMITIAN ? real(x) : conjugate ? conj(x) : x;                   \
        }                                                                                                              \
    }

/* A matrix with these elements on its diagonal, and zeros elsewhere. */
#define PM_SPREAD_KERNEL(suffix, type, conj)                                                                           \
    static void K(pm_spread_##suffix)(pm_index flags, pm_index n, pm_index step, pm_index dst_row, pm_index dst_col,   \
                                      const type *src, type *dst) {                                                    \
        for (pm_index i = 0; i < n; i++)                                                                               \
            for (pm_index j = 0; j < n; j++) {                                                                         \
                type x = i == j ? src[i * step] : 0;                                                                   \
                dst[i * dst_row + j * dst_col] = flags & PM_CONJUGATE ? conj(x) : x;                                   \
            }                                                                                                          \
    }

/* d = alpha diag(x) g + beta c, element by element: g is not read where alpha is 0, and c where beta is 0 or there is
 * none. Runs along the axis of d with the smaller step. */
#define PM_SCALE_KERNEL(suffix, type, conj)                                                                            \
    PM_LINE K(scale_line_##suffix)(pm_index n, pm_index x_step, pm_index g_step, pm_index d_step, type factor,         \
                                   const type *x, const type *g, type *d) {                                            \
        pm_index j;                                                                                                    \
        if (x_step == 0 && g_step == 1 && d_step == 1) {                                                               \
            const type f = factor * x[0];                                                                              \
            for (j = 0; j < n; j++) d[j] = f * g[j];                                                                   \
        } else if (x_step == 1 && g_step == 1 && d_step == 1)                                                          \
            for (j = 0; j < n; j++) d[j] = factor * x[j] * g[j];                                                       \
        else                                                                                                           \
            for (j = 0; j < n; j++) d[j * d_step] = factor * x[j * x_step] * g[j * g_step];                            \
    }                                                                                                                  \
    PM_LINE K(scale_line_general_##suffix)(pm_index n, pm_index flags, pm_index x_step, pm_index g_step,               \
                                           pm_index c_step, pm_index d_step, type alpha, type beta, const type *x,     \
                                           const type *g, const type *c, type *d) {                                    \
        for (pm_index j = 0; j < n; j++) {                                                                             \
            type sum = 0;                                                                                              \
            if (alpha != 0) {                                                                                          \
                type factor = x[j * x_step], value = g[j * g_step];                                                    \
                if (flags & PM_CONJUGATE_X) factor = conj(factor);                                                     \
                if (flags & PM_CONJUGATE_G) value = conj(value);                                                       \
                sum = alpha * factor * value;                                                                          \
            }                                                                                                          \
            if (c && beta != 0) sum += beta * c[j * c_step];                                                           \
            d[j * d_step] = sum;                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    static void K(pm_scale_##suffix)(pm_index flags, pm_index rows, pm_index cols, pm_index x_step, pm_index g_row,    \
                                     pm_index g_col, pm_index c_row, pm_index c_col, pm_index d_row, pm_index d_col,   \
                                     const type *alpha, const type *beta, const type *x, const type *g,                \
                                     const type *c, type *d) {                                                         \
        pm_index i, x_row = x_step, x_col = 0;                                                                         \
        if (d_row < d_col) {                                                                                           \
            pm_index t = rows; rows = cols; cols = t;                                                                  \
            t = g_row; g_row = g_col; g_col = t;                                                                       \
            t = c_row; c_row = c_col; c_col = t;                                                                       \
            t = d_row; d_row = d_col; d_col = t;                                                                       \
            x_row = 0, x_col = x_step;                                                                                 \
        }                                                                                                              \
        for (i = 0; i < rows; i++)                                                                                     \
            if (flags || *alpha == 0 || (c && *beta != 0))                                                             \
                K(scale_line_general_##suffix)(cols, flags, x_col, g_col, c_col, d_col, *alpha, *beta,                 \
                                               x + i * x_row, g + i * g_row, c ? c + i * c_row : 0, d + i * d_row);    \
            else                                                                                                       \
                K(scale_line_##suffix)(cols, x_col, g_col, d_col, *alpha, x + i * x_row, g + i * g_row, d + i * d_row);\
    }

#define PM_LINE static __attribute__((noinline)) void
#define PM_CONJ_C64(z) __builtin_conjf(z)
#define PM_CONJ_C128(z) __builtin_conj(z)
#define PM_REAL_PART(z) (__real__(z))

PM_EXPAND_KERNEL(f32, float, PM_ITSELF, PM_ITSELF)
PM_EXPAND_KERNEL(f64, double, PM_ITSELF, PM_ITSELF)
PM_EXPAND_KERNEL(c64, _Complex float, PM_CONJ_C64, PM_REAL_PART)
PM_EXPAND_KERNEL(c128, _Complex double, PM_CONJ_C128, PM_REAL_PART)
PM_SPREAD_KERNEL(f32, float, PM_ITSELF)
PM_SPREAD_KERNEL(f64, double, PM_ITSELF)
PM_SPREAD_KERNEL(c64, _Complex float, PM_CONJ_C64)
PM_SPREAD_KERNEL(c128, _Complex double, PM_CONJ_C128)
PM_SCALE_KERNEL(f32, float, PM_ITSELF)
PM_SCALE_KERNEL(f64, double, PM_ITSELF)
PM_SCALE_KERNEL(c64, _Complex float, PM_CONJ_C64)
PM_SCALE_KERNEL(c128, _Complex double, PM_CONJ_C128)

static void *const K(pm_kernels)[] = {
    (void *)K(pm_expand_f32), (void *)K(pm_expand_f64), (void *)K(pm_expand_c64), (void *)K(pm_expand_c128),
    (void *)K(pm_spread_f32), (void *)K(pm_spread_f64), (void *)K(pm_spread_c64), (void *)K(pm_spread_c128),
    (void *)K(pm_scale_f32), (void *)K(pm_scale_f64), (void *)K(pm_scale_c64), (void *)K(pm_scale_c128),
};
#undef K
#undef PM_JOIN
#undef PM_JOIN_
#undef PM_ITSELF
#undef PM_EXPAND_KERNEL
#undef PM_SPREAD_KERNEL
#undef PM_SCALE_KERNEL
#undef PM_LINE
#undef PM_CONJ_C64
#undef PM_CONJ_C128
#undef PM_REAL_PART
