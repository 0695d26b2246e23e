/* The kernels, for one instruction set: included by kernels.h once for each, with PM_ISA naming it. */

#define PM_JOIN_(a, b, c) a##_##b##_##c
#define PM_JOIN(a, b, c) PM_JOIN_(a, b, c)
#define K(name) PM_JOIN(name, PM_SUFFIX, PM_ISA)

#define R float
#define R_BYTES 4
#define PARTS 1
#define PM_SUFFIX f32
#include "kernels_typed.h"
#define R double
#define R_BYTES 8
#define PARTS 1
#define PM_SUFFIX f64
#include "kernels_typed.h"
#define R float
#define R_BYTES 4
#define PARTS 2
#define PM_SUFFIX c64
#include "kernels_typed.h"
#define R double
#define R_BYTES 8
#define PARTS 2
#define PM_SUFFIX c128
#include "kernels_typed.h"

#define PM_FOUR(name)                                                                                                  \
    (void *)PM_JOIN(name, f32, PM_ISA), (void *)PM_JOIN(name, f64, PM_ISA), (void *)PM_JOIN(name, c64, PM_ISA),        \
        (void *)PM_JOIN(name, c128, PM_ISA)
#define PM_DOUBLE(name) (void *)PM_JOIN(name, f64, PM_ISA), (void *)PM_JOIN(name, c128, PM_ISA)
#define PM_TABLE_(isa) pm_kernels_##isa
#define PM_TABLE(isa) PM_TABLE_(isa)
static void *const PM_TABLE(PM_ISA)[] = {
    PM_FOUR(take), PM_FOUR(give), PM_FOUR(judge), PM_FOUR(swap), PM_FOUR(divide), PM_FOUR(zeros), PM_FOUR(detect),
    PM_FOUR(factor_batch), PM_FOUR(solve_batch), PM_DOUBLE(demote),
    PM_DOUBLE(begin), PM_DOUBLE(correct), PM_DOUBLE(look), PM_FOUR(rank), PM_FOUR(permute), PM_FOUR(lu),
    PM_FOUR(deficient), (void *)PM_VECTOR,
};
#undef PM_FOUR
#undef PM_DOUBLE
#undef PM_TABLE
#undef PM_TABLE_
#undef K
#undef PM_JOIN
#undef PM_JOIN_
