/* LU with exchanges of rows of matrices that fit into the caches, where a library's way to its kernels and the packing of
 * its factors take longer than the work. Factors and pivots are those of LAPACK's getrf. Included by kernels_typed.h for
 * each dtype; leading dimensions count elements, and what is named `reals` counts their parts.
 *
 * Columns are halved until four are left (S. Toledo, "Locality of reference in LU decomposition with partial pivoting",
 * SIAM J. Matrix Anal. Appl. 18, 1997), so that nearly all of the work is products, whose factors are read where they
 * are. */

#define REALS ((pm_index)(PM_VECTOR / sizeof(R)))
#define LU_DEEP (PARTS == 1 ? 3 : 2)
#define LU_WIDE (PARTS == 1 ? 4 : 3)
#define LU_BASE 4
#define BITS __typeof__(__builtin_choose_expr(sizeof(R) == 4, (int32_t)0, (int64_t)0)) /* moved by registers of integers */
typedef R K(loose) __attribute__((vector_size(PM_VECTOR), aligned(sizeof(R)), may_alias));
#define AT(p) (*(K(loose) *)(p))

/* Subtracts the product of `deep` vectors of rows with `wide` columns from a tile of c. The first `skipped` reals are
 * another tile's. Of complex numbers real and imaginary factors have sums of their own. */
static inline __attribute__((always_inline)) void K(lu_tile)(const int deep, const int wide, pm_index skipped, pm_index k,
                                                             const R *a, pm_index lda, const R *b, pm_index ldb, R *c,
                                                             pm_index ldc) {
    K(loose) s[3][4][PARTS], column[3];
    _Pragma("GCC unroll 4") for (int x = 0; x < deep; x++) _Pragma("GCC unroll 4") for (int y = 0; y < wide; y++)
        _Pragma("GCC unroll 2") for (int p = 0; p < PARTS; p++) s[x][y][p] = (K(loose)){0};
    for (pm_index l = 0; l < k; l++, a += lda * PARTS, b += PARTS) {
        _Pragma("GCC unroll 4") for (int x = 0; x < deep; x++) column[x] = AT(a + x * REALS);
        _Pragma("GCC unroll 4") for (int y = 0; y < wide; y++) _Pragma("GCC unroll 2") for (int p = 0; p < PARTS; p++) {
            R factor = b[y * ldb * PARTS + p];
            _Pragma("GCC unroll 4") for (int x = 0; x < deep; x++) s[x][y][p] += column[x] * factor;
        }
    }
    _Pragma("GCC unroll 4") for (int y = 0; y < wide; y++) _Pragma("GCC unroll 4") for (int x = 0; x < deep; x++) {
        R *to = c + y * ldc * PARTS + x * REALS;
        K(loose) sum = s[x][y][0];
#if PARTS == 2
        R turned[PM_VECTOR / sizeof(R)]; /* i times the second sum */
        for (int i = 0; i < REALS; i += 2) turned[i] = -s[x][y][1][i + 1], turned[i + 1] = s[x][y][1][i];
        sum += AT(turned);
#endif
        if (x == 0 && skipped)
            for (pm_index i = skipped; i < REALS; i++) to[i] -= sum[i];
        else
            AT(to) -= sum;
    }
}

