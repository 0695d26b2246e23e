/* LU of many small matrices with exchanges of rows, as LAPACK's getrf makes it: LANES threads for each, of which each has a
 * row in registers. ROWS is defined outside: rows and columns, at most LANES. */
struct small {
    pointer<NUMBER> factors;
    pointer<int> pivots, status;
    long long count;
};
#if IS_COMPLEX
__device__ inline NUMBER from_lane(NUMBER x, int lane) {
    return {__shfl_sync(EVERY, x.x, lane, LANES), __shfl_sync(EVERY, x.y, lane, LANES)};
}
#else
__device__ inline NUMBER from_lane(NUMBER x, int lane) { return __shfl_sync(EVERY, x, lane, LANES); }
#endif
extern "C" __global__ void factorize_small(const small p) {
    const int lane = threadIdx.x % LANES;
    const long long m = (long long)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    const bool here = m < p.count && lane < ROWS;
    NUMBER *factors = here ? p.factors + m * ROWS * ROWS + lane : 0;
    NUMBER row[ROWS];
    int status = 0, mine = 0;
#pragma unroll
    for (int j = 0; j < ROWS; j++) row[j] = here ? factors[j * ROWS] : number(0);
#pragma unroll
    for (int j = 0; j < ROWS; j++) {
        /* the largest of this column from the diagonal on; of equal ones the first; NaN counts as infinite */
        double most = here && lane >= j ? modulus(row[j]) : -1;
        if (most != most) most = INFINITE;
        int who = lane;
#pragma unroll
        for (int apart = LANES / 2; apart; apart /= 2) {
            const double size = __shfl_xor_sync(EVERY, most, apart);
            const int other = __shfl_xor_sync(EVERY, who, apart);
            if (size > most || (size == most && other < who)) most = size, who = other;
        }
        if (lane == j) mine = who + 1;
        const NUMBER pivot = from_lane(row[j], who);
        const bool divides = !is_zero(pivot), below = lane > j && divides;
        if (!divides && !status) status = j + 1;
        NUMBER l = number(0);
#pragma unroll
        for (int c = 0; c < ROWS; c++) {
            const NUMBER chosen = from_lane(row[c], who), before = from_lane(row[c], j);
            if (lane == who) row[c] = before;
            if (lane == j) row[c] = chosen;
            if (c == j && below) row[c] = l = quotient(row[c], pivot);
            if (c > j && below) row[c] = less(row[c], l, chosen);
        }
    }
    if (!here) return;
#pragma unroll
    for (int j = 0; j < ROWS; j++) factors[j * ROWS] = row[j];
    p.pivots[m * ROWS + lane] = mine;
    if (lane == 0) p.status[m] = status;
}
