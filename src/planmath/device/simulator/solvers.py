"""Solvers in the simulator: LAPACK's functions on each problem of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg

from planmath.device.simulator import SimulationError
from planmath.device.simulator.memory import check_written
from planmath.device.simulator.transforms import check_array, check_block
from planmath.device.solver import MATRICES
from planmath.device.value_types import host_dtype

if TYPE_CHECKING:
    from planmath.device.solver import Solver


def execute(thread: Any, solver: Solver, *args: Any) -> None:
    """A call of `Solver.execute`, in which leading dimensions may follow matrices."""
    parameters, given, leading = solver.parameters, list(args), {}
    if len(given) > len(parameters):
        for place, name in enumerate(parameters):
            if name in MATRICES and place + 1 < len(given):
                leading[f"ld{name}"] = given.pop(place + 1)
    call(thread, solver, tuple(given), leading)


def call(thread: Any, solver: Solver, args: tuple[Any, ...], leading: dict[str, Any]) -> None:
    """A call with the arguments of the function's parameters, and leading dimensions by name."""
    name, parameters = f"{solver.function}", solver.parameters
    if len(args) != len(parameters):
        raise SimulationError(f"{name} takes {', '.join(parameters)}, not {len(args)} arguments")
    check_block(thread, solver.block_dim, name)
    own = {f"ld{each}": leading.get(f"ld{each}") for each in parameters if each in MATRICES}
    if len({each is None for each in own.values()}) > 1:
        raise SimulationError(f"{name} takes the leading dimensions {' and '.join(own)}, or none of them")
    views = {
        each: _view(solver, each, array, own.get(f"ld{each}")) for each, array in zip(parameters, args, strict=True)
    }
    places = tuple(view.__array_interface__["data"][0] for view in views.values())
    thread.together(name, (solver.key, places), None, lambda _: _work(solver, views))


def _work(solver: Solver, views: dict[str, np.ndarray]) -> None:
    for batch in range(solver.batches_per_block):
        problem = {name: view[batch, ...] for name, view in views.items()}
        _FUNCTIONS[solver.function](solver, **{name.replace("lambda", "w"): each for name, each in problem.items()})


def _view(solver: Solver, name: str, array: Any, leading: Any) -> np.ndarray:
    kind: Any = {"info": np.int32, "ipiv": np.int32, "lambda": solver.precision}.get(name, solver.value_type)
    if solver.function == "htev" and name in ("d", "e"):
        kind = solver.precision
    check_array(solver.function, array, host_dtype(kind), kind)
    flat = np.asarray(array).reshape(-1)
    shape = solver._shape(name)
    assert shape is not None
    if name in MATRICES:
        try:
            strides: tuple[int, ...] = solver.strides(name, None if leading is None else int(leading))
        except ValueError as error:
            raise SimulationError(str(error)) from None
    elif name == "workspace":
        if flat.size < shape[0]:
            raise SimulationError(f"{solver.function} needs a workspace of {shape[0]} elements (workspace_size)")
        return np.broadcast_to(flat, (solver.batches_per_block, flat.size))
    else:
        strides = (max(1, int(np.prod(shape))), *(1,) * len(shape))
    whole = (solver.batches_per_block, *shape)
    last = sum((n - 1) * stride for n, stride in zip(whole, strides, strict=True))
    if flat.size <= last:
        raise SimulationError(f"{solver.function} takes {last + 1} elements for {name}; the array has {flat.size}")
    return np.lib.stride_tricks.as_strided(flat, whole, [flat.itemsize * each for each in strides])


# The functions. Each gets the views of one problem, and overwrites them as LAPACK does.


def _read(solver: Solver, name: str, view: np.ndarray) -> np.ndarray:
    check_written(solver.function, name, view)
    return np.array(view)


def _triangle(solver: Solver, a: np.ndarray, lower: bool) -> np.ndarray:
    """The triangle that is used, from memory of which the other may be anything."""
    inside = np.tril(np.ones(a.shape, bool)) if lower else np.triu(np.ones(a.shape, bool))
    check_written(solver.function, "a", a[inside])
    return np.where(inside, a, 0)


def _lapack(name: str, *arrays: np.ndarray) -> Any:
    return linalg.get_lapack_funcs(name, arrays)


def _mode(solver: Solver) -> int:
    return {"transposed": 1, "conj_transposed": 2}.get(solver.transpose_mode or "", 0)


def _op(solver: Solver, a: np.ndarray) -> np.ndarray:
    return {0: a, 1: a.T, 2: a.conj().T}[_mode(solver)]


