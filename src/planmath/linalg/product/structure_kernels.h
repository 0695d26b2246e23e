/* Matrices with a structure: expanded to all of their elements, and diagonal ones times general ones. Built for three
 * instruction sets, as the kernels of kernels.h. */
#ifndef PLANMATH_STRUCTURE_KERNELS_H
#define PLANMATH_STRUCTURE_KERNELS_H

#include <stdint.h>

typedef intptr_t pm_index;

/* What is in the other triangle: a mirror image, a conjugated one, zeros. */
enum { PM_SYMMETRIC, PM_HERMITIAN, PM_TRIANGULAR };
/* Flags. */
enum { PM_UPPER = 1, PM_UNIT = 2, PM_CONJUGATE = 4 };
enum { PM_CONJUGATE_X = 1, PM_CONJUGATE_G = 2 };

/* The kernels, as the tables number them: four dtypes each. */
enum { PM_EXPAND, PM_SPREAD = 4, PM_SCALE = 8 };

/* Decides how a product is computed whose factors were one matrix when it was planned: by `flags`, of which one is set,
 * with the routine for that, as a general product, or, where alpha is 0, not at all. The numbers alpha and beta have
 * `parts` parts of `size` bytes, of which the second one has to be 0 for a Hermitian result. */
static void pm_decide(pm_index size, pm_index parts, pm_index hermitian, const void *alpha, const void *beta,
                      const void *a, const void *b, double *flags) {
    double numbers[2][2] = {{0, 0}, {0, 0}};
    const void *from[2] = {alpha, beta};
    for (int i = 0; i < 2; i++)
        for (pm_index p = 0; p < parts; p++)
            numbers[i][p] = size == 4 ? ((const float *)from[i])[p] : ((const double *)from[i])[p];
    const int none = numbers[0][0] == 0 && numbers[0][1] == 0;
    const int fits = a == b && (!hermitian || (numbers[0][1] == 0 && numbers[1][1] == 0));
    flags[0] = !none && fits, flags[1] = !none && !fits, flags[2] = none;
}

/* What is in packed storage, the columns of a triangle of n rows one behind the other, or in band storage, where element
 * (i, j) is in row above + i - j of column j, as a matrix by columns; of that the diagonals that are asked for, on which
 * zeros are where nothing is stored (LAPACK Users' Guide, 5.3). For elements of any type of a size. */
#define PM_UNPACK_KERNELS(bits, type)                                                                                  \
    static void pm_unpack_##bits(pm_index upper, pm_index n, pm_index step, const type *src, type *dst) {              \
        for (pm_index j = 0; j < n; j++)                                                                               \
            for (pm_index i = upper ? 0 : j; i < (upper ? j + 1 : n); i++, src += step) dst[i + j * n] = *src;         \
    }                                                                                                                  \
    static void pm_unband_##bits(pm_index n, pm_index below, pm_index above, pm_index low, pm_index high,              \
                                 pm_index row, pm_index col, const type *src, type *dst) {                             \
        const type zero = {0};                                                                                         \
        for (pm_index j = 0; j < n; j++)                                                                               \
            for (pm_index i = j > high ? j - high : 0; i < n && i <= j + low; i++) {                                   \
                const int stored = i - j <= below && j - i <= above;                                                   \
                dst[i + j * n] = stored ? src[(above + i - j) * row + j * col] : zero;                                 \
            }                                                                                                          \
    }
typedef struct {
    uint64_t parts[2];
} pm_two;
PM_UNPACK_KERNELS(16, uint16_t)
PM_UNPACK_KERNELS(32, uint32_t)
PM_UNPACK_KERNELS(64, uint64_t)
PM_UNPACK_KERNELS(128, pm_two)

#define PM_BODY "../linalg/product/structure_kernels_body.h"
#include "instruction_sets.h"
#endif
