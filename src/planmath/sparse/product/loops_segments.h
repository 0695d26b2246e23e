/* Entries below each other: segments of a level, lists, and single ones. Included by loops_typed.h. */

#if BITS
/* Sums of so many vectors of columns over a segment of entries with the row fixed. The rows of b that come later are asked
 * for before they are needed. */
#define PM_EACH_8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define PM_EACH_4(M) M(0) M(1) M(2) M(3)
#define PM_EACH_2(M) M(0) M(1)
#define PM_EACH_1(M) M(0)
#define PM_BEGIN_OF(n) V s##n = P(all)((T)ZERO);
#define PM_TERM_OF(n) s##n = VADD(s##n, VMUL(x, P(load)(y + n * P(LANES))));
#define PM_ASK_OF(n) (void)(n * PM_VECTOR % 64 == 0 && (__builtin_prefetch(next + n * P(LANES)), 1));
#define PM_KEEP_OF(n) P(keep)(c + n * P(LANES), s##n, alpha, beta, assigns, streams);
#define PM_VECTORS(N, INDEX, suffix)                                                                                   \
    PM_INLINE void P(vectors_##N##_##suffix)(i64 from, i64 to, i64 limit, const T *val, const INDEX *places,           \
                                             const INDEX *crd, int skips, i64 before, const T *b, i64 step, T alpha,   \
                                             T beta, int assigns, int streams, T *c) {                                 \
        i64 k = before;                                                                                                \
        PM_EACH_##N(PM_BEGIN_OF)                                                                                       \
        for (i64 q = from; q < to; q++) {                                                                              \
            k = skips ? k + 1 + crd[q] : crd[q];                                                                       \
            const T *y = b + k * step;                                                                                 \
            const V x = P(all)(val[places ? places[q] : q]);                                                           \
            if (N >= 4 && !skips && q + 4 < limit) {                                                                   \
                const T *next = b + crd[q + 4] * step;                                                                 \
                PM_EACH_##N(PM_ASK_OF)                                                                                 \
            }                                                                                                          \
            if (places) __builtin_prefetch(val + places[q + PM_AHEAD]);                                                \
            (void)x, (void)y;                                                                                          \
            PM_EACH_##N(PM_TERM_OF)                                                                                    \
        }                                                                                                              \
        PM_EACH_##N(PM_KEEP_OF)                                                                                        \
    }
#endif

/* Sums of W columns over a segment of entries with the row fixed. */
#define PM_SEGMENT(name, W, INDEX)                                                                                     \
    PM_INLINE void P(name)(i64 from, i64 to, const T *val, const INDEX *places, const INDEX *crd, int skips,           \
                           i64 before, const T *b, i64 step, i64 bn, T alpha, T beta, int assigns, T *c, i64 cn) {     \
        T sum[W];                                                                                                      \
        i64 k = before;                                                                                                \
        for (i64 w = 0; w < W; w++) sum[w] = (T)ZERO;                                                                  \
        for (i64 q = from; q < to; q++) {                                                                              \
            k = skips ? k + 1 + crd[q] : crd[q];                                                                       \
            if (places) __builtin_prefetch(val + places[q + PM_AHEAD]);                                                \
            const T x = val[places ? places[q] : q], *y = b + k * step;                                                \
            for (i64 w = 0; w < W; w++) sum[w] = ADD(sum[w], MUL(x, y[w * bn]));                                       \
        }                                                                                                              \
        for (i64 w = 0; w < W; w++) P(store)(c + w * cn, sum[w], alpha, beta, assigns);                                \
    }

#if BITS
#define PM_WIDE_SUMS(INDEX, suffix)                                                                                    \
    PM_VECTORS(8, INDEX, suffix)                                                                                       \
    PM_VECTORS(4, INDEX, suffix)                                                                                       \
    PM_VECTORS(2, INDEX, suffix)                                                                                       \
    PM_VECTORS(1, INDEX, suffix)
