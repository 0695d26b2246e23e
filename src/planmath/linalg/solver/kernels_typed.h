/* The kernels, for one instruction set and one dtype: R is the type of a real number, PARTS how many an element has.
 * Strides count elements. */

#define STEP(i, stride) ((i) * (stride) * PARTS)

/* One column of `take`: its copy, its product with the probe v, and its part of the product of the matrix with v. */
#define PM_COLUMN(copy)                                                                                                \
    if (a_row == 1 && d_row == 1) {                                                                                    \
        PM_SIMD                                                                                                        \
        for (pm_index i = lo; i < hi; i++) {                                                                           \
            PM_ELEMENT(PARTS * i, PARTS * i, copy)                                                                     \
        }                                                                                                              \
    } else                                                                                                             \
        for (pm_index i = lo; i < hi; i++) {                                                                           \
            PM_ELEMENT(STEP(i, a_row), STEP(i, d_row), copy)                                                           \
        }
#if PARTS == 1
#define PM_SIMD _Pragma("omp simd reduction(+ : re, squares)")
#define PM_ELEMENT(at, to, copy)                                                                                       \
    R x = src[at];                                                                                                     \
    if (copy) dst[to] = x;                                                                                             \
    re += v[i] * x, squares += x * x, u[i] += x * vj;
#else
#define PM_SIMD _Pragma("omp simd reduction(+ : re, im, squares)")
#define PM_ELEMENT(at, to, copy)                                                                                       \
    R x = src[at], y = src[(at) + 1];                                                                                  \
    if (copy) dst[to] = x, dst[(to) + 1] = y;                                                                          \
    re += v[i] * x, im += v[i] * y, squares += x * x + y * y;                                                          \
    u[2 * i] += x * vj, u[2 * i + 1] += y * vj;
#endif

/* Copies a matrix, of which kl diagonals below the main one and ku above are there, and measures it: w is its transpose
 * times v, u it times v, and `out` the sum of its squares, which is finite only where all elements are. */
static void K(take)(pm_index flags, pm_index rows, pm_index cols, pm_index kl, pm_index ku, pm_index a_row,
                    pm_index a_col, pm_index d_row, pm_index d_col, const R *v, const R *a, R *d, R *w, R *u,
                    double *out) {
    const int apart = (flags & (PM_SYMMETRIC | PM_HERMITIAN | PM_UNIT)) != 0, mirrored = (flags & PM_UNIT) == 0;
    double total = 0, diagonal = 0;
    for (pm_index i = 0; i < rows * PARTS; i++) u[i] = 0;
    for (pm_index j = 0; j < cols; j++) {
        pm_index lo = j > ku ? j - ku : 0, hi = j + kl + 1 < rows ? j + kl + 1 : rows;
        const R *src = a + STEP(j, a_col), vj = v[j];
        R *dst = d + STEP(j, d_col), re = 0, im = 0, squares = 0;
        if (apart && kl > 0) lo = j + 1; /* the diagonal is not as the rest is */
        else if (apart) hi = j < rows ? j : rows;
        if (flags & PM_MEASURE) {
            PM_COLUMN(0)
        } else {
            PM_COLUMN(1)
        }
        total += squares;
        w[PARTS * j] = re;
        if (PARTS == 2) w[2 * j + 1] = im;
    }
    if (apart)
        for (pm_index j = 0; j < cols; j++) {
            R re = 1, im = 0;
            if (!(flags & PM_UNIT)) {
                const R *src = a + STEP(j, a_row + a_col);
                R *dst = d + STEP(j, d_row + d_col);
                re = src[0];
                if (PARTS == 2 && !(flags & PM_HERMITIAN)) im = src[1];
                if (!(flags & PM_MEASURE)) {
                    dst[0] = re;
                    if (PARTS == 2) dst[1] = im;
                }
            }
            diagonal += (double)re * re + (double)im * im;
            R *at_w = w + PARTS * j, *at_u = u + PARTS * j, sum = at_u[0] + at_w[0] + re * v[j];
            if (mirrored) at_w[0] = at_u[0] = sum;
            else at_w[0] += v[j], at_u[0] += v[j];
            if (PARTS == 2 && mirrored) {
                R sign = flags & PM_HERMITIAN ? -1 : 1;
                at_u[1] += sign * at_w[1] + im * v[j];
                at_w[1] = sign * at_u[1];
            }
        }
    *out = apart && mirrored ? 2 * total + diagonal : total + diagonal;
}

