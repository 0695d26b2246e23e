/* The kernels of device_kernels.py, for one dtype of values and one of indices.
 *
 * The rows of all systems are cut into pieces of about equal work. A block takes one piece and COLUMNS of its right-hand
 * sides (x and y of the grid); in it, some neighbouring threads (lanes) share each row, and all of them each row that is
 * much longer than others. What is found out about a system, a block puts together for its piece, and the last block of the
 * system for all pieces, in a fixed order.
 *
 * Defined outside: VALUE (float or double), NUMBER (VALUE, float2 or double2), IS_COMPLEX, INDEX (int or long long),
 * TRIANGLE, THREADS of a block, BLOCKS of a multiprocessor, COLUMNS, LONG, EPSILON. */
#define WARP 32
#define EVERY 0xffffffffu
#define READS 16 /* that a thread has on their way at once, where it waits for nothing else */
#define LARGEST_DOUBLE 0x1.fffffffffffffp+1023
#define INFINITE __longlong_as_double(0x7ff0000000000000)

/* A matrix is given by its entries, whose pattern is `starts` and `columns`. With TRIANGLE they are one triangle only: the
 * whole matrix has a pattern of its own and, for each entry, the number of its value plus 1, negative for the conjugate. */
struct system {
    pointer<const INDEX> starts, columns, whole_starts, whole_columns, source;
    long long number, rows, n_columns, first_column, lanes, first_piece, n_pieces;
};
struct piece {
    long long system, first, last; /* rows */
    pointer<const INDEX> long_rows;
    long long n_long_rows; /* of more than LONG entries for each lane */
};
/* An array: the elements from a column to the next (0: as many as there are rows), and from a row to the next. */
struct place {
    pointer<char> first;
    long long leading, stride;
};
/* The arrays of one operand, one for each system: at a distance of `step` bytes, or where a table says. */
struct places {
    place first;
    long long step;
    pointer<const place> table;
};
struct parameters {
    pointer<const piece> pieces;
    pointer<const system> systems;
    pointer<double> partial;   /* what was put together for each piece */
    pointer<unsigned> tickets; /* of each system and COLUMNS of its columns: how many pieces are done; 0 between launches */
    pointer<double> largest_x; /* of each column, from `noise` for `relative` */
    double *found;             /* memory of the host */
    places of[5];              /* the operands */
    system only;               /* where there is one, and no table of them */
};

#if IS_COMPLEX
typedef double2 sum;
__device__ inline sum wide(NUMBER z) { return {z.x, z.y}; }
__device__ inline NUMBER narrow(sum z) { return {(VALUE)z.x, (VALUE)z.y}; }
__device__ inline NUMBER real(double x) { return {(VALUE)x, 0}; }
__device__ inline NUMBER conjugate(NUMBER z) { return {z.x, -z.y}; }
__device__ inline NUMBER plus(NUMBER a, NUMBER b) { return {a.x + b.x, a.y + b.y}; }
__device__ inline sum plus_product(sum s, sum a, sum b) {
    return {fma(-a.y, b.y, fma(a.x, b.x, s.x)), fma(a.y, b.x, fma(a.x, b.y, s.y))};
}
__device__ inline sum minus(sum a, sum b) { return {a.x - b.x, a.y - b.y}; }
__device__ inline double magnitude(NUMBER z) { return fabs((double)z.x) + fabs((double)z.y); }
__device__ inline double modulus(NUMBER z) { return hypot((double)z.x, (double)z.y); }
#else
typedef double sum;
__device__ inline sum wide(NUMBER x) { return x; }
__device__ inline NUMBER narrow(sum x) { return (NUMBER)x; }
__device__ inline NUMBER real(double x) { return (NUMBER)x; }
__device__ inline NUMBER conjugate(NUMBER x) { return x; }
__device__ inline NUMBER plus(NUMBER a, NUMBER b) { return a + b; }
__device__ inline sum plus_product(sum s, sum a, sum b) { return fma(a, b, s); }
__device__ inline sum minus(sum a, sum b) { return a - b; }
__device__ inline double magnitude(NUMBER x) { return fabs((double)x); }
__device__ inline double modulus(NUMBER x) { return fabs((double)x); }
#endif