def _potrf(solver: Solver, a: np.ndarray, info: np.ndarray) -> None:
    lower = solver.fill_mode == "lower"
    triangle = _triangle(solver, a, lower)
    factor, status = _lapack("potrf", triangle)(triangle, lower=lower)
    inside = np.tril(np.ones(a.shape, bool)) if lower else np.triu(np.ones(a.shape, bool))
    a[inside] = factor[inside]
    info[...] = status


def _potrs(solver: Solver, a: np.ndarray, b: np.ndarray) -> None:
    lower = solver.fill_mode == "lower"
    b[...] = linalg.cho_solve((_triangle(solver, a, lower), lower), _read(solver, "b", b), check_finite=False)


def _posv(solver: Solver, a: np.ndarray, b: np.ndarray, info: np.ndarray) -> None:
    _potrf(solver, a, info)
    if not info[...]:
        _potrs(solver, a, b)


def _getrf(solver: Solver, a: np.ndarray, info: np.ndarray) -> None:
    lu, status = _read(solver, "a", a), 0
    for k in range(min(lu.shape)):
        if lu[k, k] == 0:
            status = status or k + 1
            continue
        lu[k + 1 :, k] /= lu[k, k]
        lu[k + 1 :, k + 1 :] -= np.outer(lu[k + 1 :, k], lu[k, k + 1 :])
    a[...] = lu
    info[...] = status


def _getrs(solver: Solver, a: np.ndarray, b: np.ndarray) -> None:
    _solve_lu(solver, a, np.arange(len(a)), b)


def _solve_lu(solver: Solver, a: np.ndarray, pivots: np.ndarray, b: np.ndarray) -> None:
    lu, x = _read(solver, "a", a), _read(solver, "b", b)
    b[...] = linalg.lu_solve((lu, pivots), x, trans=_mode(solver), check_finite=False)


def _gesv(solver: Solver, a: np.ndarray, b: np.ndarray, info: np.ndarray) -> None:
    _getrf(solver, a, info)
    _getrs(solver, a, b)


def _getrf_pivot(solver: Solver, a: np.ndarray, ipiv: np.ndarray, info: np.ndarray) -> None:
    lu, pivots, status = _lapack("getrf", np.asarray(a))(_read(solver, "a", a))
    a[...], ipiv[...], info[...] = lu, pivots + 1, status


def _getrs_pivot(solver: Solver, a: np.ndarray, ipiv: np.ndarray, b: np.ndarray) -> None:
    _solve_lu(solver, a, np.array(ipiv) - 1, b)


def _gesv_pivot(solver: Solver, a: np.ndarray, ipiv: np.ndarray, b: np.ndarray, info: np.ndarray) -> None:
    _getrf_pivot(solver, a, ipiv, info)
    if not info[...]:
        _getrs_pivot(solver, a, ipiv, b)


def _geqrf(solver: Solver, a: np.ndarray, tau: np.ndarray) -> None:
    factor, found, _, _ = _lapack("geqrf", np.asarray(a))(_read(solver, "a", a))
    a[...], tau[...] = factor, found


def _gelqf(solver: Solver, a: np.ndarray, tau: np.ndarray) -> None:
    """LQ of A is QR of its adjoint; its reflectors are the conjugates of LAPACK's."""
    factor, found, _, _ = _lapack("geqrf", np.asarray(a))(_read(solver, "a", a).conj().T.copy())
    a[...], tau[...] = factor.conj().T, found


