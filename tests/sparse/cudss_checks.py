"""What the sparse solver does on a device, with operands of every package: run on one, and on stand-ins for one."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from planmath.core import remembered
from planmath.core.accuracy import TOLERANCE
from planmath.core.cuda.devices import OutOfDeviceMemoryError
from planmath.core.errors import UnavailableError
from planmath.sparse import advanced
from planmath.sparse.advanced import (
    DirectSolverMatchingAlg,
    DirectSolverMatrixType,
    DirectSolverMatrixViewType,
    ExecutionCUDA,
    InaccurateSolutionError,
    SingularMatrixError,
)
from tests.sparse.matrices import FAMILIES, backward_error, csr, finite_elements, kkt, laplacian, right_hand_side
from tests.sparse.test_types import matrix_of, shown

T, V = DirectSolverMatrixType, DirectSolverMatrixViewType
SAYS_SO = InaccurateSolutionError, SingularMatrixError


class DirectSolver(advanced.DirectSolver):
    """With one thread for cuDSS's part on the CPU: tests run beside each other, and its threads spin."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.plan_config.host_nthreads = 1


def direct_solver(a: Any, b: Any, **named: Any) -> Any:
    return advanced.direct_solver(a, b, plan_preferences={"host_nthreads": 1}, **named)


class Place:
    """A package's operands: how they are made from the host's, and read.

    Parameters
    ----------
    name : {'numpy', 'cupy', 'torch-cuda'}
    """

    def __init__(self, name: str):
        self.name = name

    def __call__(self, a: Any) -> Any:
        """A matrix or an array of the host's, with the same strides, or a sequence of them."""
        if isinstance(a, list):
            return [self(each) for each in a]
        if self.name == "numpy":
            return a
        if self.name == "torch-cuda":
            return self._to_torch(a)
        import cupy
        from cupyx.scipy.sparse import csr_matrix

        if isinstance(a, np.ndarray):
            return to_cupy(cupy, a)
        matrix = csr_matrix(tuple(cupy.asarray(x) for x in (a.data, a.indices, a.indptr)), shape=a.shape)
        for name in ("indices", "indptr"):  # CuPy makes them as narrow as it can
            setattr(matrix, name, cupy.asarray(getattr(a, name)))
        return matrix

    def _to_torch(self, a: Any) -> Any:
        import torch

        if isinstance(a, np.ndarray):
            from tests.arrays import to_package

            return to_package(a, "torch-cuda")
        torch.sparse.check_sparse_tensor_invariants.enable()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            arrays = (torch.from_numpy(x).cuda() for x in (a.indptr, a.indices, a.data))
            return torch.sparse_csr_tensor(*arrays, size=a.shape)

    def host(self, x: Any) -> Any:
        """The elements of an array, on the host."""
        if isinstance(x, list | tuple):
            return [self.host(each) for each in x]
        if self.name == "numpy":
            return x
        return x.cpu().numpy() if self.name == "torch-cuda" else x.get()

    def values(self, a: Any) -> Any:
        return a.values() if self.name == "torch-cuda" else a.data

    def columns(self, a: Any) -> Any:
        return a.col_indices() if self.name == "torch-cuda" else a.indices

    def put(self, x: Any, values: np.ndarray) -> None:
        """Write an array's elements."""
        if self.name == "numpy":
            x[...] = values
        elif self.name == "torch-cuda":
            import torch

            x.copy_(torch.from_numpy(np.ascontiguousarray(values)))
        else:
            import cupy

            if hasattr(cupy, "from_host"):  # the stand-in
                x.set(values)
            else:
                x[...] = cupy.asarray(values, x.dtype)

    def like(self, x: Any) -> Any:
        return [self.like(each) for each in x] if isinstance(x, list | tuple) else self(np.zeros_like(self.host(x)))


def to_cupy(cupy: Any, array: np.ndarray) -> Any:
    """CuPy's copy with the same strides, whether they have gaps or not."""
    if hasattr(cupy, "from_host"):  # the stand-in
        return cupy.from_host(array)
    from tests.arrays import to_package

    return to_package(array, "cupy")


