/* LU of many small matrices with exchanges of rows, and solutions with that, each in one launch with all that is measured:
 * LANES threads for a matrix, or for a right-hand side, of which each has a row in registers. ROWS is defined outside: rows
 * and columns, at most LANES. `order` has for each row of the factors which row of the matrix it is. */
#if IS_COMPLEX
__device__ inline NUMBER from_lane(NUMBER x, int lane) {
    return {__shfl_sync(EVERY, x.x, lane, LANES), __shfl_sync(EVERY, x.y, lane, LANES)};
}
__device__ inline sum across(sum z, int apart) {
    return {__shfl_xor_sync(EVERY, z.x, apart), __shfl_xor_sync(EVERY, z.y, apart)};
}
__device__ inline double distance(sum a, sum b) { return hypot(a.x - b.x, a.y - b.y); }
#else
__device__ inline NUMBER from_lane(NUMBER x, int lane) { return __shfl_sync(EVERY, x, lane, LANES); }
__device__ inline sum across(sum x, int apart) { return __shfl_xor_sync(EVERY, x, apart); }
__device__ inline double distance(sum a, sum b) { return fabs(a - b); }
#endif
struct factorizing {
    taking t;
    weighing w;
    pointer<int> pivots, order;
};
extern "C" __global__ void factorize_small(const factorizing p) {
    const int lane = threadIdx.x % LANES;
    const long long m = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const bool here = m < p.t.count && lane < ROWS;
    const NUMBER *a = here ? at(p.t.a, m) : 0, *v = p.t.v;
    NUMBER row[ROWS];
#pragma unroll
    for (int j = 0; j < ROWS; j++) row[j] = here ? whole(p.t, a, lane, j) : number(0);
    const double mine = here ? re(v[lane]) : 0;
    sum u = wide(number(0)), w[LANES];
    double squares = 0;
#pragma unroll
    for (int j = 0; j < LANES; j++) {
        w[j] = wide(number(0));
        if (j >= ROWS) continue;
        w[j] = scaled(wide(row[j]), mine), u = plus(u, scaled(wide(row[j]), re(v[j]))), squares += square(wide(row[j]));
    }
    /* each sums up one column in the end, by halves */
#pragma unroll
    for (int apart = LANES / 2; apart; apart /= 2) {
        const bool upper = lane & apart;
#pragma unroll
        for (int j = 0; j < LANES / 2; j++)
            if (j < apart) w[j] = plus(upper ? w[j + apart] : w[j], across(upper ? w[j] : w[j + apart], apart));
    }
    squares = summed(squares, LANES);

    int place = lane, status = 0, pivot_place = 0; /* where the row would be, if rows were exchanged */
#pragma unroll
    for (int j = 0; j < ROWS; j++) {
        /* the largest of this column from the diagonal on; of equal ones the first; NaN counts as infinite */
        double most = here && place >= j ? modulus(row[j]) : -1;
        if (most != most) most = INFINITE;
        int key = place * LANES + lane;
#pragma unroll
        for (int apart = LANES / 2; apart; apart /= 2) {
            const double size = __shfl_xor_sync(EVERY, most, apart);
            const int other = __shfl_xor_sync(EVERY, key, apart);
            if (size > most || (size == most && other < key)) most = size, key = other;
        }
        const int who = key % LANES;
        if (lane == j) pivot_place = key / LANES;
        place = lane == who ? j : place == j ? key / LANES : place;
        const NUMBER pivot = from_lane(row[j], who);
        const bool divides = !is_zero(pivot), below = place > j && divides;
        if (!divides && !status) status = j + 1;
        const NUMBER l = below ? quotient(row[j], pivot) : number(0);
        if (below) row[j] = l;
#pragma unroll
        for (int c = j + 1; c < ROWS; c++) {
            const NUMBER chosen = from_lane(row[c], who);
            if (below) row[c] = less(row[c], l, chosen);
        }
    }
    if (!here) return;
    NUMBER *factors = p.t.factors + m * ROWS * ROWS + place;
#pragma unroll
    for (int j = 0; j < ROWS; j++) factors[j * ROWS] = row[j];
    p.pivots[m * ROWS + lane] = pivot_place + 1, p.order[m * ROWS + place] = lane;
    p.t.w[m * ROWS + lane] = narrow(w[0]), p.t.u[m * ROWS + lane] = narrow(u);
    if (lane) return;
    p.t.status[m] = status, p.t.squares[m] = squares;
    weigh_one(p.w, status, squares);
}

struct solving {
    moving s;
    pointer<const NUMBER> v, factors;
    pointer<const int> order;
    long long transposed;
};
extern "C" __global__ void solve_small(const solving p) {
    const int lane = threadIdx.x % LANES;
    const long long column = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const bool here = column < p.s.columns && lane < ROWS;
    const long long s = here ? column / p.s.k : 0, k = here ? column % p.s.k : 0, m = s / p.s.per_matrix;
    const NUMBER *f = p.factors + m * ROWS * ROWS;
    const int place = here ? p.order[m * ROWS + lane] : 0;
    const int from = p.transposed ? lane : place, to = p.transposed ? place : lane; /* rows of b, and of x */
    NUMBER own[ROWS], diagonal = number(1), y = number(0); /* a row of the factors, or a column */
#pragma unroll
    for (int c = 0; c < ROWS; c++) {
        own[c] = !here ? number(0) : p.transposed ? f[lane * ROWS + c] : f[lane + c * ROWS];
        if (here && lane == c) diagonal = own[c];
    }
    if (here) y = at(p.s.from, s)[k * p.s.from.col + from * p.s.from.row];
    if (p.s.flags & FIRST) y = conjugate(y);
    const bool projects = p.s.flags & PROJECTS;
    sum of_b = wide(number(0)), of_x = of_b;
    double side = 0, squares = 0;
    if (here && projects) of_b = plus_product(of_b, wide(p.v[from]), wide(y)), side = seen(y);
    if (p.transposed) {
#pragma unroll
        for (int c = 0; c < ROWS; c++) {
            if (lane == c) y = quotient(y, diagonal);
            const NUMBER x = from_lane(y, c);
            if (lane > c) y = less(y, own[c], x);
        }
#pragma unroll
        for (int c = ROWS - 1; c > 0; c--) {
            const NUMBER x = from_lane(y, c);
            if (lane < c) y = less(y, own[c], x);
        }
    } else {
#pragma unroll
        for (int c = 0; c < ROWS - 1; c++) {
            const NUMBER x = from_lane(y, c);
            if (lane > c) y = less(y, own[c], x);
        }
#pragma unroll
        for (int c = ROWS - 1; c >= 0; c--) {
            if (lane == c) y = quotient(y, diagonal);
            const NUMBER x = from_lane(y, c);
            if (lane < c) y = less(y, own[c], x);
        }
    }
    if (here) {
        if (projects)
            of_x = plus_product(of_x, wide(p.s.weights[m * p.s.weights_step + to]), wide(y)), squares = seen(y);
        at(p.s.to, s)[k * p.s.to.col + to * p.s.to.row] = p.s.flags & AFTER ? conjugate(y) : y;
    }
    if (!projects) return;
    of_b = summed(of_b, LANES), of_x = summed(of_x, LANES);
    side = summed(side, LANES), squares = summed(squares, LANES);
    if (!here || lane) return;
    note(p.s, s, k, 0, of_b, side), note(p.s, s, k, 1, of_x, squares);
    judge(p.s, m, distance(of_b, of_x), side, squares);
}