/* The same for m rows and `wide` columns. */
static inline __attribute__((always_inline)) void K(lu_rows)(const int wide, pm_index m, pm_index k, const R *a,
                                                             pm_index lda, const R *b, pm_index ldb, R *c,
                                                             pm_index ldc) {
    pm_index reals = m * PARTS, i = 0, skipped;
    for (; reals - i >= LU_DEEP * REALS; i += LU_DEEP * REALS)
        K(lu_tile)(LU_DEEP, wide, 0, k, a + i, lda, b, ldb, c + i, ldc);
    if (reals - i >= 2 * REALS && LU_DEEP > 2) {
        K(lu_tile)(2, wide, 0, k, a + i, lda, b, ldb, c + i, ldc);
        i += 2 * REALS;
    }
    skipped = i + 2 * REALS - reals;
    if (reals - i > REALS && skipped <= i) {
        K(lu_tile)(2, wide, skipped, k, a + i - skipped, lda, b, ldb, c + i - skipped, ldc);
        return;
    }
    for (; reals - i >= REALS; i += REALS) K(lu_tile)(1, wide, 0, k, a + i, lda, b, ldb, c + i, ldc);
    if (i == reals) return;
    skipped = i + REALS - reals;
    if (skipped <= i) {
        K(lu_tile)(1, wide, skipped, k, a + i - skipped, lda, b, ldb, c + i - skipped, ldc);
        return;
    }
    for (; i < reals; i += PARTS)
        for (pm_index y = 0; y < wide; y++) {
            const R *row = a + i, *col = b + y * ldb * PARTS;
            R re = 0, im = 0, *to = c + y * ldc * PARTS + i;
            for (pm_index l = 0; l < k; l++, row += lda * PARTS, col += PARTS) {
                re += row[0] * col[0];
                if (PARTS == 2) re -= row[1] * col[1], im += row[0] * col[1] + row[1] * col[0];
            }
            to[0] -= re;
            if (PARTS == 2) to[1] -= im;
        }
}

/* c -= a b, of m rows, n columns and k terms. */
static __attribute__((noinline)) void K(lu_subtract)(pm_index m, pm_index n, pm_index k, const R *a, pm_index lda,
                                                     const R *b, pm_index ldb, R *c, pm_index ldc) {
    pm_index j = 0;
    for (; n - j >= LU_WIDE; j += LU_WIDE)
        K(lu_rows)(LU_WIDE, m, k, a, lda, b + j * ldb * PARTS, ldb, c + j * ldc * PARTS, ldc);
    for (; j < n; j++) K(lu_rows)(1, m, k, a, lda, b + j * ldb * PARTS, ldb, c + j * ldc * PARTS, ldc);
}

/* x = l⁻¹ x for a lower triangle of n rows with ones on its diagonal, and k columns. */
static inline __attribute__((always_inline)) void K(lu_lower_few)(const int n, pm_index k, const R *l, pm_index ld, R *x,
                                                                  pm_index ldx) {
    R f[LU_BASE][LU_BASE][PARTS], y[LU_BASE][PARTS];
    _Pragma("GCC unroll 4") for (int j = 0; j < n; j++) _Pragma("GCC unroll 4") for (int i = j + 1; i < n; i++)
        _Pragma("GCC unroll 2") for (int p = 0; p < PARTS; p++) f[j][i][p] = l[(i + j * ld) * PARTS + p];
    for (pm_index c = 0; c < k; c++, x += ldx * PARTS) {
        _Pragma("GCC unroll 4") for (int i = 0; i < n; i++) _Pragma("GCC unroll 2") for (int p = 0; p < PARTS; p++)
            y[i][p] = x[i * PARTS + p];
        _Pragma("GCC unroll 4") for (int j = 0; j < n; j++) _Pragma("GCC unroll 4") for (int i = j + 1; i < n; i++) {
            y[i][0] -= f[j][i][0] * y[j][0];
#if PARTS == 2
            y[i][0] += f[j][i][1] * y[j][1];
            y[i][1] -= f[j][i][0] * y[j][1] + f[j][i][1] * y[j][0];
#endif
        }
        _Pragma("GCC unroll 4") for (int i = 1; i < n; i++) _Pragma("GCC unroll 2") for (int p = 0; p < PARTS; p++)
            x[i * PARTS + p] = y[i][p];
    }
}

static void K(lu_lower)(pm_index n, pm_index k, const R *l, pm_index ld, R *x, pm_index ldx) {
    if (n > LU_BASE) {
        pm_index half = n <= 2 * LU_BASE ? LU_BASE : n / 2 / LU_BASE * LU_BASE;
        K(lu_lower)(half, k, l, ld, x, ldx);
        K(lu_subtract)(n - half, k, half, l + half * PARTS, ld, x, ldx, x + half * PARTS, ldx);
        K(lu_lower)(n - half, k, l + half * (ld + 1) * PARTS, ld, x + half * PARTS, ldx);
        return;
    }
    switch (n) {
    case 4: K(lu_lower_few)(4, k, l, ld, x, ldx); break;
    case 3: K(lu_lower_few)(3, k, l, ld, x, ldx); break;
    case 2: K(lu_lower_few)(2, k, l, ld, x, ldx); break;
    }
}

