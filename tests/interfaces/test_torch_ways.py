"""Who is told of planmath's operators of PyTorch: nobody where nobody listens, and whoever does else. Tangents, too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from planmath.interfaces import torch as door  # noqa: E402
from planmath.interfaces import torch_plans, torch_product  # noqa: E402

#: PyTorch's own imports for forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

Program = Callable[..., torch.Tensor]


def layer(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return door.linear(x, w, b, "gelu")


def as_pytorch_has_it(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return functional.gelu(functional.linear(x, w, b), approximate="tanh")


@pytest.fixture
def operands() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64) for shape in ((3, 4), (5, 4), (5,))]


#: Programs of all operators, of tensors x and w.
PROGRAMS: dict[str, Program] = {
    "identity": door.linear,
    "relu": lambda x, w: door.linear(x, w, activation="relu"),
    "gelu": lambda x, w: door.linear(x, w, w[:, 0], "gelu"),
    "batch": lambda x, w: door.matmul(x.expand(2, 3, 4), w.mT),
    "spectrum": lambda x, w: door.rfft(x * w[:3], norm="ortho"),
    "and back": lambda x, w: door.irfft(door.fft(torch.complex(x, w[:3])), axes=(1,), last_axis_parity="odd"),
    "network": lambda x, w: door.einsum("ij,kj,ij->k", x, w, x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_tangents(name, operands):
    x, w, _ = (operand.requires_grad_() for operand in operands)
    assert gradcheck(PROGRAMS[name], (x, w), check_forward_ad=True)
    assert gradgradcheck(
        PROGRAMS[name], (x, w), check_fwd_over_rev=True, check_rev_over_rev=False, check_undefined_grad=False
    )


TRANSFORMS: dict[str, Callable[[Program, list[torch.Tensor]], Any]] = {
    "jvp": lambda f, given: torch.func.jvp(f, tuple(given), tuple(x + 1 for x in given)),
    "jvp of one": lambda f, given: torch.func.jvp(lambda w: f(given[0], w, given[2]), (given[1],), (given[1],)),
    "jacfwd": lambda f, given: torch.func.jacfwd(f, (0, 1, 2))(*given),
    "hessian": lambda f, given: torch.func.hessian(lambda x: f(x, *given[1:]).sum())(given[0]),
    "reverse over forward": lambda f, given: torch.func.jacrev(torch.func.jacfwd(lambda x: f(x, *given[1:]).sum()))(
        given[0]
    ),
    "for each sample": lambda f, given: torch.func.vmap(
        lambda x: torch.func.jvp(lambda w: f(x[None], w, given[2]), (given[1],), (given[1],))
    )(given[0]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_tangents_in_transforms(name, operands):
    transform = TRANSFORMS[name]
    torch.testing.assert_close(transform(layer, operands), transform(as_pytorch_has_it, operands))


@pytest.mark.parametrize("outer", [torch.func.jacfwd, lambda f: lambda x: torch.func.jvp(f, (x,), (x,))])
def test_forward_mode_twice_is_refused(outer, operands):
    with pytest.raises(NotImplementedError, match="jacrev for one of the two"):
        outer(torch.func.jacfwd(lambda x: layer(x, *operands[1:]).sum()))(operands[0])


def test_tangents_of_what_requires_grad(operands):
    def mixed(function: Program) -> tuple[torch.Tensor, ...]:
        x, w, b = (operand.detach().requires_grad_() for operand in operands)
        with forward_ad.dual_level():
            result, tangent = forward_ad.unpack_dual(function(forward_ad.make_dual(x, 2 * operands[0]), w, b))
            return tangent, *torch.autograd.grad(result.sum() + tangent.square().sum(), (x, w, b))

    torch.testing.assert_close(mixed(layer), mixed(as_pytorch_has_it))


class Listening(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.heard: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.heard.append(str(func))
        return func(*args, **kwargs or {})


class ListeningToFunctions(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.heard: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.heard.append(str(func))
        return func(*args, **kwargs or {})


class Derived(torch.Tensor):
    pass


@pytest.mark.parametrize("listening", [Listening, ListeningToFunctions])
@pytest.mark.parametrize("records", [False, True])
def test_modes_see_the_operator(listening, records, operands):
    operands[1].requires_grad_(records)
    with listening() as mode:
        result = layer(*operands)
    assert "planmath.product.default" in mode.heard
    torch.testing.assert_close(result, as_pytorch_has_it(*operands))
    assert result.requires_grad == records


def test_devices_of_a_mode_are_heard(operands):
    with torch.device("meta"):
        torch.testing.assert_close(layer(*operands), as_pytorch_has_it(*operands))


def test_nobody_else_does(operands, monkeypatch):
    """Without modes there is no way through the dispatcher, with gradients or without."""
    monkeypatch.setattr(torch.ops.planmath.product.default, "_op", None)  # so that it cannot be called
    torch.testing.assert_close(layer(*operands), as_pytorch_has_it(*operands))
    w = operands[1].requires_grad_()
    expected = torch.autograd.grad(as_pytorch_has_it(*operands).square().sum(), w)
    torch.testing.assert_close(torch.autograd.grad(layer(*operands).square().sum(), w), expected)
    with torch.no_grad():
        assert not layer(*operands).requires_grad
    with pytest.raises(TypeError), Listening():
        layer(*operands)


def test_derived_tensors_have_their_say(operands):
    x, w, b = operands
    assert type(layer(x.as_subclass(Derived), w, b)) is Derived
    assert type(layer(x, torch.nn.Parameter(w), b)) is torch.Tensor


def test_programs_that_are_traced(operands):
    x, w, b = operands
    with pytest.warns():
        traced = torch.jit.trace(layer, (x, w, b))
    torch.testing.assert_close(traced(2 * x, w, b), layer(2 * x, w, b))
    graph = make_fx(layer)(x, w, b)
    assert torch.ops.planmath.product.default in {node.target for node in graph.graph.nodes}
    torch.testing.assert_close(graph(2 * x, w, b), layer(2 * x, w, b))


def test_gradients_in_graphs_are_pytorchs_own_products(operands):
    def gradients(*operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(layer(*operands).square().sum(), operands)

    for operand in operands:
        operand.requires_grad_()
    graph = make_fx(gradients)(*operands)
    targets = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert targets.count("planmath.product.default") == 1
    assert targets.count("aten.mm.default") == 2
    for found, expected in zip(graph(*operands), gradients(*operands), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_gradient_of_a_bias_comes_with_that_of_weights(operands, monkeypatch):
    called = []
    compute = torch_product._compute
    monkeypatch.setattr(torch_product, "_compute", lambda *of: called.append(of[5]) or compute(*of))
    x, w, b = operands
    b.requires_grad_()
    for wanted, expected in ((False, []), (True, ["sum"])):
        w.requires_grad_(wanted)
        ctx = SimpleNamespace(
            saved_tensors=(x, w, b, None), needs_input_grad=(False, wanted, True), how=(False, True, "identity", False)
        )  # fmt: skip
        _, of_w, of_b, *_ = torch_product._backward(torch_product._compute, ctx, torch.ones(3, 5, dtype=torch.float64))
        assert called == expected
        torch.testing.assert_close(of_b, torch.full((5,), 3.0, dtype=torch.float64))
        assert of_w is None or torch.equal(of_w, torch.ones(5, 3, dtype=torch.float64) @ x)


def test_saved_tensors_are_saved_as_pytorch_saves_them(operands):
    x, w, b = (operand.requires_grad_() for operand in operands)
    seen = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: seen.append(tensor) or tensor, lambda tensor: tensor):
        layer(x, w, b)
    assert len(seen) == 4
    result = layer(x, w, b)
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_results_are_changed_in_place(operands):
    def changed(function: Program) -> tuple[torch.Tensor, ...]:
        x, w, b = (operand.detach().requires_grad_() for operand in operands)
        result = function(x, w, b).mul_(x[:, :1])
        with torch.no_grad():
            unrecorded = function(x, w, b)
        unrecorded.mul_(x[:, :1])
        return result, unrecorded, *torch.autograd.grad((result + unrecorded).sum(), (x, w, b))

    torch.testing.assert_close(changed(layer), changed(as_pytorch_has_it))


def test_calls_of_all_kinds_at_once():
    """Plans of one kind of calls fit some dtypes and strides, and are used by one thread at a time."""
    kinds = [
        (dtype, order, activation, has_bias)
        for dtype in (torch.float32, torch.float64) for order in range(4) for activation in ("relu", "gelu")
        for has_bias in (False, True)
    ]  # fmt: skip
    wrong = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(3):
            for dtype, order, activation, has_bias in kinds:
                x, w = (torch.randn((4, 4), generator=generator, dtype=dtype) for _ in range(2))
                x, w = (x.mT if order & 1 else x), (w[:, ::2] if order & 2 else w[:, :2])
                b = torch.randn(4, generator=generator, dtype=dtype) if has_bias else None
                z = functional.linear(x[:, :2], w, b)
                expected = functional.relu(z) if activation == "relu" else functional.gelu(z, approximate="tanh")
                if not torch.allclose(door.linear(x[:, :2], w, b, activation), expected, atol=1e-5):
                    wrong.append((dtype, order, activation, has_bias))

    threads = [Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_few_plans_are_kept(monkeypatch):
    torch_plans.clear()
    monkeypatch.setattr(torch_plans, "CAPACITY", 3)
    monkeypatch.setattr(torch_plans, "MOST", 2)
    for n in range(1, 7):
        for dtype in (torch.float32, torch.float64, torch.complex64):
            x = torch.ones(n, 2, dtype=dtype)
            torch.testing.assert_close(door.matmul(x, x.mT), x @ x.mT)
    assert len(torch_plans._idle) <= 3
    assert all(len(idle) <= 2 for idle in torch_plans._idle.values())
    torch_plans.clear()
    assert not torch_plans._idle


def test_the_log_hears_of_calls(caplog, operands):
    layer(*operands)
    with caplog.at_level("INFO", "planmath"):
        torch.testing.assert_close(layer(*operands), as_pytorch_has_it(*operands))
    assert "= Matmul EXECUTION =" in caplog.text


def test_checkpoints(operands):
    from torch.utils.checkpoint import checkpoint

    given = [operand.requires_grad_() for operand in operands]
    expected = torch.autograd.grad(layer(*given).sum(), given)
    again = torch.autograd.grad(checkpoint(layer, *given, use_reentrant=False).sum(), given)
    torch.testing.assert_close(again, expected)


def test_compiled_tangents_are_not_taken_for_zero() -> None:
    x, w = torch.tensor([[1.0, 2]]), torch.ones(2, 1)

    def tangent(z: Any) -> Any:
        return torch.func.jvp(lambda q: door.matmul(q, w), (z,), (z,))[1]

    assert tangent(x).item() == 3
    with warnings.catch_warnings(action="ignore"):
        assert torch.compile(tangent, backend="eager")(x).item() == 3


def test_batched_gradients(operands):
    """By PyTorch's older vmap: `is_grads_batched`, and ``vectorize=True`` in `torch.autograd.functional`."""
    x, w, _ = operands
    for name in ("gelu", "batch", "spectrum", "network"):
        program = PROGRAMS[name]

        def real(x: torch.Tensor, program: Program = program) -> torch.Tensor:
            result = program(x, w)
            return torch.view_as_real(result) if result.is_complex() else result

        one, many = (torch.autograd.functional.jacobian(real, x, vectorize=vectorize) for vectorize in (False, True))
        torch.testing.assert_close(many, one)
    hessian = torch.autograd.functional.hessian
    one, many = (hessian(lambda x: layer(x, *operands[1:]).sum(), x, vectorize=vectorize) for vectorize in (0, 1))
    torch.testing.assert_close(many, one)


