/* Calls of C functions of any signature that the 64-bit ABIs of Linux (System V on x86-64, AAPCS64) pass in words and
 * floating-point registers. Both take integers and pointers from one sequence of registers (then the stack) and up to
 * eight floating-point arguments from another, whatever their order in the declaration; the caller clears the stack,
 * so that words beyond those that the function declares do no harm. Windows' ABI counts both in one sequence: there,
 * functions with floating-point arguments need something else. */
#ifndef PLANMATH_FUNCTION_H
#define PLANMATH_FUNCTION_H

#include <string.h>

#include "prepared.h"

enum { PM_MAX_WORDS = 32, PM_MAX_REALS = 8, PM_MAX_RESULTS = 64 };

#define W8 word, word, word, word, word, word, word, word
#define A8(i) a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7]
#define D8 double, double, double, double, double, double, double, double
#define R8 r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]

/* Calls f with the first n of the words at a; the array has PM_MAX_WORDS of them. */
static word pm_invoke_words(void *f, int n, word *a) {
    if (n <= PM_WORDS) return pm_invoke(f, n, a);
    memset(a + n, 0, (size_t)(PM_MAX_WORDS - n) * sizeof(word));
    return ((word(*)(W8, W8, W8, W8))f)(A8(0), A8(8), A8(16), A8(24));
}

/* The same with the floating-point registers at r, all of PM_MAX_REALS. */
static word pm_invoke_with_reals(void *f, int n, word *a, const double *r) {
    if (n <= 8) {
        memset(a + n, 0, (size_t)(8 - n) * sizeof(word));
        return ((word(*)(W8, D8))f)(A8(0), R8);
    }
    memset(a + n, 0, (size_t)(PM_MAX_WORDS - n) * sizeof(word));
    return ((word(*)(W8, W8, W8, W8, D8))f)(A8(0), A8(8), A8(16), A8(24), R8);
}

#undef W8
#undef A8
#undef D8
#undef R8

/* A float travels in the lower half of a register. */
static double pm_float_in_register(float value) {
    double bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}

/* A complex number passed by value; returns how many registers it takes. */
static int pm_complex64_in_registers(double *r, float real, float imaginary) {
#if defined(__x86_64__) || defined(_M_X64)
    float both[2] = {real, imaginary};
    memcpy(r, both, sizeof both);
    return 1;
#else
    r[0] = pm_float_in_register(real);
    r[1] = pm_float_in_register(imaginary);
    return 2;
#endif
}

#endif
