/* A table of addresses, for calls of libraries that read one. */
struct tabulation {
    pointer<unsigned long long> target;
    long long count;
    unsigned long long addresses[MOST];
};

extern "C" __global__ void tabulate(const tabulation p) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long *target = p.target;
    if (i < p.count) target[i] = p.addresses[i];
}
