/* Levels of blocks: included by loops_typed.h. */

/* Blocks of `size` elements below the positions of one level, whose rows are those of the result for all. The element in row r
 * and column t of a block is x[r * vr + t * vt], which is multiplied with y[t * bt]. So many rows are worked on at a time, whose
 * sums stay in registers. */
#if defined(__GNUC__) && !defined(__clang__)
#define PM_UNROLLED _Pragma("GCC unroll 16")
#else
#define PM_UNROLLED
#endif
enum { P(ROWS) = 4 };
/* Bytes from which on blocks are worked on one after the other, so that they are read in the order in which they are stored. */
#define PM_LARGE_BLOCK 1024
#define PM_BLOCK_OF(q) const T *x = val + (q) * size, *y = b + (wide ? ((const i64 *)crd)[q] : ((const int32_t *)crd)[q]) * bs

/* One column: two sums for each row, as an addition takes longer than it takes to begin the next one. */
PM_INLINE void P(block_rows)(i64 from, i64 to, const void *crd, int wide, const T *val, i64 size, i64 vr, i64 vt, const T *b, i64 bs,
                             i64 bt, i64 count, T alpha, T *c, i64 cr, const int rows) {
    T even[P(ROWS)], odd[P(ROWS)];
    PM_UNROLLED
    for (int r = 0; r < rows; r++) even[r] = odd[r] = (T)ZERO;
    for (i64 q = from; q < to; q++) {
        PM_BLOCK_OF(q);
        i64 t = 0;
        for (; t + 2 <= count; t += 2) {
            const T first = y[t * bt], second = y[(t + 1) * bt];
            PM_UNROLLED
            for (int r = 0; r < rows; r++) {
                even[r] = ADD(even[r], MUL(x[r * vr + t * vt], first));
                odd[r] = ADD(odd[r], MUL(x[r * vr + (t + 1) * vt], second));
            }
        }
        if (t < count) {
            const T last = y[t * bt];
            PM_UNROLLED
            for (int r = 0; r < rows; r++) even[r] = ADD(even[r], MUL(x[r * vr + t * vt], last));
        }
    }
    PM_UNROLLED
    for (int r = 0; r < rows; r++) PM_PUT(c + r * cr, ADD(even[r], odd[r]));
}

#if BITS
/* One or two vectors of columns. */
PM_INLINE void P(block_columns)(i64 from, i64 to, const void *crd, int wide, const T *val, i64 size, i64 vr, i64 vt, const T *b,
                                i64 bs, i64 bt, i64 count, T alpha, T *c, i64 cr, const int rows, const int two) {
    enum { L = P(LANES) };
    V s[P(ROWS)], u[P(ROWS)];
    PM_UNROLLED
    for (int r = 0; r < rows; r++) s[r] = u[r] = P(all)((T)ZERO);
    for (i64 q = from; q < to; q++) {
        PM_BLOCK_OF(q);
        for (i64 t = 0; t < count; t++) {
            const V first = P(load)(y + t * bt), second = two ? P(load)(y + t * bt + L) : first;
            PM_UNROLLED
            for (int r = 0; r < rows; r++) {
                const V v = P(all)(x[r * vr + t * vt]);
                s[r] = VADD(s[r], VMUL(v, first));
                if (two) u[r] = VADD(u[r], VMUL(v, second));
                (void)v, (void)first, (void)second;
            }
        }
    }
    PM_UNROLLED
    for (int r = 0; r < rows; r++) {
        P(keep)(c + r * cr, s[r], alpha, 1, 0, 0);
        if (two) P(keep)(c + r * cr + L, u[r], alpha, 1, 0, 0);
    }
}
#define PM_VECTORS_OF(rows, size, vr, vt, count)                                                                       \
    if (bn == 1 && cn == 1) {                                                                                          \
        for (; w + 2 * P(LANES) <= columns; w += 2 * P(LANES))                                                         \
            P(block_columns)(from, to, crd, wide, val, size, vr, vt, b + w, bs, bt, count, alpha, c + w, cr, rows, 1);  \
        for (; w + P(LANES) <= columns; w += P(LANES))                                                                 \
            P(block_columns)(from, to, crd, wide, val, size, vr, vt, b + w, bs, bt, count, alpha, c + w, cr, rows, 0);  \
    }
