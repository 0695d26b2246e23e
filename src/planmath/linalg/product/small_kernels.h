/* Products of small matrices, one or many: what a library spends on the way to its kernel takes longer than the product.
 * Built for three instruction sets, as the kernels of kernels.h. */
#ifndef PLANMATH_SMALL_KERNELS_H
#define PLANMATH_SMALL_KERNELS_H

#include <stdint.h>
#include <string.h>

#include "team.h"

typedef intptr_t pm_index;

enum { PM_MOST_EXTENT = 32 };
/* Into how many parts the work of each thread is cut: one that comes late, or is disturbed, leaves some to the others. */
enum { PM_PARTS_OF_A_THREAD = 4 };

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

typedef void (*pm_products_of)(const pm_products *products, pm_index first, pm_index last);
/* A batch that is shared by threads. */
typedef struct {
    pm_products_of multiply;
    const pm_products *products;
    pm_index parts;
} pm_batch;

static void pm_part_of_batch(void *work, int64_t part, int64_t member) {
    const pm_batch *batch = (const pm_batch *)work;
    const pm_index count = batch->products->sizes->count;
    (void)member;
    batch->multiply(batch->products, count * part / batch->parts, count * (part + 1) / batch->parts);
}

static void pm_run_share(pm_products_of multiply, const pm_products *products) {
    const pm_index threads = products->sizes->threads;
    pm_batch batch = {multiply, products, PM_PARTS_OF_A_THREAD * threads};
    if (threads <= 1) multiply(products, 0, products->sizes->count);
    else pm_share(pm_part_of_batch, &batch, batch.parts, threads);
}

#define PM_BODY "../linalg/product/small_kernels_body.h"
#include "instruction_sets.h"
#endif