def raises(kind: Any, text: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> BaseException:
    try:
        call(*arguments, **named)
    except kind as error:
        found = error
    else:
        raise AssertionError(f"nothing was raised that says {text!r}")
    assert text in str(found), str(found)
    return found


def solved(place: Place, a: Any, b: Any, spaces: Any = "cuda", **options: Any) -> tuple[Any, Any]:
    """The solution, once its error was checked, and what the solver said."""
    options = {"on_inaccurate": "raise", "tuning": False, **options}
    with DirectSolver(place(a), place(b), options=options, execution=spaces) as solver:
        solver.plan()
        solver.factorize()
        x = solver.solve()
        info = solver.solution_info
    check(a, place.host(x), b)
    return x, info


def check(a: Any, x: Any, b: Any) -> None:
    if isinstance(a, list):
        for each in zip(a, x, b, strict=True):
            check(*each)
    else:
        assert x.shape == b.shape
        assert backward_error(a, x, b) <= 2 * TOLERANCE[a.dtype.name]


# ---- operands ----


def every_family(place: Place, dtype: str, index: str) -> None:
    for name, family in FAMILIES.items():
        a = family()
        if np.iscomplexobj(a.data) and not dtype.startswith("complex"):
            continue
        if name == "badly_scaled" and dtype in ("float32", "complex64"):
            continue
        a = csr(a, dtype, index)
        for space in ("cuda", "hybrid"):
            for columns, order in ((None, "C"), (1, "C"), (3, "C"), (3, "F")):
                b = right_hand_side(a, columns, order)
                x, info = solved(place, a, b, space)
                assert type(x) is type(place(b))
                assert info.accurate
                if order == "F" and columns and a.shape[0] > 1 and place.name != "torch-cuda":
                    assert x.strides[0] == x.itemsize, "the solution has the right-hand side's memory order"


def layouts(place: Place) -> None:
    a = csr(FAMILIES["random"]())
    n = a.shape[0]
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((n + 3, 8))
    tall = np.asfortranarray(wide)
    for space in ("cuda", "hybrid"):
        for b in (wide[:n, :3], wide[:n, ::2], wide[:n, 2], tall[:n, :3], tall[3:, 1::2], tall[:n, 1], wide[:n, :1]):
            solved(place, a, b, space)
        b = tall[:n, :3]
        with DirectSolver(place(a), place(b), execution=space, options={"tuning": False}) as solver:
            solver.plan()
            solver.factorize()
            out = solver.empty_result()
            assert solver.solve(out=out) is out
            check(a, place.host(out), b)
            first = place.host(out).copy()
            solver.reset_operands(
                b=place(2 * b if place.name == "none" else np.multiply(b, 2, out=np.empty_like(tall)[:n, :3]))
            )
            np.testing.assert_allclose(place.host(solver.solve()), 2 * first, rtol=1e-10, atol=1e-12)
            raises(ValueError, "strides", solver.solve, out=place(np.zeros((n, 3))))


def operands_elsewhere(place: Place) -> None:
    """Each solution is of the present right-hand side, and where it was asked for, in whatever order they come."""
    a, rng = csr(FAMILIES["random"]()), np.random.default_rng(8)
    n = a.shape[0]
    for columns in (1, 3):
        sides = [np.asfortranarray(rng.standard_normal((n, columns))) for _ in range(3)]
        given = [place(side) for side in sides]
        with DirectSolver(place(a), given[0], execution="cuda", options={"tuning": False}) as solver:
            solver.plan()
            solver.factorize()
            outs = [solver.empty_result() for _ in range(2)]
            for step, which in enumerate([0, 0, 1, 2, 2, 0, 1]):
                if step == 4:
                    solver.solution_config.ir_num_steps = 1
                if step == 5:
                    solver.solution_config.ir_num_steps = 0
                if step == 6:
                    solver.reset_operands(a=place(csr(2 * a)))
                    solver.factorize()
                solver.reset_operands(b=given[which])
                factor = 2 if step == 6 else 1
                check(csr(factor * a), place.host(solver.solve(out=outs[step % 2])), sides[which])
                check(csr(factor * a), place.host(solver.solve()), sides[which])


def types_and_views(place: Place, kind: T, dtype: str, view: V, junk: bool) -> None:
    whole = matrix_of(kind, dtype, bands=False)
    a, b = shown(whole, view, junk), right_hand_side(csr(whole), 2)
    options = {"sparse_system_type": kind, "sparse_system_view": view, "on_inaccurate": "raise", "tuning": False}
    for space in ("cuda", "hybrid"):
        with DirectSolver(place(a), place(b), options=options, execution=space) as solver:
            solver.plan()
            solver.factorize()
            check(csr(whole), place.host(solver.solve()), b)
            solver.solution_config.ir_num_steps = 1
            check(csr(whole), place.host(solver.solve()), b)
            assert solver.solution_info.refinement_steps <= 2, "one, and one more where the analysis was made anew"


def crossing(place: Place) -> None:
    """Operands of a device on the CPU: once copied in each phase, and a wrong pattern is found there too."""
    if place.name == "numpy":
        return
    a = csr(FAMILIES["finite_elements"]())
    for columns, order in ((None, "C"), (2, "C"), (2, "F")):
        b = right_hand_side(a, columns, order)
        x, _ = solved(place, a, b, "cpu")
        assert type(x) is type(place(b))
    solved(place, [a, csr(2 * a)], [b, 3 * b], "cpu")
    raises(TypeError, "expected a", DirectSolver, place(a), np.ones(a.shape[0]))
    with DirectSolver(place(a), place(b), execution="cpu") as solver:
        solver.plan()
        columns = place.columns(solver._a)
        place.put(columns, np.roll(place.host(columns), 1))
        raises(ValueError, "another sparsity pattern", solver.factorize)


# ---- trust ----


def nearly_singular(gap: float) -> sp.csr_array:
    a = laplacian(40).toarray()
    a[0, 0] = a[-1, -1] = 1
    return csr(a + gap * np.eye(40))


def said_or_right(
    place: Place, a: sp.csr_array, b: np.ndarray, space: str, exact: bool = False, **options: Any
) -> bool:
    """Whether an accurate solution was found; otherwise the solver said that it was not."""
    options = {"on_inaccurate": "raise", "tuning": False, **options}
    try:
        x = place.host(direct_solver(place(a), place(b), options=options, execution=space))
    except SAYS_SO:
        return False
    check(a, x, b)
    return True


def trust(place: Place) -> None:
    for space in ("cuda", "hybrid"):
        a = nearly_singular(0.0)
        assert not said_or_right(place, a, right_hand_side(a), space)
        for gap in (1e-3, 1e-8, 1e-13, 1e-16):
            a = nearly_singular(gap)
            assert said_or_right(place, a, right_hand_side(a), space) or gap <= 1e-13
        a = csr(FAMILIES["tridiagonal"]())
        a.data[a.indptr[7] : a.indptr[8]] = 0
        assert not said_or_right(place, a, right_hand_side(a), space)
        lil = sp.lil_array(np.eye(9))
        for row in (0, 1, 2):
            lil[row, :] = 0
        for row, column in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 5)):
            lil[row, column] = 1.0 + row + 2 * column
        assert not said_or_right(place, csr(lil), right_hand_side(csr(lil)), space)
        rng = np.random.default_rng(3)
        for _ in range(5):  # without a strong diagonal
            a = csr(
                sp.random_array((60, 60), density=0.1, rng=rng, data_sampler=rng.standard_normal) + 1e-9 * sp.eye(60)
            )
            said_or_right(place, a, right_hand_side(a), space)
        a = laplacian(6, 6).copy()
        a[0, 1] = 5.0
        b = np.ones(36)
        options = {"sparse_system_type": T.SYMMETRIC, "on_inaccurate": "ignore", "tuning": False}
        with DirectSolver(place(csr(a)), place(b), options=options, execution=space) as solver:
            solver.plan()
            solver.factorize()
            x = place.host(solver.solve())
            assert solver.solution_info.accurate == (backward_error(csr(a), x, b) <= TOLERANCE["float64"])


