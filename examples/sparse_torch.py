"""PyTorch's tensors: one matrix, and a tensor of three dimensions as a batch."""

import warnings

try:
    import torch
except ImportError:
    print("PyTorch is not installed")
    raise SystemExit from None

from planmath.sparse.advanced import direct_solver

warnings.filterwarnings("ignore", "Sparse", UserWarning)  # torch's support of CSR tensors is in beta, as it says
torch.manual_seed(0)

dense = torch.eye(50, dtype=torch.float64) * 3 + (torch.rand(50, 50) < 0.05)
a, b = dense.to_sparse_csr(), torch.rand(50, dtype=torch.float64)
x = direct_solver(a, b)
assert torch.allclose(dense @ x, b)

stack = torch.stack([dense, 2 * dense, -dense])
b = torch.rand(3, 2, 50, dtype=torch.float64).permute(0, 2, 1)  # column by column
x = direct_solver(stack.to_sparse_csr(), b)
assert torch.allclose(stack @ x, b)
print(f"{tuple(x.shape)} solutions, strides {x.stride()} as those of b")
