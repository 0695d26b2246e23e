/* Values of a product of two sparse matrices. GROUP threads of a warp have a row: they share the entries of one row of the
 * second matrix after the other; what is not UNIQUE there is left to one of them. */
struct parameters {
    pointer<const INDEX> pos1, crd1, pos2, crd2, pos3, crd3, places1, places2, places3;
    pointer<NUMBER> totals;
    pointer<const ELEMENT_A> a;
    pointer<const ELEMENT_B> b;
    pointer<ELEMENT_C> c;
    NUMBER alpha, beta;
    long long rows, matrix_rows, columns, c_row, c_column;
    long long extents[LOOPS], c_steps[LOOPS];
};

enum { GROUPS = 128 / GROUP };

/* The most of what the rows of a warp have, so that its threads meet after each of them. */
static __device__ INDEX most_of(INDEX count) {
    for (int apart = 16; apart; apart /= 2) {
        const INDEX other = __shfl_xor_sync(0xffffffffu, count, apart);
        count = other > count ? other : count;
    }
    return count;
}

/* Calls use(x, r) for each entry r of the second matrix that meets an entry of a row of the first, with its value x. */
template <class F> static __device__ void multiply(const parameters &p, long long row, bool inside, int lane, F use) {
    const INDEX *crd1 = p.crd1, *pos2 = p.pos2, *places1 = p.places1;
    const ELEMENT_A *a = p.a;
    const INDEX begin = inside ? ((const INDEX *)p.pos1)[row] : 0;
    const INDEX count = inside ? ((const INDEX *)p.pos1)[row + 1] - begin : 0;
    for (INDEX turn = 0, turns = most_of(count); turn < turns; turn++) {
        if (turn < count && (UNIQUE || lane == 0)) {
            const INDEX q = begin + turn, k = crd1[q];
            const NUMBER x = CONJUGATED_A(read(a[places1 ? places1[q] : q]));
            for (INDEX r = pos2[k] + (UNIQUE ? lane : 0); r < pos2[k + 1]; r += UNIQUE ? GROUP : 1) use(x, r);
        }
        __syncwarp();
    }
}
