/* The loops of one pair of operations for all dtypes: included by pairs.h. */
#define T float
#define P(name) PM_NAMED(PM_NAMED(PM_NAMED(pm, NAME), f32), name)
#include "pairs_typed.h"
#define T double
#define P(name) PM_NAMED(PM_NAMED(PM_NAMED(pm, NAME), f64), name)
#include "pairs_typed.h"
#if SCALED
#define T c64
#define P(name) PM_NAMED(PM_NAMED(PM_NAMED(pm, NAME), c64), name)
#include "pairs_typed.h"
#define T c128
#define P(name) PM_NAMED(PM_NAMED(PM_NAMED(pm, NAME), c128), name)
#include "pairs_typed.h"
#endif
