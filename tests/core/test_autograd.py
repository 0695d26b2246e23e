"""Tensors that require gradients: a warning where a graph is missing, an error where one would be broken, versions."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import planmath
from planmath.fft import FFT
from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.sparse.advanced import DirectSolver, direct_solver
from planmath.tensor import BinaryContraction, Contraction, binary_contraction, contract

OTHER = torch.arange(12.0).reshape(4, 3).double() + 1
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
    IDENTITY = torch.eye(3, dtype=torch.float64).to_sparse_csr() * 2
WARNING = r"requires? grad, and the result of .* does not.*detach\(\).*torch\.no_grad\(\)"


def spectrum(x: torch.Tensor) -> FFT:
    return FFT(x)


def product(x: torch.Tensor) -> Matmul:
    return Matmul(OTHER, x)


def contraction(x: torch.Tensor) -> BinaryContraction:
    return BinaryContraction("ij,jk->ik", OTHER, x)


def network(x: torch.Tensor) -> Contraction:
    return Contraction("ij,jk,kl->il", OTHER, x, x)


def solver(x: torch.Tensor) -> DirectSolver:
    return DirectSolver(IDENTITY, x)


OPERATIONS = [spectrum, product, contraction, network, solver]
STATELESS: list[Callable[[Any], Any]] = [
    planmath.fft.rfft,
    lambda x: matmul(OTHER, x),
    lambda x: binary_contraction("ij,jk->ik", OTHER, x),
    lambda x: contract("ij,jk,kl->il", OTHER, x, x),
    lambda x: direct_solver(IDENTITY, x),
]  # fmt: skip


def operand(requires_grad: bool = True) -> torch.Tensor:
    """A square matrix, column by column, as solvers want it."""
    x = (torch.arange(9.0).double().reshape(3, 3) + 1).mT
    return x.requires_grad_(requires_grad)


def run(operation: Any, **arguments: Any) -> Any:
    if isinstance(operation, DirectSolver):
        operation.factorize()
        return operation.solve(**arguments)
    return operation.execute(**arguments)


@pytest.fixture(params=OPERATIONS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


def test_an_execution_outside_no_grad_warns_at_the_line_of_the_call(make):
    with make(operand()) as operation:
        operation.plan()
        with pytest.warns(planmath.AutogradWarning, match=WARNING) as caught:
            result = run(operation)
        line = linecache.getline(caught[0].filename, caught[0].lineno)
        assert "return operation." in line
        assert not result.requires_grad
    with torch.no_grad(), make(operand()) as other:
        other.plan()
        assert torch.equal(result, run(other))


@pytest.mark.parametrize("call", STATELESS)
def test_a_stateless_call_warns_once_for_each_line(call, nothing_remembered):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            call(operand())
        lines = {warning.lineno for warning in caught}
    assert [warning.category for warning in caught] == [planmath.AutogradWarning]
    assert lines == {call.__code__.co_firstlineno} or call is planmath.fft.rfft
    assert caught[0].filename == __file__


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", [torch.Tensor, torch.nn.Parameter])
def test_there_is_no_warning_where_none_wants_gradients(make, mode, kind):
    x = operand() if kind is torch.Tensor else kind(operand(False))
    with mode(), make(x) as operation:
        operation.plan()
        result = run(operation)
        if not isinstance(operation, DirectSolver):
            operation.autotune(1)
            assert torch.allclose(run(operation), result)
    with make(operand().detach()) as operation:
        operation.plan()
        assert torch.equal(run(operation), result)


def test_what_counts_is_the_execution_not_the_binding(make):
    with torch.no_grad(), make(operand()) as operation:
        operation.plan()
        run(operation)
        with torch.enable_grad(), pytest.warns(planmath.AutogradWarning, match=WARNING):
            run(operation)
    x = operand(False)
    with make(x) as operation:
        operation.plan()
        run(operation)
        x.requires_grad_()
        with pytest.warns(planmath.AutogradWarning, match=WARNING):
            run(operation)
        x.requires_grad_(False)
        run(operation)


def test_the_matrix_of_a_system_counts_too():
    matrix = IDENTITY.clone().requires_grad_()
    with pytest.warns(planmath.AutogradWarning, match="^a requires grad"):
        direct_solver(matrix, operand(False))
    with pytest.warns(planmath.AutogradWarning, match=r"^a\[1\], b\[0\] require grad"):
        direct_solver([IDENTITY, matrix], [operand(), operand(False)])


def test_a_tensor_that_requires_grad_is_not_written_to(make):
    with make(operand(False)) as operation:
        operation.plan()
        expected = run(operation)
        out = operation.empty_result().requires_grad_()
        with pytest.raises(ValueError, match=r"^out requires grad.*out\.detach\(\).*torch\.no_grad\(\)"):
            run(operation, out=out)
        assert torch.equal(run(operation, out=out.detach()), expected)
        assert torch.equal(out, expected)
        with torch.no_grad():
            out.zero_()
            assert run(operation, out=out) is out
        assert torch.equal(out, expected)


INPLACE = [
    ("operand", lambda x: FFT(x.to(torch.complex128), options={"inplace": True}), {}),
    ("c", lambda x: Matmul(OTHER[:3], OTHER[:3], c=x, beta=1.0, options={"inplace": True}), {}),
    ("c", lambda x: BinaryContraction("ij,jk->ik", OTHER[:3], OTHER[:3], c=x, out=x), {"beta": 1.0}),
]


@pytest.mark.parametrize(("name", "inplace", "arguments"), INPLACE)
def test_an_operand_that_requires_grad_is_not_replaced(name, inplace, arguments):
    with inplace(operand()) as operation:
        operation.plan()
        operation.autotune(1)
        with pytest.raises(ValueError, match=rf"^{name} requires grad.*{name}\.detach\(\)"):
            operation.execute(**arguments)
        with torch.no_grad():
            before = operation._slots[name].array._version
            target = operation.execute(**arguments)
            assert target._version > before


def test_what_is_written_to_has_a_new_version(make):
    with make(operand(False)) as operation:
        operation.plan()
        run(operation)  # so that the next one is ordinary
        for arguments in ({}, {"stream": 0} if not isinstance(operation, DirectSolver) else {}):
            out = operation.empty_result().zero_()
            weight = torch.ones((), dtype=out.dtype, requires_grad=True)
            loss = (weight * out).sum().abs()
            run(operation, out=out, **arguments)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()


def test_auxiliary_results_have_a_new_version():
    with Matmul(OTHER, operand(False)) as operation:
        operation.plan(epilog=MatmulEpilog.RELU_AUX)
        main, auxiliary = operation.empty_result()
        before = main._version, auxiliary["relu_aux"]._version
        operation.execute(out=(main, auxiliary))
        assert main._version > before[0]
        assert auxiliary["relu_aux"]._version > before[1]


def test_inference_tensors_can_be_written_to_in_inference_mode():
    with torch.inference_mode(), Matmul(OTHER, operand(False)) as operation:
        operation.plan()
        out = operation.empty_result()
        assert out.is_inference()
        assert torch.equal(operation.execute(out=out), OTHER @ operand())
