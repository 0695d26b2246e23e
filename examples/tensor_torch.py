"""Operands that are PyTorch tensors: so are the results; half precision is summed in single precision."""

import numpy as np

try:
    import torch
except ImportError:
    print("PyTorch is not installed; nothing to show")
    raise SystemExit from None

from planmath.tensor import BinaryContraction

a, b = torch.randn(6, 32, 16).to(torch.bfloat16), torch.randn(16, 32, 5).to(torch.bfloat16)
with BinaryContraction("ijk,kjl->il", a, b) as contraction:
    contraction.plan()
    r = contraction.execute()
    print(contraction)
assert r.dtype is torch.bfloat16
assert np.allclose(r.float(), torch.einsum("ijk,kjl->il", a.float(), b.float()), rtol=1e-2, atol=0.2)
