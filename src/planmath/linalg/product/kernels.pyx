"""Addresses of the element-wise kernels (kernels.h), for prepared calls."""

from libc.stdint cimport intptr_t

cdef extern from "kernels.h":
    enum: PM_IDENTITY, PM_RELU, PM_GELU_KIND, PM_DRELU, PM_DGELU
    enum: PM_COPY_16, PM_COPY_32, PM_COPY_64, PM_COPY_128, PM_CONJ_C64, PM_CONJ_C128, \
        PM_F16_F32, PM_F32_F16, PM_BF16_F32, PM_F32_BF16, PM_I8_F64, PM_I32_F64, \
        PM_F32_F64, PM_F64_F32, PM_F64_I32, PM_EPILOG_F32, PM_EPILOG_F64, PM_ROW_SUMS_F32, \
        PM_ROW_SUMS_F64, PM_SCALE_F16, PM_SCALE_F32, PM_SCALE_F64, PM_SCALE_C64, PM_SCALE_C128
    enum: PM_E4M3_F32, PM_E5M2_F32, PM_E4M3_BF16, PM_E5M2_BF16, PM_F32_E4M3, PM_F32_E5M2, PM_FACTOR, PM_MULTIPLY, \
        PM_AMAX, PM_E4M3_BLOCKS_F32, PM_E5M2_BLOCKS_F32, PM_E2M1_BLOCKS_F32, PM_F32_E4M3_BLOCKS, PM_F32_E5M2_BLOCKS, \
        PM_F32_E2M1_BLOCKS
    void **pm_best_kernels() except NULL
    const char *pm_instruction_set

cdef void **kernels = pm_best_kernels()

#: Which of the sets for which they are built these kernels use.
INSTRUCTION_SET = (<bytes>pm_instruction_set).decode()

IDENTITY, RELU, GELU, DRELU, DGELU = PM_IDENTITY, PM_RELU, PM_GELU_KIND, PM_DRELU, PM_DGELU

#: (from, to, conjugate) -> f(rows, cols, src_row, src_col, dst_row, dst_col, src, dst); strides in elements.
CONVERT = {
    ("float16", "float16", False): <intptr_t>kernels[PM_COPY_16],
    ("bfloat16", "bfloat16", False): <intptr_t>kernels[PM_COPY_16],
    ("float32", "float32", False): <intptr_t>kernels[PM_COPY_32],
    ("int32", "int32", False): <intptr_t>kernels[PM_COPY_32],
    ("float64", "float64", False): <intptr_t>kernels[PM_COPY_64],
    ("complex64", "complex64", False): <intptr_t>kernels[PM_COPY_64],
    ("complex128", "complex128", False): <intptr_t>kernels[PM_COPY_128],
    ("complex64", "complex64", True): <intptr_t>kernels[PM_CONJ_C64],
    ("complex128", "complex128", True): <intptr_t>kernels[PM_CONJ_C128],
    ("float16", "float32", False): <intptr_t>kernels[PM_F16_F32],
    ("float32", "float16", False): <intptr_t>kernels[PM_F32_F16],
    ("bfloat16", "float32", False): <intptr_t>kernels[PM_BF16_F32],
    ("float32", "bfloat16", False): <intptr_t>kernels[PM_F32_BF16],
    ("int8", "float64", False): <intptr_t>kernels[PM_I8_F64],
    ("int32", "float64", False): <intptr_t>kernels[PM_I32_F64],
    ("float32", "float64", False): <intptr_t>kernels[PM_F32_F64],
    ("float64", "float32", False): <intptr_t>kernels[PM_F64_F32],
    ("float64", "int32", False): <intptr_t>kernels[PM_F64_I32],
    ("float8_e4m3fn", "float32", False): <intptr_t>kernels[PM_E4M3_F32],
    ("float8_e5m2", "float32", False): <intptr_t>kernels[PM_E5M2_F32],
    ("float8_e4m3fn", "bfloat16", False): <intptr_t>kernels[PM_E4M3_BF16],
    ("float8_e5m2", "bfloat16", False): <intptr_t>kernels[PM_E5M2_BF16],
    ("float32", "float8_e4m3fn", False): <intptr_t>kernels[PM_F32_E4M3],
    ("float32", "float8_e5m2", False): <intptr_t>kernels[PM_F32_E5M2],
}

#: f(alpha, a, b, factor): the factor of a product, from alpha and its operands' scales.
FACTOR = <intptr_t>kernels[PM_FACTOR]

#: f(n, scale, x): what is in memory times one number.
MULTIPLY = <intptr_t>kernels[PM_MULTIPLY]

#: f(n, x, largest): the largest magnitude.
AMAX = <intptr_t>kernels[PM_AMAX]

#: dtype -> f(rows, n, step, ld, src, scales, dst): rows of numbers times the scales of their blocks, as float32.
DEQUANTIZE = {
    "float8_e4m3fn": <intptr_t>kernels[PM_E4M3_BLOCKS_F32], "float8_e5m2": <intptr_t>kernels[PM_E5M2_BLOCKS_F32],
    "float4_e2m1fn_x2": <intptr_t>kernels[PM_E2M1_BLOCKS_F32],
}

#: dtype -> f(rows, n, ld, step, src, dst, scales): rows of float32 as numbers, and scales of their blocks.
QUANTIZE = {
    "float8_e4m3fn": <intptr_t>kernels[PM_F32_E4M3_BLOCKS], "float8_e5m2": <intptr_t>kernels[PM_F32_E5M2_BLOCKS],
    "float4_e2m1fn_x2": <intptr_t>kernels[PM_F32_E2M1_BLOCKS],
}

#: dtype -> f(kind, inner, outer, ld, aux_ld, bias_inner, bias_outer, d, bias, aux, sums)
EPILOG = {"float32": <intptr_t>kernels[PM_EPILOG_F32], "float64": <intptr_t>kernels[PM_EPILOG_F64]}

#: dtype -> f(rows, cols, row, col, x, sums)
ROW_SUMS = {"float32": <intptr_t>kernels[PM_ROW_SUMS_F32], "float64": <intptr_t>kernels[PM_ROW_SUMS_F64]}

#: dtype -> f(inner, outer, ld, beta, d): d = beta d, and 0 where beta is 0; beta of float16 matrices is a float32.
SCALE = {
    "float16": <intptr_t>kernels[PM_SCALE_F16], "float32": <intptr_t>kernels[PM_SCALE_F32],
    "float64": <intptr_t>kernels[PM_SCALE_F64], "complex64": <intptr_t>kernels[PM_SCALE_C64],
    "complex128": <intptr_t>kernels[PM_SCALE_C128],
}
