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

/* Where each entry below the diagonal is and where its mirror image is, and of each row where the diagonal's entry is, or
 * -1. Returns 1 if an entry has no mirror image, else 0. `next` has room for n indices; where it is null, only the diagonal
 * is looked for.
 *
 * Rows are gone through from the first to the last, so the entries of row j above the diagonal meet their mirror images
 * in the order in which they stand there. */
static intptr_t PM_JOIN(pairs, I_NAME, any)(intptr_t n, const INDEX *starts, const INDEX *columns, INDEX *lower,
                                            INDEX *upper, INDEX *diagonal, INDEX *next) {
    intptr_t i, k, count = 0;
    for (i = 0; i < n; i++) {
        for (k = starts[i]; k < starts[i + 1] && columns[k] < i; k++) {
            intptr_t j = columns[k], mirror;
            if (!next) continue;
            mirror = next[j]++;
            if (mirror >= starts[j + 1] || columns[mirror] != i) return 1;
            lower[count] = (INDEX)k;
            upper[count++] = (INDEX)mirror;
        }
        diagonal[i] = k < starts[i + 1] && columns[k] == i ? (INDEX)k++ : -1;
        if (next) next[i] = (INDEX)k;
    }
    for (i = 0; i < n && next; i++)
        if (next[i] < starts[i + 1]) return 1;
    return 0;
}

/* The entries on and above the diagonal and a whole diagonal, by rows, with the number of each one's value plus 1: 0 where
 * the diagonal has no entry. Of the lower triangle it takes the mirror image, and of numbers `sign` times. There is room
 * for n + 1 row starts, and for n more entries than the pattern has. */