def values_that_are_not_finite(place: Place) -> None:
    a = laplacian(20)
    b = np.ones(20)
    for space in ("cuda", "hybrid"):
        with DirectSolver(place(a), place(b), execution=space, options={"tuning": False}) as solver:
            solver.plan()
            solver.factorize()
            for bad in (np.nan, np.inf):
                data = a.data.copy()
                data[3] = bad
                solver.reset_operands(a=place(csr(sp.csr_array((data, a.indices, a.indptr)))))
                raises(ValueError, "a has a value that is not finite (NaN or infinity) in row 1", solver.factorize)
                raises(RuntimeError, "factorize", solver.solve)
                solver.reset_operands(a=place(a))
                solver.factorize()
                wrong = b.copy()
                wrong[5] = bad
                solver.reset_operands(b=place(wrong))
                raises(ValueError, "b has a value that is not finite (NaN or infinity) in row 5", solver.solve)
                solver.reset_operands(b=place(b))
                check(a, place.host(solver.solve()), b)


def pivots(place: Place) -> None:
    """Replaced pivots are told, refinement mends what they did, and large entries are brought to the diagonal."""
    whole = csr(kkt())
    b = right_hand_side(whole)
    options = {"sparse_system_type": T.SYMMETRIC, "on_inaccurate": "raise", "tuning": False}
    with DirectSolver(place(whole), place(b), options=options, execution="cuda") as solver:
        solver.plan()
        info = solver.factorize()
        assert (info.npivots > 0) == (info.info > 0)
        assert sum(info.inertia) == whole.shape[0]
        check(whole, place.host(solver.solve()), b)
    a = finite_elements()
    rows = np.repeat(np.arange(a.shape[0]), np.diff(a.indptr))
    a.data[(rows == 50) | (a.indices == 50)] = 0.0
    b = right_hand_side(a)
    with DirectSolver(place(a), place(b), options=options, execution="cuda") as solver:
        solver.plan()
        info = solver.factorize()
        assert (info.npivots, info.info) == (1, 51)
        raises(InaccurateSolutionError, "the solution is inaccurate after refinement", solver.solve)
    a = csr(FAMILIES["random"]())
    b = right_hand_side(a)
    with DirectSolver(place(a), place(b), options={"tuning": False}, execution="cuda") as solver:
        solver.plan_config.matching_algorithm = DirectSolverMatchingAlg.NONE
        solver.plan()
        solver.factorize()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solver.solve()
        assert solver.solution_info.accurate != bool(caught)
        if not solver.solution_info.accurate:
            assert "pivots were too small and replaced" in str(caught[0].message)
        solver.plan_config.matching_algorithm = None
        solver.plan()
        solver.factorize()
        check(a, place.host(solver.solve()), b)
        assert solver.solution_info.accurate