/* Copies right-hand sides, or conjugates them, and projects them onto v: k real parts, imaginary parts and squares. */
static void K(give)(pm_index flags, pm_index n, pm_index k, pm_index b_row, pm_index b_col, pm_index x_row,
                    pm_index x_col, const R *v, const R *b, R *x, double *out) {
    const R sign = flags & PM_CONJUGATE ? -1 : 1;
    double *re = out, *im = out + k, *squares = out + 2 * k;
    if (x_row <= x_col)
        for (pm_index j = 0; j < k; j++) {
            const R *src = b + STEP(j, b_col);
            R *dst = x + STEP(j, x_col), sum = 0, other = 0, size = 0;
            if (PARTS == 1 && b_row == 1 && x_row == 1) {
                _Pragma("omp simd reduction(+ : sum, size)")
                for (pm_index i = 0; i < n; i++) {
                    R value = src[i];
                    dst[i] = value, sum += v[i] * value, size += value * value;
                }
            } else
                for (pm_index i = 0; i < n; i++) {
                    const R *from = src + STEP(i, b_row);
                    R *to = dst + STEP(i, x_row), value = from[0];
                    to[0] = value, sum += v[i] * value, size += value * value;
                    if (PARTS == 2) value = sign * from[1], to[1] = value, other += v[i] * value, size += value * value;
                }
            re[j] = sum, im[j] = other, squares[j] = size;
        }
    else {
        for (pm_index j = 0; j < 3 * k; j++) out[j] = 0;
        for (pm_index i = 0; i < n; i++) {
            const R *src = b + STEP(i, b_row), vi = v[i];
            R *dst = x + STEP(i, x_row);
            if (PARTS == 1 && b_col == 1 && x_col == 1) {
                _Pragma("omp simd")
                for (pm_index j = 0; j < k; j++) {
                    R value = src[j];
                    dst[j] = value, re[j] += vi * value, squares[j] += (double)value * value;
                }
                continue;
            }
            for (pm_index j = 0; j < k; j++) {
                R value = src[STEP(j, b_col)];
                dst[STEP(j, x_col)] = value;
                re[j] += vi * value, squares[j] += (double)value * value;
                if (PARTS == 2) {
                    value = sign * src[STEP(j, b_col) + 1];
                    dst[STEP(j, x_col) + 1] = value;
                    im[j] += vi * value, squares[j] += (double)value * value;
                }
            }
        }
    }
}

/* Projects solutions y onto w, brings them to x, or conjugates them, and tells whether one has to be looked at. */
static int K(judge)(pm_index flags, pm_index n, pm_index k, pm_index y_row, pm_index y_col, pm_index x_row,
                    pm_index x_col, const R *w, const R *y, R *x, const double *squares_of_a, double *out,
                    const pm_limits *limits) {
    const R sign = flags & PM_CONJUGATE ? -1 : 1;
    const int moves = x != y || flags & PM_CONJUGATE;
    double *re = out + 3 * k, *im = out + 4 * k, *squares = out + 5 * k;
    if (x_row <= x_col)
        for (pm_index j = 0; j < k; j++) {
            const R *src = y + STEP(j, y_col);
            R *dst = x + STEP(j, x_col), sum = 0, other = 0, size = 0;
            if (PARTS == 1 && y_row == 1 && !moves) {
                _Pragma("omp simd reduction(+ : sum, size)")
                for (pm_index i = 0; i < n; i++) sum += w[i] * src[i], size += src[i] * src[i];
            } else
                for (pm_index i = 0; i < n; i++) {
                    R a = src[STEP(i, y_row)], c = PARTS == 2 ? src[STEP(i, y_row) + 1] : 0;
                    R p = w[PARTS * i], q = PARTS == 2 ? w[2 * i + 1] : 0;
                    sum += p * a - q * c, other += p * c + q * a, size += a * a + c * c;
                    if (moves) {
                        dst[STEP(i, x_row)] = a;
                        if (PARTS == 2) dst[STEP(i, x_row) + 1] = sign * c;
                    }
                }
            re[j] = sum, im[j] = other, squares[j] = size;
        }
    else {
        for (pm_index j = 0; j < 3 * k; j++) re[j] = 0;
        for (pm_index i = 0; i < n; i++) {
            const R *src = y + STEP(i, y_row), p = w[PARTS * i], q = PARTS == 2 ? w[2 * i + 1] : 0;
            R *dst = x + STEP(i, x_row);
            if (PARTS == 1 && y_col == 1 && !moves) {
                _Pragma("omp simd")
                for (pm_index j = 0; j < k; j++) re[j] += p * src[j], squares[j] += (double)src[j] * src[j];
                continue;
            }
            for (pm_index j = 0; j < k; j++) {
                R a = src[STEP(j, y_col)], c = PARTS == 2 ? src[STEP(j, y_col) + 1] : 0;
                re[j] += p * a - q * c, im[j] += p * c + q * a, squares[j] += (double)a * a + (double)c * c;
                if (moves) {
                    dst[STEP(j, x_col)] = a;
                    if (PARTS == 2) dst[STEP(j, x_col) + 1] = sign * c;
                }
            }
        }
    }
    return limits && pm_doubtful(k, out, re, *squares_of_a, PM_TINY[sizeof(R) == 4], limits);
}

