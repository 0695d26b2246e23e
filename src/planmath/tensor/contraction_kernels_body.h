/* The kernels, for one instruction set: included by contraction_kernels.h once for each, with PM_ISA naming it. */

#define PM_JOIN_(a, b) a##_##b
#define PM_JOIN(a, b) PM_JOIN_(a, b)
#define K(name) PM_JOIN(name, PM_ISA)

#include "half.h"

#define PM_SAME(x) (x)

/* (__builtin_memcpy has no wrapper that, where the C library checks bounds, is not for every instruction set.) */
/* Copies that keep the elements as they are. Where source and destination are contiguous along different loops, squares
 * of elements go through the cache together, each line of it read and written once. */
#define PM_COPY(name, T, SIDE)                                                                                         \
    static void K(name##_body)(const pm_job *job) {                                                                    \
        const i64 *p = job->p;                                                                                         \
        i64 last = p[PM_RESULT] - 1, tile = p[PM_TILE];                                                                \
        i64 n = pm_count(job, last), from = pm_loop(p, last)[1], to = pm_loop(p, last)[3];                             \
        i64 rows = tile < 0 ? 0 : pm_count(job, tile), row_to = tile < 0 ? 0 : pm_loop(p, tile)[3];                    \
        const char *a = job->a, *b = job->b;                                                                           \
        char *d = job->d;                                                                                              \
        pm_nest nest;                                                                                                  \
        pm_start(&nest, job, 0, last, tile, -1);                                                                       \
        do {                                                                                                           \
            if (tile >= 0) {                                                                                           \
                for (i64 r0 = 0; r0 < rows; r0 += SIDE) {                                                              \
                    i64 height = rows - r0 < SIDE ? rows - r0 : SIDE;                                                  \
                    for (i64 i0 = 0; i0 < n; i0 += SIDE) {                                                             \
                        i64 width = n - i0 < SIDE ? n - i0 : SIDE;                                                     \
                        const char *s = a + i0 * from + r0 * (i64)sizeof(T);                                           \
                        char *t = d + i0 * (i64)sizeof(T) + r0 * row_to;                                               \
                        if (height == SIDE && width == SIDE) {                                                         \
                            T square[SIDE][SIDE];                                                                      \
                            for (i64 i = 0; i < SIDE; i++) __builtin_memcpy(square[i], s + i * from, sizeof square[i]);\
                            for (i64 r = 0; r < SIDE; r++) {                                                           \
                                T row[SIDE];                                                                           \
                                for (i64 i = 0; i < SIDE; i++) row[i] = square[i][r];                                  \
                                __builtin_memcpy(t + r * row_to, row, sizeof row);                                     \
                            }                                                                                          \
                        } else                                                                                         \
                            for (i64 r = 0; r < height; r++)                                                           \
                                for (i64 i = 0; i < width; i++)                                                        \
                                    ((T *)(t + r * row_to))[i] = ((const T *)(s + i * from))[r];                       \
                    }                                                                                                  \
                }                                                                                                      \
            } else if (from == sizeof(T) && to == sizeof(T) && n >= 16)                                                \
                __builtin_memcpy(d, a, (size_t)n * sizeof(T));                                                         \
            else if (from == sizeof(T) && to == sizeof(T))                                                             \
                for (i64 i = 0; i < n; i++) ((T *)d)[i] = ((const T *)a)[i];                                           \
            else                                                                                                       \
                for (i64 i = 0; i < n; i++) *(T *)(d + i * to) = *(const T *)(a + i * from);                           \
        } while (pm_next(&nest, &a, &b, &d));                                                                          \
    }                                                                                                                  \
    static void K(name)(const i64 *p, const char *a, char *d) { pm_work(K(name##_body), p, a, a, d, NULL, NULL); }

PM_COPY(pm_copy_16, uint16_t, 16)
PM_COPY(pm_copy_32, uint32_t, 16)
PM_COPY(pm_copy_64, uint64_t, 8)
PM_COPY(pm_copy_128, c128, 4)

/* The unary operators on a row of elements, by the numbers of cutensorOperator_t. */
#define PM_EACH(number, expression)                                                                                    \
    case number:                                                                                                       \
        for (i64 i = 0; i < n; i++) { x = v[i]; v[i] = (expression); }                                                 \
        break;
#define PM_OPERATORS(name, T, F)                                                                                       \
    static void K(name)(i64 kind, i64 n, T *v) {                                                                       \
        T x;                                                                                                           \
        switch (kind) {                                                                                                \
            PM_EACH(2, F(sqrt)(x))                                                                                     \
            PM_EACH(8, x > 0 ? x : x != x ? x : 0)                                                                     \
            PM_EACH(10, 1 / x)                                                                                         \
            PM_EACH(11, 1 / (1 + F(exp)(-x)))                                                                          \
            PM_EACH(12, F(tanh)(x))                                                                                    \
            PM_EACH(22, F(exp)(x))                                                                                     \
            PM_EACH(23, F(log)(x))                                                                                     \
            PM_EACH(24, F(fabs)(x))                                                                                    \
            PM_EACH(25, -x)                                                                                            \
            PM_EACH(26, F(sin)(x))                                                                                     \
            PM_EACH(27, F(cos)(x))                                                                                     \
            PM_EACH(28, F(tan)(x))                                                                                     \
            PM_EACH(29, F(sinh)(x))                                                                                    \
            PM_EACH(30, F(cosh)(x))                                                                                    \
            PM_EACH(31, F(asin)(x))                                                                                    \
            PM_EACH(32, F(acos)(x))                                                                                    \
            PM_EACH(33, F(atan)(x))                                                                                    \
            PM_EACH(34, F(asinh)(x))                                                                                   \
            PM_EACH(35, F(acosh)(x))                                                                                   \
            PM_EACH(36, F(atanh)(x))                                                                                   \
            PM_EACH(37, F(ceil)(x))                                                                                    \
            PM_EACH(38, F(floor)(x))                                                                                   \
            PM_EACH(39, x * F(tanh)(x > 0 ? x + F(log1p)(F(exp)(-x)) : F(log1p)(F(exp)(x))))                           \
            PM_EACH(40, x / (1 + F(exp)(-x)))                                                                          \
            PM_EACH(41, x > 0 ? x + F(log1p)(F(exp)(-x)) : F(log1p)(F(exp)(x)))                                        \
            PM_EACH(42, x / (1 + F(fabs)(x)))                                                                          \
        }                                                                                                              \
    }
#define PM_COMPLEX_OPERATORS(name, T, F)                                                                               \
    static void K(name)(i64 kind, i64 n, T *v) {                                                                       \
        T x;                                                                                                           \
        switch (kind) {                                                                                                \
            PM_EACH(2, F(csqrt)(x))                                                                                    \
            PM_EACH(9, F(conj)(x))                                                                                     \
            PM_EACH(10, 1 / x)                                                                                         \
            PM_EACH(12, F(ctanh)(x))                                                                                   \
            PM_EACH(22, F(cexp)(x))                                                                                    \
            PM_EACH(23, F(clog)(x))                                                                                    \
            PM_EACH(25, -x)                                                                                            \
            PM_EACH(26, F(csin)(x))                                                                                    \
            PM_EACH(27, F(ccos)(x))                                                                                    \
            PM_EACH(28, F(ctan)(x))                                                                                    \
            PM_EACH(29, F(csinh)(x))                                                                                   \
            PM_EACH(30, F(ccosh)(x))                                                                                   \
            PM_EACH(31, F(casin)(x))                                                                                   \
            PM_EACH(32, F(cacos)(x))                                                                                   \
            PM_EACH(33, F(catan)(x))                                                                                   \
            PM_EACH(34, F(casinh)(x))                                                                                  \
            PM_EACH(35, F(cacosh)(x))                                                                                  \
            PM_EACH(36, F(catanh)(x))                                                                                  \
        }                                                                                                              \
    }
#define PM_SINGLE(function) function##f
#define PM_DOUBLE(function) function
PM_OPERATORS(pm_apply_f32, float, PM_SINGLE)
PM_OPERATORS(pm_apply_f64, double, PM_DOUBLE)
PM_COMPLEX_OPERATORS(pm_apply_c64, c64, PM_SINGLE)
PM_COMPLEX_OPERATORS(pm_apply_c128, c128, PM_DOUBLE)

/* d = the sum of op(a) over the summed loops, in the dtype W, a row of elements at a time. */
#define PM_TRANSFORM(name, S, W, D, load, apply, store)                                                                \
    PM_INLINE void K(name##_row)(const i64 *p, i64 n, const char *s, i64 step, W *row) {                               \
        if (step == sizeof(S))                                                                                         \
            for (i64 i = 0; i < n; i++) row[i] = load(((const S *)s)[i]);                                              \
        else                                                                                                           \
            for (i64 i = 0; i < n; i++) row[i] = load(*(const S *)(s + i * step));                                     \
        if (p[PM_OPERATOR] != 1) apply(p[PM_OPERATOR], n, row);                                                        \
    }                                                                                                                  \
    static void K(name##_body)(const pm_job *job) {                                                                    \
        const i64 *p = job->p;                                                                                         \
        i64 results = p[PM_RESULT], all = results + p[PM_SUMMED], along = p[PM_ALONG_SUM];                             \
        i64 inner = along ? all - 1 : results - 1;                                                                     \
        i64 count = pm_count(job, inner), from = pm_loop(p, inner)[1], to = pm_loop(p, inner)[3];                      \
        const char *a = job->a, *b = job->b;                                                                           \
        char *d = job->d;                                                                                              \
        pm_nest outer, summed;                                                                                         \
        W row[PM_CHUNK], sum[PM_CHUNK];                                                                                \
        pm_start(&outer, job, 0, results, inner, -1);                                                                  \
        pm_start(&summed, job, results, all, inner, -1);                                                               \
        do {                                                                                                           \
            if (along) {                                                                                               \
                i64 width = count < PM_CHUNK ? count : PM_CHUNK;                                                       \
                W total = 0;                                                                                           \
                for (i64 i = 0; i < width; i++) sum[i] = 0;                                                            \
                do                                                                                                     \
                    for (i64 i0 = 0; i0 < count; i0 += width) {                                                        \
                        i64 n = count - i0 < width ? count - i0 : width;                                               \
                        K(name##_row)(p, n, a + i0 * from, from, row);                                                 \
                        for (i64 i = 0; i < n; i++) sum[i] += row[i];                                                  \
                    }                                                                                                  \
                while (pm_next(&summed, &a, &b, &d));                                                                  \
                for (i64 i = 0; i < width; i++) total += sum[i];                                                       \
                *(D *)d = store(total);                                                                                \
            } else                                                                                                     \
                for (i64 i0 = 0; i0 < count; i0 += PM_CHUNK) {                                                         \
                    i64 n = count - i0 < PM_CHUNK ? count - i0 : PM_CHUNK;                                             \
                    const char *s = a + i0 * from;                                                                     \
                    char *t = d + i0 * to;                                                                             \
                    K(name##_row)(p, n, s, from, sum);                                                                 \
                    while (pm_next(&summed, &s, &b, &t)) {                                                             \
                        K(name##_row)(p, n, s, from, row);                                                             \
                        for (i64 i = 0; i < n; i++) sum[i] += row[i];                                                  \
                    }                                                                                                  \
                    if (to == sizeof(D))                                                                               \
                        for (i64 i = 0; i < n; i++) ((D *)t)[i] = store(sum[i]);                                       \
                    else                                                                                               \
                        for (i64 i = 0; i < n; i++) *(D *)(t + i * to) = store(sum[i]);                                \
                }                                                                                                      \
        } while (pm_next(&outer, &a, &b, &d));                                                                         \
    }                                                                                                                  \
    static void K(name)(const i64 *p, const char *a, char *d) { pm_work(K(name##_body), p, a, a, d, NULL, NULL); }

PM_TRANSFORM(pm_f16_f32, uint16_t, float, float, K(pm_from_f16), K(pm_apply_f32), PM_SAME)
PM_TRANSFORM(pm_bf16_f32, uint16_t, float, float, K(pm_from_bf16), K(pm_apply_f32), PM_SAME)
PM_TRANSFORM(pm_f32_f32, float, float, float, PM_SAME, K(pm_apply_f32), PM_SAME)
PM_TRANSFORM(pm_f64_f64, double, double, double, PM_SAME, K(pm_apply_f64), PM_SAME)
PM_TRANSFORM(pm_c64_c64, c64, c64, c64, PM_SAME, K(pm_apply_c64), PM_SAME)
PM_TRANSFORM(pm_c128_c128, c128, c128, c128, PM_SAME, K(pm_apply_c128), PM_SAME)
PM_TRANSFORM(pm_f32_f16, float, float, uint16_t, PM_SAME, K(pm_apply_f32), K(pm_to_f16))
PM_TRANSFORM(pm_f32_bf16, float, float, uint16_t, PM_SAME, K(pm_apply_f32), K(pm_to_bf16))

/* d = alpha * the sum of a * b over the summed loops + beta * d, element by element: where there is no matrix in it, or
 * only tiny ones. As in BLAS, d is not read where beta is 0. */
#define PM_TIMES(x, y) ((x) * (y))
#define PM_COMPLEX_TIMES(x, y)                                                                                         \
    __builtin_complex(__real__(x) * __real__(y) - __imag__(x) * __imag__(y),                                           \
                      __real__(x) * __imag__(y) + __imag__(x) * __real__(y))
#define PM_DIRECT(name, T, TIMES)                                                                                      \
    PM_INLINE void K(name##_row)(i64 n, const char *a, i64 sa, const char *b, i64 sb, T *sum) {                        \
        const T *x = (const T *)a, *y = (const T *)b;                                                                  \
        i64 size = sizeof(T);                                                                                          \
        if (sa == size && sb == size)                                                                                  \
            for (i64 i = 0; i < n; i++) sum[i] += TIMES(x[i], y[i]);                                                   \
        else if (sa == 0 && sb == size)                                                                                \
            for (i64 i = 0; i < n; i++) sum[i] += TIMES(*x, y[i]);                                                     \
        else if (sa == size && sb == 0)                                                                                \
            for (i64 i = 0; i < n; i++) sum[i] += TIMES(x[i], *y);                                                     \
        else                                                                                                           \
            for (i64 i = 0; i < n; i++) sum[i] += TIMES(*(const T *)(a + i * sa), *(const T *)(b + i * sb));           \
    }                                                                                                                  \
    static void K(name##_body)(const pm_job *job) {                                                                    \
        const i64 *p = job->p;                                                                                         \
        const T alpha = *(const T *)job->alpha, beta = *(const T *)job->beta;                                          \
        i64 results = p[PM_RESULT], all = results + p[PM_SUMMED], along = p[PM_ALONG_SUM];                             \
        i64 inner = along ? all - 1 : results - 1;                                                                     \
        i64 count = pm_count(job, inner), sa = pm_loop(p, inner)[1], sb = pm_loop(p, inner)[2];                        \
        i64 sd = pm_loop(p, inner)[3];                                                                                 \
        const char *a = job->a, *b = job->b;                                                                           \
        char *d = job->d;                                                                                              \
        pm_nest outer, summed;                                                                                         \
        T sum[PM_CHUNK];                                                                                               \
        pm_start(&outer, job, 0, results, inner, -1);                                                                  \
        pm_start(&summed, job, results, all, inner, -1);                                                               \
        do {                                                                                                           \
            if (along) {                                                                                               \
                i64 width = count < PM_CHUNK / 4 ? count : PM_CHUNK / 4;                                               \
                T total = 0;                                                                                           \
                for (i64 i = 0; i < width; i++) sum[i] = 0;                                                            \
                do                                                                                                     \
                    for (i64 i0 = 0; i0 < count; i0 += width)                                                          \
                        K(name##_row)(count - i0 < width ? count - i0 : width, a + i0 * sa, sa, b + i0 * sb, sb, sum); \
                while (pm_next(&summed, &a, &b, &d));                                                                  \
                for (i64 i = 0; i < width; i++) total += sum[i];                                                       \
                total = TIMES(alpha, total);                                                                           \
                if (beta != 0) total += TIMES(beta, *(const T *)d);                                                    \
                *(T *)d = total;                                                                                       \
            } else                                                                                                     \
                for (i64 i0 = 0; i0 < count; i0 += PM_CHUNK) {                                                         \
                    i64 n = count - i0 < PM_CHUNK ? count - i0 : PM_CHUNK;                                             \
                    const char *x = a + i0 * sa, *y = b + i0 * sb;                                                     \
                    char *t = d + i0 * sd;                                                                             \
                    for (i64 i = 0; i < n; i++) sum[i] = 0;                                                            \
                    do K(name##_row)(n, x, sa, y, sb, sum);                                                            \
                    while (pm_next(&summed, &x, &y, &t));                                                              \
                    if (beta != 0)                                                                                     \
                        for (i64 i = 0; i < n; i++) {                                                                  \
                            T *at = (T *)(t + i * sd);                                                                 \
                            *at = TIMES(alpha, sum[i]) + TIMES(beta, *at);                                             \
                        }                                                                                              \
                    else if (sd == sizeof(T))                                                                          \
                        for (i64 i = 0; i < n; i++) ((T *)t)[i] = TIMES(alpha, sum[i]);                                \
                    else                                                                                               \
                        for (i64 i = 0; i < n; i++) *(T *)(t + i * sd) = TIMES(alpha, sum[i]);                         \
                }                                                                                                      \
        } while (pm_next(&outer, &a, &b, &d));                                                                         \
    }                                                                                                                  \
    static void K(name)(const i64 *p, const char *a, const char *b, char *d, const void *alpha, const void *beta) {    \
        pm_work(K(name##_body), p, a, b, d, alpha, beta);                                                              \
    }

PM_DIRECT(pm_direct_f32, float, PM_TIMES)
PM_DIRECT(pm_direct_f64, double, PM_TIMES)
PM_DIRECT(pm_direct_c64, c64, PM_COMPLEX_TIMES)
PM_DIRECT(pm_direct_c128, c128, PM_COMPLEX_TIMES)

/* In the order of the PM_* numbers of contraction_kernels.h. */
static void *const K(pm_kernels)[] = {
    (void *)K(pm_copy_16), (void *)K(pm_copy_32), (void *)K(pm_copy_64), (void *)K(pm_copy_128),
    (void *)K(pm_f16_f32), (void *)K(pm_bf16_f32), (void *)K(pm_f32_f32), (void *)K(pm_f64_f64),
    (void *)K(pm_c64_c64), (void *)K(pm_c128_c128), (void *)K(pm_f32_f16), (void *)K(pm_f32_bf16),
    (void *)K(pm_direct_f32), (void *)K(pm_direct_f64), (void *)K(pm_direct_c64), (void *)K(pm_direct_c128),
};
#undef K
#undef PM_JOIN
#undef PM_JOIN_
#undef PM_SAME
#undef PM_COPY
#undef PM_EACH
#undef PM_OPERATORS
#undef PM_COMPLEX_OPERATORS
#undef PM_SINGLE
#undef PM_DOUBLE
#undef PM_TRANSFORM
#undef PM_TIMES
#undef PM_COMPLEX_TIMES
#undef PM_DIRECT
