/* The factorization of a general sparse matrix by blocks, and solutions with it.
 *
 * Blocks are solved one after the other (block_order.h); those of one row by division. The others are factorized row by
 * row: the rows before that a row needs are found in its graph, then subtracted (Gilbert and Peierls, "Sparse partial
 * pivoting in time proportional to arithmetic operations", SIAM J. Sci. Stat. Comput. 9, 1988; its paths are shortened as
 * in Eisenstat and Liu, SIAM J. Matrix Anal. Appl. 13, 1992). The pivot is the diagonal's entry, for which the order was
 * made, unless that is too small beside the largest one of its row. New values on the old pattern are factorized along
 * the old pivots, without any search, as long as these are large enough.
 *
 * So A' = L U within a block, with rows of A as columns: `lower` holds columns of L, whose diagonal is 1, `upper` those
 * of U above the diagonal. What a row has in blocks before its own is `outside`. */
#ifndef PLANMATH_SPARSE_BLOCK_LU_H
#define PLANMATH_SPARSE_BLOCK_LU_H

#include <complex.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* How a factorization ended. */
enum { PM_FACTORIZED = 0, PM_SINGULAR, PM_NO_MEMORY, PM_FILLED };

/* Columns of a triangular matrix: that of position k is at starts[k] to starts[k + 1], entries named by their positions. */
typedef struct {
    int64_t *starts, capacity;
    int32_t *index;
    void *values;
} pm_columns;

typedef struct {
    int32_t n, blocks, complete, status, place; /* where a pivot was zero: the row */
    double threshold;                           /* what a pivot has to be, as a part of the largest entry of its row */
    const int32_t *starts, *columns;            /* the pattern */
    const int32_t *order, *diagonal, *first;    /* as block_order.h finds them */
    int32_t *column, *position;                 /* that was eliminated at a position; where one was, or -1 */
    pm_columns lower, upper, outside;
    void *pivots, *work; /* both n numbers; work is zero */
    int64_t expected, most; /* entries of lower, and of upper; more than the most end the factorization */
} pm_lu;

static int pm_columns_reserve(pm_columns *c, int64_t wanted, size_t size) {
    int64_t capacity = c->capacity;
    void *index, *values;
    if (wanted <= capacity) return 1;
    capacity = wanted > capacity + capacity / 2 ? wanted : capacity + capacity / 2;
    if ((index = realloc(c->index, (size_t)capacity * sizeof(int32_t)))) c->index = index;
    if ((values = realloc(c->values, (size_t)capacity * size))) c->values = values;
    if (!index || !values) return 0;
    c->capacity = capacity;
    return 1;
}

static void pm_lu_free(pm_lu *lu) {
    pm_columns *parts[] = {&lu->lower, &lu->upper, &lu->outside};
    int i;
    if (!lu) return;
    for (i = 0; i < 3; i++) free(parts[i]->starts), free(parts[i]->index), free(parts[i]->values);
    free(lu->column), free(lu->position), free(lu->pivots), free(lu->work), free(lu);
}

/* A factorization to be, or null where there is no memory; `size` is that of a number. The arrays stay the caller's. */
static pm_lu *pm_lu_new(int32_t n, size_t size, const int32_t *starts, const int32_t *columns, const int32_t *order,
                        const int32_t *diagonal, const int32_t *first, int32_t blocks, double expected) {
    pm_lu *lu = calloc(1, sizeof(pm_lu));
    if (!lu) return NULL;
    lu->n = n, lu->blocks = blocks, lu->expected = (int64_t)expected, lu->most = INT64_MAX;
    lu->starts = starts, lu->columns = columns, lu->order = order, lu->diagonal = diagonal, lu->first = first;
    lu->column = malloc(sizeof(int32_t) * (size_t)n), lu->position = malloc(sizeof(int32_t) * (size_t)n);
    lu->pivots = malloc(size * (size_t)n), lu->work = calloc((size_t)n, size);
    lu->lower.starts = malloc(sizeof(int64_t) * ((size_t)n + 1));
    lu->upper.starts = malloc(sizeof(int64_t) * ((size_t)n + 1));
    lu->outside.starts = malloc(sizeof(int64_t) * ((size_t)n + 1));
    if (lu->column && lu->position && lu->pivots && lu->work && lu->lower.starts && lu->upper.starts &&
        lu->outside.starts)
        return lu;
    pm_lu_free(lu);
    return NULL;
}

/* What finding the rows before needs: `mark` says at which row a column was met last, `pruned` where the entries of one
 * end that have to be followed (-1: all), `found` has the positions before from its end on, `met` the other columns. */
typedef struct {
    int32_t *mark, *pruned, *found, *met, *stack, *diagonal, *owner;
    int64_t *next;
} pm_search;

#define PM_JOIN2(a, b) pm_lu_##a##_##b
#define PM_JOIN(a, b) PM_JOIN2(a, b)

#define VALUE float
#define V_NAME f32
#define IS_COMPLEX 0
#include "block_lu_body.h"
#define VALUE double
#define V_NAME f64
#define IS_COMPLEX 0
#include "block_lu_body.h"
#define VALUE float complex
#define V_NAME c64
#define IS_COMPLEX 1
#include "block_lu_body.h"
#define VALUE double complex
#define V_NAME c128
#define IS_COMPLEX 1
#include "block_lu_body.h"
#endif