/* Exchanges rows of k elements as `getrf` did, from the first pivot or, to undo it, from the last. */
static void K(swap)(pm_index undo, pm_index n, pm_index k, pm_index row, const int *pivots, R *x) {
    for (pm_index i = 0; i < n; i++) {
        pm_index at = undo ? n - 1 - i : i, other = pivots[at] - 1;
        R *p = x + STEP(at, row), *q = x + STEP(other, row);
        if (at != other)
            for (pm_index j = 0; j < k * PARTS; j++) {
                R t = p[j];
                p[j] = q[j], q[j] = t;
            }
    }
}

#if PARTS == 2
/* a /= b, by Smith's division: no square is out of range. */
static inline void K(quotient)(R *a, const R *b) {
    R x = a[0], y = a[1], c = b[0], e = b[1];
    if (fabs((double)c) >= fabs((double)e)) {
        R r = e / c, s = c + e * r;
        a[0] = (x + y * r) / s, a[1] = (y - x * r) / s;
    } else {
        R r = c / e, s = c * r + e;
        a[0] = (x * r + y) / s, a[1] = (y * r - x) / s;
    }
}
#endif

/* Divides rows by the elements of a diagonal. */
static void K(divide)(pm_index n, pm_index k, pm_index row, pm_index col, const R *d, R *x) {
    for (pm_index i = 0; i < n; i++)
        for (pm_index j = 0; j < k; j++) {
            R *at = x + STEP(i, row) + STEP(j, col);
#if PARTS == 1
            at[0] /= d[i];
#else
            K(quotient)(at, d + 2 * i);
#endif
        }
}

/* The number of the first zero on a diagonal, from 1, or 0. */
static void K(zeros)(pm_index n, pm_index step, const R *d, int *status) {
    *status = 0;
    for (pm_index i = n - 1; i >= 0; i--)
        if (d[STEP(i, step)] == 0 && (PARTS == 1 || d[STEP(i, step) + 1] == 0)) *status = (int)i + 1;
}

/* The number of the first column of an upper triangle, from 1, that is another combination of those before it but for
 * rounding: its element on the diagonal is not more than a part of its largest one. Or 0. */
static void K(deficient)(pm_index n, pm_index leading, const R *f, const double *tolerance, int *status) {
    *status = 0;
    for (pm_index j = n - 1; j >= 0; j--) {
        const R *column = f + STEP(j, leading);
        R size = 0, largest = 0;
        for (pm_index i = 0; i < (j + 1) * PARTS; i++) {
            R here = column[i] < 0 ? -column[i] : column[i];
            largest = here > largest ? here : largest;
        }
        for (pm_index p = 0; p < PARTS; p++) {
            R here = column[STEP(j, 1) + p] < 0 ? -column[STEP(j, 1) + p] : column[STEP(j, 1) + p];
            size = here > size ? here : size;
        }
        if ((double)size <= *tolerance * (double)largest) *status = (int)j + 1;
    }
}

/* The rank of a triangular matrix whose diagonal decreases: how many elements are more than a part of the first one's;
 * and how many columns are left. */
static void K(rank)(pm_index least, pm_index cols, pm_index step, const R *f, const double *tolerance, int *rank) {
    double first = 0;
    pm_index i = 0;
    for (; i < least; i++) {
        const R *at = f + STEP(i, step);
        double size = PARTS == 2 ? hypot((double)at[0], (double)at[1]) : fabs((double)at[0]);
        if (i == 0) first = size;
        if (!(size > 0 && size > *tolerance * first)) break;
    }
    rank[0] = (int)i, rank[1] = (int)(cols - i);
}

