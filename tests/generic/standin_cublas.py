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
from planmath.core.cuda import device_code
from planmath.linalg.product import device_kernels
from tests.core.standin_kernels import COMPILER

SOURCE = r"""
#include <complex>
#include <cstdio>
#include <cstring>
#include <vector>

namespace narrow { // numbers of 16 bits, as planmath's own kernels have them
#define __device__
typedef unsigned INDEX;
@NUMBERS@
}
enum { NOT_INITIALIZED = 1, INVALID = 7, MAPPING = 11, NOT_SUPPORTED = 15 };
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

/* One triangle of a times its transpose, or adjoint; the numbers of the latter are real. */
template <class T, class R>
static int square(char kind, const char *name, handle *h, int upper, int operation, size n, size k, const R *alpha,
                  const T *a, size lda, const R *beta, T *c, size ldc) {
    if (lda < (operation ? k : n) || ldc < n || operation == (kind == 'h' ? 1 : 2)) return INVALID;
    if (int status = begin(name, h, {a, c}, alpha)) return status;
    const T *x = at(a);
    T *d = at(c);
    for (size j = 0; j < n; j++)
        for (size i = upper ? 0 : j; i < (upper ? j + 1 : n); i++) {
            T sum = 0;
            for (size l = 0; l < k; l++) {
                const T y = element(x, lda, operation, i, l), z = element(x, lda, operation, j, l);
                sum += y * (kind == 'h' ? conj(z) : z);
            }
            sum = T(*alpha) * sum;
            if (*beta != R(0)) sum += T(*beta) * d[i + j * ldc];
            d[i + j * ldc] = kind == 'h' && i == j ? T(real(sum)) : sum;
        }
    return 0;
}
/* All elements of a matrix in band storage, or in packed storage (lda 0). */
template <class T>
static std::vector<T> spread(char kind, int upper, int unit, size n, size below, size above, const T *a, size lda) {
    std::vector<T> all(n * n);
    for (size j = 0; j < n; j++)
        for (size i = 0; i < n; i++) {
            const bool flips = kind != 'g' && (upper ? i > j : i < j);
            const size r = flips ? j : i, c = flips ? i : j;
            if (r - c > below || c - r > above || (flips && kind == 't')) continue;
            if (i == j && unit) { all[i + j * n] = 1; continue; }
            T x = lda ? a[above + r - c + c * lda] : a[r + (upper ? c * (c + 1) / 2 : c * (2 * n - c - 1) / 2)];
            if (kind == 'h') x = flips ? conj(x) : i == j ? T(real(x)) : x;
            all[i + j * n] = x;
        }
    return all;
}
template <class T>
static int by_vector(const char *name, handle *h, int operation, const std::vector<T> &all, size n, const T *alpha,
                     const void *a, const T *x, size incx, const T *beta, T *y, size incy) {
    if (!incx || !incy) return INVALID;
    if (int status = begin(name, h, {a, x, y}, alpha)) return status;
    for (size i = 0; i < n; i++) {
        T sum = 0;
        for (size j = 0; j < n; j++) sum += element(all.data(), n, operation, i, j) * at(x)[j * incx];
        T &d = at(y)[i * incy];
        d = *beta == T(0) ? *alpha * sum : *alpha * sum + *beta * d;
    }
    return 0;
}
template <class T>
static int in_place(const char *name, handle *h, bool solves, int upper, int operation, const std::vector<T> &all,
                    size n, const void *a, T *x, size incx) {
    if (!incx) return INVALID;
    if (int status = begin(name, h, {a, x}, nullptr)) return status;
    std::vector<T> given(n), found(n);
    for (size i = 0; i < n; i++) given[i] = at(x)[i * incx];
    const bool up = (upper != 0) != (operation != 0);
    for (size step = 0; step < n; step++) {
        const size i = up ? n - 1 - step : step;
        T sum = 0;
        for (size j = 0; j < n; j++)
            if (!solves || j != i) sum += element(all.data(), n, operation, i, j) * (solves ? found[j] : given[j]);
        found[i] = solves ? (given[i] - sum) / element(all.data(), n, operation, i, i) : sum;
    }
    for (size i = 0; i < n; i++) at(x)[i * incx] = found[i];
    return 0;
}
/* Products of narrow numbers, with sums and factors in single precision. */
template <class T>
static int narrow_gemm(const char *name, handle *h, int opa, int opb, size m, size n, size k, const float *alpha,
                       const void *a, size lda, size sa, const void *b, size ldb, size sb, const float *beta, void *c,
                       size ldc, size sc, size count) {
    if (lda < (opa ? k : m) || ldb < (opb ? n : k) || ldc < m) return INVALID;
    if (int status = begin(name, h, {a, b, c}, alpha)) return status;
    const T *x = (const T *)at(a), *y = (const T *)at(b);
    T *d = (T *)at(c);
    for (size q = 0; q < count; q++, x += sa, y += sb, d += sc)
        for (size j = 0; j < n; j++)
            for (size i = 0; i < m; i++) {
                float sum = 0;
                for (size l = 0; l < k; l++)
                    sum += narrow::get(opa ? x[l + i * lda] : x[i + l * lda])
                           * narrow::get(opb ? y[j + l * ldb] : y[l + j * ldb]);
                sum *= *alpha;
                if (*beta != 0) sum += *beta * narrow::get(d[i + j * ldc]);
                narrow::put(d[i + j * ldc], sum);
            }
    return 0;
}
static int gemm_ex(const char *name, handle *h, int opa, int opb, size m, size n, size k, const float *alpha,
                   const void *a, int ta, size lda, size sa, const void *b, int tb, size ldb, size sb,
                   const float *beta, void *c, int tc, size ldc, size sc, size count, int compute, int algorithm) {
    if (ta != tb || tb != tc || compute != 68 || algorithm != -1) return NOT_SUPPORTED;
    if (ta == 2)
        return narrow_gemm<narrow::float16>(name, h, opa, opb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc,
                                            count);
    if (ta == 14)
        return narrow_gemm<narrow::bfloat16>(name, h, opa, opb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc,
                                             sc, count);
    return NOT_SUPPORTED;
}
extern "C" int cublasGemmEx_64(handle *h, int opa, int opb, size m, size n, size k, const float *alpha, const void *a,
                               int ta, size lda, const void *b, int tb, size ldb, const float *beta, void *c, int tc,
                               size ldc, int compute, int algorithm) {
    return gemm_ex("GemmEx", h, opa, opb, m, n, k, alpha, a, ta, lda, 0, b, tb, ldb, 0, beta, c, tc, ldc, 0, 1,
                   compute, algorithm);
}
/* Groups of products, of which each has its extents, operations and factors on the host; tables of all products'
 * addresses are on the device. */
template <class T>
static int grouped(const char *name, handle *h, const int *opa, const int *opb, const size *m, const size *n,
                   const size *k, const T *alpha, T *const *a, const size *lda, T *const *b, const size *ldb,
                   const T *beta, T *const *c, const size *ldc, size groups, const size *counts) {
    if (int status = begin(name, h, {a, b, c}, alpha)) return status;
    for (size g = 0, i = 0; g < groups; g++)
        for (size end = i + counts[g]; i < end; i++) {
            const T *x = at(a)[i], *y = at(b)[i];
            T *d = at(c)[i];
            if (lda[g] < (opa[g] ? k[g] : m[g]) || ldb[g] < (opb[g] ? n[g] : k[g]) || ldc[g] < m[g]) return INVALID;
            if (!on_device(x) || !on_device(y) || !on_device(d)) return MAPPING;
            general(opa[g], opb[g], m[g], n[g], k[g], alpha[g], (const T *)at(x), lda[g], (const T *)at(y), ldb[g],
                    beta[g], at(d), ldc[g]);
        }
    return 0;
}
#define GROUPED(L, T)                                                                                                  \
    extern "C" int cublas##L##gemmGroupedBatched_64(                                                                   \
        handle *h, const int *opa, const int *opb, const size *m, const size *n, const size *k, const T *alpha,        \
        T *const *a, const size *lda, T *const *b, const size *ldb, const T *beta, T *const *c, const size *ldc,       \
        size groups, const size *counts) {                                                                             \
        return grouped(#L "gemmGroupedBatched", h, opa, opb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, groups,     \
                       counts);                                                                                        \
    }
GROUPED(S, float)
GROUPED(D, double)

#define STORED(L, T, S, SYMMETRIC)                                                                                     \
    extern "C" int cublas##L##SYMMETRIC##bmv_v2_64(handle *h, int upper, size n, size k, const T *alpha, const T *a,   \
                                                   size lda, const T *x, size incx, const T *beta, T *y, size incy) {  \
        if (lda < k + 1) return INVALID;                                                                               \
        auto all = spread(S, upper, 0, n, upper ? 0 : k, upper ? k : 0, at(a), lda);                                   \
        return by_vector(#L #SYMMETRIC "bmv", h, 0, all, n, alpha, a, x, incx, beta, y, incy);                         \
    }                                                                                                                  \
    extern "C" int cublas##L##SYMMETRIC##pmv_v2_64(handle *h, int upper, size n, const T *alpha, const T *a,           \
                                                   const T *x, size incx, const T *beta, T *y, size incy) {            \
        auto all = spread(S, upper, 0, n, n, n, at(a), 0);                                                             \
        return by_vector(#L #SYMMETRIC "pmv", h, 0, all, n, alpha, a, x, incx, beta, y, incy);                         \
    }
#define VECTORS(L, T)                                                                                                  \
    extern "C" int cublas##L##gbmv_v2_64(handle *h, int operation, size m, size n, size below, size above,             \
                                         const T *alpha, const T *a, size lda, const T *x, size incx, const T *beta,   \
                                         T *y, size incy) {                                                            \
        if (m != n || lda < below + above + 1) return INVALID;                                                         \
        auto all = spread('g', 0, 0, n, below, above, at(a), lda);                                                     \
        return by_vector(#L "gbmv", h, operation, all, n, alpha, a, x, incx, beta, y, incy);                           \
    }                                                                                                                  \
    TRIANGLES(L, T, mv, false) TRIANGLES(L, T, sv, true)
#define TRIANGLES(L, T, NAME, SOLVES)                                                                                  \
    extern "C" int cublas##L##tb##NAME##_v2_64(handle *h, int upper, int operation, int unit, size n, size k,          \
                                               const T *a, size lda, T *x, size incx) {                                \
        if (lda < k + 1) return INVALID;                                                                               \
        auto all = spread('t', upper, unit, n, upper ? 0 : k, upper ? k : 0, at(a), lda);                              \
        return in_place(#L "tb" #NAME, h, SOLVES, upper, operation, all, n, a, x, incx);                               \
    }                                                                                                                  \
    extern "C" int cublas##L##tp##NAME##_v2_64(handle *h, int upper, int operation, int unit, size n, const T *a,      \
                                               T *x, size incx) {                                                      \
        auto all = spread('t', upper, unit, n, n, n, at(a), 0);                                                        \
        return in_place(#L "tp" #NAME, h, SOLVES, upper, operation, all, n, a, x, incx);                               \
    }
VECTORS(S, float)
VECTORS(D, double)
VECTORS(C, std::complex<float>)
VECTORS(Z, std::complex<double>)
STORED(S, float, 's', s)
STORED(D, double, 's', s)
STORED(C, std::complex<float>, 'h', h)
STORED(Z, std::complex<double>, 'h', h)

#define SQUARE(L, T, R, KIND, NAME)                                                                                    \
    extern "C" int cublas##L##NAME##_v2_64(handle *h, int upper, int operation, size n, size k, const R *alpha,        \
                                           const T *a, size lda, const R *beta, T *c, size ldc) {                      \
        return square(KIND, #L #NAME, h, upper, operation, n, k, alpha, a, lda, beta, c, ldc);                         \
    }
SQUARE(S, float, float, 's', syrk)
SQUARE(D, double, double, 's', syrk)
SQUARE(C, std::complex<float>, std::complex<float>, 's', syrk)
SQUARE(Z, std::complex<double>, std::complex<double>, 's', syrk)
SQUARE(C, std::complex<float>, float, 'h', herk)
SQUARE(Z, std::complex<double>, double, 'h', herk)

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


SOURCE = SOURCE.replace("@NUMBERS@", device_code.numbers() + device_kernels.text("places"))


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
