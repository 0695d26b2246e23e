/* Products of a sparse tensor in any format with a dense one: nests of loops over its levels, which a descriptor of
 * 64-bit integers spells out. The index of each dimension is a sum of multiples of the levels' indices, and so is where an
 * entry reads b and adds to c: a level has a step in each. Outer levels are walked by their descriptors, the innermost ones
 * by loops for their kind (loops_typed.h), built for each dtype and pair of operations, on x86-64 for three instruction
 * sets. */
#ifndef PLANMATH_SPARSE_LOOPS_H
#define PLANMATH_SPARSE_LOOPS_H

#include <complex.h>
#include <stdint.h>
#include <string.h>

#include "rows_of.h"
#include "team.h"

#define PM_INLINE static inline __attribute__((always_inline))

typedef int64_t i64;
typedef float complex c64;
typedef double complex c128;

enum { PM_MOST_LEVELS = 16 };

/* The descriptor: this header, then the levels, then the addresses of their arrays and of the places of values, put there before
 * each execution. */
enum {
    PM_LEVELS,  /* how many there are */
    PM_COLUMNS, /* columns of b and c, and the steps from one to the next */
    PM_B_COLUMN,
    PM_C_COLUMN,
    PM_MODE,    /* what threads share, of the PM_BY_ numbers */
    PM_THREADS,
    PM_PARTS,
    PM_FIRST,   /* the level whose positions are shared: those before it only repeat */
    PM_WIDE,    /* whether index arrays have 64 bits */
    PM_ASSIGNS, /* whether each element of c is met once, so that it need not be prepared */
    PM_ROWS,    /* of c: prepared as a matrix of so many rows, with this step between them, in so many batches */
    PM_ROW_STEP,
    PM_SPAN,    /* elements that c reaches over, for copies of it */
    PM_WINDOW,  /* rows of c that are worked on at a time */
    PM_RUNS,    /* whether entries of a list with the same first coordinate follow each other */
    PM_STREAMS, /* whether the result is so large that it goes past the caches */
    PM_NESTED,  /* number of loops over c outside of its rows: count and step of each follow in the PM_OUTER places */
    PM_OUTER,
    PM_HEADER = PM_OUTER + 8,
};
enum { PM_BY_NOTHING, PM_BY_POSITIONS, PM_BY_RUNS, PM_BY_COLUMNS, PM_BY_COPIES, PM_BY_WINDOWS };

/* Of each level: its kind; the least index and how many there are; entries of a strip; the steps; and of a RANGE the level
 * of the sum, the signs with which the other index follows from that and from its own, and the extent of the other. */
enum { PM_KIND, PM_LOW, PM_SIZE, PM_STRIP, PM_B_STEP, PM_C_STEP, PM_SUM, PM_SUM_SIGN, PM_OWN_SIGN, PM_EXTENT, PM_WORDS_OF };
/* The kinds: LevelFormat's numbers, and loops that only repeat. */
enum { PM_DENSE, PM_BATCH, PM_COMPRESSED, PM_SINGLETON, PM_RANGE, PM_DELTA, PM_STRUCTURED, PM_REPEAT };

/* Part of the work. */
typedef struct pm_job {
    const i64 *p;
    const char *val, *b;
    char *c;
    const void *alpha, *beta;
    i64 first, last;       /* positions of the shared level */
    i64 column, columns;   /* columns of c */
    i64 low, high;         /* elements of c, in windows */
    i64 index[PM_MOST_LEVELS];
} pm_job;

static inline const i64 *pm_level(const i64 *p, i64 number) { return p + PM_HEADER + number * PM_WORDS_OF; }

static inline i64 pm_least(i64 x, i64 y) { return x < y ? x : y; }
static inline i64 pm_most(i64 x, i64 y) { return x > y ? x : y; }

