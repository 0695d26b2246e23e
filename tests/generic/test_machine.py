"""Calls of generic products in any order, next to a model that knows the state and the operands."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from planmath.core.operation import State
from planmath.linalg import GeneralMatrixQualifier, InvalidMatmulState, Matmul, TriangularPackedMatrixQualifier
from tests.generic.operands import UPPER, Kind, qualifiers
from tests.generic.test_stored import said

N = 34  # beside what planmath's own kernel takes
GE = Kind("ge")
KINDS = {
    "square": None, "triangular": qualifiers(Kind("tr", UPPER), GE, GE), "symmetric": qualifiers(Kind("sy"), GE, GE),
    "packed": said(TriangularPackedMatrixQualifier.create(), GeneralMatrixQualifier.create(), GE.qualifier()),
}  # fmt: skip


class Lifecycle(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)), inplace=st.booleans())
    def create(self, kind, inplace):
        self.kind, self.inplace = kind, inplace
        self.now = {name: self.new(name, 0) for name in ("ab" if kind == "square" else "abc")}
        self.factors = {"alpha": 2.0, "beta": 3.0} if "c" in self.now else {"alpha": 2.0}
        if kind == "square":
            self.inplace, self.now["b"] = False, self.now["a"].T
        options = {"inplace": self.inplace, "tuning": False}
        self.product = Matmul(*self.now.values(), **self.factors, qualifiers=KINDS[kind], options=options)
        self.model = State.SPECIFIED

    def new(self, name, seed):
        shape = (N * (N + 1) // 2,) if (self.kind, name) == ("packed", "a") else (N, N)
        found = np.random.default_rng(seed).integers(-9, 10, shape).astype(float)
        return found.T if (self.kind, name) == ("square", "b") else found

    def attempt(self, allowed, call):
        """Make a call; whether it went through must be what the model says."""
        if allowed:
            return call()
        with pytest.raises(InvalidMatmulState):
            call()
        return None

    def expected(self):
        a, b = self.now["a"], self.now["b"]
        if self.kind == "packed":
            whole = np.zeros((N, N))
            whole.T[np.triu_indices(N)] = a
            a = whole
        elif self.kind != "square":
            a = np.triu(a) if self.kind == "triangular" else np.tril(a) + np.tril(a, -1).T
        found = self.factors["alpha"] * (a @ b)
        return found + self.factors["beta"] * self.now["c"] if "c" in self.now else found

    @rule()
    def plan(self):
        allowed = self.model in (State.SPECIFIED, State.PLANNED)
        self.attempt(allowed, self.product.plan)
        self.model = State.PLANNED if allowed else self.model

    @rule()
    def autotune(self):
        self.attempt(self.model is State.PLANNED, lambda: self.product.autotune(iterations=1, seconds=0.05))

    @rule(into=st.booleans())
    def execute(self, into):
        if self.model is not State.PLANNED:
            self.attempt(False, self.product.execute)
            return
        expected = self.expected()
        out = self.product.empty_result() if into and not self.inplace else None
        result = self.product.execute(out=out)
        np.testing.assert_array_equal(result, expected)
        if self.inplace:  # back to small numbers, so that all sums stay exact
            assert result is self.now["c"]
            result[...] = self.new("c", 1)

    @rule(
        names=st.sets(st.sampled_from(["a", "b", "c"]), min_size=1), seed=st.integers(0, 9), square=st.booleans(),
        alpha=st.sampled_from([None, 0, -1]), fail=st.booleans(),
    )  # fmt: skip
    def reset(self, names, seed, square, alpha, fail):
        given = {name: self.new(name, seed) for name in sorted(names & self.now.keys())} or {"a": self.new("a", seed)}
        if self.kind == "square" and square:
            given = {"a": self.new("a", seed)}
            given["b"] = given["a"].T
        factors = {} if alpha is None else {"alpha": float(alpha)}
        allowed = self.model is not State.FREED
        if allowed and (fail or (self.model is State.RELEASED and given.keys() != self.now.keys())):
            wrong = {**given, "b": np.ones((N, 3))} if fail else given
            with pytest.raises(ValueError, match=r"shape|released|needed|operands"):
                self.product.reset_operands(**wrong, **factors)
            return
        self.attempt(allowed, lambda: self.product.reset_operands(**given, **factors))
        if allowed:
            self.now |= given
            self.factors |= factors
            if self.model is State.RELEASED:
                self.model = self.before

    @rule()
    def release(self):
        self.attempt(self.model is not State.FREED, self.product.release_operands)
        if self.model in (State.SPECIFIED, State.PLANNED):
            self.before, self.model = self.model, State.RELEASED

    @rule()
    def free(self):
        self.product.free()
        self.model = State.FREED

    def teardown(self):
        if hasattr(self, "product"):
            self.product.free()


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
