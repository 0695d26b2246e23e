"""Universal sparse tensors as tensors of PyTorch."""

from __future__ import annotations

import pytest
import torch

from planmath.sparse.ust import NamedFormats, Tensor
from planmath.sparse.ust.interfaces.torch_interface import TorchUST, prune_model, reformat_model

A = torch.tensor([[0.0, 2, 0], [1, 0, 3]], dtype=torch.float64)


def made() -> TorchUST:
    return TorchUST.from_torch(A.to_sparse().coalesce())


def test_products() -> None:
    a, b, x, c = made(), torch.rand(3, 4).double(), torch.rand(3).double(), torch.rand(2, 4).double()
    for found, expected in (
        (a @ b, A @ b), (torch.mm(a, b), A @ b), (a.mv(x), A @ x), (a.t() @ c, A.T @ c), (c.T @ a, c.T @ A),
        (torch.addmm(c, a, b, beta=2, alpha=3), 2 * c + 3 * A @ b), (a.permute(1, 0) @ c, A.T @ c),
        (torch.nn.functional.linear(torch.ones(5, 2, 3).double(), a), torch.ones(5, 2, 3).double() @ A.T),
    ):  # fmt: skip
        torch.testing.assert_close(found, expected)
    first, second = a @ b, a @ (2 * b)
    torch.testing.assert_close(second, 2 * first)  # the first one is its own
    a *= 2
    torch.testing.assert_close(a @ b, 2 * A @ b)
    assert torch.zeros_like(a).shape == A.shape
    assert type(a.detach()) is TorchUST
    with pytest.raises(NotImplementedError, match="both"):
        a @ made().t()
    batch = TorchUST.from_torch(torch.stack([A, A]).to_sparse().coalesce())
    torch.testing.assert_close(torch.bmm(batch, torch.stack([b, b])), torch.stack([A @ b, A @ b]))


@pytest.mark.parametrize("local", [True, False])
def test_models(local: bool) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4))
    prune_model(model, local=local, amount=0.5)
    weights = [layer.weight for layer in (model[0], model[2])]
    assert sum(int((w == 0).sum()) for w in weights) == 36
    x = torch.rand(5, 8)
    with torch.no_grad():
        expected = model(x)
        reformat_model(model)
        assert type(model[0].weight) is TorchUST
        for _ in range(2):
            torch.testing.assert_close(model(x), expected)
    other = torch.nn.Linear(8, 6)
    with torch.no_grad():
        expected = other(x)
        rows = NamedFormats.CSR
        reformat_model(other, func=lambda w: TorchUST.of(Tensor.from_package(w).convert(tensor_format=rows)))
        torch.testing.assert_close(other(x), expected)
