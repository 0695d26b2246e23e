/* Contractions straight from strided factors (GETT), for one instruction set and the dtype PM_T; P(name) names them.
 *
 * Parts of both factors are packed in the order in which a tile (panels.h) reads them, whatever modes the rows, the
 * columns and the sum are made of. A panel of a, which stays in the first cache, meets all columns of b that are packed,
 * while the rows of the next panel are fetched. So nothing is transposed beforehand, and no product's extents are small
 * because modes of one role do not lie behind each other. */

/* Most terms of a sum that are packed at a time, and elements of a line. */
enum { P(TERMS) = PM_PACKED_BYTES / (P(ROWS) * sizeof(PM_T)), P(LINE) = 64 / sizeof(PM_T) };

/* Packs `width` rows of `terms` elements, of which `held` are there, next to each other. All offsets are in bytes. */
PM_INLINE void P(pack)(int width, i64 held, i64 terms, const char *s, const i64 *rows, const i64 *along, PM_T *t) {
    const i64 size = sizeof(PM_T);
    if (held == width && pm_even(rows, width, size)) {
        for (i64 l = 0; l < terms; l++) PM_MOVE(t + l * width, s + rows[0] + along[l], width * sizeof(PM_T));
        return;
    }
    for (int x = 0; x < width; x += 4) {
        i64 l = 0;
        const i64 step = x + 4 <= held ? rows[x + 1] - rows[x] : 0;
        if (x + 4 <= held && pm_even(rows + x, 4, step))
            for (; l + 4 <= terms && pm_even(along + l, 4, size); l += 4)
                P(square)(s + rows[x] + along[l], step, (char *)(t + l * width + x), width * size);
        for (; l < terms; l++)
            for (int i = x; i < pm_least(x + 4, width); i++)
                t[l * width + i] = i < held ? *(const PM_T *)(s + rows[i] + along[l]) : 0;
    }
}

/* Fetches the lines of a panel's rows of these terms. */
PM_INLINE void P(fetch)(i64 first, i64 last, const char *s, const i64 *rows, const i64 *along) {
    const i64 bytes = P(ROWS) * sizeof(PM_T);
    const int together = pm_even(rows, P(ROWS), sizeof(PM_T));
    for (i64 l = first; l < last; l++)
        if (together) {
            for (i64 at = 0; at < bytes; at += 64) __builtin_prefetch(s + rows[0] + along[l] + at, 0, 2);
            __builtin_prefetch(s + rows[0] + along[l] + bytes - 1, 0, 2);
        } else if (l % P(LINE) == 0)
            for (int x = 0; x < P(ROWS); x++) __builtin_prefetch(s + rows[x] + along[l], 0, 2);
}

typedef PM_T P(four) __attribute__((vector_size(4 * sizeof(PM_T))));

/* d = alpha a b + beta d for one tile, of which `held` rows and `wide` columns are there. */
static __attribute__((noinline)) void P(packed_tile)(i64 terms, const PM_T *a, const PM_T *b, i64 held, i64 wide, char *d,
                                                     const i64 *rows, const i64 *columns, const PM_T *alpha,
                                                     const PM_T *beta) {
    const i64 size = sizeof(PM_T), step = wide == PM_WIDE ? columns[1] - columns[0] : 0;
    const int even = wide == PM_WIDE && pm_even(columns, wide, step), along = held == P(ROWS) && pm_even(rows, held, size);
    const PM_T nothing = 0;
    PM_T sums[P(ROWS) * PM_WIDE], turned[4 * PM_WIDE];
    P(four) old, sum;
    if (*alpha == 0) terms = 0; /* not even of infinities */
    if (along && even && step % size == 0) {
        for (i64 y = 0; y < wide; y++) { /* what it adds to */
            __builtin_prefetch(d + columns[y] + rows[0], 1);
            __builtin_prefetch(d + columns[y] + rows[held - 1], 1);
        }
        P(tile)(PM_DEEP, PM_WIDE, 0, terms, a, P(ROWS), b, PM_WIDE, 1, (PM_T *)(d + columns[0] + rows[0]), step / size,
                alpha, beta);
        return;
    }
    for (i64 x = 0; x < held; x++) __builtin_prefetch(d + columns[0] + rows[x], 1);
    P(tile)(PM_DEEP, PM_WIDE, 0, terms, a, P(ROWS), b, PM_WIDE, 1, sums, P(ROWS), alpha, &nothing);
    for (i64 x = 0; x < held; x += 4)
        if (even && step == size && x + 4 <= held) { /* rows of four elements */
            P(square)((char *)(sums + x), P(ROWS) * size, (char *)turned, PM_WIDE * size);
            for (int i = 0; i < 4; i++) {
                char *to = d + columns[0] + rows[x + i];
                PM_MOVE(&sum, turned + i * PM_WIDE, sizeof sum);
                if (*beta != 0) PM_MOVE(&old, to, sizeof old), sum += *beta * old;
                PM_MOVE(to, &sum, sizeof sum);
            }
        } else
            for (i64 i = x; i < pm_least(x + 4, held); i++)
                for (i64 y = 0; y < wide; y++) {
                    PM_T *to = (PM_T *)(d + columns[y] + rows[i]), one = sums[i + y * P(ROWS)];
                    *to = *beta != 0 ? one + *beta * *to : one;
                }
}

