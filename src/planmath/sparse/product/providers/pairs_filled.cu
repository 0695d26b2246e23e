/* Into a dense matrix. */
extern "C" __global__ void pairs_filled(const parameters p) {
    const int lane = (int)(threadIdx.x % WARP);
    const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= p.rows) return;
    const INDEX *pos1 = p.pos1, *crd1 = p.crd1, *pos2 = p.pos2, *crd2 = p.crd2, *places1 = p.places1;
    const INDEX *places2 = p.places2;
    const ELEMENT_A *a = p.a;
    const ELEMENT_B *b = p.b;
    const AT matrix = PLAIN ? 0 : (AT)(row / p.matrix_rows);
    ELEMENT_C *c = (ELEMENT_C *)p.c + (shifted(p, p.c_steps, matrix) + (row - matrix * p.matrix_rows) * p.c_row);
    for (long long j = lane; j < p.columns; j += WARP) {
        NUMBER start = NEUTRAL;
#if SCALED
        if (INPLACE && !zero((NUMBER)p.beta)) start = product((NUMBER)p.beta, read(c[j * p.c_column]));
#else
        if (INPLACE) start = read(c[j * p.c_column]);
#endif
        c[j * p.c_column] = change<ELEMENT_C, NUMBER>::of(start);
    }
    __syncwarp();
    for (INDEX q = pos1[row]; q < pos1[row + 1]; q++) {
        NUMBER x = CONJUGATED_A(read(a[places1 ? places1[q] : q]));
#if SCALED
        x = product((NUMBER)p.alpha, x);
#endif
        const INDEX k = crd1[q];
        if (UNIQUE || lane == 0)
            for (INDEX r = pos2[k] + (UNIQUE ? lane : 0); r < pos2[k + 1]; r += UNIQUE ? WARP : 1) {
                ELEMENT_C *at = c + crd2[r] * p.c_column;
                const NUMBER term = PAIRED(x, CONJUGATED_B(read(b[places2 ? places2[r] : r])));
                *at = change<ELEMENT_C, NUMBER>::of(JOINED(read(*at), term));
            }
        __syncwarp();
    }
}
