/* The kernels, for one instruction set: included by contraction_kernels.h once for each, with PM_ISA naming it. */

#define PM_JOIN_(a, b) a##_##b
#define PM_JOIN(a, b) PM_JOIN_(a, b)
#define K(name) PM_JOIN(name, PM_ISA)

#include "half.h"

#define PM_SAME(x) (x)
/* memcpy may be a function that checks bounds, compiled for one instruction set only. */
#define PM_MOVE __builtin_memcpy
/* Loads a vector and keeps it in a register, where a compiler would read it again for each operation. */
#if defined(__x86_64__)
#define PM_KEEP(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#define PM_KEEP(v) __asm__("" : "+w"(v))
#else
#define PM_KEEP(v)
#endif
#define PM_UNROLLED _Pragma("GCC unroll 4")
#define PM_TAKE(v, from)                                                                                               \
    do {                                                                                                               \
        PM_MOVE(&v, from, sizeof v);                                                                                   \
        PM_KEEP(v);                                                                                                    \
    } while (0)

/* Squares of 4 by 4 elements, transposed in registers: element r of row i of s becomes element i of row r of t. */
#define PM_SQUARE(name, T, M)                                                                                          \
    PM_INLINE void K(name)(const char *s, i64 from, char *t, i64 to) {                                                 \
        typedef T four __attribute__((vector_size(4 * sizeof(T))));                                                    \
        typedef M mask __attribute__((vector_size(4 * sizeof(M))));                                                    \
        four r0, r1, r2, r3, u, v, w, x;                                                                               \
        PM_MOVE(&r0, s, sizeof r0), PM_MOVE(&r1, s + from, sizeof r1);                                                 \
        PM_MOVE(&r2, s + 2 * from, sizeof r2), PM_MOVE(&r3, s + 3 * from, sizeof r3);                                  \
        u = __builtin_shuffle(r0, r1, (mask){0, 4, 2, 6}), v = __builtin_shuffle(r0, r1, (mask){1, 5, 3, 7});          \
        w = __builtin_shuffle(r2, r3, (mask){0, 4, 2, 6}), x = __builtin_shuffle(r2, r3, (mask){1, 5, 3, 7});          \
        r0 = __builtin_shuffle(u, w, (mask){0, 1, 4, 5}), r1 = __builtin_shuffle(v, x, (mask){0, 1, 4, 5});            \
        r2 = __builtin_shuffle(u, w, (mask){2, 3, 6, 7}), r3 = __builtin_shuffle(v, x, (mask){2, 3, 6, 7});            \
        PM_MOVE(t, &r0, sizeof r0), PM_MOVE(t + to, &r1, sizeof r1);                                                   \
        PM_MOVE(t + 2 * to, &r2, sizeof r2), PM_MOVE(t + 3 * to, &r3, sizeof r3);                                      \
    }
#if defined(__GNUC__) && !defined(__clang__)
PM_SQUARE(pm_square_32, uint32_t, int32_t)
PM_SQUARE(pm_square_64, uint64_t, int64_t)
#endif
#define PM_SCALARS(T) /* the same, one by one */                                                                       \
    for (i64 r = 0; r < 4; r++)                                                                                        \
        for (i64 i = 0; i < 4; i++) ((T *)(t + r * to))[i] = ((const T *)(s + i * from))[r];
PM_INLINE void K(pm_square_16)(const char *s, i64 from, char *t, i64 to) { PM_SCALARS(uint16_t) }
PM_INLINE void K(pm_square_128)(const char *s, i64 from, char *t, i64 to) { PM_SCALARS(c128) }
#if !defined(__GNUC__) || defined(__clang__)
PM_INLINE void K(pm_square_32)(const char *s, i64 from, char *t, i64 to) { PM_SCALARS(uint32_t) }
PM_INLINE void K(pm_square_64)(const char *s, i64 from, char *t, i64 to) { PM_SCALARS(uint64_t) }
#endif

