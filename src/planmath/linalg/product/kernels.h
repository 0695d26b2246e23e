/* The element-wise work around a matrix product: conversions and copies of operands, epilogs, sums for bias gradients,
 * and what takes the product's place where its factor is 0.
 * Loops are plain C that compilers vectorize. On x86-64 they are built for three instruction sets, and the right one is
 * picked when the module is loaded. */
#ifndef PLANMATH_KERNELS_H
#define PLANMATH_KERNELS_H

#include <math.h>
#include <stdint.h>

#define PM_INLINE static inline __attribute__((always_inline))
#define PM_COLUMN static __attribute__((noinline)) void

typedef intptr_t pm_index;
typedef struct { float re, im; } pm_c64;
typedef struct { double re, im; } pm_c128;

/* Activations of the epilog. */
enum { PM_IDENTITY, PM_RELU, PM_GELU_KIND, PM_DRELU, PM_DGELU };

/* The kernels, as the tables number them. */
enum {
    PM_COPY_16, PM_COPY_32, PM_COPY_64, PM_COPY_128, PM_CONJ_C64, PM_CONJ_C128,
    PM_F16_F32, PM_F32_F16, PM_BF16_F32, PM_F32_BF16, PM_I8_F64, PM_I32_F64,
    PM_F32_F64, PM_F64_F32, PM_F64_I32, PM_EPILOG_F32, PM_EPILOG_F64, PM_ROW_SUMS_F32,
    PM_ROW_SUMS_F64, PM_SCALE_F16, PM_SCALE_F32, PM_SCALE_F64, PM_SCALE_C64, PM_SCALE_C128,
    PM_E4M3_F32, PM_E5M2_F32, PM_E4M3_BF16, PM_E5M2_BF16, PM_F32_E4M3, PM_F32_E5M2, PM_FACTOR, PM_MULTIPLY, PM_AMAX,
    PM_E4M3_BLOCKS_F32, PM_E5M2_BLOCKS_F32, PM_E2M1_BLOCKS_F32,
    PM_F32_E4M3_BLOCKS, PM_F32_E5M2_BLOCKS, PM_F32_E2M1_BLOCKS,
};

#define PM_BODY "../linalg/product/kernels_body.h"
#include "instruction_sets.h"
#endif
