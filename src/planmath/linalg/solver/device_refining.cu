/* What refines solutions, of which x, b and the residual lie column by column: `rows` and `cols` are those of the matrix
 * as it counts, `b_rows` are b's where it is measured. */
struct refining {
    place a;
    pointer<const NUMBER> x, b;
    pointer<NUMBER> r;
    pointer<const int> status;
    place to;
    long long rows, cols, b_rows, below, above, flags, columns, columns_of_matrix, noisy, k;
    double *found; /* memory of the host */
};
__device__ inline NUMBER element(const refining &p, const NUMBER *a, long long i, long long j) {
    if (p.flags & TRANSPOSE) {
        const long long other = i;
        i = j, j = other;
    }
    NUMBER x = number(0);
    if (i - j <= p.below && j - i <= p.above) {
        if (i == j && p.flags & UNIT) x = number(1);
        else x = a[i * p.a.row + j * p.a.col];
        if (i == j && p.flags & HERMITIAN) x = real_part(x);
    } else if (p.flags & MIRRORED && j - i <= p.below && i - j <= p.above) {
        x = a[j * p.a.row + i * p.a.col];
        if (p.flags & HERMITIAN) x = conjugate(x);
    }
    return p.flags & CONJUGATE ? conjugate(x) : x;
}
/* LANES threads for each row of r = b - A x, or -A x without b; or, if noisy, of what the errors of r are made of, with
 * random signs: |r| + eps (|A| |x| + |b|). */
extern "C" __global__ void residual(const refining p) {
    const int lane = threadIdx.x % LANES;
    const long long e = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const long long column = e / p.rows, i = e % p.rows;
    const bool here = column < p.columns;
    sum r = wide(number(0));
    double sizes = 0;
    if (here) {
        const NUMBER *a = at(p.a, column / p.columns_of_matrix), *x = p.x + column * p.cols;
        const long long reach = p.below > p.above ? p.below : p.above; /* beyond which nothing but zeros is */
        const long long first = i > reach ? i - reach : 0, end = i + reach < p.cols ? i + reach + 1 : p.cols;
        for (long long j = first + lane; j < end; j += LANES) {
            const NUMBER of = element(p, a, i, j);
            if (p.noisy) sizes += modulus(of) * modulus(x[j]);
            else r = plus_product(r, wide(of), wide(x[j]));
        }
    }
    r = summed_by_lanes(r);
    sizes = summed_by_lanes(sizes);
    if (!here || lane) return;
    if (!p.noisy) {
        p.r[e] = narrow(plus(wide(p.b ? p.b[e] : number(0)), scaled(r, -1)));
        return;
    }
    const double noise = modulus(p.r[e]) + EPSILON * (sizes + modulus(p.b[e]));
    const unsigned bits = (unsigned)e * 2654435761u;
    p.r[e] = number((bits >> 17) & 1 ? noise : -noise);
}
/* The 2-norms of each column of r, x and b. */
__device__ inline double norm(const NUMBER *x, long long n) {
    double most = 0, squares = 0;
    for (long long i = threadIdx.x; i < n; i += THREADS) {
        const double here = modulus(x[i]);
        if (!(here <= most)) most = here;
    }
    most = largest_of_block(most);
    if (most == 0 || !(most < INFINITE)) return most;
    for (long long i = threadIdx.x; i < n; i += THREADS) {
        const double here = modulus(x[i]) / most;
        squares += here * here;
    }
    return most * sqrt(summed_by_block(squares));
}
extern "C" __global__ void norms(const refining p) {
    const long long column = blockIdx.x;
    const double r = norm(p.r + column * p.rows, p.rows), x = norm(p.x + column * p.cols, p.cols);
    const double b = norm(p.b + column * p.b_rows, p.b_rows);
    if (threadIdx.x == 0) p.found[3 * blockIdx.x] = r, p.found[3 * blockIdx.x + 1] = x, p.found[3 * blockIdx.x + 2] = b;
}
/* The largest |r| / |x| of each column, where x is not small beside the largest. */
extern "C" __global__ void relative(const refining p) {
    const NUMBER *x = p.x + (long long)blockIdx.x * p.cols, *r = p.r + (long long)blockIdx.x * p.cols;
    double most = 0, worst = 0;
    for (long long i = threadIdx.x; i < p.cols; i += THREADS) {
        const double here = modulus(x[i]);
        if (!(here <= most)) most = here;
    }
    most = largest_of_block(most);
    for (long long i = threadIdx.x; i < p.cols; i += THREADS) {
        const double own = modulus(x[i]), least = EPSILON * most;
        const double here = modulus(r[i]) / (own > least ? own : least);
        if (!(here <= worst)) worst = here;
    }
    worst = largest_of_block(worst);
    if (threadIdx.x == 0) p.found[blockIdx.x] = worst;
}
/* r = x + r */
extern "C" __global__ void add(const refining p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (e < p.columns * p.cols) p.r[e] = narrow(plus(wide(p.x[e]), wide(p.r[e])));
}
/* The solutions of singular systems are NaN. */
extern "C" __global__ void spoil(const refining p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x, column = e / p.cols, i = e % p.cols;
    if (column >= p.columns || p.status[column / p.columns_of_matrix] == 0) return;
    at(p.to, column / p.k)[i * p.to.row + column % p.k * p.to.col] = number(INFINITE - INFINITE);
}

/* What all matrices are: how many diagonals below the main one and above it are not zero; and, as one where it fails,
 * whether they are symmetric, Hermitian, and have a positive diagonal. */
struct detecting {
    place a;
    pointer<int> facts; /* zeros before */
    long long n, count;
};
__device__ inline void lift(int *fact, long long to) {
    if (to > *fact) atomicMax(fact, (int)to); /* others may have raised it further, which does no harm */
}
extern "C" __global__ void detect(const detecting p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x, each = p.n * p.n;
    const long long m = e / each, i = e % each % p.n, j = e % each / p.n;
    if (m >= p.count || i > j) return;
    const NUMBER *a = at(p.a, m);
    const NUMBER upper = a[i * p.a.row + j * p.a.col], lower = a[j * p.a.row + i * p.a.col];
    if (i == j) {
        if (!same(upper, conjugate(upper))) lift(p.facts + 3, 1);
        if (!(re(upper) > 0)) lift(p.facts + 4, 1);
        return;
    }
    if (!is_zero(lower)) lift(p.facts, j - i);
    if (!is_zero(upper)) lift(p.facts + 1, j - i);
    if (!same(upper, lower)) lift(p.facts + 2, 1);
    if (!same(upper, conjugate(lower))) lift(p.facts + 3, 1);
}
