/* Batches of small systems, one in each lane of a vector register: LU with exchanges of rows, and Cholesky. Included by
 * kernels_typed.h for each dtype; R is the type of a number's parts. An element is a vector of real numbers, or two. */

#define LANES ((pm_index)(PM_VECTOR / sizeof(R)))
typedef R K(vector) __attribute__((vector_size(PM_VECTOR)));
typedef __typeof__((K(vector)){0} < (K(vector)){0}) K(mask);
typedef struct {
    K(vector) part[PARTS];
} K(element);
#define V K(vector)
#define M K(mask)
#define E K(element)
#define INLINE static inline __attribute__((always_inline))
/* a where the mask says so, and b elsewhere. */
#if PM_VECTOR == 32 && R_BYTES == 8
#define CHOOSE(mask, a, b) ((V)__builtin_ia32_blendvpd256(b, a, (V)(mask)))
#elif PM_VECTOR == 32 && R_BYTES == 4
#define CHOOSE(mask, a, b) ((V)__builtin_ia32_blendvps256(b, a, (V)(mask)))
#else
#define CHOOSE(mask, a, b) ((V)(((M)(a) & (mask)) | ((M)(b) & ~(mask))))
#endif

/* Numbers that are one step apart, one in each lane. */
INLINE V K(gathered)(const R *p, pm_index step) {
#if PM_VECTOR / R_BYTES == 2
    return (V){p[0], p[step]};
#elif PM_VECTOR / R_BYTES == 4
    return (V){p[0], p[step], p[2 * step], p[3 * step]};
#elif PM_VECTOR / R_BYTES == 8
    return (V){p[0], p[step], p[2 * step], p[3 * step], p[4 * step], p[5 * step], p[6 * step], p[7 * step]};
#else
    return (V){p[0], p[step], p[2 * step], p[3 * step], p[4 * step], p[5 * step], p[6 * step], p[7 * step],
               p[8 * step], p[9 * step], p[10 * step], p[11 * step], p[12 * step], p[13 * step], p[14 * step],
               p[15 * step]};
#endif
}

#if PM_VECTOR == 64
/* As many numbers of each matrix, one behind the other, as there are lanes: brought to their lanes (Eklundh, 1972). With
 * fewer registers that is no faster than one number after the other. */
#define PM_LOW(e, h) ((e) & (h) ? LANES + (e) - (h) : (e))
#define PM_HIGH(e, h) ((e) & (h) ? LANES + (e) : (e) + (h))
#define PM_EIGHT(F, e, h) F(e, h), F(e + 1, h), F(e + 2, h), F(e + 3, h), F(e + 4, h), F(e + 5, h), F(e + 6, h), F(e + 7, h)
#if R_BYTES == 8
typedef int64_t K(places) __attribute__((vector_size(PM_VECTOR)));
#define PM_EACH(F, h) PM_EIGHT(F, 0, h)
#else
typedef int32_t K(places) __attribute__((vector_size(PM_VECTOR)));
#define PM_EACH(F, h) PM_EIGHT(F, 0, h), PM_EIGHT(F, 8, h)
#endif
#define PM_STAGE(h)                                                                                                    \
    for (int i = 0; i < (int)LANES; i++)                                                                               \
        if (!(i & (h))) {                                                                                              \
            V a = r[i], b = r[i + (h)];                                                                                \
            r[i] = __builtin_shuffle(a, b, (K(places)){PM_EACH(PM_LOW, h)});                                                   \
            r[i + (h)] = __builtin_shuffle(a, b, (K(places)){PM_EACH(PM_HIGH, h)});                                            \
        }
INLINE void K(transpose)(V *r) {
#if R_BYTES == 4
    PM_STAGE(8)
#endif
    PM_STAGE(4)
    PM_STAGE(2)
    PM_STAGE(1)
}
#undef PM_STAGE
#undef PM_EACH
#undef PM_EIGHT
#undef PM_HIGH
#undef PM_LOW
#endif

INLINE V K(absolute)(V x) {
    const V zero = -(V){0};
    return (V)((M)x & ~(M)zero);
}

/* One element of as many matrices as there are lanes. */
INLINE E K(load)(const R *p, pm_index step, pm_index conjugate) {
    E x;
    for (int q = 0; q < PARTS; q++) x.part[q] = K(gathered)(p + q, step * PARTS);
    if (PARTS == 2 && conjugate) x.part[PARTS - 1] = -x.part[PARTS - 1];
    return x;
}

