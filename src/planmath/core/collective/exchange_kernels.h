/* Copies between products of index sets, and counters that processes of one host share. */
#ifndef PLANMATH_EXCHANGE_KERNELS_H
#define PLANMATH_EXCHANGE_KERNELS_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PM_TILE = 16 };

/* Indices that follow one another in both arrays. */
typedef struct {
    int64_t source, target, count;
} pm_run;

typedef struct {
    int64_t n_runs;
    const pm_run *runs;
    int64_t source_step, target_step; /* bytes from one index to the next */
} pm_axis;

/* What is copied: the product of the axes' runs; the last axis is the innermost loop. */
typedef struct {
    int ndim;
    int64_t itemsize;
    pm_axis *axes;
} pm_section;

#define PM_COPY_ELEMENTS(type)                                                       \
    for (int64_t i = 0; i < n; ++i) *(type *)(to + i * ts) = *(const type *)(from + i * ss)

typedef struct {
    double real, imaginary;
} pm_two_words;

static inline void pm_copy_line(const char *from, int64_t ss, char *to, int64_t ts, int64_t n, int64_t size) {
    if (ss == size && ts == size) {
        memcpy(to, from, (size_t)(n * size));
        return;
    }
    switch (size) {
        case 1: PM_COPY_ELEMENTS(uint8_t); break;
        case 2: PM_COPY_ELEMENTS(uint16_t); break;
        case 4: PM_COPY_ELEMENTS(uint32_t); break;
        case 8: PM_COPY_ELEMENTS(uint64_t); break;
        case 16: PM_COPY_ELEMENTS(pm_two_words); break;
        default:
            for (int64_t i = 0; i < n; ++i) memcpy(to + i * ts, from + i * ss, (size_t)size);
    }
}

/* One element: where rows are chosen one by one, a call of memcpy for each takes longer than the copy. */
static inline void pm_copy_element(const char *from, char *to, int64_t size) {
    switch (size) {
        case 4: *(uint32_t *)to = *(const uint32_t *)from; break;
        case 8: *(uint64_t *)to = *(const uint64_t *)from; break;
        case 16: *(pm_two_words *)to = *(const pm_two_words *)from; break;
        default: memcpy(to, from, (size_t)size);
    }
}

/* The two innermost axes of which one is contiguous in the source and the other in the target: tile by tile. */
static void pm_copy_tiles(const pm_axis *outer, const pm_axis *inner, const char *from, char *to, int64_t n, int64_t m,
                          int64_t size) {
    for (int64_t i = 0; i < n; i += PM_TILE)
        for (int64_t j = 0; j < m; j += PM_TILE) {
            int64_t rows = n - i < PM_TILE ? n - i : PM_TILE, columns = m - j < PM_TILE ? m - j : PM_TILE;
            for (int64_t k = 0; k < rows; ++k)
                pm_copy_line(from + (i + k) * outer->source_step + j * inner->source_step, inner->source_step,
                             to + (i + k) * outer->target_step + j * inner->target_step, inner->target_step, columns,
                             size);
        }
}

static void pm_copy_axes(const pm_section *section, int axis, const char *from, char *to) {
    const pm_axis *a = &section->axes[axis];
    int last = axis == section->ndim - 1;
    const pm_axis *inner = axis == section->ndim - 2 ? a + 1 : NULL;
    int tiles = inner && !(inner->source_step == section->itemsize && inner->target_step == section->itemsize);
    for (int64_t r = 0; r < a->n_runs; ++r) {
        const pm_run *run = &a->runs[r];
        const char *source = from + run->source * a->source_step;
        char *target = to + run->target * a->target_step;
        if (last && run->count == 1)
            pm_copy_element(source, target, section->itemsize);
        else if (last)
            pm_copy_line(source, a->source_step, target, a->target_step, run->count, section->itemsize);
        else if (tiles)
            for (int64_t s = 0; s < inner->n_runs; ++s)
                pm_copy_tiles(a, inner, source + inner->runs[s].source * inner->source_step,
                              target + inner->runs[s].target * inner->target_step, run->count, inner->runs[s].count,
                              section->itemsize);
        else
            for (int64_t i = 0; i < run->count; ++i)
                pm_copy_axes(section, axis + 1, source + i * a->source_step, target + i * a->target_step);
    }
}

/* Counters in memory that several processes map. They only grow, modulo 2^32. */

static inline void pm_raise_counter(uint32_t *counter, uint32_t value) {
    __atomic_store_n(counter, value, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, counter, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static inline int pm_has_reached(const uint32_t *counter, uint32_t value) {
    return (int32_t)(__atomic_load_n(counter, __ATOMIC_ACQUIRE) - value) >= 0;
}

/* Wait for a counter at most so many nanoseconds, at first without giving up the CPU; returns whether it came so far. */
static int pm_await_counter(uint32_t *counter, uint32_t value, int spins, int64_t nanoseconds) {
    struct timespec slice = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    for (int i = 0; i < spins; ++i) {
        if (pm_has_reached(counter, value)) return 1;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    uint32_t seen = __atomic_load_n(counter, __ATOMIC_ACQUIRE);
    if ((int32_t)(seen - value) >= 0) return 1;
    syscall(SYS_futex, counter, FUTEX_WAIT, seen, &slice, NULL, 0);
    return pm_has_reached(counter, value);
}

#endif
