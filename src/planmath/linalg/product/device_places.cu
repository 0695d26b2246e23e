/* The place of an element: in its row or column, of so many, and of a matrix of the batch. */
struct place { INDEX inner, outer, matrix; };
static __device__ place place_of(INDEX i, INDEX inner, INDEX outer) {
    const INDEX line = i / inner, matrix = line / outer;
    return {i - line * inner, line - matrix * outer, matrix};
}
/* How far a matrix of a batch is from the first one. */
static __device__ long long offset(INDEX matrix, long long loops, const long long *extents, const long long *steps) {
    long long distance = 0;
    for (int axis = (int)loops - 1; axis >= 0; axis--) {
        const INDEX rest = matrix / (INDEX)extents[axis];
        distance += (long long)(matrix - rest * (INDEX)extents[axis]) * steps[axis];
        matrix = rest;
    }
    return distance;
}
/* Where element (i, j) of a matrix is, of `n` rows, in packed storage where that is asked for. */
static __device__ long long stored(
    long long i, long long j, long long row, long long col, long long packed, long long upper, long long n) {
    if (!packed) return i * row + j * col;
    return (i + (upper ? j * (j + 1) / 2 : j * (2 * n - j - 1) / 2)) * row;
}