#else
#define PM_VECTORS_OF(rows, size, vr, vt, count)
#endif

/* All columns of so many rows. */
#define PM_ROWS_OF_BLOCKS(name, rows, size, vr, vt, count)                                                             \
    static __attribute__((noinline)) void P(name)(i64 from, i64 to, const void *crd, int wide, const T *val, i64 each, \
                                                  i64 line, const T *b, i64 bs, i64 bt, i64 summed, i64 bn,            \
                                                  T alpha, T *c, i64 cr, i64 cn, i64 columns) {                        \
        i64 w = 0;                                                                                                     \
        (void)each, (void)line, (void)summed;                                                                          \
        PM_VECTORS_OF(rows, size, vr, vt, count)                                                                       \
        for (; w < columns; w++)                                                                                       \
            P(block_rows)(from, to, crd, wide, val, size, vr, vt, b + w * bn, bs, bt, count, alpha, c + w * cn, cr, rows); \
    }
PM_ROWS_OF_BLOCKS(row_of_1, 1, each, line, 1, summed)
PM_ROWS_OF_BLOCKS(row_of_2, 2, each, line, 1, summed)
PM_ROWS_OF_BLOCKS(row_of_3, 3, each, line, 1, summed)
PM_ROWS_OF_BLOCKS(row_of_4, 4, each, line, 1, summed)
PM_ROWS_OF_BLOCKS(column_of_1, 1, each, 1, line, summed)
PM_ROWS_OF_BLOCKS(column_of_2, 2, each, 1, line, summed)
PM_ROWS_OF_BLOCKS(column_of_3, 3, each, 1, line, summed)
PM_ROWS_OF_BLOCKS(column_of_4, 4, each, 1, line, summed)
PM_ROWS_OF_BLOCKS(row_of_4_by_4, 4, 16, 4, 1, 4)
PM_ROWS_OF_BLOCKS(column_of_4_by_4, 4, 16, 1, 4, 4)
#undef PM_ROWS_OF_BLOCKS
#undef PM_VECTORS_OF
typedef void (*P(block_kernel))(i64, i64, const void *, int, const T *, i64, i64, const T *, i64, i64, i64, i64, T, T *, i64, i64, i64);
/* By whether blocks lie by rows, and how many rows are left. */
static const P(block_kernel) P(block_kernels)[2][P(ROWS) + 1] = {
    {NULL, P(column_of_1), P(column_of_2), P(column_of_3), P(column_of_4)},
    {NULL, P(row_of_1), P(row_of_2), P(row_of_3), P(row_of_4)},
};