def stale_matching(place: Place) -> None:
    """The analysis saw a strong diagonal; the present values have one elsewhere."""
    random = FAMILIES["random"]()
    first, second = csr(1e-6 * random + sp.eye_array(120)), csr(random + 1e-20 * sp.eye_array(120))
    assert first.nnz == second.nnz
    b = right_hand_side(first)
    options = {"on_inaccurate": "raise", "tuning": False}
    with DirectSolver(place(first), place(b), options=options, execution="cuda") as solver:
        solver.plan()
        solver.factorize()
        check(first, place.host(solver.solve()), b)
        solver.reset_operands(a=place(second))
        solver.factorize()
        check(second, place.host(solver.solve()), b)
        assert any("analysis was made anew" in note for note in solver.plan_info.notes)
        solver.reset_operands(a=place(csr(2 * second)))
        solver.factorize()
        check(csr(2 * second), place.host(solver.solve()), b)


def not_definite(place: Place) -> None:
    whole = laplacian(4, 4).toarray()
    whole[5, 5] = -100
    a, b = csr(whole), np.ones(16)
    options = {"sparse_system_type": T.SPD, "tuning": False}
    for space in ("cuda", "hybrid"):
        with DirectSolver(place(a), place(b), options=options, execution=space) as solver:
            solver.plan()
            error = raises(SingularMatrixError, "not positive; options.sparse_system_type is SPD", solver.factorize)
            assert space == "hybrid" or error.row == 5
    good = csr(laplacian(4, 4))
    for matrices in ([good, a, good], [csr(laplacian(3, 3)), a, good]):
        with DirectSolver(
            place(matrices), place([np.ones(m.shape[0]) for m in matrices]), options=options, execution="cuda"
        ) as solver:
            solver.plan()
            error = raises(SingularMatrixError, "a[1] is singular: the pivot of row 5", solver.factorize)