/* By |re| + |im|, as in LAPACK. */
INLINE V K(magnitude)(E x) {
    return PARTS == 1 ? K(absolute)(x.part[0]) : K(absolute)(x.part[0]) + K(absolute)(x.part[PARTS - 1]);
}

INLINE V K(square)(E x) {
    return PARTS == 1 ? x.part[0] * x.part[0] : x.part[0] * x.part[0] + x.part[PARTS - 1] * x.part[PARTS - 1];
}

INLINE E K(conjugate)(E x) {
    if (PARTS == 2) x.part[PARTS - 1] = -x.part[PARTS - 1];
    return x;
}

INLINE E K(choose)(M mask, E a, E b) {
    for (int q = 0; q < PARTS; q++) a.part[q] = CHOOSE(mask, a.part[q], b.part[q]);
    return a;
}

/* x + a b */
INLINE E K(plus)(E x, E a, E b) {
    x.part[0] += a.part[0] * b.part[0];
    if (PARTS == 2) {
        x.part[0] -= a.part[PARTS - 1] * b.part[PARTS - 1];
        x.part[PARTS - 1] += a.part[0] * b.part[PARTS - 1] + a.part[PARTS - 1] * b.part[0];
    }
    return x;
}

/* x - a b */
INLINE E K(minus)(E x, E a, E b) {
    x.part[0] -= a.part[0] * b.part[0];
    if (PARTS == 2) {
        x.part[0] += a.part[PARTS - 1] * b.part[PARTS - 1];
        x.part[PARTS - 1] -= a.part[0] * b.part[PARTS - 1] + a.part[PARTS - 1] * b.part[0];
    }
    return x;
}

INLINE E K(times)(E a, E b) { return K(plus)((E){0}, a, b); }

/* x + a f for a real number. */
INLINE E K(plus_real)(E x, E a, R f) {
    for (int q = 0; q < PARTS; q++) x.part[q] += a.part[q] * f;
    return x;
}

INLINE E K(times_real)(E x, V f) {
    for (int q = 0; q < PARTS; q++) x.part[q] *= f;
    return x;
}

/* No square is out of range. */
INLINE E K(reciprocal)(E x) {
    if (PARTS == 1) {
        x.part[0] = 1 / x.part[0];
        return x;
    }
    V re = K(absolute)(x.part[0]), im = K(absolute)(x.part[PARTS - 1]), scale = CHOOSE(re > im, re, im);
    V c = x.part[0] / scale, e = x.part[PARTS - 1] / scale, size = (c * c + e * e) * scale;
    x.part[0] = c / size, x.part[PARTS - 1] = -e / size;
    return x;
}

/* LU of the matrices in f, n rows of n elements each, which is overwritten; on the diagonal are the reciprocals of U's.
 * `order` has for each row and lane which row of the matrix it is, and `status` the number of the first zero pivot. */
INLINE void K(factor_lanes)(pm_index n, E *f, int32_t *order, int32_t *status) {
    for (pm_index l = 0; l < LANES; l++) {
        status[l] = 0;
        for (pm_index i = 0; i < n; i++) order[i * LANES + l] = (int32_t)i;
    }
    for (pm_index k = 0; k < n; k++) {
        E before[PM_MOST_UNKNOWNS], row[PM_MOST_UNKNOWNS]; /* in registers, if there are enough */
        V best = K(magnitude)(f[k * n + k]), at = {0};
        union { V vector; R lane[PM_VECTOR / sizeof(R)]; } where;
        for (pm_index i = k + 1; i < n; i++) {
            V size = K(magnitude)(f[i * n + k]);
            M larger = size > best;
            best = CHOOSE(larger, size, best);
            at = CHOOSE(larger, (V){0} + (R)(i - k), at);
        }
        for (pm_index j = 0; j < n; j++) before[j] = row[j] = f[k * n + j];
        for (pm_index i = k + 1; i < n; i++) {
            M here = at == (V){0} + (R)(i - k);
            for (pm_index j = 0; j < n; j++) row[j] = K(choose)(here, f[i * n + j], row[j]);
        }
        where.vector = at;
        for (pm_index l = 0; l < LANES; l++) {
            pm_index other = k + (pm_index)where.lane[l];
            int32_t t = order[k * LANES + l];
            order[k * LANES + l] = order[other * LANES + l], order[other * LANES + l] = t;
        }
        where.vector = best;
        for (pm_index l = 0; l < LANES; l++)
            if (where.lane[l] == 0 && status[l] == 0) status[l] = (int32_t)k + 1;
        E reciprocal = K(reciprocal)(row[k]);
        for (pm_index i = k + 1; i < n; i++) { /* the rows are exchanged on the way */
            M here = at == (V){0} + (R)(i - k);
            E *with = f + i * n, factor = K(times)(K(choose)(here, before[k], with[k]), reciprocal);
            for (pm_index j = 0; j < n; j++) {
                E x = K(choose)(here, before[j], with[j]);
                with[j] = j < k ? x : j == k ? factor : K(minus)(x, factor, row[j]);
            }
        }
        for (pm_index j = 0; j < n; j++) f[k * n + j] = row[j];
        f[k * n + k] = reciprocal;
    }
}

