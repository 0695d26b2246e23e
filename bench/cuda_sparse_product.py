"""Sparse products on CUDA: what a call costs the host, and what large ones take the device, in every format."""

from __future__ import annotations

import warnings
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
from bench.contender import PLANMATH, Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import HOST, address, device_clock, importable, on_device
from bench.cuda_native import LOOPS
from bench.sparse_product import matrix
from bench.verdict import Outcome, Target, at_most, at_most_more, faster
from planmath.bindings import cusparse, runtime
from planmath.bindings.library_types import CudaDataType

SMALL, LARGE = 1_000, 1_000_000
COLUMNS = {"vector": None, "columns": 32}
#: The formats that nvmath-python takes from a package in time; it converts a million rows in minutes.
PACKAGED = ("CSR", "CSC", "COO", "BSR", "DIAJ")
#: The others are compared with planmath's own product of the same matrix by rows.
OTHERS = ("DCSR", "DELTA16", "DIAI")


@dataclass(frozen=True, eq=False)
class Product:
    """A sparse matrix, in a format, times a vector or a matrix by rows, of torch's."""

    kind: str
    rows: int
    columns: int | None

    @cached_property
    def host(self) -> Any:
        return matrix(self.kind, self.rows)

    @cached_property
    def b(self) -> Any:
        shape = (self.host.shape[1],) if self.columns is None else (self.host.shape[1], self.columns)
        return on_device(np.random.default_rng(1).random(shape), "torch")

    @cached_property
    def expected(self) -> Any:
        return on_device(self.host @ self.b.cpu().numpy(), "torch")

    def package(self, form: str) -> Any:
        """The matrix as torch has it, or CuPy where torch does not."""
        torch, a = importable("torch"), self.host
        with warnings.catch_warnings(action="ignore"):
            if form == "CSR":
                return torch.sparse_csr_tensor(*(on_device(x, "torch") for x in (a.indptr, a.indices, a.data)), a.shape)
            if form == "CSC":
                c = a.tocsc()
                return torch.sparse_csc_tensor(*(on_device(x, "torch") for x in (c.indptr, c.indices, c.data)), c.shape)
            if form == "COO":
                c = a.tocoo()
                indices = on_device(np.stack([c.row, c.col]).astype(np.int64), "torch")
                return torch.sparse_coo_tensor(indices, on_device(c.data, "torch"), c.shape, is_coalesced=True)
            if form == "BSR":
                c = a.tobsr((4, 4))
                return torch.sparse_bsr_tensor(*(on_device(x, "torch") for x in (c.indptr, c.indices, c.data)), c.shape)
            d = a.todia()
            module = import_module("cupyx.scipy.sparse")
            return module.dia_matrix(tuple(on_device(x, "cupy") for x in (d.data, d.offsets)), shape=d.shape)

    def planned(self, library: str, form: str, stack: ExitStack, provider: str | None = None) -> Any:
        """A `Matmul` of planmath or nvmath-python, planned, and freed with the stack."""
        module = import_module(f"{LIBRARIES[library]}.sparse")
        b = self.b
        if form == "DIAJ":
            b = importable("cupy").asarray(b)
        shape = (self.host.shape[0], *b.shape[1:])
        c = b.new_zeros(shape) if hasattr(b, "new_zeros") else importable("cupy").zeros(shape, b.dtype)
        if form in PACKAGED:
            tensor = module.ust.Tensor.from_package(self.package(form))
            if form != "DIAJ" or library == PLANMATH:
                operands = (tensor, b) if library == PLANMATH else (self.package(form), b, c)
            else:
                operands = (tensor, module.ust.Tensor.from_package(b), module.ust.Tensor.from_package(c))
        else:
            formats = module.ust.NamedFormats
            wanted = formats.DELTA(16) if form == "DELTA16" else getattr(formats, form)
            operands = (module.ust.Tensor.from_package(self.package("CSR")).convert(tensor_format=wanted), b)
        # its generated kernels add to c
        beta = {"beta": 0.0} if len(operands) == 3 and form != "DIAJ" else {}
        options = {} if provider is None else {"options": {"provider": provider}}
        operation = stack.enter_context(module.Matmul(*operands, **beta, **options))
        operation.plan()
        return operation, c


