/* What stands around a library's factorization and solution of dense systems: copies that measure, projections of
 * residuals, the judgement of solutions, and what LAPACK has no routine for. Built for three instruction sets, as the
 * kernels of products. */
#ifndef PLANMATH_SOLVER_KERNELS_H
#define PLANMATH_SOLVER_KERNELS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "team.h"

typedef intptr_t pm_index;

/* What is known of a matrix whose copy is made: its other triangle is a mirror image, or a conjugated one; ones stand on
 * the diagonal; and nothing is to be copied. */
enum { PM_SYMMETRIC = 1, PM_HERMITIAN = 2, PM_UNIT = 4, PM_MEASURE = 8 };
/* Of right-hand sides and solutions. */
enum { PM_CONJUGATE = 1 };

/* The kernels, as the tables number them: four dtypes each, two of those for factors in single precision. */
enum { PM_TAKE, PM_GIVE = 4, PM_JUDGE = 8, PM_SWAP = 12, PM_DIVIDE = 16, PM_ZEROS = 20, PM_DETECT = 24, PM_FACTOR_LANES = 28, PM_SOLVE_LANES = 32, PM_DEMOTE = 36, PM_BEGIN = 38, PM_CORRECT = 40, PM_LOOK = 42, PM_RANK = 44, PM_PERMUTE = 48, PM_LU = 52, PM_DEFICIENT = 56, PM_VECTOR_BYTES = 60 };
/* Unknowns of a batch's systems, at most. */
enum { PM_MOST_UNKNOWNS = 32 };
/* Into how many parts the work of each thread is cut: one that comes late, or is disturbed, leaves some to the others. */
enum { PM_PARTS_OF_A_THREAD = 4 };
/* Bytes that are asked for while other work goes on, at most. */
enum { PM_MOST_AHEAD = 4096 };

/* What `detect` finds: the bandwidths, and whether the matrix is its own mirror image, or its conjugate's, and has a
 * diagonal of positive numbers. */
enum { PM_LOWER_BANDWIDTH, PM_UPPER_BANDWIDTH, PM_IS_SYMMETRIC, PM_IS_HERMITIAN, PM_IS_POSITIVE, PM_FACTS };

/* Squares of elements between these are those of elements whose own squares are in float64's and float32's range. */
static const double PM_TINY[2] = {1e-270, 1e-20};

/* How a solution is judged: the largest backward error, error times growth, and growth (core.accuracy). */
typedef struct {
    double tolerance, product, growth;
} pm_limits;

/* What is known of a solution that is refined: its backward error, growth and steps, whether it is refined still, and the
 * factors of the corrections of its columns. */
enum { PM_ERROR, PM_GROWTH, PM_STEPS, PM_STATE, PM_SCALES };
enum { PM_RUNNING, PM_DONE, PM_FAILED };
/* A backward error of a unit of rounding is as small as factors in double precision make it. */
#define PM_ENOUGH 2.220446049250313e-16

/* Whether a solution could not be refined: of `count`, each with so many facts. */
static int pm_unrefined(pm_index count, pm_index each, const double *facts) {
    int failed = 0;
    for (pm_index i = 0; i < count; i++) failed |= facts[i * each + PM_STATE] != PM_DONE;
    return failed;
}

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

/* The same with the first row in memory. */
static void pm_wipe_behind(pm_index col, const int *first, pm_index end, pm_index k, pm_index itemsize, char *x) {
    pm_wipe(col, *first, end, k, itemsize, x);
}

/* Whether one of the columns has an error that has to be looked at: by the projections of b and x, which follow each
 * other as real parts, imaginary parts and squares. Sizes are compared by their squares: the error r / (p + s), with the
 * sizes p of A x and s of b, is at most the root of r² / (p² + s²), and times the growth plus one it is r / s. */
static int pm_doubtful(pm_index k, const double *b, const double *x, double squares_of_a, double tiny,
                       const pm_limits *limits) {
    const double least = limits->tolerance * limits->tolerance, most = limits->growth * limits->growth;
    int doubtful = 0;
    for (pm_index j = 0; j < k; j++) {
        double re = b[j] - x[j], im = b[k + j] - x[k + j], r = re * re + im * im;
        double side = b[2 * k + j], grown = squares_of_a * x[2 * k + j];
        doubtful |= !(r <= least * (grown + side) && r <= limits->product * limits->product * side &&
                      grown <= most * side && side > tiny && side < INFINITY);
    }
    return doubtful;
}

/* A batch of small systems, of which each vector register holds one in each lane; strides in elements. */
typedef struct {
    pm_index n, k, count, definite, transposed, threads, parts;
    pm_index conjugate; /* definite matrices to factorize, or right-hand sides and solutions */
    pm_index a_step, a_row, a_col, b_step, b_row, b_col, x_step, x_row, x_col;
    const void *probe, *a;
    void *f, *w, *u, *norms; /* norms: squares once more, as the lanes have them */
    double *squares;
    int32_t *order, *status;
    const void *b; /* none to factorize */
    void *x, *scratch;
    pm_index scratch_size; /* bytes for each thread */
    void *out;
    const pm_limits *limits;
    int doubtful[PM_MOST_THREADS];
} pm_lanes;

/* Does the work of a batch by as many threads as its description says; whether a solution has to be looked at. */
static int pm_run_lanes(pm_part_of body, pm_lanes *d) {
    int doubtful = 0;
    if (d->threads <= 1) {
        d->parts = 1;
        body(d, 0, 0);
    } else {
        d->parts = PM_PARTS_OF_A_THREAD * d->threads;
        pm_share(body, d, d->parts, d->threads);
    }
    for (pm_index i = 0; i < d->threads; i++) doubtful |= d->doubtful[i];
    return doubtful;
}

#define PM_BODY "../linalg/solver/kernels_body.h"
#include "instruction_sets.h"
#endif