/* The lower triangular factors of positive definite matrices likewise. */
INLINE void K(root_lanes)(pm_index n, E *f, int32_t *order, int32_t *status) {
    for (pm_index l = 0; l < LANES; l++) {
        status[l] = 0;
        for (pm_index i = 0; i < n; i++) order[i * LANES + l] = (int32_t)i;
    }
    for (pm_index k = 0; k < n; k++) {
        E *row = f + k * n;
        V pivot = row[k].part[0];
        union { V vector; R lane[PM_VECTOR / sizeof(R)]; } value;
        for (pm_index j = 0; j < k; j++) pivot -= K(square)(row[j]);
        value.vector = pivot;
        for (pm_index l = 0; l < LANES; l++) {
            if (!(value.lane[l] > 0) && status[l] == 0) status[l] = (int32_t)k + 1;
            value.lane[l] = sizeof(R) == 4 ? (R)(1 / sqrtf((float)value.lane[l])) : (R)(1 / sqrt(value.lane[l]));
        }
        row[k] = (E){{value.vector}};
        for (pm_index i = k + 1; i < n; i++) {
            E *with = f + i * n, sum = with[k];
            for (pm_index j = 0; j < k; j++) sum = K(minus)(sum, with[j], K(conjugate)(row[j]));
            with[k] = K(times_real)(sum, value.vector);
        }
    }
}

/* Solves for k columns, n rows of k elements each, with LU. */
INLINE void K(solve_lanes)(pm_index n, pm_index k, const E *f, E *x, int transposed) {
    if (transposed) {
        for (pm_index i = 0; i < n; i++) {
            for (pm_index j = 0; j < i; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] = K(minus)(x[i * k + c], f[j * n + i], x[j * k + c]);
            for (pm_index c = 0; c < k; c++) x[i * k + c] = K(times)(x[i * k + c], f[i * n + i]);
        }
        for (pm_index i = n - 1; i >= 0; i--)
            for (pm_index j = i + 1; j < n; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] = K(minus)(x[i * k + c], f[j * n + i], x[j * k + c]);
    } else {
        for (pm_index i = 1; i < n; i++)
            for (pm_index j = 0; j < i; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] = K(minus)(x[i * k + c], f[i * n + j], x[j * k + c]);
        for (pm_index i = n - 1; i >= 0; i--) {
            for (pm_index j = i + 1; j < n; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] = K(minus)(x[i * k + c], f[i * n + j], x[j * k + c]);
            for (pm_index c = 0; c < k; c++) x[i * k + c] = K(times)(x[i * k + c], f[i * n + i]);
        }
    }
}

/* The same with Cholesky's factors. */
INLINE void K(solve_root_lanes)(pm_index n, pm_index k, const E *f, E *x) {
    for (pm_index i = 0; i < n; i++) {
        for (pm_index j = 0; j < i; j++)
            for (pm_index c = 0; c < k; c++) x[i * k + c] = K(minus)(x[i * k + c], f[i * n + j], x[j * k + c]);
        for (pm_index c = 0; c < k; c++) x[i * k + c] = K(times_real)(x[i * k + c], f[i * n + i].part[0]);
    }
    for (pm_index i = n - 1; i >= 0; i--) {
        for (pm_index j = i + 1; j < n; j++)
            for (pm_index c = 0; c < k; c++)
                x[i * k + c] = K(minus)(x[i * k + c], K(conjugate)(f[j * n + i]), x[j * k + c]);
        for (pm_index c = 0; c < k; c++) x[i * k + c] = K(times_real)(x[i * k + c], f[i * n + i].part[0]);
    }
}

