/* Kernels for operands and results of 8 and 4 bits; a part of kernels_body.h. */

#include "narrow.h"

PM_CONVERT(K(pm_e4m3_f32), uint8_t, float, K(pm_from_e4m3))
PM_CONVERT(K(pm_e5m2_f32), uint8_t, float, K(pm_from_e5m2))
PM_CONVERT(K(pm_e4m3_bf16), uint8_t, uint16_t, K(pm_e4m3_to_bf16))
PM_CONVERT(K(pm_e5m2_bf16), uint8_t, uint16_t, K(pm_e5m2_to_bf16))
PM_CONVERT(K(pm_f32_e4m3), float, uint8_t, K(pm_to_e4m3))
PM_CONVERT(K(pm_f32_e5m2), float, uint8_t, K(pm_to_e5m2))

/* --- one scale for a matrix -------------------------------------------------------------------------------------- */

/* The factor of a product: alpha times its operands' scales. An alpha of 0 stays 0, whatever they are. */
static void K(pm_factor)(const float *alpha, const float *a, const float *b, float *factor) {
    *factor = *alpha == 0 ? *alpha : (float)((double)*alpha * *a * *b);
}

static void K(pm_multiply)(pm_index n, const float *restrict scale, float *restrict x) {
    const float factor = *scale;
    for (pm_index i = 0; i < n; i++) x[i] *= factor;
}

/* The largest magnitude; NaN where there is one. Magnitudes are ordered like their bits. */
PM_INLINE void K(pm_largest)(pm_index n, const float *restrict x, float *restrict largest) {
    uint32_t most = 0;
    for (pm_index i = 0; i < n; i++) {
        uint32_t magnitude = K(pm_as_bits)(x[i]) & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    *largest = K(pm_as_float)(most);
}

static void K(pm_amax)(pm_index n, const float *x, float *largest) { K(pm_largest)(n, x, largest); }

/* --- a scale for each block -------------------------------------------------------------------------------------- */

/* Where the scale of a block is: tiles of 128 rows by 4 blocks, one after the other along the blocks (cuBLAS documentation,
 * "1D Block Scaling Factors Layout"). */
PM_INLINE pm_index K(pm_scale_offset)(pm_index row, pm_index block, pm_index blocks) {
    return (row / 128 * (blocks / 4) + block / 4) * 512 + row % 32 * 16 + row % 128 / 32 * 4 + block % 4;
}

/* UE8M0 is an exponent with the bias 127, and 255 is NaN; 2^-127 is a subnormal float. Of UE4M3 the sign is ignored. */
PM_INLINE float K(pm_from_ue8m0)(uint8_t code) {
    uint32_t bits = (uint32_t)code << 23;
    bits = code == 0 ? 0x00400000u : bits;
    return K(pm_as_float)(code == 255 ? 0x7fc00000u : bits);
}

PM_INLINE float K(pm_from_ue4m3)(uint8_t code) { return K(pm_from_e4m3)(code & 0x7f); }

#define PM_BYTES(kind)                                                                                                 \
    PM_INLINE void K(pm_unpack_##kind)(pm_index n, const uint8_t *restrict s, float scale, float *restrict d) {        \
        for (pm_index i = 0; i < n; i++) d[i] = scale * K(pm_from_##kind)(s[i]);                                       \
    }                                                                                                                  \
    PM_INLINE void K(pm_pack_##kind)(pm_index n, const float *restrict s, float factor, uint8_t *restrict d) {         \
        for (pm_index i = 0; i < n; i++) d[i] = K(pm_to_##kind)(s[i] * factor);                                        \
    }
PM_BYTES(e4m3)
PM_BYTES(e5m2)

/* Of two numbers in a byte, the first is in its lower half. */
PM_INLINE void K(pm_unpack_e2m1)(pm_index n, const uint8_t *restrict s, float scale, float *restrict d) {
    for (pm_index i = 0; i < n / 2; i++) {
        d[2 * i] = scale * K(pm_from_e2m1)(s[i] & 15);
        d[2 * i + 1] = scale * K(pm_from_e2m1)(s[i] >> 4);
    }
}

PM_INLINE void K(pm_pack_e2m1)(pm_index n, const float *restrict s, float factor, uint8_t *restrict d) {
    for (pm_index i = 0; i < n / 2; i++)
        d[i] = (uint8_t)(K(pm_to_e2m1)(s[2 * i] * factor) | K(pm_to_e2m1)(s[2 * i + 1] * factor) << 4);
}

/* A block's scale for numbers up to `most`, and what they are multiplied by, as cuBLASLt chooses them (cuBLAS documentation,
 * "1D Block Quantization"): amax / most, rounded up to a power of two for UE8M0, to nearest for UE4M3. */
PM_INLINE uint8_t K(pm_choose_ue8m0)(float amax, float most, float *factor) {
    uint32_t bits = K(pm_as_bits)(amax / most), exponent = bits >> 23, fraction = bits & 0x7fffff;
    if (exponent ? exponent < 254 && fraction > 0 : fraction > 0x400000) exponent++;
    *factor = 1 / K(pm_from_ue8m0)((uint8_t)exponent);
    return (uint8_t)exponent;
}

PM_INLINE uint8_t K(pm_choose_ue4m3)(float amax, float most, float *factor) {
    uint8_t code = K(pm_to_e4m3)(amax / most);
    *factor = code ? 1 / K(pm_from_e4m3)(code) : 0; /* a block whose scale is 0 is 0 */
    return code;
}

/* To and from floats: `rows` of `n` numbers, of which `block` share a scale and `per` are in a byte; rows are `step` bytes
 * and `ld` floats apart. */
#define PM_BLOCKS(kind, scale_kind, block, per, most)                                                                  \
    static void K(pm_##kind##_blocks_f32)(pm_index rows, pm_index n, pm_index step, pm_index ld, const uint8_t *src,   \
                                          const uint8_t *scales, float *dst) {                                         \
        const pm_index blocks = n / block;                                                                             \
        for (pm_index row = 0; row < rows; row++)                                                                      \
            for (pm_index b = 0; b < blocks; b++) {                                                                    \
                float scale = K(pm_from_##scale_kind)(scales[K(pm_scale_offset)(row, b, blocks)]);                     \
                K(pm_unpack_##kind)(block, src + row * step + b * (block / per), scale, dst + row * ld + b * block);   \
            }                                                                                                          \
    }                                                                                                                  \
    static void K(pm_f32_##kind##_blocks)(pm_index rows, pm_index n, pm_index ld, pm_index step, const float *src,     \
                                          uint8_t *dst, uint8_t *scales) {                                             \
        const pm_index blocks = n / block;                                                                             \
        for (pm_index row = 0; row < rows; row++)                                                                      \
            for (pm_index b = 0; b < blocks; b++) {                                                                    \
                const float *x = src + row * ld + b * block;                                                           \
                float amax, factor;                                                                                    \
                K(pm_largest)(block, x, &amax);                                                                          \
                scales[K(pm_scale_offset)(row, b, blocks)] = K(pm_choose_##scale_kind)(amax, most, &factor);           \
                K(pm_pack_##kind)(block, x, factor, dst + row * step + b * (block / per));                             \
            }                                                                                                          \
    }
PM_BLOCKS(e4m3, ue8m0, 32, 1, 448.0f)
PM_BLOCKS(e5m2, ue8m0, 32, 1, 57344.0f)
PM_BLOCKS(e2m1, ue4m3, 16, 2, 6.0f)