def execute(library: str, product: Product, form: str, clock: Any, stack: ExitStack) -> Iterator[Contender]:
    operation, c = product.planned(library, form, stack)
    names = {"execute": operation.execute}
    plan = repr(operation)
    if library == PLANMATH:
        yield Contender(library, form, "execute()", names, plan=plan, clock=clock)
    elif form == "DIAJ":  # its kernels add to c, which is right once
        yield Contender(library, form, "execute(); c", {**names, "c": c}, plan=plan, clock=clock)
    else:
        yield Contender(library, form, "execute()", names, into=c, plan=plan, clock=clock)


def bare(product: Product, stack: ExitStack) -> Iterator[Contender]:
    """The library's call alone, again and again."""
    a, b = product.package("CSR"), product.b
    c = b.new_zeros((a.shape[0], *b.shape[1:]))
    handle, (one, zero) = cusparse.create(), np.array([[1.0], [0.0]])
    stack.callback(cusparse.destroy, handle)
    double, index = CudaDataType.CUDA_R_64F, cusparse.IndexType.INDEX_32I
    arrays = [address(x) for x in (a.crow_indices(), a.col_indices(), a.values())]
    sparse = cusparse.create_csr(*a.shape, product.host.nnz, *arrays, index, index, 0, double)
    if product.columns is None:
        x, y = (cusparse.create_dn_vec(len(v), address(v), double) for v in (b, c))
        words = [0, one.ctypes.data, sparse, x, zero.ctypes.data, y, double, 0]
        size, name = cusparse.sp_mv_buffer_size(handle, *words), "cusparseSpMV"
        prepare = cusparse.sp_mv_preprocess
    else:
        n = product.columns
        x, y = (cusparse.create_dn_mat(len(v), n, n, address(v), double, cusparse.Order.ROW) for v in (b, c))
        words = [0, 0, one.ctypes.data, sparse, x, zero.ctypes.data, y, double, 0]
        size, name = cusparse.sp_mm_buffer_size(handle, *words), "cusparseSpMM"
        prepare = cusparse.sp_mm_preprocess
    buffer = runtime.malloc(max(size, 1))
    stack.callback(runtime.free, buffer)
    prepare(handle, *words, buffer)
    call = Call(
        cusparse.LIBRARY.address(name), [handle, *words, buffer], name=name, returns_status=True, loops=[(LOOPS, [])],
        keep=(one, zero, a, b, c),
    )  # fmt: skip
    names = {"call": Program([call])}
    yield Contender("bare", name, "call()", names, into=c, operations=LOOPS, clock=HOST)


