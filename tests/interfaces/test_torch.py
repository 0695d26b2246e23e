"""planmath's operators of PyTorch: values, gradients, and PyTorch's transforms of programs that have them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.nn import functional  # noqa: E402

import planmath  # noqa: E402
from planmath.interfaces import torch as door  # noqa: E402
from planmath.interfaces.epilogs import EPILOGS  # noqa: E402
from planmath.linalg.advanced import MatmulEpilog  # noqa: E402

ACTIVATIONS = {
    "identity": lambda z: z, "relu": functional.relu, "gelu": lambda z: functional.gelu(z, approximate="tanh"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)


def tensor(*shape: int, dtype: Any = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def check(function: Callable[..., Any], expected: Callable[..., Any], *operands: torch.Tensor) -> None:
    """Values, without gradients too, and gradients of both orders; nothing warns of lost ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", planmath.AutogradWarning)
        torch.testing.assert_close(function(*operands), expected(*operands))
        torch.testing.assert_close(function(*[x.detach() for x in operands]), expected(*operands).detach())
        assert gradcheck(function, operands)
        assert gradgradcheck(function, operands)


@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)], ids=str)
def test_linear(activation, has_bias, shape):
    operands = (tensor(*shape), tensor(5, 4), *([tensor(5)] if has_bias else []))
    expected = ACTIVATIONS[activation or "identity"]
    check(
        lambda x, w, b=None: door.linear(x, w, b, activation),
        lambda *given: expected(functional.linear(*given)),
        *operands,
    )


@pytest.mark.parametrize("epilog", EPILOGS, ids=lambda epilog: epilog.name)
@pytest.mark.parametrize("scaled", [False, True])
def test_epilogs(epilog, scaled):
    activation, has_bias = EPILOGS[epilog]
    bias, c = ([tensor(3)] if has_bias else []), ([tensor(3, 5)] if scaled else [])

    def product(a, b, *more):
        inputs = {"bias": more[0]} if has_bias else None
        given = {"c": more[-1], "alpha": 2.0, "beta": -0.5} if scaled else {}
        return door.matmul(a, b, given.pop("c", None), epilog=epilog, epilog_inputs=inputs, **given)

    def expected(a, b, *more):
        z = (2 if scaled else 1) * (a @ b)
        z = z + more[0][:, None] if has_bias else z
        return ACTIVATIONS[activation](z - 0.5 * more[-1] if scaled else z)

    check(product, expected, tensor(3, 4), tensor(4, 5), *bias, *c)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (6, 4, 5)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_products_of_any_shapes(shapes, dtype):
    check(door.matmul, torch.matmul, *[tensor(*shape, dtype=dtype) for shape in shapes])


