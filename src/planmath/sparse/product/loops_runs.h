/* Entries that stand one after the other in b and c, and diagonals of them: included by loops_typed.h. */

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
