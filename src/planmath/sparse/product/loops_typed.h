/* The loops for one dtype T and one pair of operations: included by loops_body.h. P names what is defined; ADD, MUL and
 * ZERO are the semiring, PM_SCALED says whether alpha and beta take part (plus and times). */

/* BITS is 32 or 64 for real numbers, whose columns are worked on in vectors, else 0. VADD and VMUL are ADD and MUL for those. */
/* The instructions of x86-64 that compilers do not find by themselves. */
#if defined(__x86_64__) && BITS == 64 && PM_VECTOR == 16
#define PM_LESS_OF __builtin_ia32_minpd
#define PM_MORE_OF __builtin_ia32_maxpd
#define PM_STREAM_OF __builtin_ia32_movntpd
#elif defined(__x86_64__) && BITS == 64 && PM_VECTOR == 32
#define PM_LESS_OF __builtin_ia32_minpd256
#define PM_MORE_OF __builtin_ia32_maxpd256
#define PM_STREAM_OF __builtin_ia32_movntpd256
#elif defined(__x86_64__) && BITS == 64 && PM_VECTOR == 64
#define PM_STREAM_OF __builtin_ia32_movntpd512
#elif defined(__x86_64__) && BITS == 32 && PM_VECTOR == 16
#define PM_LESS_OF __builtin_ia32_minps
#define PM_MORE_OF __builtin_ia32_maxps
#define PM_STREAM_OF __builtin_ia32_movntps
#elif defined(__x86_64__) && BITS == 32 && PM_VECTOR == 32
#define PM_LESS_OF __builtin_ia32_minps256
#define PM_MORE_OF __builtin_ia32_maxps256
#define PM_STREAM_OF __builtin_ia32_movntps256
#elif defined(__x86_64__) && BITS == 32 && PM_VECTOR == 64
#define PM_STREAM_OF __builtin_ia32_movntps512
#endif

/* What is added to an element of c. */
#if PM_SCALED
#define PM_PUT(at, sum) (*(at) += alpha * (sum))
#else
#define PM_PUT(at, sum) (*(at) = ADD(*(at), sum))
#endif

/* Prepares rows of c: times beta, or without beta the ZERO of the semiring. */
static void P(prepare)(const pm_job *job, i64 from, i64 to) {
    const i64 *p = job->p, step = p[PM_ROW_STEP], column = p[PM_C_COLUMN], columns = p[PM_COLUMNS];
    const T beta = *(const T *)job->beta;
    i64 position[4] = {0}, nested = p[PM_NESTED], k;
    T *c = (T *)job->c;
    if (beta == 1) return;
    for (k = 0; k < nested; k++)
        if (p[PM_OUTER + 2 * k] <= 0) return; /* there is no matrix */
    const int one = columns == 1; /* whose elements are then as a row */
    const i64 rows = one ? 1 : to - from, count = one ? to - from : columns, by = one ? step : column;
    do {
        for (i64 i = 0; i < rows; i++) {
            T *at = c + from * step + i * step;
            if (beta != 0)
                for (i64 j = 0; j < count; j++) at[j * by] *= beta;
            else if (by == 1)
                for (i64 j = 0; j < count; j++) at[j] = (T)ZERO;
            else
                for (i64 j = 0; j < count; j++) at[j * by] = (T)ZERO;
        }
        for (k = nested - 1; k >= 0; k--) {
            const i64 *loop = p + PM_OUTER + 2 * k;
            c += loop[1];
            if (++position[k] < loop[0]) break;
            c -= loop[0] * loop[1], position[k] = 0;
        }
    } while (k >= 0);
}

/* Of elements of c: makes those of a copy what an addition does not change, or adds those of copies that parts worked on. */
static void P(clear)(char *copy, i64 count) {
    T *x = (T *)copy;
    for (i64 i = 0; i < count; i++) x[i] = (T)ZERO;
}
static void P(merge)(const pm_job *job, const char *copies, i64 count, i64 from, i64 to) {
    const i64 span = job->p[PM_SPAN];
    T *c = (T *)job->c;
    for (i64 n = 0; n < count; n++) {
        const T *x = (const T *)copies + n * span;
        for (i64 i = from; i < to; i++) c[i] = ADD(c[i], x[i]);
    }
}

PM_INLINE void P(store)(T *at, T sum, T alpha, T beta, int assigns) {
#if PM_SCALED
    if (assigns)
        *at = beta == 0 ? alpha * sum : alpha * sum + beta * *at;
    else
        *at += alpha * sum;
#else
    *at = assigns && beta == 0 ? sum : ADD(*at, sum);
#endif
}

