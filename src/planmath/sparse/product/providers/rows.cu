/* Products of a sparse operand by rows of the result. POINTERS declares the index arrays, NAMES makes them names of the
 * kernel's, and ENTRIES are the loops that call use(place, index) for the entries of a row. */
struct parameters {
    POINTERS
    pointer<const ELEMENT_A> a;
    pointer<const ELEMENT_B> b;
    pointer<ELEMENT_C> c;
    NUMBER alpha, beta;
    long long rows, lines, columns, repeats, b_row, b_column, c_row, c_column;
    long long extents[LOOPS], b_steps[LOOPS], c_steps[LOOPS];
};

template <class F> static __device__ void entries(const parameters &p, AT matrix, AT row, int lane, F use) {
    NAMES
    AT batch[LOOPS];
    AT rest = matrix;
    for (int axis = LOOPS - 1; axis >= 0 && !PLAIN; axis--) {
        const AT next = rest / (AT)p.extents[axis];
        batch[axis] = rest - next * (AT)p.extents[axis];
        rest = next;
    }
    (void)batch;
    ENTRIES
}
