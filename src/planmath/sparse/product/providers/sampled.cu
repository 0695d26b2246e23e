/* A product of two dense matrices for some of its elements. LANES threads have one of them, and share what is summed. */
struct parameters {
    pointer<const INDEX> rows, columns, places;
    pointer<const ELEMENT_A> a;
    pointer<const ELEMENT_B> b;
    pointer<ELEMENT_C> c;
    NUMBER alpha, beta;
    long long count, summed, a_rows, b_columns, a_row, a_sum, b_sum, b_column;
    long long extents[LOOPS], a_steps[LOOPS], b_steps[LOOPS];
};

extern "C" __global__ void sampled(const parameters p) {
    const long long entry = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
    const int lane = (int)(threadIdx.x % LANES);
    const bool inside = entry < p.count;
    const INDEX *rows = p.rows, *columns = p.columns, *places = p.places;
    NUMBER total = NEUTRAL;
    if (inside) {
        const AT row = rows[entry], column = columns[entry];
        const AT first = PLAIN ? 0 : row / (AT)p.a_rows, second = PLAIN ? 0 : column / (AT)p.b_columns;
        const ELEMENT_A *a = (const ELEMENT_A *)p.a + (shifted(p, p.a_steps, first) + (row - first * p.a_rows) * p.a_row);
        const ELEMENT_B *b = (const ELEMENT_B *)p.b
                             + (shifted(p, p.b_steps, second) + (column - second * p.b_columns) * p.b_column);
        for (long long k = lane; k < p.summed; k += LANES)
            total = JOINED(total, PAIRED(CONJUGATED_A(read(a[k * p.a_sum])), CONJUGATED_B(read(b[k * p.b_sum]))));
    }
    for (int apart = LANES / 2; apart; apart /= 2) total = JOINED(total, shuffled(total, apart));
    if (inside && lane == 0) finish(p, (ELEMENT_C *)p.c + (places ? (long long)places[entry] : entry), total);
}
