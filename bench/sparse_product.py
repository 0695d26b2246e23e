"""The rows about sparse products: Poisson's matrix and random ones, with SciPy, PyTorch and MKL's own calls."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import numpy as np

from bench.comparison import Maker, Row, Settings, compare
from bench.contender import PLANMATH, Contender
from bench.verdict import Outcome, Target, at_most

ROWS = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
QUICK = ("1k", "100k")
KINDS = ("random16", "poisson")
COLUMNS = 32
#: The named formats whose loops are compared with those by rows, and the most that they may take of these.
FORMATS = {
    "COO": 1.3, "unordered COO": 2.0, "CSC": 2.0, "BSRRight4x4": 1.3, "DIAI": 1.3, "DCSR": 1.3, "DELTA": 1.3,
}  # fmt: skip
#: Conversions from rows, by the name of the format here and SciPy's method.
CONVERSIONS = {"CSC": "tocsc", "COO": "tocoo", "BSRRight4x4": "tobsr", "DIAJ": "todia"}


@cache
def matrix(kind: str, rows: int) -> Any:
    """The five-point stencil on a square, or 16 entries in random columns of each row."""
    import scipy.sparse as sp

    if kind == "poisson":
        n = round(rows**0.5)
        one = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
        return sp.csr_array(sp.kron(sp.eye_array(n), one) + sp.kron(one, sp.eye_array(n)))
    rng = np.random.default_rng(0)
    columns = rng.integers(0, rows, 16 * rows).astype(np.int32)
    starts = np.arange(0, 16 * rows + 1, 16, dtype=np.int32)
    made = sp.csr_array((rng.random(16 * rows), columns, starts), shape=(rows, rows))
    made.sum_duplicates()
    return made


def format_named(name: str) -> Any:
    """A format by the name that this module has for it."""
    from planmath.sparse.ust import NamedFormats

    if name == "DELTA":
        return NamedFormats.DELTA(20)
    return NamedFormats.BSRRight((4, 4)) if name == "BSRRight4x4" else getattr(NamedFormats, name)


def shuffled(a: Any) -> Any:
    """The entries of a matrix in no order."""
    import scipy.sparse as sp

    listed = a.tocoo()
    order = np.random.default_rng(3).permutation(listed.nnz)
    return sp.coo_array((listed.data[order], tuple(x[order] for x in listed.coords)), shape=a.shape)


def dense(a: Any, columns: int | None) -> np.ndarray:
    return np.random.default_rng(1).random((a.shape[1],) if columns is None else (a.shape[1], columns))


class _Description(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int))


def bare(a: Any, b: np.ndarray, c: np.ndarray) -> Callable[[], int]:
    """MKL's call, its handle made before (numbers of oneMKL's developer reference)."""
    from planmath.bindings import mkl

    pointer, integer, double = ctypes.c_void_p, ctypes.c_int, ctypes.c_double
    handle, general = pointer(), _Description(20, 40, 50)
    kinds: list[Any] = [pointer, integer, integer, integer, *[pointer] * 4]
    create = mkl.LIBRARY.function("mkl_sparse_d_create_csr", integer, kinds)
    starts = a.indptr.ctypes.data
    create(ctypes.byref(handle), 0, *a.shape, starts, starts + 4, a.indices.ctypes.data, a.data.ctypes.data)
    x, y = b.ctypes.data, c.ctypes.data
    if b.ndim == 1:
        kinds = [integer, double, pointer, _Description, pointer, double, pointer]
        mv = mkl.LIBRARY.function("mkl_sparse_d_mv", integer, kinds)
        return lambda: mv(10, 1.0, handle, general, x, 0.0, y)
    n = b.shape[1]
    kinds = [integer, double, pointer, _Description, integer, pointer, integer, integer, double, pointer, integer]
    mm = mkl.LIBRARY.function("mkl_sparse_d_mm", integer, kinds)
    return lambda: mm(10, 1.0, handle, general, 101, x, n, n, 0.0, y, n)


def product(name: str, kind: str, rows: int, columns: int | None, settings: Settings) -> Outcome:
    a = matrix(kind, rows)
    b = dense(a, columns)

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        from planmath.sparse import Matmul

        mm = stack.enter_context(Matmul(a, b))
        mm.plan()
        out = mm.empty_result()
        yield Contender(PLANMATH, "execute(out=)", "execute(out=out)", {"execute": mm.execute, "out": out}, into=out)
        yield Contender(PLANMATH, "execute()", "execute()", {"execute": mm.execute})

    def scipy(stack: ExitStack) -> Iterator[Contender]:
        yield Contender("scipy", "@", "a @ b", {"a": a, "b": b})

    def torch(stack: ExitStack) -> Iterator[Contender]:
        import torch

        with warnings.catch_warnings(action="ignore"):  # of a format in its beta state
            t = torch.sparse_csr_tensor(*map(torch.from_numpy, (a.indptr, a.indices, a.data)), a.shape)
        x = torch.from_numpy(b if columns else b[:, None])
        out = torch.empty((a.shape[0], columns or 1), dtype=torch.float64)
        names = {"addmm": torch.addmm, "t": t, "x": x, "out": out}
        result = out.numpy().reshape(-1, *b.shape[1:])
        yield Contender("torch", "addmm(out=)", "addmm(out, t, x, beta=0, out=out)", names, into=result)

    def mkl(stack: ExitStack) -> Iterator[Contender]:
        out = np.empty((a.shape[0], *b.shape[1:]))
        yield Contender("mkl", "bare", "call()", {"call": bare(a, b, out)}, into=out)

    makers: dict[str, Maker] = {"mkl": mkl, PLANMATH: planmath, "scipy": scipy, "torch": torch}
    ours = "planmath execute(out=)"
    limits = {"mkl bare": 1.05, "scipy @": 1.0, "torch addmm(out=)": 1.0}
    targets: list[Target] = [at_most(factor, ours, other) for other, factor in limits.items()]
    return compare(name, makers, a @ b, "float64", targets, settings, True)


def formats(name: str, kind: str, rows: int, columns: int | None, settings: Settings) -> Outcome:
    """The own loops over other formats, beside those by rows."""
    a = matrix(kind, rows)
    b = dense(a, columns)
    padded = ("DIA", "BSR")  # mostly by zeros, where entries are in random columns
    wanted = {form: most for form, most in FORMATS.items() if kind == "poisson" or not form.startswith(padded)}

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        from planmath.sparse import Matmul, ust

        whole = ust.Tensor.from_package(a)
        for form in ("CSR", *wanted):
            unordered = form.startswith("unordered")
            tensor = shuffled(a) if unordered else whole.convert(tensor_format=format_named(form))
            mm = stack.enter_context(Matmul(tensor, b, options={"provider": "own"}))
            mm.plan()
            out = mm.empty_result()
            yield Contender(PLANMATH, form, "execute(out=out)", {"execute": mm.execute, "out": out}, into=out)

    targets = [at_most(most, f"planmath {form}", "planmath CSR") for form, most in wanted.items()]
    return compare(name, {PLANMATH: planmath}, a @ b, "float64", targets, settings, True)


def semirings(name: str, kind: str, rows: int, columns: int | None, settings: Settings) -> Outcome:
    """The largest of sums beside sums of products, both by the own loops; all terms are 4 in both."""
    import scipy.sparse as sp

    a = matrix(kind, rows)
    a = sp.csr_array((np.full(a.nnz, 2.0), a.indices, a.indptr), shape=a.shape)
    b = np.full((a.shape[1],) if columns is None else (a.shape[1], columns), 2.0)
    sums = np.diff(a.indptr) * 4.0
    expected = sums if columns is None else np.repeat(sums[:, None], columns, axis=1)

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        from planmath.sparse import Matmul

        for semiring, scale in (("plus_times", 1.0), ("max_plus", expected / 4.0)):
            mm = stack.enter_context(Matmul(a, b, options={"provider": "own"}))
            mm.plan(semiring=semiring)
            out = mm.empty_result()
            mm.execute(out=out)
            assert np.array_equal(out * scale, expected), semiring
            yield Contender(PLANMATH, semiring, "execute(out=out); expected", {
                "execute": mm.execute, "out": out, "expected": expected})  # fmt: skip

    targets = [at_most(1.1, "planmath max_plus", "planmath plus_times")]
    return compare(name, {PLANMATH: planmath}, expected, "float64", targets, settings, True)


def conversion(name: str, form: str, settings: Settings) -> Outcome:
    """From rows to another format, a million entries."""
    a = matrix("poisson", 200_704)

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        from planmath.sparse import ust

        names = {"t": ust.Tensor.from_package(a), "form": format_named(form)}
        yield Contender(PLANMATH, "convert", "t.convert(tensor_format=form).val.sum()", names)

    def scipy(stack: ExitStack) -> Iterator[Contender]:
        method = CONVERSIONS[form]
        call = "a.tobsr((4, 4))" if method == "tobsr" else f"a.{method}()"
        yield Contender("scipy", "", f"{call}.data.sum()", {"a": a})

    targets = [at_most(1.0, "planmath convert", "scipy")]
    return compare(name, {PLANMATH: planmath, "scipy": scipy}, a.data.sum(), "float64", targets, settings, True)


def pair(name: str, kind: str, rows: int, settings: Settings) -> Outcome:
    """The square of a matrix, whose pattern is known."""
    a = matrix(kind, rows)
    expected = (a @ a).sorted_indices().data

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        from planmath.sparse import Matmul

        mm = stack.enter_context(Matmul(a, a))
        mm.plan()
        out = mm.empty_result()
        names = {"execute": mm.execute, "out": out}
        yield Contender(PLANMATH, "execute(out=)", "execute(out=out)", names, into=out.data)
        yield Contender(PLANMATH, "execute()", "execute()", names)

    def scipy(stack: ExitStack) -> Iterator[Contender]:
        yield Contender("scipy", "@", "a @ a", {"a": a})

    ours = "planmath execute(out=)"
    targets: list[Target] = [at_most(1 / 3, ours, "scipy @"), at_most(1.0, "planmath execute()", "scipy @")]
    return compare(name, {PLANMATH: planmath, "scipy": scipy}, expected, "float64", targets, settings, True)


def sampled(name: str, entries: int, k: int, settings: Settings) -> Outcome:
    """The product of two dense matrices for some elements."""
    import scipy.sparse as sp

    n = 10_000
    c = sp.random_array((n, n), density=entries / n**2, rng=0).tocsr()
    rng = np.random.default_rng(1)
    a, b = rng.random((n, k)), rng.random((k, n))
    rows, columns = c.tocoo().coords
    expected = np.einsum("ek,ek->e", a[rows], b.T[columns])

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        from planmath.sparse import Matmul

        for form, other in (("", b), (" by columns", np.asfortranarray(b))):
            into = c.copy()
            mm = stack.enter_context(Matmul(a, other, into, beta=0))
            mm.plan()
            yield Contender(PLANMATH, f"execute(){form}", "execute()", {"execute": mm.execute}, into=into.data)

    def torch(stack: ExitStack) -> Iterator[Contender]:
        import torch

        with warnings.catch_warnings(action="ignore"):  # of a format in its beta state
            t = torch.sparse_csr_tensor(*map(torch.from_numpy, (c.indptr, c.indices, c.data.copy())), c.shape)
        x, y, out = torch.from_numpy(a), torch.from_numpy(b), t.clone()
        names = {"f": torch.sparse.sampled_addmm, "t": t, "x": x, "y": y, "out": out}
        yield Contender("torch", "sampled_addmm", "f(t, x, y, beta=0.0, out=out)", names, into=out.values())

    targets: list[Target] = [at_most(1 / 5, "planmath execute()", "torch sampled_addmm")]
    return compare(name, {PLANMATH: planmath, "torch": torch}, expected, "float64", targets, settings, True)


def rows(settings: Settings) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for kind in KINDS:
        for size in QUICK if settings.quick else ROWS:
            for label, columns in (("vector", None), ("columns", COLUMNS)):
                if (size, columns) == ("1M", COLUMNS):
                    continue
                name = f"product/{kind}/{size}/{label}"
                found[name] = partial(product, name, kind, ROWS[size], columns)
        for label, columns in (("vector", None), ("columns", COLUMNS)):
            name = f"product/formats/{kind}/{label}"
            found[name] = partial(formats, name, kind, 40_000, columns)
            name = f"product/semiring/{kind}/{label}"
            found[name] = partial(semirings, name, kind, 100_000, columns)
    for form in CONVERSIONS:
        found[f"product/convert/{form}"] = partial(conversion, f"product/convert/{form}", form)
    found |= {
        f"product/pair/{kind}/100k": partial(pair, f"product/pair/{kind}/100k", kind, 100_000) for kind in ("poisson",)
    }
    found["product/sampled/500k"] = partial(sampled, "product/sampled/500k", 500_000, COLUMNS)
    return found
