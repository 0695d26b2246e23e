/* The kernels of device_kernels.py, for one dtype: copies of matrices that measure them, copies of right-hand sides and
 * solutions that project them, and what refines a solution.
 *
 * Matrices of one group have one size, n. Those that are factorized, and the right-hand sides that libraries solve for,
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

/* Matrices that are copied and measured, with at least as many rows as columns: w is the transpose times the probe v, u the matrix times v, and the squares'
 * sum is finite only where all elements are. Larger ones are measured tile by tile, and `gather` adds that up. */
struct taking {
    place a;
    pointer<NUMBER> factors, w, u;
    pointer<double> squares;
    pointer<int> status;
    pointer<const NUMBER> v;
    pointer<sum> w_parts, u_parts;
    pointer<double> square_parts;
    long long count, rows, cols, below, above, flags, row_tiles, col_tiles;
};
__device__ inline bool is_read(const taking &p, long long i, long long j) {
    return i < p.rows && j < p.cols && i - j <= p.below && j - i <= p.above;
}
__device__ inline NUMBER taken(const taking &p, const NUMBER *a, long long i, long long j) {
    if (!is_read(p, i, j)) return number(0);
    if (i != j) return a[i * p.a.row + j * p.a.col];
    if (p.flags & UNIT) return number(1);
    const NUMBER x = a[i * (p.a.row + p.a.col)];
    return p.flags & HERMITIAN ? real_part(x) : x;
}
__device__ inline void put(const taking &p, NUMBER *factors, long long i, long long j, NUMBER x) {
    if (i >= p.rows || j >= p.cols || (p.flags & EXPAND && !is_read(p, i, j))) return;
    factors[i + j * p.rows] = x; /* zeros in the other triangle, which libraries may use as temporary memory */
    if (p.flags & EXPAND && i != j) factors[j + i * p.rows] = p.flags & HERMITIAN ? conjugate(x) : x;
}
__device__ inline void finish(const taking &p, long long m, long long i, sum w, sum u) {
    if (p.flags & MIRRORED) {
        const NUMBER own = narrow(u), both = narrow(plus(w, wide(p.flags & HERMITIAN ? conjugate(own) : own)));
        p.w[m * p.cols + i] = both;
        p.u[m * p.rows + i] = p.flags & HERMITIAN ? conjugate(both) : both;
    } else {
        if (i < p.cols) p.w[m * p.cols + i] = narrow(w);
        p.u[m * p.rows + i] = narrow(u);
    }
}
/* LANES threads for each matrix of at most so many rows. */
extern "C" __global__ void take_small(const taking p) {
    const int lane = threadIdx.x % LANES;
    const long long m = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const bool here = m < p.count && lane < p.rows;
    const NUMBER *a = here ? at(p.a, m) : 0, *v = p.v;
    NUMBER *factors = here ? p.factors + m * p.rows * p.cols : 0;
    const double mine = here ? re(v[lane]) : 0;
    sum w = wide(number(0)), u = w;
    double squares = 0;
    for (int j = 0; j < (int)p.cols; j++) {
        const NUMBER x = here ? taken(p, a, lane, j) : number(0);
        const bool mirrored = p.flags & MIRRORED, apart = lane != j;
        if (here) put(p, factors, lane, j, x);
        u = plus(u, scaled(wide(x), re(v[j])));
        squares += (mirrored && apart ? 2 : 1) * square(wide(x));
        const sum column = summed(scaled(wide(x), mirrored && !apart ? 0 : mine), LANES);
        if (lane == j) w = column;
    }
    squares = summed(squares, LANES);
    if (!here) return;
    finish(p, m, lane, w, u);
    if (lane == 0) p.squares[m] = squares;
}
/* A block for THREADS rows and TILE columns. */
extern "C" __global__ __launch_bounds__(THREADS) void take_tiles(const taking p) {
    __shared__ sum of_warps[THREADS / WARP][TILE];
    const long long tiles = p.row_tiles * p.col_tiles, m = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    const long long row_tile = tile % p.row_tiles, col_tile = tile / p.row_tiles;
    const long long i = row_tile * THREADS + threadIdx.x, first = col_tile * TILE;
    const NUMBER *a = at(p.a, m), *v = p.v;
    NUMBER *factors = p.factors + m * p.rows * p.cols;
    const double mine = i < p.rows ? re(v[i]) : 0;
    const bool mirrored = p.flags & MIRRORED;
    sum u = wide(number(0));
    double squares = 0;
    for (int begin = 0; begin < TILE; begin += READS) {
        NUMBER read[READS];
#pragma unroll
        for (int k = 0; k < READS; k++) read[k] = taken(p, a, i, first + begin + k);
#pragma unroll
        for (int k = 0; k < READS; k++) {
            const long long j = first + begin + k;
            const NUMBER x = read[k];
            put(p, factors, i, j, x);
            u = plus(u, scaled(wide(x), j < p.cols ? re(v[j]) : 0));
            squares += (mirrored && i != j ? 2 : 1) * square(wide(x));
            const sum column = summed(scaled(wide(x), mirrored && i == j ? 0 : mine), WARP);
            if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP][begin + k] = column;
        }
    }
    squares = summed_by_block(squares);
    if (threadIdx.x == 0) p.square_parts[m * tiles + tile] = squares;
    if (i < p.rows) p.u_parts[(m * p.col_tiles + col_tile) * p.rows + i] = u;
    if (threadIdx.x < TILE && first + threadIdx.x < p.cols) {
        sum w = wide(number(0));
        for (int warp = 0; warp < THREADS / WARP; warp++) w = plus(w, of_warps[warp][threadIdx.x]);
        p.w_parts[(m * p.row_tiles + row_tile) * p.cols + first + threadIdx.x] = w;
    }
}
extern "C" __global__ void gather(const taking p) {
    const long long blocks = (p.rows + THREADS - 1) / THREADS, m = blockIdx.x / blocks, part = blockIdx.x % blocks;
    const long long i = part * THREADS + threadIdx.x;
    if (i < p.rows) {
        sum w = wide(number(0)), u = w;
        const sum *w_parts = p.w_parts + m * p.row_tiles * p.cols + i;
        const sum *u_parts = p.u_parts + m * p.col_tiles * p.rows + i;
        for (long long t = 0; i < p.cols && t < p.row_tiles; t++) w = plus(w, w_parts[t * p.cols]);
#pragma unroll 8
        for (long long t = 0; t < p.col_tiles; t++) u = plus(u, u_parts[t * p.rows]);
        finish(p, m, i, w, u);
    }
    if (part) return;
    const long long tiles = p.row_tiles * p.col_tiles;
    double squares = 0;
    for (long long t = threadIdx.x; t < tiles; t += THREADS) squares += p.square_parts[m * tiles + t];
    squares = summed_by_block(squares);
    if (threadIdx.x == 0) p.squares[m] = squares;
}

