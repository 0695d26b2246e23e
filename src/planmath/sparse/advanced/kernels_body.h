/* Included once for each index type (INDEX, I_NAME), and by itself once for each dtype of the values. */
#ifndef VALUE

/* Checks a pattern of n rows whose arrays have room for `length` entries, and finds PM_FACTS. `seen` has n zeroed bytes. */
static intptr_t PM_JOIN(check, I_NAME, any)(intptr_t n, intptr_t length, intptr_t view, const INDEX *starts,
                                            const INDEX *columns, unsigned char *seen, int64_t *facts) {
    intptr_t i, k;
    uint64_t checksum = 14695981039346656037u; /* FNV-1a, of indices in place of bytes */
    for (i = 0; i < PM_FACTS; i++) facts[i] = -1;
    facts[PM_LOWER_BANDWIDTH] = facts[PM_UPPER_BANDWIDTH] = 0;
    if (starts[0] != 0) return PM_START;
    for (i = 0; i < n; i++) {
        intptr_t before = -1, diagonal = 0;
        facts[PM_ROW] = i;
        if (starts[i + 1] < starts[i]) return PM_DECREASING;
        if (starts[i + 1] > length) return PM_LENGTH;
        checksum = (checksum ^ (uint64_t)starts[i]) * 1099511628211u;
        for (k = starts[i]; k < starts[i + 1]; k++) {
            intptr_t j = columns[k];
            facts[PM_COLUMN] = j;
            if (j < 0 || j >= n) return PM_RANGE;
            if (j <= before) return j == before ? PM_DUPLICATE : PM_UNSORTED;
            before = j;
            checksum = (checksum ^ (uint64_t)j) * 1099511628211u;
            if (!pm_counts(view, i, j)) continue;
            seen[i] |= 1, seen[j] |= 2;
            if (view != PM_FULL) seen[j] |= 1, seen[i] |= 2;
            if (i - j > facts[PM_LOWER_BANDWIDTH]) facts[PM_LOWER_BANDWIDTH] = i - j;
            if (j - i > facts[PM_UPPER_BANDWIDTH]) facts[PM_UPPER_BANDWIDTH] = j - i;
            diagonal |= i == j;
        }
        if (!diagonal && facts[PM_NO_DIAGONAL] < 0) facts[PM_NO_DIAGONAL] = i;
    }
    for (i = n - 1; i >= 0; i--) {
        if (!(seen[i] & 1)) facts[PM_EMPTY_ROW] = i;
        if (!(seen[i] & 2)) facts[PM_EMPTY_COLUMN] = i;
    }
    facts[PM_CHECKSUM] = (int64_t)(checksum >> 1);
    return PM_RIGHT;
}

#define VALUE float
#define SUM double
#define V_NAME f32
#define IS_COMPLEX 0
#include "kernels_body.h"
#define VALUE double
#define SUM double
#define V_NAME f64
#define IS_COMPLEX 0
#include "kernels_body.h"
#define VALUE float complex
#define SUM double complex
#define V_NAME c64
#define IS_COMPLEX 1
#include "kernels_body.h"
#define VALUE double complex
#define SUM double complex
#define V_NAME c128
#define IS_COMPLEX 1
#include "kernels_body.h"

#else

#if IS_COMPLEX
#define MAGNITUDE(z) (fabs(creal(z)) + fabs(cimag(z)))
#define CONJUGATE(z) conj(z)
#else
#define MAGNITUDE(z) fabs((double)(z))
#define CONJUGATE(z) (z)
#endif
#define MIRRORED(z) (hermitian ? CONJUGATE(z) : (z))

#define NORM PM_JOIN(norm, I_NAME, V_NAME)
/* The 2-norm, scaled where squares would overflow or vanish; NaN and infinity stay what they are. */
static double NORM(intptr_t n, const VALUE *x) {
    intptr_t i, start;
    double total = 0, largest = 0;
    for (start = 0; start < n; start += PM_BLOCK) {
        intptr_t end = start + PM_BLOCK < n ? start + PM_BLOCK : n;
        double a = 0, b = 0;
        for (i = start; i + 1 < end; i += 2) {
#if IS_COMPLEX
            a += creal(x[i]) * (double)creal(x[i]) + cimag(x[i]) * (double)cimag(x[i]);
            b += creal(x[i + 1]) * (double)creal(x[i + 1]) + cimag(x[i + 1]) * (double)cimag(x[i + 1]);
#else
            a += (double)x[i] * x[i];
            b += (double)x[i + 1] * x[i + 1];
#endif
        }
        if (i < end) a += MAGNITUDE(x[i]) * MAGNITUDE(x[i]);
        total += a + b;
    }
    if (total > 1e-280 && total <= DBL_MAX) return sqrt(total);
    for (i = 0; i < n; i++) {
        double m = MAGNITUDE(x[i]);
        if (!(m <= DBL_MAX)) return m;
        if (m > largest) largest = m;
    }
    if (largest == 0) return 0;
    for (total = 0, i = 0; i < n; i++) total += (MAGNITUDE(x[i]) / largest) * (MAGNITUDE(x[i]) / largest);
    return largest * sqrt(total);
}

