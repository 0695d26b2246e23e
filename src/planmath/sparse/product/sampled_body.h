/* The kernels, for one instruction set: included by sampled.h once for each, with PM_ISA naming it. */
#define PM_JOIN_(a, b) a##_##b
#define PM_JOIN(a, b) PM_JOIN_(a, b)
#define K(name) PM_JOIN(name, PM_ISA)

#define SCALED 1
#define ADD PM_ADD
#define MUL PM_TIMES
#define ZERO 0
#define T float
#define REAL 1
#define P(name) PM_JOIN(pm_sampled_f32_##name, PM_ISA)
#include "sampled_typed.h"
#define T double
#define REAL 1
#define P(name) PM_JOIN(pm_sampled_f64_##name, PM_ISA)
#include "sampled_typed.h"
#define T c64
#define REAL 0
#define P(name) PM_JOIN(pm_sampled_c64_##name, PM_ISA)
#include "sampled_typed.h"
#define T c128
#define REAL 0
#define P(name) PM_JOIN(pm_sampled_c128_##name, PM_ISA)
#include "sampled_typed.h"

#undef SCALED
#undef ADD
#undef MUL
#undef ZERO

/* In the order of the PM_* numbers of sampled.h. */
static void *const K(pm_kernels)[] = {
    (void *)K(pm_sampled_f32_product), (void *)K(pm_sampled_f64_product), (void *)K(pm_sampled_c64_product),
    (void *)K(pm_sampled_c128_product),
};
#undef K
#undef PM_JOIN
#undef PM_JOIN_
