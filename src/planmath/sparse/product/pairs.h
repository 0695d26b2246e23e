/* Values of a product of two sparse matrices, whose pattern is known: row after row, in one of three ways.
 *
 * PM_SCHEDULED: a list says of each multiplication to which entry of its row of the result it is added, in a byte or two.
 * PM_GATHERED: a row is summed up at full length and then read where the result has entries.
 * PM_FILLED: the result is dense.
 *
 * The matrices are first and second, those that are multiplied in this order; in a flipped product these are the transposed
 * ones of b and a. */
#ifndef PLANMATH_SPARSE_PAIRS_H
#define PLANMATH_SPARSE_PAIRS_H

#include <complex.h>
#include <stdint.h>
#include <string.h>

#include "team.h"

typedef int64_t i64;
typedef float complex c64;
typedef double complex c128;

enum { PM_SCHEDULED, PM_GATHERED, PM_FILLED };
/* The descriptor. */
enum {
    PM_WAY,
    PM_ROWS,        /* of the first matrix */
    PM_COLUMNS,     /* of the second */
    PM_THREADS,
    PM_PARTS,
    PM_WIDE,        /* whether index arrays have 64 bits */
    PM_OFFSET_BYTES,
    PM_MASKED,      /* whether the result lacks entries that the product has */
    PM_ROW_STEP,    /* of a dense result */
    PM_COLUMN_STEP,
    PM_POS_1, PM_CRD_1, PM_POS_2, PM_CRD_2, PM_POS_C, PM_CRD_C,
    PM_SCHEDULE,
    PM_STARTS,      /* the row with which each part begins */
    PM_BEFORE,      /* the multiplications before each part */
    PM_PAIR_WORDS,
};

typedef struct pm_pair {
    const i64 *p;
    const char *x, *y;
    char *c;
    const void *alpha, *beta;
    char *room; /* a row for each thread */
} pm_pair;

#include "operations.h"

#define SCALED 1
#define ADD PM_ADD
#define MUL PM_TIMES
#define ZERO 0
#define NAME plus_times
#include "pairs_dtypes.h"
#undef SCALED
#undef NAME
#undef MUL
#undef ADD
#undef ZERO
#define PM_DTYPES "pairs_dtypes.h"
#include "semirings.h"
#endif