# ---- the loop ----


def loop(place: Place) -> None:
    a = csr(FAMILIES["pentadiagonal"]())
    b = right_hand_side(a)
    for space in ("cuda", "hybrid"):
        matrix, side = place(a.copy()), place(b.copy())
        with DirectSolver(matrix, side, execution=space, options={"on_inaccurate": "raise", "tuning": False}) as solver:
            solver.plan()
            for step in range(4):
                now, right = csr(a * (1.5 + step)), b + step
                place.put(place.values(matrix), now.data)
                place.put(side, right)
                solver.factorize()
                check(now, place.host(solver.solve()), right)
            if place.name != "torch-cuda":  # its owner gives the matrix another array
                matrix.data = place(a.data * 3)
                solver.factorize()
                check(csr(3 * a), place.host(solver.solve()), b + 3)
            solver.reset_operands(a=place(a), b=place(b))
            raises(RuntimeError, "factorize", solver.solve)
            solver.factorize()
            check(a, place.host(solver.solve()), b)


def changed_pattern(place: Place) -> None:
    a, b = laplacian(20), np.ones(20)
    other = csr(a.toarray() + np.diag(np.ones(17), 3))
    for space in ("cuda", "hybrid", "cpu"):
        matrix = place(a.copy())
        with DirectSolver(matrix, place(b), execution=space, options={"tuning": False}) as solver:
            solver.plan()
            moved = a.copy()
            moved.indices[1] += 1
            for given in (other, moved):
                solver.factorize()
                raises(ValueError, "shape", solver.reset_operands, a=place(given), b=place(np.ones(7)))
                solver.solve()
                solver.reset_operands(a=place(given))
                raises(RuntimeError, "brought, which has another sparsity pattern; call plan", solver.factorize)
                solver.plan()
                solver.factorize()
                check(given, place.host(solver.solve()), b)
            solver.reset_operands(a=matrix)
            solver.plan()
            solver.factorize()
            solver.solve()
            place.put(place.columns(matrix), moved.indices)
            raises(ValueError, "another sparsity pattern", solver.factorize)
            solver.plan()
            solver.factorize()
            check(moved, place.host(solver.solve()), b)
    if place.name != "torch-cuda":  # which does not make such a tensor
        unsorted = place(sp.csr_array((np.ones(3), [1, 0, 1], [0, 2, 3])))
        raises(
            ValueError, "unsorted column indices in row 0",
            lambda: direct_solver(unsorted, place(np.ones(2)), execution="cuda"),
        )  # fmt: skip
    empty = laplacian(6).toarray()
    empty[3] = 0
    raises(
        SingularMatrixError, "a has no entry in row 3",
        lambda: direct_solver(place(csr(empty)), place(np.ones(6)), execution="cuda"),
    )  # fmt: skip


# ---- batches ----


