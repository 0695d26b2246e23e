/* A matrix of which something is known, element by element, into one of which nothing is: what is not stored is never
 * read, nor is a diagonal of ones; that of a Hermitian matrix is real. `upper` says which triangle is stored, `packed`
 * that its columns are one behind the other, `below` and `above` how many diagonals there are beside the main one. */
struct expansion {
    pointer<const SOURCE> source;
    pointer<TARGET> target;
    long long count, inner, outer, inner_is_row, s_row, s_col, t_row, t_col;
    long long kind, upper, unit, packed, below, above, conjugated, both, loops;
    long long extents[LOOPS], s_steps[LOOPS], t_steps[LOOPS];
};

extern "C" __global__ void expand(const expansion p) {
    typedef decltype(get(SOURCE())) number_type;
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    const SOURCE *all = p.source;
    TARGET *result = p.target;
    for (INDEX e = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; e < (INDEX)p.count; e += step) {
        const place at = place_of(e, (INDEX)p.inner, (INDEX)p.outer);
        const long long row = p.inner_is_row ? at.inner : at.outer, col = p.inner_is_row ? at.outer : at.inner;
        const bool flips = p.kind != GENERAL && (p.upper ? row > col : row < col);
        /* of a matrix that is mirrored in its place: who has the stored element writes both */
        if (p.both && flips) continue;
        const SOURCE *s = all + offset(at.matrix, p.loops, p.extents, p.s_steps);
        const long long i = flips ? col : row, j = flips ? row : col;
        number_type x = number(number_type(), row == col);
        if (p.kind == DIAGONAL) {
            if (row == col) x = get(s[row * p.s_row]);
        } else if (row != col || !p.unit) {
            x = number(number_type(), 0);
            if (!(flips && p.kind == TRIANGULAR) && i - j <= p.below && j - i <= p.above) {
                x = get(s[stored(i, j, p.s_row, p.s_col, p.packed, p.upper, p.inner_is_row ? p.inner : p.outer)]);
                if (p.kind == HERMITIAN) x = flips ? conjugate(x) : row == col ? real(x) : x;
            }
        }
        if (p.conjugated) x = conjugate(x);
        TARGET *t = result + offset(at.matrix, p.loops, p.extents, p.t_steps);
        put(t[row * p.t_row + col * p.t_col], x);
        if (p.both && row != col) put(t[col * p.t_row + row * p.t_col], p.kind == HERMITIAN ? conjugate(x) : x);
    }
}
