/* The loops for one dtype T and one pair of operations: included by loops_body.h. P names what is defined; ADD, MUL and
 * ZERO are the semiring, PM_SCALED says whether alpha and beta take part (plus and times). */

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
    do {
        for (i64 i = from; i < to; i++)
            for (i64 j = 0; j < columns; j++) {
                T *at = c + i * step + j * column;
                *at = beta == 0 ? (T)ZERO : beta * *at;
            }
        for (k = nested - 1; k >= 0; k--) {
            const i64 *loop = p + PM_OUTER + 2 * k;
            c += loop[1];
            if (++position[k] < loop[0]) break;
            c -= loop[0] * loop[1], position[k] = 0;
        }
    } while (k >= 0);
}

/* Adds the copy that another part worked on. */
static void P(merge)(const pm_job *job, const char *copy, i64 span) {
    T *c = (T *)job->c;
    const T *x = (const T *)copy;
    for (i64 i = 0; i < span; i++) c[i] = ADD(c[i], x[i]);
}

/* Sums of W columns over a segment of entries with the row fixed. */
#define PM_SEGMENT(name, W, INDEX)                                                                                     \
    PM_INLINE void P(name)(i64 from, i64 to, const T *val, const INDEX *crd, int skips, i64 before, const T *b,        \
                           i64 step, i64 bn, i64 wide, T alpha, T beta, int assigns, T *c, i64 cn) {                   \
        T sum[W];                                                                                                      \
        i64 k = before;                                                                                                \
        for (i64 w = 0; w < W; w++) sum[w] = (T)ZERO;                                                                  \
        for (i64 q = from; q < to; q++) {                                                                              \
            k = skips ? k + 1 + crd[q] : crd[q];                                                                       \
            const T x = val[q], *y = b + k * step;                                                                     \
            if (bn == 1)                                                                                               \
                for (i64 w = 0; w < W; w++) sum[w] = ADD(sum[w], MUL(x, y[w]));                                        \
            else                                                                                                       \
                for (i64 w = 0; w < W; w++) sum[w] = ADD(sum[w], MUL(x, y[w * bn]));                                   \
        }                                                                                                              \
        for (i64 w = 0; w < W; w++) P(store)(c + w * cn, sum[w], alpha, beta, assigns);                                \
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

#define PM_SEGMENTS(INDEX, suffix)                                                                                     \
    PM_SEGMENT(segment_32_##suffix, 32, INDEX)                                                                         \
    PM_SEGMENT(segment_8_##suffix, 8, INDEX)                                                                           \
    PM_SEGMENT(segment_1_##suffix, 1, INDEX)                                                                           \
    /* One column: four sums, as an addition takes longer than it takes to begin the next one. */                      \
    PM_INLINE void P(vector_##suffix)(i64 from, i64 to, const T *val, const INDEX *crd, int skips, i64 before,         \
                                      const T *b, i64 step, T alpha, T beta, int assigns, T *c) {                      \
        T s0 = (T)ZERO, s1 = (T)ZERO, s2 = (T)ZERO, s3 = (T)ZERO;                                                      \
        i64 q = from, k = before;                                                                                      \
        if (!skips)                                                                                                    \
            for (; q + 4 <= to; q += 4) {                                                                              \
                s0 = ADD(s0, MUL(val[q], b[crd[q] * step]));                                                           \
                s1 = ADD(s1, MUL(val[q + 1], b[crd[q + 1] * step]));                                                   \
                s2 = ADD(s2, MUL(val[q + 2], b[crd[q + 2] * step]));                                                   \
                s3 = ADD(s3, MUL(val[q + 3], b[crd[q + 3] * step]));                                                   \
            }                                                                                                          \
        for (; q < to; q++) {                                                                                          \
            k = skips ? k + 1 + crd[q] : crd[q];                                                                       \
            s0 = ADD(s0, MUL(val[q], b[k * step]));                                                                    \
        }                                                                                                              \
        P(store)(c, ADD(ADD(s0, s1), ADD(s2, s3)), alpha, beta, assigns);                                              \
    }                                                                                                                  \
    /* Segments of a level below positions of another one, which has coordinates (or not) and a place. */              \
    static void P(rows_##suffix)(const pm_job *job, i64 number, i64 from, i64 to, const INDEX *parents, i64 shift,     \
                                 i64 b_above, i64 c_above, i64 b0, i64 c0) {                                           \
        const i64 *p = job->p, *level = pm_level(p, number), kind = level[PM_KIND], strip = level[PM_STRIP];           \
        const i64 bs = level[PM_B_STEP], cs = level[PM_C_STEP], bn = p[PM_B_COLUMN], cn = p[PM_C_COLUMN];              \
        const INDEX *pos = pm_array(p, number, 0), *crd = pm_array(p, number, 1);                                      \
        const T *val = (const T *)job->val, alpha = *(const T *)job->alpha, beta = *(const T *)job->beta;              \
        const int skips = kind == PM_DELTA, assigns = (int)p[PM_ASSIGNS];                                              \
        const i64 columns = job->columns, low = level[PM_LOW];                                                         \
        for (i64 t = from; t < to; t++) {                                                                              \
            const i64 above = parents ? parents[t] : t - shift;                                                        \
            const i64 begin = pos ? pos[t] : t * strip, end = pos ? pos[t + 1] : (t + 1) * strip;                      \
            const T *b = (const T *)job->b + b0 + above * b_above + job->column * bn;                                  \
            T *c = (T *)job->c + c0 + above * c_above + job->column * cn;                                              \
            if (cs == 0) {                                                                                             \
                i64 w = 0;                                                                                             \
                if (columns == 1) {                                                                                    \
                    if (skips) P(vector_##suffix)(begin, end, val, crd, 1, low - 1, b, bs, alpha, beta, assigns, c);   \
                    else P(vector_##suffix)(begin, end, val, crd, 0, 0, b, bs, alpha, beta, assigns, c);               \
                    continue;                                                                                          \
                }                                                                                                      \
                for (; w + 32 <= columns; w += 32)                                                                     \
                    P(segment_32_##suffix)(begin, end, val, crd, skips, low - 1, b + w * bn, bs, bn, 32, alpha, beta,  \
                                           assigns, c + w * cn, cn);                                                   \
                for (; w + 8 <= columns; w += 8)                                                                       \
                    P(segment_8_##suffix)(begin, end, val, crd, skips, low - 1, b + w * bn, bs, bn, 8, alpha, beta,    \
                                          assigns, c + w * cn, cn);                                                    \
                for (; w < columns; w++)                                                                               \
                    P(segment_1_##suffix)(begin, end, val, crd, skips, low - 1, b + w * bn, bs, bn, 1, alpha, beta,    \
                                          assigns, c + w * cn, cn);                                                    \
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
        if (last == number + 1 && two[PM_C_STEP] == 0 && job->columns == 1) {                                          \
            const INDEX *row = pm_array(p, number, 1), *col = pm_array(p, last, 1);                                    \
            const i64 br = one[PM_B_STEP], bc = two[PM_B_STEP], cr = one[PM_C_STEP];                                   \
            for (i64 q = from; q < to;) {                                                                              \
                const INDEX i = row[q];                                                                                \
                T sum = (T)ZERO;                                                                                       \
                do sum = ADD(sum, MUL(val[q], b[i * br + col[q] * bc]));                                               \
                while (++q < to && row[q] == i);                                                                       \
                PM_PUT(c + i * cr, sum);                                                                               \
            }                                                                                                          \
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
    if (bn == 1 && cn == 1)
        for (i64 w = 0; w < columns; w++) PM_EACH(c[w], b[w]);
    else
        for (i64 w = 0; w < columns; w++) PM_EACH(c[w * cn], b[w * bn]);
}

PM_SEGMENTS(int32_t, narrow)
PM_SEGMENTS(i64, wide)

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
    } else if (job->columns == 1 && bs == 1 && cs == 1)
        for (i64 t = 0; t < count; t++) PM_PUT(c + t, MUL(val[t], b[t]));
    else if (job->columns == 1)
        for (i64 t = 0; t < count; t++) PM_PUT(c + t * cs, MUL(val[t], b[t * bs]));
    else
        for (i64 t = 0; t < count; t++) P(entry)(job, val[t], b + t * bs, c + t * cs, alpha);
}

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
    i64 k = low - 1;
    for (i64 t = from; t < to; t++) {
        k = kind == PM_DELTA ? k + 1 + pm_at(p, crd, t) : has_crd ? pm_at(p, crd, t) : t - shift + low;
        job->index[number] = k;
        const i64 b1 = b0 + k * bs, c1 = c0 + k * cs;
        if (number + 1 == levels)
            P(entry)(job, val[t], (const T *)job->b + b1 + bn, (T *)job->c + c1 + cn, alpha);
        else
            P(below)(job, number, t, b1, c1);
    }
}

static void P(body)(pm_job *job) {
    if (job->p[PM_FIRST] > 0) P(walk)(job, 0, 0, 1, 0, 0, 0);
    else P(walk)(job, 0, job->first, job->last, 0, 0, 0);
}

static void P(product)(const i64 *p, const char *val, const char *b, char *c, const void *alpha, const void *beta, char *copies) {
    pm_work(P(body), P(prepare), P(merge), sizeof(T), p, val, b, c, alpha, beta, copies);
}

#undef PM_PUT
#undef PM_EACH
#undef PM_SEGMENT
#undef PM_SEGMENTS
#undef T
#undef P
