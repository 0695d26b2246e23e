"""planmath's products, transforms and contractions as operators of PyTorch: with gradients, and within its transforms.

What is computed here has gradients of any order and tangents (forward-mode differentiation, also of gradients), works
under `torch.compile` and `torch.export` without graph breaks, and under `torch.vmap` and the other transforms of
`torch.func`. Results are contiguous but where a function says otherwise.

`matmul` and `linear`
    Products with a bias and an activation in one call; `linear` has PyTorch's order, a bias for each column.
`fft`, `ifft`, `rfft`, `irfft`
    Transforms, as in `planmath.fft`, with `norm`.
`einsum`
    Contractions of any number of tensors, with `torch.einsum`'s signature.

The operators themselves are ``torch.ops.planmath.product``, ``transform`` and ``contraction``.

Examples
--------
>>> import torch
>>> from planmath.interfaces.torch import linear
>>> x, weight, bias = torch.ones(4, 3), torch.ones(2, 3, requires_grad=True), torch.zeros(2)
>>> y = linear(x, weight, bias, activation="relu")
>>> y.sum().backward()
>>> weight.grad
tensor([[4., 4., 4.],
        [4., 4., 4.]])
"""

from __future__ import annotations

from planmath.interfaces.torch_contraction import einsum
from planmath.interfaces.torch_product import linear, matmul
from planmath.interfaces.torch_transform import fft, ifft, irfft, rfft

__all__ = ["einsum", "fft", "ifft", "irfft", "linear", "matmul", "rfft"]
