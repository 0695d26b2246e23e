/* Conversions of matrices by rows to the other usual formats: each a few passes over index arrays and values, of which
 * threads take parts of the rows that have about as many entries. Values are moved as bits, whatever they are, and looked
 * at on the way: whether one is zero. */
#ifndef PLANMATH_UST_ROWS_H
#define PLANMATH_UST_ROWS_H

#include <stdint.h>

#include "team.h"

typedef int64_t i64;
typedef struct {
    uint64_t first, second;
} pm_two_words;

/* A conversion. */
typedef struct pm_rows {
    const void *pos, *crd, *val;
    void *starts, *indices, *moved; /* what is made */
    i64 rows, columns;
    i64 m, n;     /* of blocks */
    i64 shift;    /* n is 1 << shift, or -1 */
    i64 by_rows;  /* of diagonals */
    const i64 *first; /* where each diagonal begins */
    uint64_t mask; /* the bits of a value that are zero if it is */
    i64 zero;      /* whether one was */
    i64 parts, threads;
    void *room;
} pm_rows;

/* Elements of a list that are written in one go. */
enum { PM_AT_ONCE = 8 };

static inline i64 pm_block_of(const pm_rows *w, i64 column) { return w->shift >= 0 ? column >> w->shift : column / w->n; }

/* The row with which a part begins, a multiple of m. */
#define PM_INDEX_ONLY(INDEX, suffix)                                                                                   \
    static i64 pm_cut_##suffix(const pm_rows *w, i64 part) {                                                           \
        const INDEX *pos = (const INDEX *)w->pos;                                                                      \
        const i64 lines = w->rows / w->m, wanted = (pos[w->rows] + w->rows) / w->parts * part;                         \
        i64 low = 0, high = lines;                                                                                     \
        if (part == w->parts) return w->rows;                                                                          \
        while (low < high) {                                                                                           \
            const i64 middle = (low + high) / 2;                                                                       \
            if (pos[middle * w->m] + middle * w->m < wanted) low = middle + 1;                                         \
            else high = middle;                                                                                        \
        }                                                                                                              \
        return low * w->m;                                                                                             \
    }                                                                                                                  \
    static void pm_list_part_##suffix(void *work, i64 part, i64 member) {                                              \
        const pm_rows *w = (const pm_rows *)work;                                                                      \
        const INDEX *pos = (const INDEX *)w->pos;                                                                      \
        INDEX *row = (INDEX *)w->indices;                                                                              \
        const i64 to = pm_cut_##suffix(w, part + 1), behind = pos[to];                                                 \
        (void)member;                                                                                                  \
        for (i64 i = pm_cut_##suffix(w, part); i < to; i++) {                                                          \
            i64 q = pos[i];                                                                                            \
            const i64 end = pos[i + 1];                                                                                \
            for (; q < end && q + PM_AT_ONCE <= behind; q += PM_AT_ONCE) /* the next rows write over what is too much */ \
                for (i64 k = 0; k < PM_AT_ONCE; k++) row[q + k] = (INDEX)i;                                            \
            for (; q < end; q++) row[q] = (INDEX)i;                                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    static void pm_list_##suffix(pm_rows *w) { pm_share(pm_list_part_##suffix, w, w->parts, w->threads); }             \
    /* How many blocks each line of them has; in `room` is -1 for each column of blocks, for each thread. */           \
    static void pm_count_blocks_part_##suffix(void *work, i64 part, i64 member) {                                      \
        const pm_rows *w = (const pm_rows *)work;                                                                      \
        const INDEX *pos = (const INDEX *)w->pos, *crd = (const INDEX *)w->crd;                                        \
        INDEX *starts = (INDEX *)w->starts;                                                                            \
        i64 *seen = (i64 *)w->room + member * (w->columns / w->n + 1);                                                 \
        const i64 m = w->m, to = pm_cut_##suffix(w, part + 1) / m;                                                     \
        for (i64 i = pm_cut_##suffix(w, part) / m; i < to; i++) {                                                      \
            i64 count = 0;                                                                                             \
            for (i64 q = pos[i * m]; q < pos[i * m + m]; q++) {                                                        \
                const i64 block = pm_block_of(w, crd[q]);                                                              \
                if (seen[block] != i) seen[block] = i, count++;                                                        \
            }                                                                                                          \
            starts[i + 1] = (INDEX)count;                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    static void pm_count_blocks_##suffix(pm_rows *w) {                                                                 \
        pm_share(pm_count_blocks_part_##suffix, w, w->parts, w->threads);                                              \
    }                                                                                                                  \
    /* Which diagonals have entries, for each thread; the first is that of the last row. */                            \
    static void pm_mark_diagonals_part_##suffix(void *work, i64 part, i64 member) {                                    \
        const pm_rows *w = (const pm_rows *)work;                                                                      \
        const INDEX *pos = (const INDEX *)w->pos, *crd = (const INDEX *)w->crd;                                        \
        uint8_t *present = (uint8_t *)w->room + member * (w->rows + w->columns - 1);                                   \
        const i64 to = pm_cut_##suffix(w, part + 1);                                                                   \
        for (i64 i = pm_cut_##suffix(w, part); i < to; i++)                                                            \
            for (i64 q = pos[i]; q < pos[i + 1]; q++) present[crd[q] - i + w->rows - 1] = 1;                           \
    }                                                                                                                  \
    static void pm_mark_diagonals_##suffix(pm_rows *w) {                                                               \
        pm_share(pm_mark_diagonals_part_##suffix, w, w->parts, w->threads);                                            \
    }
PM_INDEX_ONLY(int32_t, narrow)
PM_INDEX_ONLY(i64, wide)
#undef PM_INDEX_ONLY

#define PM_JOINED_(a, b, c) a##_##b##_##c
#define PM_JOINED(a, b, c) PM_JOINED_(a, b, c)
#define PM_WORD_OF(x) (x)

#define T uint8_t
#define WORD uint8_t
#define BYTES 1
#include "rows_typed.h"
#define T uint16_t
#define WORD uint16_t
#define BYTES 2
#include "rows_typed.h"
#define T uint32_t
#define WORD uint32_t
#define BYTES 4
#include "rows_typed.h"
#define T uint64_t
#define WORD uint64_t
#define BYTES 8
#include "rows_typed.h"
#undef PM_WORD_OF
#define PM_WORD_OF(x) ((x).first | (x).second)
#define T pm_two_words
#define WORD uint64_t
#define BYTES 16
#include "rows_typed.h"
#undef PM_WORD_OF

typedef void (*pm_conversion)(pm_rows *);
/* By whether indices have 64 bits, and the logarithm of the bytes of a value. */
#define PM_TABLE(name)                                                                                                 \
    static const pm_conversion pm_##name[2][5] = {                                                                     \
        {pm_##name##_narrow_1, pm_##name##_narrow_2, pm_##name##_narrow_4, pm_##name##_narrow_8, pm_##name##_narrow_16}, \
        {pm_##name##_wide_1, pm_##name##_wide_2, pm_##name##_wide_4, pm_##name##_wide_8, pm_##name##_wide_16},         \
    };
PM_TABLE(columns)
PM_TABLE(blocks)
PM_TABLE(diagonals)
#undef PM_TABLE
static const pm_conversion pm_zeros[5] = {pm_zeros_1, pm_zeros_2, pm_zeros_4, pm_zeros_8, pm_zeros_16};
#define PM_TABLE(name) static const pm_conversion pm_##name[2] = {pm_##name##_narrow, pm_##name##_wide};
PM_TABLE(list)
PM_TABLE(count_blocks)
PM_TABLE(mark_diagonals)
#undef PM_TABLE
#endif
