/* Where the entries of each row begin in a list that is ordered by rows. */
struct parameters {
    pointer<const INDEX> list;
    pointer<INDEX> starts;
    long long count, lines;
};

extern "C" __global__ void starts_of(const parameters p) {
    const INDEX *list = p.list;
    const long long line = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (line > p.lines) return;
    long long low = 0, high = p.count;
    while (low < high) {
        const long long middle = low + (high - low) / 2;
        if (list[middle] < line) low = middle + 1;
        else high = middle;
    }
    ((INDEX *)p.starts)[line] = (INDEX)low;
}
