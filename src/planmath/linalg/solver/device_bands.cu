/* Matrices in a band, a block for each: what LAPACK's gbtrf would be given, but of all matrices next to each other. */
extern "C" __global__ void take_band(const taking p) {
    const long long m = blockIdx.x, n = p.rows, width = p.below + p.above;
    const long long low = p.flags & MIRRORED ? width : p.below, high = p.flags & MIRRORED ? width : p.above;
    const NUMBER *a = at(p.a, m), *v = p.v;
    double squares = 0;
    for (long long t = threadIdx.x; t < n; t += THREADS) {
        sum w = wide(number(0)), u = w;
        NUMBER *column = p.factors + t * (2 * low + high + 1) * p.count + m;
        for (long long k = -high - low; k <= low; k++) {
            const long long i = t + k;
            const NUMBER x = k < -high || i < 0 || i >= n ? number(0) : whole(p, a, i, t);
            if (k >= -high && i >= 0 && i < n) w = plus(w, scaled(wide(x), re(v[i])));
            squares += square(wide(x));
            column[(low + high + k) * p.count] = x;
        }
        for (long long j = t > low ? t - low : 0; j <= t + high && j < n; j++)
            u = plus(u, scaled(wide(whole(p, a, t, j)), re(v[j])));
        p.w[m * n + t] = narrow(w), p.u[m * n + t] = narrow(u);
    }
    squares = summed_by_block(squares);
    if (threadIdx.x == 0) p.squares[m] = squares;
}

/* LU of matrices in a band, a thread for each, as LAPACK's gbtrf makes it, or of positive definite ones without exchanges;
 * and solutions with that, a thread for each right-hand side. Element (i, j) of matrix m is `low + high + i - j` rows down in
 * column j. */
struct in_band {
    pointer<NUMBER> factors, y;
    pointer<int> pivots, status;
    long long n, low, high, count, columns_of_matrix, transposed, definite;
};
__device__ inline NUMBER &element(const in_band &p, NUMBER *factors, long long m, long long i, long long j) {
    return factors[(j * (2 * p.low + p.high + 1) + p.low + p.high + i - j) * p.count + m];
}
__device__ inline void exchange(NUMBER *y, int n, int i, int other) {
    if (other < 0 || other >= n) return; /* of a matrix with NaN */
    const NUMBER before = y[i];
    y[i] = y[other], y[other] = before;
}
extern "C" __global__ void factorize_band(const in_band p) {
    const long long m = (long long)blockIdx.x * THREADS + threadIdx.x, n = p.n;
    if (m >= p.count) return;
    NUMBER *f = p.factors;
    int *pivots = p.pivots, status = 0;
    long long last = 0; /* the last column that an exchange has reached */
    for (long long j = 0; j < n; j++) {
        const long long end = j + p.low < n ? j + p.low : n - 1;
        long long best = j;
        double most = p.definite ? 0 : modulus(element(p, f, m, j, j));
        for (long long i = j + 1; i <= end && !p.definite; i++) {
            const double here = modulus(element(p, f, m, i, j));
            if (here > most) most = here, best = i;
        }
        pivots[j * p.count + m] = (int)best + 1;
        const long long reach = best + p.high < n ? best + p.high : n - 1;
        if (reach > last) last = reach;
        const NUMBER pivot = element(p, f, m, best, j);
        if (p.definite ? !(re(pivot) > 0) : is_zero(pivot)) {
            if (!status) status = (int)j + 1;
            if (p.definite) break;
            continue;
        }
        for (long long c = j; c <= last && best != j; c++) {
            NUMBER &x = element(p, f, m, j, c), &y = element(p, f, m, best, c);
            const NUMBER before = x;
            x = y, y = before;
        }
        for (long long i = j + 1; i <= end; i++) {
            const NUMBER l = quotient(element(p, f, m, i, j), pivot);
            element(p, f, m, i, j) = l;
            for (long long c = j + 1; c <= last; c++)
                element(p, f, m, i, c) = less(element(p, f, m, i, c), l, element(p, f, m, j, c));
        }
    }
    p.status[m] = status;
}
extern "C" __global__ void solve_band(const in_band p) {
    const long long column = (long long)blockIdx.x * THREADS + threadIdx.x, m = column / p.columns_of_matrix, n = p.n;
    if (m >= p.count) return;
    NUMBER *f = p.factors, *y = p.y + column * n;
    const int *pivots = p.pivots;
    const long long width = p.low + p.high;
    if (p.transposed) {
        for (long long j = 0; j < n; j++) {
            NUMBER x = y[j];
            for (long long i = j > width ? j - width : 0; i < j; i++) x = less(x, element(p, f, m, i, j), y[i]);
            y[j] = quotient(x, element(p, f, m, j, j));
        }
        for (long long j = n - 1; j >= 0; j--) {
            NUMBER x = y[j];
            for (long long i = j + 1; i <= j + p.low && i < n; i++) x = less(x, element(p, f, m, i, j), y[i]);
            y[j] = x;
            exchange(y, (int)n, (int)j, pivots[j * p.count + m] - 1);
        }
        return;
    }
    for (long long j = 0; j < n; j++) {
        exchange(y, (int)n, (int)j, pivots[j * p.count + m] - 1);
        for (long long i = j + 1; i <= j + p.low && i < n; i++) y[i] = less(y[i], element(p, f, m, i, j), y[j]);
    }
    for (long long j = n - 1; j >= 0; j--) {
        const NUMBER x = y[j] = quotient(y[j], element(p, f, m, j, j));
        for (long long i = j > width ? j - width : 0; i < j; i++) y[i] = less(y[i], element(p, f, m, i, j), x);
    }
}
