/* The work around and between the matrix products of a contraction: operands transposed, converted and summed on their
 * way into temporary memory, products repeated over modes that no single product covers, and contractions that are no
 * matrix products at all. All are nests of loops, which a descriptor of 64-bit integers spells out. Loops are plain C
 * that compilers vectorize; on x86-64 they are built for three instruction sets, and the right one is picked when the
 * module is loaded. */
#ifndef PLANMATH_TENSOR_KERNELS_H
#define PLANMATH_TENSOR_KERNELS_H

#include <complex.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

#define PM_INLINE static inline __attribute__((always_inline))

typedef int64_t i64;
typedef float complex c64;
typedef double complex c128;

/* Elements of a row that are worked on at a time, and partial sums of one that becomes a number. */
enum { PM_MOST_LOOPS = 64, PM_CHUNK = 1024, PM_SUMS = 64, PM_BLOCK_BYTES = 256, PM_MOST_THREADS = 256 };
/* Parts of the work for each thread, of which each takes the next as it is done with one: processors that are shared are
 * not equally fast. */
enum { PM_PARTS = 4 };
/* A tile of a product: vectors and columns (12 sums leave 4 of 16 registers); bytes of the rows that tiles are cut of, and
 * most of a factor that is turned. */
enum { PM_DEEP = 3, PM_WIDE = 4, PM_PANEL_BYTES = 24 << 10, PM_TURNED_BYTES = 32 << 10 };
/* Bytes of the rows that are packed at a time (gett.h), most columns, columns and terms before their next terms, and most
 * panels that a thread takes at a time. */
enum { PM_PACKED_BYTES = 48 << 10, PM_PACKED_COLUMNS = 512, PM_FEW_COLUMNS = 32, PM_FEW_TERMS = 32, PM_GROUP = 4 };

/* The descriptor: this header, then the loops, first those over the result and then those that are summed, each from the
 * slowest to the fastest: count, and the bytes by which a, b and d move. */
enum {
    PM_THREADS,   /* how many share the work */
    PM_SPLIT,     /* the loop over the result that they share, or -1 */
    PM_RESULT,    /* number of loops over the result */
    PM_SUMMED,    /* number of loops that are summed */
    PM_ALONG_SUM, /* whether the innermost loop is the last summed one, rather than the last over the result */
    PM_OPERATOR,  /* applied to each element of a (transformations) */
    PM_TILE,      /* the loop that is contiguous in a where the last one is contiguous in d (copies), or -1 */
    PM_GEMM,      /* address of the product (products), and its arguments */
    PM_LIMIT,     /* address of a function that limits the calling thread's products to a number of threads, or 0 */
    PM_LETTERS,   /* the two letters that say whether the factors are transposed */
    PM_M, PM_N, PM_K, PM_LDA, PM_LDB, PM_LDD,
    PM_ONE,       /* address of the number 1 */
    PM_BLOCK,     /* what threads share instead of loops: the rows (1) or the columns (2) of each product's result, over
                     which the first loop runs; or 0 */
    PM_BYTES,     /* of temporary memory for each thread */
    PM_LOOPS,     /* here the loops begin */
};
enum { PM_LOOP_WORDS = 4 };

/* Part of the work of a descriptor: the loop that threads share runs from `first` to `last`. */
typedef struct pm_job {
    const i64 *p;
    i64 first, last;
    const char *a, *b;
    char *d;
    const void *alpha, *beta;
    char *work; /* temporary memory of its own */
    int member; /* which of the threads has it */
    struct pm_team *team;
} pm_job;

/* The threads of one call. What they share is cut into parts, or they take it apart themselves (0 parts). */
typedef struct pm_team {
    void (*body)(const pm_job *);
    pm_job whole;
    i64 parts, members;
    i64 next, joined; /* parts and threads so far */
    i64 held[PM_MOST_THREADS];
    i64 packed[2]; /* what was packed so far, by turns (gett.h) */
} pm_team;

/* Some of a job's loops, as an odometer. */
typedef struct pm_nest {
    int n;
    i64 count[PM_MOST_LOOPS], a[PM_MOST_LOOPS], b[PM_MOST_LOOPS], d[PM_MOST_LOOPS], position[PM_MOST_LOOPS];
} pm_nest;

static inline const i64 *pm_loop(const i64 *p, i64 index) { return p + PM_LOOPS + index * PM_LOOP_WORDS; }