#if BITS
/* Vectors of columns. */
enum { P(LANES) = PM_VECTOR / sizeof(T) };
typedef T P(vector) __attribute__((vector_size(PM_VECTOR)));
#define V P(vector)
PM_INLINE V P(load)(const T *x) {
    V v;
    memcpy(&v, x, sizeof v);
    return v;
}
PM_INLINE V P(all)(T x) { return x - (V){0}; }
#if defined(PM_LESS_OF)
PM_INLINE V P(less)(V x, V y) { return (V)PM_LESS_OF(x, y); }
PM_INLINE V P(more)(V x, V y) { return (V)PM_MORE_OF(x, y); }
#else
PM_INLINE V P(less)(V x, V y) {
    for (int l = 0; l < P(LANES); l++) x[l] = PM_LESS(x[l], y[l]);
    return x;
}
PM_INLINE V P(more)(V x, V y) {
    for (int l = 0; l < P(LANES); l++) x[l] = PM_MORE(x[l], y[l]);
    return x;
}
#endif
PM_INLINE void P(keep)(T *at, V sum, T alpha, T beta, int assigns, int streams) {
#if PM_SCALED
    sum *= alpha;
    if (!assigns) sum += P(load)(at);
    else if (beta != 0) sum += beta * P(load)(at);
#else
    if (!assigns || beta != 0) sum = VADD(P(load)(at), sum);
#endif
#ifdef PM_STREAM_OF
    if (streams) {
        PM_STREAM_OF(at, sum);
        return;
    }
#endif
    memcpy(at, &sum, sizeof sum);
}
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

/* Blocks of S1 by S2 (or of s1 by s2) elements below the positions of one level, whose rows are those of the result for all:
 * the sums of up to PM_TALL rows and W columns are kept meanwhile. */
enum { P(TALL) = 8, P(WIDE) = 8 };
PM_INLINE void P(block_row)(i64 from, i64 to, const void *crd, int wide, const T *val, const T *b, i64 bs, i64 s1, i64 s2,
                            i64 b1, i64 b2, i64 c1, i64 c2, i64 bn, i64 columns, T alpha, T *c, i64 cn) {
    const i64 tall = c1 ? s1 : s2;
    T sum[P(TALL)][P(WIDE)];
    for (i64 r = 0; r < tall; r++)
        for (i64 w = 0; w < columns; w++) sum[r][w] = (T)ZERO;
    for (i64 q = from; q < to; q++) {
        const T *x = val + q * s1 * s2, *y = b + (wide ? ((const i64 *)crd)[q] : ((const int32_t *)crd)[q]) * bs;
        for (i64 i = 0; i < s1; i++)
            for (i64 j = 0; j < s2; j++) {
                const T v = x[i * s2 + j];
                const T *from_b = y + i * b1 + j * b2;
                T *to_sum = sum[c1 ? i : j];
                for (i64 w = 0; w < columns; w++) to_sum[w] = ADD(to_sum[w], MUL(v, from_b[w * bn]));
            }
    }
    for (i64 r = 0; r < tall; r++)
        for (i64 w = 0; w < columns; w++) PM_PUT(c + r * (c1 ? c1 : c2) + w * cn, sum[r][w]);
}

/* Blocks of 4 by 4, of which the element in row r and column t is x[r * vr + t * vt]: of one column, and of two vectors of
 * columns. The sums of the four rows stay in registers. */
