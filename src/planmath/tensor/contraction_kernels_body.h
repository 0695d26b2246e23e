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
/* What is written in a loop is nothing that it reads. */
#if defined(__GNUC__) && !defined(__clang__)
#define PM_APART _Pragma("GCC ivdep")
#else
#define PM_APART
#endif
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

/* A row of real numbers, or of the products of two, is summed in eight vectors, and added to a vector of sums. */
#define PM_EIGHT(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define PM_SUM(i) PM_MOVE(&x, a + at + i * LANES, PM_VECTOR), s##i += x;
#define PM_DOT(i)                                                                                                      \
    PM_MOVE(&x, a + at + i * LANES, PM_VECTOR), PM_MOVE(&y, b + at + i * LANES, PM_VECTOR), s##i += x * y;
#define PM_ROWS(T, sum_name, dot_name)                                                                                 \
    PM_INLINE void K(sum_name)(i64 n, const T *a, T *sum) {                                                            \
        typedef T vector __attribute__((vector_size(PM_VECTOR)));                                                      \
        enum { LANES = PM_VECTOR / sizeof(T) };                                                                        \
        vector s0, s1 = {0}, s2 = s1, s3 = s1, s4 = s1, s5 = s1, s6 = s1, s7 = s1, x;                                  \
        i64 at = 0;                                                                                                    \
        PM_MOVE(&s0, sum, PM_VECTOR);                                                                                  \
        for (; at + 8 * LANES <= n; at += 8 * LANES) { PM_EIGHT(PM_SUM) }                                              \
        for (; at + LANES <= n; at += LANES) { PM_SUM(0) }                                                             \
        s0 = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));                                                        \
        PM_MOVE(sum, &s0, PM_VECTOR);                                                                                  \
        for (i64 i = at; i < n; i++) sum[i - at] += a[i];                                                              \
    }                                                                                                                  \
    PM_INLINE void K(dot_name)(i64 n, const T *a, const T *b, T *sum) {                                                \
        typedef T vector __attribute__((vector_size(PM_VECTOR)));                                                      \
        enum { LANES = PM_VECTOR / sizeof(T) };                                                                        \
        vector s0, s1 = {0}, s2 = s1, s3 = s1, s4 = s1, s5 = s1, s6 = s1, s7 = s1, x, y;                               \
        i64 at = 0;                                                                                                    \
        PM_MOVE(&s0, sum, PM_VECTOR);                                                                                  \
        for (; at + 8 * LANES <= n; at += 8 * LANES) { PM_EIGHT(PM_DOT) }                                              \
        for (; at + LANES <= n; at += LANES) { PM_DOT(0) }                                                             \
        s0 = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));                                                        \
        PM_MOVE(sum, &s0, PM_VECTOR);                                                                                  \
        for (i64 i = at; i < n; i++) sum[i - at] += a[i] * b[i];                                                       \
    }
PM_ROWS(float, pm_sum_f32, pm_dot_f32)
PM_ROWS(double, pm_sum_f64, pm_dot_f64)

/* The sum of what partial sums there are, in pairs: that takes vectors of them, and rounds less. */
#define PM_TOTAL(name, T)                                                                                              \
    PM_INLINE T K(name)(i64 n, T *sum) {                                                                               \
        if (n == 0) return 0;                                                                                          \
        for (i64 half; (half = n / 2) > 0; n -= half)                                                                  \
            for (i64 i = 0; i < half; i++) sum[i] += sum[n - half + i];                                                \
        return sum[0];                                                                                                 \
    }
PM_TOTAL(pm_total_f32, float)
PM_TOTAL(pm_total_f64, double)
PM_TOTAL(pm_total_c64, c64)
PM_TOTAL(pm_total_c128, c128)

