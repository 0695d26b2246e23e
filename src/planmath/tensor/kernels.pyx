"""Addresses of the contraction kernels (contraction_kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

cdef extern from "contraction_kernels.h":
    enum: PM_THREADS, PM_SPLIT, PM_RESULT, PM_SUMMED, PM_ALONG_SUM, PM_OPERATOR, PM_TILE, PM_GEMM, PM_LIMIT, \
        PM_LETTERS, PM_M, PM_N, PM_K, PM_LDA, PM_LDB, PM_LDD, PM_ONE, PM_BLOCK, PM_LOOPS, PM_MOST_LOOPS, \
        PM_TURNED_BYTES, PM_PACKED_BYTES, PM_PACKED_COLUMNS, PM_BYTES, PM_WIDE
    enum: PM_COPY_16, PM_COPY_32, PM_COPY_64, PM_COPY_128, \
        PM_F16_F32, PM_BF16_F32, PM_F32_F32, PM_F64_F64, PM_C64_C64, PM_C128_C128, PM_F32_F16, PM_F32_BF16, \
        PM_DIRECT_F32, PM_DIRECT_F64, PM_DIRECT_C64, PM_DIRECT_C128, PM_PANELS_F32, PM_PANELS_F64, \
        PM_GETT_F32, PM_GETT_F64, PM_GETT_TERMS_F32, PM_GETT_TERMS_F64
    void **pm_best_kernels() except NULL
    void pm_products(...)

cdef void **kernels = pm_best_kernels()

#: Places in a descriptor, which begins with them; the loops begin at HEADER.
PLACE = {
    "threads": PM_THREADS, "split": PM_SPLIT, "result": PM_RESULT, "summed": PM_SUMMED, "along_sum": PM_ALONG_SUM,
    "operator": PM_OPERATOR, "tile": PM_TILE, "gemm": PM_GEMM, "limit": PM_LIMIT, "letters": PM_LETTERS, "m": PM_M,
    "n": PM_N, "k": PM_K, "lda": PM_LDA, "ldb": PM_LDB, "ldd": PM_LDD, "one": PM_ONE,
    "block": PM_BLOCK, "bytes": PM_BYTES,
}
HEADER = PM_LOOPS
#: Most loops of either kind in a descriptor.
MOST_LOOPS = PM_MOST_LOOPS

#: Bytes of an element -> f(descriptor, a, d): elements copied as they are.
COPY = {
    2: <intptr_t>kernels[PM_COPY_16], 4: <intptr_t>kernels[PM_COPY_32], 8: <intptr_t>kernels[PM_COPY_64],
    16: <intptr_t>kernels[PM_COPY_128],
}

#: (from, to) -> f(descriptor, a, d): elements converted, an operator applied, and summed.
TRANSFORM = {
    ("float16", "float32"): <intptr_t>kernels[PM_F16_F32],
    ("bfloat16", "float32"): <intptr_t>kernels[PM_BF16_F32],
    ("float32", "float32"): <intptr_t>kernels[PM_F32_F32],
    ("float64", "float64"): <intptr_t>kernels[PM_F64_F64],
    ("complex64", "complex64"): <intptr_t>kernels[PM_C64_C64],
    ("complex128", "complex128"): <intptr_t>kernels[PM_C128_C128],
    ("float32", "float16"): <intptr_t>kernels[PM_F32_F16],
    ("float32", "bfloat16"): <intptr_t>kernels[PM_F32_BF16],
}

#: dtype -> f(descriptor, a, b, d, alpha, beta): a contraction element by element.
DIRECT = {
    "float32": <intptr_t>kernels[PM_DIRECT_F32], "float64": <intptr_t>kernels[PM_DIRECT_F64],
    "complex64": <intptr_t>kernels[PM_DIRECT_C64], "complex128": <intptr_t>kernels[PM_DIRECT_C128],
}

#: dtype -> f(descriptor, a, b, d, alpha, beta, temporary memory): a contraction straight from strides (gett.h).
GETT = {"float32": <intptr_t>kernels[PM_GETT_F32], "float64": <intptr_t>kernels[PM_GETT_F64]}
#: What each thread packs at a time: bytes of rows, most columns, of which a multiple, and most terms of their sums.
PACKED_BYTES, PACKED_COLUMNS, COLUMNS_OF_A_TILE = PM_PACKED_BYTES, PM_PACKED_COLUMNS, PM_WIDE
PACKED_TERMS = {"float32": <intptr_t>kernels[PM_GETT_TERMS_F32], "float64": <intptr_t>kernels[PM_GETT_TERMS_F64]}

#: BLAS routine -> the same of small factors (panels.h), of which the first has at most TURNED bytes if it is transposed.
PANELS = {"sgemm": <intptr_t>kernels[PM_PANELS_F32], "dgemm": <intptr_t>kernels[PM_PANELS_F64]}
TURNED = PM_TURNED_BYTES

#: f(descriptor, a, b, d, alpha, beta): a matrix product for every position of the loops.
PRODUCTS = <intptr_t>&pm_products
