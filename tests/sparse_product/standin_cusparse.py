"""A stand-in for cuSPARSE on that for the CUDA runtime: descriptions, and products of sparse and dense matrices.

It has the library's rules, as far as the provider has to know them: a handle with a stream, arrays in memory of the
device, scale factors on the host, both dense matrices in one order, and c that is not read where beta is 0. It computes
in double precision, whatever the dtypes are.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

from planmath.bindings import cusparse
from tests.core.standin_kernels import COMPILER

SOURCE = r"""
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

enum { NOT_INITIALIZED = 1, INVALID = 3, MAPPING = 5, UNSUPPORTED = 10 };
enum { CSR = 1, CSC = 2, COO = 3, BSR = 6 };
typedef long long size;
typedef std::complex<double> number;
static char journal[1 << 16];
struct handle { void *stream; bool known; };

static const size_t DEVICE = (size_t)1 << 56;
static bool on_device(const void *p) { return ((size_t)p & DEVICE) != 0; }
template <class T> static T *at(T *p) { return (T *)((size_t)p & (DEVICE - 1)); }

extern "C" const char *cusparseJournal() { return journal; }
extern "C" void cusparseForget() { journal[0] = 0; }
static void note(const char *name, handle *h) {
    size_t used = strlen(journal);
    snprintf(journal + used, sizeof journal - used, "%s on %zu\n", name, (size_t)h->stream);
}
extern "C" int cusparseGetProperty(int which, int *value) { *value = which == 0 ? 12 : 6 * (which == 1); return 0; }
extern "C" int cusparseCreate(handle **where) { *where = new handle(); note("create", *where); return 0; }
extern "C" int cusparseSetStream(handle *h, void *stream) { h->stream = stream, h->known = true; return 0; }

/* Numbers of cudaDataType: float 0, double 1, half 2, complex 4 and 5, bfloat16 14. */
static float of_half(uint16_t x) {
    const int exponent = x >> 10 & 31, fraction = x & 1023;
    const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                            : exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24);
    return x >> 15 ? -magnitude : magnitude;
}
static uint16_t to_half(float x) {
    uint16_t best = 0;
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    x = fabsf(x);
    int low = 0, high = 0x7c00;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (of_half(middle) <= x) low = middle;
        else high = middle - 1;
    }
    best = low;
    if (low < 0x7c00) {
        const float below = x - of_half(low), above = (low + 1 == 0x7c00 ? 65536.f : of_half(low + 1)) - x;
        if (above < below || (above == below && low & 1)) best = low + 1;
    }
    return best | sign;
}
static int bytes_of(int type) { return type == 0 ? 4 : type == 1 ? 8 : type == 4 ? 8 : type == 5 ? 16 : 2; }
static number read(int type, const void *p, size n) {
    switch (type) {
    case 0: return ((const float *)p)[n];
    case 1: return ((const double *)p)[n];
    case 2: return of_half(((const uint16_t *)p)[n]);
    case 4: return ((const std::complex<float> *)p)[n];
    case 5: return ((const number *)p)[n];
    default: { uint32_t bits = (uint32_t)((const uint16_t *)p)[n] << 16; float x; memcpy(&x, &bits, 4); return x; }
    }
}
static void write(int type, void *p, size n, number x) {
    switch (type) {
    case 0: ((float *)p)[n] = x.real(); break;
    case 1: ((double *)p)[n] = x.real(); break;
    case 2: ((uint16_t *)p)[n] = to_half(x.real()); break;
    case 4: ((std::complex<float> *)p)[n] = x; break;
    case 5: ((number *)p)[n] = x; break;
    default: { float y = x.real(); uint32_t bits; memcpy(&bits, &y, 4); bits += 0x7fff + (bits >> 16 & 1);
               ((uint16_t *)p)[n] = bits >> 16; }
    }
}

struct sparse {
    int format; size rows, cols, nnz, m, n; const void *first, *second; void *val; int index, type, order;
    int batch; size steps[3];
};
struct dense { size rows, cols, leading; void *values; int type, order, batch; size step; };

