/* d = alpha diag(x) g + beta c: neither x nor g is read where alpha is 0, nor c where beta is; without x it is ones. */
struct combination {
    NUMBER alpha, beta;
    pointer<const X_TYPE> x;
    pointer<const G_TYPE> g;
    pointer<const C_TYPE> c;
    pointer<D_TYPE> d;
    long long count, inner, outer, x_inner, x_outer, g_inner, g_outer, c_inner, c_outer, d_inner, d_outer;
    long long conjugated_x, conjugated_g, loops, extents[LOOPS];
    long long x_steps[LOOPS], g_steps[LOOPS], c_steps[LOOPS], d_steps[LOOPS];
};

extern "C" __global__ void combine(const combination p) {
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    const X_TYPE *x = p.x;
    const G_TYPE *g = p.g;
    const C_TYPE *c = p.c;
    D_TYPE *d = p.d;
    const bool multiplies = g && !zero(p.alpha), adds = c && !zero(p.beta);
    for (INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; i < (INDEX)p.count; i += step) {
        const place at = place_of(i, (INDEX)p.inner, (INDEX)p.outer);
        NUMBER total = number(NUMBER(), 0);
        if (multiplies) {
            NUMBER value = get(g[offset(at.matrix, p.loops, p.extents, p.g_steps) + at.inner * p.g_inner
                                 + at.outer * p.g_outer]);
            if (p.conjugated_g) value = conjugate(value);
            NUMBER factor = p.alpha;
            if (x) {
                NUMBER of = get(x[offset(at.matrix, p.loops, p.extents, p.x_steps) + at.inner * p.x_inner
                                  + at.outer * p.x_outer]);
                factor = product(factor, p.conjugated_x ? conjugate(of) : of);
            }
            total = product(factor, value);
        }
        if (adds) total = sum(total, product(p.beta, get(c[offset(at.matrix, p.loops, p.extents, p.c_steps)
                                                          + at.inner * p.c_inner + at.outer * p.c_outer])));
        put(d[offset(at.matrix, p.loops, p.extents, p.d_steps) + at.inner * p.d_inner + at.outer * p.d_outer], total);
    }
}
