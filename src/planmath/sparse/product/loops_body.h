/* The kernels, for one instruction set: included by loops.h once for each, with PM_ISA naming it. */
#define PM_JOIN_(a, b) a##_##b
#define PM_JOIN(a, b) PM_JOIN_(a, b)
#define K(name) PM_JOIN(name, PM_ISA)

#define PM_ADD(x, y) ((x) + (y))
#define PM_TIMES(x, y) ((x) * (y))
/* Each side is evaluated once, so that compilers make one instruction of it and no branch. */
#define PM_CHOSEN(x, op, y)                                                                                            \
    __extension__({                                                                                                    \
        __typeof__((x) + (y)) pm_x = (x), pm_y = (y);                                                                  \
        pm_x op pm_y ? pm_x : pm_y;                                                                                    \
    })
#define PM_LESS(x, y) PM_CHOSEN(x, <, y)
#define PM_MORE(x, y) PM_CHOSEN(x, >, y)
/* What is written in a loop is nothing that it reads. */
#if defined(__GNUC__) && !defined(__clang__)
#define PM_APART _Pragma("GCC ivdep")
#else
#define PM_APART
#endif
#define PM_LEFT(x, y) ((void)(y), (x))
#define PM_RIGHT(x, y) ((void)(x), (y))

#define PM_SCALED 1
#define ADD PM_ADD
#define VADD PM_ADD
#define MUL PM_TIMES
#define VMUL PM_TIMES
#define ZERO 0
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_f64_##name, PM_ISA)
#include "loops_typed.h"
#define T c64
#define BITS 0
#define P(name) PM_JOIN(pm_c64_##name, PM_ISA)
#include "loops_typed.h"
#define T c128
#define BITS 0
#define P(name) PM_JOIN(pm_c128_##name, PM_ISA)
#include "loops_typed.h"
#undef PM_SCALED
#undef ADD
#undef VADD
#undef MUL
#undef VMUL
#undef ZERO

/* Other operations than sums of products are built for two instruction sets: all would take minutes to compile. */
#if PM_VECTOR < 64
#define PM_SCALED 0
#define ADD PM_LESS
#define VADD P(less)
#define MUL PM_ADD
#define VMUL PM_ADD
#define ZERO __builtin_inf()
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_min_plus_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_min_plus_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#define MUL PM_TIMES
#define VMUL PM_TIMES
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_min_times_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_min_times_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#define MUL PM_MORE
#define VMUL P(more)
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_min_max_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_min_max_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#undef ADD
#undef VADD
#undef ZERO
#define ADD PM_MORE
#define VADD P(more)
#define ZERO (-__builtin_inf())
#define MUL PM_ADD
#define VMUL PM_ADD
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_max_plus_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_max_plus_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#define MUL PM_TIMES
#define VMUL PM_TIMES
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_max_times_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_max_times_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#define MUL PM_LESS
#define VMUL P(less)
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_max_min_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_max_min_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#undef ADD
#undef VADD
#undef ZERO
#define ADD PM_ADD
#define VADD PM_ADD
#define ZERO 0
#define MUL PM_LEFT
#define VMUL PM_LEFT
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_plus_first_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_plus_first_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#define MUL PM_RIGHT
#define VMUL PM_RIGHT
#define T float
#define BITS 32
#define P(name) PM_JOIN(pm_plus_second_f32_##name, PM_ISA)
#include "loops_typed.h"
#define T double
#define BITS 64
#define P(name) PM_JOIN(pm_plus_second_f64_##name, PM_ISA)
#include "loops_typed.h"
#undef MUL
#undef VMUL
#undef ADD
#undef VADD
#undef ZERO
#undef PM_SCALED
#endif

/* In the order of the PM_* numbers of loops.h. */
#define PM_OF(name) (void *)PM_JOIN(pm_##name##_product, PM_ISA)
#if PM_VECTOR == 64
#define PM_OTHER(name) (void *)PM_JOIN(pm_##name##_product, avx2)
#else
#define PM_OTHER(name) PM_OF(name)
#endif
static void *const K(pm_kernels)[] = {
    PM_OF(f32), PM_OF(f64), PM_OF(c64), PM_OF(c128),
    PM_OTHER(min_plus_f32), PM_OTHER(min_plus_f64), PM_OTHER(max_plus_f32), PM_OTHER(max_plus_f64),
    PM_OTHER(max_times_f32), PM_OTHER(max_times_f64), PM_OTHER(min_times_f32), PM_OTHER(min_times_f64),
    PM_OTHER(max_min_f32), PM_OTHER(max_min_f64), PM_OTHER(min_max_f32), PM_OTHER(min_max_f64),
    PM_OTHER(plus_first_f32), PM_OTHER(plus_first_f64), PM_OTHER(plus_second_f32), PM_OTHER(plus_second_f64),
};
#undef PM_OF
#undef PM_OTHER
#undef PM_ADD
#undef PM_TIMES
#undef PM_LESS
#undef PM_CHOSEN
#undef PM_APART
#undef PM_MORE
#undef PM_LEFT
#undef PM_RIGHT
#undef PM_JOIN
#undef PM_JOIN_
#undef K
