/* Into a dense matrix. */
extern "C" __global__ void pairs_filled(const parameters p) {
    const int lane = (int)(threadIdx.x % GROUP);
    const long long row = (long long)blockIdx.x * GROUPS + threadIdx.x / GROUP;
    const bool inside = row < p.rows;
    const INDEX *crd2 = p.crd2, *places2 = p.places2;
    const ELEMENT_B *b = p.b;
    const AT matrix = PLAIN ? 0 : (AT)(row / p.matrix_rows);
    ELEMENT_C *c = (ELEMENT_C *)p.c + (shifted(p, p.c_steps, matrix) + (row - matrix * p.matrix_rows) * p.c_row);
    for (long long j = lane; inside && j < p.columns; j += GROUP) {
        NUMBER start = NEUTRAL;
#if SCALED
        if (INPLACE && !zero((NUMBER)p.beta)) start = product((NUMBER)p.beta, read(c[j * p.c_column]));
#else
        if (INPLACE) start = read(c[j * p.c_column]);
#endif
        c[j * p.c_column] = change<ELEMENT_C, NUMBER>::of(start);
    }
    __syncwarp();
    multiply(p, row, inside, lane, [&](NUMBER x, INDEX r) {
        NUMBER term = PAIRED(x, CONJUGATED_B(read(b[places2 ? places2[r] : r])));
#if SCALED
        term = product((NUMBER)p.alpha, term);
#endif
        ELEMENT_C *at = c + crd2[r] * p.c_column;
        *at = change<ELEMENT_C, NUMBER>::of(JOINED(read(*at), term));
    });
}
