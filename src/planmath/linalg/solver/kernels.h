/* What stands around a library's factorization and solution of dense systems: copies that measure, projections of
 * residuals, the judgement of solutions, and what LAPACK has no routine for. Built for three instruction sets, as the
 * kernels of products. */
#ifndef PLANMATH_SOLVER_KERNELS_H
#define PLANMATH_SOLVER_KERNELS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef intptr_t pm_index;

/* What is known of a matrix whose copy is made: its other triangle is a mirror image, or a conjugated one; ones stand on
 * the diagonal; and nothing is to be copied. */
enum { PM_SYMMETRIC = 1, PM_HERMITIAN = 2, PM_UNIT = 4, PM_MEASURE = 8 };
/* Of right-hand sides and solutions. */
enum { PM_CONJUGATE = 1 };

/* The kernels, as the tables number them: four dtypes each. */
enum { PM_TAKE, PM_GIVE = 4, PM_JUDGE = 8, PM_SWAP = 12, PM_DIVIDE = 16, PM_ZEROS = 20, PM_DETECT = 24 };

/* What `detect` finds: the bandwidths, and whether the matrix is its own mirror image, or its conjugate's, and has a
 * diagonal of positive numbers. */
enum { PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_IS_SYMMETRIC, PM_IS_HERMITIAN, PM_IS_POSITIVE, PM_FACTS };

/* Squares of elements between these are those of elements whose own squares are in float64's and float32's range. */
static const double PM_TINY[2] = {1e-290, 1e-30};

/* How a solution is judged: the largest backward error, error times growth, and growth (core.accuracy). */
typedef struct {
    double tolerance, product, growth;
} pm_limits;

/* Whether something about a factorization is not ordinary: a status, or a norm that is none. */
static int pm_factorized(pm_index count, const int *status, const double *squares, pm_index is_single) {
    int unusual = 0;
    for (pm_index i = 0; i < count; i++)
        unusual |= status[i] != 0 || !(squares[i] > PM_TINY[is_single] && squares[i] < INFINITY);
    return unusual;
}

/* Makes elements of columns zero, from one row up to another one. */
static void pm_wipe(pm_index col, pm_index first, pm_index end, pm_index k, pm_index itemsize, char *x) {
    for (pm_index j = 0; j < k; j++)
        memset(x + (j * col + first) * itemsize, 0, (size_t)((end - first) * itemsize));
}

/* Whether one of the columns has an error that has to be looked at: by the projections of b and x, which follow each
 * other as real parts, imaginary parts and squares. */
static int pm_doubtful(pm_index k, const double *b, const double *x, double norm, double tiny, const pm_limits *limits) {
    int doubtful = 0;
    for (pm_index j = 0; j < k; j++) {
        double re = b[j] - x[j], im = b[k + j] - x[k + j], size = b[2 * k + j];
        double product = norm * sqrt(x[2 * k + j]), side = sqrt(size);
        double error = sqrt(re * re + im * im) / (product + side), growth = product / side;
        doubtful |= !(size > tiny && size < INFINITY && error <= limits->tolerance && growth <= limits->growth &&
                      error * (growth + 1) <= limits->product);
    }
    return doubtful;
}

#define PM_BODY "../linalg/solver/kernels_body.h"
#include "instruction_sets.h"
#endif
