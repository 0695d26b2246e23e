/* The kernels, for one instruction set and one dtype: R is the type of a number. */

/* A vector of `width` bytes at any address, and products whose columns are whole vectors: tiles of rows and of one or two
 * vectors of columns are summed in registers, with each element of a in all lanes. */
#define PM_WIDTH_(name, width, isa, suffix) name##_##width##_##suffix##_##isa
#define PM_WIDTH(name, width, isa, suffix) PM_WIDTH_(name, width, isa, suffix)
#define W(name, width) PM_WIDTH(name, width, PM_ISA, PM_SUFFIX)
#define PM_INLINE static inline __attribute__((always_inline))

#define PM_TILES(width)                                                                                                \
    typedef R W(vector, width) __attribute__((vector_size(width), aligned(R_BYTES), may_alias));                       \
    PM_INLINE void W(tile, width)(const int rows, const int vectors, pm_index k, pm_index a_row, pm_index a_col,       \
                                  pm_index b_row, pm_index c_row, pm_index d_row, R alpha, R beta, const R *a,         \
                                  const R *b, const R *c, R *d) {                                                      \
        typedef W(vector, width) V;                                                                                    \
        const int lanes = width / R_BYTES;                                                                             \
        V sums[8][2];                                                                                                  \
        _Pragma("GCC unroll 8")                                                                                        \
        for (int i = 0; i < rows; i++) {                                                                               \
            _Pragma("GCC unroll 2")                                                                                    \
            for (int v = 0; v < vectors; v++) sums[i][v] = (V){0};                                                     \
        }                                                                                                              \
        for (pm_index l = 0; l < k; l++) {                                                                             \
            const V x = *(const V *)(b + l * b_row), y = vectors > 1 ? *(const V *)(b + l * b_row + lanes) : x;        \
            _Pragma("GCC unroll 8")                                                                                    \
            for (int i = 0; i < rows; i++) {                                                                           \
                const R factor = a[i * a_row + l * a_col];                                                             \
                sums[i][0] += factor * x;                                                                              \
                if (vectors > 1) sums[i][1] += factor * y;                                                             \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 8")                                                                                        \
        for (int i = 0; i < rows; i++) {                                                                               \
            _Pragma("GCC unroll 2")                                                                                    \
            for (int v = 0; v < vectors; v++) {                                                                        \
                V sum = alpha * sums[i][v];                                                                            \
                if (c) sum += beta * *(const V *)(c + i * c_row + v * lanes);                                          \
                *(V *)(d + i * d_row + v * lanes) = sum;                                                               \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    /* Columns that are whole vectors. */                                                                              \
    static void W(whole, width)(pm_index m, pm_index n, pm_index k, pm_index a_row, pm_index a_col, pm_index b_row,    \
                                pm_index c_row, pm_index d_row, R alpha, R beta, const R *a, const R *b, const R *c,   \
                                R *d) {                                                                                \
        const pm_index lanes = width / R_BYTES;                                                                        \
        pm_index i, j = 0;                                                                                             \
        for (; j + 2 * lanes <= n; j += 2 * lanes) {                                                                   \
            for (i = 0; i + 4 <= m; i += 4)                                                                            \
                W(tile, width)(4, 2, k, a_row, a_col, b_row, c_row, d_row, alpha, beta, a + i * a_row, b + j,          \
                               c ? c + i * c_row + j : c, d + i * d_row + j);                                          \
            for (; i < m; i++)                                                                                         \
                W(tile, width)(1, 2, k, a_row, a_col, b_row, c_row, d_row, alpha, beta, a + i * a_row, b + j,          \
                               c ? c + i * c_row + j : c, d + i * d_row + j);                                          \
        }                                                                                                              \
        if (j < n) {                                                                                                   \
            for (i = 0; i + 8 <= m; i += 8)                                                                            \
                W(tile, width)(8, 1, k, a_row, a_col, b_row, c_row, d_row, alpha, beta, a + i * a_row, b + j,          \
                               c ? c + i * c_row + j : c, d + i * d_row + j);                                          \
            for (; i + 2 <= m; i += 2)                                                                                 \
                W(tile, width)(2, 1, k, a_row, a_col, b_row, c_row, d_row, alpha, beta, a + i * a_row, b + j,          \
                               c ? c + i * c_row + j : c, d + i * d_row + j);                                          \
            for (; i < m; i++)                                                                                         \
                W(tile, width)(1, 1, k, a_row, a_col, b_row, c_row, d_row, alpha, beta, a + i * a_row, b + j,          \
                               c ? c + i * c_row + j : c, d + i * d_row + j);                                          \
        }                                                                                                              \
    }

PM_TILES(16)
#if PM_VECTOR >= 32
PM_TILES(32)
#endif
#if PM_VECTOR >= 64
PM_TILES(64)
#endif

typedef void (*K(whole))(pm_index m, pm_index n, pm_index k, pm_index a_row, pm_index a_col, pm_index b_row,
                         pm_index c_row, pm_index d_row, R alpha, R beta, const R *a, const R *b, const R *c, R *d);

/* The widest vectors of which these columns are a multiple; of the odd ones, those that need the fewest more. */
static K(whole) K(whole_of)(pm_index n, pm_index *padded) {
    const pm_index least = 16 / R_BYTES;
    *padded = (n + least - 1) / least * least;
#if PM_VECTOR >= 64
    if (*padded % (4 * least) == 0) return W(whole, 64);
#endif
#if PM_VECTOR >= 32
    if (*padded % (2 * least) == 0) return W(whole, 32);
#endif
    return W(whole, 16);
}

/* A copy with rows of `padded` elements, of which those behind the n-th are zeros. */
static void K(padded)(pm_index rows, pm_index n, pm_index padded, pm_index row, pm_index col, const R *x, R *to) {
    for (pm_index i = 0; i < rows; i++) {
        pm_index j = 0;
        if (col == 1)
            for (; j < n; j++) to[i * padded + j] = x[i * row + j];
        else
            for (; j < n; j++) to[i * padded + j] = x[i * row + j * col];
        for (; j < padded; j++) to[i * padded + j] = 0;
    }
}

/* The products from `first` to `last` of a batch. */
static void K(multiply_share)(const pm_products *products, pm_index first, pm_index last) {
    const pm_sizes s = *products->sizes;
    const R alpha = *(const R *)products->alpha, beta = products->c ? *(const R *)products->beta : 0;
    const pm_index k = alpha == 0 ? 0 : s.k; /* where factors do not count they are not read */
    pm_index padded;
    const K(whole) whole = K(whole_of)(s.n, &padded);
    const int packs_b = s.b_col != 1 || padded != s.n, packs_d = padded != s.n;
    const int adds = beta != 0, packs_c = adds && (s.c_col != 1 || packs_d);
    R b_copy[PM_MOST_EXTENT * PM_MOST_EXTENT], c_copy[PM_MOST_EXTENT * PM_MOST_EXTENT];
    R d_copy[PM_MOST_EXTENT * PM_MOST_EXTENT];
    for (pm_index at = first; at < last; at++) {
        const R *a = (const R *)products->a + at * s.a_step, *b = (const R *)products->b + at * s.b_step;
        const R *c = adds ? (const R *)products->c + at * s.c_step : NULL;
        R *d = (R *)products->d + at * s.d_step;
        if (packs_b && (s.b_step || at == first)) K(padded)(k, s.n, padded, s.b_row, s.b_col, b, b_copy);
        if (packs_c) K(padded)(s.m, s.n, padded, s.c_row, s.c_col, c, c_copy);
        whole(s.m, padded, k, s.a_row, s.a_col, packs_b ? padded : s.b_row, packs_c ? padded : s.c_row,
              packs_d ? padded : s.d_row, alpha, beta, a, packs_b ? b_copy : b, packs_c ? c_copy : c,
              packs_d ? d_copy : d);
        if (packs_d)
            for (pm_index i = 0; i < s.m; i++) memcpy(d + i * s.d_row, d_copy + i * padded, (size_t)s.n * sizeof(R));
    }
}

static void K(multiply)(const pm_index *sizes, const void *alpha, const void *beta, const void *a, const void *b,
                        const void *c, void *d) {
    const pm_products products = {(const pm_sizes *)sizes, alpha, beta, a, b, c, d};
    pm_run_share(K(multiply_share), &products);
}

/* The same for complex numbers, as a product of real ones: each row of b is followed by itself times i, so that the parts
 * of an element of a are the factors of both. */

#if defined(__GNUC__) && !defined(__clang__)
typedef R K(pairs) __attribute__((vector_size(PM_VECTOR), aligned(R_BYTES), may_alias));
typedef __typeof__((K(pairs)){0} < (K(pairs)){0}) K(places);
/* Each number's parts, exchanged. */
PM_INLINE K(pairs) K(exchanged)(K(pairs) x) {
    K(places) with;
    for (int i = 0; i < PM_VECTOR / R_BYTES; i++) with[i] = i ^ 1;
    return __builtin_shuffle(x, with);
}
/* The beginning of a row that is whole vectors, how many parts. */
PM_INLINE pm_index K(scaled_vectors)(pm_index parts, const R *z, const R *x, R *to, R *again) {
    const pm_index lanes = PM_VECTOR / R_BYTES;
    K(pairs) sign, imaginary;
    for (int i = 0; i < PM_VECTOR / R_BYTES; i++) sign[i] = i % 2 ? 1 : -1;
    imaginary = sign * z[1];
    pm_index j = 0;
    for (; j + lanes <= parts; j += lanes) {
        K(pairs) value = *(const K(pairs) *)(x + j), scaled = value * z[0];
        if (z[1] != 0) scaled += K(exchanged)(value) * imaginary;
        *(K(pairs) *)(to + j) = scaled;
        if (again) *(K(pairs) *)(again + j) = K(exchanged)(scaled) * sign;
    }
    return j;
}
#else
#define PM_NO_PAIRS
#endif

/* Rows of `padded` parts that are z x, of `twice` each followed by itself times i. */
static void K(scaled)(pm_index rows, pm_index n, pm_index padded, pm_index row, pm_index col, const R *z, const R *x,
                      int twice, R *to) {
    for (pm_index i = 0; i < rows; i++, to += padded) {
        R *again = to + padded;
        pm_index j = 0;
#ifndef PM_NO_PAIRS
        if (col == 1) j = K(scaled_vectors)(2 * n, z, x + 2 * i * row, to, twice ? again : NULL) / 2;
#endif
        for (; j < n; j++) {
            const R *at = x + 2 * (i * row + j * col);
            R re = at[0] * z[0], im = at[1] * z[0];
            if (z[1] != 0) re -= at[1] * z[1], im += at[0] * z[1];
            to[2 * j] = re, to[2 * j + 1] = im;
            if (twice) again[2 * j] = -im, again[2 * j + 1] = re;
        }
        for (j = 2 * n; j < padded; j++) {
            to[j] = 0;
            if (twice) again[j] = 0;
        }
        if (twice) to = again;
    }
}

static void K(multiply_complex_share)(const pm_products *products, pm_index first, pm_index last) {
    const pm_sizes s = *products->sizes;
    const R *alpha = (const R *)products->alpha, *beta = (const R *)products->beta, one[2] = {1, 0};
    const pm_index k = alpha[0] == 0 && alpha[1] == 0 ? 0 : s.k;
    const int adds = products->c && (beta[0] != 0 || beta[1] != 0);
    pm_index padded;
    const K(whole) whole = K(whole_of)(2 * s.n, &padded);
    const int packs_a = s.a_col != 1, packs_d = padded != 2 * s.n;
    R a_copy[2 * PM_MOST_EXTENT * PM_MOST_EXTENT], b_copy[4 * PM_MOST_EXTENT * PM_MOST_EXTENT];
    R c_copy[2 * PM_MOST_EXTENT * PM_MOST_EXTENT], d_copy[2 * PM_MOST_EXTENT * PM_MOST_EXTENT];
    for (pm_index at = first; at < last; at++) {
        const R *a = (const R *)products->a + 2 * at * s.a_step, *b = (const R *)products->b + 2 * at * s.b_step;
        R *d = (R *)products->d + 2 * at * s.d_step;
        if (s.b_step || at == first) K(scaled)(k, s.n, padded, s.b_row, s.b_col, alpha, b, 1, b_copy);
        if (packs_a) K(scaled)(s.m, k, 2 * k, s.a_row, s.a_col, one, a, 0, a_copy);
        if (adds)
            K(scaled)(s.m, s.n, padded, s.c_row, s.c_col, beta, (const R *)products->c + 2 * at * s.c_step, 0, c_copy);
        whole(s.m, padded, 2 * k, packs_a ? 2 * k : 2 * s.a_row, 1, padded, padded, packs_d ? padded : 2 * s.d_row, 1, 1,
              packs_a ? a_copy : a, b_copy, adds ? c_copy : NULL, packs_d ? d_copy : d);
        if (packs_d)
            for (pm_index i = 0; i < s.m; i++)
                memcpy(d + 2 * i * s.d_row, d_copy + i * padded, (size_t)(2 * s.n) * sizeof(R));
    }
}

static void K(multiply_complex)(const pm_index *sizes, const void *alpha, const void *beta, const void *a, const void *b,
                                const void *c, void *d) {
    const pm_products products = {(const pm_sizes *)sizes, alpha, beta, a, b, c, d};
    pm_run_share(K(multiply_complex_share), &products);
}

#undef PM_TILES
#undef PM_NO_PAIRS
#undef PM_WIDTH
#undef PM_WIDTH_
#undef W
#undef PM_INLINE
#undef R
#undef R_BYTES
#undef PM_SUFFIX