/* Copies that keep the elements as they are. Where source and destination are contiguous along different loops, blocks
 * of both that fit into the first cache are copied one after the other, in squares. */
#define PM_COPY(name, T, square)                                                                                       \
    PM_INLINE void K(name##_block)(const char *s, i64 from, char *t, i64 to, i64 n, i64 rows) {                        \
        i64 r, i, size = sizeof(T);                                                                                    \
        for (r = 0; r + 4 <= rows; r += 4)                                                                             \
            for (i = 0; i + 4 <= n; i += 4) K(square)(s + i * from + r * size, from, t + r * to + i * size, to);       \
        for (r = 0; r < rows; r++)                                                                                     \
            for (i = r < rows / 4 * 4 ? n / 4 * 4 : 0; i < n; i++)                                                     \
                ((T *)(t + r * to))[i] = ((const T *)(s + i * from))[r];                                               \
    }                                                                                                                  \
    static void K(name##_body)(const pm_job *job) {                                                                    \
        const i64 *p = job->p;                                                                                         \
        const i64 size = sizeof(T), block = PM_BLOCK_BYTES / size;                                                     \
        i64 last = p[PM_RESULT] - 1, tile = p[PM_TILE];                                                                \
        i64 n = pm_count(job, last), from = pm_loop(p, last)[1], to = pm_loop(p, last)[3];                             \
        i64 rows = tile < 0 ? 0 : pm_count(job, tile), row_to = tile < 0 ? 0 : pm_loop(p, tile)[3];                    \
        const char *a = job->a, *b = job->b;                                                                           \
        char *d = job->d;                                                                                              \
        pm_nest nest;                                                                                                  \
        pm_start(&nest, job, 0, last, tile, -1);                                                                       \
        do {                                                                                                           \
            if (tile >= 0)                                                                                             \
                for (i64 r = 0; r < rows; r += block)                                                                  \
                    for (i64 i = 0; i < n; i += block)                                                                 \
                        K(name##_block)(a + i * from + r * size, from, d + r * row_to + i * size, row_to,              \
                                        n - i < block ? n - i : block, rows - r < block ? rows - r : block);           \
            else if (from == size && to == size && n >= 16)                                                            \
                PM_MOVE(d, a, (size_t)(n * size));                                                                     \
            else if (from == size && to == size)                                                                       \
                for (i64 i = 0; i < n; i++) ((T *)d)[i] = ((const T *)a)[i];                                           \
            else                                                                                                       \
                for (i64 i = 0; i < n; i++) *(T *)(d + i * to) = *(const T *)(a + i * from);                           \
        } while (pm_next(&nest, &a, &b, &d));                                                                          \
    }                                                                                                                  \
    static void K(name)(const i64 *p, const char *a, char *d) {                                                        \
        pm_work(K(name##_body), pm_parts(p), p, a, a, d, NULL, NULL, NULL);                                            \
    }

PM_COPY(pm_copy_16, uint16_t, pm_square_16)
PM_COPY(pm_copy_32, uint32_t, pm_square_32)
PM_COPY(pm_copy_64, uint64_t, pm_square_64)
PM_COPY(pm_copy_128, c128, pm_square_128)

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
    static void K(name)(const i64 *p, const char *a, char *d) {                                                        \
        pm_work(K(name##_body), pm_parts(p), p, a, a, d, NULL, NULL, NULL);                                            \
    }

PM_TRANSFORM(pm_f16_f32, uint16_t, float, float, K(pm_from_f16), K(pm_apply_f32), PM_SAME)
PM_TRANSFORM(pm_bf16_f32, uint16_t, float, float, K(pm_from_bf16), K(pm_apply_f32), PM_SAME)
PM_TRANSFORM(pm_f32_f32, float, float, float, PM_SAME, K(pm_apply_f32), PM_SAME)
PM_TRANSFORM(pm_f64_f64, double, double, double, PM_SAME, K(pm_apply_f64), PM_SAME)
PM_TRANSFORM(pm_c64_c64, c64, c64, c64, PM_SAME, K(pm_apply_c64), PM_SAME)
PM_TRANSFORM(pm_c128_c128, c128, c128, c128, PM_SAME, K(pm_apply_c128), PM_SAME)
PM_TRANSFORM(pm_f32_f16, float, float, uint16_t, PM_SAME, K(pm_apply_f32), K(pm_to_f16))
PM_TRANSFORM(pm_f32_bf16, float, float, uint16_t, PM_SAME, K(pm_apply_f32), K(pm_to_bf16))

/* d = alpha * the sum of a * b over the summed loops + beta * d, element by element: where there is no matrix in it, or
 * only tiny ones. As in BLAS, d is not read where beta is 0, nor a and b where alpha is. */
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
        const int summing = alpha != 0; /* else nothing is read, not even infinities */                                \
        pm_start(&outer, job, 0, results, inner, -1);                                                                  \
        pm_start(&summed, job, results, all, inner, -1);                                                               \
        do {                                                                                                           \
            if (along) {                                                                                               \
                i64 width = count < PM_CHUNK / 4 ? count : PM_CHUNK / 4;                                               \
                T total = 0;                                                                                           \
                for (i64 i = 0; i < width; i++) sum[i] = 0;                                                            \
                if (summing) do                                                                                        \
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
                    if (summing) do K(name##_row)(n, x, sa, y, sb, sum);                                               \
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
        pm_work(K(name##_body), pm_parts(p), p, a, b, d, alpha, beta, NULL);                                           \
    }

PM_DIRECT(pm_direct_f32, float, PM_TIMES)
PM_DIRECT(pm_direct_f64, double, PM_TIMES)
PM_DIRECT(pm_direct_c64, c64, PM_COMPLEX_TIMES)
PM_DIRECT(pm_direct_c128, c128, PM_COMPLEX_TIMES)

#define PM_T float
#define P(name) PM_JOIN(pm_f32_##name, PM_ISA)
PM_INLINE void P(square)(const char *s, i64 from, char *t, i64 to) { K(pm_square_32)(s, from, t, to); }
#include "panels.h"
#include "gett.h"
#define PM_T double
#define P(name) PM_JOIN(pm_f64_##name, PM_ISA)
PM_INLINE void P(square)(const char *s, i64 from, char *t, i64 to) { K(pm_square_64)(s, from, t, to); }
#include "panels.h"
#include "gett.h"

/* In the order of the PM_* numbers of contraction_kernels.h. */
static void *const K(pm_kernels)[] = {
    (void *)K(pm_copy_16), (void *)K(pm_copy_32), (void *)K(pm_copy_64), (void *)K(pm_copy_128),
    (void *)K(pm_f16_f32), (void *)K(pm_bf16_f32), (void *)K(pm_f32_f32), (void *)K(pm_f64_f64),
    (void *)K(pm_c64_c64), (void *)K(pm_c128_c128), (void *)K(pm_f32_f16), (void *)K(pm_f32_bf16),
    (void *)K(pm_direct_f32), (void *)K(pm_direct_f64), (void *)K(pm_direct_c64), (void *)K(pm_direct_c128),
    (void *)K(pm_f32_gemm), (void *)K(pm_f64_gemm),
    (void *)K(pm_f32_contract), (void *)K(pm_f64_contract),
    (void *)(intptr_t)K(pm_f32_TERMS), (void *)(intptr_t)K(pm_f64_TERMS),
};
#undef K
#undef PM_JOIN
#undef PM_JOIN_
#undef PM_SAME
#undef PM_MOVE
#undef PM_KEEP
#undef PM_TAKE
#undef PM_UNROLLED
#undef PM_SQUARE
#undef PM_SCALARS
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