/* One system's array. */
struct array {
    char *first;
    long long leading, stride;
    template <class T> __device__ operator T *() const { return (T *)first; }
};
__device__ inline array at(const places &p, const system &s) {
    if (!p.table) return {p.first.first + s.number * p.step, p.first.leading, p.first.stride};
    const place &here = p.table[s.number];
    return {here.first, here.leading, here.stride};
}
/* Right-hand sides or solutions, from the block's first column on, whose rows are side by side or `stride` elements apart. */
template <class T, bool STRIDED = false> struct side {
    T *first;
    long long leading, stride;
    __device__ side(const places &p, const system &s) {
        const array a = at(p, s);
        leading = a.leading ? a.leading : s.rows, stride = a.stride;
        first = (T *)a.first + (long long)blockIdx.y * COLUMNS * leading;
    }
    __device__ T &operator()(INDEX row, int column) const {
        return first[column * leading + (STRIDED ? row * stride : row)];
    }
};
__device__ inline int columns_here(const system &s) {
    const long long left = s.n_columns - (long long)blockIdx.y * COLUMNS;
    return left < COLUMNS ? (int)left : COLUMNS;
}
__device__ inline NUMBER value_of(const NUMBER *values, const INDEX *source, INDEX k) {
#if TRIANGLE
    const INDEX from = __ldg(source + k);
    return from > 0 ? __ldg(values + (from - 1)) : conjugate(__ldg(values + (-from - 1)));
#else
    return __ldg(values + k);
#endif
}

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
    for (int warp = x = 0; warp < THREADS / WARP; warp++) x += of_warps[warp];
    return x;
}
#if IS_COMPLEX
__device__ inline sum summed(sum z, int lanes) { return {summed(z.x, lanes), summed(z.y, lanes)}; }
__device__ inline sum summed_by_block(sum z) { return {summed_by_block(z.x), summed_by_block(z.y)}; }
#endif

/* For each row of a piece: `begin(row, lane)`, then N sums, to which `add(k, sums)` adds what an entry gives, and then
 * `finish(row, lane, sums)`, by all threads that share the row. What a row needs beside its entries is read in `begin`, and
 * where the next row's entries are before this one's are looked at: so there is less to wait for. */
template <class SUM, int N, class BEGIN_ROW, class ADD, class FINISH>
__device__ void each_row(const piece &part, const system &s, BEGIN_ROW begin, ADD add, FINISH finish) {
    const INDEX *starts = s.whole_starts, *long_rows = part.long_rows;
    const INDEX last = (INDEX)part.last;
    const int lanes = (int)s.lanes, lane = threadIdx.x % lanes, step = THREADS / lanes;
    const INDEX first = (INDEX)part.first + threadIdx.x / lanes;
    INDEX k = 0, end = 0;
    if (first < last) k = __ldg(starts + first), end = __ldg(starts + first + 1);
    for (INDEX row = first; row - first < last - (INDEX)part.first; row += step) { /* the same for all threads */
        const INDEX next = row + step;
        INDEX next_k = 0, next_end = 0;
        if (next < last) next_k = __ldg(starts + next), next_end = __ldg(starts + next + 1);
        const bool here = row < last && end - k <= LONG * lanes;
        SUM sums[N] = {};
        if (here) {
            begin(row, lane);
#pragma unroll 2
            for (INDEX i = k + lane; i < end; i += lanes) add(i, sums);
        }
#pragma unroll
        for (int i = 0; i < N; i++) sums[i] = summed(sums[i], lanes);
        if (here) finish(row, lane, sums);
        k = next_k, end = next_end;
    }
    for (long long i = 0; i < part.n_long_rows; i++) {
        const INDEX row = long_rows[i], row_end = starts[row + 1];
        SUM sums[N] = {};
        begin(row, threadIdx.x);
#pragma unroll 2
        for (INDEX j = starts[row] + threadIdx.x; j < row_end; j += THREADS) add(j, sums);
#pragma unroll
        for (int j = 0; j < N; j++) sums[j] = summed_by_block(sums[j]);
        finish(row, threadIdx.x, sums);
    }
}

struct added { static __device__ double of(double a, double b) { return a + b; } };
struct largest { static __device__ double of(double a, double b) { return b > a ? b : a; } };

/* Puts together, for all blocks of a system, WIDTH numbers that are not negative for each of N columns, which is the
 * remainder of a thread's number modulo N. The block that comes last gets them, column by column; others get null. */