#if PARTS == 1
#define PM_SIZES(n, call)                                                                                              \
    switch (n) { /* loops of known lengths are unrolled */                                                             \
    case 2: call(2); break;                                                                                            \
    case 3: call(3); break;                                                                                            \
    case 4: call(4); break;                                                                                            \
    case 6: call(6); break;                                                                                            \
    case 8: call(8); break;                                                                                            \
    default: call(n);                                                                                                  \
    }
#else
#define PM_SIZES(n, call)                                                                                              \
    switch (n) {                                                                                                       \
    case 4: call(4); break;                                                                                            \
    case 8: call(8); break;                                                                                            \
    default: call(n);                                                                                                  \
    }
#endif

/* Brings the matrices of a block to its lanes where each is dense, by rows or by columns; whether they were. */
INLINE int K(take_dense)(pm_index n, const pm_lanes *d, const R *a, E *f) {
#if PM_VECTOR == 64
    const int by_rows = d->a_row == n && d->a_col == 1;
    if (!by_rows && !(d->a_row == 1 && d->a_col == n)) return 0;
    V *to = (V *)f;
    pm_index t = 0;
    for (; t + LANES <= n * n * PARTS; t += LANES) {
        V r[PM_VECTOR / sizeof(R)];
        for (pm_index l = 0; l < LANES; l++) memcpy(r + l, a + l * d->a_step * PARTS + t, sizeof(V));
        K(transpose)(r);
        for (pm_index e = 0; e < LANES; e++) {
            pm_index at = (t + e) / PARTS, q = (t + e) % PARTS;
            to[(by_rows ? at : at % n * n + at / n) * PARTS + q] = r[e];
        }
    }
    for (; t < n * n * PARTS; t++) {
        pm_index at = t / PARTS, q = t % PARTS;
        to[(by_rows ? at : at % n * n + at / n) * PARTS + q] = K(gathered)(a + t, d->a_step * PARTS);
    }
    return 1;
#else
    return 0;
#endif
}

/* Brings the matrices of a block to its lanes, of definite ones the lower triangle, and measures them: w is the
 * transposed matrix times the probe, u the matrix times it. */
INLINE void K(take_lanes)(pm_index n, const pm_lanes *d, const R *a, E *f, E *w, E *u, V *squares) {
    const R *v = (const R *)d->probe;
    E sums[PM_MOST_UNKNOWNS];
    V size = {0}, diagonal = {0};
    const int there = K(take_dense)(n, d, a, f);
    for (pm_index j = 0; j < n; j++) sums[j] = (E){0};
    for (pm_index i = 0; i < n; i++) {
        E sum = {0};
        for (pm_index j = 0; j < n; j++) {
            if (d->definite && j > i) break;
            E x = there ? f[i * n + j] : K(load)(a + (i * d->a_row + j * d->a_col) * PARTS, d->a_step, 0);
            if (d->definite && d->conjugate) x = K(conjugate)(x);
            if (PARTS == 2 && d->definite && j == i) x.part[PARTS - 1] = (V){0}; /* which is not read */
            f[i * n + j] = x;
            if (d->definite && j == i) {
                diagonal += K(square)(x), sums[j] = K(plus_real)(sums[j], x, v[i]); /* once, and not in both products */
            } else
                sums[j] = K(plus_real)(sums[j], x, v[i]), sum = K(plus_real)(sum, x, v[j]), size += K(square)(x);
        }
        u[i] = sum;
    }
    for (pm_index j = 0; j < n; j++)
        for (int q = 0; q < PARTS; q++) /* of Hermitian ones the other triangle is conjugated */
            w[j].part[q] = d->definite ? sums[j].part[q] + (q ? -u[j].part[q] : u[j].part[q]) : sums[j].part[q];
    *squares = d->definite ? size + size + diagonal : size;
}

/* Asks for what the next block reads or writes, unless it is too much to wait in the nearest cache: the processor itself
 * stops at the end of each page. */
INLINE void K(ask_for)(const void *p, pm_index size, int writes) {
    for (pm_index at = 0; size <= PM_MOST_AHEAD && at < size; at += 64)
        if (writes) __builtin_prefetch((const char *)p + at, 1);
        else __builtin_prefetch((const char *)p + at, 0);
}