/* Brings rows to where they belong: row i to the place that `pivots` has for it, from 1. */
static void K(permute)(pm_index n, pm_index k, pm_index col, const int *pivots, R *x, R *work) {
    for (pm_index j = 0; j < k; j++) {
        R *at = x + STEP(j, col);
        for (pm_index i = 0; i < n; i++)
            for (pm_index p = 0; p < PARTS; p++) work[STEP(pivots[i] - 1, 1) + p] = at[STEP(i, 1) + p];
        memcpy(at, work, (size_t)n * sizeof(R) * PARTS);
    }
}

/* Finds out what a square matrix is, and makes the facts those of all matrices so far. */
static void K(detect)(pm_index n, pm_index row, pm_index col, const R *a, pm_index *facts) {
    enum { BLOCK = 16 };
    pm_index lower = facts[PM_LOWER_BANDWIDTH], upper = facts[PM_UPPER_BANDWIDTH];
    int symmetric = facts[PM_IS_SYMMETRIC] != 0, hermitian = facts[PM_IS_HERMITIAN] != 0, positive = 1;
    for (pm_index jj = 0; jj < n; jj += BLOCK)
        for (pm_index ii = 0; ii <= jj; ii += BLOCK)
            for (pm_index j = jj; j < n && j < jj + BLOCK; j++)
                for (pm_index i = ii; i < j && i < ii + BLOCK; i++) {
                    const R *p = a + STEP(i, row) + STEP(j, col), *q = a + STEP(j, row) + STEP(i, col);
                    R p_im = PARTS == 2 ? p[1] : 0, q_im = PARTS == 2 ? q[1] : 0;
                    if ((p[0] != 0 || p_im != 0) && j - i > upper) upper = j - i;
                    if ((q[0] != 0 || q_im != 0) && j - i > lower) lower = j - i;
                    symmetric &= p[0] == q[0] && p_im == q_im;
                    hermitian &= p[0] == q[0] && p_im == -q_im;
                }
    for (pm_index i = 0; i < n; i++) {
        const R *p = a + STEP(i, row + col);
        if (PARTS == 2) hermitian &= p[1] == 0;
        positive &= p[0] > 0;
    }
    facts[PM_LOWER_BANDWIDTH] = lower, facts[PM_UPPER_BANDWIDTH] = upper;
    facts[PM_IS_SYMMETRIC] = symmetric, facts[PM_IS_HERMITIAN] = hermitian;
    facts[PM_IS_POSITIVE] &= positive;
}

#include "lu_typed.h"
#if R_BYTES == 8
#include "mixed_typed.h"
#endif

#include "lanes_typed.h"

/* Factorizes a batch of small matrices: their copies, their measures and their factors in the lanes of vectors. */
static int K(factor_batch)(const pm_index *sizes, const void *probe, const void *a, void *f, void *w, void *u,
                           void *norms, double *squares, int32_t *order, int32_t *status, void *scratch) {
    pm_lanes d = {.n = sizes[0], .count = sizes[1], .definite = sizes[2], .threads = sizes[3], .a_step = sizes[4],
                  .a_row = sizes[5], .a_col = sizes[6], .conjugate = sizes[7], .probe = probe, .a = a, .f = f, .w = w,
                  .u = u, .norms = norms, .squares = squares, .order = order, .status = status, .scratch = scratch};
    pm_run_lanes(K(lanes_part), &d);
    return pm_factorized(d.count, status, squares, sizeof(R) == 4);
}

/* Solves with the factors of such a batch. */
static int K(solve_batch)(const pm_index *sizes, const void *probe, void *f, void *w, void *u, void *norms,
                          int32_t *order, const void *b, void *x, void *scratch, void *out, const pm_limits *limits) {
    pm_lanes d = {.n = sizes[0], .k = sizes[1], .count = sizes[2], .definite = sizes[3], .transposed = sizes[4],
                  .threads = sizes[5], .b_step = sizes[6], .b_row = sizes[7], .b_col = sizes[8], .x_step = sizes[9],
                  .x_row = sizes[10], .x_col = sizes[11], .probe = probe, .f = f, .w = w, .u = u, .norms = norms,
                  .order = order, .b = b, .x = x, .scratch = scratch, .scratch_size = sizes[12],
                  .conjugate = sizes[13], .out = out, .limits = limits};
    return pm_run_lanes(K(lanes_part), &d);
}
#undef STEP
#undef PM_COLUMN
#undef PM_SIMD
#undef PM_ELEMENT
#undef R
#undef R_BYTES
#undef PARTS
#undef PM_SUFFIX
