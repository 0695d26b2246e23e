"""What the dense solver does on a device, with operands of every package: run on one, and on stand-ins for one."""

from __future__ import annotations

import gc
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core import remembered
from planmath.core.accuracy import TOLERANCE
from planmath.core.errors import UnavailableError
from planmath.core.factorization import InaccurateSolutionError, InaccurateSolutionWarning, SingularMatrixError
from planmath.linalg import (
    DiagonalMatrixQualifier,
    DiagType,
    DirectSolver,
    FillMode,
    GeneralMatrixQualifier,
    HermitianMatrixQualifier,
    SymmetricMatrixQualifier,
    TriangularMatrixQualifier,
    direct_solver,
)
from tests.sparse.cudss_checks import Place

DTYPES = "float32", "float64", "complex64", "complex128"


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    found = rng.uniform(-1, 1, shape)
    return (found + 1j * rng.uniform(-1, 1, shape) if dtype.startswith("complex") else found).astype(dtype)


def adjoint(a: np.ndarray) -> np.ndarray:
    return a.conj().swapaxes(-1, -2)


#: kind -> the arguments that say so
KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "general": dict,
    "positive definite": lambda: {"structure": "positive definite"},
    "positive definite, upper": lambda: {
        "structure": "positive definite", "qualifiers": HermitianMatrixQualifier.create(uplo=FillMode.UPPER)
    },
    "symmetric": lambda: {"qualifiers": SymmetricMatrixQualifier.create()},
    "symmetric, upper": lambda: {"qualifiers": SymmetricMatrixQualifier.create(uplo=FillMode.UPPER)},
    "Hermitian": lambda: {"qualifiers": HermitianMatrixQualifier.create()},
    "triangular": lambda: {"qualifiers": TriangularMatrixQualifier.create()},
    "unit triangular, upper": lambda: {
        "qualifiers": TriangularMatrixQualifier.create(False, FillMode.UPPER, DiagType.UNIT)
    },
    "diagonal": lambda: {"qualifiers": DiagonalMatrixQualifier.create()},
    "banded": lambda: {"bandwidths": (2, 1)},
    "tridiagonal": lambda: {"bandwidths": (1, 1)},
    "positive definite in a band": lambda: {"structure": "positive definite", "bandwidths": (2, 0)},
    "positive definite in an upper band": lambda: {"structure": "positive definite", "bandwidths": (0, 1)},
    "found": lambda: {"structure": "auto"},
}  # fmt: skip


