/* The threads behind team.h: they wait for work for some microseconds where they are, then in the system, and are there for
 * the next call. Who calls does parts itself, and never waits for a thread that has not begun: on a busy machine threads
 * that come late find nothing left. */
#ifndef PLANMATH_TEAM_POOL_H
#define PLANMATH_TEAM_POOL_H

#include <stdint.h>

#include "team.h"

#if defined(_WIN32) /* which has other threads: who calls does all parts */
static void pm_share_parts(pm_part_of body, void *work, int64_t parts, int64_t most) {
    (void)most;
    for (int64_t part = 0; part < parts; part++) body(work, part, 0);
}
static int pm_mind_forks(void) { return 0; }
#else
#include <pthread.h>
#include <sched.h>
#include <string.h>

/* About 50 us of looking for work. */
enum { PM_LOOKS = 2000 };

#if defined(__x86_64__)
#define PM_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PM_PAUSE() __asm__ __volatile__("isb")
#else
#define PM_PAUSE() ((void)0)
#endif

typedef struct pm_pool {
    pthread_mutex_t in_use, sleep; /* one caller at a time; the others do their work alone */
    pthread_cond_t wake;
    int64_t workers, sleeping;
    /* The number of the call, whether its work is over, and how many threads are at it: in one word, so that no thread
     * enters what is over. */
    uint64_t state;
    pm_part_of body;
    void *work;
    int64_t next, parts, members, most;
} pm_pool;

#define PM_OVER (1ull << 31)
static pm_pool pm_the_pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, PM_OVER,
                              NULL, NULL, 0, 0, 0, 0};

static void pm_take_parts(pm_pool *pool, int64_t member) {
    const int64_t parts = pool->parts;
    for (int64_t part; (part = __atomic_fetch_add(&pool->next, 1, __ATOMIC_RELAXED)) < parts;)
        pool->body(pool->work, part, member);
}

static void *pm_worker(void *given) {
    pm_pool *pool = &pm_the_pool;
    uint64_t seen = (uint64_t)(intptr_t)given; /* the call before the one that it was made for */
    for (;;) {
        uint64_t state = __atomic_load_n(&pool->state, __ATOMIC_ACQUIRE);
        for (int64_t i = 0; state >> 32 == seen && i < PM_LOOKS; i++) {
            PM_PAUSE();
            state = __atomic_load_n(&pool->state, __ATOMIC_ACQUIRE);
        }
        if (state >> 32 == seen) {
            pthread_mutex_lock(&pool->sleep);
            __atomic_fetch_add(&pool->sleeping, 1, __ATOMIC_SEQ_CST);
            while ((state = __atomic_load_n(&pool->state, __ATOMIC_SEQ_CST)) >> 32 == seen)
                pthread_cond_wait(&pool->wake, &pool->sleep);
            __atomic_fetch_sub(&pool->sleeping, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&pool->sleep);
        }
        seen = state >> 32;
        while (!(state & PM_OVER) && state >> 32 == seen)
            if (__atomic_compare_exchange_n(&pool->state, &state, state + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
                const int64_t member = __atomic_fetch_add(&pool->members, 1, __ATOMIC_RELAXED);
                if (member < pool->most) pm_take_parts(pool, member);
                __atomic_fetch_sub(&pool->state, 1, __ATOMIC_ACQ_REL);
                break;
            }
    }
    return NULL;
}

static void pm_share_parts(pm_part_of body, void *work, int64_t parts, int64_t most) {
    pm_pool *pool = &pm_the_pool;
    if (most > PM_MOST_THREADS) most = PM_MOST_THREADS;
    if (most > parts) most = parts;
    if (most <= 1 || pthread_mutex_trylock(&pool->in_use) != 0) {
        for (int64_t part = 0; part < parts; part++) body(work, part, 0);
        return;
    }
    const uint64_t call = (__atomic_load_n(&pool->state, __ATOMIC_ACQUIRE) >> 32) + 1;
    pool->body = body, pool->work = work, pool->next = 0, pool->parts = parts, pool->members = 1, pool->most = most;
    __atomic_store_n(&pool->state, call << 32, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool->sleeping, __ATOMIC_SEQ_CST) > 0) {
        pthread_mutex_lock(&pool->sleep);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->sleep);
    }
    while (pool->workers < most - 1) {
        pthread_t thread;
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        const int failed = pthread_create(&thread, &detached, pm_worker, (void *)(intptr_t)(call - 1));
        pthread_attr_destroy(&detached);
        if (failed) break;
        pool->workers++;
    }
    pm_take_parts(pool, 0);
    __atomic_fetch_or(&pool->state, PM_OVER, __ATOMIC_ACQ_REL);
    /* threads that are at their last part: where one does not run, it gets the processor */
    for (int64_t i = 0; (uint32_t)__atomic_load_n(&pool->state, __ATOMIC_ACQUIRE) & (PM_OVER - 1); i++)
        if (i < PM_LOOKS) PM_PAUSE();
        else sched_yield();
    pthread_mutex_unlock(&pool->in_use);
}

/* In a child there are no threads but the one that forked. */
static void pm_begin_anew(void) {
    pm_pool *pool = &pm_the_pool;
    pthread_mutex_init(&pool->in_use, NULL);
    pthread_mutex_init(&pool->sleep, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->workers = pool->sleeping = 0;
    pool->state = PM_OVER;
}
static int pm_mind_forks(void) { return pthread_atfork(NULL, NULL, pm_begin_anew); }
#endif
#endif