PM_INLINE void P(block_row_4)(i64 from, i64 to, const void *crd, int wide, const T *val, const T *b, i64 bs, i64 bt, i64 vr,
                              i64 vt, T alpha, T *c, i64 cr) {
    T s0 = (T)ZERO, s1 = (T)ZERO, s2 = (T)ZERO, s3 = (T)ZERO, u0 = (T)ZERO, u1 = (T)ZERO, u2 = (T)ZERO, u3 = (T)ZERO;
    for (i64 q = from; q < to; q++) {
        const T *x = val + q * 16, *y = b + (wide ? ((const i64 *)crd)[q] : ((const int32_t *)crd)[q]) * bs;
        const T y0 = y[0], y1 = y[bt], y2 = y[2 * bt], y3 = y[3 * bt];
        s0 = ADD(ADD(s0, MUL(x[0], y0)), MUL(x[vt], y1));
        s1 = ADD(ADD(s1, MUL(x[vr], y0)), MUL(x[vr + vt], y1));
        s2 = ADD(ADD(s2, MUL(x[2 * vr], y0)), MUL(x[2 * vr + vt], y1));
        s3 = ADD(ADD(s3, MUL(x[3 * vr], y0)), MUL(x[3 * vr + vt], y1));
        u0 = ADD(ADD(u0, MUL(x[2 * vt], y2)), MUL(x[3 * vt], y3));
        u1 = ADD(ADD(u1, MUL(x[vr + 2 * vt], y2)), MUL(x[vr + 3 * vt], y3));
        u2 = ADD(ADD(u2, MUL(x[2 * vr + 2 * vt], y2)), MUL(x[2 * vr + 3 * vt], y3));
        u3 = ADD(ADD(u3, MUL(x[3 * vr + 2 * vt], y2)), MUL(x[3 * vr + 3 * vt], y3));
    }
    PM_PUT(c, ADD(s0, u0));
    PM_PUT(c + cr, ADD(s1, u1));
    PM_PUT(c + 2 * cr, ADD(s2, u2));
    PM_PUT(c + 3 * cr, ADD(s3, u3));
}
#if BITS
PM_INLINE void P(block_vectors_4)(i64 from, i64 to, const void *crd, int wide, const T *val, const T *b, i64 bs, i64 bt,
                                  i64 vr, i64 vt, T alpha, T *c, i64 cr) {
    enum { L = P(LANES) };
    const V zero = P(all)((T)ZERO);
    V s0 = zero, s1 = zero, s2 = zero, s3 = zero, u0 = zero, u1 = zero, u2 = zero, u3 = zero;
    for (i64 q = from; q < to; q++) {
        const T *x = val + q * 16, *y = b + (wide ? ((const i64 *)crd)[q] : ((const int32_t *)crd)[q]) * bs;
#define PM_COLUMN(t)                                                                                                   \
    {                                                                                                                  \
        const V first = P(load)(y + t * bt), second = P(load)(y + t * bt + L);                                         \
        V v = P(all)(x[t * vt]);                                                                                       \
        s0 = VADD(s0, VMUL(v, first)), u0 = VADD(u0, VMUL(v, second)), v = P(all)(x[vr + t * vt]);                      \
        s1 = VADD(s1, VMUL(v, first)), u1 = VADD(u1, VMUL(v, second)), v = P(all)(x[2 * vr + t * vt]);                  \
        s2 = VADD(s2, VMUL(v, first)), u2 = VADD(u2, VMUL(v, second)), v = P(all)(x[3 * vr + t * vt]);                  \
        s3 = VADD(s3, VMUL(v, first)), u3 = VADD(u3, VMUL(v, second));                                                 \
        (void)v, (void)first, (void)second;                                                                            \
    }
        PM_COLUMN(0)
        PM_COLUMN(1)
        PM_COLUMN(2)
        PM_COLUMN(3)
#undef PM_COLUMN
    }
    P(keep)(c, s0, alpha, 1, 0, 0), P(keep)(c + L, u0, alpha, 1, 0, 0), c += cr;
    P(keep)(c, s1, alpha, 1, 0, 0), P(keep)(c + L, u1, alpha, 1, 0, 0), c += cr;
    P(keep)(c, s2, alpha, 1, 0, 0), P(keep)(c + L, u2, alpha, 1, 0, 0), c += cr;
    P(keep)(c, s3, alpha, 1, 0, 0), P(keep)(c + L, u3, alpha, 1, 0, 0);
}
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
    if (level[PM_C_STEP] != 0 || low != 0 || (c1 == 0) == (c2 == 0) || (c1 ? s1 : s2) > P(TALL)) return 0;