/* Element number q of the array pos (which = 0) or crd (1) of a level. */
static inline const void *pm_array(const i64 *p, i64 number, int which) {
    return (const void *)(intptr_t)pm_level(p, p[PM_LEVELS])[2 * number + which];
}
/* Where the values of entries are; NULL where number n has the value number n. */
static inline const void *pm_places(const i64 *p) {
    return (const void *)(intptr_t)pm_level(p, p[PM_LEVELS])[2 * p[PM_LEVELS]];
}
static inline i64 pm_at(const i64 *p, const void *array, i64 q) {
    return p[PM_WIDE] ? ((const i64 *)array)[q] : ((const int32_t *)array)[q];
}

/* Puts addresses of arrays into a descriptor. */
static void pm_place(i64 *table, i64 count, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f, i64 g, i64 h) {
    const i64 all[8] = {a, b, c, d, e, f, g, h};
    for (i64 i = 0; i < count; i++)
        if (all[i]) table[i] = all[i];
}

/* The positions of a RANGE level at which the other index exists. */
static inline void pm_range(const pm_job *job, const i64 *level, i64 *from, i64 *to) {
    const i64 base = level[PM_SUM_SIGN] * job->index[level[PM_SUM]], extent = level[PM_EXTENT];
    if (level[PM_OWN_SIGN] > 0)
        *from = pm_most(0, -base), *to = pm_least(level[PM_SIZE], extent - base);
    else
        *from = pm_most(0, base - extent + 1), *to = pm_least(level[PM_SIZE], base + 1);
}

/* The positions that the shared level has. */
static i64 pm_positions(const i64 *p) {
    const i64 first = p[PM_FIRST], *level = pm_level(p, first);
    switch (level[PM_KIND]) {
    case PM_COMPRESSED:
    case PM_DELTA: return pm_at(p, pm_array(p, first, 0), 1);
    case PM_STRUCTURED: return level[PM_STRIP];
    case PM_SINGLETON: return 1;
    default: return level[PM_SIZE];
    }
}

/* The position of the shared level with which a part begins: where the level below has segments, parts have about as many
 * entries and positions together. */
static i64 pm_cut(const i64 *p, i64 positions, i64 part, i64 parts) {
    const i64 next = p[PM_FIRST] + 1, *level = pm_level(p, next);
    i64 low = 0, high = positions;
    if (part == 0 || part == parts || next >= p[PM_LEVELS] || (level[PM_KIND] != PM_COMPRESSED && level[PM_KIND] != PM_DELTA))
        return positions * part / parts;
    const void *pos = pm_array(p, next, 0);
    const i64 wanted = (pm_at(p, pos, positions) + positions) / parts * part;
    while (low < high) {
        const i64 middle = (low + high) / 2;
        if (pm_at(p, pos, middle) + middle < wanted) low = middle + 1;
        else high = middle;
    }
    return low;
}

typedef void (*pm_body)(pm_job *);
typedef void (*pm_prepare)(const pm_job *, i64, i64);
typedef void (*pm_clear)(char *, i64);
typedef void (*pm_merge)(const pm_job *, const char *, i64, i64, i64);

/* What the threads of one call share. */
typedef struct pm_nest {
    pm_body body;
    pm_prepare prepare;
    pm_clear clear;
    pm_merge merge;
    pm_job whole;
    i64 parts, positions, size;
    char *copies;
} pm_nest;

/* The column with which a part begins: where a line of the cache does, for threads that are at the same row would wait for
 * each other to write to it. */
static i64 pm_column(const pm_nest *team, i64 part) {
    const i64 *p = team->whole.p, columns = team->whole.columns, unit = pm_most(64 / team->size, 1);
    if (part == 0 || part == team->parts) return part ? columns : 0;
    const i64 behind = p[PM_C_COLUMN] == 1 ? (i64)((uintptr_t)team->whole.c / (uintptr_t)team->size % (uintptr_t)unit) : 0;
    return pm_least(pm_most((columns * part / team->parts + behind + unit / 2) / unit * unit - behind, 0), columns);
}

