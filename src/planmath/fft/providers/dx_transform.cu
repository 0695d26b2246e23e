// A function of cuFFTDx's, around which elements are loaded and stored by a user's callbacks, each once. A transform has
// THREADS threads, of which thread t has the elements t + i THREADS in its registers. `load`, `store` and the parameters
// stand before this source.

extern "C" __device__ void FUNCTION(void *registers, void *shared);
extern __shared__ __align__(16) unsigned char all_shared[];

extern "C" __global__ void __launch_bounds__(THREADS * PER_BLOCK) dx_transform(const __grid_constant__ parameters p) {
    const line of = line_of(p, (long long)blockIdx.x * PER_BLOCK + threadIdx.y);
    __align__(16) ELEMENT v[STORAGE] = {};
    IN *const in = (IN *)v;
    const OUT *const out = (const OUT *)v;
#pragma unroll
    for (int e = 0; e < LOADED_EACH; e++) {
        const int i = threadIdx.x + e * THREADS;
        if (i < LOADED && of.there) {
            in[e] = load(p.operand, (unsigned long long)(of.read + i * (long long)(READ_STEP)), p.loaded);
#if KIND == C2R
            if (i == 0 || 2 * i == LENGTH) in[e].y = 0;
#endif
        }
    }
    FUNCTION(v, all_shared);
#pragma unroll
    for (int e = 0; e < STORED_EACH; e++) {
        const int i = threadIdx.x + e * THREADS;
        const long long at = of.written + i * (long long)(WRITTEN_STEP);
        if (i < STORED && of.there) store(p.result, (unsigned long long)at, multiplied(out[e], (PART)p.scale), p.stored);
    }
}