/* Factorizes the blocks from `first` to `last` of a batch: the systems of a block are in the lanes of one vector. */
static void K(factor_blocks)(const pm_lanes *d, pm_index first, pm_index last) {
    const pm_index n = d->n;
    for (pm_index block = first; block < last; block++) {
        E *f = (E *)d->f + block * n * n, *w = (E *)d->w + block * n, *u = (E *)d->u + block * n;
        V *squares = (V *)d->norms + block;
        int32_t *order = d->order + block * n * LANES, *status = d->status + block * LANES;
        const R *a = (const R *)d->a + block * LANES * d->a_step * PARTS;
        pm_lanes padded = *d;
        if (d->count - block * LANES < LANES) { /* lanes of nobody's get the last matrix as well */
            R *copy = (R *)d->scratch;
            for (pm_index l = 0; l < LANES; l++) {
                pm_index s = block * LANES + l < d->count ? l : d->count - 1 - block * LANES;
                for (pm_index i = 0; i < n; i++)
                    for (pm_index j = 0; j < n; j++)
                        if (j <= i || !d->definite)
                            memcpy(copy + ((l * n + i) * n + j) * PARTS,
                                   a + (s * d->a_step + i * d->a_row + j * d->a_col) * PARTS, sizeof(R) * PARTS);
            }
            a = copy, padded.a_step = n * n, padded.a_row = n, padded.a_col = 1;
        }
        if (block + 1 < last) {
            if (d->a_step == n * n) K(ask_for)(a + LANES * n * n * PARTS, (pm_index)sizeof(E) * n * n, 0);
            K(ask_for)(f + n * n, (pm_index)sizeof(E) * n * n, 1);
        }
#define PM_TAKE_LANES(n) K(take_lanes)(n, &padded, a, f, w, u, squares)
        PM_SIZES(n, PM_TAKE_LANES)
        if (d->definite) {
#define PM_ROOT(n) K(root_lanes)(n, f, order, status)
            PM_SIZES(n, PM_ROOT)
        } else {
#define PM_FACTOR(n) K(factor_lanes)(n, f, order, status)
            PM_SIZES(n, PM_FACTOR)
        }
        for (pm_index l = 0; l < LANES; l++) d->squares[block * LANES + l] = (*squares)[l];
    }
}

/* Brings the right-hand sides of a block to its lanes, projects them, solves, and projects the solutions; whether one has
 * to be looked at. The projections of a block follow each other: the parts of that of b, its square, and those of x. */
INLINE int K(solve_block)(pm_index n, pm_index k, const pm_lanes *d, pm_index block, const R *b, E *x, E *y) {
    const E *f = (const E *)d->f + block * n * n, *w = (const E *)(d->transposed ? d->u : d->w) + block * n;
    const V norm = ((const V *)d->norms)[block];
    const int32_t *order = d->order + block * n * LANES;
    const R *v = (const R *)d->probe;
    V *out = (V *)d->out + block * 2 * (PARTS + 1) * k, *out_x = out + (PARTS + 1) * k;
    const R tolerance = (R)(d->limits->tolerance * d->limits->tolerance), most = (R)(d->limits->growth * d->limits->growth);
    const R product = (R)(d->limits->product * d->limits->product), tiny = (R)PM_TINY[sizeof(R) == 4];
    M fine = (V){0} == (V){0};
    for (pm_index i = 0; i < n; i++)
        for (pm_index c = 0; c < k; c++)
            x[i * k + c] = K(load)(b + (i * d->b_row + c * d->b_col) * PARTS, d->b_step, d->conjugate);
    for (pm_index c = 0; c < k; c++) {
        E sum = {0};
        V size = {0};
        for (pm_index i = 0; i < n; i++) sum = K(plus_real)(sum, x[i * k + c], v[i]), size += K(square)(x[i * k + c]);
        for (int q = 0; q < PARTS; q++) out[q * k + c] = sum.part[q];
        out[PARTS * k + c] = size;
    }
    if (d->definite)
        K(solve_root_lanes)(n, k, f, x);
    else {
        if (d->transposed) K(solve_lanes)(n, k, f, x, 1);
        for (pm_index i = 0; i < n; i++)
            for (pm_index c = 0; c < k; c++)
                for (pm_index q = 0; q < PARTS; q++)
                    for (pm_index l = 0; l < LANES; l++) {
                        pm_index from = d->transposed ? i : order[i * LANES + l], to = d->transposed ? order[i * LANES + l] : i;
                        ((R *)(y + to * k + c))[q * LANES + l] = ((const R *)(x + from * k + c))[q * LANES + l];
                    }
        E *t = x;
        x = y, y = t;
        if (!d->transposed) K(solve_lanes)(n, k, f, x, 0);
    }
    for (pm_index c = 0; c < k; c++) {
        E sum = {0};
        V size = {0}, r = {0};
        for (pm_index i = 0; i < n; i++) sum = K(plus)(sum, x[i * k + c], w[i]), size += K(square)(x[i * k + c]);
        for (int q = 0; q < PARTS; q++) {
            V difference = out[q * k + c] - sum.part[q];
            r += difference * difference, out_x[q * k + c] = sum.part[q];
        }
        out_x[PARTS * k + c] = size;
        V side = out[PARTS * k + c], grown = norm * size;
        fine &= (r <= tolerance * (grown + side)) & (r <= product * side) & (grown <= most * side) & (side > tiny) &
                (side < (R)INFINITY);
    }
    pm_index there = d->count - block * LANES < LANES ? d->count - block * LANES : LANES;
    R *to = (R *)d->x + block * LANES * d->x_step * PARTS;
    const R signs[2] = {1, d->conjugate ? -1 : 1};
    for (pm_index l = 0; l < there; l++, to += d->x_step * PARTS)
        for (pm_index i = 0; i < n; i++)
            for (pm_index c = 0; c < k; c++)
                for (pm_index q = 0; q < PARTS; q++) {
                    R value = ((const R *)(x + i * k + c))[q * LANES + l];
                    to[(i * d->x_row + c * d->x_col) * PARTS + q] = q ? signs[q] * value : value;
                }
    int doubtful = 0;
    for (pm_index l = 0; l < there; l++) doubtful |= fine[l] == 0;
    return doubtful;
}

