/* LANES threads for a row and one column, which share its entries. */
extern "C" __global__ void by_entries(const parameters p) {
    const long long line = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
    const int lane = (int)(threadIdx.x % LANES);
    const bool inside = line < p.lines;
    const AT matrix = PLAIN ? 0 : (AT)(line / p.rows), row = (AT)(line - (long long)matrix * p.rows);
    const ELEMENT_A *a = p.a;
    for (long long y = blockIdx.y; y < p.columns * p.repeats; y += gridDim.y) {
        const long long repeat = PLAIN ? 0 : y / p.columns, column = y - repeat * p.columns;
        const AT of = BATCHED ? matrix : (AT)repeat;
        const ELEMENT_B *b = p.b + (shifted(p, p.b_steps, of) + column * p.b_column);
        NUMBER total = NEUTRAL;
        if (inside)
            entries(p, matrix, row, lane, [&](AT place, AT index) {
                total = JOINED(total, PAIRED(CONJUGATED_A(read(a[place])), CONJUGATED_B(read(b[index * p.b_row]))));
            });
#if LANES > 1
        for (int apart = (LANES < 32 ? LANES : 32) / 2; apart; apart /= 2) total = JOINED(total, shuffled(total, apart));
#endif
#if LANES > 32
        __shared__ NUMBER parts[LANES / 32];
        __syncthreads();
        if (lane % 32 == 0) parts[lane / 32] = total;
        __syncthreads();
        if (lane == 0)
            for (int n = 1; n < LANES / 32; n++) total = JOINED(total, parts[n]);
#endif
        if (inside && lane == 0)
            finish(p, (ELEMENT_C *)p.c + (shifted(p, p.c_steps, of) + row * p.c_row + column * p.c_column), total);
    }
}