/* Starts an odometer over the loops from `begin` to `end`, without two of them. */
static inline void pm_start(pm_nest *nest, const pm_job *job, i64 begin, i64 end, i64 without, i64 or_without) {
    nest->n = 0;
    for (i64 i = begin; i < end; i++) {
        if (i == without || i == or_without) continue;
        const i64 *loop = pm_loop(job->p, i);
        int k = nest->n++;
        nest->count[k] = i == job->p[PM_SPLIT] ? job->last - job->first : loop[0];
        nest->a[k] = loop[1], nest->b[k] = loop[2], nest->d[k] = loop[3];
        nest->position[k] = 0;
    }
}

/* Moves to the next position; 0 once all were visited, and everything is back at the start. */
static inline int pm_next(pm_nest *nest, const char **a, const char **b, char **d) {
    for (int k = nest->n - 1; k >= 0; k--) {
        *a += nest->a[k], *b += nest->b[k], *d += nest->d[k];
        if (++nest->position[k] < nest->count[k]) return 1;
        *a -= nest->a[k] * nest->count[k], *b -= nest->b[k] * nest->count[k], *d -= nest->d[k] * nest->count[k];
        nest->position[k] = 0;
    }
    return 0;
}

/* How often a loop runs in this job. */
static inline i64 pm_count(const pm_job *job, i64 index) {
    return index == job->p[PM_SPLIT] ? job->last - job->first : pm_loop(job->p, index)[0];
}

/* The positions that loops from `begin` to `end` run through. */
static inline i64 pm_length(const i64 *p, i64 begin, i64 end) {
    i64 length = 1;
    for (i64 i = begin; i < end; i++) length *= pm_loop(p, i)[0];
    return length;
}

static inline i64 pm_least(i64 x, i64 y) { return x < y ? x : y; }

/* The least multiple that is not less. */
static inline i64 pm_multiple(i64 x, i64 of) { return (x + of - 1) / of * of; }

/* Whether offsets follow each other at the same distance. */
static inline int pm_even(const i64 *offsets, i64 count, i64 step) {
    for (i64 x = 1; x < count; x++)
        if (offsets[x] - offsets[x - 1] != step) return 0;
    return 1;
}

/* The offsets of `count` of those positions from `first` on, in the two tensors of which the loops have the bytes in words
 * u and v. */
static inline void pm_offsets(const i64 *p, i64 begin, i64 end, i64 first, i64 count, int u, i64 *in_u, int v, i64 *in_v) {
    i64 position[PM_MOST_LOOPS], at_u = 0, at_v = 0;
    for (i64 i = end - 1; i >= begin; i--) {
        const i64 *loop = pm_loop(p, i);
        position[i - begin] = first % loop[0], first /= loop[0];
        at_u += position[i - begin] * loop[u], at_v += position[i - begin] * loop[v];
    }
    for (i64 x = 0; x < count; x++) {
        in_u[x] = at_u, in_v[x] = at_v;
        for (i64 i = end - 1; i >= begin; i--) {
            const i64 *loop = pm_loop(p, i);
            at_u += loop[u], at_v += loop[v];
            if (++position[i - begin] < loop[0]) break;
            at_u -= loop[0] * loop[u], at_v -= loop[0] * loop[v], position[i - begin] = 0;
        }
    }
}

/* The number of a part that nobody has yet. */
static inline i64 pm_take(pm_team *team) { return __atomic_fetch_add(&team->next, 1, __ATOMIC_SEQ_CST); }

/* Tells the others that this member is done with the parts before this one. */
static inline void pm_hold(pm_team *team, int member, i64 part) {
    __atomic_store_n(&team->held[member], part, __ATOMIC_SEQ_CST);
}

/* Waits until a number that others count is as large. */
static inline void pm_reach(const i64 *number, i64 least) {
    while (__atomic_load_n(number, __ATOMIC_SEQ_CST) < least) sched_yield();
}

/* Waits until all members are done with the parts before this one. */
static inline void pm_await(const pm_team *team, i64 part) {
    for (i64 i = 0; i < team->members; i++) pm_reach(&team->held[i], part);
}

/* What one thread does of a call's work. */
static void *pm_member(void *shared) {
    pm_team *team = shared;
    pm_job job = team->whole;
    job.member = (int)__atomic_fetch_add(&team->joined, 1, __ATOMIC_RELAXED);
    if (job.work) job.work += job.member * job.p[PM_BYTES];
    if (!team->parts) team->body(&job);
    for (i64 part; team->parts && (part = pm_take(team)) < team->parts;) {
        const i64 *loop = pm_loop(job.p, job.p[PM_SPLIT]), count = team->whole.last;
        job.first = count * part / team->parts, job.last = count * (part + 1) / team->parts;
        job.a = team->whole.a + loop[1] * job.first, job.b = team->whole.b + loop[2] * job.first;
        job.d = team->whole.d + loop[3] * job.first;
        team->body(&job);
    }
    return NULL;
}