static int create(sparse **where, int format, size rows, size cols, size nnz, size m, size n, const void *first,
                  const void *second, void *val, int index, int type, int order) {
    if (rows < 0 || cols < 0 || nnz < 0 || (nnz && (!first || !second || !val))) return INVALID;
    *where = new sparse{format, rows, cols, nnz, m, n, first, second, val, index, type, order, 1, {0, 0, 0}};
    return 0;
}
extern "C" int cusparseCreateCsr(sparse **w, size r, size c, size z, void *p, void *q, void *v, int i, int j,
                                 int, int t) {
    return i == j ? create(w, CSR, r, c, z, 1, 1, p, q, v, i, t, 0) : UNSUPPORTED;
}
extern "C" int cusparseCreateCsc(sparse **w, size r, size c, size z, void *p, void *q, void *v, int i, int j,
                                 int, int t) {
    return i == j ? create(w, CSC, r, c, z, 1, 1, p, q, v, i, t, 0) : UNSUPPORTED;
}
extern "C" int cusparseCreateCoo(sparse **w, size r, size c, size z, void *p, void *q, void *v, int i, int, int t) {
    return create(w, COO, r, c, z, 1, 1, p, q, v, i, t, 0);
}
extern "C" int cusparseCreateBsr(sparse **w, size r, size c, size z, size m, size n, void *p, void *q, void *v, int i,
                                 int, int, int t, int order) {
    return create(w, BSR, r, c, z, m, n, p, q, v, i, t, order);
}
static int point(sparse *s, int format, const void *p, const void *q, void *v) {
    if (s->format != format) return INVALID;
    s->first = p, s->second = q, s->val = v;
    return 0;
}
extern "C" int cusparseCsrSetPointers(sparse *s, void *p, void *q, void *v) { return point(s, CSR, p, q, v); }
extern "C" int cusparseCscSetPointers(sparse *s, void *p, void *q, void *v) { return point(s, CSC, p, q, v); }
extern "C" int cusparseCooSetPointers(sparse *s, void *p, void *q, void *v) { return point(s, COO, p, q, v); }
extern "C" int cusparseSpMatSetValues(sparse *s, void *v) { s->val = v; return 0; }
extern "C" int cusparseCsrSetStridedBatch(sparse *s, int batch, size offsets, size others) {
    s->batch = batch, s->steps[0] = offsets, s->steps[1] = s->steps[2] = others;
    return s->format == CSR ? 0 : INVALID;
}
extern "C" int cusparseBsrSetStridedBatch(sparse *s, int batch, size offsets, size columns, size values) {
    s->batch = batch, s->steps[0] = offsets, s->steps[1] = columns, s->steps[2] = values;
    return s->format == BSR ? 0 : INVALID;
}
extern "C" int cusparseDestroySpMat(sparse *s) { delete s; return 0; }
extern "C" int cusparseCreateDnMat(dense **w, size rows, size cols, size leading, void *v, int type, int order) {
    if (leading < (order == 1 ? rows : cols) || !v) return INVALID;
    *w = new dense{rows, cols, leading, v, type, order, 1, 0};
    return 0;
}
extern "C" int cusparseCreateDnVec(dense **w, size n, void *v, int type) {
    *w = new dense{n, 1, n, v, type, 1, 1, 0};
    return 0;
}
extern "C" int cusparseDnMatSetValues(dense *d, void *v) { d->values = v; return 0; }
extern "C" int cusparseDnVecSetValues(dense *d, void *v) { d->values = v; return 0; }
extern "C" int cusparseDnMatSetStridedBatch(dense *d, int batch, size step) {
    d->batch = batch, d->step = step;
    return 0;
}
extern "C" int cusparseDestroyDnMat(dense *d) { delete d; return 0; }
extern "C" int cusparseDestroyDnVec(dense *d) { delete d; return 0; }

