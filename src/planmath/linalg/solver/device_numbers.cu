/* What all kernels of device_kernels.py begin with, for one dtype: numbers, sums over threads, and places of operands.
 *
 * Matrices of one group have one size. Those that are factorized, and the right-hand sides that libraries solve for,
 * lie column by column in memory of the plan's own, one behind the other; `per_matrix` solutions of k columns belong to
 * each matrix.
 *
 * Defined outside: REAL (float or double), NUMBER (REAL, float2 or double2), IS_COMPLEX, THREADS of a block, LANES that
 * share a column (THREADS, or a power of two up to 32), EPSILON, SINGLE (the number in single precision). */
#define WARP 32
#define EVERY 0xffffffffu
#define TILE 32 /* columns of a matrix that a block takes */
#define READS 8 /* that a thread has on their way at once */
#define INFINITE __longlong_as_double(0x7ff0000000000000)
#define SMALLEST __longlong_as_double(1)

/* What is known of a matrix: its other triangle is a mirror image, or a conjugated one; ones stand on the diagonal; the
 * mirror image is to be written; all of it is to be conjugated, or transposed. */
enum { SYMMETRIC = 1, HERMITIAN = 2, MIRRORED = 3, UNIT = 4, EXPAND = 8, CONJUGATE = 16, TRANSPOSE = 32 };

/* Where the arrays of one operand are: some bytes behind the first one's, or where a table says. */
struct place {
    pointer<char> base;
    pointer<const long long> offsets;
    pointer<const pointer<char>> table;
    long long row, col;
};
__device__ inline NUMBER *at(const place &p, long long i) {
    if (p.table) return (NUMBER *)(char *)p.table[i];
    return (NUMBER *)((char *)p.base + p.offsets[i]);
}

#if IS_COMPLEX
typedef double2 sum;
__device__ inline NUMBER number(double x) { return {(REAL)x, 0}; }
__device__ inline NUMBER narrow(sum z) { return {(REAL)z.x, (REAL)z.y}; }
__device__ inline sum wide(NUMBER z) { return {z.x, z.y}; }
__device__ inline double re(NUMBER z) { return z.x; }
__device__ inline NUMBER conjugate(NUMBER z) { return {z.x, -z.y}; }
__device__ inline NUMBER real_part(NUMBER z) { return {z.x, 0}; }
__device__ inline sum plus(sum a, sum b) { return {a.x + b.x, a.y + b.y}; }
__device__ inline sum scaled(sum z, double x) { return {z.x * x, z.y * x}; }
__device__ inline sum plus_product(sum s, sum a, sum b) {
    return {fma(-a.y, b.y, fma(a.x, b.x, s.x)), fma(a.y, b.x, fma(a.x, b.y, s.y))};
}
__device__ inline double square(sum z) { return z.x * z.x + z.y * z.y; }
__device__ inline double modulus(NUMBER z) { return hypot((double)z.x, (double)z.y); }
__device__ inline bool is_zero(NUMBER z) { return z.x == 0 && z.y == 0; }
__device__ inline bool same(NUMBER a, NUMBER b) { return a.x == b.x && a.y == b.y; }
/* Smith's division: no square is out of range. */
__device__ inline NUMBER quotient(NUMBER z, NUMBER d) {
    if (fabs((double)d.x) >= fabs((double)d.y)) {
        const REAL r = d.y / d.x, s = d.x + d.y * r;
        return {(z.x + z.y * r) / s, (z.y - z.x * r) / s};
    }
    const REAL r = d.x / d.y, s = d.x * r + d.y;
    return {(z.x * r + z.y) / s, (z.y * r - z.x) / s};
}
#else
typedef double sum;
__device__ inline NUMBER number(double x) { return (NUMBER)x; }
__device__ inline NUMBER narrow(sum x) { return (NUMBER)x; }
__device__ inline sum wide(NUMBER x) { return x; }
__device__ inline double re(NUMBER x) { return x; }
__device__ inline NUMBER conjugate(NUMBER x) { return x; }
__device__ inline NUMBER real_part(NUMBER x) { return x; }
__device__ inline sum plus(sum a, sum b) { return a + b; }
__device__ inline sum scaled(sum a, double x) { return a * x; }
__device__ inline sum plus_product(sum s, sum a, sum b) { return fma(a, b, s); }
__device__ inline double square(sum x) { return x * x; }
__device__ inline double modulus(NUMBER x) { return fabs((double)x); }
__device__ inline bool is_zero(NUMBER x) { return x == 0; }
__device__ inline bool same(NUMBER a, NUMBER b) { return a == b; }
__device__ inline NUMBER quotient(NUMBER x, NUMBER d) { return x / d; }
#endif

/* A sum over neighbouring threads, which all of them get. */
__device__ inline double summed(double x, int lanes) {
    for (int apart = lanes / 2; apart; apart /= 2) x += __shfl_xor_sync(EVERY, x, apart);
    return x;
}
__device__ inline double summed_by_block(double x) {
    __shared__ double of_warps[THREADS / WARP];
    x = summed(x, WARP);
    __syncthreads(); /* nobody reads the sums before these any longer */
    if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = x;
    __syncthreads();
    x = 0;
    for (int warp = 0; warp < THREADS / WARP; warp++) x += of_warps[warp];
    return x;
}
#if IS_COMPLEX
__device__ inline sum summed(sum z, int lanes) { return {summed(z.x, lanes), summed(z.y, lanes)}; }
__device__ inline sum summed_by_block(sum z) { return {summed_by_block(z.x), summed_by_block(z.y)}; }
#endif
/* The largest; NaN counts as infinite. */
__device__ inline double largest_of_block(double x) {
    __shared__ double of_warps[THREADS / WARP];
    if (x != x) x = INFINITE;
    for (int apart = WARP / 2; apart; apart /= 2) {
        const double other = __shfl_xor_sync(EVERY, x, apart);
        x = other > x ? other : x;
    }
    __syncthreads();
    if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = x;
    __syncthreads();
    x = 0;
    for (int warp = 0; warp < THREADS / WARP; warp++) x = of_warps[warp] > x ? of_warps[warp] : x;
    return x;
}
/* Over the threads that share a column. */
template <class T> __device__ inline T summed_by_lanes(T x) {
#if LANES == THREADS
    return summed_by_block(x);
#else
    return summed(x, LANES);
#endif
}
