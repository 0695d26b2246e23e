"""The rows about matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from bench.comparison import THREADS, Maker, Row, Settings, compare, threads
from bench.contender import PLANMATH, Contender, in_double
from bench.native import gemm, mkl_threads, torch_threads
from bench.operands import aligned, uniform
from bench.timing import HOPELESS
from bench.verdict import Outcome, at_most, at_most_of_the_best, faster

# (m, n, k) of (m×k) @ (k×n), small to large
EXTENTS = {
    "64": (64, 64, 64),
    "256": (256, 256, 256),
    "1024": (1024, 1024, 1024),
    "16x4096x4096": (16, 4096, 4096),
    "2048": (2048, 2048, 2048),
}
QUICK = {"64", "1024"}

# precision: its dtype, and MKL's routines for it with the dtype of their result
PRECISIONS: dict[str, tuple[str, dict[str, str]]] = {
    "f32": ("float32", {"cblas_sgemm": "float32"}),
    "f64": ("float64", {"cblas_dgemm": "float64"}),
    "f16": ("float16", {"cblas_hgemm": "float16", "cblas_gemm_f16f16f32": "float32"}),
    "bf16": ("bfloat16", {"cblas_gemm_bf16bf16f32": "float32"}),
}


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product, the same for NumPy and for torch."""

    extents: tuple[int, int, int]
    dtype: str

    @property
    def shared(self) -> bool:
        """Whether it is large enough for a library to share it out among threads."""
        return max(self.extents) > 8

    @property
    def half(self) -> bool:
        return self.dtype in ("float16", "bfloat16")

    @cached_property
    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        m, n, k = self.extents
        # NumPy has no bfloat16: there, these hold the values, and torch rounds them.
        dtype = "float32" if self.dtype == "bfloat16" else self.dtype
        return uniform((m, k), dtype, seed=1), uniform((k, n), dtype, seed=2)

    @cached_property
    def tensors(self) -> tuple[Any, Any]:
        import torch

        a, b = (torch.from_numpy(array).to(getattr(torch, self.dtype)) for array in self.operands)
        return a, b

    @cached_property
    def expected(self) -> np.ndarray:
        a, b = self.tensors if self.dtype == "bfloat16" else self.operands
        return in_double(a) @ in_double(b)

    def result(self) -> np.ndarray:
        m, n, _ = self.extents
        return aligned((m, n), self.dtype)

    def result_tensor(self, dtype: str) -> Any:
        import torch

        m, n, _ = self.extents
        return torch.empty((m, n), dtype=getattr(torch, dtype))


# ---- one small product: what a call costs ----


def small(name: str, settings: Settings) -> Outcome:
    work = Product((8, 8, 8), "float64")
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_small, work),
        "nvmath-python": partial(nvmath_small, work),
        "NumPy": partial(numpy, work),
        "torch": partial(torch_small, work),
    }
    targets = [
        faster(1.5, "planmath execute(out=)", "NumPy matmul(out=)"),
        faster(15, "planmath execute()", "nvmath-python execute()"),
    ]
    return compare(name, makers, work.expected, work.dtype, targets, settings, everyone=True)


def planmath_small(work: Product, stack: ExitStack) -> Iterator[Contender]:
    from planmath.linalg.advanced import Matmul

    operation, d = stack.enter_context(Matmul(*work.operands)), work.result()
    operation.plan()
    names = {"execute": operation.execute, "d": d}
    yield Contender("planmath", "execute()", "execute()", names)
    yield Contender("planmath", "execute(out=)", "execute(out=d)", names, into=d)


def nvmath_small(work: Product, stack: ExitStack) -> Iterator[Contender]:
    from nvmath.linalg import Matmul

    operation = stack.enter_context(Matmul(*work.operands))
    operation.plan()
    yield Contender("nvmath-python", "execute()", "execute()", {"execute": operation.execute})


def torch_small(work: Product, stack: ExitStack) -> Iterator[Contender]:
    import torch

    (a, b), d = work.tensors, work.result_tensor(work.dtype)
    yield Contender("torch", "mm(out=)", "mm(a, b, out=d)", {"mm": torch.mm, "a": a, "b": b, "d": d}, into=d)


# ---- products from small to large: planmath, autotuned, against the best of the others ----


def sized(name: str, extents: tuple[int, int, int], precision: str, hopeless: set[str], settings: Settings) -> Outcome:
    dtype, routines = PRECISIONS[precision]
    work = Product(extents, dtype)
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, work),
        "NumPy": partial(numpy, work),
        "torch": partial(torch, work),
        "MKL": partial(mkl, work, routines),
    }
    if dtype == "bfloat16":
        del makers["NumPy"]
    # A library without a kernel for a half precision falls back to loops of minutes: who was hopeless at a smaller
    # size is not asked at a larger one.
    for library in hopeless.difference([PLANMATH]):
        del makers[library]
    outcome = compare(name, makers, work.expected, dtype, [at_most_of_the_best(1.05)], settings)
    best = {library: min(outcome.figures_of(library), default=None) for library in makers}
    known = {library: seconds for library, seconds in best.items() if seconds is not None}
    hopeless |= {library for library, seconds in known.items() if seconds > HOPELESS * min(known.values())}
    return outcome