def test_tensors_without_values_have_shapes():
    x, w = torch.empty(3, 4, device="meta"), torch.empty(5, 4, device="meta", requires_grad=True)
    y = door.linear(x, w, activation="gelu")
    y.sum().backward()
    assert (y.shape, w.grad.shape, door.rfft(x).shape) == ((3, 5), (5, 4), (3, 3))


def test_empty_batches():
    x = torch.empty(0, 6, requires_grad=True)
    result = door.rfft(x, axes=(1,), norm="ortho")
    result.abs().sum().backward()
    assert (result.shape, result.dtype, x.grad.shape) == ((0, 4), torch.complex64, (0, 6))
    assert torch.vmap(door.rfft)(torch.empty(0, 3, 4)).shape == (0, 3, 3)
    with pytest.raises(ValueError, match="at least one axis and one element"):
        door.rfft(torch.empty(3, 0), axes=(1,))


def test_derivatives_through_the_dispatcher_are_those_of_the_functions(operands):
    """Which is how compiled programs get them; of an outer transform or autograd as well."""
    x, w, _ = operands

    def by_dispatcher(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.planmath.product(x, w, None, False, True, "gelu", False)[0].square().sum()

    def expected(x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(functional.linear(x, w), approximate="tanh").square().sum()

    x.requires_grad_()
    for transform in (
        torch.func.grad, lambda f: torch.func.jacrev(torch.func.jacrev(f)),
        lambda f: lambda x: torch.autograd.grad(torch.func.grad(f)(x).square().sum(), x)[0],
    ):  # fmt: skip
        torch.testing.assert_close(transform(by_dispatcher)(x), transform(expected)(x))


@pytest.mark.slow
def test_compiled_transforms(operands):
    x, *others = operands

    def program(function: Program) -> Callable[..., torch.Tensor]:
        return torch.func.grad(lambda x: torch.func.grad(lambda x: function(x, *others).sum())(x).square().sum())

    torch._dynamo.reset()
    compiled = torch.compile(program(layer), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), program(as_pytorch_has_it)(x))
    torch._dynamo.reset()
