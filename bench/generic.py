"""The rows about products of matrices with a structure, and of small matrices."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from bench.comparison import CORES, Maker, Row, Settings, compare
from bench.contender import Contender
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most, faster

#: What a call of an 8×8 product may take of `numpy.matmul(out=)`'s time.
SMALL = {"general": 0.3, "symmetric": 0.4, "triangular": 0.4}
#: How many times as fast as nvmath-python's such a call is to be.
FASTER = {"general": 30, "symmetric": 25}


@dataclass(frozen=True, eq=False)
class Product:
    """A product of square matrices, of which the left one may have a structure."""

    n: int
    kind: str = "general"
    count: int | None = None
    dtype: str = "float64"

    @cached_property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """As they are passed: of a diagonal matrix the diagonal."""
        shape = (self.n, self.n) if self.count is None else (self.count, self.n, self.n)
        a, b = uniform(shape, self.dtype, seed=1), uniform(shape, self.dtype, seed=2)
        if self.kind == "square":
            return a, a.T
        return (np.diagonal(a).copy() if self.kind == "diagonal" else a), b

    @cached_property
    def dense(self) -> np.ndarray:
        """All elements of the left factor."""
        a, _ = self.factors
        if self.kind == "symmetric":
            return np.tril(a) + np.tril(a, -1).T
        return {"triangular": np.tril, "diagonal": np.diag}.get(self.kind, np.asarray)(a)

    @cached_property
    def expected(self) -> np.ndarray:
        return self.dense @ self.factors[1]

    def qualifiers(self, module: Any) -> np.ndarray | None:
        """What is said of the factors, in planmath's or nvmath-python's words."""
        if self.kind in ("general", "square"):
            return None
        found = np.full(2, module.GeneralMatrixQualifier.create(), dtype=module.matrix_qualifiers_dtype)
        found[0] = getattr(module, f"{self.kind.capitalize()}MatrixQualifier").create()
        return found


def call(name: str, product: Product, settings: Settings) -> Outcome:
    """What a call costs: a small product."""
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, product, False), "NumPy": partial(numpy, product),
        "nvmath-python": partial(nvmath, product),
    }  # fmt: skip
    targets: list[Target] = [at_most(SMALL[product.kind], "planmath execute(out=)", "NumPy matmul(out=)")]
    if product.kind == "triangular":  # which nvmath-python refuses
        del makers["nvmath-python"]
        makers["SciPy"] = partial(scipy_trmm, product)
        targets.append(at_most(0.5, "planmath execute()", "SciPy dtrmm"))
    else:
        targets.append(faster(FASTER[product.kind], "planmath execute()", "nvmath-python execute()"))
    return compare(name, makers, product.expected, "float64", targets, settings.longer())


def triangular(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, product, True), "NumPy": partial(numpy, product),
        "BLAS": partial(bare_trmm, product),
    }  # fmt: skip
    targets = [
        at_most(0.6, "planmath execute(out=)", "NumPy matmul(out=)"),
        at_most(1.05, "planmath execute(out=)", "BLAS copy + dtrmm"),
    ]
    return compare(name, makers, product.expected, "float64", targets, settings)


def square(name: str, product: Product, settings: Settings) -> Outcome:
    """A matrix times its own transpose, on one thread beside a general product on one."""
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, product, True), "planmath, a copy": partial(planmath_copy, product),
        "NumPy": partial(numpy, product),
    }  # fmt: skip
    targets = [
        at_most(0.6, "planmath execute(out=), 1 thread", "planmath general product, 1 thread"),
        at_most(1.05, "planmath execute(out=)", "NumPy matmul(out=)"),
    ]
    return compare(name, makers, product.expected, "float64", targets, settings)


def diagonal(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, product, False), "NumPy": partial(numpy_multiply, product),
    }  # fmt: skip
    targets = [at_most(1.05, "planmath execute(out=)", "NumPy multiply(out=)")]
    return compare(name, makers, product.expected, "float64", targets, settings.longer())


def batch(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {"planmath": partial(planmath, product, True), "NumPy": partial(numpy, product)}
    targets = [at_most(0.6, "planmath execute(out=)", "NumPy matmul(out=)")]
    return compare(name, makers, product.expected, product.dtype, targets, settings.longer())


def lists(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(lists_of, "planmath", product), "NumPy": partial(numpy_loop, product),
        "nvmath-python": partial(lists_of, "nvmath-python", product),
    }  # fmt: skip
    targets: list[Target] = [
        at_most(0.6, "planmath execute()", "NumPy loop over @"),
        faster(20, "planmath execute()", "nvmath-python execute()"),
    ]
    return compare(name, makers, product.expected, "float64", targets, settings.longer())


# ---- the contenders ----


def planmath(product: Product, tunes: bool, stack: ExitStack) -> Iterator[Contender]:
    from planmath import linalg

    for number in (CORES, 1) if product.kind == "square" else (CORES,):
        operation = stack.enter_context(
            linalg.Matmul(
                *product.factors, qualifiers=product.qualifiers(linalg),
                execution={"name": "cpu", "num_threads": number},
            )
        )  # fmt: skip
        operation.plan()
        if tunes:
            operation.autotune()
        within = "" if number == CORES else ", 1 thread"
        names, plan = {"execute": operation.execute}, repr(operation)
        yield Contender("planmath", f"execute(){within}", "execute()", names, spins=tunes, plan=plan)
        out = operation.empty_result()
        names, form = names | {"out": out}, f"execute(out=){within}"
        yield Contender("planmath", form, "execute(out=out)", names, into=out, spins=tunes, plan=plan)


def planmath_copy(product: Product, stack: ExitStack) -> Iterator[Contender]:
    """A general product of the same numbers on one thread: the transposed matrix is a copy."""
    from planmath.linalg import Matmul

    a, b = product.factors
    operation = stack.enter_context(Matmul(a, b.copy("K"), execution={"name": "cpu", "num_threads": 1}))
    operation.plan()
    operation.autotune()
    out = operation.empty_result()
    names = {"execute": operation.execute, "out": out}
    yield Contender("planmath", "general product, 1 thread", "execute(out=out)", names, into=out, plan=repr(operation))


def nvmath(product: Product, stack: ExitStack) -> Iterator[Contender]:
    from nvmath import linalg

    operation = stack.enter_context(linalg.Matmul(*product.factors, qualifiers=product.qualifiers(linalg)))
    operation.plan()
    yield Contender("nvmath-python", "execute()", "execute()", {"execute": operation.execute})


def lists_of(library: str, product: Product, stack: ExitStack) -> Iterator[Contender]:
    from importlib import import_module

    module = import_module({"planmath": "planmath.linalg", "nvmath-python": "nvmath.linalg"}[library])
    operation = stack.enter_context(module.Matmul(*(list(factor) for factor in product.factors)))
    operation.plan()
    yield Contender(library, "execute()", "execute()", {"execute": operation.execute})


def numpy(product: Product, stack: ExitStack) -> Iterator[Contender]:
    out = np.empty_like(product.expected)
    a = product.factors[0] if product.kind == "square" else product.dense
    names = {"matmul": np.matmul, "a": a, "b": product.factors[1], "out": out}
    yield Contender("NumPy", "matmul(out=)", "matmul(a, b, out=out)", names, into=out, spins=product.n > 64)


def numpy_multiply(product: Product, stack: ExitStack) -> Iterator[Contender]:
    x, b = product.factors
    out = np.empty_like(b)
    names = {"multiply": np.multiply, "x": x[:, None], "b": b, "out": out}
    yield Contender("NumPy", "multiply(out=)", "multiply(x, b, out=out)", names, into=out)


def numpy_loop(product: Product, stack: ExitStack) -> Iterator[Contender]:
    a, b = (list(factor) for factor in product.factors)
    yield Contender("NumPy", "loop over @", "[x @ y for x, y in zip(a, b)]", {"a": a, "b": b})


def scipy_trmm(product: Product, stack: ExitStack) -> Iterator[Contender]:
    from scipy.linalg.blas import dtrmm

    a, b = (np.asfortranarray(factor) for factor in product.factors)
    names = {"dtrmm": dtrmm, "a": a, "b": b}
    yield Contender("SciPy", "dtrmm", "dtrmm(1.0, a, b, lower=1)", names)


def bare_trmm(product: Product, stack: ExitStack) -> Iterator[Contender]:
    """The call of NumPy's BLAS alone, on a copy, of matrices by rows: that is the transposed product."""
    from planmath.core.executor import Program
    from planmath.native.call import Call, Slot

    from planmath.bindings import blas

    a, b = product.factors
    out, n, one = np.empty_like(b), blas.INTEGER(product.n), np.ones(1)
    letters = [ctypes.c_char(letter) for letter in (b"R", b"U", b"N", b"N")]
    copy = ctypes.cast(ctypes.CDLL(None).memcpy, ctypes.c_void_p).value
    at_n, d = ctypes.addressof(n), out.ctypes.data
    arguments = [*map(ctypes.addressof, letters), at_n, at_n, one.ctypes.data, Slot(0), at_n, d, at_n]
    calls = [
        Call(copy, [d, Slot(1), b.nbytes], name="memcpy"),
        Call(blas.OPENBLAS.find("dtrmm"), arguments, name="dtrmm", keep=(out, n, one, letters)),
    ]
    names = {"program": Program(calls), "a": a.ctypes.data, "b": b.ctypes.data}
    yield Contender("BLAS", "copy + dtrmm", "program(a, b)", names, into=out, spins=True)


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {f"generic/8/{kind}": partial(call, f"generic/8/{kind}", Product(8, kind)) for kind in SMALL}
    works = {
        "generic/1024/triangular": (triangular, Product(1024, "triangular")),
        "generic/1024/square": (square, Product(1024, "square")),
        "generic/1024/diagonal": (diagonal, Product(1024, "diagonal")),
        "generic/batch/8": (batch, Product(8, count=10_000)),
        "generic/batch/8/c128": (batch, Product(8, count=10_000, dtype="complex128")),
        "generic/lists/8": (lists, Product(8, count=100)),
    }
    return rows | {name: partial(work, name, product) for name, (work, product) in works.items()}
