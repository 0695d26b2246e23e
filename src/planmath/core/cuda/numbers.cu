/* Numbers that the device's compiler has no types for without its headers. Those of 16 bits are computed with as float. */
struct float16 { unsigned short bits; };
struct bfloat16 { unsigned short bits; };
template <class R> struct complex { R re, im; };
union word { float value; unsigned bits; };

static __device__ float of_bits(unsigned bits) { word w; w.bits = bits; return w.value; }
static __device__ unsigned bits_of(float value) { word w; w.value = value; return w.bits; }

template <class T> static __device__ T get(T x) { return x; }
static __device__ float get(bfloat16 x) { return of_bits((unsigned)x.bits << 16); }
static __device__ float get(float16 x) {
    const unsigned sign = (x.bits & 0x8000u) << 16, rest = x.bits & 0x7fffu;
    if (rest < 0x400) return of_bits(bits_of((float)rest * 5.9604644775390625e-8f) | sign);
    return of_bits((rest >= 0x7c00 ? 0x7f800000u | (rest & 0x3ff) << 13 : (rest << 13) + 0x38000000u) | sign);
}

template <class T> static __device__ void put(T &target, T x) { target = x; }
static __device__ void put(bfloat16 &target, float x) {
    const unsigned bits = bits_of(x);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    target.bits = (unsigned short)(nan ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static __device__ void put(float16 &target, float x) {
    const unsigned sign = bits_of(x) >> 16 & 0x8000u, rest = bits_of(x) & 0x7fffffffu;
    unsigned half;
    if (rest >= 0x7f800000u) half = rest > 0x7f800000u ? 0x7e00u : 0x7c00u;
    else if (rest >= 0x477ff000u) half = 0x7c00u; // rounds to infinity
    else if (rest < 0x38800000u) half = bits_of(of_bits(rest) + 0.5f) - 0x3f000000u; // the sum is rounded to 2^-24
    else half = (rest - 0x38000000u + 0xfff + (rest >> 13 & 1)) >> 13;
    target.bits = (unsigned short)(half | sign);
}

template <class T> static __device__ T conjugate(T x) { return x; }
template <class R> static __device__ complex<R> conjugate(complex<R> x) { return {x.re, -x.im}; }
template <class T> static __device__ T real(T x) { return x; }
template <class R> static __device__ complex<R> real(complex<R> x) { return {x.re, 0}; }
template <class T> static __device__ T number(T, int n) { return (T)n; }
template <class R> static __device__ complex<R> number(complex<R>, int n) { return {(R)n, 0}; }
template <class T> static __device__ bool zero(T x) { return x == 0; }
template <class R> static __device__ bool zero(complex<R> x) { return x.re == 0 && x.im == 0; }
template <class T> static __device__ T product(T x, T y) { return x * y; }
template <class R> static __device__ complex<R> product(complex<R> x, complex<R> y) {
    return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
template <class T> static __device__ T sum(T x, T y) { return x + y; }
template <class R> static __device__ complex<R> sum(complex<R> x, complex<R> y) { return {x.re + y.re, x.im + y.im}; }