#define PM_ROW(S1, S2, BN, W) P(block_row)(from, to, crd, wide, val, b + w * bn, bs, S1, S2, b1, b2, c1, c2, BN, W, alpha, c + w * cn, cn)
    for (i64 t = first; t < behind; t++) {
        const i64 above = parents ? pm_at(p, parents, t) : t - shift, from = pm_at(p, pos, t), to = pm_at(p, pos, t + 1);
        const T *b = (const T *)job->b + b_first + above * b_above + job->column * bn;
        T *c = (T *)job->c + c_first + above * c_above + job->column * cn;
        i64 w = 0;
        if (s1 == 4 && s2 == 4 && job->columns == 1) {
            if (c1 && !wide && bt == 1) P(block_row_4)(from, to, crd, 0, val, b, bs, 1, 4, 1, alpha, c, cr);
            else if (c1) P(block_row_4)(from, to, crd, wide, val, b, bs, bt, 4, 1, alpha, c, cr);
            else P(block_row_4)(from, to, crd, wide, val, b, bs, bt, 1, 4, alpha, c, cr);
            continue;
        }
#if BITS
        for (; s1 == 4 && s2 == 4 && bn == 1 && cn == 1 && w + 2 * P(LANES) <= job->columns; w += 2 * P(LANES)) {
            if (c1) P(block_vectors_4)(from, to, crd, wide, val, b + w, bs, bt, 4, 1, alpha, c + w, cr);
            else P(block_vectors_4)(from, to, crd, wide, val, b + w, bs, bt, 1, 4, alpha, c + w, cr);
        }
#endif
        for (i64 n; w < job->columns; w += n) {
            n = pm_least(job->columns - w, P(WIDE));
            if (n == 8 && bn == 1) PM_ROW(s1, s2, 1, 8);
            else if (n == 1) PM_ROW(s1, s2, 1, 1);
            else PM_ROW(s1, s2, bn, n);
        }
    }
#undef PM_ROW
    return 1;
}

/* Entries whose place in b and c moves by the same step. */
PM_INLINE void P(run)(const pm_job *job, i64 count, const T *val, const T *b, i64 bs, T *c, i64 cs, T alpha) {
    if (job->columns == 1 && cs == 0) {
        T s0 = (T)ZERO, s1 = (T)ZERO;
        i64 t = 0;
        for (; t + 2 <= count; t += 2) {
            s0 = ADD(s0, MUL(val[t], b[t * bs]));
            s1 = ADD(s1, MUL(val[t + 1], b[(t + 1) * bs]));
        }
        if (t < count) s0 = ADD(s0, MUL(val[t], b[t * bs]));
        PM_PUT(c, ADD(s0, s1));
    } else if (job->columns == 1 && bs == 1 && cs == 1) {
        i64 t = 0;
#if BITS
        for (; t + P(LANES) <= count; t += P(LANES)) {
            V term = VMUL(P(load)(val + t), P(load)(b + t));
#if PM_SCALED
            term *= alpha;
#endif
            term = VADD(P(load)(c + t), term);
            memcpy(c + t, &term, sizeof term);
        }
#endif
        for (; t < count; t++) PM_PUT(c + t, MUL(val[t], b[t]));
    } else if (job->columns == 1)
        for (i64 t = 0; t < count; t++) PM_PUT(c + t * cs, MUL(val[t], b[t * bs]));
    else
        for (i64 t = 0; t < count; t++) P(one_entry)(job, val[t], b + t * bs, c + t * cs, alpha);
}

#if BITS
/* Rows of a window, all columns of each in vectors: of every diagonal the entry that is in the row. `sign` and the like say
 * how an index of the level of the diagonals and the row give the place in b; returns 0 where rows are not so simple. */