#define PM_WIDE_STEP(N, suffix)                                                                                        \
    for (; w + N * P(LANES) <= columns; w += N * P(LANES))                                                             \
        P(vectors_##N##_##suffix)(begin, end, limit, val, places, crd, skips, before, b + w, bs, alpha, beta, assigns, streams, c + w);
#define PM_WIDE_STEPS(suffix)                                                                                          \
    if (bn == 1 && cn == 1) {                                                                                          \
        const int streams = assigns && job->p[PM_STREAMS] && beta == 0 && (uintptr_t)c % PM_VECTOR == 0;               \
        PM_WIDE_STEP(8, suffix)                                                                                        \
        PM_WIDE_STEP(4, suffix)                                                                                        \
        PM_WIDE_STEP(2, suffix)                                                                                        \
        PM_WIDE_STEP(1, suffix)                                                                                        \
    }
#else
#define PM_WIDE_SUMS(INDEX, suffix)
#define PM_WIDE_STEPS(suffix)
#endif

#if PM_SCALED
#define PM_FACTOR(sum) (alpha * (sum))
#define PM_STORED(at, sum) (assigns ? beta == 0 ? alpha * (sum) : alpha * (sum) + beta * (at) : (at) + alpha * (sum))
#else
#define PM_FACTOR(sum) (sum)
#define PM_STORED(at, sum) (assigns && beta == 0 ? (sum) : ADD(at, sum))
#endif
/* Rows of one column where nothing else is to be looked at; `at` is where the sum of row t goes, X(q) the value of entry q. */
#define PM_FAST_ROWS(at, value, X)                                                                                     \
    for (i64 t = from, q = pos[from]; t < to; t++) {                                                                   \
        const i64 end = pos[t + 1];                                                                                    \
        T s0 = (T)ZERO, s1 = (T)ZERO;                                                                                  \
        for (; q + 2 <= end; q += 2) {                                                                                 \
            s0 = ADD(s0, MUL(X(q), b[crd[q]]));                                                                        \
            s1 = ADD(s1, MUL(X(q + 1), b[crd[q + 1]]));                                                                \
        }                                                                                                              \
        if (q < end) s0 = ADD(s0, MUL(X(q), b[crd[q]])), q++;                                                          \
        const T sum = ADD(s0, s1);                                                                                     \
        at = value;                                                                                                    \
    }
/* Segments that are added to one column of c, each times one element of b; entry q goes to `at`. */
#define PM_FAST_COLUMNS(factor, at)                                                                                    \
    for (i64 t = from, q = pos[from]; t < to; t++) {                                                                   \
        const i64 end = pos[t + 1];                                                                                    \
        const T y = PM_FACTOR(factor);                                                                                 \
        for (; q < end; q++) c[at] = ADD(c[at], MUL(val[q], y));                                                       \
    }
/* Entries in any order: an element of b and one of c for each. */
#define PM_FAST_LIST(in_b, in_c)                                                                                       \
    {                                                                                                                  \
        for (; q + 4 <= to; q++) {                                                                                     \
            const T x0 = PM_FACTOR(MUL(val[q], b[in_b]));                                                              \
            T *const c0 = c + (in_c);                                                                                  \
            q++;                                                                                                       \
            const T x1 = PM_FACTOR(MUL(val[q], b[in_b]));                                                              \
            T *const c1 = c + (in_c);                                                                                  \
            q++;                                                                                                       \
            const T x2 = PM_FACTOR(MUL(val[q], b[in_b]));                                                              \
            T *const c2 = c + (in_c);                                                                                  \
            q++;                                                                                                       \
            const T x3 = PM_FACTOR(MUL(val[q], b[in_b]));                                                              \
            T *const c3 = c + (in_c);                                                                                  \
            *c0 = ADD(*c0, x0), *c1 = ADD(*c1, x1), *c2 = ADD(*c2, x2), *c3 = ADD(*c3, x3);                            \
        }                                                                                                              \
        for (; q < to; q++) PM_PUT(c + (in_c), MUL(val[q], b[in_b]));                                                  \
    }
#define PM_NEXT_VALUE(q) val[q]
#define PM_PLACED_VALUE(q) (__builtin_prefetch(val + places[(q) + PM_AHEAD]), val[places[q]])

#define PM_SEGMENTS(INDEX, suffix)                                                                                     \
    PM_WIDE_SUMS(INDEX, suffix)                                                                                        \
    PM_SEGMENT(segment_4_##suffix, 4, INDEX)                                                                           \
    PM_SEGMENT(segment_1_##suffix, 1, INDEX)                                                                           \
    /* One column: two sums, as an addition takes longer than it takes to begin the next one. */                       \
    PM_INLINE T P(vector_##suffix)(i64 from, i64 to, const T *val, const INDEX *places, const INDEX *crd,             \
                                   int skips, i64 before, const T *b, i64 step) {                                      \
        T s0 = (T)ZERO, s1 = (T)ZERO;                                                                                  \
        i64 q = from, k = before;                                                                                      \
        if (skips)                                                                                                     \
            for (; q + 2 <= to; q += 2) {                                                                              \
                const i64 k0 = k + 1 + crd[q];                                                                         \
                k = k0 + 1 + crd[q + 1];                                                                               \
                s0 = ADD(s0, MUL(val[q], b[k0 * step]));                                                               \
                s1 = ADD(s1, MUL(val[q + 1], b[k * step]));                                                            \
            }                                                                                                          \
        else if (places)                                                                                               \
            for (; q + 2 <= to; q += 2) {                                                                              \
                s0 = ADD(s0, MUL(val[places[q]], b[crd[q] * step]));                                                   \
                s1 = ADD(s1, MUL(val[places[q + 1]], b[crd[q + 1] * step]));                                           \
            }                                                                                                          \
        else                                                                                                           \
            for (; q + 2 <= to; q += 2) {                                                                              \
                s0 = ADD(s0, MUL(val[q], b[crd[q] * step]));                                                           \
                s1 = ADD(s1, MUL(val[q + 1], b[crd[q + 1] * step]));                                                   \
            }                                                                                                          \
        if (q < to) {                                                                                                  \
            k = skips ? k + 1 + crd[q] : crd[q];                                                                       \
            s0 = ADD(s0, MUL(val[places ? places[q] : q], b[k * step]));                                               \
        }                                                                                                              \
        return ADD(s0, s1);                                                                                            \
    }                                                                                                                  \
    /* All columns of a segment of entries with the row fixed; `limit` is behind the last entry that may be read. */    \
    static __attribute__((noinline)) void P(sums_##suffix)(                                                            \
        const pm_job *job, i64 begin, i64 end, i64 limit, const INDEX *places, const INDEX *crd, int skips,            \
        i64 before, const T *b, i64 bs, T alpha, T beta, int assigns, T *c) {                                          \
        const i64 bn = job->p[PM_B_COLUMN], cn = job->p[PM_C_COLUMN], columns = job->columns;                          \
        const T *val = (const T *)job->val;                                                                            \
        i64 w = 0;                                                                                                     \
        (void)limit;                                                                                                   \
        PM_WIDE_STEPS(suffix)                                                                                          \
        for (; w + 4 <= columns; w += 4)                                                                               \
            P(segment_4_##suffix)(begin, end, val, places, crd, skips, before, b + w * bn, bs, bn, alpha, beta,        \
                                  assigns, c + w * cn, cn);                                                            \
        for (; w < columns; w++)                                                                                       \
            P(segment_1_##suffix)(begin, end, val, places, crd, skips, before, b + w * bn, bs, bn, alpha, beta,        \
                                  assigns, c + w * cn, cn);                                                            \
    }                                                                                                                  \
    /* Segments of a level below positions of another one, which has coordinates (or not) and a place. */              \
    static void P(rows_##suffix)(const pm_job *job, i64 number, i64 from, i64 to, const INDEX *parents, i64 shift,     \
                                 i64 b_above, i64 c_above, i64 b0, i64 c0) {                                           \
        const i64 *p = job->p, *level = pm_level(p, number), kind = level[PM_KIND], strip = level[PM_STRIP];           \
        const i64 bs = level[PM_B_STEP], cs = level[PM_C_STEP], bn = p[PM_B_COLUMN], cn = p[PM_C_COLUMN];              \
        const INDEX *pos = pm_array(p, number, 0), *crd = pm_array(p, number, 1), *places = pm_places(p);              \
        const T *val = (const T *)job->val, alpha = *(const T *)job->alpha, beta = *(const T *)job->beta;              \
        const int skips = kind == PM_DELTA, assigns = (int)p[PM_ASSIGNS];                                              \
        const i64 low = level[PM_LOW];                                                                                 \
        if (cs == 0 && job->columns == 1) {                                                                            \
            const T *b = (const T *)job->b + b0 + job->column * bn;                                                    \
            T *c = (T *)job->c + c0 + job->column * cn;                                                                \
            if (bs == 1 && !skips && pos && b_above == 0) {                                                            \
                if (places)                                                                                            \
                    PM_FAST_ROWS(c[(t - shift) * c_above], PM_STORED(c[(t - shift) * c_above], sum), PM_PLACED_VALUE)  \
                else if (assigns && beta == 0 && c_above == 1 && !parents)                                             \
                    PM_FAST_ROWS(c[t - shift], PM_FACTOR(sum), PM_NEXT_VALUE)                                          \
                else if (parents)                                                                                      \
                    PM_FAST_ROWS(c[parents[t] * c_above], PM_STORED(c[parents[t] * c_above], sum), PM_NEXT_VALUE)      \
                else                                                                                                   \
                    PM_FAST_ROWS(c[(t - shift) * c_above], PM_STORED(c[(t - shift) * c_above], sum), PM_NEXT_VALUE)    \
            }                                                                                                          \
            else                                                                                                       \
                for (i64 t = from; t < to; t++) {                                                                      \
                    const i64 above = parents ? parents[t] : t - shift;                                                \
                    const i64 begin = pos ? pos[t] : t * strip, end = pos ? pos[t + 1] : (t + 1) * strip;              \
                    const T *from_b = b + above * b_above;                                                             \
                    const T sum = skips ? P(vector_##suffix)(begin, end, val, NULL, crd, 1, low - 1, from_b, bs)       \
                                        : P(vector_##suffix)(begin, end, val, places, crd, 0, 0, from_b, bs);          \
                    P(store)(c + above * c_above, sum, alpha, beta, assigns);                                          \
                }                                                                                                      \
            return;                                                                                                    \
        }                                                                                                              \
        if (job->columns == 1 && bs == 0 && c_above == 0 && !skips && pos) {                                           \
            const T *b = (const T *)job->b + b0 + job->column * bn - (parents ? 0 : shift * b_above);                  \
            T *c = (T *)job->c + c0 + job->column * cn;                                                                \
            if (parents)                                                                                               \
                PM_FAST_COLUMNS(b[parents[t] * b_above], crd[q] * cs)                                                  \
            else if (cs == 1 && b_above == 1)                                                                          \
                PM_FAST_COLUMNS(b[t], crd[q])                                                                          \
            else                                                                                                       \
                PM_FAST_COLUMNS(b[t * b_above], crd[q] * cs)                                                           \
            return;                                                                                                    \
        }                                                                                                              \
        const i64 limit = pos ? pos[to] : to * strip;                                                                  \
        for (i64 t = from; t < to; t++) {                                                                              \
            const i64 above = parents ? parents[t] : t - shift;                                                        \
            const i64 begin = pos ? pos[t] : t * strip, end = pos ? pos[t + 1] : (t + 1) * strip;                      \
            const T *b = (const T *)job->b + b0 + above * b_above + job->column * bn;                                  \
            T *c = (T *)job->c + c0 + above * c_above + job->column * cn;                                              \
            if (cs == 0) {                                                                                             \
                P(sums_##suffix)(job, begin, end, limit, places, crd, skips, skips ? low - 1 : 0, b, bs, alpha, beta,  \
                                 assigns, c);                                                                          \
                continue;                                                                                              \
            }                                                                                                          \
            i64 k = low - 1;                                                                                           \
            for (i64 q = begin; q < end; q++) {                                                                        \
                k = skips ? k + 1 + crd[q] : crd[q];                                                                   \
                P(entry)(job, val[q], b + k * bs, c + k * cs, alpha);                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    /* A list of entries with two coordinates or more; of those with the same first one, the sums are put together. */ \
    static void P(list_##suffix)(const pm_job *job, i64 number, i64 last, i64 from, i64 to, i64 b0, i64 c0) {          \
        const i64 *p = job->p, bn = p[PM_B_COLUMN], cn = p[PM_C_COLUMN];                                               \
        const T *val = (const T *)job->val, alpha = *(const T *)job->alpha;                                            \
        const i64 *one = pm_level(p, number), *two = pm_level(p, last);                                                \
        const T *b = (const T *)job->b + b0 + job->column * bn;                                                        \
        T *c = (T *)job->c + c0 + job->column * cn;                                                                    \
        if (last == number + 1 && two[PM_C_STEP] == 0 && p[PM_RUNS]) {                                                 \
            const INDEX *row = pm_array(p, number, 1), *col = pm_array(p, last, 1);                                    \
            const i64 br = one[PM_B_STEP], bc = two[PM_B_STEP], cr = one[PM_C_STEP];                                   \
            if (job->columns == 1 && br == 0 && bc == 1) {                                                             \
                for (i64 q = from; q < to;) {                                                                          \
                    const INDEX i = row[q];                                                                            \
                    T sum = MUL(val[q], b[col[q]]);                                                                    \
                    for (q++; q < to && row[q] == i; q++) sum = ADD(sum, MUL(val[q], b[col[q]]));                      \
                    PM_PUT(c + i * cr, sum);                                                                           \
                }                                                                                                      \
                return;                                                                                                \
            }                                                                                                          \
            for (i64 q = from, end; q < to; q = end) {                                                                 \
                const INDEX i = row[q];                                                                                \
                for (end = q + 1; end < to && row[end] == i; end++) continue;                                          \
                if (job->columns == 1)                                                                                 \
                    P(store)(c + i * cr, P(vector_##suffix)(q, end, val, NULL, col, 0, 0, b + i * br, bc), alpha, 1, 0); \
                else                                                                                                   \
                    P(sums_##suffix)(job, q, end, to, NULL, col, 0, 0, b + i * br, bc, alpha, 1, 0, c + i * cr);       \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        if (last == number + 1 && job->columns == 1) { /* in any order: four at a time, which are asked for before */  \
            const INDEX *x = pm_array(p, number, 1), *y = pm_array(p, last, 1);                                        \
            const i64 bx = one[PM_B_STEP], by = two[PM_B_STEP], cx = one[PM_C_STEP], cy = two[PM_C_STEP];              \
            i64 q = from;                                                                                              \
            if (bx == 0 && by == 1 && cx == 1 && cy == 0)                                                              \
                PM_FAST_LIST(y[q], x[q])                                                                               \
            else if (bx == 1 && by == 0 && cx == 0 && cy == 1)                                                         \
                PM_FAST_LIST(x[q], y[q])                                                                               \
            else                                                                                                       \
                PM_FAST_LIST(x[q] * bx + y[q] * by, x[q] * cx + y[q] * cy)                                             \
            return;                                                                                                    \
        }                                                                                                              \
        for (i64 q = from; q < to; q++) {                                                                              \
            i64 at_b = 0, at_c = 0;                                                                                    \
            for (i64 l = number; l <= last; l++) {                                                                     \
                const i64 k = ((const INDEX *)pm_array(p, l, 1))[q];                                                   \
                at_b += k * pm_level(p, l)[PM_B_STEP], at_c += k * pm_level(p, l)[PM_C_STEP];                          \
            }                                                                                                          \
            P(entry)(job, val[q], b + at_b, c + at_c, alpha);                                                          \
        }                                                                                                              \
    }

/* One entry times a row of b. */
PM_INLINE void P(entry)(const pm_job *job, T x, const T *b, T *c, T alpha) {
    const i64 *p = job->p, columns = job->columns, bn = p[PM_B_COLUMN], cn = p[PM_C_COLUMN];
#if PM_SCALED
    x = alpha * x;
#define PM_EACH(at, y) (at) += x * (y)
#else
#define PM_EACH(at, y) (at) = ADD(at, MUL(x, y))
#endif
    i64 w = 0;
#if BITS
    const V v = P(all)(x);
    (void)v;
    if (bn == 1 && cn == 1)
        for (; w + P(LANES) <= columns; w += P(LANES)) {
            const V sum = VADD(P(load)(c + w), VMUL(v, P(load)(b + w)));
            memcpy(c + w, &sum, sizeof sum);
        }
#endif
    for (; w < columns; w++) PM_EACH(c[w * cn], b[w * bn]);
}

static __attribute__((noinline)) void P(one_entry)(const pm_job *job, T x, const T *b, T *c, T alpha) {
    P(entry)(job, x, b, c, alpha);
}

PM_SEGMENTS(int32_t, narrow)
PM_SEGMENTS(i64, wide)
#undef PM_EACH
#undef PM_SEGMENTS
#undef PM_SEGMENT
#undef PM_VECTORS
#undef PM_FACTOR
#undef PM_STORED
#undef PM_FAST_ROWS
#undef PM_FAST_COLUMNS
#undef PM_FAST_LIST
#undef PM_NEXT_VALUE
#undef PM_PLACED_VALUE
#undef PM_EACH_8
#undef PM_EACH_4
#undef PM_EACH_2
#undef PM_EACH_1
#undef PM_BEGIN_OF
#undef PM_TERM_OF
#undef PM_ASK_OF
#undef PM_KEEP_OF
#undef PM_WIDE_SUMS
#undef PM_WIDE_STEP
#undef PM_WIDE_STEPS