def batches(place: Place) -> None:
    rng = np.random.default_rng(0)
    base = csr(FAMILIES["finite_elements"]())
    alike = [csr(base * f) for f in rng.uniform(0.5, 2, 7)]
    mixed = [csr(FAMILIES[name]()) for name in ("tridiagonal", "one_by_one", "pentadiagonal", "permutation")]
    strong = [csr(laplacian(n) + sp.eye_array(n)) for n in (5, 9, 7)]
    for space in ("cuda", "hybrid"):
        for matrices in (alike, mixed, strong):
            for columns, order in ((None, "C"), (2, "C"), (2, "F")):
                b = [right_hand_side(a, columns, order, i) for i, a in enumerate(matrices)]
                x, info = solved(place, matrices, b, space)
                assert isinstance(x, tuple)
                assert len(info.systems) == len(matrices)
        different = [right_hand_side(a, 1 + i % 3, seed=i) for i, a in enumerate(alike)]
        solved(place, alike, different, space)
        together = rng.standard_normal((7, base.shape[0], 2))
        with DirectSolver(place(alike), place(together), execution=space, options={"tuning": False}) as solver:
            solver.plan()
            solver.factorize()
            x = place.host(solver.solve())
            check(alike, list(x), list(together))
            assert len(solver.factorization_info.npivots) == 7
            solver.reset_operands(a=place([csr(4 * a) for a in alike]), b=place(2 * together))
            solver.factorize()
            out = solver.empty_result()
            assert solver.solve(out=out) is out
            np.testing.assert_allclose(place.host(out), x / 2, rtol=1e-9, atol=1e-12)


def batch_with_a_singular_system(place: Place) -> None:
    base = csr(finite_elements())
    n = base.shape[0]
    bad = base.copy()
    bad.data = bad.data.copy()
    rows = np.repeat(np.arange(n), np.diff(base.indptr))
    bad.data[(rows == 50) | (base.indices == 50)] = 0
    other = csr(laplacian(12) + sp.eye_array(12))
    for matrices, wrong in (([base, bad, csr(2 * base)], 1), ([base, other, bad], 2)):
        b = [right_hand_side(a, seed=i) for i, a in enumerate(matrices)]
        options = {"on_inaccurate": "ignore", "tuning": False}
        with DirectSolver(place(matrices), place(b), options=options, execution="cuda") as solver:
            solver.plan()
            solver.factorize()
            x = solver.solve()
            told = [info.accurate for info in solver.solution_info.systems]
            assert told == [i != wrong for i in range(3)]
            good = [i for i in range(3) if i != wrong]
            check([matrices[i] for i in good], [place.host(x[i]) for i in good], [b[i] for i in good])
            solver.factorize()  # with the system that was singular by itself now
            x = solver.solve()
            check([matrices[i] for i in good], [place.host(x[i]) for i in good], [b[i] for i in good])
            mended = [*matrices]
            mended[wrong] = csr(3 * base) if wrong == 2 or wrong == 1 else other
            solver.reset_operands(a=place(mended))
            solver.factorize()
            check(mended, place.host(solver.solve()), b)
            assert solver.solution_info.accurate


# ---- what it tells, and resources ----


def facts(place: Place) -> None:
    a, b = csr(laplacian(4, 4)), np.ones(16)
    with DirectSolver(place(a), place(b), execution="cuda", options={"tuning": False}) as solver:
        plan = solver.plan()
        assert sorted(plan.row_permutation) == list(range(16))
        assert plan.memory_estimates.peak_device_memory == plan.memory_estimates["peak_device_memory"] > 0
        assert plan.num_superpanels >= 0
        assert sorted(plan.matching_col_permutation) == list(range(16))
        found = solver.factorize()
        assert found.lu_nnz >= 16
        assert (found.npivots, found.info) == (0, 0)
        assert (found.diag != 0).all()
        assert (found.row_scale_factors > 0).all()
        raises(UnavailableError, "cudss does not tell the factorization's inertia", lambda: found.inertia)
        assert "chosen by" in solver.report()
        assert "threading layer" in solver.report()
        assert any("threading layer" in note for note in plan.notes)
    for kind, expected in ((T.SPD, None), (T.SYMMETRIC, [16, 0])):
        with DirectSolver(place(a), place(b), execution="cuda", options={"sparse_system_type": kind}) as solver:
            plan = solver.plan()
            info = solver.factorize()
            if expected:
                assert info.inertia.tolist() == expected
            raises(UnavailableError, "does not tell", lambda plan=plan: plan.matching_col_permutation)
        solver.free()
    with DirectSolver(place([a, a]), place([b, b]), execution="cuda") as solver:
        plan = solver.plan()
        assert len(plan.memory_estimates) == 2
        info = solver.factorize()
        assert info.npivots == (0, 0)
        assert len(info.lu_nnz) == 2


