/* Includes the file PM_DTYPES once for each semiring but that of sums of products, with its NAME, ADD, MUL and ZERO. SCALED says
 * whether factors take part. */
#include "operations.h"

#define SCALED 0
#define ADD PM_ADD
#define ZERO 0
#define MUL PM_LEFT
#define NAME plus_first
#include PM_DTYPES
#undef NAME
#undef MUL
#define MUL PM_RIGHT
#define NAME plus_second
#include PM_DTYPES
#undef NAME
#undef MUL
#undef ADD
#undef ZERO
#define ADD PM_LESS
#define ZERO __builtin_inf()
#define MUL PM_ADD
#define NAME min_plus
#include PM_DTYPES
#undef NAME
#undef MUL
#define MUL PM_TIMES
#define NAME min_times
#include PM_DTYPES
#undef NAME
#undef MUL
#define MUL PM_MORE
#define NAME min_max
#include PM_DTYPES
#undef NAME
#undef MUL
#undef ADD
#undef ZERO
#define ADD PM_MORE
#define ZERO (-__builtin_inf())
#define MUL PM_ADD
#define NAME max_plus
#include PM_DTYPES
#undef NAME
#undef MUL
#define MUL PM_TIMES
#define NAME max_times
#include PM_DTYPES
#undef NAME
#undef MUL
#define MUL PM_LESS
#define NAME max_min
#include PM_DTYPES
#undef NAME
#undef MUL
#undef ADD
#undef ZERO
#undef SCALED
