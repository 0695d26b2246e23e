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
