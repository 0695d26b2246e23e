/* Values of a product of two sparse matrices. A warp has a row: its threads share the entries of one row of the second
 * matrix after the other, and what is not UNIQUE there is left to one of them. */
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

enum { WARP = 32, WARPS = 4, ROOM = 256 };
