// Transforms of powers of two with a user's callbacks inside: each transform is loaded once and stored once.
//
// Stockham's algorithm without a reordering (C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", SIAM
// 1992, section 1.7). A transform has THREADS threads with EACH elements in registers; between its passes, of the radices
// that RADICES lists, they go through shared memory. `load` and `store` stand before this source.

struct parameters {
    void *operand, *result, *loaded, *stored;
    long long count, axes, extents[MOST_AXES], read[MOST_AXES], written[MOST_AXES];
};

enum { LENGTH = THREADS * EACH };

static __device__ ELEMENT sum(ELEMENT a, ELEMENT b) { return ELEMENT{a.x + b.x, a.y + b.y}; }
static __device__ ELEMENT difference(ELEMENT a, ELEMENT b) { return ELEMENT{a.x - b.x, a.y - b.y}; }
static __device__ ELEMENT product(ELEMENT a, ELEMENT b) {
    return ELEMENT{a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}

// exp(SIGN 2 pi i k / n)
static __device__ ELEMENT root(int k, int n) {
    ELEMENT w;
    const PART angle = (PART)(SIGN * 2 * k) / (PART)n;
    SINCOSPI(angle, &w.y, &w.x);
    return w;
}

template <int N> struct butterfly {
    static __device__ void run(ELEMENT *v) {
        ELEMENT even[N / 2], odd[N / 2];
#pragma unroll
        for (int k = 0; k < N / 2; k++) even[k] = v[2 * k], odd[k] = v[2 * k + 1];
        butterfly<N / 2>::run(even);
        butterfly<N / 2>::run(odd);
#pragma unroll
        for (int k = 0; k < N / 2; k++) {
            // cos(2 pi k / 16); those of smaller N are among them
            constexpr PART cosine[9] = {1, (PART)0.92387953251128674, (PART)0.70710678118654757, (PART)0.38268343236508978, 0,
                                        (PART)-0.38268343236508978, (PART)-0.70710678118654757,
                                        (PART)-0.92387953251128674, -1};
            const int sixteenth = k * (16 / N);
            ELEMENT turned = odd[k];
            if (4 * k == N) turned = ELEMENT{-SIGN * odd[k].y, SIGN * odd[k].x};
            else if (k > 0) {
                const PART c = cosine[sixteenth], s = SIGN * (sixteenth < 4 ? cosine[4 - sixteenth] : cosine[sixteenth - 4]);
                turned = product(odd[k], ELEMENT{c, s});
            }
            v[k] = sum(even[k], turned);
            v[k + N / 2] = difference(even[k], turned);
        }
    }
};
template <> struct butterfly<1> {
    static __device__ void run(ELEMENT *) {}
};

// A gap after as many elements as the first pass leaves in a row keeps its threads on different banks.
static __device__ int place(int i) { return i + i / EACH; }
enum { ROOM = LENGTH + LENGTH / EACH };

// What is left of a transform after passes whose radices multiply to DONE; returns the last radix.
template <int DONE, int RADIX, int... REST> struct passes {
    static __device__ void run(ELEMENT *v, int thread, ELEMENT *shared) {
#pragma unroll
        for (int b = 0; b < EACH / RADIX; b++) {
            if (DONE > 1) {
                const int k = (thread + b * THREADS) % DONE;
#pragma unroll
                for (int r = 1; r < RADIX; r++) v[b * RADIX + r] = product(v[b * RADIX + r], root(r * k, DONE * RADIX));
            }
            butterfly<RADIX>::run(v + b * RADIX);
        }
        next<DONE * RADIX, REST...>(v, thread, shared);
    }

    template <int NOW, int FOLLOWING, int... OTHERS>
    static __device__ void next(ELEMENT *v, int thread, ELEMENT *shared) {
        if (DONE > 1) __syncthreads(); // what is there was read
#pragma unroll
        for (int b = 0; b < EACH / RADIX; b++) {
            const int j = thread + b * THREADS, first = j / DONE * NOW + j % DONE;
#pragma unroll
            for (int r = 0; r < RADIX; r++) shared[place(first + r * DONE)] = v[b * RADIX + r];
        }
        __syncthreads();
#pragma unroll
        for (int b = 0; b < EACH / FOLLOWING; b++) {
#pragma unroll
            for (int r = 0; r < FOLLOWING; r++)
                v[b * FOLLOWING + r] = shared[place(thread + b * THREADS + r * (LENGTH / FOLLOWING))];
        }
        passes<NOW, FOLLOWING, OTHERS...>::run(v, thread, shared);
    }

    template <int NOW> static __device__ void next(ELEMENT *, int, ELEMENT *) {}
};

extern "C" __global__ void fused_transform(const parameters p) {
    __shared__ ELEMENT shared[PER_BLOCK * ROOM];
    const int thread = threadIdx.x % THREADS, member = threadIdx.x / THREADS;
    const long long number = (long long)blockIdx.x * PER_BLOCK + member;
    const bool there = number < p.count;
    long long read = 0, written = 0;
    unsigned rest = (unsigned)number;
    for (int axis = 0; axis < (int)p.axes; axis++) {
        const unsigned extent = (unsigned)p.extents[axis], next = rest / extent;
        read += (long long)(rest - next * extent) * p.read[axis];
        written += (long long)(rest - next * extent) * p.written[axis];
        rest = next;
    }
    ELEMENT v[EACH];
    if (there) {
#pragma unroll
        for (int b = 0; b < EACH / FIRST_RADIX; b++) {
#pragma unroll
            for (int r = 0; r < FIRST_RADIX; r++)
                v[b * FIRST_RADIX + r] =
                    load(p.operand, (unsigned long long)(read + thread + b * THREADS + r * (LENGTH / FIRST_RADIX)), p.loaded);
        }
    }
    passes<1, RADICES>::run(v, thread, shared + member * ROOM);
    if (there) {
#pragma unroll
        for (int b = 0; b < EACH / LAST_RADIX; b++) {
#pragma unroll
            for (int r = 0; r < LAST_RADIX; r++)
                store(p.result, (unsigned long long)(written + thread + b * THREADS + r * (LENGTH / LAST_RADIX)),
                      v[b * LAST_RADIX + r], p.stored);
        }
    }
}
