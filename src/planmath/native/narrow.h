/* Numbers of 8 and 4 bits in plain C, for kernels that are built once for each instruction set: the file that includes this
 * defines K(name), the name with the set's own ending, and PM_INLINE. So there is no guard against a second time.
 *
 * E4M3 has an exponent of 4 bits with the bias 7 and a fraction of 3 bits, no infinities, and two NaNs, all bits beside the
 * sign set; E5M2 is the upper half of IEEE's half precision (P. Micikevicius et al., "FP8 formats for deep learning",
 * arXiv:2209.05433). E2M1 has neither infinities nor NaN (Open Compute Project, "Microscaling Formats (MX)
 * Specification", 1.0). Encoding rounds to nearest even and saturates to the largest finite number, infinities too, as the
 * devices' conversions do (PTX, "cvt.rn.satfinite"); NaN stays NaN. */

PM_INLINE float K(pm_as_float)(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}

PM_INLINE uint32_t K(pm_as_bits)(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
}

/* Below the smallest normal number, a number's fraction counts units. Making it a float by way of an integer leaves out
 * the subnormal floats, on which processors are slow. */
PM_INLINE float K(pm_from_e4m3)(uint8_t code) {
    uint32_t magnitude = code & 0x7f, sign = (uint32_t)(code & 0x80) << 24;
    uint32_t normal = (magnitude << 20) + (120u << 23); /* the difference of the exponents' biases */
    uint32_t subnormal = K(pm_as_bits)((float)(int32_t)magnitude * 0x1p-9f);
    uint32_t bits = magnitude < 8 ? subnormal : normal;
    bits = magnitude == 0x7f ? 0x7fc00000u : bits;
    return K(pm_as_float)(bits | sign);
}

PM_INLINE float K(pm_from_e5m2)(uint8_t code) {
    uint32_t magnitude = code & 0x7f, sign = (uint32_t)(code & 0x80) << 24;
    uint32_t normal = (magnitude << 21) + (112u << 23);
    uint32_t subnormal = K(pm_as_bits)((float)(int32_t)magnitude * 0x1p-16f);
    uint32_t bits = magnitude < 4 ? subnormal : normal;
    bits = magnitude >= 0x7c ? (magnitude << 21) | 0x7f800000u : bits;
    return K(pm_as_float)(bits | sign);
}

/* The upper half of the float, which has all bits that are set. */
#define PM_NARROW_TO_BF16(kind)                                                                                        \
    PM_INLINE uint16_t K(pm_##kind##_to_bf16)(uint8_t code) {                                                          \
        return (uint16_t)(K(pm_as_bits)(K(pm_from_##kind)(code)) >> 16);                                               \
    }
PM_NARROW_TO_BF16(e4m3)
PM_NARROW_TO_BF16(e5m2)

PM_INLINE float K(pm_from_e2m1)(uint8_t code) {
    uint32_t magnitude = code & 7, sign = (uint32_t)(code & 8) << 28;
    uint32_t bits = (magnitude << 22) + (126u << 23);
    bits = magnitude < 2 ? (magnitude ? 0x3f000000u : 0u) : bits;
    return K(pm_as_float)(bits | sign);
}

/* A normal number gets the other bias and is rounded by adding just below half a unit, or half where its last bit is set; a
 * subnormal one by adding the float whose last place is one unit. */
#define PM_ENCODE(kind, sign_shift, fraction, bias, least, unit, most, nan)                                            \
    PM_INLINE uint8_t K(pm_to_##kind)(float value) {                                                                   \
        uint32_t bits = K(pm_as_bits)(value), sign = bits >> 31 << sign_shift, magnitude = bits & 0x7fffffff;          \
        uint32_t normal = magnitude - ((127u - bias) << 23) + (1u << (22 - fraction)) - 1 +                            \
                          ((magnitude >> (23 - fraction)) & 1);                                                        \
        uint32_t subnormal = K(pm_as_bits)(K(pm_as_float)(magnitude) + unit) - K(pm_as_bits)(unit);                    \
        uint32_t code = magnitude < K(pm_as_bits)(least) ? subnormal : normal >> (23 - fraction);                      \
        code = code > most ? most : code;                                                                              \
        return (uint8_t)(magnitude > 0x7f800000u ? nan : code | sign);                                                 \
    }
PM_ENCODE(e4m3, 7, 3, 7u, 0x1p-6f, 0x1p14f, 0x7eu, 0x7fu)
PM_ENCODE(e5m2, 7, 2, 15u, 0x1p-14f, 0x1p7f, 0x7bu, 0x7fu)
PM_ENCODE(e2m1, 3, 1, 1u, 1.0f, 0x1p22f, 7u, 7u) /* NaN becomes the largest number */
