/* Products of small matrices, one or many: what a library spends on the way to its kernel takes longer than the product.
 * Built for three instruction sets, as the kernels of kernels.h. */
#ifndef PLANMATH_SMALL_KERNELS_H
#define PLANMATH_SMALL_KERNELS_H

#include <pthread.h>
#include <stdint.h>
#include <string.h>

typedef intptr_t pm_index;

enum { PM_MOST_EXTENT = 32, PM_MOST_THREADS = 64 };

/* d = alpha a b + beta c for each of a batch; strides in elements, columns of d follow each other. */
typedef struct {
    pm_index m, n, k, count, threads;
    pm_index a_row, a_col, a_step, b_row, b_col, b_step, c_row, c_col, c_step, d_row, d_step;
} pm_sizes;
typedef struct {
    const pm_sizes *sizes;
    const void *alpha, *beta, *a, *b, *c;
    void *d;
} pm_products;

typedef void (*pm_share)(const pm_products *products, pm_index first, pm_index last);
typedef struct {
    pm_share share;
    const pm_products *products;
    pm_index first, last;
} pm_member;

static void *pm_small_member(void *argument) {
    const pm_member *m = (const pm_member *)argument;
    m->share(m->products, m->first, m->last);
    return NULL;
}

/* Divides a batch among threads, which live as long as the call. */
static void pm_run_share(pm_share share, const pm_products *products) {
    const pm_index count = products->sizes->count, wanted = products->sizes->threads;
    const pm_index n = wanted < PM_MOST_THREADS ? wanted : PM_MOST_THREADS;
    pthread_t threads[PM_MOST_THREADS];
    pm_member members[PM_MOST_THREADS];
    pm_index started = 1;
    if (n <= 1) {
        share(products, 0, count);
        return;
    }
    for (pm_index i = 0; i < n; i++) members[i] = (pm_member){share, products, count * i / n, count * (i + 1) / n};
    while (started < n && pthread_create(&threads[started], NULL, pm_small_member, &members[started]) == 0) started++;
    for (pm_index i = started; i < n; i++) pm_small_member(&members[i]); /* what no thread was there for */
    pm_small_member(&members[0]);
    for (pm_index i = 1; i < started; i++) pthread_join(threads[i], NULL);
}

#define PM_BODY "../linalg/product/small_kernels_body.h"
#include "instruction_sets.h"
#endif