/* Diagonal matrices, a block for each: factors are their diagonals. */
extern "C" __global__ void take_diagonal(const taking p) {
    const long long m = blockIdx.x;
    const NUMBER *a = at(p.a, m);
    double squares = 0;
    for (long long i = threadIdx.x; i < p.cols; i += THREADS) {
        const NUMBER x = a[i * (p.a.row + p.a.col)];
        p.factors[m * p.cols + i] = x;
        p.w[m * p.cols + i] = p.u[m * p.cols + i] = narrow(scaled(wide(x), re(p.v[i])));
        squares += square(wide(x));
    }
    squares = summed_by_block(squares);
    if (threadIdx.x == 0) p.squares[m] = squares;
}
/* The status is the number of the first zero on the diagonal, from 1, or 0: of diagonals, and of whole matrices. */
__device__ inline void find_zeros(const taking &p, long long each, long long step) {
    const long long m = blockIdx.x;
    double last = 0; /* the more, the earlier it comes */
    for (long long i = threadIdx.x; i < p.cols; i += THREADS)
        if (is_zero(p.factors[m * each + i * step]) && (double)(p.cols - i) > last) last = (double)(p.cols - i);
    last = largest_of_block(last);
    if (threadIdx.x == 0) p.status[m] = last > 0 ? (int)(p.cols - (long long)last) + 1 : 0;
}
extern "C" __global__ void zeros_of_diagonals(const taking p) { find_zeros(p, p.cols, 1); }
extern "C" __global__ void zeros_of_triangles(const taking p) { find_zeros(p, p.rows * p.cols, p.rows + 1); }