static void pm_part(void *work, i64 part, i64 member) {
    const pm_nest *team = (const pm_nest *)work;
    pm_job job = team->whole;
    const i64 *p = job.p, parts = team->parts;
    i64 from = part, to = part + 1;
    (void)member;
    switch (p[PM_MODE]) {
    case PM_BY_COLUMNS:
        job.column = pm_column(team, from);
        job.columns = pm_column(team, to) - job.column;
        break;
    case PM_BY_WINDOWS:
        job.low = from * p[PM_WINDOW] * p[PM_ROW_STEP];
        job.high = pm_least(to * p[PM_WINDOW], p[PM_ROWS]) * p[PM_ROW_STEP];
        if (!p[PM_ASSIGNS]) team->prepare(&job, from * p[PM_WINDOW], pm_least(to * p[PM_WINDOW], p[PM_ROWS]));
        break;
    default:
        job.first = pm_cut(p, team->positions, from, parts), job.last = pm_cut(p, team->positions, to, parts);
        if (p[PM_MODE] == PM_BY_RUNS) { /* where the first coordinate changes */
            const void *crd = pm_array(p, p[PM_FIRST], 1);
            const i64 n = team->positions;
            while (job.first > 0 && job.first < n && pm_at(p, crd, job.first) == pm_at(p, crd, job.first - 1)) job.first++;
            while (job.last > 0 && job.last < n && pm_at(p, crd, job.last) == pm_at(p, crd, job.last - 1)) job.last++;
        }
        if (p[PM_MODE] == PM_BY_COPIES && part > 0) {
            job.c = team->copies + (part - 1) * p[PM_SPAN] * team->size;
            team->clear(job.c, p[PM_SPAN]);
        }
    }
    if (job.columns > 0 && job.first < job.last) team->body(&job);
#if defined(__x86_64__)
    if (p[PM_STREAMS]) __builtin_ia32_sfence();
#endif
}

/* Elements of c that copies are added to in one go. */
enum { PM_MERGED = 4096 };
static void pm_merge_part(void *work, i64 part, i64 member) {
    const pm_nest *team = (const pm_nest *)work;
    (void)member;
    team->merge(&team->whole, team->copies, team->parts - 1, part * PM_MERGED, pm_least((part + 1) * PM_MERGED, team->whole.p[PM_SPAN]));
}

/* Does the work of a descriptor: prepares c, and lets threads take parts as they come. How the work is cut does not depend
 * on them, so that results repeat bit by bit. Copies of c are for the parts after the first. */
static void pm_work(pm_body body, pm_prepare prepare, pm_clear clear, pm_merge merge, i64 size, const i64 *p, const char *val,
                    const char *b, char *c, const void *alpha, const void *beta, char *copies) {
    pm_nest team;
    team.body = body, team.prepare = prepare, team.clear = clear, team.merge = merge, team.copies = copies, team.size = size;
    team.whole = (pm_job){p, val, b, c, alpha, beta, 0, 0, 0, p[PM_COLUMNS], 0, 0, {0}};
    team.positions = team.whole.last = pm_positions(p), team.parts = p[PM_PARTS];
    if (!p[PM_ASSIGNS] && p[PM_MODE] != PM_BY_WINDOWS) prepare(&team.whole, 0, p[PM_ROWS]);
    pm_share(pm_part, &team, team.parts, p[PM_THREADS]);
    if (p[PM_MODE] == PM_BY_COPIES) pm_share(pm_merge_part, &team, (p[PM_SPAN] + PM_MERGED - 1) / PM_MERGED, p[PM_THREADS]);
}

/* The kernels, as the tables number them. */
enum {
    PM_F32, PM_F64, PM_C64, PM_C128,
    PM_MIN_PLUS_F32, PM_MIN_PLUS_F64, PM_MAX_PLUS_F32, PM_MAX_PLUS_F64, PM_MAX_TIMES_F32, PM_MAX_TIMES_F64,
    PM_MIN_TIMES_F32, PM_MIN_TIMES_F64, PM_MAX_MIN_F32, PM_MAX_MIN_F64, PM_MIN_MAX_F32, PM_MIN_MAX_F64,
    PM_PLUS_FIRST_F32, PM_PLUS_FIRST_F64, PM_PLUS_SECOND_F32, PM_PLUS_SECOND_F64,
};

#define PM_BODY "../sparse/product/loops_body.h"
#include "instruction_sets.h"
#endif