def matrices(rng: np.random.Generator, kind: str, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """What is stored of matrices, with junk where nothing is read, and the matrices."""
    n = shape[-1]
    a = numbers(rng, shape, dtype) + np.eye(n, dtype=dtype) * 0.5
    half = np.triu if "upper" in kind else np.tril
    if "band" in kind or kind == "tridiagonal":
        return in_band(a, kind)
    if kind.startswith("positive"):
        whole = a @ adjoint(a) + np.eye(n, dtype=dtype)
    elif kind.startswith("symmetric"):
        whole = a + a.swapaxes(-1, -2)
    elif kind == "Hermitian":
        whole = a + adjoint(a)
    elif "triangular" in kind:
        whole = half(a / n) + 2 * np.eye(n, dtype=dtype)
        if "unit" in kind:
            stored = np.where(half(np.ones((n, n), bool), 1 if half is np.triu else -1), whole, np.nan)
            whole[..., np.arange(n), np.arange(n)] = 1
            return stored.astype(dtype), whole
    elif kind == "diagonal":
        d = numbers(rng, shape[:-1], dtype) + 2
        return d, d[..., None] * np.eye(n, dtype=dtype)
    else:
        return a, a
    return np.where(half(np.ones((n, n), bool)), whole, np.nan).astype(dtype), whole


def in_band(a: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """What is near the diagonal, as LAPACK stores it, with junk where nothing is; and the matrices."""
    n, dtype = a.shape[-1], a.dtype
    below, above = KINDS[kind]()["bandwidths"]
    i, j = np.indices((n, n))
    whole = np.where((i - j <= below) & (j - i <= above), a, 0)
    if kind.startswith("positive"):
        whole[..., np.arange(n), np.arange(n)] = 8
    stored = np.full((*a.shape[:-2], below + above + 1, n), np.nan, dtype)
    for row, column in zip(*np.nonzero((i - j <= below) & (j - i <= above)), strict=True):
        stored[..., above + row - column, column] = whole[..., row, column]
    if kind.startswith("positive"):
        strict = whole * (i != j)
        whole = whole + adjoint(strict)
    return stored, whole


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same elements in another order in memory, or with gaps."""
    if array.ndim < 2 or layout == "C":
        return np.ascontiguousarray(array)
    if layout == "F":
        return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
    wide[..., :-1:2] = array
    return wide[..., :-1:2]


def check(a: np.ndarray, x: np.ndarray, b: np.ndarray, trans: str = "N") -> None:
    """Assert that systems are solved to the accuracy that is promised."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    op = {"N": a, "T": a.swapaxes(-1, -2), "C": adjoint(a)}[trans].astype(wide)
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    b, x = (array[..., None].astype(wide) if vector else array.astype(wide) for array in (b, x))
    r = np.linalg.norm(b - op @ x, axis=-2)
    scale = np.linalg.norm(op, axis=(-2, -1))[..., None] * np.linalg.norm(x, axis=-2) + np.linalg.norm(b, axis=-2)
    assert (r <= TOLERANCE[str(a.dtype)] * scale).all(), (r / scale).max()


def raises(error: type, words: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with pytest.raises(error, match=re.escape(words)) as caught:
        call(*arguments, **named)
    return caught.value


def solver(a: Any, b: Any, **named: Any) -> DirectSolver:
    options = {"tuning": False, **named.pop("options", {})}
    return DirectSolver(a, b, options=options, execution="cuda", **named)


def every_way(made: DirectSolver) -> list[Any]:
    """All algorithms of a plan, which is made with each of them in turn."""
    made.plan()
    ways = made._plan_made.algorithms
    for way in ways:
        made._make_plan(made._problem, made._slots, [way])
        yield way


#: The batch shapes of matrices and of right-hand sides: with one for each matrix, and with several.
SHARED = [((2, 1), (1, 3))]
BATCHES = [((), ()), ((3,), (3,)), *SHARED]


def structures(
    place: Place, kind: str, dtype: str, sizes: tuple[int, ...], batches: Sequence[tuple[Any, Any]] = BATCHES
) -> None:
    """Every structure, in every layout, single and in batches, transposed and not, by every algorithm."""
    rng = np.random.default_rng(len(kind))
    layouts = itertools.cycle(itertools.product("CFS", "CFS"))
    for n, (of_a, of_b) in itertools.product(sizes, batches):
        stored, whole = matrices(rng, kind, (*of_a, n, n), dtype)
        k = 3 if of_b else 0
        b = numbers(rng, (*of_b, n, k) if k else (n,), dtype)
        order_a, order_b = next(layouts)
        stored = stored if kind == "diagonal" else laid_out(stored, order_a)
        given = place(stored), place(laid_out(b, order_b))
        with solver(*given, **KINDS[kind]()) as made:
            for _ in every_way(made):
                made.factorize()
                for trans in "NTC":
                    x = place.host(made.solve(trans=trans))
                    check(np.broadcast_to(whole, (*np.broadcast_shapes(of_a, of_b), n, n)), x, b, trans)
                assert made.solution_info.accurate


def sequences(place: Place) -> None:
    """Sequences of systems, of one size and of several."""
    rng = np.random.default_rng(3)
    for sizes in ((5, 5, 5), (3, 6, 3), (40, 4)):
        a = [numbers(rng, (n, n), "float64") for n in sizes]
        b = [numbers(rng, (n,), "float64") for n in sizes]
        with solver(place(a), place(b)) as made:
            for _ in every_way(made):
                made.factorize()
                for each in zip(a, place.host(made.solve()), b, strict=True):
                    check(*each)
            others = [numbers(rng, (n, n), "float64") for n in sizes]
            made.reset_operands(a=place(others))
            made.factorize()
            out = made.empty_result()
            assert made.solve(out=out) is out
            for each in zip(others, place.host(out), b, strict=True):
                check(*each)
            assert len(made.solution_info.systems) == len(sizes)


def conjugated(place: Place) -> None:
    """Matrices that count as conjugated."""
    rng = np.random.default_rng(4)
    a, b = numbers(rng, (6, 6), "complex128"), numbers(rng, (6, 2), "complex128")
    qualifier = GeneralMatrixQualifier.create(conjugate=True)
    for order in "CF":
        with solver(place(laid_out(a, order)), place(b), qualifiers=qualifier) as made:
            made.plan()
            made.factorize()
            for trans in "NTC":
                check(a.conj(), place.host(made.solve(trans=trans)), b, trans)


def found_structures(place: Place) -> None:
    """What each factorization finds out."""
    rng = np.random.default_rng(5)
    n = 9
    full = numbers(rng, (n, n), "complex128")
    definite = full @ adjoint(full) + np.eye(n)
    definite = (definite + adjoint(definite)) / 2
    cases = {
        "general": full, "symmetric": full + full.T, "Hermitian": full + adjoint(full) - 9 * np.eye(n),
        "positive definite": definite, "lower triangular": np.tril(full) + 4 * np.eye(n),
        "upper triangular": np.triu(full) + 4 * np.eye(n), "diagonal": np.diag(np.diag(full)),
    }  # fmt: skip
    b = numbers(rng, (n,), "complex128")
    with solver(place(full), place(b), structure="auto") as made:
        made.plan()
        for name, a in cases.items():
            made.reset_operands(a=place(a))
            made.factorize()
            check(a, place.host(made.solve()), b)
            assert name == "general" or f"factorized as {name}" in made.report(), (name, made.report())
        nearly = definite.copy()
        nearly[0, 0] -= 3 * np.linalg.norm(definite)
        nearly[0, 0] = abs(nearly[0, 0]) * 1e-3
        made.reset_operands(a=place(nearly))
        made.factorize()
        check(nearly, place.host(made.solve()), b)


def indefinite_after_all(place: Place) -> None:
    """Matrices said to be positive definite that are not."""
    rng = np.random.default_rng(6)
    for dtype in ("float64", "complex64"):
        a = numbers(rng, (2, 8, 8), dtype)
        a = (a + adjoint(a)).astype(dtype)
        b = numbers(rng, (2, 8, 1), dtype)
        for blocking in ("auto", True):
            with solver(place(a), place(b), structure="positive definite", options={"blocking": blocking}) as made:
                made.plan()
                made.factorize()
                check(a, place.host(made.solve()), b)
                assert "not positive definite after all" in made.report()
            options = {"blocking": blocking, "inplace_b": True}
            with solver(place(a), place(b.copy()), structure="positive definite", options=options) as made:
                made.plan()
                made.factorize()
                check(a, place.host(made.solve()), b)


def singular(place: Place) -> None:
    """Singular matrices are told, at once or by the next phase, with the others' solutions."""
    rng = np.random.default_rng(7)
    a, b = numbers(rng, (4, 6, 6), "float64"), numbers(rng, (4, 6, 2), "float64")
    a[1, :, 2] = 0
    a[3] = 0
    a = laid_out(a, "F")  # or the transposed matrix is factorized, with other pivots
    for blocking in ("auto", True):
        with solver(place(a), place(b), options={"blocking": blocking}) as made:
            for way in every_way(made):
                if blocking is True:
                    error = raises(SingularMatrixError, "a[1] is singular: the pivot of row 2", made.factorize)
                else:
                    made.factorize()
                    error = raises(SingularMatrixError, "a[1] is singular: the pivot of row 2", made.solve)
                assert error.indices == (1, 3), way
                x = place.host(error.solution)
                check(a[[0, 2]], x[[0, 2]], b[[0, 2]])
                assert np.isnan(x[[1, 3]]).all()
                assert made.state.value == "planned"
        with solver(place(a), place(b), options={"blocking": blocking, "on_singular": "warn"}) as made:
            made.plan()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                made.factorize()
                x = place.host(made.solve())
            assert [w for w in caught if w.category is InaccurateSolutionWarning]
            check(a[[0, 2]], x[[0, 2]], b[[0, 2]])
            assert np.isnan(x[[1, 3]]).all()
    for kind in ("triangular", "diagonal"):
        stored = matrices(rng, kind, (5, 5), "float32")[0]
        if kind == "triangular":
            stored[2, 2] = 0
        else:
            stored[2] = 0
        with solver(place(stored), place(numbers(rng, (5,), "float32")), **KINDS[kind]()) as made:
            made.plan()
            made.factorize()
            error = raises(SingularMatrixError, "the pivot of row 2 is exactly zero", made.solve)
            assert error.solution is None


def not_finite(place: Place) -> None:
    """NaN and infinity are named."""
    rng = np.random.default_rng(8)
    for n, bad in itertools.product((6, 40), (np.nan, np.inf)):
        a, b = numbers(rng, (2, n, n), "float64"), numbers(rng, (2, n, 1), "float64")
        wrong = a.copy()
        wrong[1, 3, 4] = bad
        for blocking in ("auto", True):
            with solver(place(wrong), place(b), options={"blocking": blocking}) as made:
                made.plan()
                words = "a[1] has an element that is not finite (NaN or infinity) in row 3, column 4"
                if blocking is True:
                    raises(ValueError, words, made.factorize)
                else:
                    made.factorize()
                    raises(ValueError, words, lambda made=made: made.factorization_info.log_determinant())
                    raises(ValueError, words, made.solve)
                assert made.state.value == "planned"
                made.reset_operands(a=place(a))
                made.factorize()
                check(a, place.host(made.solve()), b)
                worse = b.copy()
                worse[0, 2] = bad
                made.reset_operands(b=place(worse))
                words = "b[0] has an element that is not finite (NaN or infinity) in row 2"
                if blocking is True or place.name == "numpy":
                    raises(ValueError, words, made.solve)
                else:
                    assert not np.isfinite(place.host(made.solve())[0]).all()
                    with pytest.warns(InaccurateSolutionWarning, match="or its right-hand side has an element"):
                        raises(ValueError, words, made.solve)
                made.reset_operands(b=place(b))
                check(a, place.host(made.solve()), b)


def later(place: Place) -> None:
    """Solutions that are not waited for are looked at by the next phase, or by who asks how good they are."""
    if place.name == "numpy":
        return  # whose solutions come back to the host
    rng = np.random.default_rng(19)
    n = 20
    u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    a = u * np.where(np.arange(n) == n - 1, 1e-18, 1) @ v
    good, bad, zero = a @ rng.standard_normal(n), rng.standard_normal(n), np.zeros(n)
    for phase in ("solve", "factorize", "solution_info"):
        with solver(place(a), place(good)) as made, warnings.catch_warnings():
            warnings.simplefilter("error")
            made.plan()
            made.factorize()
            made.solve()
            made.reset_operands(b=place(zero))
            assert (place.host(made.solve()) == 0).all()
            assert made.solution_info.accurate
            made.reset_operands(b=place(bad))
            place.host(made.solve())
            if phase != "solution_info":
                made.reset_operands(b=place(good))
            with pytest.warns(InaccurateSolutionWarning, match="one of the last solutions is not as accurate"):
                told = getattr(made, phase) if phase == "solution_info" else getattr(made, phase)()
            assert phase != "solution_info" or told.growth > 1e14
            if phase == "solve":
                made.reset_operands(b=place(bad))
                with pytest.warns(InaccurateSolutionWarning, match="the condition number of the matrix at least"):
                    made.solve()


def out_of_range(place: Place) -> None:
    """Elements whose squares are out of range, and zeros."""
    rng = np.random.default_rng(9)
    for dtype, scale in (("float64", 1e200), ("float64", 1e-200), ("float32", 1e-25)):
        a = (numbers(rng, (7, 7), dtype) * scale).astype(dtype)
        b = (a @ np.ones(7)).astype(dtype)
        with solver(place(a), place(b)) as made:
            made.plan()
            made.factorize()
            x = place.host(made.solve())
            assert np.allclose(x, 1, rtol=1e-2 if dtype == "float32" else 1e-8)
            assert made.solution_info.accurate
    for kind, (dtype, by), n in itertools.product(
        ("general", "symmetric", "positive definite", "triangular", "tridiagonal", "least squares", "any rank"),
        (("float32", -135), ("float64", -1050), ("complex64", 122), ("complex128", 1018)), (7, 20),
    ):  # fmt: skip
        if n == 20 and dtype != "float64":  # whose kernels are others
            continue
        rectangular = kind in ("least squares", "any rank")
        if rectangular:
            stored = whole = numbers(rng, (n + 3, n), dtype) + np.eye(n + 3, n, dtype=dtype)
        else:
            stored, whole = matrices(rng, kind, (n, n), dtype)
            stored, whole = np.nan_to_num(stored), whole.astype(dtype)
        scale = 2.0 ** np.longdouble(by)
        wide = np.clongdouble if dtype.startswith("complex") else np.longdouble
        stored, whole = ((part.astype(wide) * scale).astype(dtype) for part in (stored, whole))
        b = (whole.astype(wide) @ np.ones((n, 2))).astype(dtype)
        said = {"structure": "least squares"} if kind == "any rank" else {} if rectangular else KINDS[kind]()
        with solver(place(stored), place(b), **said) as made:
            made.plan()
            made.factorize()
            x = place.host(made.solve())
            assert np.allclose(x, 1, atol=0.1 if by < 0 else 1e-2), (kind, dtype, x)
            assert kind != "any rank" or made.factorization_info.rank() == n
    a = numbers(rng, (7, 7), "float64")
    with solver(place(a), place(np.zeros(7))) as made:
        made.plan()
        made.factorize()
        assert (place.host(made.solve()) == 0).all()
        assert made.solution_info.accurate


def inaccurate(place: Place) -> None:
    """A matrix that is singular but for rounding is told, in the way that the options say."""
    rng = np.random.default_rng(10)
    for n in (8, 40):
        u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
        a = u * np.where(np.arange(n) == n - 1, 1e-18, 1) @ v
        given = place(a), place(rng.standard_normal(n))
        with solver(*given, options={"on_inaccurate": "raise"}) as made:
            made.plan()
            made.factorize()
            raises(InaccurateSolutionError, "the condition number of the matrix at least", made.solve)
        with solver(*given) as made:
            made.plan()
            made.factorize()
            with pytest.warns(InaccurateSolutionWarning, match="the condition number of the matrix at least"):
                made.solve()
            assert made.solution_info.forward_error > 0.01
            assert not made.solution_info.accurate


def refined(place: Place) -> None:
    """Solutions by factors that are not quite those of the matrix are refined on the device."""
    rng = np.random.default_rng(11)
    for dtype, (of_a, of_b), trans in (
        ("float64", ((), ()), "N"), ("complex128", ((3,), (3,)), "T"), ("float32", ((2, 1), (1, 2)), "C")
    ):  # fmt: skip
        n = 10
        a, b = numbers(rng, (*of_a, n, n), dtype) + 3 * np.eye(n, dtype=dtype), numbers(rng, (*of_b, n, 2), dtype)
        for order, inplace_b in ("C", False), ("F", of_a == of_b):
            given = place(laid_out(a, order)), place(b.copy())
            with solver(*given, options={"inplace_b": inplace_b}) as made:
                made.plan()
                made.factorize()
                spoil_factors(made, 3e-3 if dtype == "float32" else 1e-7)
                x = place.host(made.solve(trans=trans))
                check(np.broadcast_to(a, (*np.broadcast_shapes(of_a, of_b), n, n)), x, b, trans)
                assert made.solution_info.accurate
                assert made.solution_info.refinement_steps > 0


def spoil_factors(made: DirectSolver, part: float) -> None:
    """Let factors on the device differ by part of their elements from what they are."""
    phases: Any = made._executor
    (group,) = phases._work.groups
    factors = np.empty(group.count * group.rows * group.cols, group.dtype)
    both = group.at("factors"), factors.ctypes.data
    runtime.memcpy_async(*both[::-1], factors.nbytes, runtime.MemcpyKind.DEVICE_TO_HOST, 0)
    runtime.stream_synchronize(0)
    factors *= (1 + part * np.random.default_rng(1).uniform(-1, 1, len(factors))).astype(factors.real.dtype)
    runtime.memcpy_async(*both, factors.nbytes, runtime.MemcpyKind.HOST_TO_DEVICE, 0)
    runtime.stream_synchronize(0)


def in_place(place: Place) -> None:
    """Factors in a, solutions in b."""
    rng = np.random.default_rng(12)
    for order in "CF":
        a, b = laid_out(numbers(rng, (2, 6, 6), "float64"), order), numbers(rng, (2, 6, 2), "float64")
        given = place(a.copy(order="K")), place(b.copy())
        with solver(*given, options={"inplace_a": True, "inplace_b": True}) as made:
            made.plan()
            made.factorize()
            assert made.solve() is given[1]
            check(a, place.host(given[1]), b)
            assert not np.allclose(place.host(given[0]), a)
            worse = b.copy()
            worse[1, 2] = np.nan
            place.put(given[1], worse)
            raises(ValueError, "b[1] has an element that is not finite", made.solve)
            np.testing.assert_array_equal(place.host(given[1]), worse)
            place.put(given[0], a)
            place.put(given[1], b)
            made.factorize()
            made.solve(trans="T")
            check(a, place.host(given[1]), b, "T")


def any_rank(place: Place) -> None:
    """Least squares with the rank found out: of tall, wide and square matrices, single ones and batches."""
    rng = np.random.default_rng(13)
    for (m, n), dtype, order in itertools.product([(9, 4), (4, 9), (7, 7), (50, 40), (40, 50)], DTYPES, "CF"):
        conjugate = dtype == "complex64"
        qualifier = {"qualifiers": GeneralMatrixQualifier.create(conjugate=True)} if conjugate else {}
        tolerance = 1e-3 if np.finfo(dtype).bits == 32 else 1e-9
        for of_a, of_b, k in (((), (), 0), ((2, 1), (1, 3), 2)):
            rank = min(m, n) - 2
            a = numbers(rng, (*of_a, m, rank), dtype) @ numbers(rng, (*of_a, rank, n), dtype)
            b = numbers(rng, (*of_b, m, k) if k else (m,), dtype)
            options = {"rank_tolerance": tolerance}
            given = place(laid_out(a, order)), place(laid_out(b, order))
            with solver(*given, structure="least squares", options=options, **qualifier) as made:
                made.plan()
                made.factorize()
                x = place.host(made.solve())
                assert (np.asarray(made.factorization_info.rank()) == rank).all()
                assert np.shape(made.factorization_info.rank()) == of_a
                assert made.solution_info.accurate
                op = (a.conj() if conjugate else a).astype(np.result_type(dtype, "float64"))
                wanted = np.linalg.pinv(op, rcond=tolerance) @ b
                assert x.shape == wanted.shape
                np.testing.assert_allclose(x, wanted, rtol=0, atol=20 * tolerance * abs(wanted).max())
    a, b = [np.zeros((5, 3)), numbers(rng, (5, 3), "float64")], [np.ones(5), numbers(rng, (5,), "float64")]
    with solver(place(a), place(b), structure="least squares") as made:
        made.plan()
        made.factorize()
        nothing, x = place.host(made.solve())
        assert made.factorization_info.rank() == (0, 3)
        assert (nothing == 0).all()
        np.testing.assert_allclose(x, np.linalg.lstsq(a[1], b[1])[0], atol=1e-12)
        raises(UnavailableError, "a singular value decomposition", made.factorization_info.factors)
        raises(UnavailableError, "is possibly rank-deficient", made.factorization_info.log_determinant)
    tall = numbers(rng, (5, 3), "float64")
    with solver(place(tall), place(b[1]), structure="least squares") as made:
        made.plan()
        made.factorize()
        made.reset_operands(b=place(np.array([1, 2, np.nan, 3, 4.0])))
        raises(ValueError, "b has an element that is not finite (NaN or infinity) in row 2", made.solve)


def dependent_columns(place: Place) -> None:
    """A rectangular matrix whose rank is deficient but for rounding is told, however its columns are scaled."""
    rng = np.random.default_rng(21)
    for dtype, (m, n) in itertools.product(DTYPES, [(9, 4), (4, 9), (60, 40)]):
        a, b = numbers(rng, (m, n), dtype), numbers(rng, (m,), dtype)
        scales = (10.0 ** rng.integers(-9, 9, max(m, n))).astype(dtype)
        a = a * scales[:n] if m > n else a * scales[:m, None]
        with solver(place(a), place(b)) as made:
            made.plan()
            made.factorize()
            made.solve()
            a[(slice(None), -1) if m > n else -1] = a[:, 0] + a[:, 1] if m > n else a[0] + a[1]
            made.reset_operands(a=place(a))
            made.factorize()
            error = raises(SingularMatrixError, "pass structure='least squares'", made.solve)
            assert "is zero but for rounding" in str(error)


def found_bands(place: Place) -> None:
    """Narrow bands are found in matrices that are stored whole, and what is no band any more as well."""
    rng = np.random.default_rng(22)
    for dtype, n in (("float64", 40), ("complex64", 33)):
        cases = {}
        for kind in ("tridiagonal", "banded", "positive definite in a band"):
            cases[kind] = in_band(numbers(rng, (3, n, n), dtype) + 4 * np.eye(n, dtype=dtype), kind)[1].astype(dtype)
        cases["general"] = numbers(rng, (3, n, n), dtype)
        names = {"positive definite in a band": "positive definite banded"}
        b = numbers(rng, (3, n, 2), dtype)
        for order in "CF":
            with solver(place(laid_out(cases["general"], order)), place(b), structure="auto") as made:
                for way in every_way(made):
                    for name, a in cases.items():
                        made.reset_operands(a=place(laid_out(a, order)))
                        made.factorize()
                        for trans in "NTC":
                            check(a, place.host(made.solve(trans=trans)), b, trans)
                        told = f"factorized as {names.get(name, name)}: found" in made.report()
                        assert told == (way.get("factorization") == "in the band" and name != "general"), (name, way)
    a, b = np.broadcast_to(cases["tridiagonal"][:1, :20, :20], (300, 20, 20)).copy(), np.ones((300, 20, 1), dtype)
    with solver(place(a), place(b), structure="auto") as made:
        made.plan()
        assert made._plan_made.chosen.get("factorization") == "in the band"
        made.factorize()
        check(a, place.host(made.solve()), b)


def long_bands(place: Place) -> None:
    """Banded matrices of which all elements would not fit are factorized in their bands."""
    rng, n = np.random.default_rng(20), 1 << 18
    for kind, k in (("tridiagonal", 1), ("positive definite in a band", 2)):
        below, above = KINDS[kind]()["bandwidths"]
        band = rng.uniform(-1, 1, (below + above + 1, n))
        band[above] += 8 if kind.startswith("positive") else 0
        x = rng.standard_normal((n, k))
        b = np.zeros((n, k))
        for row, d in enumerate(range(above, -below - 1, -1)):
            i = np.arange(max(-d, 0), n - max(d, 0))
            b[i] += band[row, i + d, None] * x[i + d]
            if kind.startswith("positive") and d:
                b[i + d] += band[row, i + d, None] * x[i]
        with solver(place(band), place(b), **KINDS[kind]()) as made:
            made.plan()
            assert [way.get("factorization") for way in made._plan_made.algorithms] == ["in the band"]
            made.factorize()
            np.testing.assert_allclose(place.host(made.solve()), x, rtol=0, atol=1e-6)
            assert made.solution_info.accurate


def least_squares(place: Place) -> None:
    """More equations than unknowns, and fewer; single ones, batches, sequences, conjugated ones."""
    rng = np.random.default_rng(17)
    for (m, n), dtype, order in itertools.product([(9, 4), (4, 9), (50, 40), (40, 50)], DTYPES, "CF"):
        conjugate = dtype == "complex64"
        qualifier = {"qualifiers": GeneralMatrixQualifier.create(conjugate=True)} if conjugate else {}
        for of_a, of_b, k in (((), (), 0), ((2,), (2,), 3), ((2, 1), (1, 3), 1)):
            a, b = numbers(rng, (*of_a, m, n), dtype), numbers(rng, (*of_b, m, k) if k else (m,), dtype)
            with solver(place(laid_out(a, order)), place(laid_out(b, order)), **qualifier) as made:
                for _ in every_way(made):
                    made.factorize()
                    x = place.host(made.solve())
                    op = a.conj() if conjugate else a
                    wanted = np.linalg.pinv(op.astype(np.result_type(dtype, "float64"))) @ b
                    assert x.shape == wanted.shape
                    bound = 1e-10 if np.finfo(dtype).bits == 64 else 2e-3
                    np.testing.assert_allclose(x, wanted, rtol=0, atol=bound * abs(wanted).max())
                    assert made.solution_info.accurate
                    assert not made.solution_info.estimated
    a = [numbers(rng, shape, "float64") for shape in ((7, 3), (3, 5), (7, 3))]
    b = [numbers(rng, (len(each),), "float64") for each in a]
    with solver(place(a), place(b)) as made:
        made.plan()
        made.factorize()
        for op, x, side in zip(a, place.host(made.solve()), b, strict=True):
            np.testing.assert_allclose(x, np.linalg.pinv(op) @ side, atol=1e-10)
        worse = [*b[:2], np.where(np.arange(7) == 2, np.nan, b[2])]
        made.reset_operands(b=place(worse))
        raises(ValueError, "b[2] has an element that is not finite (NaN or infinity) in row 2", made.solve)
        a[1][2] = 0
        made.reset_operands(a=place(a), b=place(b))
        made.factorize()
        error = raises(SingularMatrixError, "pass structure='least squares'", made.solve)
        assert error.indices == (1,)
        np.testing.assert_allclose(place.host(error.solution)[0], np.linalg.pinv(a[0]) @ b[0], atol=1e-10)


def mixed(place: Place) -> None:
    """Factors in single precision, and solutions that are refined to double precision."""
    rng = np.random.default_rng(18)
    options = {"precision": "mixed"}
    for kind, dtype in itertools.product(
        ["general", "positive definite", "positive definite, upper", "symmetric", "Hermitian", "found"],
        ["float64", "complex128"],
    ):
        for n, (of_a, of_b) in itertools.product((7, 40), BATCHES):
            stored, whole = matrices(rng, kind, (*of_a, n, n), dtype)
            scale = 10.0 ** rng.integers(-60, 60)
            b = numbers(rng, (*of_b, n, 3) if of_b else (n,), dtype)
            order = "CF"[n == 7]
            given = place(laid_out(stored * scale, order)), place(laid_out(b, order))
            with solver(*given, options=options, **KINDS[kind]()) as made:
                for _ in every_way(made):
                    made.factorize()
                    for trans in "NTC":
                        x = place.host(made.solve(trans=trans))
                        shape = (*np.broadcast_shapes(of_a, of_b), n, n)
                        check(np.broadcast_to(whole * scale, shape), x, b, trans)
                        info = made.solution_info
                        assert info.accurate
                        assert not info.estimated
                        assert 1 <= info.refinement_steps <= 10
                assert "did not do" not in made.report()
                assert made.factorization_info.log_determinant()
    for kind in ("general", "positive definite"):
        for inplace_b in (False, True):
            a, whole = matrices(rng, kind, (2, 20, 20), "float64")
            u, s, v = np.linalg.svd(whole[1])
            s = np.geomspace(1, 1e-11, 20)
            whole[1] = u * s @ (u.T if kind != "general" else v)
            whole[1] = (whole[1] + whole[1].T) / 2 if kind != "general" else whole[1]
            b = numbers(rng, (2, 20, 1), "float64")
            given = place(whole), place(b.copy())
            with solver(*given, options={**options, "inplace_b": inplace_b}, **KINDS[kind]()) as made:
                made.plan()
                made.factorize()
                check(whole, place.host(made.solve()), b)
                assert "factors in single precision did not do" in made.report()
                assert made.solution_info.accurate
    a, b = numbers(rng, (2, 6, 6), "float64"), numbers(rng, (2, 6, 1), "float64")
    with solver(place(a), place(b), options=options) as made:
        made.plan()
        made.factorize()
        made.solve()
        worse = b.copy()
        worse[1, 3] = np.inf
        made.reset_operands(b=place(worse))
        raises(ValueError, "b[1] has an element that is not finite (NaN or infinity) in row 3", made.solve)
        made.reset_operands(b=place(b))
        check(a, place.host(made.solve()), b)
        a[0, :, 1] = 0
        made.reset_operands(a=place(a))
        made.factorize()
        assert raises(SingularMatrixError, "a[0] is singular", made.solve).indices == (0,)
    with solver(place(numbers(rng, (2, 6, 6), "float64")), place(b), options={"precision": "auto"}) as made:
        made.plan()
        knobs = [dict(way.knobs) for way in made._plan_made.algorithms]
        assert {own["precision"] for own in knobs if "precision" in own} == {"mixed"}
        assert "precision" not in dict(made._plan_made.chosen.knobs)


def information(place: Place) -> None:
    """What a factorization tells: determinants, inverses, factors."""
    rng = np.random.default_rng(16)
    for kind, dtype in (
        ("general", "float64"), ("positive definite, upper", "complex128"), ("symmetric", "complex128"),
        ("Hermitian", "complex128"), ("unit triangular, upper", "float64"), ("diagonal", "complex128"),
    ):  # fmt: skip
        stored, whole = matrices(rng, kind, (2, 6, 6), dtype)
        for order in "CF":
            given = place(stored if kind == "diagonal" else laid_out(stored, order))
            with solver(given, place(numbers(rng, (2, 6, 1), dtype)), **KINDS[kind]()) as made:
                for _ in every_way(made):
                    made.factorize()
                    info = made.factorization_info
                    expected = np.linalg.slogdet(whole)
                    for found, right in zip(info.log_determinant(), expected, strict=True):
                        np.testing.assert_allclose(found, right, atol=1e-10)
                    np.testing.assert_allclose(info.inverse() @ whole, np.broadcast_to(np.eye(6), (2, 6, 6)), atol=1e-8)
                    assert len(info.factors()) == 2


def stateless(place: Place) -> None:
    """Calls of their own leave their plan to the next one."""
    rng = np.random.default_rng(14)
    for _ in range(3):
        a, b = numbers(rng, (9, 9), "float64"), numbers(rng, (9,), "float64")
        check(a, place.host(direct_solver(place(a), place(b), execution="cuda")), b)
    remembered.clear()


def tuned(place: Place) -> None:
    """All ways are measured, and the best one is adopted."""
    rng = np.random.default_rng(15)
    a, b = numbers(rng, (2, 5, 5), "float64"), numbers(rng, (2, 5, 1), "float64")
    with solver(place(a), place(b)) as made:
        made.plan()
        made.autotune(iterations=1)
        assert "chosen by autotuning" in made.report()
        made.factorize()
        check(a, place.host(made.solve()), b)
    gc.collect()


CHECKS = [
    sequences, conjugated, found_structures, indefinite_after_all, singular, not_finite, later, out_of_range,
    inaccurate, refined, in_place, any_rank, dependent_columns, found_bands, long_bands, least_squares, mixed,
    information, stateless, tuned,
]  # fmt: skip
