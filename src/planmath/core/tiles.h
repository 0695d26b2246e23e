/* Work that is done tile by tile, so that what one step leaves in a cache the next one finds there: for each tile the
 * same prepared calls, on addresses of that tile. planmath's threads (team.h) take the next tile as they are done with
 * one. */
#ifndef PLANMATH_TILES_H
#define PLANMATH_TILES_H

#include "prepared.h"
#include "team.h"

enum { PM_TILE_THREADS = 64 };
/* The addresses that the calls of a tile refer to. */
enum { PM_FIRST, PM_SECOND, PM_WORKSPACE, PM_FIRST_OFFSET, PM_SECOND_OFFSET, PM_FIRST_AT, PM_SECOND_AT, PM_TILE_WORDS };

/* The calls of one thread for a tile. */
typedef struct {
    const pm_call *const *calls;
    int n_calls;
} pm_steps;

/* Tiles of two arrays: loops over axes, outermost first, each position of which has a tile; the innermost one goes on in
 * steps of `chunk` positions, and may end with a tile of fewer. */
typedef struct {
    word n_tiles, n_loops, n_threads;
    word count[PM_LOOPS], step[2][PM_LOOPS]; /* tiles along each loop, and elements between them in both arrays */
    word itemsize[2];
    int has_rest;              /* whether the last tile of the innermost loop is smaller */
    const pm_steps *full, *rest; /* by thread */
} pm_tiles;

typedef struct {
    const pm_tiles *tiles;
    const word *addresses;
    int status; /* the first one that is not zero */
} pm_tile_work;

static int pm_run_tile(const pm_tiles *tiles, int member, word tile, word *words) {
    word rest = tile, last = 0;
    words[PM_FIRST_OFFSET] = words[PM_SECOND_OFFSET] = 0;
    for (word d = tiles->n_loops - 1; d >= 0; d--) {
        word position = rest % tiles->count[d];
        rest /= tiles->count[d];
        if (d == tiles->n_loops - 1) last = position == tiles->count[d] - 1;
        for (int side = 0; side < 2; side++) words[PM_FIRST_OFFSET + side] += position * tiles->step[side][d];
    }
    for (int side = 0; side < 2; side++)
        words[PM_FIRST_AT + side] = words[PM_FIRST + side] + words[PM_FIRST_OFFSET + side] * tiles->itemsize[side];
    const pm_steps *steps = last && tiles->has_rest ? &tiles->rest[member] : &tiles->full[member];
    for (int i = 0; i < steps->n_calls; i++) {
        int status = pm_run(steps->calls[i], words);
        if (status) return status;
    }
    return 0;
}

static void pm_do_tile(void *given, int64_t tile, int64_t member) {
    pm_tile_work *work = given;
    word words[PM_TILE_WORDS];
    int status, none = 0;
    if (__atomic_load_n(&work->status, __ATOMIC_RELAXED)) return;
    memcpy(words, work->addresses, 3 * sizeof(word));
    if ((status = pm_run_tile(work->tiles, (int)member, (word)tile, words)))
        __atomic_compare_exchange_n(&work->status, &none, status, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* For prepared calls: does all tiles; the first status of a call that is not zero. */
static int pm_run_tiles(const pm_tiles *tiles, word first, word second, word workspace) {
    word addresses[3] = {first, second, workspace};
    pm_tile_work work = {tiles, addresses, 0};
    pm_share(pm_do_tile, &work, tiles->n_tiles, tiles->n_threads);
    return work.status;
}

/* A function for the elements of two nested loops: of an array that starts at its element `offset`, and of a tile. Steps
 * are in elements. */
typedef int (*pm_rows)(word array, word tile, word data, word offset, word n_outer, word step_outer, word tile_outer,
                       word n_inner, word step_inner, word tile_inner);

/* Copies them, for arrays that nobody's function loads. */
#define PM_COPY_ROWS(name, type) \
    static int name(word array, word tile, word data, word offset, word n_outer, word step_outer, word tile_outer, \
                    word n, word step, word tile_step) { \
        (void)data; \
        for (word o = 0; o < n_outer; o++) { \
            const type *from = (const type *)array + offset + o * step_outer; \
            type *to = (type *)tile + o * tile_outer; \
            if (step == 1 && tile_step == 1) memcpy(to, from, (size_t)n * sizeof(type)); \
            else for (word i = 0; i < n; i++) to[i * tile_step] = from[i * step]; \
        } \
        return 0; \
    }
typedef struct { float real, imaginary; } pm_complex64;
typedef struct { double real, imaginary; } pm_complex128;
PM_COPY_ROWS(pm_copy_complex64, pm_complex64)
PM_COPY_ROWS(pm_copy_complex128, pm_complex128)

/* Which elements: loops around those two, outermost first. */
typedef struct {
    pm_rows rows;
    word data, itemsize, n_loops;
    word count[PM_LOOPS], step[PM_LOOPS], tile_step[PM_LOOPS];
} pm_walk;

/* For prepared calls: applies the function to all elements; not zero where it failed. The last two loops are its own. */
static int pm_run_walk(const pm_walk *walk, word array, word offset, word tile) {
    word position[PM_LOOPS] = {0}, n = walk->n_loops, o = n - 2, i = n - 1, d;
    for (;;) {
        int status = walk->rows(array, tile, walk->data, offset, walk->count[o], walk->step[o], walk->tile_step[o],
                                walk->count[i], walk->step[i], walk->tile_step[i]);
        if (status) return status;
        for (d = n - 3; d >= 0; d--) {
            offset += walk->step[d], tile += walk->tile_step[d] * walk->itemsize;
            if (++position[d] < walk->count[d]) break;
            offset -= walk->step[d] * walk->count[d], tile -= walk->tile_step[d] * walk->itemsize * walk->count[d];
            position[d] = 0;
        }
        if (d < 0) return 0;
    }
}
#endif
