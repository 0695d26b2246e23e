/* Builds the kernels of a file for several instruction sets, and picks the right ones when the module is loaded.
 *
 * The includer defines PM_BODY as the file's path from this folder. The file uses PM_ISA in the names of what it defines
 * and ends with a table of its kernels, pm_kernels_ followed by PM_ISA. PM_VECTOR is the bytes of a vector register. */
#define PM_ISA baseline
#define PM_VECTOR 16
#include PM_BODY
#undef PM_ISA
#undef PM_VECTOR

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("arch=haswell")
#define PM_ISA avx2
#define PM_VECTOR 32
#include PM_BODY
#undef PM_ISA
#undef PM_VECTOR
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=skylake-avx512,prefer-vector-width=512")
#define PM_ISA avx512
#define PM_VECTOR 64
#include PM_BODY
#undef PM_ISA
#undef PM_VECTOR
#pragma GCC pop_options

/* The kernels for the best instruction set of this processor. */
static void **pm_best_kernels(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
        return (void **)pm_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return (void **)pm_kernels_avx2;
    return (void **)pm_kernels_baseline;
}
#else
static void **pm_best_kernels(void) { return (void **)pm_kernels_baseline; }
#endif