template <class OF, int WIDTH, int N>
__device__ const double *put_together(const parameters &p, const system &s, double (&q)[WIDTH]) {
    enum { SIZE = WIDTH * N, SHARES = THREADS / SIZE, GROUPS = SHARES < 8 ? 1 : 8 };
    static_assert(THREADS / WARP * SIZE <= THREADS, "room for what the warps have found");
    __shared__ double shared[THREADS], total[SIZE];
    __shared__ bool is_last;
    const int thread = threadIdx.x, warp = thread / WARP, lane = thread % WARP;
    for (int w = 0; w < WIDTH; w++) {
        for (int apart = WARP / 2; apart >= N; apart /= 2) q[w] = OF::of(q[w], __shfl_xor_sync(EVERY, q[w], apart));
        if (lane < N) shared[warp * SIZE + lane * WIDTH + w] = q[w];
    }
    __syncthreads();
    double result = 0;
    if (thread < SIZE)
        for (int i = 0; i < THREADS / WARP; i++) result = OF::of(result, shared[i * SIZE + thread]);
    if (s.n_pieces > 1) {
        double *partial = p.partial + (s.first_piece * gridDim.y + blockIdx.y * s.n_pieces) * SIZE;
        unsigned *ticket = p.tickets + s.number * gridDim.y + blockIdx.y;
        if (thread < SIZE) partial[(blockIdx.x - s.first_piece) * SIZE + thread] = result;
        __syncthreads();
        if (thread == 0) {
            __threadfence();
            is_last = atomicInc(ticket, (unsigned)s.n_pieces - 1) == s.n_pieces - 1;
            __threadfence();
        }
        __syncthreads();
        if (!is_last) return nullptr;
        double share = 0;
        if (thread < SHARES * SIZE)
            for (long long first = thread; first < s.n_pieces * SIZE; first += READS * SHARES * SIZE) {
                double read[READS];
#pragma unroll
                for (int i = 0; i < READS; i++) {
                    const long long from = first + i * SHARES * SIZE;
                    read[i] = from < s.n_pieces * SIZE ? __ldcg(partial + from) : 0;
                }
#pragma unroll
                for (int i = 0; i < READS; i++) share = OF::of(share, read[i]);
            }
        shared[thread] = share;
        __syncthreads();
        result = 0;
        if (thread < GROUPS * SIZE)
            for (int i = thread; i < SHARES * SIZE; i += GROUPS * SIZE) result = OF::of(result, shared[i]);
        __syncthreads();
        if (thread < GROUPS * SIZE) shared[thread] = result;
        __syncthreads();
        result = 0;
        if (thread < SIZE)
            for (int i = 0; i < GROUPS; i++) result = OF::of(result, shared[i * SIZE + thread]);
    }
    if (thread < SIZE) total[thread] = result;
    __syncthreads();
    return total;
}

/* A 2-norm is two sums of squares, of large and of small numbers, each scaled so that squares neither overflow nor vanish;
 * from about 1e-300 on it is right. */
#define SPLIT 0x1p+10
#define OF_LARGE 0x1p-520
#define OF_SMALL 0x1p+486
__device__ inline void add_square(double *norm, double x) {
    x = fabs(x);
    if (x > SPLIT)
        x *= OF_LARGE, norm[1] = fma(x, x, norm[1]);
    else
        x *= OF_SMALL, norm[0] = fma(x, x, norm[0]);
}
__device__ inline void add_squares(double *norm, NUMBER z) {
#if IS_COMPLEX
    add_square(norm, z.x), add_square(norm, z.y);
#else
    add_square(norm, z);
#endif
}
__device__ inline double norm_of(const double *norm) {
    const double small = sqrt(norm[0]) / OF_SMALL, large = sqrt(norm[1]) / OF_LARGE;
    return large > 0 ? large * sqrt(1 + (small / large) * (small / large)) : small;
}

/* What every kernel begins with. Blocks beyond a system's columns have nothing to do. */
#define BEGIN                                                                                                               \
    const piece part = p.pieces[blockIdx.x];                                                                                \
    const system s = p.systems ? p.systems[part.system] : p.only;                                                           \
    const int columns = columns_here(s);                                                                                    \
    if (columns <= 0) return;

