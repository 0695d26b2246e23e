/* Conversions of values of BYTES bytes, which are T, and for comparisons WORD: included by rows.h. */
#define Z(name) PM_JOINED(pm, name, BYTES)
#define ZI(name, suffix) PM_JOINED(pm_##name, suffix, BYTES)

#define PM_LOOK(value) found |= (WORD)(PM_WORD_OF(value) & mask) == 0;
#define PM_LOOKED                                                                                                      \
    if (found) __atomic_store_n(&w->zero, 1, __ATOMIC_RELAXED);

/* Whether one of so many values as there are `rows` is zero. */
static void Z(zeros_part)(void *work, i64 part, i64 member) {
    pm_rows *w = (pm_rows *)work;
    const T *val = (const T *)w->val;
    const i64 to = w->rows * (part + 1) / w->parts;
    const WORD mask = (WORD)w->mask;
    WORD found = 0;
    (void)member;
    for (i64 q = w->rows * part / w->parts; q < to; q++) {
        /* the highest bit of x - 1 is set and that of x is not: of zero alone */
        const WORD x = (WORD)(PM_WORD_OF(val[q]) & mask);
        found |= (WORD)((WORD)(x - 1) & (WORD)~x);
    }
    found >>= 8 * sizeof(WORD) - 1;
    PM_LOOKED
}
static void Z(zeros)(pm_rows *w) { pm_share(Z(zeros_part), w, w->parts, w->threads); }