def planmath(work: Product, stack: ExitStack) -> Iterator[Contender]:
    if work.half:
        yield autotuned("torch, execute(out=)", work.tensors, work.result_tensor(work.dtype), {}, stack)
        # Some of MKL's routines for half precision leave their result in single: this is the like of them.
        from planmath import CudaDataType

        options = {"result_type": CudaDataType.CUDA_R_32F}
        yield autotuned("torch, execute(out=), f32 result", work.tensors, work.result_tensor("float32"), options, stack)
        if work.dtype == "float16":
            # And cblas_hgemm accumulates in half precision, which planmath does where it is asked to only.
            from planmath.linalg.advanced import MatmulComputeType

            options = {"compute_type": MatmulComputeType.COMPUTE_16F}
            form = "torch, execute(out=), f16 sums"
            yield autotuned(form, work.tensors, work.result_tensor("float16"), options, stack, "float16")
    else:
        yield autotuned("execute(out=)", work.operands, work.result(), {}, stack)


def autotuned(form: str, operands: Any, d: Any, options: dict[str, Any], stack: ExitStack, sums: str = "") -> Contender:
    from planmath.linalg.advanced import Matmul

    operation = stack.enter_context(Matmul(*operands, options=options))
    operation.plan()
    operation.autotune()
    names, plan = {"execute": operation.execute, "d": d}, repr(operation)
    return Contender("planmath", form, "execute(out=d)", names, into=d, spins=True, sums=sums, plan=plan)


def numpy(work: Product, stack: ExitStack) -> Iterator[Contender]:
    (a, b), d = work.operands, work.result()
    names = {"matmul": np.matmul, "a": a, "b": b, "d": d}
    yield Contender("NumPy", "matmul(out=)", "matmul(a, b, out=d)", names, into=d, spins=work.shared)


def torch(work: Product, stack: ExitStack) -> Iterator[Contender]:
    import torch

    (a, b), d = work.tensors, work.result_tensor(work.dtype)
    names = {"mm": torch.mm, "a": a, "b": b, "d": d}
    for number in THREADS:
        within = partial(torch_threads, number)
        form = f"mm(out=), {threads(number)}"
        yield Contender("torch", form, "mm(a, b, out=d)", names, into=d, within=within, spins=number > 1)


def mkl(work: Product, routines: dict[str, str], stack: ExitStack) -> Iterator[Contender]:
    a, b = work.tensors
    for routine, result_dtype in routines.items():
        d = work.result_tensor(result_dtype)
        function, arguments = gemm(routine, a.data_ptr(), b.data_ptr(), d.data_ptr(), *work.extents)
        names = {"gemm": function, **{f"argument{place}": value for place, value in enumerate(arguments)}}
        statement = f"gemm({', '.join(list(names)[1:])})"
        for number in THREADS:
            within, form = partial(mkl_threads, number), f"{routine}, {threads(number)}"
            sums = "float16" if routine == "cblas_hgemm" else ""
            yield Contender("MKL", form, statement, names, into=d, within=within, spins=number > 1, sums=sums)


# ---- a dense layer: product, bias and GELU in one ----


def dense_layer(name: str, settings: Settings) -> Outcome:
    work = Product((1024, 1024, 1024), "float32")
    bias = uniform((1024,), "float32", seed=3)
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_layer, work, bias),
        "torch": partial(torch_layer, work, bias),
    }
    targets = [faster(1, "planmath execute()", "torch eager"), at_most(1.1, "planmath execute()", "torch compiled")]
    z = work.expected + bias.astype(np.float64)[:, None]
    expected = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    return compare(name, makers, expected, work.dtype, targets, settings, everyone=True)


def planmath_layer(work: Product, bias: np.ndarray, stack: ExitStack) -> Iterator[Contender]:
    import torch

    from planmath.linalg.advanced import Matmul, MatmulEpilog

    operation = stack.enter_context(Matmul(*work.tensors))
    operation.plan(epilog=MatmulEpilog.GELU_BIAS, epilog_inputs={"bias": torch.from_numpy(bias)})
    operation.autotune()
    d = torch.empty_like(operation.execute())  # in the layout that the epilog asks for
    names, plan = {"execute": operation.execute, "d": d}, repr(operation)
    yield Contender("planmath", "execute()", "execute()", names, spins=True, plan=plan)
    yield Contender("planmath", "execute(out=)", "execute(out=d)", names, into=d, spins=True, plan=plan)


def torch_layer(work: Product, bias: np.ndarray, stack: ExitStack) -> Iterator[Contender]:
    import torch

    def layer(a: Any, b: Any, column: Any) -> Any:
        return torch.nn.functional.gelu(torch.addmm(column, a, b), approximate="tanh")

    a, b = work.tensors
    names = {"layer": layer, "a": a, "b": b, "column": torch.from_numpy(bias)[:, None]}
    yield Contender("torch", "eager", "layer(a, b, column)", names, spins=True)
    # Compiled at its first call, which needs a C++ compiler: where there is none, the row says so.
    yield Contender("torch", "compiled", "layer(a, b, column)", {**names, "layer": torch.compile(layer)}, spins=True)


# ---- the rows ----


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {"matmul/8": partial(small, "matmul/8")}
    for precision in PRECISIONS:
        hopeless: set[str] = set()
        for size, extents in EXTENTS.items():
            if not settings.quick or size in QUICK:
                name = f"matmul/{size}/{precision}"
                rows[name] = partial(sized, name, extents, precision, hopeless)
    return rows | {"matmul/gelu-bias": partial(dense_layer, "matmul/gelu-bias")}
