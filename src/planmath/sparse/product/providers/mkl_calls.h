/* MKL's inspector-executor routines as functions of integers and pointers, for prepared calls: the routines take factors and
 * a description of the matrix by value. Numbers are those of oneMKL's developer reference, "Inspector-Executor Sparse BLAS". */
#ifndef PLANMATH_MKL_CALLS_H
#define PLANMATH_MKL_CALLS_H

#include <complex.h>
#include <stdint.h>

typedef int64_t i64;
typedef float complex c64;
typedef double complex c128;
typedef struct { int type, mode, diagonal; } pm_description;

static const pm_description PM_GENERAL = {20, 40, 50};
enum { PM_BASE_ZERO = 0 };
/* The ways to hold a matrix. */
enum { PM_CSR, PM_CSC, PM_COO, PM_BSR };

/* The functions for one index type: to make a handle of each kind, to end one, and hints. */
typedef struct pm_matrix {
    void *handle;
    i64 kind, rows, columns, extra, layout; /* extra: the entries of a list, or the extent of a block */
    void *create, *destroy, *hint, *optimize;
    i64 operation, executions, product_layout, product_columns;
} pm_matrix;

/* Makes a handle over the user's arrays in the place of the one before. */
static int pm_create(pm_matrix *m, char *first, char *second, void *val, i64 size) {
    int (*destroy)(void *) = (int (*)(void *))m->destroy;
    int status = 0;
    if (m->handle) destroy(m->handle);
    m->handle = NULL;
    switch (m->kind) {
    case PM_CSR:
    case PM_CSC:
        status = ((int (*)(void **, int, i64, i64, char *, char *, char *, void *))m->create)(
            &m->handle, PM_BASE_ZERO, m->rows, m->columns, first, first + size, second, val);
        break;
    case PM_COO:
        status = ((int (*)(void **, int, i64, i64, i64, char *, char *, void *))m->create)(
            &m->handle, PM_BASE_ZERO, m->rows, m->columns, m->extra, first, second, val);
        break;
    default:
        status = ((int (*)(void **, int, int, i64, i64, i64, char *, char *, char *, void *))m->create)(
            &m->handle, PM_BASE_ZERO, (int)m->layout, m->rows, m->columns, m->extra, first, first + size, second, val);
    }
    if (status == 0 && m->executions) {
        if (m->product_columns)
            ((int (*)(void *, int, pm_description, int, i64, i64))m->hint)(m->handle, (int)m->operation, PM_GENERAL,
                                                                           (int)m->product_layout, m->product_columns, m->executions);
        else
            ((int (*)(void *, int, pm_description, i64))m->hint)(m->handle, (int)m->operation, PM_GENERAL, m->executions);
        status = ((int (*)(void *))m->optimize)(m->handle);
    }
    return status;
}

#define PM_PRODUCTS(name, T)                                                                                           \
    static int pm_mv_##name(const pm_matrix *m, void *f, i64 operation, const void *x, void *y, const T *alpha,        \
                            const T *beta) {                                                                           \
        return ((int (*)(int, T, void *, pm_description, const void *, T, void *))f)((int)operation, *alpha, m->handle, \
                                                                                     PM_GENERAL, x, *beta, y);         \
    }                                                                                                                  \
    static int pm_mm_##name(const pm_matrix *m, void *f, i64 operation, const void *b, void *c, const T *alpha,        \
                            const T *beta, i64 layout, i64 columns, i64 ldb, i64 ldc) {                                \
        return ((int (*)(int, T, void *, pm_description, int, const void *, i64, i64, T, void *, i64))f)(              \
            (int)operation, *alpha, m->handle, PM_GENERAL, (int)layout, b, columns, ldb, *beta, c, ldc);               \
    }
PM_PRODUCTS(s, float)
PM_PRODUCTS(d, double)
PM_PRODUCTS(c, c64)
PM_PRODUCTS(z, c128)
#endif
