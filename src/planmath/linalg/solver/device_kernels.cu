/* Matrices that are copied and measured, with at least as many rows as columns: w is the transpose times the probe v, u
 * the matrix times v, and the squares' sum is finite only where all elements are. Larger ones are measured tile by tile,
 * and `gather` adds that up. */
struct taking {
    place a;
    pointer<NUMBER> factors, w, u;
    pointer<double> squares;
    pointer<int> status;
    pointer<const NUMBER> v;
    pointer<sum> w_parts, u_parts;
    pointer<double> square_parts;
    long long count, rows, cols, below, above, flags, row_tiles, col_tiles;
    double tolerance;
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
/* Elements of the other triangle as well, where that is a mirror image. */
__device__ inline NUMBER whole(const taking &p, const NUMBER *a, long long i, long long j) {
    if (!(p.flags & MIRRORED) || is_read(p, i, j)) return taken(p, a, i, j);
    const NUMBER x = taken(p, a, j, i);
    return p.flags & HERMITIAN ? conjugate(x) : x;
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
/* Or that of the first column of an upper triangle that is a combination of those before it but for rounding: its element
 * on the diagonal is not more than `tolerance` times its largest one. */
extern "C" __global__ void dependent_columns(const taking p) {
    const long long m = blockIdx.x;
    const NUMBER *f = p.factors + m * p.rows * p.cols;
    double last = 0;
    for (long long j = threadIdx.x; j < p.cols; j += THREADS) {
        double most = 0;
        for (long long i = 0; i <= j; i++) {
            const double here = modulus(f[i + j * p.rows]);
            if (here > most) most = here;
        }
        if (modulus(f[j + j * p.rows]) <= p.tolerance * most && (double)(p.cols - j) > last) last = (double)(p.cols - j);
    }
    last = largest_of_block(last);
    if (threadIdx.x == 0) p.status[m] = last > 0 ? (int)(p.cols - (long long)last) + 1 : 0;
}
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
__device__ inline void weigh_one(const weighing &p, int status, double squares) {
    if (status != 0 || !(squares > p.tiny && squares < INFINITE)) *p.found = p.stamp;
}
extern "C" __global__ void weigh(const weighing p) {
    const long long m = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (m < p.count) weigh_one(p, p.status[m], p.squares[m]);
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
/* A number's square, which is not zero where it is out of range. */
__device__ inline double seen(NUMBER x) {
    const double squares = square(wide(x));
    return squares == 0 && !is_zero(x) ? SMALLEST : squares;
}
__device__ inline void note(const moving &p, long long s, long long j, long long part, sum product, double squares) {
    double *out = p.projections + (s * 6 + part * 3) * p.k + j;
#if IS_COMPLEX
    out[0] = product.x, out[p.k] = product.y;
#else
    out[0] = product, out[p.k] = 0;
#endif
    out[2 * p.k] = squares;
}
/* Tells the host of a solution that is not ordinary, by how far its projection is from b's, and both squares. */
__device__ inline void judge(const moving &p, long long m, double apart, double size, double squares) {
    const double products = sqrt(p.squares[m]) * sqrt(squares), side = sqrt(size), growth = products / side;
    const double error = apart / (products + side);
    const bool nothing = size == 0 && squares == 0; /* zeros, for zeros */
    if (!nothing && !(size > p.tiny && size < INFINITE && error <= p.tolerance && growth <= p.growth &&
                      error * (growth + 1) <= p.product))
        *p.found = p.stamp;
}
extern "C" __global__ void move(const moving p) {
    const int lane = threadIdx.x % LANES;
    const long long column = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const bool here = column < p.columns;
    const long long s = here ? column / p.k : 0, j = here ? column % p.k : 0, m = s / p.per_matrix;
    const bool moves = here && (!p.chosen || p.chosen[s]);
    sum product = wide(number(0));
    double squares = 0;
    if (moves) {
        const NUMBER *from = at(p.from, s) + j * p.from.col, *weights = p.weights + m * p.weights_step;
        NUMBER *to = at(p.to, s) + j * p.to.col;
        for (long long i = lane; i < p.n; i += LANES) {
            NUMBER x = from[i * p.from.row];
            if (p.flags & FIRST) x = conjugate(x);
            if (p.flags & PROJECTS) {
                product = plus_product(product, wide(weights[i]), wide(x));
                squares += seen(x);
            }
            to[i * p.to.row] = p.flags & AFTER ? conjugate(x) : x;
        }
    }
    if (!(p.flags & PROJECTS)) return;
    product = summed_by_lanes(product);
    squares = summed_by_lanes(squares);
    if (!here || lane) return;
    note(p, s, j, p.part, product, squares);
    if (!(p.flags & JUDGES)) return;
    const double *of = p.projections + s * 6 * p.k + j, *own = of + p.part * 3 * p.k;
    const double dx = of[0] - own[0], dy = of[p.k] - own[p.k];
    judge(p, m, sqrt(dx * dx + dy * dy), of[2 * p.k], squares);
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

/* Singular values: how many are more than a part of the first one, and what is divided by those; the others' parts are
 * left out. */
struct ranking {
    pointer<const REAL> values;
    pointer<int> ranks;
    pointer<NUMBER> x;
    long long n, columns_of_matrix, count;
    double tolerance;
};
extern "C" __global__ void find_ranks(const ranking p) {
    const long long m = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (m >= p.count) return;
    const REAL *values = p.values + m * p.n;
    int rank = 0;
    while (rank < p.n && values[rank] > 0 && values[rank] > p.tolerance * (double)values[0]) rank++;
    p.ranks[m] = rank;
}
extern "C" __global__ void divide_by_values(const ranking p) {
    const long long e = (long long)blockIdx.x * THREADS + threadIdx.x, i = e % p.n, m = e / p.n / p.columns_of_matrix;
    if (e >= p.count) return;
    p.x[e] = i < p.ranks[m] ? quotient(p.x[e], number(p.values[m * p.n + i])) : number(0);
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