#if PM_SCALED && BITS && PM_VECTOR >= BITS / 2
#define PM_FOURS 1
/* The same of one column where b and c are contiguous, by vectors of four elements: rows of a block, or columns of it. */
typedef T P(four) __attribute__((vector_size(4 * sizeof(T))));
PM_INLINE P(four) P(load_four)(const T *x) {
    P(four) v;
    memcpy(&v, x, sizeof v);
    return v;
}
/* The sum of each of four vectors. */
PM_INLINE P(four) P(sum_each)(P(four) x, P(four) y, P(four) z, P(four) w) {
#if defined(__clang__)
    return (P(four)){(x[0] + x[1]) + (x[2] + x[3]), (y[0] + y[1]) + (y[2] + y[3]), (z[0] + z[1]) + (z[2] + z[3]),
                     (w[0] + w[1]) + (w[2] + w[3])};
#else
    __typeof__(x < x) even, odd;
    for (int l = 0; l < 4; l++) even[l] = 2 * l, odd[l] = 2 * l + 1;
    const P(four) one = __builtin_shuffle(x, y, even) + __builtin_shuffle(x, y, odd);
    const P(four) two = __builtin_shuffle(z, w, even) + __builtin_shuffle(z, w, odd);
    return __builtin_shuffle(one, two, even) + __builtin_shuffle(one, two, odd);
#endif
}
#define PM_FOURS_OF(INDEX, suffix)                                                                                     \
    static __attribute__((noinline)) void P(fours_##suffix)(                                                           \
        const INDEX *pos, const INDEX *crd, const INDEX *parents, i64 shift, i64 first, i64 behind, const T *val,      \
        const T *b, i64 bs, i64 b_above, T alpha, T *c, i64 c_above, int by_rows) {                                    \
        for (i64 t = first; t < behind; t++) {                                                                         \
            const i64 above = parents ? parents[t] : t - shift, end = pos[t + 1];                                      \
            const T *from = b + above * b_above;                                                                       \
            T *at = c + above * c_above;                                                                               \
            P(four) s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, sums;                                                      \
            if (by_rows) {                                                                                             \
                for (i64 q = pos[t]; q < end; q++) {                                                                   \
                    const T *x = val + q * 16;                                                                         \
                    const P(four) y = P(load_four)(from + crd[q] * bs);                                                \
                    s0 += P(load_four)(x) * y, s1 += P(load_four)(x + 4) * y;                                          \
                    s2 += P(load_four)(x + 8) * y, s3 += P(load_four)(x + 12) * y;                                     \
                }                                                                                                      \
                sums = P(sum_each)(s0, s1, s2, s3);                                                                    \
            } else {                                                                                                   \
                for (i64 q = pos[t]; q < end; q++) {                                                                   \
                    const T *x = val + q * 16, *y = from + crd[q] * bs;                                                \
                    s0 += P(load_four)(x) * y[0], s1 += P(load_four)(x + 4) * y[1];                                    \
                    s2 += P(load_four)(x + 8) * y[2], s3 += P(load_four)(x + 12) * y[3];                               \
                }                                                                                                      \
                sums = (s0 + s1) + (s2 + s3);                                                                          \
            }                                                                                                          \
            sums = P(load_four)(at) + alpha * sums;                                                                    \
            memcpy(at, &sums, sizeof sums);                                                                            \
        }                                                                                                              \
    }
PM_FOURS_OF(int32_t, narrow)
PM_FOURS_OF(i64, wide)
#undef PM_FOURS_OF
#endif
#if PM_SCALED
/* The same of one column and square blocks of a size that is known to the compiler: where a row has few elements, each has two
 * sums, as an addition takes longer than it takes to begin the next one. */
enum { P(LARGEST) = 8 };
PM_INLINE void P(square_row)(i64 from, i64 to, const void *crd, int wide, const T *val, const T *b, i64 bs, i64 bt, int by_rows,
                             T alpha, T *c, i64 cr, const int n) {
    const int sums = n <= 4 ? 2 : 1, size = n * n;
    T sum[P(LARGEST)];
    PM_UNROLLED
    for (int r = 0; r < sums * n; r++) sum[r] = (T)ZERO;
    for (i64 q = from; q < to; q++) {
        PM_BLOCK_OF(q);
        PM_UNROLLED
        for (int t = 0; t < n; t++) {
            const T v = y[t * bt];
            PM_UNROLLED
            for (int r = 0; r < n; r++) {
                T *at = sum + r + (sums == 2 && t % 2 ? n : 0);
                *at = ADD(*at, MUL(x[by_rows ? r * n + t : t * n + r], v));
            }
        }
    }
    PM_UNROLLED
    for (int r = 0; r < n; r++) PM_PUT(c + r * cr, sums == 2 ? ADD(sum[r], sum[r + n]) : sum[r]);
}
#define PM_SQUARE(size)                                                                                                \
    static __attribute__((noinline)) void P(square_##size)(                                                            \
        const i64 *p, const void *pos, const void *crd, const void *parents, i64 shift, i64 first, i64 behind,         \
        const T *val, const T *b, i64 bs, i64 bt, i64 b_above, T alpha, T *c, i64 cr, i64 c_above, int by_rows) {      \
        const int wide = (int)p[PM_WIDE];                                                                              \
        for (i64 t = first; t < behind; t++) {                                                                         \
            const i64 above = parents ? pm_at(p, parents, t) : t - shift, from = pm_at(p, pos, t), to = pm_at(p, pos, t + 1); \
            const T *y = b + above * b_above;                                                                          \
            if (by_rows) P(square_row)(from, to, crd, wide, val, y, bs, bt, 1, alpha, c + above * c_above, cr, size);  \
            else P(square_row)(from, to, crd, wide, val, y, bs, bt, 0, alpha, c + above * c_above, cr, size);          \
        }                                                                                                              \
    }