@pytest.mark.parametrize("order", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
def test_products_of_any_order(order):
    a, b = (tensor(4, 3).mT if order[0] else tensor(3, 4)), (tensor(5, 4).mT if order[1] else tensor(4, 5))
    result = door.matmul(a, b)
    assert result.is_contiguous()
    check(door.matmul, torch.matmul, a.detach().requires_grad_(), b.detach().requires_grad_())


def test_gradients_of_parameters_are_in_their_order():
    weight = tensor(6, 4)
    door.linear(tensor(3, 4), weight).sum().backward()
    assert weight.grad.is_contiguous()


def test_products_without_elements():
    for m, k, n in ((0, 4, 5), (3, 0, 5), (3, 4, 0)):
        x, w, b = tensor(m, k), tensor(n, k), tensor(n)
        result = door.linear(x, w, b, "gelu")
        torch.testing.assert_close(result, functional.gelu(functional.linear(x, w, b), approximate="tanh"))
        result.sum().backward()
        assert x.grad.shape == (m, k)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("axes", [(1,), (2, 0), None], ids=str)
def test_transforms(norm, axes):
    x, z = tensor(2, 3, 4), tensor(2, 3, 4, dtype=torch.complex128)
    dim = tuple(range(3)) if axes is None else axes
    unscaled = "backward" if norm is None else norm
    inverse = "forward" if norm is None else norm
    check(lambda z: door.fft(z, axes=axes, norm=norm), lambda z: torch.fft.fftn(z, dim=dim, norm=unscaled), z)
    check(lambda z: door.ifft(z, axes=axes, norm=norm), lambda z: torch.fft.ifftn(z, dim=dim, norm=inverse), z)
    check(lambda x: door.rfft(x, axes=axes, norm=norm), lambda x: torch.fft.rfftn(x, dim=dim, norm=unscaled), x)
    for parity in ("even", "odd"):
        s = [z.shape[d] for d in dim]
        s[-1] = 2 * (s[-1] - 1) + (parity == "odd")
        check(
            lambda z, parity=parity: door.irfft(z, axes=axes, norm=norm, last_axis_parity=parity),
            lambda z, s=s: torch.fft.irfftn(z, s, dim=dim, norm=inverse),
            z,
        )


EXPRESSIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,kj", (3, 4), (2, 4)),
    ("iij,jk,kl->il", (3, 3, 4), (4, 5), (5, 2)),
    ("ij,jk,kl->", (3, 4), (4, 5), (5, 2)),
    ("i,j->ji", (3,), (4,)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    ("...i,i...->...", (2, 3), (3, 2)),
    ("ij->ji", (3, 4)),
    ("ii->", (3, 3)),
    ("iji->j", (3, 4, 3)),
    ("aij,ajk->ik", (1, 3, 4), (6, 4, 5)),
    ("i,i,i->i", (3,), (3,), (3,)),
]


@pytest.mark.parametrize(("expr", "shapes"), [(e, s) for e, *s in EXPRESSIONS], ids=[e for e, *_ in EXPRESSIONS])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_contractions(expr, shapes, dtype):
    operands = [tensor(*shape, dtype=dtype) for shape in shapes]
    check(lambda *x: door.einsum(expr, *x), lambda *x: torch.einsum(expr, *x), *operands)


def everything(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    y = door.einsum("...j,kj->...k", door.linear(x, w, b, "gelu"), w.mT)
    spectrum = door.rfft(y, axes=(-1,), norm="ortho")
    return door.irfft(spectrum * spectrum.conj(), axes=(-1,)).sum(-1) + door.matmul(x, w.mT).square().sum(-1)


def as_pytorch_has_it(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    y = functional.gelu(functional.linear(x, w, b), approximate="tanh") @ w
    spectrum = torch.fft.rfft(y, norm="ortho")
    whole = torch.fft.irfft(spectrum * spectrum.conj(), norm="forward")
    return whole.sum(-1) + functional.linear(x, w).square().sum(-1)


@pytest.fixture
def operands() -> tuple[torch.Tensor, ...]:
    return tensor(3, 4), tensor(5, 4), tensor(5)


def test_a_program_of_all(operands):
    check(everything, as_pytorch_has_it, *operands)


@pytest.mark.slow
def test_compiled_without_graph_breaks(operands):
    torch._dynamo.reset()
    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    for given in (operands, [x.detach() for x in operands]):
        torch.testing.assert_close(compiled(*given), everything(*given))
    expected = torch.autograd.grad(everything(*operands).sum(), operands)
    torch.testing.assert_close(torch.autograd.grad(compiled(*operands).sum(), operands), expected)
    torch._dynamo.reset()


@pytest.mark.slow
def test_exported(operands):
    class Module(torch.nn.Module):
        def forward(self, x, w, b):
            return everything(x, w, b)

    given = tuple(x.detach() for x in operands)
    program = torch.export.export(Module(), given)
    targets = {str(node.target) for node in program.graph.nodes}
    assert {f"planmath.{name}.default" for name in ("product", "transform", "contraction")} <= targets
    torch.testing.assert_close(program.module()(*given), everything(*given))


@pytest.mark.parametrize("in_dims", [(0, None, None), (1, None, None), (0, 0, None), (None, 0, 0), (0, 2, 1)], ids=str)
def test_vmap(in_dims):
    given = [
        x.detach() if axis is None else torch.stack([x.detach() * (1 + i) for i in range(3)], dim=axis)
        for x, axis in zip((tensor(2, 4), tensor(5, 4), tensor(5)), in_dims, strict=True)
    ]
    for function, expected in (
        (everything, as_pytorch_has_it),
        (
            lambda x, w, b: door.linear(x, w, b, "relu"),
            lambda x, w, b: functional.relu(functional.linear(x, w, b)),
        ),
    ):
        torch.testing.assert_close(torch.vmap(function, in_dims)(*given), torch.vmap(expected, in_dims)(*given))


def test_gradients_for_each_sample(operands):
    x, w, b = (x.detach() for x in operands)

    def each(function):
        return torch.func.vmap(torch.func.grad(lambda x, w: function(x[None], w, b).sum(), (0, 1)), (0, None))(x, w)

    def second(function):
        return torch.func.jacrev(torch.func.jacrev(lambda x: function(x, w, b).sum()))(x)

    torch.testing.assert_close(each(everything), each(as_pytorch_has_it))
    hessian = second(everything)
    torch.testing.assert_close(hessian, second(as_pytorch_has_it))


def test_pytorchs_own_checks_of_operators(operands):
    x, w, b = operands
    columns = w.detach().mT.requires_grad_()
    spectrum = tensor(3, 4, dtype=torch.complex128)
    for operator, arguments in (
        (torch.ops.planmath.product, (x, columns, b, False, False, "gelu", True)),
        (torch.ops.planmath.product, (x, w, None, False, True, "relu", False)),
        (torch.ops.planmath.transform, (x, [0, 1], "R2C", False, False, "ortho")),
        (torch.ops.planmath.transform, (spectrum, [1], "C2R", True, True, "none")),
        (torch.ops.planmath.contraction, ("ij,kj->ik", [x, w])),
    ):
        torch.library.opcheck(operator.default, arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_other_precisions(dtype):
    x, w, b = tensor(8, 16, dtype=dtype), tensor(12, 16, dtype=dtype), tensor(12, dtype=dtype)
    result = door.linear(x, w, b, "gelu")
    expected = functional.gelu(functional.linear(x.double(), w.double(), b.double()), approximate="tanh")
    torch.testing.assert_close(result.double(), expected, rtol=2e-2, atol=5e-2)
    assert result.dtype == dtype
    result.sum().backward()
    assert w.grad.dtype == dtype


ERRORS = [
    (lambda x, w, b: door.linear(x, w.mT), "do not fit|as many columns as"),
    (lambda x, w, b: door.linear(x, w, b[:2]), "bias has the shape"),
    (lambda x, w, b: door.linear(x, w[0]), "weight has the shape"),
    (lambda x, w, b: door.linear(x, w, activation="tanh"), "activation is 'tanh'"),
    (lambda x, w, b: door.matmul(x, w.mT, epilog=MatmulEpilog.RELU_AUX), "RELU_AUX, which is a part"),
    (lambda x, w, b: door.matmul(x, w.mT, epilog=MatmulEpilog.BIAS), "needs {'bias'"),
    (lambda x, w, b: door.matmul(x, w.mT, epilog_inputs={"bias": b}), "needs none"),
    (lambda x, w, b: door.matmul(x, w.mT, epilog=MatmulEpilog.BIAS, epilog_inputs={"bias": b}), "bias has 5 elements"),
    (lambda x, w, b: door.matmul(x, w.mT, beta=1.0), "beta was given without c"),
    (lambda x, w, b: door.fft(x), "expected a complex one"),
    (lambda x, w, b: door.rfft(x, axes=(2,)), "out of range"),
    (lambda x, w, b: door.rfft(x, axes=(1, -1)), "each once"),
    (lambda x, w, b: door.rfft(x, norm="o"), "norm is 'o'"),
    (lambda x, w, b: door.irfft(x + 0j, last_axis_parity=1), "last_axis_parity is 1"),
    (lambda x, w, b: door.einsum("ij,jk", x, w), "has the extents 4 and 5"),
    (lambda x, w, b: door.einsum("ij", x, w), "for 1 operands"),
    (lambda x, w, b: door.einsum("ijk,jk", x, w), "'ijk' is for"),
    (lambda x, w, b: door.einsum("ij,kj->il", x, w), "the mode 'l'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "match"), ERRORS)
def test_what_does_not_fit_is_told(operands, call, match):
    with pytest.raises(ValueError, match=match):
        call(*operands)


def test_addends_of_vectors_and_factors_of_zero() -> None:
    """c is what broadcasts to the result, and what is multiplied by 0 does not matter."""
    c = torch.tensor([[1.0, 2], [3, 4]])
    zeros, nan = torch.zeros, torch.full((2, 2), float("nan"))
    assert torch.equal(door.matmul(zeros(2, 2, 1), zeros(1), c, beta=1.0), c)
    assert torch.equal(door.matmul(zeros(1), zeros(2, 1, 2), c, beta=1.0), c)
    assert torch.equal(door.matmul(zeros(3), zeros(3), torch.tensor(2.0)), torch.tensor(2.0))
    assert torch.equal(door.matmul(c, c, nan, beta=0.0), c @ c)
    assert torch.equal(door.matmul(nan, c, c, alpha=0.0), c)
    with pytest.raises(ValueError, match="the mode 'i' is that of two axes, of 2 and of 3 elements"):
        door.einsum("ii->i", torch.ones(2, 3))
    negative = torch.complex(zeros(2, 2), c).conj().imag
    assert negative.is_neg()
    assert torch.equal(door.einsum("ij,jk->ik", negative, c), -c @ c)
    torch.testing.assert_close(door.rfft(negative), torch.fft.rfftn(-c))


def test_linear_names_its_own_arguments():
    x, weight, bias = torch.ones(2, 3), torch.ones(4, 5), torch.ones(4)
    with pytest.raises(ValueError, match=r"x has the shape \(2, 3\), and weight \(4, 5\); expected .* \(..., 5\)"):
        door.linear(x, weight)
    with pytest.raises(ValueError, match=r"x has the shape \(\)"):
        door.linear(torch.tensor(1.0), weight)
    with pytest.raises(ValueError, match=r"weight has the dtype torch.float64, and x torch.float32; .*pass weight.to"):
        door.linear(torch.ones(2, 5), weight.double())
    with pytest.raises(ValueError, match=r"bias has the dtype torch.float64, and x torch.float32"):
        door.linear(torch.ones(2, 5), weight, bias.double())
