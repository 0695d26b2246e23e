"""A stand-in for cuBLAS on that for the CUDA runtime: the routines of generic products, on the host.

It has the library's rules, as far as the provider has to know them: a handle with a stream and temporary memory, which
a new stream takes away, matrices by columns with leading dimensions, in memory of the device, scale factors on the
host, c that is not read where beta is 0, and triangular products out of place or in the place of their factor.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

from planmath.bindings import cublas
from tests.core.standin_kernels import COMPILER

SOURCE = r"""
#include <complex>
#include <cstdio>
#include <cstring>
#include <vector>

enum { NOT_INITIALIZED = 1, INVALID = 7, MAPPING = 11 };
typedef long long size; // of the 64-bit interface
static char journal[1 << 16];
static struct handle { void *stream, *workspace; size_t size; } the_handle;

static const size_t DEVICE = (size_t)1 << 56;
static bool on_device(const void *p) { return ((size_t)p & DEVICE) != 0; }
template <class T> static T *at(T *p) { return (T *)((size_t)p & (DEVICE - 1)); }
static float conj(float x) { return x; }
static double conj(double x) { return x; }
using std::conj;
static float real(float x) { return x; }
static double real(double x) { return x; }
using std::real;

extern "C" const char *cublasJournal() { return journal; }
extern "C" void cublasForget() { journal[0] = 0; }
extern "C" int cublasGetProperty(int which, int *value) { *value = which == 0 ? 13 : 1; return 0; }
extern "C" int cublasCreate_v2(handle **where) { *where = &the_handle; return 0; }
extern "C" int cublasSetStream_v2(handle *h, void *stream) {
    if (h != &the_handle) return NOT_INITIALIZED;
    h->stream = stream, h->workspace = nullptr;
    return 0;
}
extern "C" int cublasSetWorkspace_v2(handle *h, void *workspace, size_t size) {
    if (h != &the_handle) return NOT_INITIALIZED;
    if (!on_device(workspace) || (size_t)workspace % 256) return INVALID;
    memset(at(workspace), 0x7F, size);
    h->workspace = workspace, h->size = size;
    return 0;
}

static int begin(const char *name, handle *h, std::initializer_list<const void *> matrices, const void *alpha) {
    if (h != &the_handle || !h->workspace) return NOT_INITIALIZED;
    for (const void *matrix : matrices) if (!on_device(matrix)) return MAPPING;
    if (on_device(alpha)) return MAPPING;
    size_t used = strlen(journal);
    snprintf(journal + used, sizeof journal - used, "%s on %zu\n", name, (size_t)h->stream);
    return 0;
}
template <class T> static T element(const T *x, size ld, int operation, size i, size j) {
    const T value = operation ? x[j + i * ld] : x[i + j * ld];
    return operation == 2 ? conj(value) : value;
}
template <class T>
static void general(int opa, int opb, size m, size n, size k, T alpha, const T *a, size lda, const T *b, size ldb,
                    T beta, T *c, size ldc) {
    for (size j = 0; j < n; j++)
        for (size i = 0; i < m; i++) {
            T sum = 0;
            for (size l = 0; l < k; l++) sum += element(a, lda, opa, i, l) * element(b, ldb, opb, l, j);
            c[i + j * ldc] = beta == T(0) ? alpha * sum : alpha * sum + beta * c[i + j * ldc];
        }
}
/* All elements of a matrix of which a triangle is read. */
template <class T> static std::vector<T> whole(char kind, int upper, int unit, size n, const T *a, size lda) {
    std::vector<T> all(n * n);
    for (size j = 0; j < n; j++)
        for (size i = 0; i < n; i++) {
            const bool stored = upper ? i <= j : i >= j;
            if (kind == 't') all[i + j * n] = i == j && unit ? T(1) : stored ? a[i + j * lda] : T(0);
            else if (stored) all[i + j * n] = kind == 'h' && i == j ? T(real(a[i + j * lda])) : a[i + j * lda];
            else all[i + j * n] = kind == 'h' ? conj(a[j + i * lda]) : a[j + i * lda];
        }
    return all;
}
template <class T>
static int gemm(const char *name, handle *h, int opa, int opb, size m, size n, size k, const T *alpha, const T *a,
                size lda, size a_step, const T *b, size ldb, size b_step, const T *beta, T *c, size ldc,
                size c_step, size count) {
    if (lda < (opa ? k : m) || ldb < (opb ? n : k) || ldc < m || m < 1 || n < 1 || k < 1) return INVALID;
    if (int status = begin(name, h, {a, b, c}, alpha)) return status;
    for (size i = 0; i < count; i++)
        general(opa, opb, m, n, k, *alpha, at(a) + i * a_step, lda, at(b) + i * b_step, ldb, *beta, at(c) + i * c_step,
                ldc);
    return 0;
}
template <class T>
static int structured(char kind, const char *name, handle *h, int right, int upper, size m, size n, const T *alpha,
                      const T *a, size lda, const T *b, size ldb, const T *beta, T *c, size ldc) {
    const size k = right ? n : m;
    if (lda < k || ldb < m || ldc < m) return INVALID;
    if (int status = begin(name, h, {a, b, c}, alpha)) return status;
    const std::vector<T> all = whole(kind, upper, 0, k, at(a), lda);
    if (right) general(0, 0, m, n, k, *alpha, (const T *)at(b), ldb, all.data(), k, *beta, at(c), ldc);
    else general(0, 0, m, n, k, *alpha, all.data(), k, (const T *)at(b), ldb, *beta, at(c), ldc);
    return 0;
}
template <class T>
static int trmm(const char *name, handle *h, int right, int upper, int operation, int unit, size m, size n,
                const T *alpha, const T *a, size lda, const T *b, size ldb, T *c, size ldc) {
    const size k = right ? n : m;
    if (lda < k || ldb < m || ldc < m || (b == c && ldb != ldc)) return INVALID;
    if (int status = begin(name, h, {a, b, c}, alpha)) return status;
    const std::vector<T> all = whole('t', upper, unit, k, at(a), lda);
    std::vector<T> other(m * n);
    for (size j = 0; j < n; j++) for (size i = 0; i < m; i++) other[i + j * m] = at(b)[i + j * ldb];
    if (right) general(0, operation, m, n, k, *alpha, other.data(), m, all.data(), k, T(0), at(c), ldc);
    else general(operation, 0, m, n, k, *alpha, all.data(), k, other.data(), m, T(0), at(c), ldc);
    return 0;
}
template <class T>
static int trsm(const char *name, handle *h, int right, int upper, int operation, int unit, size m, size n,
                const T *alpha, const T *a, size lda, T *b, size ldb) {
    const size k = right ? n : m, others = right ? m : n;
    if (lda < k || ldb < m) return INVALID;
    if (int status = begin(name, h, {a, b}, alpha)) return status;
    const std::vector<T> all = whole('t', upper, unit, k, at(a), lda);
    T *x = at(b);
    /* a system with right-hand sides in columns, or its transposed one with them in rows */
    const bool up = (upper != 0) != (operation != 0) != (right != 0);
    for (size j = 0; j < others; j++)
        for (size step = 0; step < k; step++) {
            const size i = up ? k - 1 - step : step;
            T sum = *alpha * (right ? x[j + i * ldb] : x[i + j * ldb]);
            for (size before = 0; before < step; before++) {
                const size l = up ? k - 1 - before : before;
                sum -= right ? element(all.data(), k, operation, l, i) * x[j + l * ldb]
                             : element(all.data(), k, operation, i, l) * x[l + j * ldb];
            }
            (right ? x[j + i * ldb] : x[i + j * ldb]) = sum / element(all.data(), k, operation, i, i);
        }
    return 0;
}