/* d = the sum of op(a) over the summed loops, in the dtype W, a row of elements at a time. */
#define PM_TRANSFORM(name, S, W, D, load, apply, total, store, R, rows)                                                \
    PM_INLINE void K(name##_row)(const i64 *p, i64 n, const char *s, i64 step, W *row) {                               \
        if (step == sizeof(S))                                                                                         \
            for (i64 i = 0; i < n; i++) row[i] = load(((const S *)s)[i]);                                              \
        else                                                                                                           \
            for (i64 i = 0; i < n; i++) row[i] = load(*(const S *)(s + i * step));                                     \
        if (p[PM_OPERATOR] != 1) apply(p[PM_OPERATOR], n, row);                                                        \
    }                                                                                                                  \
    PM_INLINE void K(name##_add)(const i64 *p, i64 n, const char *s, i64 step, W *row, W *sum) {                       \
        if (step == sizeof(S) && p[PM_OPERATOR] == 1) {                                                                \
            for (i64 i = 0; i < n; i++) sum[i] += load(((const S *)s)[i]);                                             \
            return;                                                                                                    \
        }                                                                                                              \
        K(name##_row)(p, n, s, step, row);                                                                             \
        for (i64 i = 0; i < n; i++) sum[i] += row[i];                                                                  \
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
                const int fast = p[PM_OPERATOR] == 1 && sizeof(S) == sizeof(W) && from == sizeof(S) && count >= 64;    \
                const i64 lanes = PM_VECTOR / sizeof(W), width = fast ? lanes : pm_least(count, PM_SUMS);              \
                for (i64 i = 0; i < width; i++) sum[i] = 0;                                                            \
                do                                                                                                     \
                    if (fast)                                                                                          \
                        rows(count * (i64)(sizeof(W) / sizeof(R)), (const R *)a, (R *)sum);                            \
                    else                                                                                               \
                        for (i64 i0 = 0; i0 < count; i0 += width)                                                      \
                            K(name##_add)(p, pm_least(count - i0, width), a + i0 * from, from, row, sum);              \
                while (pm_next(&summed, &a, &b, &d));                                                                  \
                *(D *)d = store(fast ? total(lanes, sum) : total(width, sum));                                         \
            } else                                                                                                     \
                for (i64 i0 = 0; i0 < count; i0 += PM_CHUNK) {                                                         \
                    i64 n = pm_least(count - i0, PM_CHUNK);                                                            \
                    const char *s = a + i0 * from;                                                                     \
                    char *t = d + i0 * to;                                                                             \
                    K(name##_row)(p, n, s, from, sum);                                                                 \
                    while (pm_next(&summed, &s, &b, &t)) K(name##_add)(p, n, s, from, row, sum);                       \
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

PM_TRANSFORM(pm_f16_f32, uint16_t, float, float, K(pm_from_f16), K(pm_apply_f32), K(pm_total_f32), PM_SAME,
             float, K(pm_sum_f32))
PM_TRANSFORM(pm_bf16_f32, uint16_t, float, float, K(pm_from_bf16), K(pm_apply_f32), K(pm_total_f32), PM_SAME,
             float, K(pm_sum_f32))
PM_TRANSFORM(pm_f32_f32, float, float, float, PM_SAME, K(pm_apply_f32), K(pm_total_f32), PM_SAME,
             float, K(pm_sum_f32))
PM_TRANSFORM(pm_f64_f64, double, double, double, PM_SAME, K(pm_apply_f64), K(pm_total_f64), PM_SAME,
             double, K(pm_sum_f64))
PM_TRANSFORM(pm_c64_c64, c64, c64, c64, PM_SAME, K(pm_apply_c64), K(pm_total_c64), PM_SAME,
             float, K(pm_sum_f32))
PM_TRANSFORM(pm_c128_c128, c128, c128, c128, PM_SAME, K(pm_apply_c128), K(pm_total_c128), PM_SAME,
             double, K(pm_sum_f64))
PM_TRANSFORM(pm_f32_f16, float, float, uint16_t, PM_SAME, K(pm_apply_f32), K(pm_total_f32), K(pm_to_f16),
             float, K(pm_sum_f32))
PM_TRANSFORM(pm_f32_bf16, float, float, uint16_t, PM_SAME, K(pm_apply_f32), K(pm_total_f32), K(pm_to_bf16),
             float, K(pm_sum_f32))

/* d = alpha * the sum of a * b over the summed loops + beta * d, element by element: where there is no matrix in it, or
 * only tiny ones. As in BLAS, d is not read where beta is 0, nor a and b where alpha is. */
#define PM_TIMES(x, y) ((x) * (y))
#define PM_COMPLEX_TIMES(x, y)                                                                                         \
    __builtin_complex(__real__(x) * __real__(y) - __imag__(x) * __imag__(y),                                           \
                      __real__(x) * __imag__(y) + __imag__(x) * __real__(y))
#define PM_DIRECT(name, T, TIMES, total, R, rows)                                                                      \
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
    /* Four rows at a time, each with a number of its own. */                                                          \
    PM_INLINE void K(name##_four)(i64 n, const char *a, i64 ta, const char *b, i64 tb, T *sum) {                       \
        const T x0 = *(const T *)a, x1 = *(const T *)(a + ta), x2 = *(const T *)(a + 2 * ta);                          \
        const T x3 = *(const T *)(a + 3 * ta), *y0 = (const T *)b, *y1 = (const T *)(b + tb);                          \
        const T *y2 = (const T *)(b + 2 * tb), *y3 = (const T *)(b + 3 * tb);                                          \
        PM_APART for (i64 i = 0; i < n; i++)                                                                           \
            sum[i] += (TIMES(x0, y0[i]) + TIMES(x1, y1[i])) + (TIMES(x2, y2[i]) + TIMES(x3, y3[i]));                   \
    }                                                                                                                  \
    PM_INLINE void K(name##_single)(i64 n, const char *a, i64 sa, const char *b, i64 sb, T alpha, T *d) {              \
        const T *x = (const T *)a, *y = (const T *)b;                                                                  \
        i64 size = sizeof(T);                                                                                          \
        if (sa == size && sb == size)                                                                                  \
            PM_APART for (i64 i = 0; i < n; i++) d[i] = TIMES(alpha, TIMES(x[i], y[i]));                               \
        else if (sa == 0 && sb == size)                                                                                \
            PM_APART for (i64 i = 0; i < n; i++) d[i] = TIMES(alpha, TIMES(*x, y[i]));                                 \
        else if (sa == size && sb == 0)                                                                                \
            PM_APART for (i64 i = 0; i < n; i++) d[i] = TIMES(alpha, TIMES(x[i], *y));                                 \
        else                                                                                                           \
            for (i64 i = 0; i < n; i++)                                                                                \
                d[i] = TIMES(alpha, TIMES(*(const T *)(a + i * sa), *(const T *)(b + i * sb)));                        \
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
        const int single = summing && p[PM_SUMMED] == 0 && beta == 0 && sd == sizeof(T);                               \
        pm_start(&outer, job, 0, results, inner, -1);                                                                  \
        pm_start(&summed, job, results, all, inner, -1);                                                               \
        const int rowwise = summed.n == 1 && ((sa == 0 && sb == sizeof(T)) || (sa == sizeof(T) && sb == 0));           \
        do {                                                                                                           \
            if (single)                                                                                                \
                K(name##_single)(count, a, sa, b, sb, alpha, (T *)d);                                                  \
            else if (along) {                                                                                          \
                const int fast = sizeof(T) == sizeof(R) && sa == sizeof(T) && sb == sizeof(T) && count >= 64;          \
                const i64 lanes = PM_VECTOR / sizeof(T), width = fast ? lanes : pm_least(count, PM_SUMS);              \
                for (i64 i = 0; i < width; i++) sum[i] = 0;                                                            \
                if (summing) do                                                                                        \
                    if (fast)                                                                                          \
                        rows(count, (const R *)a, (const R *)b, (R *)sum);                                             \
                    else                                                                                               \
                        for (i64 i0 = 0; i0 < count; i0 += width)                                                      \
                            K(name##_row)(pm_least(count - i0, width), a + i0 * sa, sa, b + i0 * sb, sb, sum);         \
                while (pm_next(&summed, &a, &b, &d));                                                                  \
                T found = fast ? total(lanes, sum) : total(width, sum);                                                \
                found = TIMES(alpha, found);                                                                           \
                if (beta != 0) found += TIMES(beta, *(const T *)d);                                                    \
                *(T *)d = found;                                                                                       \
            } else                                                                                                     \
                for (i64 i0 = 0; i0 < count; i0 += PM_CHUNK) {                                                         \
                    i64 n = pm_least(count - i0, PM_CHUNK);                                                            \
                    const char *x = a + i0 * sa, *y = b + i0 * sb;                                                     \
                    char *t = d + i0 * sd;                                                                             \
                    for (i64 i = 0; i < n; i++) sum[i] = 0;                                                            \
                    if (summing && rowwise) {                                                                          \
                        const i64 ta = summed.a[0], tb = summed.b[0];                                                  \
                        i64 k = 0;                                                                                     \
                        for (; k + 4 <= summed.count[0]; k += 4)                                                       \
                            if (sa == 0)                                                                               \
                                K(name##_four)(n, x + k * ta, ta, y + k * tb, tb, sum);                                \
                            else                                                                                       \
                                K(name##_four)(n, y + k * tb, tb, x + k * ta, ta, sum);                                \
                        for (; k < summed.count[0]; k++) K(name##_row)(n, x + k * ta, sa, y + k * tb, sb, sum);        \
                    } else if (summing) do K(name##_row)(n, x, sa, y, sb, sum);                                        \
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

PM_DIRECT(pm_direct_f32, float, PM_TIMES, K(pm_total_f32), float, K(pm_dot_f32))
PM_DIRECT(pm_direct_f64, double, PM_TIMES, K(pm_total_f64), double, K(pm_dot_f64))
PM_DIRECT(pm_direct_c64, c64, PM_COMPLEX_TIMES, K(pm_total_c64), float, K(pm_dot_f32))
PM_DIRECT(pm_direct_c128, c128, PM_COMPLEX_TIMES, K(pm_total_c128), double, K(pm_dot_f64))

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
#undef PM_APART
#undef PM_SQUARE
#undef PM_SCALARS
#undef PM_COPY
#undef PM_EACH
#undef PM_OPERATORS
#undef PM_COMPLEX_OPERATORS
#undef PM_SINGLE
#undef PM_DOUBLE
#undef PM_TOTAL
#undef PM_EIGHT
#undef PM_SUM
#undef PM_DOT
#undef PM_ROWS
#undef PM_TRANSFORM
#undef PM_TIMES
#undef PM_COMPLEX_TIMES
#undef PM_DIRECT