/* Exchanges rows of `wide` columns, from the first pivot to the last. */
static inline __attribute__((always_inline)) void K(lu_exchange_in)(const int wide, pm_index n, const int *pivots,
                                                                    pm_index before, R *a, pm_index ld) {
    for (pm_index i = 0; i < n; i++) {
        R *one = a + i * PARTS, *other = a + (pivots[i] - 1 - before) * PARTS;
        _Pragma("GCC unroll 4") for (int c = 0; c < wide; c++) {
            BITS t[PARTS], u[PARTS];
            memcpy(t, one + c * ld * PARTS, sizeof t), memcpy(u, other + c * ld * PARTS, sizeof u);
            memcpy(other + c * ld * PARTS, t, sizeof t), memcpy(one + c * ld * PARTS, u, sizeof u);
        }
    }
}

static void K(lu_exchange)(pm_index n, pm_index k, const int *pivots, pm_index before, R *a, pm_index ld) {
    pm_index c = 0;
    for (; k - c >= 4; c += 4) K(lu_exchange_in)(4, n, pivots, before, a + c * ld * PARTS, ld);
    for (; c < k; c++) K(lu_exchange_in)(1, n, pivots, before, a + c * ld * PARTS, ld);
}

/* The row of the largest element of a column: by |re| + |im|, as in LAPACK. */
static inline __attribute__((always_inline)) pm_index K(lu_pivot)(pm_index m, const R *a) {
    pm_index at = 0, i = 0;
    R best = -1;
#if PARTS == 1
    typedef __typeof__((K(loose)){0} < (K(loose)){0}) mask;
    if (m >= 2 * REALS) {
        K(loose) most, where, now, step = (K(loose)){0} + (R)REALS;
        const mask sign = (mask)-(K(loose)){0};
        most = (K(loose))((mask)AT(a) & ~sign);
        for (i = 0; i < REALS; i++) now[i] = (R)i;
        where = now;
        for (; m - i >= REALS; i += REALS) {
            K(loose) sizes = (K(loose))((mask)AT(a + i) & ~sign);
            mask larger = sizes > most;
            now += step;
            most = (K(loose))(((mask)sizes & larger) | ((mask)most & ~larger));
            where = (K(loose))(((mask)now & larger) | ((mask)where & ~larger));
        }
        for (pm_index l = 0; l < REALS; l++)
            if (most[l] > best || (most[l] == best && (pm_index)where[l] < at)) best = most[l], at = (pm_index)where[l];
    }
#endif
    for (; i < m; i++) {
        R size = PARTS == 1 ? (a[i] < 0 ? -a[i] : a[i])
                            : (a[2 * i] < 0 ? -a[2 * i] : a[2 * i]) + (a[2 * i + 1] < 0 ? -a[2 * i + 1] : a[2 * i + 1]);
        if (size > best) best = size, at = i;
    }
    return at;
}

/* Divides m elements of a column by a pivot, and subtracts their products with `wide` elements of the pivot's row from
 * the columns that follow. */
