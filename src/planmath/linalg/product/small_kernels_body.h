/* The kernels, for one instruction set: included by small_kernels.h once for each, with PM_ISA naming it. */

#define PM_JOIN_(a, b, c) a##_##b##_##c
#define PM_JOIN(a, b, c) PM_JOIN_(a, b, c)
#define K(name) PM_JOIN(name, PM_SUFFIX, PM_ISA)

#define R float
#define R_BYTES 4
#define PM_SUFFIX f32
#include "small_kernels_typed.h"
#define R double
#define R_BYTES 8
#define PM_SUFFIX f64
#include "small_kernels_typed.h"

#define PM_TABLE_(isa) pm_kernels_##isa
#define PM_TABLE(isa) PM_TABLE_(isa)
static void *const PM_TABLE(PM_ISA)[] = {
    (void *)PM_JOIN(multiply, f32, PM_ISA), (void *)PM_JOIN(multiply, f64, PM_ISA),
    (void *)PM_JOIN(multiply_complex, f32, PM_ISA), (void *)PM_JOIN(multiply_complex, f64, PM_ISA),
};
#undef PM_TABLE
#undef PM_TABLE_
#undef K
#undef PM_JOIN
#undef PM_JOIN_
