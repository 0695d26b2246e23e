"""What each call does in each state, operands and `out` that change, stateless calls that remember plans."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest

from planmath.core import remembered
from planmath.core.operation import State
from planmath.core.tuning import clocks, measuring
from planmath.tensor import (
    BinaryContraction,
    Contraction,
    InvalidContractionState,
    TernaryContraction,
    binary_contraction,
    contract,
    ternary_contraction,
)
from tests.arrays import to_numpy, to_package

RNG = np.random.default_rng(3)
A, B, C = RNG.random((3, 4)), RNG.random((4, 5)), RNG.random((5, 2))
NEW = {"a": RNG.random((3, 4)), "b": RNG.random((4, 5)), "c": RNG.random((5, 2))}


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch):
    """What autotuning measures does not matter here."""
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)
    monkeypatch.setattr(measuring, "SHORTEST", 1e-6)


class Kind:
    """One of the operations, used alike."""

    def __init__(self, create, reset, factors):
        self.create, self.reset, self.factors = create, reset, factors

    def expected(self, operands):
        return (
            np.linalg.multi_dot([*operands.values()][: self.factors])
            if self.factors > 2
            else operands["a"] @ operands["b"]
        )


def reset_by_name(operation, operands):
    operation.reset_operands(**{name: array for name, array in operands.items() if name in operation._slots})


KINDS = {
    "binary": Kind(lambda: BinaryContraction("ij,jk->ik", A, B), reset_by_name, 2),
    "ternary": Kind(lambda: TernaryContraction("ij,jk,kl->il", A, B, C), reset_by_name, 3),
    "many": Kind(
        lambda: Contraction("ij,jk,kl->il", A, B, C), lambda op, operands: op.reset_operands(*operands.values()), 3
    ),
}
OLD = {"a": A, "b": B, "c": C}

INTO = {
    "specified": (State.SPECIFIED, lambda op: None),
    "planned": (State.PLANNED, lambda op: op.plan()),
    "autotuned": (State.PLANNED, lambda op: (op.plan(), op.autotune(iterations=1))),
    "released": (State.RELEASED, lambda op: (op.plan(), op.release_operands())),
    "freed": (State.FREED, lambda op: (op.plan(), op.free())),
}
S, P, R, F = State.SPECIFIED, State.PLANNED, State.RELEASED, State.FREED
FORBIDDEN = {
    ("autotune", S): "call plan", ("execute", S): "call plan", ("report", S): "needs a plan",
    ("empty_result", S): "call plan",
    ("plan", R): "call reset_operands", ("autotune", R): "call reset_operands", ("execute", R): "call reset_operands",
    ("empty_result", R): "call reset_operands",
    ("plan", F): "create a new", ("autotune", F): "create a new", ("execute", F): "create a new",
    ("reset", F): "create a new", ("release_operands", F): "create a new", ("empty_result", F): "create a new",
    ("report", F): "needs a plan",
}  # fmt: skip
AFTER = {"plan": {S: P}, "release_operands": {S: R, P: R}, "free": dict.fromkeys((S, P, R), F), "reset": {R: P}}


@pytest.mark.parametrize("state", INTO)
@pytest.mark.parametrize(
    "call", ["plan", "autotune", "execute", "reset", "release_operands", "free", "empty_result", "report"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_calls_in_states(kind, call, state):
    before, bring = INTO[state]
    of = KINDS[kind]
    operation = of.create()
    try:
        bring(operation)
        assert operation.state is before

        def make():
            return of.reset(operation, NEW) if call == "reset" else getattr(operation, call)()

        if message := FORBIDDEN.get((call, before)):
            with pytest.raises(InvalidContractionState, match=message):
                make()
            assert operation.state is before
        else:
            make()
            assert operation.state is AFTER.get(call, {}).get(before, before)
        if operation.state is P:
            operands = NEW if call == "reset" else OLD
            np.testing.assert_allclose(operation.execute(), of.expected(operands), rtol=1e-13)
    finally:
        operation.free()


@pytest.mark.parametrize("kind", KINDS)
def test_operands_changed_in_place_count(kind):
    of = KINDS[kind]
    with of.create() as operation:
        operation.plan()
        of.reset(operation, fresh := {name: array.copy() for name, array in OLD.items()})
        first = operation.execute()
        fresh["a"] *= 2
        np.testing.assert_array_equal(operation.execute(), 2 * first)


@pytest.mark.parametrize("kind", KINDS)
def test_released_operands_are_let_go_of(kind):
    import weakref

    of = KINDS[kind]
    operands = {name: array.copy() for name, array in OLD.items()}
    references = [weakref.ref(array) for array in list(operands.values())[: of.factors]]
    with of.create() as operation:
        operation.plan()
        of.reset(operation, operands)
        operation.execute()
        del operands
        operation.release_operands()
        gc.collect()
        assert [reference() for reference in references] == [None] * of.factors
        of.reset(operation, NEW)
        np.testing.assert_allclose(operation.execute(), of.expected(NEW), rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_forgotten_objects_warn(kind):
    operations = [KINDS[kind].create()]
    operations[0].plan()
    with pytest.warns(ResourceWarning, match="unfreed"):
        operations.clear()


def test_single_operands_can_be_replaced(package):
    a, b, b2 = (to_package(x, package) for x in (A, B, NEW["b"]))
    with BinaryContraction("ij,jk->ik", a, b) as contraction:
        contraction.plan()
        contraction.reset_operands(b=b2)
        np.testing.assert_allclose(to_numpy(contraction.execute()), A @ NEW["b"])
        contraction.reset_operands_unchecked(a=a, b=b)
        np.testing.assert_allclose(to_numpy(contraction.execute()), A @ B)


def test_out_is_kept_replaced_and_released(package):
    first, second, third = (to_package(np.zeros((3, 5)), package) for _ in range(3))
    a, b = to_package(A, package), to_package(B, package)
    with BinaryContraction("ij,jk->ik", a, b, out=first) as contraction:
        contraction.plan()
        assert contraction.execute() is first
        contraction.reset_operands(out=second)
        assert contraction.execute() is second
        assert contraction.execute(out=third) is third
        contraction.release_operands()
        with pytest.raises(ValueError, match="got no out"):
            contraction.reset_operands(a=a, b=b)
        with pytest.raises(ValueError, match="got no operand"):
            contraction.reset_operands(out=third)
        contraction.reset_operands(a=a, b=b, out=third)
        assert contraction.execute() is third
    for out in (first, second, third):
        np.testing.assert_allclose(to_numpy(out), A @ B)


@pytest.mark.parametrize("inplace", [False, True])
def test_out_is_replaced_with_operands_or_nothing_is(inplace, monkeypatch):
    a, b, c, new = np.random.default_rng(8).standard_normal((4, 3, 3))
    out = c if inplace else np.empty((3, 3))
    with BinaryContraction("ij,jk->ik", a, b, c=c, out=out) as contraction:
        contraction.plan()
        with monkeypatch.context() as patch:
            patch.setattr(BinaryContraction, "_reset_operands", None)  # the ordinary way does without
            target = new if inplace else np.empty((3, 3))
            expected = 2 * a @ b + new
            contraction.reset_operands(a=2 * a, b=b, c=new, out=target)
            assert contraction.execute(beta=1.0) is target
            assert np.allclose(target, expected)
            contraction.reset_operands(out=target)
        for wrong in (*([] if inplace else [b]), np.empty((3, 2)), np.empty((6, 3))[::2], np.zeros((3, 3), "f4")):
            with pytest.raises(ValueError, match=r"shares memory|as planned|different arrays"):
                contraction.reset_operands(a=a, b=b, c=wrong if inplace else None, out=wrong)
        assert np.allclose(contraction.execute(beta=0.0), 2 * a @ b)
        assert contraction.execute(beta=0.0) is target


def test_sums_in_place():
    c = np.zeros((3, 5))
    with BinaryContraction("ij,jk->ik", A, B, c=c, out=c) as contraction:
        contraction.plan()
        contraction.autotune(iterations=1)
        assert not c.any(), "autotuning works on a copy"
        for i in range(3):
            assert contraction.execute(beta=1.0) is c
            np.testing.assert_allclose(c, (i + 1) * A @ B)
        other = np.ones((3, 5))
        contraction.reset_operands(c=other, out=other)
        contraction.execute(alpha=2.0, beta=3.0)
        np.testing.assert_allclose(other, 2 * A @ B + 3)
        contraction.reset_operands(out=c)
        assert contraction.execute(beta=0.0) is c


def test_factors_of_each_execution():
    with BinaryContraction("ij,jk->ik", A, B, c=C[:1, :1]) as contraction:
        contraction.plan()
        for alpha, beta in ((1, 1), (2.0, 0.5), (np.float64(3), np.array(2)), (1.0, 0)):
            r = contraction.execute(alpha=alpha, beta=beta)
            np.testing.assert_allclose(r, float(alpha) * A @ B + float(beta) * C[0, 0])


def test_complex_factors():
    a, b = A + 1j, B - 1j
    with BinaryContraction("ij,jk->ik", a, b) as contraction:
        contraction.plan()
        np.testing.assert_allclose(contraction.execute(alpha=2 - 1j), (2 - 1j) * (a @ b))


def test_workspace_can_be_given_back():
    a, b = RNG.random((6, 5, 4, 6)), RNG.random((6, 6, 5, 5))
    with BinaryContraction("abcd,dbea->ec", a.transpose(1, 0, 2, 3)[:5, :5], b[:, :5][..., :5]) as contraction:
        contraction.plan()
        expected = contraction.execute()
        np.testing.assert_array_equal(contraction.execute(release_workspace=True), expected)
        np.testing.assert_array_equal(contraction.execute(), expected)


@pytest.mark.usefixtures("nothing_remembered")
def test_stateless_calls_remember_plans():
    for _ in range(3):
        np.testing.assert_allclose(binary_contraction("ij,jk->ik", A, B), A @ B)
        np.testing.assert_allclose(binary_contraction("ij,jk->ik", A, B, alpha=2.0), 2 * A @ B)
        c = np.ones((3, 5))
        np.testing.assert_allclose(binary_contraction("ij,jk->ik", A, B, c=c, beta=3.0), A @ B + 3)
        np.testing.assert_allclose(ternary_contraction("ij,jk,kl->il", A, B, C), A @ B @ C)
        np.testing.assert_allclose(contract("ij,jk,kl->il", A, B, C), A @ B @ C)
    assert len(remembered._idle) == 4
    np.testing.assert_allclose(binary_contraction("ij,jk->ki", A, B), (A @ B).T)
    assert len(remembered._idle) == 5


@pytest.mark.usefixtures("nothing_remembered")
def test_results_of_remembered_plans_are_the_callers_own():
    first = contract("ij,jk,kl->il", A, B, C)
    kept = first.copy()
    contract("ij,jk,kl->il", *NEW.values())
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("limit", ["80%", 700])
def test_objects_of_many_tensors_do_not_keep_results(limit):
    import weakref

    operands = RNG.random((4, 8, 8))
    with Contraction("ij,jk,kl,lm->im", *operands, options={"memory_limit": limit}) as contraction:
        contraction.plan()
        reference = weakref.ref(contraction.execute())
        gc.collect()
        assert reference() is None


def test_repr_and_report():
    with BinaryContraction("ij,jk->ik", A, B) as contraction:
        assert "not planned" in repr(contraction)
        contraction.plan()
        assert "gemm" in repr(contraction)
        assert "'ij,jk->ik' of float64 (3, 4), (4, 5) on cpu" in contraction.report()
    assert repr(contraction) == "<BinaryContraction, freed>"


def test_tuning_is_recorded_and_used(tuning_record):
    with BinaryContraction("ij,jk->ik", A, B) as contraction:
        contraction.plan()
        contraction.autotune(iterations=1)
        best = contraction._plan_made.chosen
    assert tuning_record.exists()
    # the names of the modes do not matter
    with BinaryContraction("xy,yz->xz", A, B) as contraction:
        contraction.plan()
        assert contraction._plan_made.origin == "the tuning record"
        assert contraction._plan_made.chosen == best


def test_no_warning_in_ordinary_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with TernaryContraction("ij,jk,kl->il", A, B, C) as contraction:
            contraction.plan()
            contraction.execute()


@pytest.mark.usefixtures("nothing_remembered")
def test_stateless_calls_leave_no_large_workspace():
    a, b, c = np.ones((3, 900, 900))
    contract("ij,jk,kl->il", a, b, c)
    assert not remembered._idle
    contract("ij,jk,kl->il", A, B, C)
    assert len(remembered._idle) == 1