static inline __attribute__((always_inline)) void K(lu_eliminate)(const int wide, pm_index m, R *column, const R *pivot,
                                                                  const R *row, pm_index ld) {
    pm_index i = 0;
    R *by[LU_BASE];
    _Pragma("GCC unroll 4") for (int c = 0; c < wide; c++) by[c] = column + (c + 1) * ld * PARTS;
    const R least = (sizeof(R) == 4 ? (R)FLT_MIN : (R)DBL_MIN) * 4; /* whose reciprocal is in range */
#if PARTS == 1
    R size = pivot[0] < 0 ? -pivot[0] : pivot[0], factor[LU_BASE], reciprocal = 1;
    if (size >= least)
        reciprocal = 1 / pivot[0];
    else
        for (; i < m; i++) column[i] /= pivot[0];
    _Pragma("GCC unroll 4") for (int c = 0; c < wide; c++) factor[c] = row[c * ld];
    for (i = 0; m - i >= REALS; i += REALS) {
        K(loose) l = AT(column + i) * reciprocal;
        AT(column + i) = l;
        _Pragma("GCC unroll 4") for (int c = 0; c < wide; c++) AT(by[c] + i) -= l * factor[c];
    }
    for (; i < m; i++) {
        column[i] *= reciprocal;
        _Pragma("GCC unroll 4") for (int c = 0; c < wide; c++) by[c][i] -= column[i] * factor[c];
    }
#else
    R reciprocal[2] = {1, 0};
    if (fabs((double)pivot[0]) + fabs((double)pivot[1]) >= least)
        K(quotient)(reciprocal, pivot);
    else
        for (; i < m; i++) K(quotient)(column + 2 * i, pivot);
    for (i = 0; i < m; i++) {
        R re = column[2 * i], im = column[2 * i + 1];
        R x = column[2 * i] = re * reciprocal[0] - im * reciprocal[1];
        R y = column[2 * i + 1] = re * reciprocal[1] + im * reciprocal[0];
        _Pragma("GCC unroll 4") for (int c = 0; c < wide; c++) {
            const R *by_row = row + 2 * c * ld;
            by[c][2 * i] -= x * by_row[0] - y * by_row[1], by[c][2 * i + 1] -= x * by_row[1] + y * by_row[0];
        }
    }
#endif
}

/* LU of a matrix of m rows and n columns, m >= n; `before` rows were eliminated already. */
static void K(lu_columns)(pm_index m, pm_index n, R *a, pm_index ld, int *pivots, int *status, pm_index before) {
    if (n > LU_BASE) {
        pm_index half = n <= 2 * LU_BASE ? LU_BASE : n / 2 / LU_BASE * LU_BASE;
        R *right = a + half * ld * PARTS, *below = a + half * PARTS, *rest = right + half * PARTS;
        K(lu_columns)(m, half, a, ld, pivots, status, before);
        K(lu_exchange)(half, n - half, pivots, before, right, ld);
        K(lu_lower)(half, n - half, a, ld, right, ld);
        K(lu_subtract)(m - half, n - half, half, below, ld, right, ld, rest, ld);
        K(lu_columns)(m - half, n - half, rest, ld, pivots + half, status, before + half);
        K(lu_exchange)(n - half, half, pivots + half, before + half, below, ld);
        return;
    }
    for (pm_index j = 0; j < n; j++) {
        R *diagonal = a + j * (ld + 1) * PARTS, pivot[2] = {0, 0};
        pm_index row = K(lu_pivot)(m - j, diagonal);
        pivots[j] = (int)(before + j + row + 1);
        if (row) K(lu_exchange_in)(1, 1, pivots + j, before + j, a + j * PARTS, ld);
        for (pm_index c = 1; c < n && row; c++) K(lu_exchange_in)(1, 1, pivots + j, before + j, a + (j + c * ld) * PARTS, ld);
        for (int p = 0; p < PARTS; p++) pivot[p] = diagonal[p];
        if (pivot[0] == 0 && pivot[1] == 0) {
            if (*status == 0) *status = (int)(before + j + 1);
            continue;
        }
        switch (n - j) {
        case 4: K(lu_eliminate)(3, m - j - 1, diagonal + PARTS, pivot, diagonal + ld * PARTS, ld); break;
        case 3: K(lu_eliminate)(2, m - j - 1, diagonal + PARTS, pivot, diagonal + ld * PARTS, ld); break;
        case 2: K(lu_eliminate)(1, m - j - 1, diagonal + PARTS, pivot, diagonal + ld * PARTS, ld); break;
        case 1: K(lu_eliminate)(0, m - j - 1, diagonal + PARTS, pivot, diagonal + ld * PARTS, ld); break;
        }
    }
}

/* LU of n rows and columns, as getrf. */
static void K(lu)(pm_index n, R *a, pm_index ld, int *pivots, int *status) {
    *status = 0;
    K(lu_columns)(n, n, a, ld, pivots, status, 0);
}

#undef REALS
#undef LU_DEEP
#undef LU_WIDE
#undef LU_BASE
#undef AT
#undef BITS