/* of: starts, columns. found: of each system, 1 where they are not as planned. */
extern "C" __global__ __launch_bounds__(THREADS) void compare(const parameters p) {
    BEGIN
    const INDEX *starts = s.starts, *entries = s.columns;
    const INDEX *other_starts = at(p.of[0], s), *other_entries = at(p.of[1], s);
    double q[1] = {0};
    for (INDEX i = (INDEX)part.first + threadIdx.x; i <= (INDEX)part.last; i += THREADS)
        if (starts[i] != other_starts[i]) q[0] = 1;
    for (INDEX k = starts[part.first] + threadIdx.x; k < starts[part.last]; k += THREADS)
        if (entries[k] != other_entries[k]) q[0] = 1;
    const double *total = put_together<largest, 1, 1>(p, s, q);
    if (total && threadIdx.x == 0) p.found[s.number] = total[0];
}

/* of: values. found: of each system the largest row sum, and the first row with a value that is not finite, or -1. */
extern "C" __global__ __launch_bounds__(THREADS) void measure(const parameters p) {
    BEGIN
    const NUMBER *values = at(p.of[0], s);
    const INDEX *starts = s.starts, *source = s.source;
    double q[2] = {0, 0};
    for (INDEX k = starts[part.first] + threadIdx.x; k < starts[part.last]; k += THREADS) {
        if (magnitude(values[k]) <= LARGEST_DOUBLE) continue;
        INDEX row = (INDEX)part.first, after = (INDEX)part.last; /* of entry k: by halving */
        while (after - row > 1) {
            const INDEX middle = row + (after - row) / 2;
            *(starts[middle] <= k ? &row : &after) = middle;
        }
        q[1] = largest::of(q[1], (double)(s.rows - row));
    }
    each_row<double, 1>(
        part, s, [](INDEX, int) {}, [&](INDEX k, double(&size)[1]) { size[0] += magnitude(value_of(values, source, k)); },
        [&](INDEX row, int lane, double(&size)[1]) { q[0] = largest::of(q[0], size[0]); });
    const double *total = put_together<largest, 2, 1>(p, s, q);
    if (total && threadIdx.x == 0) {
        p.found[2 * s.number] = total[0];
        p.found[2 * s.number + 1] = total[1] > 0 ? s.rows - total[1] : -1;
    }
}

/* of: values, x, b, r. found: of each column, the norms of r, x and b. */
extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void residual(const parameters p) {
    BEGIN
    const NUMBER *values = at(p.of[0], s);
    const INDEX *entries = s.whole_columns, *source = s.source;
    const side<const NUMBER> x(p.of[1], s), b(p.of[2], s);
    const side<NUMBER> r(p.of[3], s);
    double q[6] = {0, 0, 0, 0, 0, 0};
    NUMBER of_b = {}, of_x = {};
    each_row<sum, COLUMNS>(
        part, s,
        [&](INDEX row, int lane) {
            if (lane < columns) of_b = b(row, lane), of_x = x(row, lane);
        },
        [&](INDEX k, sum(&products)[COLUMNS]) {
            const sum value = wide(value_of(values, source, k));
            const INDEX j = __ldg(entries + k);
            for (int c = 0; c < COLUMNS; c++)
                if (c < columns) products[c] = plus_product(products[c], value, wide(__ldg(&x(j, c))));
        },
        [&](INDEX row, int lane, sum(&products)[COLUMNS]) {
            if (lane >= columns) return; /* each lane finishes a column */
            sum product = products[0];
#pragma unroll
            for (int c = 1; c < COLUMNS; c++)
                if (c == lane) product = products[c];
            const NUMBER of_r = narrow(minus(wide(of_b), product));
            r(row, lane) = of_r;
            add_squares(q, of_r), add_squares(q + 2, of_x), add_squares(q + 4, of_b);
        });
    const double *total = put_together<added, 6, COLUMNS>(p, s, q);
    if (total && threadIdx.x < 3 * columns)
        p.found[3 * (s.first_column + blockIdx.y * COLUMNS) + threadIdx.x] = norm_of(total + 2 * threadIdx.x);
}

