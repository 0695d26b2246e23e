/* The entries of a matrix by its rows: where each row begins, the column of each entry and, unless they are stored in that
 * order, where its value is. What they are found from has two levels: outer positions, with an index each, and below them
 * segments of inner coordinates, or one coordinate each. */
#ifndef PLANMATH_SPARSE_ROWS_OF_H
#define PLANMATH_SPARSE_ROWS_OF_H

#include <stdint.h>

/* The description: positions of a dense outer level, else -1; whether inner coordinates count those that are skipped, or
 * stand alone; rows of the matrix; whether the inner coordinates are the rows; and where in `room`, in elements, are the
 * starts, the columns and the places, of which the latter two are -1 where they are not needed. */
enum { PM_OF_OUTER, PM_OF_SKIPS, PM_OF_SINGLE, PM_OF_ROWS, PM_OF_INNER, PM_OF_STARTS, PM_OF_COLUMNS, PM_OF_PLACES, PM_OF_WORDS };
/* Entries ahead of which memory is asked for: so many places are behind the last one, which may be read. */
enum { PM_AHEAD = 32 };

/* Runs `body` for each entry q with its `outer` and `inner` index. */
#define PM_EACH_ENTRY(body)                                                                                            \
    for (int64_t t = 0; t < positions; t++) {                                                                          \
        const int64_t outer = crd0 ? crd0[t] : t, from = single ? t : pos1[t], to = single ? t + 1 : pos1[t + 1];      \
        int64_t inner = -1;                                                                                            \
        for (int64_t q = from; q < to; q++) {                                                                          \
            inner = skips ? inner + 1 + crd1[q] : crd1[q];                                                             \
            (void)outer;                                                                                               \
            body;                                                                                                      \
        }                                                                                                              \
    }

#define PM_ROWS_OF(INDEX, suffix)                                                                                      \
    static int pm_rows_of_##suffix(const int64_t *w, const INDEX *pos0, const INDEX *crd0, const INDEX *pos1,          \
                                   const INDEX *crd1, INDEX *room) {                                                   \
        const int64_t rows = w[PM_OF_ROWS], skips = w[PM_OF_SKIPS], single = w[PM_OF_SINGLE];                          \
        const int64_t positions = w[PM_OF_OUTER] >= 0 ? w[PM_OF_OUTER] : pos0[1];                                      \
        INDEX *starts = room + w[PM_OF_STARTS];                                                                        \
        INDEX *columns = w[PM_OF_COLUMNS] >= 0 ? room + w[PM_OF_COLUMNS] : (INDEX *)0;                                 \
        if (w[PM_OF_PLACES] < 0) { /* they are in order */                                                             \
            int64_t row = -1, behind = 0;                                                                              \
            for (int64_t t = 0; t < positions; t++) {                                                                  \
                const int64_t outer = crd0 ? crd0[t] : t, from = single ? t : pos1[t];                                 \
                behind = single ? t + 1 : pos1[t + 1];                                                                 \
                if (outer < row || outer >= rows) return 1;                                                            \
                while (row < outer) starts[++row] = (INDEX)from;                                                       \
            }                                                                                                          \
            while (row < rows) starts[++row] = (INDEX)behind;                                                          \
            if (columns) PM_EACH_ENTRY(columns[q] = (INDEX)inner)                                                      \
            return 0;                                                                                                  \
        }                                                                                                              \
        INDEX *places = room + w[PM_OF_PLACES];                                                                        \
        int64_t count = 0, wrong = 0;                                                                                  \
        for (int64_t i = 0; i <= rows; i++) starts[i] = 0;                                                             \
        if (w[PM_OF_INNER]) {                                                                                          \
            PM_EACH_ENTRY(if (inner < 0 || inner >= rows) wrong = 1; else starts[inner + 1]++)                         \
            if (wrong) return 1;                                                                                       \
            for (int64_t i = 0; i < rows; i++) starts[i + 1] = (INDEX)(starts[i + 1] + starts[i]);                     \
            PM_EACH_ENTRY(const INDEX at = starts[inner]++; columns[at] = (INDEX)outer; places[at] = (INDEX)q; count++) \
        } else {                                                                                                       \
            PM_EACH_ENTRY(if (outer < 0 || outer >= rows) wrong = 1; else starts[outer + 1]++)                         \
            if (wrong) return 1;                                                                                       \
            for (int64_t i = 0; i < rows; i++) starts[i + 1] = (INDEX)(starts[i + 1] + starts[i]);                     \
            PM_EACH_ENTRY(const INDEX at = starts[outer]++; columns[at] = (INDEX)inner; places[at] = (INDEX)q; count++) \
        }                                                                                                              \
        for (int64_t i = rows; i > 0; i--) starts[i] = starts[i - 1];                                                  \
        starts[0] = 0;                                                                                                 \
        for (int64_t i = 0; i < PM_AHEAD; i++) places[count + i] = 0;                                                  \
        return 0;                                                                                                      \
    }
PM_ROWS_OF(int32_t, narrow)
PM_ROWS_OF(int64_t, wide)
#undef PM_ROWS_OF
#undef PM_EACH_ENTRY
#endif
