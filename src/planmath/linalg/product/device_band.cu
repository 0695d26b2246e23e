/* d = alpha A g + beta c for matrices in band storage, a thread for each element of d: A is read along its diagonals
 * alone, from `below` under the main one to `above` over it, or the transposed one. What is not stored is never read,
 * nor are A and g where alpha is 0, or c where beta is. */
struct banding {
    NUMBER alpha, beta;
    pointer<const A_TYPE> a;
    pointer<const G_TYPE> g;
    pointer<const C_TYPE> c;
    pointer<D_TYPE> d;
    long long count, inner, outer, inner_is_row, a_row, a_col, g_row, g_col, c_row, c_col, d_row, d_col;
    long long kind, upper, unit, turned, below, above, conjugated_a, conjugated_g, loops, extents[LOOPS];
    long long a_steps[LOOPS], g_steps[LOOPS], c_steps[LOOPS], d_steps[LOOPS];
};

extern "C" __global__ void band(const banding p) {
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    const bool multiplies = p.a && !zero(p.alpha), adds = p.c && !zero(p.beta), 
               mirrored = p.kind == SYMMETRIC || p.kind == HERMITIAN;
    const long long n = p.inner_is_row ? p.inner : p.outer, width = p.below + p.above;
    const long long low = mirrored ? width : p.turned ? p.above : p.below;
    const long long high = mirrored ? width : p.turned ? p.below : p.above;
    for (INDEX e = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; e < (INDEX)p.count; e += step) {
        const place at = place_of(e, (INDEX)p.inner, (INDEX)p.outer);
        const long long row = p.inner_is_row ? at.inner : at.outer, col = p.inner_is_row ? at.outer : at.inner;
        NUMBER total = number(NUMBER(), 0);
        if (multiplies) {
            const A_TYPE *a = (const A_TYPE *)p.a + offset(at.matrix, p.loops, p.extents, p.a_steps);
            const G_TYPE *g = (const G_TYPE *)p.g + offset(at.matrix, p.loops, p.extents, p.g_steps) + col * p.g_col;
            const long long last = row + high < n ? row + high : n - 1;
            for (long long k = row > low ? row - low : 0; k <= last; k++) {
                long long i = p.turned ? k : row, j = p.turned ? row : k;
                NUMBER x = number(NUMBER(), 1), y = get(g[k * p.g_row]);
                if (i != j || !p.unit) {
                    const bool flips = mirrored && (p.upper ? i > j : i < j);
                    x = get(a[flips ? j * p.a_row + i * p.a_col : i * p.a_row + j * p.a_col]);
                    if (p.kind == HERMITIAN) x = flips ? conjugate(x) : i == j ? real(x) : x;
                }
                total = sum(total, product(p.conjugated_a ? conjugate(x) : x, p.conjugated_g ? conjugate(y) : y));
            }
            total = product(p.alpha, total);
        }
        if (adds)
            total = sum(total, product(p.beta, get(((const C_TYPE *)p.c)[offset(at.matrix, p.loops, p.extents, p.c_steps)
                                                                       + row * p.c_row + col * p.c_col])));
        put(((D_TYPE *)p.d)[offset(at.matrix, p.loops, p.extents, p.d_steps) + row * p.d_row + col * p.d_col], total);
    }
}