static intptr_t PM_JOIN(upper, I_NAME, any)(intptr_t n, intptr_t view, intptr_t sign, const INDEX *starts,
                                            const INDEX *columns, INDEX *upper_starts, INDEX *upper_columns,
                                            int64_t *source) {
    intptr_t i, k, total = 0;
    if (view == PM_LOWER) { /* counts, then places: upper_starts[j] is where the next entry of row j goes */
        memset(upper_starts, 0, (size_t)(n + 1) * sizeof(INDEX));
        for (i = 0; i < n; i++) {
            for (k = starts[i]; k < starts[i + 1] && columns[k] < i; k++) upper_starts[columns[k]]++;
            upper_starts[i]++;
        }
        for (i = 0; i <= n; i++) {
            intptr_t count = upper_starts[i];
            upper_starts[i] = (INDEX)total;
            total += count;
        }
        for (i = 0; i < n; i++) {
            for (k = starts[i]; k < starts[i + 1] && columns[k] < i; k++) {
                intptr_t place = upper_starts[columns[k]]++;
                upper_columns[place] = (INDEX)i;
                source[place] = sign * (k + 1);
            }
            upper_columns[upper_starts[i]] = (INDEX)i;
            source[upper_starts[i]++] = k < starts[i + 1] && columns[k] == i ? sign * (k + 1) : 0;
        }
        for (i = n; i > 0; i--) upper_starts[i] = upper_starts[i - 1];
        upper_starts[0] = 0;
        return 0;
    }
    for (i = 0; i < n; i++) {
        upper_starts[i] = (INDEX)total;
        for (k = starts[i]; k < starts[i + 1] && columns[k] < i; k++) continue;
        upper_columns[total] = (INDEX)i;
        source[total++] = k < starts[i + 1] && columns[k] == i ? ++k : 0;
        for (; k < starts[i + 1]; k++) {
            upper_columns[total] = columns[k];
            source[total++] = k + 1;
        }
    }
    upper_starts[n] = (INDEX)total;
    return 0;
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
#define SQUARE(z) (creal(z) * creal(z) + cimag(z) * cimag(z))
#define CONJUGATE(z) conj(z)
#else
#define MAGNITUDE(z) fabs((double)(z))
#define SQUARE(z) ((double)(z) * (z))
#define CONJUGATE(z) (z)
#endif
#define MIRRORED(z) (hermitian ? CONJUGATE(z) : (z))

#define NORM PM_JOIN(norm, I_NAME, V_NAME)
/* The 2-norm, given the sum of squares; scaled where squares overflow or vanish. NaN and infinity stay what they are. */
static double NORM(intptr_t n, const VALUE *x, double squares) {
    intptr_t i;
    double total = 0, largest = 0;
    if (squares > 1e-280 && squares <= DBL_MAX) return sqrt(squares);
    for (i = 0; i < n; i++) {
        double m = MAGNITUDE(x[i]);
        if (!(m <= DBL_MAX)) return m;
        if (m > largest) largest = m;
    }
    if (largest == 0) return 0;
    for (i = 0; i < n; i++) total += (MAGNITUDE(x[i]) / largest) * (MAGNITUDE(x[i]) / largest);
    return largest * sqrt(total);
}

#define SIZE PM_JOIN(size, I_NAME, V_NAME)
/* The 2-norm. */
static double SIZE(intptr_t n, const VALUE *x) {
    intptr_t i, start;
    double total = 0;
    for (start = 0; start < n; start += PM_BLOCK) {
        intptr_t end = start + PM_BLOCK < n ? start + PM_BLOCK : n;
        double squares = 0;
#pragma omp simd reduction(+ : squares)
        for (i = start; i < end; i++) squares += SQUARE(x[i]);
        total += squares;
    }
    return NORM(n, x, total);
}

/* Of each column: real and imaginary part of the sum of w x, and the 2-norm of x. */
static intptr_t PM_JOIN(project, I_NAME, V_NAME)(intptr_t n, intptr_t columns, const SUM *w, const VALUE *x, double *out) {
    intptr_t c, i, start;
    for (c = 0; c < columns; c++, x += n, out += 3) {
        double total = 0, total_imaginary = 0, total_squares = 0;
        for (start = 0; start < n; start += PM_BLOCK) {
            intptr_t end = start + PM_BLOCK < n ? start + PM_BLOCK : n;
            double sum = 0, imaginary = 0, squares = 0;
#pragma omp simd reduction(+ : sum, imaginary, squares)
            for (i = start; i < end; i++) {
                SUM product = w[i] * x[i];
                sum += creal(product);
                imaginary += cimag(product);
                squares += SQUARE(x[i]);
            }
            total += sum, total_imaginary += imaginary, total_squares += squares;
        }
        out[0] = total, out[1] = total_imaginary, out[2] = NORM(n, x, total_squares);
    }
    return 0;
}

/* What the values are: a sum of PM_SYMMETRIC, PM_HERMITIAN and PM_POSITIVE_DIAGONAL; 0 where neither of the first two. Where
 * such a sum is expected, and not -1: whether they lack a part of it. */
static intptr_t PM_JOIN(symmetries, I_NAME, V_NAME)(intptr_t n, intptr_t count, const INDEX *lower, const INDEX *upper,
                                                    const INDEX *diagonal, const VALUE *values, intptr_t expected) {
    intptr_t i, start, found;
    int symmetric = 1, hermitian = 1, positive = 1;
    for (start = 0; start < count; start += PM_BLOCK) {
        intptr_t end = start + PM_BLOCK < count ? start + PM_BLOCK : count;
        for (i = start; i < end; i++) {
            symmetric &= values[lower[i]] == values[upper[i]];
            hermitian &= values[lower[i]] == CONJUGATE(values[upper[i]]);
        }
        if (!symmetric && !hermitian) return expected > 0;
    }
    for (i = 0; i < n; i++) {
        if (diagonal[i] < 0) {
            positive = 0;
            continue;
        }
        positive &= creal(values[diagonal[i]]) > 0 && cimag(values[diagonal[i]]) == 0;
        hermitian &= cimag(values[diagonal[i]]) == 0;
    }
    found = symmetric || hermitian ? PM_SYMMETRIC * symmetric + PM_HERMITIAN * hermitian + PM_POSITIVE_DIAGONAL * positive : 0;
    return expected < 0 ? found : (found & expected) != expected;
}

/* The largest row sum of magnitudes, the first row with a value that is not finite or -1, and w = A^T v. Where a triangle
 * is given, `sums` has room for n numbers. Returns whether there is such a row. */
static intptr_t PM_JOIN(measure, I_NAME, V_NAME)(intptr_t n, intptr_t view, intptr_t hermitian, const INDEX *starts,
                                                 const INDEX *columns, const VALUE *values, const SUM *v, SUM *w,
                                                 double *sums, double *out) {
    intptr_t i, k;
    double largest = 0;
    memset(w, 0, (size_t)n * sizeof(SUM));
    if (view != PM_FULL) memset(sums, 0, (size_t)n * sizeof(double));
    out[1] = -1;
    for (i = 0; i < n; i++) {
        SUM vi = v[i];
        double sum = 0, all = 0;
        if (view == PM_FULL)
            for (k = starts[i]; k < starts[i + 1]; k++) {
                sum += MAGNITUDE(values[k]);
                w[columns[k]] += values[k] * vi;
            }
        else
            for (k = starts[i]; k < starts[i + 1]; k++) {
                intptr_t j = columns[k];
                double size = MAGNITUDE(values[k]);
                all += size;
                if (!pm_counts(view, i, j)) continue;
                sum += size;
                w[j] += values[k] * vi;
                if (i == j) continue;
                sums[j] += size;
                w[i] += MIRRORED(values[k]) * v[j];
            }
        if (!(sum + all <= DBL_MAX) && out[1] < 0) /* a sum of finite magnitudes may be infinite, too */
            for (k = starts[i]; k < starts[i + 1]; k++)
                if (!(MAGNITUDE(values[k]) <= DBL_MAX)) out[1] = (double)i;
        if (view != PM_FULL)
            sums[i] += sum;
        else if (sum > largest)
            largest = sum;
    }
    for (i = 0; i < n && view != PM_FULL; i++)
        if (sums[i] > largest) largest = sums[i];
    out[0] = largest;
    return out[1] >= 0;
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
        out[0] = SIZE(n, r), out[1] = SIZE(n, x), out[2] = SIZE(n, b);
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
#undef SIZE
#undef SQUARE
#undef MAGNITUDE
#undef CONJUGATE
#undef MIRRORED
#undef VALUE
#undef SUM
#undef V_NAME
#undef IS_COMPLEX
#endif
