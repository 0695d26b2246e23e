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

#define PM_BODY "../linalg/product/structure_kernels_body.h"
#include "instruction_sets.h"
#endif
