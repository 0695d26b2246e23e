/* The kernels for one dtype T: included by sampled_body.h, and by sampled_dtypes.h for semirings, which are ADD, MUL and ZERO.
 * REAL says whether sums of products are made by vectors, SCALED whether factors take part. */
#if REAL
enum { P(LANES) = PM_VECTOR / sizeof(T) };
typedef T P(vector) __attribute__((vector_size(PM_VECTOR)));
typedef T P(half) __attribute__((vector_size(PM_VECTOR / 2)));

static inline __attribute__((always_inline)) P(vector) P(load)(const T *x) {
    P(vector) v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* The sum over a vector, by halves. */
static inline __attribute__((always_inline)) T P(total)(P(vector) v) {
    T x[P(LANES)];
    memcpy(x, &v, sizeof v);
#if PM_VECTOR >= 32
    P(half) h, low, high;
    memcpy(&low, x, sizeof low), memcpy(&high, x + P(LANES) / 2, sizeof high);
    h = low + high;
    memcpy(x, &h, sizeof h);
    enum { N = P(LANES) / 2 };
#else
    enum { N = P(LANES) };
#endif
    for (int n = N / 2; n > 0; n /= 2)
        for (int l = 0; l < n; l++) x[l] += x[l + n];
    return x[0];
}

/* The sum of products: four sums by vectors, as an addition takes longer than it takes to begin the next one. */
static inline __attribute__((always_inline)) T P(dot)(const T *x, const T *y, i64 n) {
    P(vector) s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    i64 i = 0;
    for (; i + 4 * P(LANES) <= n; i += 4 * P(LANES)) {
        s0 += P(load)(x + i) * P(load)(y + i);
        s1 += P(load)(x + i + P(LANES)) * P(load)(y + i + P(LANES));
        s2 += P(load)(x + i + 2 * P(LANES)) * P(load)(y + i + 2 * P(LANES));
        s3 += P(load)(x + i + 3 * P(LANES)) * P(load)(y + i + 3 * P(LANES));
    }
    for (; i + P(LANES) <= n; i += P(LANES)) s0 += P(load)(x + i) * P(load)(y + i);
    T sum = P(total)((s0 + s1) + (s2 + s3));
    for (; i < n; i++) sum += x[i] * y[i];
    return sum;
}
#define PM_EACH_8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define PM_EACH_4(M) M(0) M(1) M(2) M(3)
#define PM_FIRST_OF(n) const P(vector) x##n = P(load)(x + n * P(LANES));
#define PM_TERM_OF(n) (n & 1 ? &odd : &even)[0] += x##n * P(load)(y + n * P(LANES));
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
    for (i64 i = 0; i < n; i++)
        for (i64 j = from; j < to; j++) y[j * n + i] = x[i * side[PM_INNER] + j * side[PM_STEP]];
}

/* Columns that are asked for before they are needed, so many elements ahead. */
enum { P(AHEAD) = 12 };
#define PM_ASK                                                                                                         \
    if (e + P(AHEAD) < to) {                                                                                           \
        const char *next = (const char *)(b + column[e + P(AHEAD)] * step_b);                                          \
        for (i64 i = 0; i < bytes; i += 64) __builtin_prefetch(next + i);                                              \
    }
#if SCALED
#define PM_STORED(at, sum) (beta == 0 ? alpha * (sum) : alpha * (sum) + beta * (at))
#else
#define PM_STORED(at, sum) (beta == 0 ? (sum) : ADD(at, sum))
#endif
#define PM_PUT(found)                                                                                                  \
    T *at = c + (places ? places[e] : e);                                                                              \
    const T made = found;                                                                                              \
    *at = PM_STORED(*at, made);
#if REAL
/* Elements of one row, the first part of which stays in registers. */
#define PM_RUN(N)                                                                                                      \
    if (n >= N * P(LANES)) {                                                                                           \
        PM_EACH_##N(PM_FIRST_OF)                                                                                       \
        for (; e < end; e++) {                                                                                         \
            const T *y = b + column[e] * step_b;                                                                       \
            P(vector) even = {0}, odd = {0};                                                                           \
            PM_ASK                                                                                                     \
            PM_EACH_##N(PM_TERM_OF)                                                                                    \
            T sum = P(total)(even + odd);                                                                              \
            if (n > N * P(LANES)) sum += P(dot)(x + N * P(LANES), y + N * P(LANES), n - N * P(LANES));                 \
            PM_PUT(sum)                                                                                                \
        }                                                                                                              \
        continue;                                                                                                      \
    }
#else
#define PM_RUN(N)
#endif
#define PM_ELEMENTS(INDEX, suffix)                                                                                     \
    static void P(elements_##suffix)(const pm_sampled *w, i64 from, i64 to) {                                          \
        const i64 *p = w->p, n = p[PM_SUMMED], *places = (const i64 *)p[PM_VALUES];                                    \
        const INDEX *row = (const INDEX *)p[PM_LIST_A], *column = (const INDEX *)p[PM_LIST_B];                         \
        const i64 step_a = p[PM_SIDE_A + PM_STEP], step_b = p[PM_SIDE_B + PM_STEP];                                    \
        const i64 bytes = n * (i64)sizeof(T) < 512 ? n * (i64)sizeof(T) : 512;                                         \
        const T *a = (const T *)w->a, *b = (const T *)w->b, alpha = *(const T *)w->alpha, beta = *(const T *)w->beta;  \
        T *c = (T *)w->c;                                                                                              \
        (void)alpha;                                                                                                   \
        for (i64 e = from; e < to;) {                                                                                  \
            const T *x = a + row[e] * step_a;                                                                          \
            i64 end = e + 1;                                                                                           \
            while (end < to && row[end] == row[e]) end++;                                                              \
            PM_RUN(8)                                                                                                  \
            PM_RUN(4)                                                                                                  \
            for (; e < end; e++) {                                                                                     \
                PM_ASK                                                                                                 \
                PM_PUT(P(dot)(x, b + column[e] * step_b, n))                                                           \
            }                                                                                                          \
        }                                                                                                              \
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
        if (!words[PM_COPIED]) continue;
        work.side = words, work.from = side ? b : a, work.to = room;
        pm_share(P(copy), &work, words[PM_BATCHES] * tiles, p[PM_THREADS]);
        if (side) work.b = room;
        else work.a = room;
        words[PM_STEP] = p[PM_SUMMED];
        room += words[PM_BATCHES] * words[PM_LINES] * p[PM_SUMMED] * (i64)sizeof(T);
    }
    pm_share(P(part), &work, p[PM_PARTS], p[PM_THREADS]);
}
#undef PM_RUN
#undef PM_PUT
#undef PM_STORED
#undef PM_ASK
#undef PM_TERM_OF
#undef PM_FIRST_OF
#undef PM_EACH_8
#undef PM_EACH_4
#undef PM_ELEMENTS
#undef REAL
#undef T
#undef P