#define ROUTINES(L, T)                                                                                                 \
    extern "C" int cublas##L##gemm_v2_64(handle *h, int opa, int opb, size m, size n, size k, const T *alpha,          \
                                         const T *a, size lda, const T *b, size ldb, const T *beta, T *c,              \
                                         size ldc) {                                                                   \
        return gemm(#L "gemm", h, opa, opb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);                 \
    }                                                                                                                  \
    extern "C" int cublas##L##gemmStridedBatched_64(handle *h, int opa, int opb, size m, size n, size k,               \
                                                    const T *alpha, const T *a, size lda, size sa, const T *b,         \
                                                    size ldb, size sb, const T *beta, T *c, size ldc, size sc,         \
                                                    size count) {                                                      \
        return gemm(#L "gemmStridedBatched", h, opa, opb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc,    \
                    count);                                                                                            \
    }                                                                                                                  \
    extern "C" int cublas##L##symm_v2_64(handle *h, int right, int upper, size m, size n, const T *alpha,              \
                                         const T *a, size lda, const T *b, size ldb, const T *beta, T *c,              \
                                         size ldc) {                                                                   \
        return structured('s', #L "symm", h, right, upper, m, n, alpha, a, lda, b, ldb, beta, c, ldc);                 \
    }                                                                                                                  \
    extern "C" int cublas##L##trsm_v2_64(handle *h, int right, int upper, int operation, int unit, size m, size n,     \
                                         const T *alpha, const T *a, size lda, T *b, size ldb) {                       \
        return trsm(#L "trsm", h, right, upper, operation, unit, m, n, alpha, a, lda, b, ldb);                         \
    }                                                                                                                  \
    extern "C" int cublas##L##trmm_v2_64(handle *h, int right, int upper, int operation, int unit, size m, size n,     \
                                         const T *alpha, const T *a, size lda, const T *b, size ldb, T *c,             \
                                         size ldc) {                                                                   \
        return trmm(#L "trmm", h, right, upper, operation, unit, m, n, alpha, a, lda, b, ldb, c, ldc);                 \
    }
#define HERMITIAN(L, T)                                                                                                \
    extern "C" int cublas##L##hemm_v2_64(handle *h, int right, int upper, size m, size n, const T *alpha,              \
                                         const T *a, size lda, const T *b, size ldb, const T *beta, T *c,              \
                                         size ldc) {                                                                   \
        return structured('h', #L "hemm", h, right, upper, m, n, alpha, a, lda, b, ldb, beta, c, ldc);                 \
    }
ROUTINES(S, float)
ROUTINES(D, double)
ROUTINES(C, std::complex<float>)
ROUTINES(Z, std::complex<double>)
HERMITIAN(C, std::complex<float>)
HERMITIAN(Z, std::complex<double>)
"""


def install(folder: str | Path) -> Any:
    """Let planmath find the stand-in in cuBLAS's place, which is compiled into a folder where it is not there yet."""
    path = Path(folder, "libcublas-standin.so")
    if not path.exists():
        command = [COMPILER, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-x", "c++", "-o", path, "-"]
        subprocess.run(command, input=SOURCE, text=True, check=True)
    standin = ctypes.CDLL(str(path))
    standin.cublasJournal.restype = ctypes.c_char_p
    vars(cublas.LIBRARY).update(missing=None, _handle=standin, path=str(path))
    return standin
