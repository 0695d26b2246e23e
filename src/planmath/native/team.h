/* Threads that take parts of some work as they come (team.pyx). How the work is cut does not depend on them, so results
 * repeat. The one function is shared by all modules: each finds it when it is imported. */
#ifndef PLANMATH_TEAM_H
#define PLANMATH_TEAM_H

#include <stdint.h>

enum { PM_MOST_THREADS = 256 };

/* Does part number `part`, by the thread number `member`, of less than the most that were asked for. */
typedef void (*pm_part_of)(void *work, int64_t part, int64_t member);

/* Does all parts, by up to so many threads. */
typedef void (*pm_share_of)(pm_part_of body, void *work, int64_t parts, int64_t most);
static pm_share_of pm_share;
static inline void pm_set_share(intptr_t address) { pm_share = (pm_share_of)address; }
#endif