def preferences(place: Place) -> None:
    from planmath.sparse.advanced import DirectSolverFactorizationAlg as Factorization
    from planmath.sparse.advanced import DirectSolverReorderingAlg as Reordering

    a = csr(FAMILIES["finite_elements"]())
    b = right_hand_side(a)
    with DirectSolver(place(a), place(b), execution="cuda", options={"tuning": False}) as solver:
        for ordering in (Reordering.AMD, Reordering.COLAMD, Reordering.NESTED_DISSECTION, None):
            solver.plan_config.reordering_algorithm = ordering
            solver.plan_config.host_nthreads = 2
            solver.plan()
            solver.factorization_config.pivot_eps = 1e-10
            solver.factorization_config.factorization_algorithm = Factorization.GENERAL
            solver.factorize()
            check(a, place.host(solver.solve()), b)
            solver.factorization_config.pivot_eps = None
            solver.factorization_config.factorization_algorithm = None
            solver.factorize()
            solver.factorize()
            check(a, place.host(solver.solve()), b)
        solver.plan_config.max_nnz = 20
        raises(UnavailableError, "more than plan_config.max_nnz = 20", solver.plan)
        solver.factorize()
        check(a, place.host(solver.solve()), b)


def hybrid_memory(place: Place) -> None:
    a = csr(laplacian(30, 30))
    b = right_hand_side(a)

    def space(**options: Any) -> ExecutionCUDA:
        return ExecutionCUDA(hybrid_memory_mode_options={"hybrid_memory_mode": True, **options})

    solved(place, a, b, space())
    solved(place, a, b, space(register_cuda_memory=False))
    with DirectSolver(place(a), place(b), execution="cuda") as solver:
        least = int(solver.plan().memory_estimates["hybrid_min_device_memory"])
    solved(place, a, b, space(hybrid_device_memory_limit=2 * least))
    with DirectSolver(place(a), place(b), execution=space(hybrid_device_memory_limit=100)) as solver:
        raises(ValueError, "hybrid_device_memory_limit is 100 bytes; the factors of a need at least", solver.plan)


class Allocator:
    """A user's allocator, which may run out of memory."""

    def __init__(self, *arguments: Any):
        self.sizes: list[int] = []
        self.alive = 0
        self.most = 1 << 60

    def memalloc_async(self, size: int, stream: Any) -> Any:
        from planmath import MemoryPointer
        from planmath.bindings import runtime

        if size > self.most:
            raise MemoryError("no more of it")
        self.sizes.append(size)
        self.alive += 1
        address = runtime.malloc_async(size, int(stream))

        def give_back() -> None:
            self.alive -= 1
            runtime.free_async(address, int(stream))

        return MemoryPointer(address, size, give_back)


