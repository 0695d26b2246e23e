"""Products of numbers of 8 bits, with one scale for a matrix or one for each block of 32, on the CPU."""

import sys
from importlib.util import find_spec

if find_spec("torch") is None:
    sys.exit("This example needs PyTorch, whose tensors have the dtypes: pip install torch")

import torch

from planmath.core.datatypes import CudaDataType
from planmath.linalg.advanced import matmul
from planmath.linalg.advanced.helpers.matmul import apply_mxfp8_scale, create_mxfp8_scale

E4M3 = torch.float8_e4m3fn
torch.manual_seed(0)
a, b = torch.randn(128, 256), torch.randn(128, 256).mT
exact = a @ b

# FP8: the numbers are brought into the range of the dtype, and the scales say how to get back.
scale_a, scale_b = (float(x.abs().max()) / 448 for x in (a, b))
narrow_a, narrow_b = (a / scale_a).to(E4M3), (b / scale_b).to(E4M3)
scales = {"a": scale_a, "b": scale_b}
wide = matmul(narrow_a, narrow_b, quantization_scales=scales, options={"result_type": CudaDataType.CUDA_R_32F})
print("FP8, result of float32: off by", f"{float((wide - exact).abs().max() / exact.abs().max()):.3f}")

# A result of FP8 has a scale too; result_amax tells the largest magnitude, from which the next one is made.
scales["d"] = 448 / float(exact.abs().max())
result, auxiliary = matmul(narrow_a, narrow_b, quantization_scales=scales, options={"result_amax": True})
assert result.dtype is E4M3
print("largest magnitude:", f"{auxiliary['result_amax'].item():.1f}")

# MXFP8: each block of 32 numbers along k has a power of two. The result's blocks get theirs from the product.
blocks = {"a": create_mxfp8_scale(narrow_a, 0), "b": create_mxfp8_scale(narrow_b, -4)}
result, auxiliary = matmul(narrow_a, narrow_b, quantization_scales=blocks, options={"block_scaling": True})
values = apply_mxfp8_scale(result, auxiliary["d_out_scale"], torch.float32)
expected = narrow_a.float() @ narrow_b.float() / 16
assert (values - expected).abs().max() <= expected.abs().max() / 16
print("MXFP8:", result.dtype, "with", len(auxiliary["d_out_scale"]), "scales")