static int P(diagonals)(const pm_job *job, i64 number, i64 from, i64 to) {
    const i64 *p = job->p, *top = pm_level(p, number), *level = pm_level(p, number + 1), columns = job->columns;
    const i64 bn = p[PM_B_COLUMN], cn = p[PM_C_COLUMN], step = p[PM_ROW_STEP], low = level[PM_LOW];
    const void *crd = pm_array(p, number, 1);
    const T *val = (const T *)job->val, alpha = *(const T *)job->alpha;
    /* the position of row i in a diagonal k is sign * (i - k * shift) with the steps of both levels */
    const i64 sign = level[PM_C_STEP] > 0 ? 1 : -1;
    enum { L = P(LANES), MOST = 64 };
    i64 first[MOST], last[MOST], start[MOST], place[MOST], count = 0;
    pm_job probe = *job;
    if (bn != 1 || cn != 1 || columns < 2 * L || to - from > MOST || level[PM_C_STEP] != sign * step || low != 0) return 0;
    if (top[PM_C_STEP] % step != 0 || job->high <= job->low) return 0;
    for (i64 t = from; t < to; t++) { /* the rows that each diagonal has in the window, and where the first one's entry is */
        const i64 k = pm_at(p, crd, t), row0 = k * top[PM_C_STEP] / step; /* of position 0 */
        i64 begin, end, a, z;
        probe.index[number] = k;
        pm_range(&probe, level, &begin, &end);
        a = sign > 0 ? row0 + begin : row0 - end + 1, z = sign > 0 ? row0 + end : row0 - begin + 1;
        a = pm_most(a, job->low / step), z = pm_least(z, job->high / step);
        if (a >= z) continue;
        first[count] = a, last[count] = z;
        start[count] = t * level[PM_SIZE] + sign * (a - row0);
        place[count] = k * top[PM_B_STEP] + sign * (a - row0) * level[PM_B_STEP];
        count++;
    }
    const T *b = (const T *)job->b + job->column;
    T *c = (T *)job->c + job->column;
    for (i64 row = job->low / step; row < job->high / step; row++) {
        T *at = c + row * step;
        i64 w = 0;
        for (; w + 4 * L <= columns; w += 4 * L) {
            V s0 = P(all)((T)ZERO), s1 = s0, s2 = s0, s3 = s0;
            for (i64 d = 0; d < count; d++) {
                if (row < first[d] || row >= last[d]) continue;
                const V x = P(all)(val[start[d] + sign * (row - first[d])]);
                const T *y = b + place[d] + sign * (row - first[d]) * level[PM_B_STEP] + w;
                (void)x, (void)y;
                s0 = VADD(s0, VMUL(x, P(load)(y))), s1 = VADD(s1, VMUL(x, P(load)(y + L)));
                s2 = VADD(s2, VMUL(x, P(load)(y + 2 * L))), s3 = VADD(s3, VMUL(x, P(load)(y + 3 * L)));
            }
            P(keep)(at + w, s0, alpha, 1, 0, 0), P(keep)(at + w + L, s1, alpha, 1, 0, 0);
            P(keep)(at + w + 2 * L, s2, alpha, 1, 0, 0), P(keep)(at + w + 3 * L, s3, alpha, 1, 0, 0);
        }
        for (; w < columns; w++) {
            T sum = (T)ZERO;
            for (i64 d = 0; d < count; d++) {
                if (row < first[d] || row >= last[d]) continue;
                const i64 moved = sign * (row - first[d]);
                sum = ADD(sum, MUL(val[start[d] + moved], b[place[d] + moved * level[PM_B_STEP] + w]));
            }
            PM_PUT(at + w, sum);
        }
    }
    return 1;
}
#endif

/* The positions of a level from `from` to `to`, of which `shift` has the index 0 of a dense one. */
static void P(walk)(pm_job *job, i64 number, i64 from, i64 to, i64 shift, i64 b0, i64 c0);

/* What is below position t. */
PM_INLINE void P(below)(pm_job *job, i64 number, i64 t, i64 b0, i64 c0) {
    const i64 *p = job->p, next = number + 1, *level = pm_level(p, next);
    switch (level[PM_KIND]) {
    case PM_COMPRESSED:
    case PM_DELTA: {
        const void *pos = pm_array(p, next, 0);
        P(walk)(job, next, pm_at(p, pos, t), pm_at(p, pos, t + 1), 0, b0, c0);
        return;
    }
    case PM_SINGLETON: P(walk)(job, next, t, t + 1, 0, b0, c0); return;
    case PM_STRUCTURED: P(walk)(job, next, t * level[PM_STRIP], (t + 1) * level[PM_STRIP], 0, b0, c0); return;
    default: P(walk)(job, next, t * level[PM_SIZE], (t + 1) * level[PM_SIZE], t * level[PM_SIZE], b0, c0);
    }
}

