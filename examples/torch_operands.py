"""PyTorch tensors come in, PyTorch tensors go out; bfloat16 and int8 products exist for them only."""

import sys

import planmath

try:
    import torch
except ImportError:
    sys.exit("this example needs PyTorch: pip install 'planmath[torch]'")

torch.manual_seed(0)
signal = torch.randn(4, 128, dtype=torch.complex64)
spectrum = planmath.fft.fft(signal, axes=[1])
assert isinstance(spectrum, torch.Tensor)
assert torch.allclose(spectrum, torch.fft.fft(signal), atol=1e-4)

a, b = torch.randn(64, 32, dtype=torch.bfloat16), torch.randn(32, 16, dtype=torch.bfloat16)
product = planmath.linalg.advanced.matmul(a, b)
assert product.dtype is torch.bfloat16
assert torch.allclose(product.float(), a.float() @ b.float(), rtol=0.02, atol=0.1)

a, b = (torch.randint(-100, 100, shape, dtype=torch.int8) for shape in ((16, 32), (32, 8)))
product = planmath.linalg.advanced.matmul(a, b)
assert product.dtype is torch.int32
assert torch.equal(product, a.int() @ b.int())
print("bfloat16 and int8 products agree with PyTorch's")
