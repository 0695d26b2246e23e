/* A matrix of which something is known, element by element, into one of which nothing is: the triangle that is not
 * stored is never read, nor is a diagonal of ones; that of a Hermitian matrix is real. */
struct expansion {
    pointer<const SOURCE> source;
    pointer<TARGET> target;
    long long count, inner, outer, inner_is_row, s_row, s_col, t_row, t_col;
    long long kind, upper, unit, conjugated, loops, extents[LOOPS], s_steps[LOOPS], t_steps[LOOPS];
};

extern "C" __global__ void expand(const expansion p) {
    typedef decltype(get(SOURCE())) number_type;
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    const SOURCE *all = p.source;
    TARGET *result = p.target;
    for (INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; i < (INDEX)p.count; i += step) {
        const place at = place_of(i, (INDEX)p.inner, (INDEX)p.outer);
        const long long row = p.inner_is_row ? at.inner : at.outer, col = p.inner_is_row ? at.outer : at.inner;
        const SOURCE *s = all + offset(at.matrix, p.loops, p.extents, p.s_steps);
        number_type x = number(number_type(), row == col);
        if (p.kind == DIAGONAL) {
            if (row == col) x = get(s[row * p.s_row]);
        } else if (p.kind == GENERAL) {
            x = get(s[row * p.s_row + col * p.s_col]);
        } else if (p.upper ? row <= col : row >= col) {
            if (row != col || !p.unit) x = get(s[row * p.s_row + col * p.s_col]);
            if (row == col && p.kind == HERMITIAN) x = real(x);
        } else if (p.kind != TRIANGULAR) {
            x = get(s[col * p.s_row + row * p.s_col]);
            if (p.kind == HERMITIAN) x = conjugate(x);
        }
        if (p.conjugated) x = conjugate(x);
        put(result[offset(at.matrix, p.loops, p.extents, p.t_steps) + row * p.t_row + col * p.t_col], x);
    }
}