/* Of each column: real and imaginary part of the sum of w x, and the 2-norm of x. */
static intptr_t PM_JOIN(project, I_NAME, V_NAME)(intptr_t n, intptr_t columns, const SUM *w, const VALUE *x, double *out) {
    intptr_t c, i, start;
    for (c = 0; c < columns; c++, x += n, out += 3) {
        SUM total = 0;
        for (start = 0; start < n; start += PM_BLOCK) {
            intptr_t end = start + PM_BLOCK < n ? start + PM_BLOCK : n;
            SUM a = 0, b = 0;
            for (i = start; i + 1 < end; i += 2) {
                a += w[i] * x[i];
                b += w[i + 1] * x[i + 1];
            }
            if (i < end) a += w[i] * x[i];
            total += a + b;
        }
        out[0] = creal(total), out[1] = cimag(total), out[2] = NORM(n, x);
    }
    return 0;
}

/* The largest row sum of magnitudes, the first row with a value that is not finite or -1, and w = A^T v. `sums` has n
 * zeroed numbers, w is zeroed. */
static intptr_t PM_JOIN(measure, I_NAME, V_NAME)(intptr_t n, intptr_t view, intptr_t hermitian, const INDEX *starts,
                                                 const INDEX *columns, const VALUE *values, const SUM *v, SUM *w,
                                                 double *sums, double *out) {
    intptr_t i, k;
    out[0] = 0, out[1] = -1;
    for (i = 0; i < n; i++) {
        SUM vi = v[i];
        double sum = 0;
        for (k = starts[i]; k < starts[i + 1]; k++) {
            intptr_t j = columns[k];
            VALUE value = values[k];
            double size = MAGNITUDE(value);
            if (!(size <= DBL_MAX) && out[1] < 0) out[1] = (double)i;
            if (!pm_counts(view, i, j)) continue;
            sum += size;
            w[j] += value * vi;
            if (view != PM_FULL && i != j) {
                sums[j] += size;
                w[i] += MIRRORED(value) * v[j];
            }
        }
        sums[i] += sum;
    }
    for (i = 0; i < n; i++)
        if (sums[i] > out[0]) out[0] = sums[i];
    return 0;
}

/* r = b - A x, and of each column the 2-norms of r, x and b. `work` has n numbers. */
static intptr_t PM_JOIN(residual, I_NAME, V_NAME)(intptr_t n, intptr_t n_columns, intptr_t view, intptr_t hermitian,
                                                  const INDEX *starts, const INDEX *columns, const VALUE *values,
                                                  const VALUE *x, const VALUE *b, VALUE *r, SUM *work, double *out) {
    intptr_t c, i, k;
    for (c = 0; c < n_columns; c++, x += n, b += n, r += n, out += 3) {
        for (i = 0; i < n; i++) work[i] = b[i];
        for (i = 0; i < n; i++) {
            SUM sum = 0;
            for (k = starts[i]; k < starts[i + 1]; k++) {
                intptr_t j = columns[k];
                if (!pm_counts(view, i, j)) continue;
                sum += (SUM)values[k] * x[j];
                if (view != PM_FULL && i != j) work[j] -= (SUM)MIRRORED(values[k]) * x[i];
            }
            work[i] -= sum;
        }
        for (i = 0; i < n; i++) r[i] = (VALUE)work[i];
        out[0] = NORM(n, r), out[1] = NORM(n, x), out[2] = NORM(n, b);
    }
    return 0;
}

/* Of each row and column, the sum of the magnitudes of what is added up there: |A| |x| + |b|. `sums` has a number for
 * each element of x. */
static intptr_t PM_JOIN(magnitudes, I_NAME, V_NAME)(intptr_t n, intptr_t n_columns, intptr_t view, const INDEX *starts,
                                                    const INDEX *columns, const VALUE *values, const VALUE *x,
                                                    const VALUE *b, double *sums) {
    intptr_t c, i, k;
    for (c = 0; c < n_columns; c++, x += n, b += n, sums += n) {
        for (i = 0; i < n; i++) sums[i] = MAGNITUDE(b[i]);
        for (i = 0; i < n; i++)
            for (k = starts[i]; k < starts[i + 1]; k++) {
                intptr_t j = columns[k];
                double size = MAGNITUDE(values[k]);
                if (!pm_counts(view, i, j)) continue;
                sums[i] += size * MAGNITUDE(x[j]);
                if (view != PM_FULL && i != j) sums[j] += size * MAGNITUDE(x[i]);
            }
    }
    return 0;
}

/* Values in another order: entry k, which goes to positions[k] or to k, is number source[k] - 1, conjugated where source
 * is negative, and zero where it is 0. Before, as many bytes as are to be erased are zeroed. */
static intptr_t PM_JOIN(place, I_NAME, V_NAME)(intptr_t n, const int64_t *source, const int64_t *positions,
                                               const VALUE *values, VALUE *placed, intptr_t erased) {
    intptr_t k;
    memset(placed, 0, (size_t)erased);
    for (k = 0; k < n; k++) {
        int64_t s = source[k];
        placed[positions ? positions[k] : k] = s > 0 ? values[s - 1] : s < 0 ? CONJUGATE(values[-s - 1]) : 0;
    }
    return 0;
}

#undef NORM
#undef MAGNITUDE
#undef CONJUGATE
#undef MIRRORED
#undef VALUE
#undef SUM
#undef V_NAME
#undef IS_COMPLEX
#endif
