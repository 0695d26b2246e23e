/* Factors in single precision, and solutions that are refined with them: matrices times the power of two that brings
 * their norm to about 1, and residuals times that which brings their largest element there, column by column. */
struct narrowing {
    pointer<const NUMBER> from, b;
    pointer<SINGLE> to;
    pointer<NUMBER> x, r;
    pointer<const double> squares;
    pointer<double> scales;
    long long n, k, columns, columns_of_matrix, count;
    const long long *takes_part; /* memory of the host: which solutions are refined */
};
__device__ inline SINGLE single(sum z) {
#if IS_COMPLEX
    return {(float)z.x, (float)z.y};
#else
    return (float)z;
#endif
}
__device__ inline sum wide_of_single(SINGLE z) {
#if IS_COMPLEX
    return {(double)z.x, (double)z.y};
#else
    return (double)z;
#endif
}
__device__ inline int exponent_of(double x) {
    int exponent = 0;
    if (x > 0 && x < INFINITE) frexp(x, &exponent);
    return exponent < -1000 ? -1000 : exponent; /* the reciprocal has to be a number, too */
}
extern "C" __global__ void demote(const narrowing p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (e >= p.count) return;
    p.to[e] = single(scaled(wide(p.from[e]), ldexp(1.0, -exponent_of(sqrt(p.squares[e / (p.n * p.n)])))));
}
/* A block for each column of what is left to solve for; zeros for solutions that are done. */
extern "C" __global__ void demote_sides(const narrowing p) {
    const long long start = (long long)blockIdx.x * p.n;
    if (!p.takes_part[blockIdx.x / p.k]) {
        for (long long i = threadIdx.x; i < p.n; i += THREADS) p.to[start + i] = single(wide(number(0)));
        return;
    }
    double most = 0;
    for (long long i = threadIdx.x; i < p.n; i += THREADS) {
        const double here = modulus(p.from[start + i]);
        if (!(here <= most)) most = here;
    }
    const int exponent = exponent_of(largest_of_block(most));
    const double down = ldexp(1.0, -exponent);
    for (long long i = threadIdx.x; i < p.n; i += THREADS) p.to[start + i] = single(scaled(wide(p.from[start + i]), down));
    if (threadIdx.x == 0)
        p.scales[blockIdx.x] = ldexp(1.0, exponent - exponent_of(sqrt(p.squares[blockIdx.x / p.columns_of_matrix])));
}
/* x = x + scale y, and b is put where the residual is to be. */
extern "C" __global__ void correct(const narrowing p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (e >= p.count) return;
    const SINGLE y = p.to[e];
    p.x[e] = narrow(plus(wide(p.x[e]), scaled(wide_of_single(y), p.scales[e / p.n])));
    p.r[e] = p.b[e];
}
