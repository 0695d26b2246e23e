"""Results and errors do not depend on what NumPy does about floating-point exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.fft import FFT
from planmath.fft.providers import PROVIDERS as TRANSFORMS
from planmath.linalg.advanced import Matmul
from planmath.linalg.advanced.providers import PROVIDERS as PRODUCTS
from planmath.sparse.advanced import DirectSolver
from planmath.sparse.advanced.providers import PROVIDERS as SOLVERS
from planmath.tensor import BinaryContraction
from planmath.tensor.providers import PROVIDERS as CONTRACTIONS
from tests.providers import on_host

SPECIAL = np.array([np.inf, -np.inf, np.nan, -0.0, 5e-324, 1e-308, 1.2e308, 1.0])
SQUARE = np.where(np.eye(8, dtype=bool), SPECIAL, SPECIAL[:, None])


def executed(operation: Any) -> Any:
    with operation as made:
        made.plan()
        return made.execute()


def solved(a: Any, b: np.ndarray, provider: str) -> Any:
    options = {"provider": provider, "on_inaccurate": "ignore", "tuning": False}
    with DirectSolver(a, b, options=options) as solver:
        solver.plan()
        solver.factorize()
        return solver.solve()


TRIDIAGONAL = sp.csr_array(sp.diags_array([1.0, 4.0, 1.0], offsets=[-1, 0, 1], shape=(8, 8)))
SYSTEMS = {
    "special": (TRIDIAGONAL, SPECIAL), "large": (TRIDIAGONAL, np.full((8, 2), 1.2e308)),
    "tiny": (TRIDIAGONAL, np.full(8, 5e-324)), "singular": (sp.csr_array(np.ones((2, 2))), np.ones(2)),
    "overflow": (sp.csr_array(TRIDIAGONAL * 1e-300), np.full(8, 1e200)),
}  # fmt: skip


def names(providers: Any, *, without: tuple[str, ...] = ()) -> list[str]:
    return [p.name for p in on_host(providers) if p.unavailable() is None and p.name not in without]


CALLS: dict[str, Callable[[], Any]] = {
    **{
        f"transform by {name}": lambda name=name: executed(FFT(SQUARE + 0j, options={"provider": name}))
        for name in names(TRANSFORMS)
    },
    **{
        f"product by {name}": lambda name=name: executed(Matmul(SQUARE, SQUARE, options={"provider": name}))
        for name in names(PRODUCTS, without=("torch",))
    },
    **{
        f"contraction by {name}": lambda name=name: executed(
            BinaryContraction("ij,jk->ik", SQUARE, SQUARE, options={"provider": name})
        )
        for name in names(CONTRACTIONS)
    },
    **{
        f"{system} system by {name}": lambda name=name, system=system: solved(*SYSTEMS[system], name)
        for name in names(SOLVERS)
        for system in SYSTEMS
    },
    "a scalar that is too large": lambda: executed(Matmul(np.ones((2, 2), "f"), np.ones((2, 2), "f"), alpha=1e300)),
    "a scalar that is too small": lambda: executed(Matmul(np.ones((2, 2), "f"), np.ones((2, 2), "f"), alpha=1e-300)),
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return np.array(call())
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("what", CALLS)
def test_the_same_whatever_numpy_does(what):
    with np.errstate(all="ignore"):
        expected = outcome(CALLS[what])
    assert not (isinstance(expected, tuple) and issubclass(expected[0], FloatingPointError | TypeError)), expected
    for mode in ("raise", "warn"):  # warnings are errors here
        with np.errstate(all=mode):
            found = outcome(CALLS[what])
        if isinstance(expected, tuple):
            assert found == expected
        else:
            np.testing.assert_array_equal(found, expected)
