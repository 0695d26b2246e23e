"""Calls of solvers in kernels."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from numba import cuda
from numba.cuda import types
from numba.cuda.core.errors import TypingError

from planmath.core.cuda.mathdx.descriptors import universal_fatbin
from planmath.device import solvers
from planmath.device.kernels import objects, vectors
from planmath.device.kernels.calls import Emitter, Pending, Plan, check_array, constant_method, given, linked, method
from planmath.device.solver import APIS, MATRICES, Solver, compile_solver_execute


def _plan(name: str, solver: Solver, code_type: Any, args: tuple[Any, ...], leading: dict[str, Any]) -> Plan:
    """A call with the arguments of `parameters`, and leading dimensions by name, all of them or none."""
    parameters = solver.parameters
    if len(args) != len(parameters):
        raise TypingError(f"{name} takes {', '.join(parameters)}, not {len(args)} arguments")
    matrices = [each for each in parameters if each in MATRICES]
    there = [each for each in matrices if given(leading.get(f"ld{each}"))]
    if there and there != matrices:
        raise TypingError(f"{name} takes the leading dimensions of {' and '.join(matrices)}, or none of them")
    value, real = vectors.of(solver.value_type), vectors.of(solver.precision)
    dtypes = {"info": types.int32, "ipiv": types.int32, "lambda": real}
    if solver.function == "htev":
        dtypes |= {"d": real, "e": real}
    for parameter, kind in zip(parameters, args, strict=True):
        check_array(name, parameter, kind, dtypes.get(parameter, value))
    api = "runtime_leading_dim" if there else "compiled_leading_dim"
    symbol = solver._description(APIS[api]).symbol(solver.function, code_type)
    code = [
        linked(symbol, lambda: Pending(symbol, partial(_code, solver, code_type, api))),
        linked("universal", lambda: cuda.Fatbin(universal_fatbin(solver._description()), name="cusolverdx")),
    ]

    def emit(to: Emitter, values: Any, sizes: dict[str, Any]) -> None:
        passed = []
        for parameter, kind, each in zip(parameters, args, values, strict=True):
            passed.append(to.array(kind, each))
            if there and parameter in MATRICES:
                passed.append(to.by_address(sizes[parameter], leading[f"ld{parameter}"], types.uint32))
        to.call(symbol, passed, code)

    return Plan(types.none, emit)


def _code(solver: Solver, code_type: Any, api: str) -> Any:
    return compile_solver_execute(solver, code_type, api)[0]


@method(objects.class_of(Solver), "execute")
def _execute(kind: Any, *args: Any) -> Plan:
    solver = kind.instance
    places, leading_places, n = [], {}, 0
    interleaved = len(args) > len(solver.parameters)
    for parameter in solver.parameters:
        places.append(n)
        n += 1
        if interleaved and parameter in MATRICES:
            leading_places[parameter] = n
            n += 1
    if n != len(args):
        raise TypingError(
            f"Solver.execute of {solver.function} takes {', '.join(solver.parameters)}, where each matrix may be "
            f"followed by its leading dimension, not {len(args)} arguments"
        )
    leading = {f"ld{name}": args[place] for name, place in leading_places.items()}
    plan = _plan("Solver.execute", solver, kind.code_type, tuple(args[place] for place in places), leading)

    def emit(to: Emitter, *values: Any) -> None:
        sizes = {name: values[place] for name, place in leading_places.items()}
        plan.emit(to, [values[place] for place in places], sizes)

    return Plan(plan.result, emit)


def _register(cls: type, name: str) -> None:
    parameters = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
    count = sum(parameter.default is parameter.empty for parameter in parameters)
    names = [parameter.name for parameter in parameters]

    def planner(kind: Any, *args: Any) -> Plan:
        try:
            solver = kind.instance._solver(name)
        except RuntimeError as error:
            raise TypingError(str(error)) from None
        leading = dict(zip(names[count:], args[count:], strict=False))
        plan = _plan(f"{cls.__name__}.{name}", solver, kind.code_type, args[:count], leading)

        def emit(to: Emitter, *values: Any) -> None:
            sizes = {each.removeprefix("ld"): value for each, value in zip(names[count:], values[count:], strict=False)}
            plan.emit(to, values[:count], sizes)

        return Plan(plan.result, emit)

    first = inspect.Parameter("kind", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    planner.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]
    method(objects.class_of(cls), name)(planner)


for _class in (
    solvers.CholeskySolver, solvers.LUSolver, solvers.LUPivotSolver, solvers.QRFactorize, solvers.LQFactorize,
    solvers.QRMultiply, solvers.LQMultiply, solvers.LeastSquaresSolver, solvers.TriangularSolver,
):  # fmt: skip
    for _method in _class.functions:
        _register(_class, _method)
    for _name in ("a", "b", "c", "bx"):
        for _kind in ("size", "strides"):
            if callable(getattr(_class, f"{_name}_{_kind}", None)):
                constant_method(_class, f"{_name}_{_kind}")