def allocator(place: Place) -> None:
    a = csr(laplacian(30, 30))
    b = right_hand_side(a)
    own = Allocator()
    with DirectSolver(place(a), place(b), execution="cuda", options={"allocator": own, "tuning": False}) as solver:
        solver.plan()
        solver.factorize()
        check(a, place.host(solver.solve()), b)
        count = len(own.sizes)
        for _ in range(3):
            solver.factorize()
            solver.solve()
        assert len(own.sizes) == count, "nothing is allocated in the loop"
        assert own.alive > 0
        own.most = 16
        raises(OutOfDeviceMemoryError, "could not be allocated", solver.plan)
        own.most = 1 << 60
        solver.factorize()
        check(a, place.host(solver.solve()), b)
    gc.collect()
    assert own.alive == 0

    class LaterOut(Allocator):
        phase = "analysis"

        def memalloc_async(self, size: int, stream: Any) -> Any:
            if self.phase == "factorization":
                raise MemoryError("no more of it")
            return Allocator.memalloc_async(self, size, stream)

    own = LaterOut()
    with DirectSolver(place(a), place(b), execution="cuda", options={"allocator": own, "tuning": False}) as solver:
        solver.plan()
        own.phase = "factorization"
        raises(OutOfDeviceMemoryError, "'hybrid_memory_mode': True}), with which they need at least", solver.factorize)
        raises(RuntimeError, "factorize", solver.solve)
        own.phase = ""
        solver.factorize()
        check(a, place.host(solver.solve()), b)


def operands_are_let_go(place: Place) -> None:
    a, b = csr(laplacian(20)), np.ones(20)
    for space in ("cuda", "hybrid", "cpu"):
        if space == "cpu" and place.name == "numpy":
            continue
        matrix, side = place(a.copy()), place(b.copy())
        held = [place.values(matrix)] if place.name == "cupy" else []
        alive = [weakref.ref(x) for x in (matrix, side, *held)]
        del held
        with DirectSolver(matrix, side, execution=space, options={"tuning": False}) as solver:
            solver.plan()
            solver.factorize()
            x = solver.solve()
            alive.append(weakref.ref(x))
            del matrix, side, x
            gc.collect()
            assert [reference() is not None for reference in alive] == [*[True] * (len(alive) - 1), False]
            solver.release_operands()
            gc.collect()
            assert all(reference() is None for reference in alive)
            solver.reset_operands(a=place(a), b=place(b))
            solver.factorize()
            check(a, place.host(solver.solve()), b)


def tuning(place: Place) -> None:
    a, b = csr(laplacian(12, 12)), np.ones(144)
    for matrices, sides in ((a, b), ([a, csr(2 * a)], [b, b])):
        with DirectSolver(place(matrices), place(sides), execution="cuda", options={"tuning": False}) as solver:
            solver.plan()
            solver.autotune(iterations=1)
            assert len(solver._plan_made.measurements) > 2
            solver.factorize()
            check(matrices, place.host(solver.solve()), sides)


def stateless(place: Place) -> None:
    remembered.clear()
    a, b = csr(laplacian(12, 12)), np.ones(144)
    for factor in (1, 2, 4):
        x = direct_solver(place(csr(a * factor)), place(b), execution="cuda")
        check(csr(a * factor), place.host(x), b)
    remembered.clear()


def errors(place: Place) -> None:
    a, b = place(csr(laplacian(20))), place(np.ones(20))
    raises(ValueError, "device_id is 99", lambda: direct_solver(a, b, execution={"name": "cuda", "device_id": 99})) if (
        place.name == "numpy"
    ) else None
    raises(
        UnavailableError,
        "it computes on the CPU only",
        lambda: direct_solver(a, b, execution="cuda", options={"provider": "superlu"}),
    )
    raises(
        UnavailableError,
        "it computes on CUDA devices",
        lambda: direct_solver(a, b, execution="cpu", options={"provider": "cudss"}),
    )
    raises(
        ValueError,
        "/nowhere/layer.so",
        lambda: direct_solver(a, b, execution="cuda", options={"multithreading_lib": "/nowhere/layer.so"}),
    )
    solver = DirectSolver(a, b, execution="cuda")
    raises(RuntimeError, "plan", solver.factorize)
    solver.free()
    raises(RuntimeError, "free", solver.plan)


#: Those that take a place alone.
CHECKS = (
    layouts, operands_elsewhere, crossing, trust, values_that_are_not_finite, pivots, stale_matching, not_definite,
    loop, changed_pattern, batches, batch_with_a_singular_system, facts, preferences, hybrid_memory, allocator,
    operands_are_let_go, tuning, stateless, errors,
)  # fmt: skip
