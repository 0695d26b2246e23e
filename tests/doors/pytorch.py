"""Training a small network, whose layers are planmath's."""

from itertools import pairwise

import torch

from planmath.interfaces.torch import linear

torch.manual_seed(0)
x = torch.rand(256, 2) * 2 - 1
wanted = (x[:, :1] * x[:, 1:] > 0).float()
sizes = [2, 32, 32, 1]
weights = [torch.nn.Parameter(torch.randn(n, k) / k**0.5) for k, n in pairwise(sizes)]
biases = [torch.nn.Parameter(torch.zeros(n)) for n in sizes[1:]]
optimizer = torch.optim.Adam([*weights, *biases], lr=0.02)


def network(x):
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = linear(x, weight, bias, activation="gelu")
    return linear(x, weights[-1], biases[-1])


for _ in range(150):
    optimizer.zero_grad()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(network(x), wanted)
    loss.backward()
    optimizer.step()
assert loss < 0.1, loss
print(f"PyTorch: the loss is {loss.item():.3f}")
