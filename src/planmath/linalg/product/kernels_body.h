/* The kernels, for one instruction set: included by kernels.h once for each, with PM_ISA naming it. */

#define PM_JOIN_(a, b) a##_##b
#define PM_JOIN(a, b) PM_JOIN_(a, b)
#define K(name) PM_JOIN(name, PM_ISA)

#include "half.h"

#define PM_SAME(x) (x)
#define PM_CONJ(x) ((__typeof__(x)){(x).re, -(x).im})
#define PM_TO_F32(x) ((float)(x))
#define PM_TO_F64(x) ((double)(x))

/* The integer nearest to x, modulo 2^32: the remainder from 0 on, which is exact for any x, moved to the signed range by
 * its highest bit. So every conversion is of a number that int32_t has, and vectorizes. */
PM_INLINE int32_t K(pm_to_i32)(double x) {
    double whole = rint(x), rest = whole - 4294967296.0 * floor(whole * (1 / 4294967296.0));
    return (int32_t)(rest - 2147483648.0) ^ INT32_MIN;
}

/* A strided copy with conversion; the inner loop runs along the axis that is contiguous on both sides, if any is. */
#define PM_CONVERT(name, from, to, convert)                                                                            \
    static void name(pm_index rows, pm_index cols, pm_index src_row, pm_index src_col, pm_index dst_row,               \
                               pm_index dst_col, const from *src, to *dst) {                                           \
        pm_index i, j;                                                                                                 \
        if (dst_row < dst_col) { /* column-major: swap the roles of the axes */                                        \
            pm_index t = rows; rows = cols; cols = t;                                                                  \
            t = src_row; src_row = src_col; src_col = t;                                                               \
            t = dst_row; dst_row = dst_col; dst_col = t;                                                               \
        }                                                                                                              \
        for (i = 0; i < rows; i++) {                                                                                   \
            const from *s = src + i * src_row;                                                                         \
            to *d = dst + i * dst_row;                                                                                 \
            if (src_col == 1 && dst_col == 1)                                                                          \
                for (j = 0; j < cols; j++) d[j] = convert(s[j]);                                                       \
            else                                                                                                       \
                for (j = 0; j < cols; j++) d[j * dst_col] = convert(s[j * src_col]);                                   \
        }                                                                                                              \
    }

PM_CONVERT(K(pm_copy_16), uint16_t, uint16_t, PM_SAME)
PM_CONVERT(K(pm_copy_32), uint32_t, uint32_t, PM_SAME)
PM_CONVERT(K(pm_copy_64), uint64_t, uint64_t, PM_SAME)
PM_CONVERT(K(pm_copy_128), pm_c128, pm_c128, PM_SAME)
PM_CONVERT(K(pm_conj_c64), pm_c64, pm_c64, PM_CONJ)
PM_CONVERT(K(pm_conj_c128), pm_c128, pm_c128, PM_CONJ)
PM_CONVERT(K(pm_f16_f32), uint16_t, float, K(pm_from_f16))
PM_CONVERT(K(pm_f32_f16), float, uint16_t, K(pm_to_f16))
PM_CONVERT(K(pm_bf16_f32), uint16_t, float, K(pm_from_bf16))
PM_CONVERT(K(pm_f32_bf16), float, uint16_t, K(pm_to_bf16))
PM_CONVERT(K(pm_i8_f64), int8_t, double, PM_TO_F64)
PM_CONVERT(K(pm_i32_f64), int32_t, double, PM_TO_F64)
PM_CONVERT(K(pm_f32_f64), float, double, PM_TO_F64)
PM_CONVERT(K(pm_f64_f32), double, float, PM_TO_F32)
PM_CONVERT(K(pm_f64_i32), double, int32_t, K(pm_to_i32))

#include "../linalg/product/narrow_body.h"

/* --- activation functions ---------------------------------------------------------------------------------------- */

/* exp by 2^n * exp(r), |r| <= ln(2)/2, with the Taylor polynomial of exp(r) (Cody and Waite's reduction: ln(2) in two
 * parts). NaN stays NaN. */
PM_INLINE float K(pm_exp_f32)(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = (x * 1.44269504088896341f + magic) - magic;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f, p = 1.0f / 5040.0f, scale;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    __builtin_memcpy(&scale, &bits, 4);
    return p * scale;
}

