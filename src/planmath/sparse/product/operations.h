/* What adds and what multiplies in semirings, and names of what is made for one of them. */
#ifndef PLANMATH_SPARSE_OPERATIONS_H
#define PLANMATH_SPARSE_OPERATIONS_H
#define PM_ADD(x, y) ((x) + (y))
#define PM_TIMES(x, y) ((x) * (y))
#define PM_LESS(x, y) ((x) < (y) ? (x) : (y))
#define PM_MORE(x, y) ((x) > (y) ? (x) : (y))
#define PM_LEFT(x, y) ((void)(y), (x))
#define PM_RIGHT(x, y) ((void)(x), (y))
#define PM_NAMED_(a, b) a##_##b
#define PM_NAMED(a, b) PM_NAMED_(a, b)
#endif