/* The rows of one panel; as many as are there. */
PM_INLINE i64 P(rows_of)(const i64 *p, i64 begin, i64 end, i64 m, i64 panel, i64 *a_rows, i64 *d_rows) {
    const i64 first = panel * P(ROWS), held = pm_least(m - first, P(ROWS));
    pm_offsets(p, begin, end, first, held, 1, a_rows, 3, d_rows);
    return held;
}

/* Threads that share the rows of one contraction (share 1) pack its columns together. All that they do has numbers: for
 * each piece of the columns and the sum (a stage), first PM_FEW_COLUMNS columns each, then up to PM_GROUP panels each, as
 * neighbours have lines of the result in common. Each takes the next number as it is done, and panels wait only until all
 * columns of their stage are packed, and for the stage before of the same panels. Stages take turns with two places for
 * columns, so that nobody waits for the last panels of one stage. */
static void P(contract_body)(const pm_job *job) {
    const i64 *p = job->p, share = p[PM_BLOCK];
    const i64 rows = p[PM_RESULT] - p[PM_M] - p[PM_N], columns = rows + p[PM_M], sums = p[PM_RESULT];
    const i64 k = pm_length(p, sums, sums + p[PM_SUMMED]), terms = (k - 1) / ((k - 1) / P(TERMS) + 1) + 1;
    const i64 m = pm_length(p, rows, columns), panels = (m - 1) / P(ROWS) + 1;
    i64 n = pm_length(p, columns, sums), first_column = 0, stage = 0, before = 0, all = 0, goal[2] = {0, 0};
    i64 a_along[P(TERMS)], b_along[P(TERMS)], a_rows[2][P(ROWS)], d_rows[2][P(ROWS)];
    i64 b_columns[PM_PACKED_COLUMNS], d_columns[PM_PACKED_COLUMNS];
    PM_T *panel = (PM_T *)job->work, *places[2];
    const PM_T *alpha = job->alpha, one = 1;
    const char *a = job->a, *b = job->b;
    char *d = job->d;
    const i64 group = 1 + pm_least(PM_GROUP - 1, panels / (8 * p[PM_THREADS])), groups = (panels - 1) / group + 1;
    pm_nest batch;
    pm_team alone, *team = share == 1 ? job->team : &alone;
    const int member = share == 1 ? job->member : 0;
    if (share == 1) {
        places[0] = (PM_T *)(team->whole.work + p[PM_THREADS] * p[PM_BYTES]);
        places[1] = places[0] + pm_least(pm_multiple(n, PM_WIDE), PM_PACKED_COLUMNS) * terms;
    } else {
        places[0] = places[1] = panel + PM_PACKED_BYTES / sizeof(PM_T);
        alone.members = 1, alone.next = alone.packed[0] = alone.packed[1] = 0;
    }
    if (share == 2) first_column = pm_multiple(job->first, PM_WIDE), n = pm_least(n, pm_multiple(job->last, PM_WIDE));
    pm_start(&batch, job, share ? 1 : 0, rows, -1, -1);
    pm_hold(team, member, 0);
    i64 part = pm_take(team);
    do
        for (i64 j = first_column; j < n; j += PM_PACKED_COLUMNS) {
            const i64 wide = pm_least(n - j, PM_PACKED_COLUMNS), chunks = (wide - 1) / PM_FEW_COLUMNS + 1;
            pm_offsets(p, columns, sums, j, wide, 2, b_columns, 3, d_columns);
            for (i64 l = 0; l < k; l += terms, stage = !stage) {
                const i64 here = pm_least(k - l, terms), last = before;
                const PM_T *beta = l ? &one : job->beta;
                PM_T *packed = places[stage];
                before = all, all += chunks + groups, goal[stage] += chunks;
                if (part >= all) continue;
                pm_offsets(p, sums, sums + p[PM_SUMMED], l, here, 1, a_along, 2, b_along);
                for (; part < before + chunks; part = pm_take(team)) {
                    const i64 first = (part - before) * PM_FEW_COLUMNS, until = pm_least(first + PM_FEW_COLUMNS, wide);
                    pm_hold(team, member, part);
                    pm_await(team, last); /* until nobody reads what was here */
                    for (i64 x = 0; x < here; x += PM_FEW_TERMS) /* few at a time, whose lines stay in the first cache */
                        for (i64 y = first; y < until; y += PM_WIDE)
                            P(pack)(PM_WIDE, pm_least(wide - y, PM_WIDE), pm_least(here - x, PM_FEW_TERMS), b,
                                    b_columns + y, b_along + x, packed + y * here + x * PM_WIDE);
                    __atomic_fetch_add(&team->packed[stage], 1, __ATOMIC_SEQ_CST);
                }
                pm_hold(team, member, part);
                if (part >= all) continue;
                pm_reach(&team->packed[stage], goal[stage]);
                i64 next, i = (part - before - chunks) * group;
                i64 held = P(rows_of)(p, rows, columns, m, i, a_rows[0], d_rows[0]);
                for (int turn = 0; part < all; part = next, turn = !turn) {
                    const int ends = (i + 1) % group == 0 || i + 1 == panels;
                    i64 coming = 0;
                    pm_await(team, part - groups - chunks + 1); /* the terms before of the same panels */
                    P(pack)(P(ROWS), held, here, a, a_rows[turn], a_along, panel);
                    next = ends ? pm_take(team) : part;
                    i = ends ? (next - before - chunks) * group : i + 1;
                    if (next < all) coming = P(rows_of)(p, rows, columns, m, i, a_rows[!turn], d_rows[!turn]);
                    for (i64 y = 0; y < wide; y += PM_WIDE) {
                        const i64 fetched = here * y / wide, until = here * pm_least(y + PM_WIDE, wide) / wide;
                        if (coming == P(ROWS)) P(fetch)(fetched, until, a, a_rows[!turn], a_along);
                        P(packed_tile)(here, panel, packed + y * here, held, pm_least(wide - y, PM_WIDE), d, d_rows[turn],
                                       d_columns + y, alpha, beta);
                    }
                    pm_hold(team, member, next);
                    held = coming;
                }
            }
        }
    while (pm_next(&batch, &a, &b, &d));
    pm_hold(team, member, INT64_MAX);
}

static void P(contract)(const i64 *p, const char *a, const char *b, char *d, const void *alpha, const void *beta,
                        char *work) {
    i64 parts = p[PM_BLOCK] == 1 ? 0 : PM_PARTS; /* of columns, each with as many as are packed at a time */
    if (p[PM_BLOCK] == 2) parts = pm_least(PM_PARTS, pm_loop(p, 0)[0] / (p[PM_THREADS] * PM_PACKED_COLUMNS) + 1);
    pm_work(P(contract_body), parts, p, a, b, d, alpha, beta, work);
}
#undef PM_T
#undef P