/* Factors go where the matrices were. */
extern "C" __global__ void give_back(const taking p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x, each = p.rows * p.cols;
    const long long m = e / each, i = e % each % p.rows, j = e % each / p.rows;
    if (m < p.count && is_read(p, i, j)) at(p.a, m)[i * p.a.row + j * p.a.col] = p.factors[e];
}

/* Tells the host of factorizations that are not ordinary. */
struct weighing {
    pointer<const int> status;
    pointer<const double> squares;
    long long count;
    double tiny;
    long long *found; /* memory of the host */
    long long stamp;
};
extern "C" __global__ void weigh(const weighing p) {
    const long long m = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (m < p.count && (p.status[m] != 0 || !(p.squares[m] > p.tiny && p.squares[m] < INFINITE))) *p.found = p.stamp;
}

/* Right-hand sides or solutions that are copied and projected. Each has six rows of k numbers: real parts, imaginary
 * parts and squares of b, and of x. */
enum { FIRST = 1, AFTER = 2, JUDGES = 4, PROJECTS = 8 }; /* conjugated before the projection, or after it */
struct moving {
    place from, to;
    pointer<const NUMBER> weights;
    pointer<const double> squares;
    pointer<double> projections;
    pointer<const int> chosen; /* of each solution whether it is moved, or null */
    long long weights_step, part, n, k, per_matrix, columns, flags;
    double tolerance, product, growth, tiny;
    long long *found; /* memory of the host */
    long long stamp;
};
extern "C" __global__ void move(const moving p) {
    const int lane = threadIdx.x % LANES;
    const long long column = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const bool here = column < p.columns;
    const long long s = here ? column / p.k : 0, j = here ? column % p.k : 0, m = s / p.per_matrix;
    const bool moves = here && (!p.chosen || p.chosen[s]);
    sum product = wide(number(0));
    double squares = 0, others = 0; /* how many are no zeros */
    if (moves) {
        const NUMBER *from = at(p.from, s) + j * p.from.col, *weights = p.weights + m * p.weights_step;
        NUMBER *to = at(p.to, s) + j * p.to.col;
        for (long long i = lane; i < p.n; i += LANES) {
            NUMBER x = from[i * p.from.row];
            if (p.flags & FIRST) x = conjugate(x);
            if (p.flags & PROJECTS) {
                product = plus_product(product, wide(weights[i]), wide(x));
                squares += square(wide(x));
                others += !is_zero(x);
            }
            to[i * p.to.row] = p.flags & AFTER ? conjugate(x) : x;
        }
    }
    if (!(p.flags & PROJECTS)) return;
    product = summed_by_lanes(product);
    squares = summed_by_lanes(squares);
    others = summed_by_lanes(others);
    if (!here || lane) return;
    if (squares == 0 && others > 0) squares = SMALLEST; /* of numbers whose squares are out of range */
    double *of = p.projections + s * 6 * p.k + j, *out = of + p.part * 3 * p.k;
#if IS_COMPLEX
    out[0] = product.x, out[p.k] = product.y, out[2 * p.k] = squares;
#else
    out[0] = product, out[p.k] = 0, out[2 * p.k] = squares;
#endif
    if (!(p.flags & JUDGES)) return;
    const double dx = of[0] - out[0], dy = of[p.k] - out[p.k], size = of[2 * p.k];
    const double products = sqrt(p.squares[m]) * sqrt(squares), side = sqrt(size), growth = products / side;
    const double error = sqrt(dx * dx + dy * dy) / (products + side);
    const bool nothing = size == 0 && squares == 0; /* zeros, for zeros */
    if (!nothing && !(size > p.tiny && size < INFINITE && error <= p.tolerance && growth <= p.growth &&
                      error * (growth + 1) <= p.product))
        *p.found = p.stamp;
}

