/* Matrix products of factors that stay as they are, for one instruction set and the dtype PM_T; P(name) names them.
 *
 * d = alpha a b + beta d by columns, with BLAS's arguments. BLAS brings its factors into another order first, which
 * takes as long as the product where few operations are made with each element. Here a tile of d, of up to PM_DEEP
 * vectors by PM_WIDE columns, is summed in registers straight from both. That is fast as long as the rows of a tile, or
 * all columns, stay in the first caches. Only a transposed a is turned first, which may have PM_TURNED_BYTES. */

typedef PM_T P(vector) __attribute__((vector_size(PM_VECTOR)));
enum { P(LANES) = PM_VECTOR / sizeof(PM_T), P(ROWS) = PM_DEEP * P(LANES) };

/* The tile of `deep` vectors by `wide` columns at d. The first `skipped` rows are another tile's already. */
PM_INLINE void P(tile)(int deep, int wide, int skipped, i64 k, const PM_T *a, i64 lda, const PM_T *b, i64 along,
                       i64 across, PM_T *d, i64 ldd, PM_T alpha, PM_T beta) {
    P(vector) sum[PM_DEEP][PM_WIDE], column[PM_DEEP], old;
    for (int x = 0; x < deep; x++)
        for (int y = 0; y < wide; y++) sum[x][y] = (P(vector)){0};
    for (i64 l = 0; l < k; l++, a += lda, b += along) {
        for (int x = 0; x < deep; x++) PM_MOVE(&column[x], a + x * P(LANES), PM_VECTOR);
        for (int y = 0; y < wide; y++)
            for (int x = 0; x < deep; x++) sum[x][y] += column[x] * b[y * across];
    }
    for (int y = 0; y < wide; y++, d += ldd)
        for (int x = 0; x < deep; x++) {
            PM_T *to = d + x * P(LANES);
            sum[x][y] *= alpha;
            if (beta != 0) PM_MOVE(&old, to, PM_VECTOR), sum[x][y] += beta * old;
            if (x == 0 && skipped)
                for (int i = skipped; i < P(LANES); i++) to[i] = sum[x][y][i];
            else
                PM_MOVE(to, &sum[x][y], PM_VECTOR);
        }
}

/* Fewer rows than a vector has. */
static void P(few)(i64 m, i64 n, i64 k, const PM_T *a, i64 lda, const PM_T *b, i64 along, i64 across, PM_T *d, i64 ldd,
                   PM_T alpha, PM_T beta) {
    for (i64 j = 0; j < n; j++)
        for (i64 i = 0; i < m; i++) {
            PM_T sum = 0, *to = d + i + j * ldd;
            for (i64 l = 0; l < k; l++) sum += a[i + l * lda] * b[l * along + j * across];
            *to = beta != 0 ? alpha * sum + beta * *to : alpha * sum;
        }
}

#define PM_TILE_OF(deep, wide)                                                                                         \
    case (deep) * 8 + (wide):                                                                                          \
        P(tile)(deep, wide, skipped, k, x, lda, y, along, across, z, ldd, alpha, beta);                                \
        break;
static void P(gemm)(const char *ta, const char *tb, const int *pm, const int *pn, const int *pk, const void *palpha,
                    const void *pa, const int *plda, const void *pb, const int *pldb, const void *pbeta, void *pd,
                    const int *pldd) {
    const i64 m = *pm, n = *pn, k = *pk, ldd = *pldd;
    const i64 along = *tb == 'N' ? 1 : *pldb, across = *tb == 'N' ? *pldb : 1;
    const PM_T *a = pa, *b = pb, alpha = *(const PM_T *)palpha, beta = *(const PM_T *)pbeta;
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
#undef PM_T
#undef P
