"""A C library for the tests: every way of passing arguments that the CUDA libraries use."""

SOURCE = r"""#include <stdint.h>
#include <string.h>
#include <unistd.h>

typedef struct { float re, im; } complex64;
typedef struct { double re, im; } complex128;
typedef struct { unsigned x, y, z; } three;
typedef struct { size_t a, b, c; } large;
typedef int64_t word;

int standinGetProperty(int type, int *value) {
    static const int version[] = {12, 3, 4};
    if (type < 0 || type > 2) return 3;
    *value = version[type];
    return 0;
}

int standinNothing(void) { return 0; }
int standinFails(int status) { return status; }

/* Outputs of several kinds, between inputs. */
int standinDescribe(int n, int *twice, void **address, size_t size, size_t *larger, float *half, double *third) {
    *twice = 2 * n;
    *address = (void *)(uintptr_t)0x7fff12345678;
    *larger = size + 1;
    *half = (float)n / 2;
    *third = n / 3.0;
    return 0;
}

word standinTakes(int i, unsigned u, word q, size_t z, void *p) { return i + u + q + (word)z + (word)p; }
size_t standinSize(size_t n) { return n; }
const char *standinName(int n) { return n ? "standin" : 0; }
void standinVoid(int *memory) { *memory = 5; }

/* Each argument counts with its place, so that a wrong order shows. */
word standinMany(word a, word b, word c, word d, word e, word f, word g, word h, word i, word j, word k, word l, word m,
                 word n, word o, word p, word q, word r, word s, word t, word u, word v, word w, word x, word y,
                 word z) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l + 13 * m +
           14 * n + 15 * o + 16 * p + 17 * q + 18 * r + 19 * s + 20 * t + 21 * u + 22 * v + 23 * w + 24 * x + 25 * y +
           26 * z;
}

int standinReals(int a, double b, word c, float d, signed char e, double *sum) {
    *sum = a + 10 * b + 100 * c + 1000 * d + 10000 * e;
    return 0;
}

int standinManyReals(word a, float b, word c, word d, word e, double f, word g, word h, word i, word j, word k, float l,
                     double *sum) {
    *sum = a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l;
    return 0;
}

int standinComplex(complex64 a, int b, complex128 c, double d, double *sum) {
    *sum = a.re + 2 * a.im + 3 * b + 4 * c.re + 5 * c.im + 6 * d;
    return 0;
}

int standinLists(int n, const int *i, const word *q, double factor[], double *sum) {
    *sum = 0;
    for (int k = 0; k < n; k++) *sum += factor[k] * (i[k] + q[k]);
    return 0;
}

int standinLength(const char *text, int *length) {
    *length = (int)strlen(text);
    return 0;
}

int standinByValue(three a, int b, large c, void **sum) {
    *sum = (void *)(uintptr_t)(a.x + 2 * a.y + 3 * a.z + 4 * b + 5 * c.a + 6 * c.b + 7 * c.c);
    return 0;
}
three standinMakes(unsigned x, unsigned y, unsigned z) { return (three){x, y, z}; }

int standinSleeps(int microseconds) { return usleep(microseconds); }

const void *standinVariable = (void *)0x1234;
"""
