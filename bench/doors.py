"""What a call costs through the other doors: with options, with the log on, with `out`, with new operands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from bench.comparison import Row, Settings, compare
from bench.contender import PLANMATH, Contender
from bench.operands import uniform
from bench.verdict import Outcome, at_most, at_most_more, within

#: Most seconds of a stateless call with the log on, and of a reset of up to four operands.
LOGGED, RESET = 40e-6, 1.5e-6


@dataclass(frozen=True, eq=False)
class Stateless:
    """A stateless call on small operands, with `**given` to be filled in."""

    function: Callable[..., Any]
    statement: str
    names: Mapping[str, Any]
    options: type
    dtype: str = "float64"


@cache
def stateless() -> dict[str, Stateless]:
    import scipy.sparse

    from planmath import fft, linalg, sparse, tensor
    from planmath.linalg import advanced

    a, b, x = uniform((8, 8), "float64", 1), uniform((8, 8), "float64", 2), uniform((8,), "complex128")
    pair, solver = {"a": a, "b": b}, sparse.advanced
    matrix = scipy.sparse.csr_array(scipy.sparse.diags_array([-1.0, 4, -1], offsets=[-1, 0, 1], shape=(20, 20)))
    system = {"a": matrix, "b": uniform((20,), "float64")}
    return {
        "fft": Stateless(fft.fft, "f(x{})", {"x": x}, fft.FFTOptions, "complex128"),
        "matmul": Stateless(advanced.matmul, "f(a, b{})", pair, advanced.MatmulOptions),
        "generic": Stateless(linalg.matmul, "f(a, b{})", pair, linalg.MatmulOptions),
        "contract": Stateless(tensor.contract, "f('ij,jk->ik', a, b{})", pair, tensor.ContractionOptions),
        "solver": Stateless(solver.direct_solver, "f(a, b{})", system, solver.DirectSolverOptions),
    }


def calls(door: Stateless, forms: Mapping[str, dict[str, Any]], stack: ExitStack) -> Iterator[Contender]:
    """A contender for each way to call it, given the arguments by name."""
    for form, given in forms.items():
        statement = door.statement.format("".join(f", {name}={name}" for name in given))
        yield Contender(PLANMATH, form, statement, {"f": door.function, **door.names, **given})


def with_options(name: str, key: str, settings: Settings) -> Outcome:
    door = stateless()[key]
    forms = {"bare": {}, "dict": {"options": {"tuning": False}}, "object": {"options": door.options(tuning=False)}}
    targets = [at_most(2, f"planmath {form}", "planmath bare") for form in ("dict", "object")]
    return compare(name, {PLANMATH: partial(calls, door, forms)}, expected(door), door.dtype, targets, settings, True)


def expected(door: Stateless) -> np.ndarray:
    if "a" not in door.names:
        return np.fft.fft(door.names["x"])
    a, b = door.names["a"], door.names["b"]
    return a @ b if isinstance(a, np.ndarray) else np.linalg.solve(a.toarray(), b)


class Dropping(logging.Handler):
    """Drops what it gets."""

    def emit(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def listening() -> Iterator[None]:
    """The root logger at INFO, as `logging.basicConfig(level=logging.INFO)` leaves it, with a handler that drops."""
    root, handler = logging.getLogger(), Dropping()
    before, others = root.level, root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        root.handlers[:] = others


def logged(name: str, key: str, settings: Settings) -> Outcome:
    door = stateless()[key]

    def make(stack: ExitStack) -> Iterator[Contender]:
        statement, names = door.statement.format(""), {"f": door.function, **door.names}
        yield Contender(PLANMATH, "silent", statement, names)
        yield Contender(PLANMATH, "INFO", statement, names, within=listening)

    targets = [within(LOGGED, "planmath INFO")]
    return compare(name, {PLANMATH: make}, expected(door), door.dtype, targets, settings, True)


def out(name: str, settings: Settings) -> Outcome:
    from planmath.tensor import Contraction

    a, b = uniform((8, 8), "float64", 1), uniform((8, 8), "float64", 2)

    def make(stack: ExitStack) -> Iterator[Contender]:
        contraction = stack.enter_context(Contraction("ij,jk->ik", a, b))
        contraction.plan()
        names, d = {"execute": contraction.execute}, contraction.empty_result()
        yield Contender(PLANMATH, "execute()", "execute()", names)
        yield Contender(PLANMATH, "execute(out=)", "execute(out=d)", {**names, "d": d}, into=d)

    targets = [at_most_more(0.1e-6, "planmath execute(out=)", "planmath execute()")]
    return compare(name, {PLANMATH: make}, a @ b, "float64", targets, settings, True)


def reset(name: str, settings: Settings) -> Outcome:
    """Nothing is computed: the time of the reset alone."""
    from planmath.tensor import BinaryContraction, Contraction

    a, b, d = uniform((8, 8), "float64", 1), uniform((8, 8), "float64", 2), uniform((8, 8), "float64", 3)

    def make(stack: ExitStack) -> Iterator[Contender]:
        for count in (2, 4, 8):
            terms = [f"{x}{y}" for x, y in zip("ijklmnopq"[:count], "jklmnopqr", strict=False)]
            operands = {f"x{i}": a for i in range(count)}
            contraction = stack.enter_context(Contraction(",".join(terms), *operands.values()))
            contraction.plan()
            names = {"reset": contraction.reset_operands, **operands, "r": b}
            yield Contender(PLANMATH, f"{count} operands", f"reset({', '.join(operands)}); r", names)
        binary = stack.enter_context(BinaryContraction("ij,jk->ik", a, a, out=d))
        binary.plan()
        yield Contender(PLANMATH, "with out", "reset(a=a, b=a, out=d); r", {
            "reset": binary.reset_operands, "a": a, "d": d, "r": b,
        })  # fmt: skip

    targets = [within(RESET, f"planmath {form}") for form in ("2 operands", "4 operands", "with out")]
    targets.append(at_most_more(0.8e-6, "planmath 8 operands", "planmath 4 operands"))
    return compare(name, {PLANMATH: make}, b, "float64", targets, settings, True)


def rows(settings: Settings) -> dict[str, Row]:
    keys = ("fft", "matmul", "generic", "contract", "solver")
    found: dict[str, Row] = {"doors/out": partial(out, "doors/out"), "doors/reset": partial(reset, "doors/reset")}
    found |= {f"doors/options/{key}": partial(with_options, f"doors/options/{key}", key) for key in keys}
    found |= {f"doors/log/{key}": partial(logged, f"doors/log/{key}", key) for key in ("fft", "matmul", "contract")}
    return found
