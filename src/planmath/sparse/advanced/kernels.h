/* What the sparse solver does itself, in linear time: look at a CSR pattern, rearrange its values, multiply with it.
 *
 * Every function takes words (integers and addresses) only, so that prepared calls can make it. Sums are kept in double
 * precision, whatever the dtype of the matrix. */
#ifndef PLANMATH_SPARSE_KERNELS_H
#define PLANMATH_SPARSE_KERNELS_H

#include <complex.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Which part of the matrix its entries give; the other triangle mirrors the one that counts. */
enum { PM_FULL = 0, PM_LOWER = 1, PM_UPPER = 2 };

/* What is wrong with a pattern. */
enum { PM_RIGHT = 0, PM_START, PM_DECREASING, PM_LENGTH, PM_RANGE, PM_UNSORTED, PM_DUPLICATE };

/* What is found out about a pattern; rows are -1 where there is none. */
enum { PM_ROW = 0, PM_COLUMN, PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_EMPTY_ROW, PM_EMPTY_COLUMN, PM_NO_DIAGONAL,
       PM_CHECKSUM, PM_FACTS };

/* What values may be, and all of that: the last is a whole diagonal of positive (and real) values. */
enum { PM_SYMMETRIC = 1, PM_HERMITIAN = 2, PM_POSITIVE_DIAGONAL = 4 };

/* Sums are made of blocks of this length, so that rounding errors grow with the number of blocks. */
enum { PM_BLOCK = 512 };

#define PM_JOIN2(a, b, c) pm_##a##_##b##_##c
#define PM_JOIN(a, b, c) PM_JOIN2(a, b, c)

static inline int pm_counts(intptr_t view, intptr_t row, intptr_t column) {
    return view == PM_FULL || (view == PM_LOWER ? column <= row : column >= row);
}

static intptr_t pm_differ(intptr_t bytes, const void *a, const void *b) { return a != b && memcmp(a, b, (size_t)bytes); }

#define INDEX int32_t
#define I_NAME i32
#include "kernels_body.h"
#undef INDEX
#undef I_NAME
#define INDEX int64_t
#define I_NAME i64
#include "kernels_body.h"
#undef INDEX
#undef I_NAME
#endif
