/* Elements of operands in the dtype of the work, and what adds and multiplies. */
template <class T, class S> struct change { static __device__ T of(S x) { return (T)x; } };
template <class R, class S> struct change<complex<R>, S> {
    static __device__ complex<R> of(S x) { return {(R)x, 0}; }
};
template <class R, class S> struct change<complex<R>, complex<S>> {
    static __device__ complex<R> of(complex<S> x) { return {(R)x.re, (R)x.im}; }
};
template <class S> struct change<float16, S> {
    static __device__ float16 of(S x) { float16 y; put(y, (float)x); return y; }
};
template <class S> struct change<bfloat16, S> {
    static __device__ bfloat16 of(S x) { bfloat16 y; put(y, (float)x); return y; }
};
template <class T> static __device__ NUMBER read(T x) { return change<NUMBER, decltype(get(x))>::of(get(x)); }

template <class T> static __device__ T least(T x, T y) { return x < y ? x : y; }
template <class T> static __device__ T greatest(T x, T y) { return x > y ? x : y; }
template <class T> static __device__ T first(T x, T y) { return x; }
template <class T> static __device__ T second(T x, T y) { return y; }

template <class T> static __device__ T shuffled(T x, int apart) { return __shfl_xor_sync(0xffffffffu, x, apart); }
template <class R> static __device__ complex<R> shuffled(complex<R> x, int apart) {
    return {shuffled(x.re, apart), shuffled(x.im, apart)};
}

/* alpha sum + beta c; of other operations than sums of products, the sum with c. */
template <class P> static __device__ void finish(const P &p, ELEMENT_C *where, NUMBER total) {
#if SCALED
    total = product((NUMBER)p.alpha, total);
    if (INPLACE && !zero((NUMBER)p.beta)) total = sum(total, product((NUMBER)p.beta, read(*where)));
#else
    if (INPLACE) total = JOINED(read(*where), total);
#endif
    *where = change<ELEMENT_C, NUMBER>::of(total);
}

/* How far a matrix of a batch is from the first one. */
template <class P> static __device__ long long shifted(const P &p, const long long *steps, AT matrix) {
    if (PLAIN) return 0;
    long long distance = 0;
    for (int axis = LOOPS - 1; axis >= 0; axis--) {
        const AT next = matrix / (AT)p.extents[axis];
        distance += (long long)(matrix - next * (AT)p.extents[axis]) * steps[axis];
        matrix = next;
    }
    return distance;
}