static void P(walk)(pm_job *job, i64 number, i64 from, i64 to, i64 shift, i64 b0, i64 c0) {
    const i64 *p = job->p, *level = pm_level(p, number), levels = p[PM_LEVELS], kind = level[PM_KIND];
    const i64 bs = level[PM_B_STEP], cs = level[PM_C_STEP], low = level[PM_LOW];
    const T *val = (const T *)job->val, alpha = *(const T *)job->alpha;
    const void *crd = pm_array(p, number, 1);
    i64 last = number;
    if (kind == PM_REPEAT) { /* all that is below, again and again */
        for (i64 t = 0; t < level[PM_SIZE]; t++) {
            if (number + 1 == p[PM_FIRST])
                P(walk)(job, number + 1, job->first, job->last, 0, b0 + t * bs, c0 + t * cs);
            else
                P(walk)(job, number + 1, 0, 1, 0, b0 + t * bs, c0 + t * cs);
        }
        return;
    }
    if (kind == PM_RANGE) {
        i64 begin, end;
        pm_range(job, level, &begin, &end);
        if (job->high > job->low && cs != 0) { /* in a window of c; steps over its rows are positive */
            const i64 step = cs < 0 ? -cs : cs;
            const i64 x = cs > 0 ? job->low - c0 : c0 - job->high + 1, y = cs > 0 ? job->high - c0 : c0 - job->low + 1;
            begin = pm_most(begin, x > 0 ? (x + step - 1) / step : 0);
            end = y <= 0 ? 0 : pm_least(end, (y + step - 1) / step);
        }
        from = pm_most(from, shift + begin), to = pm_least(to, shift + end);
    }
    if (from >= to) return;
    while (last + 1 < levels && pm_level(p, last + 1)[PM_KIND] == PM_SINGLETON) last++;
    const i64 bn = p[PM_B_COLUMN] * job->column, cn = p[PM_C_COLUMN] * job->column;
    if (kind == PM_DENSE || kind == PM_BATCH || kind == PM_RANGE) {
        if (number + 1 == levels) {
            const i64 t = from - shift + low;
            P(run)(job, to - from, val + from, (const T *)job->b + b0 + t * bs + bn, bs, (T *)job->c + c0 + t * cs + cn, cs, alpha);
            return;
        }
    } else if (last > number && last + 1 == levels && kind != PM_DELTA) {
        if (p[PM_WIDE]) P(list_wide)(job, number, last, from, to, b0, c0);
        else P(list_narrow)(job, number, last, from, to, b0, c0);
        return;
    }
    const int leaf = number + 2 == levels, has_crd = kind == PM_COMPRESSED || kind == PM_SINGLETON || kind == PM_STRUCTURED;
    if (leaf && kind != PM_DELTA && kind != PM_RANGE) {
        const i64 below = pm_level(p, number + 1)[PM_KIND];
        if (below == PM_COMPRESSED || below == PM_DELTA || below == PM_STRUCTURED) {
            if (p[PM_WIDE]) P(rows_wide)(job, number + 1, from, to, has_crd ? crd : NULL, shift - low, bs, cs, b0, c0);
            else P(rows_narrow)(job, number + 1, from, to, has_crd ? crd : NULL, shift - low, bs, cs, b0, c0);
            return;
        }
    }
#if BITS
    if (kind == PM_COMPRESSED && leaf && pm_level(p, number + 1)[PM_KIND] == PM_RANGE && p[PM_MODE] == PM_BY_WINDOWS &&
        b0 == 0 && c0 == 0 && P(diagonals)(job, number, from, to))
        return;
#endif
    if (number + 4 == levels && (kind == PM_DENSE || kind == PM_COMPRESSED) && pm_level(p, number + 1)[PM_KIND] == PM_COMPRESSED &&
        pm_level(p, number + 2)[PM_KIND] == PM_DENSE && pm_level(p, number + 3)[PM_KIND] == PM_DENSE &&
        P(blocks)(job, number + 1, from, to, has_crd ? crd : NULL, shift - low, bs, cs, b0, c0))
        return;
    i64 k = low - 1;
    for (i64 t = from; t < to; t++) {
        k = kind == PM_DELTA ? k + 1 + pm_at(p, crd, t) : has_crd ? pm_at(p, crd, t) : t - shift + low;
        job->index[number] = k;
        const i64 b1 = b0 + k * bs, c1 = c0 + k * cs;
        if (number + 1 == levels)
            P(one_entry)(job, val[t], (const T *)job->b + b1 + bn, (T *)job->c + c1 + cn, alpha);
        else
            P(below)(job, number, t, b1, c1);
    }
}

static void P(body)(pm_job *job) {
    if (job->p[PM_FIRST] > 0) P(walk)(job, 0, 0, 1, 0, 0, 0);
    else P(walk)(job, 0, job->first, job->last, 0, 0, 0);
}

static void P(product)(const i64 *p, const char *val, const char *b, char *c, const void *alpha, const void *beta, char *copies) {
    pm_work(P(body), P(prepare), P(clear), P(merge), sizeof(T), p, val, b, c, alpha, beta, copies);
}

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
#undef PM_LESS_OF
#undef PM_MORE_OF
#undef PM_STREAM_OF
#undef BITS
#undef V
#undef PM_PUT
#undef PM_EACH
#undef PM_SEGMENT
#undef PM_SEGMENTS
#undef T
#undef P
