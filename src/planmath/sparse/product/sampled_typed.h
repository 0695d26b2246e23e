/* The kernels for one dtype T: included by sampled_body.h, and by sampled_dtypes.h for semirings, which are ADD, MUL and ZERO.
 * REAL says whether sums of products are made by vectors, SCALED whether factors take part. */
#if REAL
enum { P(LANES) = PM_VECTOR / sizeof(T) };
typedef T P(vector) __attribute__((vector_size(PM_VECTOR)));
typedef __typeof__((P(vector)){0} < (P(vector)){0}) P(order);

static inline __attribute__((always_inline)) P(vector) P(load)(const T *x) {
    P(vector) v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* Sums of two neighbours each: of x, then of y. */
static inline __attribute__((always_inline)) P(vector) P(neighbours)(P(vector) x, P(vector) y) {
#if defined(__clang__)
    P(vector) sums;
    for (int l = 0; l < P(LANES) / 2; l++)
        sums[l] = x[2 * l] + x[2 * l + 1], sums[l + P(LANES) / 2] = y[2 * l] + y[2 * l + 1];
    return sums;
#else
    P(order) even, odd;
    for (int l = 0; l < P(LANES); l++) even[l] = 2 * l, odd[l] = 2 * l + 1;
    return __builtin_shuffle(x, y, even) + __builtin_shuffle(x, y, odd);
#endif
}

/* Products of n elements, of which the first ones are whole vectors, summed up by lanes: two sums, as an addition takes longer
 * than it takes to begin the next one. What is behind the whole ones is read as the last lanes of a vector, of which the mask
 * leaves these. */
static inline __attribute__((always_inline)) P(vector) P(products)(const T *x, const T *y, i64 whole, i64 n, P(order) mask) {
    P(vector) even = {0}, odd = {0};
    i64 i = 0;
    for (; i + 2 * P(LANES) <= whole; i += 2 * P(LANES)) {
        even += P(load)(x + i) * P(load)(y + i);
        odd += P(load)(x + i + P(LANES)) * P(load)(y + i + P(LANES));
    }
    if (i < whole) even += P(load)(x + i) * P(load)(y + i);
    if (whole < n) {
        const P(order) last_x = (P(order))P(load)(x + n - P(LANES)) & mask, last_y = (P(order))P(load)(y + n - P(LANES)) & mask;
        odd += (P(vector))last_x * (P(vector))last_y;
    }
    return even + odd;
}
static inline __attribute__((always_inline)) P(order) P(mask)(i64 n) {
    P(order) mask;
    for (int l = 0; l < P(LANES); l++) mask[l] = l >= P(LANES) - n % P(LANES) ? -1 : 0;
    return mask;
}

static inline T P(dot)(const T *x, const T *y, i64 n) {
    if (n < P(LANES)) {
        T sum = 0;
        for (i64 i = 0; i < n; i++) sum += x[i] * y[i];
        return sum;
    }
    P(vector) sums = P(products)(x, y, n / P(LANES) * P(LANES), n, P(mask)(n));
    for (int l = 1; l < P(LANES); l *= 2) sums = P(neighbours)(sums, sums);
    return sums[0];
}
#else
static inline T P(dot)(const T *x, const T *y, i64 n) {
    T s0 = (T)ZERO, s1 = (T)ZERO;
    i64 i = 0;
    for (; i + 2 <= n; i += 2) {
        const T one = MUL(x[i], y[i]), two = MUL(x[i + 1], y[i + 1]);
        s0 = ADD(s0, one), s1 = ADD(s1, two);
    }
    if (i < n) {
        const T last = MUL(x[i], y[i]);
        s0 = ADD(s0, last);
    }
    return ADD(s0, s1);
}
#endif

/* Copies part of an operand, so that what is summed lies contiguously: PM_TILE lines at a time. */
static void P(copy)(void *work, i64 part, i64 member) {
    const pm_sampled *w = (const pm_sampled *)work;
    const i64 *side = w->side, n = w->p[PM_SUMMED], lines = side[PM_LINES], tiles = (lines + PM_TILE - 1) / PM_TILE;
    const i64 batch = part / tiles, from = part % tiles * PM_TILE, to = from + PM_TILE < lines ? from + PM_TILE : lines;
    const T *x = (const T *)w->from + ((const i64 *)side[PM_OFFSETS])[batch];
    T *y = (T *)w->to + batch * lines * n;
    (void)member;
    if (side[PM_INNER] == 1)
        for (i64 j = from; j < to; j++) memcpy(y + j * n, x + j * side[PM_STEP], (size_t)n * sizeof(T));
    else
        for (i64 i = 0; i < n; i++)
            for (i64 j = from; j < to; j++) y[j * n + i] = x[i * side[PM_INNER] + j * side[PM_STEP]];
}

#if SCALED
#define PM_STORED(at, sum) (beta == 0 ? alpha * (sum) : alpha * (sum) + beta * (at))
#else
#define PM_STORED(at, sum) (beta == 0 ? (sum) : ADD(at, sum))
#endif
#define PM_PUT(e, found)                                                                                               \
    {                                                                                                                  \
        T *at = c + (places ? places[e] : e);                                                                          \
        const T made = found;                                                                                          \
        *at = PM_STORED(*at, made);                                                                                    \
    }
#if REAL
/* As many elements at a time as a vector has lanes: horizontal sums of one after the other take longer than their products. */
#define PM_SUMS(N, HALF, INDEX, suffix)                                                                                \
    static inline __attribute__((always_inline)) P(vector) P(sums_##N##_##suffix)(                                     \
        const INDEX *row, const INDEX *column, const T *a, const T *b, i64 step_a, i64 step_b, i64 whole, i64 n,        \
        P(order) mask) {                                                                                               \
        return P(neighbours)(P(sums_##HALF##_##suffix)(row, column, a, b, step_a, step_b, whole, n, mask),             \
                             P(sums_##HALF##_##suffix)(row + HALF, column + HALF, a, b, step_a, step_b, whole, n, mask)); \
    }
#define PM_ALL_SUMS(INDEX, suffix)                                                                                     \
    static inline __attribute__((always_inline)) P(vector) P(sums_1_##suffix)(                                         \
        const INDEX *row, const INDEX *column, const T *a, const T *b, i64 step_a, i64 step_b, i64 whole, i64 n,        \
        P(order) mask) {                                                                                               \
        return P(products)(a + row[0] * step_a, b + column[0] * step_b, whole, n, mask);                               \
    }                                                                                                                  \
    PM_SUMS(2, 1, INDEX, suffix)                                                                                       \
    PM_SUMS(4, 2, INDEX, suffix)                                                                                       \
    PM_SUMS(8, 4, INDEX, suffix)                                                                                       \
    PM_SUMS(16, 8, INDEX, suffix)
#if PM_VECTOR == 64
#define PM_SUMS_OF(suffix) (sizeof(T) == 4 ? P(sums_16_##suffix) : P(sums_8_##suffix))
#elif PM_VECTOR == 32
#define PM_SUMS_OF(suffix) (sizeof(T) == 4 ? P(sums_8_##suffix) : P(sums_4_##suffix))
#else
#define PM_SUMS_OF(suffix) (sizeof(T) == 4 ? P(sums_4_##suffix) : P(sums_2_##suffix))
#endif
#define PM_WHOLE_VECTORS(whole, suffix)                                                                                \
    for (; e + P(LANES) <= to; e += P(LANES)) {                                                                        \
        if (n * (i64)sizeof(T) <= PM_SHORT && e + PM_AHEAD + P(LANES) <= to)                                           \
            for (int l = 0; l < P(LANES); l++)                                                                         \
                for (i64 i = 0; i < n; i += PM_LINE / (i64)sizeof(T))                                                  \
                    __builtin_prefetch(b + column[e + PM_AHEAD + l] * step_b + i);                                     \
        P(vector) sums = PM_SUMS_OF(suffix)(row + e, column + e, a, b, step_a, step_b, whole, n, mask);                \
        if (places)                                                                                                    \
            for (int l = 0; l < P(LANES); l++) PM_PUT(e + l, sums[l])                                                  \
        else {                                                                                                         \
            sums = PM_STORED(P(load)(c + e), sums);                                                                    \
            memcpy(c + e, &sums, sizeof sums);                                                                         \
        }                                                                                                              \
    }
#define PM_VECTORS_OF(suffix)                                                                                          \
    const P(order) mask = P(mask)(n);                                                                                  \
    if (n == 4 * P(LANES)) PM_WHOLE_VECTORS(4 * P(LANES), suffix)                                                      \
    else if (n == 8 * P(LANES)) PM_WHOLE_VECTORS(8 * P(LANES), suffix)                                                 \
    else if (n >= P(LANES)) PM_WHOLE_VECTORS(n / P(LANES) * P(LANES), suffix)
#else
#define PM_ALL_SUMS(INDEX, suffix)
#define PM_VECTORS_OF(suffix)
#endif
#define PM_ELEMENTS(INDEX, suffix)                                                                                     \
    PM_ALL_SUMS(INDEX, suffix)                                                                                         \
    static void P(elements_##suffix)(const pm_sampled *w, i64 from, i64 to) {                                          \
        const i64 *p = w->p, n = p[PM_SUMMED], *places = (const i64 *)p[PM_VALUES];                                    \
        const INDEX *row = (const INDEX *)p[PM_LIST_A], *column = (const INDEX *)p[PM_LIST_B];                         \
        const i64 step_a = p[PM_SIDE_A + PM_STEP], step_b = p[PM_SIDE_B + PM_STEP];                                    \
        const T *a = (const T *)w->a, *b = (const T *)w->b, alpha = *(const T *)w->alpha, beta = *(const T *)w->beta;  \
        T *c = (T *)w->c;                                                                                              \
        i64 e = from;                                                                                                  \
        (void)alpha;                                                                                                   \
        PM_VECTORS_OF(suffix)                                                                                          \
        for (; e < to; e++) PM_PUT(e, P(dot)(a + row[e] * step_a, b + column[e] * step_b, n))                          \
    }
PM_ELEMENTS(int32_t, narrow)
PM_ELEMENTS(i64, wide)

static void P(part)(void *work, i64 part, i64 member) {
    const pm_sampled *w = (const pm_sampled *)work;
    const i64 *p = w->p, from = p[PM_COUNT] * part / p[PM_PARTS], to = p[PM_COUNT] * (part + 1) / p[PM_PARTS];
    (void)member;
    if (p[PM_WIDE]) P(elements_wide)(w, from, to);
    else P(elements_narrow)(w, from, to);
}

static void P(product)(const i64 *p, const char *a, const char *b, char *c, const void *alpha, const void *beta, char *room) {
    i64 mine[PM_SAMPLED_WORDS];
    pm_sampled work = {mine, NULL, a, b, c, alpha, beta, NULL, NULL};
    memcpy(mine, p, sizeof mine);
    for (int side = 0; side < 2; side++) {
        i64 *words = mine + (side ? PM_SIDE_B : PM_SIDE_A);
        const i64 tiles = (words[PM_LINES] + PM_TILE - 1) / PM_TILE;
        if (words[PM_COPIED] == PM_NOT_COPIED) continue;
        if (words[PM_COPIED] == PM_COPIED_TO_ALIGN && (uintptr_t)(side ? b : a) % PM_LINE == 0) continue;
        room += -(uintptr_t)room % PM_LINE;
        work.side = words, work.from = side ? b : a, work.to = room;
        pm_share(P(copy), &work, words[PM_BATCHES] * tiles, p[PM_THREADS]);
        if (side) work.b = room;
        else work.a = room;
        words[PM_STEP] = p[PM_SUMMED];
        room += words[PM_BATCHES] * words[PM_LINES] * p[PM_SUMMED] * (i64)sizeof(T);
    }
    pm_share(P(part), &work, p[PM_PARTS], p[PM_THREADS]);
}
#undef PM_VECTORS_OF
#undef PM_WHOLE_VECTORS
#undef PM_SUMS_OF
#undef PM_ALL_SUMS
#undef PM_SUMS
#undef PM_PUT
#undef PM_STORED
#undef PM_ELEMENTS
#undef REAL
#undef T
#undef P