/* of: x, correction, their sum. */
extern "C" __global__ __launch_bounds__(THREADS) void add(const parameters p) {
    BEGIN
    const side<const NUMBER> x(p.of[0], s), correction(p.of[1], s);
    const side<NUMBER> total(p.of[2], s);
    for (int c = 0; c < columns; c++)
        for (INDEX i = (INDEX)part.first + threadIdx.x; i < (INDEX)part.last; i += THREADS)
            total(i, c) = plus(x(i, c), correction(i, c));
}

/* of: from, to; with any strides. */
extern "C" __global__ __launch_bounds__(THREADS) void copy(const parameters p) {
    BEGIN
    const side<const NUMBER, true> from(p.of[0], s);
    const side<NUMBER, true> to(p.of[1], s);
    for (INDEX i = (INDEX)part.first + threadIdx.x; i < (INDEX)part.last; i += THREADS)
        for (int c = 0; c < columns; c++) to(i, c) = from(i, c);
}

/* of: values from, values to. */
extern "C" __global__ __launch_bounds__(THREADS) void copy_values(const parameters p) {
    BEGIN
    const NUMBER *from = at(p.of[0], s);
    NUMBER *to = at(p.of[1], s);
    for (INDEX k = s.starts[part.first] + threadIdx.x; k < s.starts[part.last]; k += THREADS) to[k] = from[k];
}

/* One of two signs, by all bits of the row and the column (the finalizer of SplitMix64; Steele, Lea and Flood, 2014). */
__device__ inline double sign_of(unsigned long long row, unsigned long long column) {
    unsigned long long bits = row + 0x9e3779b97f4a7c15u * (column + 1);
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
    return bits >> 63 ? -1 : 1;
}

/* of: values, x, b, r, noise. largest_x: of each column, the largest size of an element of x. */
extern "C" __global__ __launch_bounds__(THREADS) void noise(const parameters p) {
    BEGIN
    const NUMBER *values = at(p.of[0], s);
    const INDEX *entries = s.whole_columns, *source = s.source;
    const side<const NUMBER> x(p.of[1], s), b(p.of[2], s), r(p.of[3], s);
    const side<NUMBER> noise(p.of[4], s);
    double q[1] = {0};
    each_row<double, COLUMNS>(
        part, s, [](INDEX, int) {},
        [&](INDEX k, double(&sizes)[COLUMNS]) {
            const double value = magnitude(value_of(values, source, k));
            const INDEX j = __ldg(entries + k);
            for (int c = 0; c < COLUMNS; c++)
                if (c < columns) sizes[c] = fma(value, magnitude(__ldg(&x(j, c))), sizes[c]);
        },
        [&](INDEX row, int lane, double(&sizes)[COLUMNS]) {
            if (lane >= columns) return;
            double size = sizes[0];
#pragma unroll
            for (int c = 1; c < COLUMNS; c++)
                if (c == lane) size = sizes[c];
            size = modulus(r(row, lane)) + EPSILON * (size + magnitude(b(row, lane)));
            noise(row, lane) = real(sign_of(row, s.first_column + blockIdx.y * COLUMNS + lane) * size);
            q[0] = largest::of(q[0], modulus(x(row, lane)));
        });
    const double *total = put_together<largest, 1, COLUMNS>(p, s, q);
    if (total && threadIdx.x < columns) p.largest_x[s.first_column + blockIdx.y * COLUMNS + threadIdx.x] = total[threadIdx.x];
}

/* of: x, effect. found: of each column, the largest part that the effect is of an element of x. */
extern "C" __global__ __launch_bounds__(THREADS) void relative(const parameters p) {
    BEGIN
    const side<const NUMBER> x(p.of[0], s), effect(p.of[1], s);
    const long long first_column = s.first_column + blockIdx.y * COLUMNS;
    const int column = threadIdx.x % COLUMNS;
    double q[1] = {0};
    if (column < columns) {
        const double least = EPSILON * p.largest_x[first_column + column];
        for (INDEX i = (INDEX)part.first + threadIdx.x / COLUMNS; i < (INDEX)part.last; i += THREADS / COLUMNS) {
            const double size = modulus(x(i, column)), part_of = modulus(effect(i, column)) / (size < least ? least : size);
            q[0] = part_of == part_of ? largest::of(q[0], part_of) : INFINITE;
        }
    }
    const double *total = put_together<largest, 1, COLUMNS>(p, s, q);
    if (total && threadIdx.x < columns) p.found[first_column + threadIdx.x] = total[threadIdx.x];
}
