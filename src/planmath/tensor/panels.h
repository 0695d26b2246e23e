/* Matrix products of factors that stay as they are, for one instruction set and the dtype PM_T; P(name) names them.
 *
 * d = alpha a b + beta d by columns, with BLAS's arguments and rules for an alpha or a beta of 0. BLAS brings its factors into another order first, which
 * takes as long as the product where few operations are made with each element. Here a tile of d, of up to PM_DEEP
 * vectors by PM_WIDE columns, is summed in registers straight from both. That is fast as long as the rows of a tile, or
 * all columns, stay in the first caches. Only a transposed a is turned first, which may have PM_TURNED_BYTES. */

typedef PM_T P(vector) __attribute__((vector_size(PM_VECTOR)));
enum { P(LANES) = PM_VECTOR / sizeof(PM_T), P(ROWS) = PM_DEEP * P(LANES) };

/* One column of a tile, added to its sums. */
#define PM_ADD_COLUMN(y)                                                                                               \
    if (wide > y) {                                                                                                    \
        s0##y += c0 * b[y * across];                                                                                   \
        if (deep > 1) s1##y += c1 * b[y * across];                                                                     \
        if (deep > 2) s2##y += c2 * b[y * across];                                                                     \
    }
/* One vector of a column, put in its place; of the first one not what was skipped. */
#define PM_PUT(sum, x, y)                                                                                              \
    if (deep > x) {                                                                                                    \
        PM_T *to = d + y * ldd + x * P(LANES);                                                                         \
        P(vector) put = *alpha * sum;                                                                                   \
        if (*beta != 0) PM_MOVE(&old, to, PM_VECTOR), put += *beta * old;                                               \
        if (x == 0 && skipped)                                                                                         \
            for (int i = skipped; i < P(LANES); i++) to[i] = put[i];                                                   \
        else                                                                                                           \
            PM_MOVE(to, &put, PM_VECTOR);                                                                              \
    }
#define PM_PUT_COLUMN(y)                                                                                               \
    if (wide > y) {                                                                                                    \
        PM_PUT(s0##y, 0, y)                                                                                            \
        PM_PUT(s1##y, 1, y)                                                                                            \
        PM_PUT(s2##y, 2, y)                                                                                            \
    }
/* The tile of `deep` vectors by `wide` columns at d. The first `skipped` rows are another tile's already. The sums have
 * names, as compilers keep an array of so many in memory; alpha and beta would take a register from them. */
PM_INLINE void P(tile)(int deep, int wide, int skipped, i64 k, const PM_T *a, i64 lda, const PM_T *b, i64 along,
                       i64 across, PM_T *d, i64 ldd, const PM_T *alpha, const PM_T *beta) {
    P(vector) c0 = {0}, c1 = c0, c2 = c0, s00 = c0, s01 = c0, s02 = c0, s03 = c0, s10 = c0, s11 = c0, s12 = c0,
              s13 = c0, s20 = c0, s21 = c0, s22 = c0, s23 = c0, old;
    PM_UNROLLED /* what counts the terms takes a sixth of the instructions otherwise */
    for (i64 l = 0; l < k; l++, a += lda, b += along) {
        PM_TAKE(c0, a);
        if (deep > 1) PM_TAKE(c1, a + P(LANES));
        if (deep > 2) PM_TAKE(c2, a + 2 * P(LANES));
        PM_ADD_COLUMN(0) PM_ADD_COLUMN(1) PM_ADD_COLUMN(2) PM_ADD_COLUMN(3)
    }
    PM_PUT_COLUMN(0) PM_PUT_COLUMN(1) PM_PUT_COLUMN(2) PM_PUT_COLUMN(3)
}

/* Fewer rows than a vector has. */
static void P(few)(i64 m, i64 n, i64 k, const PM_T *a, i64 lda, const PM_T *b, i64 along, i64 across, PM_T *d, i64 ldd,
                   const PM_T *alpha, const PM_T *beta) {
    for (i64 j = 0; j < n; j++)
        for (i64 i = 0; i < m; i++) {
            PM_T sum = 0, *to = d + i + j * ldd;
            for (i64 l = 0; l < k; l++) sum += a[i + l * lda] * b[l * along + j * across];
            *to = *beta != 0 ? *alpha * sum + *beta * *to : *alpha * sum;
        }
}

#define PM_TILE_OF(deep, wide)                                                                                         \
    case (deep) * 8 + (wide):                                                                                          \
        P(tile)(deep, wide, skipped, k, x, lda, y, along, across, z, ldd, alpha, beta);                                \
        break;
static void P(gemm)(const char *ta, const char *tb, const int *pm, const int *pn, const int *pk, const void *palpha,
                    const void *pa, const int *plda, const void *pb, const int *pldb, const void *pbeta, void *pd,
                    const int *pldd) {
    const i64 m = *pm, n = *pn, k = *(const PM_T *)palpha == 0 ? 0 : *pk, ldd = *pldd;
    const i64 along = *tb == 'N' ? 1 : *pldb, across = *tb == 'N' ? *pldb : 1;
    const PM_T *a = pa, *b = pb, *alpha = palpha, *beta = pbeta;
    PM_T *d = pd;
    i64 lda = *plda;
    const i64 tiles = PM_PANEL_BYTES / ((k + 1) * P(ROWS) * (i64)sizeof(PM_T)), rows = P(ROWS) * (tiles ? tiles : 1);
    PM_T turned[PM_TURNED_BYTES / sizeof(PM_T)];
    if (*ta != 'N') {
        for (i64 i = 0; i < m; i++)
            for (i64 l = 0; l < k; l++) turned[i + l * m] = a[l + i * lda];
        a = turned, lda = m;
    }
    if (m < P(LANES)) {
        P(few)(m, n, k, a, lda, b, along, across, d, ldd, alpha, beta);
        return;
    }
    for (i64 first = 0; first < m; first += rows)
        for (i64 j = 0; j < n; j += PM_WIDE)
            for (i64 i = first, last = first + rows < m ? first + rows : m; i < last;) {
                /* Whole vectors first: only behind them may one begin before the rows that are left. */
                i64 left = m - i, deep = left / P(LANES) < PM_DEEP ? left / P(LANES) : PM_DEEP;
                const int skipped = deep ? 0 : (int)(P(LANES) - left), wide = (int)(n - j < PM_WIDE ? n - j : PM_WIDE);
                const PM_T *x = a + i - skipped, *y = b + j * across;
                PM_T *z = d + i - skipped + j * ldd;
                switch ((deep ? deep : 1) * 8 + wide) {
                    PM_TILE_OF(3, 4) PM_TILE_OF(3, 3) PM_TILE_OF(3, 2) PM_TILE_OF(3, 1)
                    PM_TILE_OF(2, 4) PM_TILE_OF(2, 3) PM_TILE_OF(2, 2) PM_TILE_OF(2, 1)
                    PM_TILE_OF(1, 4) PM_TILE_OF(1, 3) PM_TILE_OF(1, 2) PM_TILE_OF(1, 1)
                }
                i += deep ? deep * P(LANES) : left;
            }
}
#undef PM_TILE_OF
#undef PM_ADD_COLUMN
#undef PM_PUT
#undef PM_PUT_COLUMN