def _q(solver: Solver, reflectors: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Q of a QR factorization, square."""
    order = reflectors.shape[0]
    q = np.eye(order, dtype=reflectors.dtype)
    for k in reversed(range(len(tau))):
        v = np.zeros(order, reflectors.dtype)
        v[k], v[k + 1 :] = 1, reflectors[k + 1 :, k]
        q -= tau[k] * np.outer(v, v.conj() @ q)
    return q


def _unmqr(solver: Solver, a: np.ndarray, tau: np.ndarray, c: np.ndarray) -> None:
    q = _op(solver, _q(solver, _read(solver, "a", a), _read(solver, "tau", tau)))
    given = _read(solver, "c", c)
    c[...] = q @ given if solver.side == "left" else given @ q


def _unmlq(solver: Solver, a: np.ndarray, tau: np.ndarray, c: np.ndarray) -> None:
    q = _q(solver, _read(solver, "a", a).conj().T, _read(solver, "tau", tau)).conj().T
    q, given = _op(solver, q), _read(solver, "c", c)
    c[...] = q @ given if solver.side == "left" else given @ q


def _ungqr(solver: Solver, a: np.ndarray, tau: np.ndarray) -> None:
    a[...] = _q(solver, _read(solver, "a", a), _read(solver, "tau", tau))[:, : a.shape[1]]


def _unglq(solver: Solver, a: np.ndarray, tau: np.ndarray) -> None:
    a[...] = _q(solver, _read(solver, "a", a).conj().T, _read(solver, "tau", tau)).conj().T[: a.shape[0]]


def _gels(solver: Solver, a: np.ndarray, tau: np.ndarray, b: np.ndarray) -> None:
    """As LAPACK's: the factorization of A is QR for M >= N, else LQ; the rest of the buffer is undefined."""
    given = _read(solver, "a", a)
    rows, columns = _op(solver, given).shape
    check_written(solver.function, "b", b[:rows])
    x = linalg.lstsq(_op(solver, given), np.array(b[:rows]), check_finite=False)[0]
    (_geqrf if a.shape[0] >= a.shape[1] else _gelqf)(solver, a, tau)
    b[:columns] = x


def _trsm(solver: Solver, a: np.ndarray, b: np.ndarray) -> None:
    lower, unit = solver.fill_mode == "lower", solver.diag == "unit"
    triangle = np.asarray(a) * 0 + _op(solver, _unit_triangle(solver, a, lower, unit))
    lower = lower if _mode(solver) == 0 else not lower
    given = _read(solver, "b", b)
    if solver.side == "left":
        b[...] = linalg.solve_triangular(triangle, given, lower=lower, unit_diagonal=unit, check_finite=False)
    else:
        b[...] = linalg.solve_triangular(triangle.T, given.T, lower=not lower, unit_diagonal=unit, check_finite=False).T


def _unit_triangle(solver: Solver, a: np.ndarray, lower: bool, unit: bool) -> np.ndarray:
    if not unit:
        return _triangle(solver, a, lower)
    strict = np.tril(np.ones(a.shape, bool), -1) if lower else np.triu(np.ones(a.shape, bool), 1)
    check_written(solver.function, "a", a[strict])
    return np.where(strict, a, np.eye(len(a), dtype=a.dtype))


def _htev(solver: Solver, d: np.ndarray, e: np.ndarray, info: np.ndarray, v: np.ndarray | None = None) -> None:
    values, vectors = linalg.eigh_tridiagonal(_read(solver, "d", d), _read(solver, "e", e))
    d[...] = values
    if v is not None:
        v[...] = vectors if solver.job == "all_vectors" else _read(solver, "v", v) @ vectors
    info[...] = 0


def _heev(solver: Solver, a: np.ndarray, w: np.ndarray, workspace: np.ndarray, info: np.ndarray) -> None:
    lower = solver.fill_mode == "lower"
    values, vectors = linalg.eigh(_triangle(solver, a, lower), lower=lower, check_finite=False)
    w[...] = values
    if solver.job == "overwrite_vectors":
        a[...] = vectors
    info[...] = 0


def _gtsv(solver: Solver, dl: np.ndarray, d: np.ndarray, du: np.ndarray, b: np.ndarray, info: np.ndarray) -> None:
    lower, diagonal, upper = _read(solver, "dl", dl), _read(solver, "d", d), _read(solver, "du", du)
    x = _read(solver, "b", b)
    for k in range(len(diagonal)):
        if diagonal[k] == 0:
            info[...] = k + 1
            return
        if k + 1 < len(diagonal):
            factor = lower[k] / diagonal[k]
            diagonal[k + 1] -= factor * upper[k]
            x[k + 1] -= factor * x[k]
    for k in reversed(range(len(diagonal))):
        x[k] = (x[k] - (upper[k] * x[k + 1] if k + 1 < len(diagonal) else 0)) / diagonal[k]
    b[...], info[...] = x, 0


_FUNCTIONS: dict[str, Any] = {
    "potrf": _potrf, "potrs": _potrs, "posv": _posv, "getrf_no_pivot": _getrf, "getrs_no_pivot": _getrs,
    "gesv_no_pivot": _gesv, "getrf_partial_pivot": _getrf_pivot, "getrs_partial_pivot": _getrs_pivot,
    "gesv_partial_pivot": _gesv_pivot, "geqrf": _geqrf, "gelqf": _gelqf, "unmqr": _unmqr, "unmlq": _unmlq,
    "ungqr": _ungqr, "unglq": _unglq, "gels": _gels, "trsm": _trsm, "htev": _htev, "heev": _heev,
    "gtsv_no_pivot": _gtsv,
}  # fmt: skip