PM_SQUARE(2)
PM_SQUARE(3)
PM_SQUARE(5)
PM_SQUARE(6)
PM_SQUARE(7)
PM_SQUARE(8)
#undef PM_SQUARE
typedef void (*P(square))(const i64 *, const void *, const void *, const void *, i64, i64, i64, const T *, const T *, i64, i64,
                          i64, T, T *, i64, i64, int);
static const P(square) P(squares)[P(LARGEST) + 1] = {
    NULL, NULL, P(square_2), P(square_3), NULL, P(square_5), P(square_6), P(square_7), P(square_8),
};
#endif

/* The same for all columns; returns 0 where the blocks are none of these. */
static int P(blocks)(const pm_job *job, i64 number, i64 first, i64 behind, const void *parents, i64 shift, i64 b_above,
                     i64 c_above, i64 b_first, i64 c_first) {
    const i64 *p = job->p, *level = pm_level(p, number), *one = pm_level(p, number + 1), *two = pm_level(p, number + 2);
    const i64 s1 = one[PM_SIZE], s2 = two[PM_SIZE], b1 = one[PM_B_STEP], b2 = two[PM_B_STEP], c1 = one[PM_C_STEP];
    const i64 c2 = two[PM_C_STEP], bn = p[PM_B_COLUMN], cn = p[PM_C_COLUMN], bs = level[PM_B_STEP], low = level[PM_LOW];
    const void *crd = pm_array(p, number, 1);
    const void *pos = pm_array(p, number, 0);
    const T *val = (const T *)job->val, alpha = *(const T *)job->alpha;
    const int wide = (int)p[PM_WIDE];
    const i64 bt = c1 ? b2 : b1, cr = c1 ? c1 : c2;
    if (level[PM_C_STEP] != 0 || low != 0 || (c1 == 0) == (c2 == 0)) return 0;
#if PM_FOURS
    if (s1 == 4 && s2 == 4 && job->columns == 1 && bt == 1 && cr == 1) {
        const T *from_b = (const T *)job->b + b_first + job->column * bn;
        T *to_c = (T *)job->c + c_first + job->column * cn;
        const int rows = c1 != 0;
        if (wide) P(fours_wide)(pos, crd, parents, shift, first, behind, val, from_b, bs, b_above, alpha, to_c, c_above, rows);
        else P(fours_narrow)(pos, crd, parents, shift, first, behind, val, from_b, bs, b_above, alpha, to_c, c_above, rows);
        return 1;
    }
#endif
#if PM_SCALED
    const P(square) square = job->columns == 1 && s1 == s2 && s1 <= P(LARGEST) ? P(squares)[s1] : NULL;
    if (square) {
        square(p, pos, crd, parents, shift, first, behind, val, (const T *)job->b + b_first + job->column * bn, bs, bt, b_above,
               alpha, (T *)job->c + c_first + job->column * cn, cr, c_above, c1 != 0);
        return 1;
    }
#endif
    const i64 tall = c1 ? s1 : s2, count = c1 ? s2 : s1, line = c1 ? s2 : 1; /* from one row to the next */
    const i64 size = s1 * s2;
    for (i64 t = first; t < behind; t++) {
        const i64 above = parents ? pm_at(p, parents, t) : t - shift, from = pm_at(p, pos, t), to = pm_at(p, pos, t + 1);
        const T *b = (const T *)job->b + b_first + above * b_above + job->column * bn;
        T *c = (T *)job->c + c_first + above * c_above + job->column * cn;
        const i64 once = size * (i64)sizeof(T) >= PM_LARGE_BLOCK ? 1 : to - from;
        for (i64 q = from; q < to; q += once)
            for (i64 r = 0, n; r < tall; r += n) {
                n = pm_least(tall - r, P(ROWS));
                P(block_kernel) kernel = P(block_kernels)[c1 != 0][n];
                if (s1 == 4 && s2 == 4) kernel = c1 ? P(row_of_4_by_4) : P(column_of_4_by_4);
                kernel(q, q + once, crd, wide, val + r * line, size, s2, b, bs, bt, count, bn, alpha, c + r * cr, cr, cn,
                       job->columns);
            }
    }
    return 1;
}
#undef PM_BLOCK_OF
#undef PM_UNROLLED
#undef PM_LARGE_BLOCK
#undef PM_FOURS
