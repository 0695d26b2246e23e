/* Half precision and bfloat16 in plain C, for kernels that are built once for each instruction set: the file that includes
 * this defines K(name), the name with the set's own ending, and PM_INLINE. So there is no guard against a second time. */

/* IEEE half to single and back without half-precision instructions; rounds to nearest even (F. Giesen's
 * float-to-half method: align the exponent by one multiplication, treat infinities and NaN apart). */
PM_INLINE float K(pm_from_f16)(uint16_t h) {
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16, out;
    float magnitude, scale = 5.192296858534828e+33f; /* 2^112: the difference of the exponents' biases */
    __builtin_memcpy(&magnitude, &bits, 4);
    magnitude *= scale;
    __builtin_memcpy(&out, &magnitude, 4);
    out = (h & 0x7fff) >= 0x7c00 ? (bits | 0x7f800000u) : out;
    out |= sign;
    __builtin_memcpy(&magnitude, &out, 4);
    return magnitude;
}

PM_INLINE uint16_t K(pm_to_f16)(float value) {
    uint32_t bits, sign, out;
    float shifted;
    __builtin_memcpy(&bits, &value, 4);
    sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    /* normal numbers: rebias, round to nearest even */
    uint32_t normal = (bits + 0xc8000fffu + ((bits >> 13) & 1)) >> 13;
    /* subnormal halves: let the addition of 0.5 round them */
    float magnitude;
    __builtin_memcpy(&magnitude, &bits, 4);
    shifted = magnitude + 0.5f;
    uint32_t subnormal;
    __builtin_memcpy(&subnormal, &shifted, 4);
    subnormal -= 0x3f000000u;
    out = bits < 0x38800000u ? subnormal : normal;
    out = bits >= 0x47800000u ? (bits > 0x7f800000u ? 0x7e00u : 0x7c00u) : out;
    return (uint16_t)(out | sign);
}

PM_INLINE float K(pm_from_bf16)(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

PM_INLINE uint16_t K(pm_to_bf16)(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? ((bits >> 16) | 0x40u) : rounded);
}
