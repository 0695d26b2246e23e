/* The loops for one dtype T and one pair of operations: included by pairs_dtypes.h. */
#if SCALED
#define PM_FACTOR(x) (alpha * (x))
#else
#define PM_FACTOR(x) (x)
#endif

/* Prepares entries of the result: times beta, or without beta the ZERO of the semiring. */
static inline void P(prepare)(T *c, i64 count, i64 step, T beta) {
    if (beta == 0)
        for (i64 t = 0; t < count; t++) c[t * step] = (T)ZERO;
    else if (beta != 1)
        for (i64 t = 0; t < count; t++) c[t * step] *= beta;
}

#define PM_LOOPS(INDEX, suffix)                                                                                        \
    static void P(gathered_##suffix)(const pm_pair *w, i64 from, i64 to, T *row) {                                     \
        const i64 *p = w->p;                                                                                           \
        const INDEX *pos1 = (void *)p[PM_POS_1], *crd1 = (void *)p[PM_CRD_1], *pos2 = (void *)p[PM_POS_2];             \
        const INDEX *crd2 = (void *)p[PM_CRD_2], *posc = (void *)p[PM_POS_C], *crdc = (void *)p[PM_CRD_C];             \
        const T *x = (const T *)w->x, *y = (const T *)w->y, alpha = *(const T *)w->alpha, beta = *(const T *)w->beta;  \
        T *c = (T *)w->c;                                                                                              \
        (void)alpha;                                                                                                   \
        for (i64 i = from; i < to; i++) {                                                                              \
            for (i64 q = pos1[i]; q < pos1[i + 1]; q++) {                                                              \
                const T v = PM_FACTOR(x[q]);                                                                           \
                for (i64 r = pos2[crd1[q]]; r < pos2[crd1[q] + 1]; r++)                                                \
                    row[crd2[r]] = ADD(row[crd2[r]], MUL(v, y[r]));                                                    \
            }                                                                                                          \
            for (i64 t = posc[i]; t < posc[i + 1]; t++) {                                                              \
                const T sum = row[crdc[t]];                                                                            \
                c[t] = beta == 0 ? sum : ADD(beta == 1 ? c[t] : beta * c[t], sum);                                     \
                row[crdc[t]] = (T)ZERO;                                                                                \
            }                                                                                                          \
            if (p[PM_MASKED])                                                                                          \
                for (i64 q = pos1[i]; q < pos1[i + 1]; q++)                                                            \
                    for (i64 r = pos2[crd1[q]]; r < pos2[crd1[q] + 1]; r++) row[crd2[r]] = (T)ZERO;                    \
        }                                                                                                              \
    }                                                                                                                  \
    static void P(filled_##suffix)(const pm_pair *w, i64 from, i64 to) {                                               \
        const i64 *p = w->p, step = p[PM_COLUMN_STEP];                                                                 \
        const INDEX *pos1 = (void *)p[PM_POS_1], *crd1 = (void *)p[PM_CRD_1], *pos2 = (void *)p[PM_POS_2];             \
        const INDEX *crd2 = (void *)p[PM_CRD_2];                                                                       \
        const T *x = (const T *)w->x, *y = (const T *)w->y, alpha = *(const T *)w->alpha, beta = *(const T *)w->beta;  \
        (void)alpha;                                                                                                   \
        for (i64 i = from; i < to; i++) {                                                                              \
            T *c = (T *)w->c + i * p[PM_ROW_STEP];                                                                     \
            P(prepare)(c, p[PM_COLUMNS], step, beta);                                                                  \
            for (i64 q = pos1[i]; q < pos1[i + 1]; q++) {                                                              \
                const T v = PM_FACTOR(x[q]);                                                                           \
                for (i64 r = pos2[crd1[q]]; r < pos2[crd1[q] + 1]; r++) {                                              \
                    T *at = c + crd2[r] * step;                                                                        \
                    *at = ADD(*at, MUL(v, y[r]));                                                                      \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
PM_LOOPS(int32_t, narrow)
PM_LOOPS(i64, wide)

#define PM_SCHEDULED_LOOP(INDEX, OFFSET, suffix)                                                                       \
    static void P(scheduled_##suffix)(const pm_pair *w, i64 from, i64 to, i64 before) {                                \
        const i64 *p = w->p, masked = p[PM_MASKED];                                                                    \
        const INDEX *pos1 = (void *)p[PM_POS_1], *crd1 = (void *)p[PM_CRD_1], *pos2 = (void *)p[PM_POS_2];             \
        const INDEX *posc = (void *)p[PM_POS_C];                                                                       \
        const OFFSET *place = (const OFFSET *)p[PM_SCHEDULE] + before;                                                 \
        const T *x = (const T *)w->x, *y = (const T *)w->y, alpha = *(const T *)w->alpha, beta = *(const T *)w->beta;  \
        (void)alpha;                                                                                                   \
        for (i64 i = from; i < to; i++) {                                                                              \
            const i64 length = posc[i + 1] - posc[i];                                                                  \
            T *c = (T *)w->c + posc[i];                                                                                \
            P(prepare)(c, length, 1, beta);                                                                            \
            for (i64 q = pos1[i]; q < pos1[i + 1]; q++) {                                                              \
                const T v = PM_FACTOR(x[q]), *z = y + pos2[crd1[q]];                                                   \
                const i64 count = pos2[crd1[q] + 1] - pos2[crd1[q]];                                                   \
                if (!masked)                                                                                           \
                    for (i64 r = 0; r < count; r++) c[place[r]] = ADD(c[place[r]], MUL(v, z[r]));                      \
                else                                                                                                   \
                    for (i64 r = 0; r < count; r++)                                                                    \
                        if (place[r] < length) c[place[r]] = ADD(c[place[r]], MUL(v, z[r]));                           \
                place += count;                                                                                        \
            }                                                                                                          \
        }                                                                                                              \
    }
PM_SCHEDULED_LOOP(int32_t, uint8_t, narrow_1)
PM_SCHEDULED_LOOP(int32_t, uint16_t, narrow_2)
PM_SCHEDULED_LOOP(i64, uint8_t, wide_1)
PM_SCHEDULED_LOOP(i64, uint16_t, wide_2)

static void P(part)(void *work, i64 part, i64 member) {
    const pm_pair *w = (const pm_pair *)work;
    const i64 *p = w->p, *starts = (const i64 *)p[PM_STARTS], from = starts[part], to = starts[part + 1];
    const i64 before = ((const i64 *)p[PM_BEFORE])[part];
    T *row = (T *)w->room + member * p[PM_COLUMNS];
    if (p[PM_WAY] == PM_FILLED) {
        if (p[PM_WIDE]) P(filled_wide)(w, from, to);
        else P(filled_narrow)(w, from, to);
    } else if (p[PM_WAY] == PM_GATHERED) {
        if (p[PM_WIDE]) P(gathered_wide)(w, from, to, row);
        else P(gathered_narrow)(w, from, to, row);
    } else if (p[PM_WIDE]) {
        if (p[PM_OFFSET_BYTES] == 1) P(scheduled_wide_1)(w, from, to, before);
        else P(scheduled_wide_2)(w, from, to, before);
    } else {
        if (p[PM_OFFSET_BYTES] == 1) P(scheduled_narrow_1)(w, from, to, before);
        else P(scheduled_narrow_2)(w, from, to, before);
    }
}

/* The product: of the values of first and second, into those of c, with room for a row for each thread. */
static void P(product)(const i64 *p, const char *x, const char *y, char *c, const void *alpha, const void *beta, char *room) {
    pm_pair work = {p, x, y, c, alpha, beta, room};
    if (p[PM_WAY] == PM_GATHERED)
        for (i64 j = 0; j < p[PM_COLUMNS] * p[PM_THREADS]; j++) ((T *)room)[j] = (T)ZERO;
    pm_share(P(part), &work, p[PM_PARTS], p[PM_THREADS]);
}
#undef PM_FACTOR
#undef PM_LOOPS
#undef PM_SCHEDULED_LOOP
#undef T
#undef P
