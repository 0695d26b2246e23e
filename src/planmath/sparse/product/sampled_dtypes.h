/* The kernels of one semiring for all dtypes: included by semirings.h for sampled.h. */
#define T float
#define REAL 0
#define P(name) PM_NAMED(PM_NAMED(PM_NAMED(pm_sampled, NAME), f32), name)
#include "sampled_typed.h"
#define T double
#define REAL 0
#define P(name) PM_NAMED(PM_NAMED(PM_NAMED(pm_sampled, NAME), f64), name)
#include "sampled_typed.h"