#define PM_CONVERSIONS(INDEX, suffix)                                                                                  \
    /* By columns: in `room` a part has how many entries it has of each, and then where its next one goes. */          \
    static void ZI(count_columns, suffix)(void *work, i64 part, i64 member) {                                           \
        const pm_rows *w = (const pm_rows *)work;                                                                      \
        const INDEX *pos = (const INDEX *)w->pos, *crd = (const INDEX *)w->crd;                                        \
        INDEX *count = (INDEX *)w->room + part * w->columns;                                                           \
        const i64 to = pos[pm_cut_##suffix(w, part + 1)];                                                              \
        (void)member;                                                                                                  \
        for (i64 j = 0; j < w->columns; j++) count[j] = 0;                                                             \
        for (i64 q = pos[pm_cut_##suffix(w, part)]; q < to; q++) count[crd[q]]++;                                      \
    }                                                                                                                  \
    static void ZI(move_to_columns, suffix)(void *work, i64 part, i64 member) {                                         \
        pm_rows *w = (pm_rows *)work;                                                                                  \
        const INDEX *pos = (const INDEX *)w->pos, *crd = (const INDEX *)w->crd;                                        \
        const T *val = (const T *)w->val;                                                                              \
        INDEX *next = (INDEX *)w->room + part * w->columns, *indices = (INDEX *)w->indices;                            \
        T *moved = (T *)w->moved;                                                                                      \
        const i64 to = pm_cut_##suffix(w, part + 1);                                                                   \
        const WORD mask = (WORD)w->mask;                                                                               \
        int found = 0;                                                                                                 \
        (void)member;                                                                                                  \
        for (i64 i = pm_cut_##suffix(w, part); i < to; i++)                                                            \
            for (i64 q = pos[i]; q < pos[i + 1]; q++) {                                                                \
                const i64 at = next[crd[q]]++;                                                                         \
                indices[at] = (INDEX)i, moved[at] = val[q];                                                            \
                PM_LOOK(val[q])                                                                                        \
            }                                                                                                          \
        PM_LOOKED                                                                                                      \
    }                                                                                                                  \
    static void ZI(columns, suffix)(pm_rows *w) {                                                                       \
        INDEX *starts = (INDEX *)w->starts, *room = (INDEX *)w->room, sum = 0;                                         \
        pm_share(ZI(count_columns, suffix), w, w->parts, w->threads);                                                   \
        for (i64 j = 0; j < w->columns; j++) {                                                                         \
            starts[j] = sum;                                                                                           \
            for (i64 part = 0; part < w->parts; part++) {                                                              \
                const INDEX count = room[part * w->columns + j];                                                       \
                room[part * w->columns + j] = sum;                                                                     \
                sum = (INDEX)(sum + count);                                                                            \
            }                                                                                                          \
        }                                                                                                              \
        starts[w->columns] = sum;                                                                                      \
        pm_share(ZI(move_to_columns, suffix), w, w->parts, w->threads);                                                 \
    }                                                                                                                  \
    /* Blocks whose starts are known, in order, row by row: `moved` has zeros in it, `room` is as for their number. */ \
    static void ZI(blocks_part, suffix)(void *work, i64 part, i64 member) {                                             \
        pm_rows *w = (pm_rows *)work;                                                                                  \
        const INDEX *pos = (const INDEX *)w->pos, *crd = (const INDEX *)w->crd, *starts = (const INDEX *)w->starts;    \
        const T *val = (const T *)w->val;                                                                              \
        INDEX *blocks = (INDEX *)w->indices;                                                                           \
        T *moved = (T *)w->moved;                                                                                      \
        i64 *place = (i64 *)w->room + member * (w->columns / w->n + 1);                                                \
        const i64 m = w->m, n = w->n, to = pm_cut_##suffix(w, part + 1) / m;                                           \
        const WORD mask = (WORD)w->mask;                                                                               \
        int found = 0;                                                                                                 \
        for (i64 i = pm_cut_##suffix(w, part) / m; i < to; i++) {                                                      \
            i64 count = starts[i];                                                                                     \
            for (i64 q = pos[i * m]; q < pos[i * m + m]; q++) {                                                        \
                const i64 block = pm_block_of(w, crd[q]);                                                              \
                if (place[block] >= starts[i]) continue;                                                               \
                place[block] = count;                                                                                  \
                i64 j = count++; /* mostly behind all others, or nearly */                                             \
                for (; j > starts[i] && blocks[j - 1] > block; j--) blocks[j] = blocks[j - 1];                         \
                blocks[j] = (INDEX)block;                                                                              \
            }                                                                                                          \
            for (i64 j = starts[i]; j < count; j++) place[blocks[j]] = j;                                              \
            for (i64 r = 0; r < m; r++)                                                                                \
                for (i64 q = pos[i * m + r]; q < pos[i * m + r + 1]; q++) {                                            \
                    const i64 block = pm_block_of(w, crd[q]);                                                          \
                    moved[(place[block] * m + r) * n + crd[q] - block * n] = val[q];                                   \
                    PM_LOOK(val[q])                                                                                    \
                }                                                                                                      \
        }                                                                                                              \
        PM_LOOKED                                                                                                      \
    }                                                                                                                  \
    static void ZI(blocks, suffix)(pm_rows *w) { pm_share(ZI(blocks_part, suffix), w, w->parts, w->threads); }           \
    /* Diagonals by their columns or by their rows. */                                                                 \
    static void ZI(diagonals_part, suffix)(void *work, i64 part, i64 member) {                                          \
        pm_rows *w = (pm_rows *)work;                                                                                  \
        const INDEX *pos = (const INDEX *)w->pos, *crd = (const INDEX *)w->crd;                                        \
        const T *val = (const T *)w->val;                                                                              \
        const i64 *first = w->first + w->rows - 1, to = pm_cut_##suffix(w, part + 1), by_rows = w->by_rows;            \
        T *moved = (T *)w->moved;                                                                                      \
        const WORD mask = (WORD)w->mask;                                                                               \
        int found = 0;                                                                                                 \
        (void)member;                                                                                                  \
        for (i64 i = pm_cut_##suffix(w, part); i < to; i++)                                                            \
            for (i64 q = pos[i]; q < pos[i + 1]; q++) {                                                                \
                moved[first[crd[q] - i] + (by_rows ? i : crd[q])] = val[q];                                            \
                PM_LOOK(val[q])                                                                                        \
            }                                                                                                          \
        PM_LOOKED                                                                                                      \
    }                                                                                                                  \
    static void ZI(diagonals, suffix)(pm_rows *w) { pm_share(ZI(diagonals_part, suffix), w, w->parts, w->threads); }
PM_CONVERSIONS(int32_t, narrow)
PM_CONVERSIONS(i64, wide)
#undef PM_CONVERSIONS
#undef PM_LOOKED
#undef PM_LOOK
#undef ZI
#undef Z
#undef BYTES
#undef WORD
#undef T