/* Solutions by diagonals. */
struct dividing {
    pointer<const NUMBER> diagonals;
    pointer<NUMBER> x;
    long long n, columns_of_matrix, count;
};
extern "C" __global__ void divide(const dividing p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (e >= p.count) return;
    p.x[e] = quotient(p.x[e], p.diagonals[e / p.n / p.columns_of_matrix * p.n + e % p.n]);
}

/* Solutions by LU factors, with the exchanges of rows: a thread for each right-hand side, for matrices of few rows. */
struct substituting {
    pointer<const NUMBER> factors;
    pointer<const int> pivots;
    pointer<NUMBER> y;
    long long n, columns_of_matrix, count, transposed;
};
__device__ inline NUMBER less(NUMBER y, NUMBER f, NUMBER x) {
    return narrow(plus_product(wide(y), scaled(wide(f), -1), wide(x)));
}
__device__ inline void exchange(NUMBER *y, int n, int i, int other) {
    if (other < 0 || other >= n) return; /* of a matrix with NaN */
    const NUMBER before = y[i];
    y[i] = y[other], y[other] = before;
}
extern "C" __global__ void substitute(const substituting p) {
    const long long column = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (column >= p.count) return;
    const long long m = column / p.columns_of_matrix;
    const int n = (int)p.n, *pivots = p.pivots + m * p.n;
    const NUMBER *f = p.factors + m * p.n * p.n;
    NUMBER *y = p.y + column * p.n;
    if (p.transposed) {
        for (int j = 0; j < n; j++) {
            NUMBER x = y[j];
            for (int i = 0; i < j; i++) x = less(x, f[i + j * n], y[i]);
            y[j] = quotient(x, f[j + j * n]);
        }
        for (int j = n - 1; j >= 0; j--) {
            NUMBER x = y[j];
            for (int i = j + 1; i < n; i++) x = less(x, f[i + j * n], y[i]);
            y[j] = x;
        }
        for (int i = n - 1; i >= 0; i--) exchange(y, n, i, pivots[i] - 1);
        return;
    }
    for (int i = 0; i < n; i++) exchange(y, n, i, pivots[i] - 1);
    for (int j = 0; j < n; j++)
        for (int i = j + 1; i < n; i++) y[i] = less(y[i], f[i + j * n], y[j]);
    for (int j = n - 1; j >= 0; j--) {
        y[j] = quotient(y[j], f[j + j * n]);
        for (int i = 0; i < j; i++) y[i] = less(y[i], f[i + j * n], y[j]);
    }
}

/* Pivots as one function writes them, for one that reads others. */
struct widening {
    pointer<const int> from;
    pointer<long long> to;
    long long count;
};
extern "C" __global__ void widen(const widening p) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i < p.count) p.to[i] = p.from[i];
}

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
        if (p.noisy)
            for (long long j = lane; j < p.cols; j += LANES) sizes += modulus(element(p, a, i, j)) * modulus(x[j]);
        else
            for (long long j = lane; j < p.cols; j += LANES) r = plus_product(r, wide(element(p, a, i, j)), wide(x[j]));
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

/* What matrices are not, as one for each fact that fails: lower or upper triangular, symmetric, Hermitian, with a
 * positive diagonal. */
extern "C" __global__ void detect(const refining p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x, each = p.rows * p.cols;
    const long long m = e / each, i = e % each % p.rows, j = e % each / p.rows;
    if (m >= p.columns || i > j) return;
    const NUMBER *a = at(p.a, m);
    const NUMBER upper = a[i * p.a.row + j * p.a.col], lower = a[j * p.a.row + i * p.a.col];
    if (i == j) {
        if (!same(upper, conjugate(upper))) p.found[3] = 1;
        if (!(re(upper) > 0)) p.found[4] = 1;
        return;
    }
    if (!is_zero(upper)) p.found[0] = 1;
    if (!is_zero(lower)) p.found[1] = 1;
    if (!same(upper, lower)) p.found[2] = 1;
    if (!same(upper, conjugate(lower))) p.found[3] = 1;
}

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
