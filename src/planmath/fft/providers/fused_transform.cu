// Transforms of powers of two with a user's callbacks inside: each transform is loaded once and stored once.
//
// Stockham's algorithm without a reordering (C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", SIAM
// 1992, section 1.7). A transform has THREADS threads with EACH elements in registers; between its passes, of the radices
// that RADICES lists, they go through shared memory. Pairs of real elements are transformed as complex ones, and the
// spectrum is taken apart, or put together, in shared memory (section 4.3 there). Where SIDE_BY_SIDE, neighbouring threads
// have neighbouring transforms, whose elements are next to each other. A transform of TURN elements is two such kernels:
// the first one's results are turned (section 3.3). `load`, `store` and the parameters stand before this source.

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
enum { ROOM = LENGTH + LENGTH / EACH + 1 };

extern __shared__ __align__(16) ELEMENT all_shared[];

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

// The spectrum of 2 LENGTH real elements at k, of which z is the transform as LENGTH complex ones.
static __device__ ELEMENT taken_apart(const ELEMENT *z, int k) {
    const ELEMENT a = z[place(k % LENGTH)], b = z[place((LENGTH - k) % LENGTH)], w = root(k, 2 * LENGTH);
    const ELEMENT even = {(a.x + b.x) / 2, (a.y - b.y) / 2}, odd = {(a.y + b.y) / 2, (b.x - a.x) / 2};
    return sum(even, product(odd, w));
}

// What has 2 LENGTH real elements as LENGTH complex ones as its transform, from their spectrum x.
static __device__ ELEMENT put_together(const ELEMENT *x, int k) {
    const ELEMENT a = x[place(k)], b = x[place(LENGTH - k)];
    const ELEMENT turned = product(ELEMENT{a.x - b.x, a.y + b.y}, root(k, 2 * LENGTH));
    return {a.x + b.x - turned.y, a.y - b.y + turned.x};
}

// Without bounds of the launch: more registers than for blocks of 1024 threads would leave room for fewer blocks.
extern "C" __global__ void fused_transform(const __grid_constant__ parameters p) {
    const int thread = SIDE_BY_SIDE ? threadIdx.x / PER_BLOCK : threadIdx.x % THREADS;
    const int member = SIDE_BY_SIDE ? threadIdx.x % PER_BLOCK : threadIdx.x / THREADS;
    const long long number = (long long)blockIdx.x * PER_BLOCK + member;
    const line of = line_of(p, number);
    ELEMENT v[EACH], *shared = all_shared + member * ROOM;
    const auto loaded = [&](int i) { return load(p.operand, (unsigned long long)(of.read + i * (long long)(READ_STEP)), p.loaded); };
    const auto stored = [&](int i, OUT x) {
        store(p.result, (unsigned long long)(of.written + i * (long long)(WRITTEN_STEP)), x, p.stored);
    };
#if KIND == C2R
    if (of.there) {
        for (int k = thread; k <= LENGTH; k += THREADS) {
            ELEMENT x = loaded(k);
            if (k % LENGTH == 0) x.y = 0;
            shared[place(k)] = x;
        }
    }
    __syncthreads();
#endif
    if (of.there) {
#pragma unroll
        for (int b = 0; b < EACH / FIRST_RADIX; b++) {
#pragma unroll
            for (int r = 0; r < FIRST_RADIX; r++) {
                const int i = thread + b * THREADS + r * (LENGTH / FIRST_RADIX);
#if KIND == C2C
                v[b * FIRST_RADIX + r] = loaded(i);
#elif KIND == R2C
                const PART first = loaded(2 * i);
                v[b * FIRST_RADIX + r] = ELEMENT{first, loaded(2 * i + 1)};
#else
                v[b * FIRST_RADIX + r] = put_together(shared, i);
#endif
            }
        }
    }
#if KIND == C2R
    __syncthreads(); // what is there was read
#endif
    passes<1, RADICES>::run(v, thread, shared);
    const PART scale = (PART)p.scale;
#if KIND == R2C
    __syncthreads();
#else
    if (!of.there) return;
#endif
#pragma unroll
    for (int b = 0; b < EACH / LAST_RADIX; b++) {
#pragma unroll
        for (int r = 0; r < LAST_RADIX; r++) {
            const int i = thread + b * THREADS + r * (LENGTH / LAST_RADIX);
            ELEMENT x = multiplied(v[b * LAST_RADIX + r], scale);
#if KIND == C2C
            if (TURN > 1) x = product(x, root(i * (int)((unsigned)number % (unsigned)p.extents[0]), TURN));
            stored(i, x);
#elif KIND == C2R
            stored(2 * i, x.x);
            stored(2 * i + 1, x.y);
#else
            shared[place(i)] = x;
#endif
        }
    }
#if KIND == R2C
    __syncthreads();
    if (of.there)
        for (int k = thread; k <= LENGTH; k += THREADS) stored(k, taken_apart(shared, k));
#endif
}
