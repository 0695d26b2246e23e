/* A product of two dense matrices for some elements: of each the sum over a row of the one times a column of the other. What
 * is summed lies contiguously, or is copied so that it does. */
#ifndef PLANMATH_SPARSE_SAMPLED_H
#define PLANMATH_SPARSE_SAMPLED_H

#include <complex.h>
#include <stdint.h>
#include <string.h>

#include "operations.h"
#include "team.h"

typedef int64_t i64;
typedef float complex c64;
typedef double complex c128;

/* The descriptor: of each of a and b the step from one row (column) to the next, or, where it is copied, what that takes. */
enum {
    PM_COUNT, /* elements */
    PM_SUMMED,
    PM_THREADS,
    PM_PARTS,
    PM_WIDE, /* whether lists have 64 bits */
    PM_LIST_A, PM_LIST_B, /* the row of a and the column of b of each element */
    PM_VALUES, /* where the value of each is; 0 where number n has the value number n */
    PM_SIDE_A,
    PM_SIDE_B = PM_SIDE_A + 6,
    PM_SAMPLED_WORDS = PM_SIDE_B + 6,
};
enum { PM_STEP, PM_COPIED, PM_INNER, PM_LINES, PM_BATCHES, PM_OFFSETS };
/* Whether a side is copied: to align it where its address is no multiple of PM_LINE, or whatever that is. Vectors that reach over
 * two lines of the cache take a third longer. */
enum { PM_NOT_COPIED, PM_COPIED_TO_ALIGN, PM_ALWAYS_COPIED };
/* How many elements ahead lines of b are asked for, where these have at most so many bytes: longer ones the processor sees
 * coming. */
enum { PM_AHEAD = 16, PM_SHORT = 512 };
enum { PM_TILE = 64, PM_LINE = 64 };

typedef struct pm_sampled {
    const i64 *p, *side;
    const char *a, *b;
    char *c;
    const void *alpha, *beta;
    const char *from; /* of a copy */
    char *to;
} pm_sampled;

/* The kernels, as the tables number them. */
enum { PM_F32, PM_F64, PM_C64, PM_C128 };

#define PM_BODY "../sparse/product/sampled_body.h"
#include "instruction_sets.h"

#define PM_DTYPES "sampled_dtypes.h"
#include "semirings.h"
#endif
