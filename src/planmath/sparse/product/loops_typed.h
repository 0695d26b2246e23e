/* The loops for one dtype T and one pair of operations: included by loops_body.h. P names what is defined; ADD, MUL and
 * ZERO are the semiring, PM_SCALED says whether alpha and beta take part (plus and times). */

/* BITS is 32 or 64 for real numbers, whose columns are worked on in vectors, else 0. VADD and VMUL are ADD and MUL for those. */

#include "loops_result.h"
#include "loops_segments.h"
#include "loops_blocks.h"
#include "loops_runs.h"

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

#undef BITS
#undef V
#undef PM_PUT
#undef T
#undef P