def small(name: str, product: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {library: partial(execute, library, product, "CSR", HOST) for library in LIBRARIES}
    makers["bare"] = partial(bare, product)
    call = "bare cusparseSpMV" if product.columns is None else "bare cusparseSpMM"
    targets: list[Target] = [
        at_most_more(3e-6, "planmath CSR", call), faster(3, "planmath CSR", "nvmath-python CSR"),
    ]  # fmt: skip
    return compare(name, makers, product.expected, "float64", targets, settings.longer(), everyone=True)


def large(name: str, product: Product, form: str, settings: Settings) -> Outcome:
    """By both of planmath's providers, beside nvmath-python."""

    def ours(stack: ExitStack) -> Iterator[Contender]:
        for provider in (None, "cusparse", "generated"):
            try:
                operation, _ = product.planned(PLANMATH, form, stack, provider)
            except RuntimeError as error:
                print(f"{name}: {provider} {error}", flush=True)
                continue
            names = {"execute": operation.execute}
            label = form if provider is None else f"{form} by {provider}"
            yield Contender(PLANMATH, label, "execute()", names, plan=repr(operation), clock=device_clock())

    makers: dict[str, Maker] = {PLANMATH: ours}
    expected = product.expected
    if form in PACKAGED:
        makers["nvmath-python"] = partial(execute, "nvmath-python", product, form, device_clock())
        targets: list[Target] = [at_most(1.0, f"planmath {form}", f"nvmath-python {form}")]
        if form == "DIAJ":
            expected = importable("cupy").asarray(expected)
    else:
        makers["planmath by rows"] = partial(execute, PLANMATH, product, "CSR", device_clock())
        targets = [at_most(1.3, f"planmath {form}", "planmath CSR")]
    return compare(name, makers, expected, "float64", targets, settings, everyone=True)


def square(name: str, kind: str, extent: int, settings: Settings) -> Outcome:
    """A sparse matrix times itself, whose pattern is known, beside packages that find it anew each time."""
    product = Product(kind, extent, None)
    expected = product.host @ product.host
    expected.sort_indices()
    values = on_device(expected.data, "torch")

    def ours(stack: ExitStack) -> Iterator[Contender]:
        a = product.package("CSR")
        operation = stack.enter_context(import_module("planmath.sparse").Matmul(a, a))
        operation.plan()
        out = operation.empty_result()
        names = {"execute": operation.execute, "out": out}
        into = out.values()
        yield Contender(PLANMATH, "execute(out=)", "execute(out=out)", names, into=into, clock=device_clock())

    def torch(stack: ExitStack) -> Iterator[Contender]:
        a = product.package("CSR")
        yield Contender("torch", "@", "(a @ a).values()", {"a": a}, clock=device_clock())

    def cupy(stack: ExitStack) -> Iterator[Contender]:
        torch, module = importable("torch"), import_module("cupyx.scipy.sparse")
        a = module.csr_matrix(
            tuple(on_device(x, "cupy") for x in (product.host.data, product.host.indices, product.host.indptr)),
            shape=product.host.shape,
        )
        names = {"a": a, "torch": torch}
        yield Contender("CuPy", "@", "torch.as_tensor((a @ a).data, device='cuda')", names, clock=device_clock())

    makers: dict[str, Maker] = {PLANMATH: ours, "torch": torch, "cupy": cupy}
    targets: list[Target] = [faster(3, "planmath execute(out=)", "torch @")]
    return compare(name, makers, values, "float64", targets, settings, everyone=True)


def sampled(name: str, settings: Settings) -> Outcome:
    """Products of 32 numbers for half a million entries."""
    product = Product("random16", 31_250, None)
    n, rng = product.rows, np.random.default_rng(2)
    a, b = (on_device(rng.random(shape), "torch") for shape in ((n, 32), (32, n)))
    row = np.repeat(np.arange(n), np.diff(product.host.indptr))
    host_a, host_b = a.cpu().numpy(), b.cpu().numpy()
    expected = on_device(np.einsum("ij,ij->i", host_a[row], host_b.T[product.host.indices]), "torch")

    def ours(stack: ExitStack) -> Iterator[Contender]:
        for provider in ("cusparse", "generated"):
            c = product.package("CSR")
            options = {"provider": provider}
            operation = stack.enter_context(import_module("planmath.sparse").Matmul(a, b, c, beta=0.0, options=options))
            operation.plan()
            names = {"execute": operation.execute}
            into = c.values()
            yield Contender(PLANMATH, provider, "execute()", names, into=into, clock=device_clock())

    def torch(stack: ExitStack) -> Iterator[Contender]:
        names = {"sampled": importable("torch").sparse.sampled_addmm, "c": product.package("CSR"), "a": a, "b": b}
        yield Contender("torch", "sampled_addmm", "sampled(c, a, b, beta=0).values()", names, clock=device_clock())

    targets: list[Target] = [at_most(1.0, "planmath cusparse", "torch sampled_addmm")]
    return compare(name, {PLANMATH: ours, "torch": torch}, expected, "float64", targets, settings, everyone=True)


def rows(settings: Settings) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for label, columns in COLUMNS.items():
        name = f"cuda/product/1k/{label}"
        found[name] = partial(small, name, Product("random16", SMALL, columns))
        product = Product("poisson", LARGE, columns)
        for form in ("CSR", "DIAJ") if settings.quick else (*PACKAGED, *OTHERS):
            name = f"cuda/product/1M/{form}/{label}"
            found[name] = partial(large, name, product, form)
        if not settings.quick:
            name = f"cuda/product/1M/random16/{label}"
            found[name] = partial(large, name, Product("random16", LARGE, columns), "CSR")
    for kind, extent in (("poisson", 100_000), ("random16", 100_000)):
        name = f"cuda/product/square/{kind}"
        found[name] = partial(square, name, kind, extent)
    found["cuda/product/sampled"] = partial(sampled, "cuda/product/sampled")
    return found
