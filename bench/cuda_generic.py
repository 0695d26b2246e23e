"""Products of matrices with a structure on CUDA: what a call costs the host, and what a large one takes the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np
from planmath.core.executor import Program
from planmath.native.call import Call

from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import HOST, SETTLING, address, device_clock, on_device
from bench.cuda_native import LOOPS
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most, at_most_more, faster
from planmath.bindings import cublas

SMALL, LARGE = 64, 4096
KINDS = ("symmetric", "triangular", "diagonal")


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix with a structure times a general one, both by columns, as nvmath-python takes all of them."""

    n: int
    kind: str

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = (uniform((self.n, self.n), "float32", seed) for seed in (1, 2))
        return (np.diagonal(a).copy() if self.kind == "diagonal" else a), b

    @cached_property
    def operands(self) -> tuple[Any, Any]:
        a, b = (on_device(x.T.copy(), "torch") for x in self.numbers)
        return a.T if a.ndim == 2 else a, b.T

    @cached_property
    def expected(self) -> Any:
        a, b = (x.astype(np.float64) for x in self.numbers)
        whole = {
            "symmetric": lambda: np.tril(a) + np.tril(a, -1).T, "triangular": lambda: np.tril(a),
            "diagonal": lambda: np.diag(a), "general": lambda: a,
        }[self.kind]()  # fmt: skip
        return on_device(whole @ b, "torch")

    def planned(self, library: str, stack: ExitStack) -> Any:
        """A `Matmul` of planmath or nvmath-python, planned, and freed with the stack."""
        module = import_module(f"{LIBRARIES[library]}.linalg")
        qualifiers = np.full(2, module.GeneralMatrixQualifier.create(), dtype=module.matrix_qualifiers_dtype)
        qualifiers[0] = getattr(module, f"{self.kind.capitalize()}MatrixQualifier").create()
        operation = stack.enter_context(module.Matmul(*self.operands, qualifiers=qualifiers))
        operation.plan()
        return operation


def execute(library: str, product: Product, stack: ExitStack) -> Iterator[Contender]:
    names = {"execute": product.planned(library, stack).execute}
    yield Contender(library, "execute()", "execute()", names, clock=HOST)


def bare(product: Product, stack: ExitStack) -> Iterator[Contender]:
    """The library's routine alone, again and again."""
    (a, b), n = product.operands, product.n
    d = b.clone()
    handle, (one, zero) = cublas.create(), np.array([[1.0], [0.0]], np.float32)
    stack.callback(cublas.destroy, handle)
    alpha, beta, at_a, at_b, at_d = one.ctypes.data, zero.ctypes.data, *map(address, (a, b, d))
    name, arguments = {
        "symmetric": ("symm", [0, 0, n, n, alpha, at_a, n, at_b, n, beta, at_d, n]),
        "triangular": ("trmm", [0, 0, 0, 0, n, n, alpha, at_a, n, at_b, n, at_d, n]),
        "diagonal": ("dgmm", [0, n, n, at_b, n, at_a, 1, at_d, n]),
    }[product.kind]
    function = f"cublasS{name}" + ("" if name == "dgmm" else "_v2")
    call = Call(
        cublas.LIBRARY.address(function), [handle, *arguments], name=function, returns_status=True,
        loops=[(LOOPS, [])], keep=(one, zero, a, b, d),
    )  # fmt: skip
    names = {"call": Program([call])}
    yield Contender("bare", f"cublasS{name}", "call()", names, into=d, operations=LOOPS, clock=HOST)


def small(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {library: partial(execute, library, product) for library in LIBRARIES}
    makers["bare"] = partial(bare, product)
    routine = {"symmetric": "symm", "triangular": "trmm", "diagonal": "dgmm"}[product.kind]
    targets: list[Target] = [
        at_most_more(3e-6, "planmath execute()", f"bare cublasS{routine}"),
        faster(3.5, "planmath execute()", "nvmath-python execute()"),
    ]
    return compare(name, makers, product.expected, "float32", targets, settings.longer(), everyone=True)


def tuned(product: Product, stack: ExitStack) -> Iterator[Contender]:
    operation = product.planned("planmath", stack)
    operation.autotune()
    names, plan = {"execute": operation.execute}, repr(operation)
    yield Contender("planmath", product.kind, "execute()", names, plan=plan, clock=device_clock(SETTLING))


def general(product: Product, stack: ExitStack) -> Iterator[Contender]:
    """All elements of the same matrix."""
    a, b = product.operands
    module = import_module("planmath.linalg")
    operation = stack.enter_context(module.Matmul(a.tril().T.contiguous().T, b))
    operation.plan()
    operation.autotune()
    names, plan = {"execute": operation.execute}, repr(operation)
    yield Contender("planmath", "general", "execute()", names, plan=plan, clock=device_clock(SETTLING))


def large(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(tuned, product), "planmath, general": partial(general, product),
    }  # fmt: skip
    targets = [at_most(0.65, "planmath triangular", "planmath general")]
    return compare(name, makers, product.expected, "float32", targets, settings, everyone=True)


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {
        f"cuda/generic/{SMALL}/{kind}": partial(small, f"cuda/generic/{SMALL}/{kind}", Product(SMALL, kind))
        for kind in KINDS
    }
    name = f"cuda/generic/{LARGE}/triangular"
    return rows | {name: partial(large, name, Product(LARGE, "triangular"))}