/* Solves in the blocks from `first` to `last`; whether a solution has to be looked at. */
static int K(solve_blocks)(const pm_lanes *d, pm_index first, pm_index last, E *x) {
    const pm_index n = d->n, k = d->k;
    E *y = x + n * k;
    int doubtful = 0;
    for (pm_index block = first; block < last; block++) {
        const R *b = (const R *)d->b + block * LANES * d->b_step * PARTS;
        pm_lanes padded = *d;
        if (d->count - block * LANES < LANES) {
            R *copy = (R *)(y + n * k);
            for (pm_index l = 0; l < LANES; l++) {
                pm_index s = block * LANES + l < d->count ? l : d->count - 1 - block * LANES;
                for (pm_index i = 0; i < n; i++)
                    for (pm_index c = 0; c < k; c++)
                        memcpy(copy + ((l * n + i) * k + c) * PARTS,
                               b + (s * d->b_step + i * d->b_row + c * d->b_col) * PARTS, sizeof(R) * PARTS);
            }
            b = copy, padded.b_step = n * k, padded.b_row = k, padded.b_col = 1;
        }
        if (block + 1 < last) {
            K(ask_for)((const E *)d->f + (block + 1) * n * n, (pm_index)sizeof(E) * n * n, 0);
            if (d->b_step == n * k) K(ask_for)(b + LANES * n * k * PARTS, (pm_index)sizeof(E) * n * k, 0);
            if (d->x_step == n * k)
                K(ask_for)((const R *)d->x + (block + 1) * LANES * n * k * PARTS, (pm_index)sizeof(E) * n * k, 1);
        }
        if (k == 1) {
#define PM_SOLVE_ONE(n) doubtful |= K(solve_block)(n, 1, &padded, block, b, x, y)
            PM_SIZES(n, PM_SOLVE_ONE)
        } else
            doubtful |= K(solve_block)(n, k, &padded, block, b, x, y);
    }
    return doubtful;
}

/* One part of a batch, by one of the threads. */
static void K(lanes_part)(void *work, int64_t part, int64_t member) {
    pm_lanes *d = (pm_lanes *)work;
    const pm_index blocks = (d->count + LANES - 1) / LANES;
    const pm_index first = blocks * part / d->parts, last = blocks * (part + 1) / d->parts;
    if (!d->b)
        K(factor_blocks)(d, first, last);
    else if (K(solve_blocks)(d, first, last, (E *)((char *)d->scratch + member * d->scratch_size)))
        d->doubtful[member] = 1;
}

#undef PM_SIZES
#undef PM_ROOT
#undef PM_FACTOR
#undef PM_TAKE_LANES
#undef PM_SOLVE_ONE
#undef LANES
#undef V
#undef M
#undef E
#undef INLINE
#undef CHOOSE