/* Parts for each thread: one where these would cut what is made at once, rows or the blocks of a tile. */
static inline i64 pm_parts(const i64 *p) {
    return p[PM_SPLIT] == p[PM_TILE] || p[PM_SPLIT] == p[PM_RESULT] - 1 ? 1 : PM_PARTS;
}

/* Does the work of a descriptor, on as many threads as it says, with `parts` parts for each. They live as long as the call:
 * what is shared takes a hundred times longer than starting them. If some cannot be started, the others take their work. */
static void pm_work(void (*body)(const pm_job *), i64 parts, const i64 *p, const char *a, const char *b, char *d,
                    const void *alpha, const void *beta, char *work) {
    const i64 count = p[PM_SPLIT] >= 0 ? pm_loop(p, p[PM_SPLIT])[0] : 1, most = pm_least(p[PM_THREADS], PM_MOST_THREADS);
    pthread_t threads[PM_MOST_THREADS];
    pm_team team;
    i64 started = 0;
    team.body = body, team.whole = (pm_job){p, 0, count, a, b, d, alpha, beta, work, 0, &team};
    team.members = pm_least(most, count), team.next = team.joined = team.packed[0] = team.packed[1] = 0;
    team.parts = p[PM_SPLIT] < 0 ? 0 : pm_least(team.members * parts, count);
    for (i64 i = 0; i < team.members; i++) team.held[i] = INT64_MAX;
    while (started < team.members - 1 && pthread_create(&threads[started], NULL, pm_member, &team) == 0) started++;
    pm_member(&team);
    for (i64 i = 0; i < started; i++) pthread_join(threads[i], NULL);
}

/* A product for every position of the loops; the summed ones add to what the first of them left. Libraries with integers
   of 32 bits read the lower halves, which come first. */
typedef void (*pm_gemm)(const char *, const char *, const i64 *, const i64 *, const i64 *, const void *, const void *,
                        const i64 *, const void *, const i64 *, const void *, void *, const i64 *);

static void pm_products_body(const pm_job *job) {
    const i64 *p = job->p;
    pm_gemm gemm = (pm_gemm)(intptr_t)p[PM_GEMM];
    int (*limit)(int) = (int (*)(int))(intptr_t)p[PM_LIMIT];
    const char letters[2] = {(char)(p[PM_LETTERS] & 255), (char)(p[PM_LETTERS] >> 8)};
    const i64 block = p[PM_BLOCK], share = job->last - job->first;
    const i64 m = block == 1 ? share : p[PM_M], n = block == 2 ? share : p[PM_N], k = p[PM_K];
    const i64 lda = p[PM_LDA], ldb = p[PM_LDB], ldd = p[PM_LDD];
    const void *one = (const void *)(intptr_t)p[PM_ONE];
    const char *a = job->a, *b = job->b;
    char *d = job->d;
    pm_nest result, summed;
    int before = limit ? limit(1) : 0;
    pm_start(&result, job, block ? 1 : 0, p[PM_RESULT], -1, -1);
    pm_start(&summed, job, p[PM_RESULT], p[PM_RESULT] + p[PM_SUMMED], -1, -1);
    do {
        const void *beta = job->beta;
        do {
            gemm(&letters[0], &letters[1], &m, &n, &k, job->alpha, a, &lda, b, &ldb, beta, d, &ldd);
            beta = one;
        } while (pm_next(&summed, &a, &b, &d));
    } while (pm_next(&result, &a, &b, &d));
    if (limit) limit(before);
}

static void pm_products(const i64 *p, const char *a, const char *b, char *d, const void *alpha, const void *beta) {
    const i64 parts = p[PM_BLOCK] ? 1 : PM_PARTS; /* for each block of a result, all of one factor is prepared */
    pm_work(pm_products_body, parts, p, a, b, d, alpha, beta, NULL);
}

/* The kernels, as the tables number them. */
enum {
    PM_COPY_16, PM_COPY_32, PM_COPY_64, PM_COPY_128,
    PM_F16_F32, PM_BF16_F32, PM_F32_F32, PM_F64_F64, PM_C64_C64, PM_C128_C128, PM_F32_F16, PM_F32_BF16,
    PM_DIRECT_F32, PM_DIRECT_F64, PM_DIRECT_C64, PM_DIRECT_C128, PM_PANELS_F32, PM_PANELS_F64,
    PM_GETT_F32, PM_GETT_F64, PM_GETT_TERMS_F32, PM_GETT_TERMS_F64, /* the last two are numbers */
};

#define PM_BODY "../tensor/contraction_kernels_body.h"
#include "instruction_sets.h"
#endif
