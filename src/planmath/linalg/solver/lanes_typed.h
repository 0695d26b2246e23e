/* Batches of small systems, one in each lane of a vector register: LU with exchanges of rows, and Cholesky. Included by
 * kernels_body.h for each real dtype; R is the type of a number. */

#define LANES ((pm_index)(PM_VECTOR / sizeof(R)))
typedef R K(vector) __attribute__((vector_size(PM_VECTOR)));
typedef __typeof__((K(vector)){0} < (K(vector)){0}) K(mask);
#define V K(vector)
#define M K(mask)
#define CHOOSE(mask, a, b) ((V)(((M)(a) & (mask)) | ((M)(b) & ~(mask))))

/* Numbers that are one step apart, one in each lane. */
static inline V K(gathered)(const R *p, pm_index step) {
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

static inline V K(absolute)(V x) {
    const V zero = -(V){0};
    return (V)((M)x & ~(M)zero);
}

/* LU of the matrices in f, n rows of n vectors each, which is overwritten; on the diagonal are the reciprocals of U's.
 * `order` has for each row and lane which row of the matrix it is, and `status` the number of the first zero pivot. */
static inline __attribute__((always_inline)) void K(factor_lanes)(pm_index n, V *f, int32_t *order, int32_t *status) {
    for (pm_index l = 0; l < LANES; l++) {
        status[l] = 0;
        for (pm_index i = 0; i < n; i++) order[i * LANES + l] = (int32_t)i;
    }
    for (pm_index k = 0; k < n; k++) {
        V row[PM_MOST_UNKNOWNS], pivot = f[k * n + k], best = K(absolute)(pivot), at = {0};
        union { V vector; R lane[PM_VECTOR / sizeof(R)]; } where;
        for (pm_index i = k + 1; i < n; i++) {
            V value = f[i * n + k], size = K(absolute)(value);
            M larger = size > best;
            best = CHOOSE(larger, size, best), pivot = CHOOSE(larger, value, pivot);
            at = CHOOSE(larger, (V){0} + (R)(i - k), at);
        }
        where.vector = at;
        for (pm_index j = 0; j < n; j++) row[j] = f[k * n + j]; /* in registers, if there are enough */
        for (pm_index l = 0; l < LANES; l++) {
            pm_index other = k + (pm_index)where.lane[l];
            int32_t t = order[k * LANES + l];
            order[k * LANES + l] = order[other * LANES + l], order[other * LANES + l] = t;
        }
        for (pm_index i = k + 1; i < n; i++) {
            M here = at == (V){0} + (R)(i - k);
            V *with = f + i * n;
            for (pm_index j = 0; j < n; j++) {
                M d = ((M)row[j] ^ (M)with[j]) & here;
                row[j] = (V)((M)row[j] ^ d), with[j] = (V)((M)with[j] ^ d);
            }
        }
        where.vector = best;
        for (pm_index l = 0; l < LANES; l++)
            if (where.lane[l] == 0 && status[l] == 0) status[l] = (int32_t)k + 1;
        V reciprocal = 1 / pivot;
        for (pm_index i = k + 1; i < n; i++) {
            V *with = f + i * n, factor = with[k] * reciprocal;
            with[k] = factor;
            for (pm_index j = 0; j < n; j++)
                if (j > k) with[j] -= factor * row[j];
        }
        for (pm_index j = 0; j < n; j++) f[k * n + j] = row[j];
        f[k * n + k] = reciprocal;
    }
}

/* The lower triangular factors of positive definite matrices likewise. */
static inline __attribute__((always_inline)) void K(root_lanes)(pm_index n, V *f, int32_t *order, int32_t *status) {
    for (pm_index l = 0; l < LANES; l++) {
        status[l] = 0;
        for (pm_index i = 0; i < n; i++) order[i * LANES + l] = (int32_t)i;
    }
    for (pm_index k = 0; k < n; k++) {
        V *row = f + k * n, pivot = row[k];
        union { V vector; R lane[PM_VECTOR / sizeof(R)]; } value;
        for (pm_index j = 0; j < k; j++) pivot -= row[j] * row[j];
        value.vector = pivot;
        for (pm_index l = 0; l < LANES; l++) {
            if (!(value.lane[l] > 0) && status[l] == 0) status[l] = (int32_t)k + 1;
            value.lane[l] = sizeof(R) == 4 ? (R)(1 / sqrtf((float)value.lane[l])) : (R)(1 / sqrt(value.lane[l]));
        }
        row[k] = value.vector;
        for (pm_index i = k + 1; i < n; i++) {
            V *with = f + i * n, sum = with[k];
            for (pm_index j = 0; j < k; j++) sum -= with[j] * row[j];
            with[k] = sum * row[k];
        }
    }
}

/* Solves for k columns, n rows of k vectors each, with LU. */
static inline __attribute__((always_inline)) void K(solve_lanes)(pm_index n, pm_index k, const V *f, V *x, int transposed) {
    if (transposed) {
        for (pm_index i = 0; i < n; i++) {
            for (pm_index j = 0; j < i; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] -= f[j * n + i] * x[j * k + c];
            for (pm_index c = 0; c < k; c++) x[i * k + c] *= f[i * n + i];
        }
        for (pm_index i = n - 1; i >= 0; i--)
            for (pm_index j = i + 1; j < n; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] -= f[j * n + i] * x[j * k + c];
    } else {
        for (pm_index i = 1; i < n; i++)
            for (pm_index j = 0; j < i; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] -= f[i * n + j] * x[j * k + c];
        for (pm_index i = n - 1; i >= 0; i--) {
            for (pm_index j = i + 1; j < n; j++)
                for (pm_index c = 0; c < k; c++) x[i * k + c] -= f[i * n + j] * x[j * k + c];
            for (pm_index c = 0; c < k; c++) x[i * k + c] *= f[i * n + i];
        }
    }
}

/* The same with Cholesky's factors. */
static inline __attribute__((always_inline)) void K(solve_root_lanes)(pm_index n, pm_index k, const V *f, V *x) {
    for (pm_index i = 0; i < n; i++) {
        for (pm_index j = 0; j < i; j++)
            for (pm_index c = 0; c < k; c++) x[i * k + c] -= f[i * n + j] * x[j * k + c];
        for (pm_index c = 0; c < k; c++) x[i * k + c] *= f[i * n + i];
    }
    for (pm_index i = n - 1; i >= 0; i--) {
        for (pm_index j = i + 1; j < n; j++)
            for (pm_index c = 0; c < k; c++) x[i * k + c] -= f[j * n + i] * x[j * k + c];
        for (pm_index c = 0; c < k; c++) x[i * k + c] *= f[i * n + i];
    }
}

#define PM_SIZES(n, call)                                                                                              \
    switch (n) { /* loops of known lengths are unrolled */                                                             \
    case 2: call(2); break;                                                                                            \
    case 3: call(3); break;                                                                                            \
    case 4: call(4); break;                                                                                            \
    case 6: call(6); break;                                                                                            \
    case 8: call(8); break;                                                                                            \
    default: call(n);                                                                                                  \
    }

/* Brings the matrices of a block to its lanes, of definite ones the lower triangle, and measures them. */
static inline __attribute__((always_inline)) void K(take_lanes)(pm_index n, const pm_lanes *d, const R *a, V *f, V *w,
                                                                V *u, V *squares) {
    const R *v = (const R *)d->probe;
    V sums[PM_MOST_UNKNOWNS], size = {0}, diagonal = {0};
    for (pm_index j = 0; j < n; j++) sums[j] = (V){0};
    for (pm_index i = 0; i < n; i++) {
        V sum = {0};
        for (pm_index j = 0; j < n; j++) {
            if (d->definite && j > i) break;
            V x = K(gathered)(a + i * d->a_row + j * d->a_col, d->a_step);
            f[i * n + j] = x;
            if (d->definite && j == i) {
                diagonal += x * x, sums[j] += x * v[i]; /* once, and not in both products */
            } else
                sums[j] += x * v[i], sum += x * v[j], size += x * x;
        }
        u[i] = sum;
    }
    for (pm_index j = 0; j < n; j++) w[j] = d->definite ? sums[j] + u[j] : sums[j];
    *squares = d->definite ? size + size + diagonal : size;
}

/* Factorizes the blocks from `first` to `last` of a batch: the systems of a block are in the lanes of one vector. */
static void K(factor_blocks)(const pm_lanes *d, pm_index first, pm_index last) {
    const pm_index n = d->n;
    for (pm_index block = first; block < last; block++) {
        V *f = (V *)d->f + block * n * n, *w = (V *)d->w + block * n, *u = (V *)d->u + block * n;
        V *squares = (V *)d->norms + block;
        int32_t *order = d->order + block * n * LANES, *status = d->status + block * LANES;
        const R *a = (const R *)d->a + block * LANES * d->a_step;
        pm_lanes padded = *d;
        if (d->count - block * LANES < LANES) { /* lanes of nobody's get the last matrix as well */
            R *copy = (R *)d->scratch;
            for (pm_index l = 0; l < LANES; l++) {
                pm_index s = block * LANES + l < d->count ? l : d->count - 1 - block * LANES;
                for (pm_index i = 0; i < n; i++)
                    for (pm_index j = 0; j < n; j++)
                        if (j <= i || !d->definite)
                            copy[(l * n + i) * n + j] = a[s * d->a_step + i * d->a_row + j * d->a_col];
            }
            a = copy, padded.a_step = n * n, padded.a_row = n, padded.a_col = 1;
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
 * to be looked at. The projections of a block follow each other: of b and its square, of x and its square. */
static inline __attribute__((always_inline)) int K(solve_block)(pm_index n, pm_index k, const pm_lanes *d,
                                                                pm_index block, const R *b, V *x, V *y) {
    const V *f = (const V *)d->f + block * n * n, *w = (const V *)(d->transposed ? d->u : d->w) + block * n;
    const V norm = ((const V *)d->norms)[block];
    const int32_t *order = d->order + block * n * LANES;
    const R *v = (const R *)d->probe;
    V *out = (V *)d->out + block * 4 * k;
    const R tolerance = (R)(d->limits->tolerance * d->limits->tolerance), most = (R)(d->limits->growth * d->limits->growth);
    const R product = (R)(d->limits->product * d->limits->product), tiny = (R)PM_TINY[sizeof(R) == 4];
    M fine = (V){0} == (V){0};
    for (pm_index i = 0; i < n; i++)
        for (pm_index c = 0; c < k; c++) x[i * k + c] = K(gathered)(b + i * d->b_row + c * d->b_col, d->b_step);
    for (pm_index c = 0; c < k; c++) {
        V sum = {0}, size = {0};
        for (pm_index i = 0; i < n; i++) sum += x[i * k + c] * v[i], size += x[i * k + c] * x[i * k + c];
        out[c] = sum, out[k + c] = size;
    }
    if (d->definite)
        K(solve_root_lanes)(n, k, f, x);
    else if (!d->transposed) {
        for (pm_index i = 0; i < n; i++)
            for (pm_index c = 0; c < k; c++)
                for (pm_index l = 0; l < LANES; l++)
                    ((R *)(y + i * k + c))[l] = ((const R *)(x + order[i * LANES + l] * k + c))[l];
        V *t = x;
        x = y, y = t;
        K(solve_lanes)(n, k, f, x, 0);
    } else {
        K(solve_lanes)(n, k, f, x, 1);
        for (pm_index i = 0; i < n; i++)
            for (pm_index c = 0; c < k; c++)
                for (pm_index l = 0; l < LANES; l++)
                    ((R *)(y + order[i * LANES + l] * k + c))[l] = ((const R *)(x + i * k + c))[l];
        V *t = x;
        x = y, y = t;
    }
    for (pm_index c = 0; c < k; c++) {
        V sum = {0}, size = {0};
        for (pm_index i = 0; i < n; i++) sum += x[i * k + c] * w[i], size += x[i * k + c] * x[i * k + c];
        out[2 * k + c] = sum, out[3 * k + c] = size;
        V r = (out[c] - sum) * (out[c] - sum), side = out[k + c], grown = norm * size;
        fine &= (r <= tolerance * (grown + side)) & (r <= product * side) & (grown <= most * side) & (side > tiny) &
                (side < (R)INFINITY);
    }
    pm_index there = d->count - block * LANES < LANES ? d->count - block * LANES : LANES;
    R *to = (R *)d->x + block * LANES * d->x_step;
    for (pm_index l = 0; l < there; l++, to += d->x_step)
        for (pm_index i = 0; i < n; i++)
            for (pm_index c = 0; c < k; c++) to[i * d->x_row + c * d->x_col] = ((const R *)x)[(i * k + c) * LANES + l];
    int doubtful = 0;
    for (pm_index l = 0; l < there; l++) doubtful |= fine[l] == 0;
    return doubtful;
}

/* Solves in the blocks from `first` to `last`; whether a solution has to be looked at. */
static int K(solve_blocks)(const pm_lanes *d, pm_index first, pm_index last, V *x) {
    const pm_index n = d->n, k = d->k;
    V *y = x + n * k;
    int doubtful = 0;
    for (pm_index block = first; block < last; block++) {
        const R *b = (const R *)d->b + block * LANES * d->b_step;
        pm_lanes padded = *d;
        if (d->count - block * LANES < LANES) {
            R *copy = (R *)(y + n * k);
            for (pm_index l = 0; l < LANES; l++) {
                pm_index s = block * LANES + l < d->count ? l : d->count - 1 - block * LANES;
                for (pm_index i = 0; i < n; i++)
                    for (pm_index c = 0; c < k; c++)
                        copy[(l * n + i) * k + c] = b[s * d->b_step + i * d->b_row + c * d->b_col];
            }
            b = copy, padded.b_step = n * k, padded.b_row = k, padded.b_col = 1;
        }
        if (k == 1) {
#define PM_SOLVE_ONE(n) doubtful |= K(solve_block)(n, 1, &padded, block, b, x, y)
            PM_SIZES(n, PM_SOLVE_ONE)
        } else
            doubtful |= K(solve_block)(n, k, &padded, block, b, x, y);
    }
    return doubtful;
}

/* One thread's share of the blocks. */
static void K(lanes_share)(const pm_lanes *d, pm_index member, pm_index members) {
    pm_index blocks = (d->count + LANES - 1) / LANES, first = blocks * member / members;
    pm_index last = blocks * (member + 1) / members;
    if (!d->b) {
        K(factor_blocks)(d, first, last);
        return;
    }
    V *x = (V *)((char *)d->scratch + member * d->scratch_size);
    if (K(solve_blocks)(d, first, last, x)) ((pm_lanes *)d)->doubtful[member] = 1;
}

#undef PM_SIZES
#undef PM_ROOT
#undef PM_FACTOR
#undef PM_TAKE_LANES
#undef PM_SOLVE_ONE
#undef LANES
#undef V
#undef M
#undef CHOOSE
