/* Into entries that are known. Those of short rows are summed in shared memory, those of others in temporary memory. */
extern "C" __global__ void pairs_known(const parameters p) {
    __shared__ NUMBER shared[WARPS][ROOM];
    const int lane = (int)(threadIdx.x % WARP);
    const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= p.rows) return;
    const INDEX *pos1 = p.pos1, *crd1 = p.crd1, *pos2 = p.pos2, *crd2 = p.crd2, *places1 = p.places1;
    const INDEX *places2 = p.places2, *places3 = p.places3, *pos3 = p.pos3;
    const ELEMENT_A *a = p.a;
    const ELEMENT_B *b = p.b;
    ELEMENT_C *c = p.c;
    const INDEX begin = pos3[row], count = pos3[row + 1] - begin;
    const INDEX *crd3 = (const INDEX *)p.crd3 + begin;
    NUMBER *totals = count <= ROOM ? shared[threadIdx.x / WARP] : (NUMBER *)p.totals + begin;
    for (INDEX n = lane; n < count; n += WARP) totals[n] = NEUTRAL;
    __syncwarp();
    for (INDEX q = pos1[row]; q < pos1[row + 1]; q++) {
        const NUMBER x = CONJUGATED_A(read(a[places1 ? places1[q] : q]));
        const INDEX k = crd1[q];
        if (UNIQUE || lane == 0)
            for (INDEX r = pos2[k] + (UNIQUE ? lane : 0); r < pos2[k + 1]; r += UNIQUE ? WARP : 1) {
                const INDEX j = crd2[r];
                INDEX low = 0, high = count;
                while (low < high) {
                    const INDEX middle = low + (high - low) / 2;
                    if (crd3[middle] < j) low = middle + 1;
                    else high = middle;
                }
                if (low < count && crd3[low] == j)
                    totals[low] = JOINED(totals[low], PAIRED(x, CONJUGATED_B(read(b[places2 ? places2[r] : r]))));
            }
        __syncwarp();
    }
    for (INDEX n = lane; n < count; n += WARP) finish(p, c + (places3 ? places3[begin + n] : begin + n), totals[n]);
}