PM_INLINE double K(pm_exp_f64)(double x) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    x = x < -708.0 ? -708.0 : x;
    x = x > 709.0 ? 709.0 : x;
    double shifted = x * 1.44269504088896340736 + magic, n = shifted - magic;
    double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6, p = 1.0 / 6227020800.0, scale;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    int64_t bits; /* the integer n stands in the lowest bits of `shifted` */
    __builtin_memcpy(&bits, &shifted, 8);
    bits = (bits + 1023) << 52;
    __builtin_memcpy(&scale, &bits, 8);
    return p * scale;
}

/* GELU in the form with tanh, 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3) (Hendrycks and Gimpel,
 * arXiv:1606.08415), which is x / (1 + exp(-2u)); and its derivative. Beyond `far`, where the exponential leaves the
 * range of the dtype, both are at their limits. */
#define PM_GELU(real, suffix, far)                                                                                     \
    PM_INLINE real K(pm_relu_##suffix)(real x) { return x < 0 ? 0 : x; }                                               \
    PM_INLINE real K(pm_gelu_##suffix)(real x) {                                                                       \
        real u2 = (real)1.5957691216057308 * x * (1 + (real)0.044715 * x * x);                                         \
        real value = x / (1 + K(pm_exp_##suffix)(-u2));                                                                \
        return u2 < -far ? -(real)0 : value;                                                                           \
    }                                                                                                                  \
    PM_INLINE real K(pm_dgelu_##suffix)(real x) {                                                                      \
        real u2 = (real)1.5957691216057308 * x * (1 + (real)0.044715 * x * x);                                         \
        real du2 = (real)1.5957691216057308 * (1 + 3 * (real)0.044715 * x * x);                                        \
        real e = K(pm_exp_##suffix)(-u2), s = 1 / (1 + e);                                                             \
        real value = s + x * (e * s * s) * du2;                                                                        \
        value = u2 > far ? 1 : value;                                                                                  \
        return u2 < -far ? 0 : value;                                                                                  \
    }
PM_GELU(float, f32, 87.0f)
PM_GELU(double, f64, 708.0)

/* --- epilogs ----------------------------------------------------------------------------------------------------- */

/* One pass over a product d of `inner` contiguous by `outer` elements. Element (i, j) gets bias[i * bias_inner + j *
 * bias_outer] (no bias: null), then the activation. `aux` belongs to column-major results: relu bits (8 rows a byte,
 * lowest bit first) or gelu inputs, written by the forward kinds where it is not null and read by the backward ones. `sums`
 * (null: none) gets the sums over the columns.
 *
 * Each loop over a column is a function of its own, which compilers vectorize where they do not inside the whole. */
#define PM_EPILOG(real, suffix)                                                                                        \
    PM_COLUMN K(column_add_##suffix)(pm_index n, real *restrict x, const real *restrict v) {                           \
        for (pm_index i = 0; i < n; i++) x[i] += v[i];                                                                 \
    }                                                                                                                  \
    PM_COLUMN K(column_add_strided_##suffix)(pm_index n, real *restrict x, const real *restrict v, pm_index step) {    \
        for (pm_index i = 0; i < n; i++) x[i] += v[i * step];                                                          \
    }                                                                                                                  \
    PM_COLUMN K(column_relu_##suffix)(pm_index n, real *restrict x) {                                                  \
        for (pm_index i = 0; i < n; i++) x[i] = K(pm_relu_##suffix)(x[i]);                                             \
    }                                                                                                                  \
    PM_COLUMN K(column_positive_##suffix)(pm_index n, const real *restrict x, uint8_t *restrict bits, pm_index bytes) {\
        pm_index i, b;                                                                                                 \
        for (i = 0; i + 8 <= n; i += 8) {                                                                              \
            unsigned byte = 0;                                                                                         \
            for (b = 0; b < 8; b++) byte |= (unsigned)(x[i + b] > 0) << b;                                             \
            bits[i / 8] = (uint8_t)byte;                                                                               \
        }                                                                                                              \
        for (b = i / 8; b < bytes; b++) bits[b] = 0;                                                                   \
        for (; i < n; i++) bits[i / 8] |= (uint8_t)((x[i] > 0) << (i % 8));                                            \
    }                                                                                                                  \
    PM_COLUMN K(column_drelu_##suffix)(pm_index n, real *restrict x, const uint8_t *restrict bits) {                   \
        for (pm_index i = 0; i < n; i++) x[i] = (bits[i / 8] >> (i % 8)) & 1 ? x[i] : 0;                               \
    }                                                                                                                  \
    PM_COLUMN K(column_gelu_##suffix)(pm_index n, real *restrict x) {                                                  \
        for (pm_index i = 0; i < n; i++) x[i] = K(pm_gelu_##suffix)(x[i]);                                             \
    }                                                                                                                  \
    PM_COLUMN K(column_dgelu_##suffix)(pm_index n, real *restrict x, const real *restrict z) {                         \
        for (pm_index i = 0; i < n; i++) x[i] *= K(pm_dgelu_##suffix)(z[i]);                                           \
    }                                                                                                                  \
    static void K(pm_epilog_##suffix)(pm_index kind, pm_index inner, pm_index outer, pm_index ld, pm_index aux_ld,     \
                                      pm_index bias_inner, pm_index bias_outer, real *d, const real *bias, void *aux,  \
                                      real *sums) {                                                                    \
        pm_index i, j;                                                                                                 \
        for (i = 0; sums && i < inner; i++) sums[i] = 0;                                                               \
        for (j = 0; j < outer; j++) {                                                                                  \
            real *x = d + j * ld, *z = (real *)aux + j * aux_ld;                                                       \
            uint8_t *bits = (uint8_t *)aux + j * aux_ld;                                                               \
            if (bias && bias_inner == 1)                                                                               \
                K(column_add_##suffix)(inner, x, bias + j * bias_outer);                                               \
            else if (bias)                                                                                             \
                K(column_add_strided_##suffix)(inner, x, bias + j * bias_outer, bias_inner);                           \
            switch (kind) {                                                                                            \
            case PM_RELU:                                                                                              \
                if (aux) K(column_positive_##suffix)(inner, x, bits, aux_ld);                                          \
                K(column_relu_##suffix)(inner, x);                                                                     \
                break;                                                                                                 \
            case PM_GELU_KIND:                                                                                         \
                if (aux) {                                                                                             \
                    __builtin_memcpy(z, x, (size_t)inner * sizeof(real));                                              \
                    __builtin_memset(z + inner, 0, (size_t)(aux_ld - inner) * sizeof(real));                           \
                }                                                                                                      \
                K(column_gelu_##suffix)(inner, x);                                                                     \
                break;                                                                                                 \
            case PM_DRELU: K(column_drelu_##suffix)(inner, x, bits); break;                                            \
            case PM_DGELU: K(column_dgelu_##suffix)(inner, x, z); break;                                               \
            }                                                                                                          \
            if (sums) K(column_add_##suffix)(inner, sums, x);                                                          \
        }                                                                                                              \
    }
PM_EPILOG(float, f32)
PM_EPILOG(double, f64)

/* Sums of a matrix's rows: sums[i] = x[i, 0] + x[i, 1] + ... */
#define PM_ROW_SUMS(real, suffix)                                                                                      \
    static void K(pm_row_sums_##suffix)(pm_index rows, pm_index cols, pm_index row, pm_index col,                      \
                                               const real *x, real *sums) {                                            \
        pm_index i, j;                                                                                                 \
        if (col == 1) {                                                                                                \
            for (i = 0; i < rows; i++) {                                                                               \
                real lanes[16] = {0};                                                                                  \
                const real *p = x + i * row;                                                                           \
                for (j = 0; j + 16 <= cols; j += 16)                                                                   \
                    for (pm_index l = 0; l < 16; l++) lanes[l] += p[j + l];                                            \
                for (; j < cols; j++) lanes[j % 16] += p[j];                                                           \
                real sum = 0;                                                                                          \
                for (pm_index l = 0; l < 16; l++) sum += lanes[l];                                                     \
                sums[i] = sum;                                                                                         \
            }                                                                                                          \
        } else {                                                                                                       \
            for (i = 0; i < rows; i++) sums[i] = 0;                                                                    \
            for (j = 0; j < cols; j++)                                                                                 \
                for (i = 0; i < rows; i++) sums[i] += x[i * row + j * col];                                            \
        }                                                                                                              \
    }
PM_ROW_SUMS(float, f32)
PM_ROW_SUMS(double, f64)

/* A product whose factor alpha is 0, so that its operands are not read: d = beta d. Nor is d where beta is 0, and it stays
 * as it is where beta is 1, for times 1 + 0i an infinity would become NaN. */
#define PM_SCALE_KERNEL(name, real, type, is_zero, is_one, times)                                                             \
    static void name(pm_index inner, pm_index outer, pm_index ld, const real *beta, type *d) {                         \
        real factor = *beta;                                                                                           \
        pm_index i, j;                                                                                                 \
        if (is_one(factor)) return;                                                                                    \
        for (j = 0; j < outer; j++) {                                                                                  \
            type *x = d + j * ld;                                                                                      \
            if (is_zero(factor))                                                                                       \
                __builtin_memset(x, 0, (size_t)inner * sizeof(type));                                                  \
            else                                                                                                       \
                for (i = 0; i < inner; i++) x[i] = times(type, factor, x[i]);                                          \
        }                                                                                                              \
    }
#define PM_IS_ZERO(f) ((f) == 0)
#define PM_IS_ONE(f) ((f) == 1)
#define PM_IS_ZERO_PAIR(f) ((f).re == 0 && (f).im == 0)
#define PM_IS_ONE_PAIR(f) ((f).re == 1 && (f).im == 0)
#define PM_TIMES(type, f, x) ((f) * (x))
#define PM_TIMES_F16(type, f, x) K(pm_to_f16)((f) * K(pm_from_f16)(x))
#define PM_TIMES_PAIR(type, f, x) ((type){(f).re * (x).re - (f).im * (x).im, (f).re * (x).im + (f).im * (x).re})
PM_SCALE_KERNEL(K(pm_scale_f16), float, uint16_t, PM_IS_ZERO, PM_IS_ONE, PM_TIMES_F16)
PM_SCALE_KERNEL(K(pm_scale_f32), float, float, PM_IS_ZERO, PM_IS_ONE, PM_TIMES)
PM_SCALE_KERNEL(K(pm_scale_f64), double, double, PM_IS_ZERO, PM_IS_ONE, PM_TIMES)
PM_SCALE_KERNEL(K(pm_scale_c64), pm_c64, pm_c64, PM_IS_ZERO_PAIR, PM_IS_ONE_PAIR, PM_TIMES_PAIR)
PM_SCALE_KERNEL(K(pm_scale_c128), pm_c128, pm_c128, PM_IS_ZERO_PAIR, PM_IS_ONE_PAIR, PM_TIMES_PAIR)

/* In the order of the PM_* numbers of kernels.h. */
static void *const K(pm_kernels)[] = {
    (void *)K(pm_copy_16), (void *)K(pm_copy_32), (void *)K(pm_copy_64), (void *)K(pm_copy_128),
    (void *)K(pm_conj_c64), (void *)K(pm_conj_c128), (void *)K(pm_f16_f32), (void *)K(pm_f32_f16),
    (void *)K(pm_bf16_f32), (void *)K(pm_f32_bf16), (void *)K(pm_i8_f64), (void *)K(pm_i32_f64),
    (void *)K(pm_f32_f64), (void *)K(pm_f64_f32), (void *)K(pm_f64_i32), (void *)K(pm_epilog_f32),
    (void *)K(pm_epilog_f64), (void *)K(pm_row_sums_f32), (void *)K(pm_row_sums_f64),
    (void *)K(pm_scale_f16), (void *)K(pm_scale_f32), (void *)K(pm_scale_f64), (void *)K(pm_scale_c64),
    (void *)K(pm_scale_c128),
    (void *)K(pm_e4m3_f32), (void *)K(pm_e5m2_f32), (void *)K(pm_e4m3_bf16), (void *)K(pm_e5m2_bf16),
    (void *)K(pm_f32_e4m3), (void *)K(pm_f32_e5m2), (void *)K(pm_factor), (void *)K(pm_multiply), (void *)K(pm_amax),
    (void *)K(pm_e4m3_blocks_f32), (void *)K(pm_e5m2_blocks_f32), (void *)K(pm_e2m1_blocks_f32),
    (void *)K(pm_f32_e4m3_blocks), (void *)K(pm_f32_e5m2_blocks), (void *)K(pm_f32_e2m1_blocks),
};
#undef K
#undef PM_JOIN
#undef PM_JOIN_
