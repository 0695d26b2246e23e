/* Into entries that are known. Those of short rows are summed in shared memory, those of others in temporary memory. */
extern "C" __global__ void pairs_known(const parameters p) {
    __shared__ NUMBER shared[GROUPS][ROOM];
    const int lane = (int)(threadIdx.x % GROUP);
    const long long row = (long long)blockIdx.x * GROUPS + threadIdx.x / GROUP;
    const bool inside = row < p.rows;
    const INDEX *crd2 = p.crd2, *places2 = p.places2, *places3 = p.places3, *pos3 = p.pos3;
    const ELEMENT_B *b = p.b;
    ELEMENT_C *c = p.c;
    const INDEX begin = inside ? pos3[row] : 0, count = inside ? pos3[row + 1] - begin : 0;
    const INDEX *crd3 = (const INDEX *)p.crd3 + begin;
    NUMBER *totals = count <= ROOM ? shared[threadIdx.x / GROUP] : (NUMBER *)p.totals + begin;
    for (INDEX n = lane; n < count; n += GROUP) totals[n] = NEUTRAL;
    __syncwarp();
    multiply(p, row, inside, lane, [&](NUMBER x, INDEX r) {
        const INDEX j = crd2[r];
        INDEX low = 0, high = count;
        while (low < high) {
            const INDEX middle = low + (high - low) / 2;
            if (crd3[middle] < j) low = middle + 1;
            else high = middle;
        }
        if (low < count && crd3[low] == j)
            totals[low] = JOINED(totals[low], PAIRED(x, CONJUGATED_B(read(b[places2 ? places2[r] : r]))));
    });
    for (INDEX n = lane; n < count; n += GROUP) finish(p, c + (places3 ? places3[begin + n] : begin + n), totals[n]);
}
