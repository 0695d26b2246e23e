/* Builds the kernels of a file for several instruction sets, and picks the right ones when the module is loaded: those of
 * the best set that the processor has, or those that the environment variable PLANMATH_INSTRUCTION_SET names.
 *
 * The includer defines PM_BODY as the file's path from this folder. The file uses PM_ISA in the names of what it defines
 * and ends with a table of its kernels, pm_kernels_ followed by PM_ISA. PM_VECTOR is the bytes of a vector register. */
#include <stdlib.h>
#include <string.h>

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

static int pm_has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}
static int pm_has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
#endif
static int pm_has_baseline(void) { return 1; }

/* What was built, the best first. */
static const struct {
    const char *name;
    int (*is_there)(void);
    void *const *kernels;
} pm_instruction_sets[] = {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    {"avx512", pm_has_avx512, pm_kernels_avx512},
    {"avx2", pm_has_avx2, pm_kernels_avx2},
#endif
    {"baseline", pm_has_baseline, pm_kernels_baseline},
};

/* The name of the one that was picked. */
static const char *pm_instruction_set;

/* The kernels for this processor. NULL, with a Python exception, where the environment names a set that it does not have. */
static void **pm_best_kernels(void) {
    const char *wanted = getenv("PLANMATH_INSTRUCTION_SET");
    char those[64] = "";
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    __builtin_cpu_init();
#endif
    for (size_t i = 0; i < sizeof pm_instruction_sets / sizeof *pm_instruction_sets; i++) {
        if (!pm_instruction_sets[i].is_there()) continue;
        if (!wanted || !*wanted || !strcmp(wanted, pm_instruction_sets[i].name)) {
            pm_instruction_set = pm_instruction_sets[i].name;
            return (void **)pm_instruction_sets[i].kernels;
        }
        if (*those) strcat(those, ", ");
        strcat(those, pm_instruction_sets[i].name);
    }
    PyErr_Format(PyExc_ImportError,
                 "the environment variable PLANMATH_INSTRUCTION_SET is '%s'; this processor has kernels for %s: choose one "
                 "of these, or unset it", wanted, those);
    return NULL;
}