static size index_of(const sparse *s, const void *p, size n) {
    return s->index == 2 ? (size)((const int *)p)[n] : ((const size *)p)[n];
}
struct entry { size row, col, place; };
static std::vector<entry> entries(const sparse *s, int batch) {
    std::vector<entry> found;
    const size width = s->index == 2 ? 4 : 8;
    const char *first = (const char *)at(s->first) + batch * s->steps[0] * width;
    const char *second = (const char *)at(s->second) + batch * s->steps[1] * width;
    if (s->format == COO) {
        for (size n = 0; n < s->nnz; n++) found.push_back({index_of(s, first, n), index_of(s, second, n), n});
        return found;
    }
    const size lines = s->format == CSC ? s->cols : s->rows;
    for (size line = 0; line < lines; line++)
        for (size q = index_of(s, first, line); q < index_of(s, first, line + 1); q++) {
            const size other = index_of(s, second, q);
            if (s->format == CSR) found.push_back({line, other, q});
            else if (s->format == CSC) found.push_back({other, line, q});
            else for (size i = 0; i < s->m; i++)
                for (size j = 0; j < s->n; j++)
                    found.push_back({line * s->m + i, other * s->n + j,
                                     q * s->m * s->n + (s->order == 2 ? i * s->n + j : j * s->m + i)});
        }
    return found;
}
static size place(const dense *d, size i, size j) { return d->order == 1 ? i + j * d->leading : i * d->leading + j; }

static int multiply(const char *name, handle *h, int opa, int opb, const void *alpha, const sparse *a, const dense *b,
                    const void *beta, const dense *c, int work, void *buffer, bool computes) {
    if (!h->known) return NOT_INITIALIZED;
    for (const void *p : {a->first, a->second, (const void *)a->val, (const void *)b->values, (const void *)c->values,
                          (const void *)buffer})
        if (!on_device(p)) return MAPPING;
    if (on_device(alpha) || on_device(beta)) return MAPPING;
    memset(at(buffer), computes ? 0x7F : 0, 64);
    note(name, h);
    if (!computes) return 0;
    const number scale = read(work, alpha, 0), keep = read(work, beta, 0);
    for (int batch = 0; batch < c->batch; batch++) {
        const size bs = b->batch > 1 ? batch * b->step : 0, cs = batch * c->step, av = batch * a->steps[2];
        std::vector<number> total(c->rows * c->cols);
        for (const entry &e : entries(a, batch)) {
            const size i = opa ? e.col : e.row, k = opa ? e.row : e.col;
            const number value = read(a->type, at(a->val), av + e.place);
            for (size j = 0; j < c->cols; j++)
                total[i * c->cols + j] +=
                    value * read(b->type, at(b->values), bs + (opb ? place(b, j, k) : place(b, k, j)));
        }
        for (size i = 0; i < c->rows; i++)
            for (size j = 0; j < c->cols; j++) {
                const size where = cs + place(c, i, j);
                number x = scale * total[i * c->cols + j];
                if (keep != 0.0) x += keep * read(c->type, at(c->values), where);
                write(c->type, at(c->values), where, x);
            }
    }
    return 0;
}
static int check(int opa, int opb, const sparse *a, const dense *b, const dense *c, bool matrices) {
    const size scale_m = a->format == BSR ? a->m : 1, scale_n = a->format == BSR ? a->n : 1;
    const size rows = (opa ? a->cols : a->rows) * scale_m, summed = (opa ? a->rows : a->cols) * scale_n;
    if (a->format == BSR && opa) return UNSUPPORTED;
    if (c->rows != rows || (opb ? b->cols : b->rows) != summed || (opb ? b->rows : b->cols) != c->cols) return INVALID;
    if (matrices && b->order != c->order) return UNSUPPORTED;
    if (c->batch != a->batch && !(a->batch == 1 && c->batch == 1)) return INVALID;
    return a->type == b->type ? 0 : UNSUPPORTED;
}
extern "C" int cusparseSpMM_bufferSize(handle *, int opa, int opb, const void *, sparse *a, dense *b, const void *,
                                       dense *c, int, int alg, size_t *size) {
    *size = 100;
    if (alg == 12 && opa) return UNSUPPORTED;
    return check(opa, opb, a, b, c, true);
}
extern "C" int cusparseSpMM_preprocess(handle *h, int opa, int opb, const void *alpha, sparse *a, dense *b,
                                       const void *beta, dense *c, int work, int, void *buffer) {
    return multiply("preprocess", h, opa, opb, alpha, a, b, beta, c, work, buffer, false);
}
extern "C" int cusparseSpMM(handle *h, int opa, int opb, const void *alpha, sparse *a, dense *b, const void *beta,
                            dense *c, int work, int, void *buffer) {
    return multiply("SpMM", h, opa, opb, alpha, a, b, beta, c, work, buffer, true);
}
extern "C" int cusparseSpMV_bufferSize(handle *, int opa, const void *, sparse *a, dense *b, const void *, dense *c,
                                       int, int, size_t *size) {
    *size = 100;
    return check(opa, 0, a, b, c, false);
}
extern "C" int cusparseSpMV_preprocess(handle *h, int opa, const void *alpha, sparse *a, dense *b, const void *beta,
                                       dense *c, int work, int, void *buffer) {
    return multiply("preprocess", h, opa, 0, alpha, a, b, beta, c, work, buffer, false);
}
extern "C" int cusparseSpMV(handle *h, int opa, const void *alpha, sparse *a, dense *b, const void *beta, dense *c,
                            int work, int, void *buffer) {
    return multiply("SpMV", h, opa, 0, alpha, a, b, beta, c, work, buffer, true);
}

static int sample(handle *h, int opa, int opb, const void *alpha, const dense *a, const dense *b, const void *beta,
                  const sparse *c, int work, void *buffer, bool computes) {
    if (!h->known) return NOT_INITIALIZED;
    for (const void *p : {c->first, c->second, (const void *)c->val, (const void *)a->values, (const void *)b->values,
                          (const void *)buffer})
        if (!on_device(p)) return MAPPING;
    if (on_device(alpha) || on_device(beta)) return MAPPING;
    note(computes ? "SDDMM" : "preprocess", h);
    if (!computes) return 0;
    const number scale = read(work, alpha, 0), keep = read(work, beta, 0);
    for (const entry &e : entries(c, 0)) {
        number total = 0;
        for (size k = 0; k < a->cols; k++)
            total += read(a->type, at(a->values), place(a, e.row, k))
                     * read(b->type, at(b->values), place(b, k, e.col));
        total *= scale;
        if (keep != 0.0) total += keep * read(c->type, at(c->val), e.place);
        write(c->type, at(c->val), e.place, total);
    }
    return 0;
}
extern "C" int cusparseSDDMM_bufferSize(handle *, int opa, int opb, const void *, dense *a, dense *b, const void *,
                                        sparse *c, int, int, size_t *size) {
    *size = 100;
    if (opa || opb || c->format != CSR) return UNSUPPORTED;
    return a->rows == c->rows && b->cols == c->cols && a->cols == b->rows ? 0 : INVALID;
}
extern "C" int cusparseSDDMM_preprocess(handle *h, int opa, int opb, const void *alpha, dense *a, dense *b,
                                        const void *beta, sparse *c, int work, int, void *buffer) {
    return sample(h, opa, opb, alpha, a, b, beta, c, work, buffer, false);
}
extern "C" int cusparseSDDMM(handle *h, int opa, int opb, const void *alpha, dense *a, dense *b, const void *beta,
                             sparse *c, int work, int, void *buffer) {
    return sample(h, opa, opb, alpha, a, b, beta, c, work, buffer, true);
}
"""


def install(folder: str | Path) -> Any:
    """Let planmath find the stand-in in cuSPARSE's place, which is compiled into a folder where it is not there yet."""
    path = Path(folder, "libcusparse-standin.so")
    if not path.exists():
        command = [COMPILER, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-x", "c++", "-o", path, "-"]
        subprocess.run(command, input=SOURCE, text=True, check=True)
    standin = ctypes.CDLL(str(path))
    standin.cusparseJournal.restype = ctypes.c_char_p
    vars(cusparse.LIBRARY).update(missing=None, _handle=standin, path=str(path))
    return standin
