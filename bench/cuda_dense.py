"""Dense systems on a CUDA device: single ones beside cuSOLVER's own calls, and batches, with nvmath-python, PyTorch and
CuPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import address, importable, on_device
from bench.verdict import Outcome, Target, at_most_and, at_most_of_the_best
from planmath.bindings import cusolverDn, runtime
from planmath.bindings.library_types import CudaDataType

#: unknowns of single systems, and batches: their name, systems and unknowns
SINGLE, BATCHES = (1000, 8192), {"8": (10_000, 8), "64": (1_000, 64)}
QUICK = {1000}
TOLERANCE = "solution of a system"
ON_DEVICE = runtime.MemcpyKind.DEVICE_TO_DEVICE


class Problem:
    """Random systems in double precision, of which new values are factorized and solved again and again."""

    def __init__(self, shape: tuple[int, ...]):
        rng = np.random.default_rng(shape[-1])
        n = shape[-1]
        self.n, self.batch = n, len(shape) > 1
        a = rng.standard_normal((*shape, n))
        x = rng.standard_normal((*shape, 1) if self.batch else shape)
        self.host, self.expected = (a, a @ x), on_device(x, "torch")

    def operands(self, package: str) -> tuple[Any, Any]:
        a, b = self.host
        return on_device(a, package), on_device(b, package)

    def planned(self, library: str, stack: ExitStack, **options: str) -> Any:
        """A `DirectSolver` of planmath or nvmath-python, planned, and freed with the stack."""
        module = import_module(f"{LIBRARIES[library]}.linalg")
        solver = stack.enter_context(module.DirectSolver(*self.operands("torch"), options=options or None))
        solver.plan()
        return solver


class Bare:
    """Copies of a and b, which are overwritten, cuSOLVER's two calls, and waiting for them."""

    def __init__(self, problem: Problem, stack: ExitStack):
        torch, n = importable("torch"), problem.n
        self._keep = a, b = problem.operands("torch")
        self.x, factors = torch.empty_like(b), torch.empty_like(a)
        handle, settings = cusolverDn.create(), cusolverDn.create_params()
        stack.callback(cusolverDn.destroy, handle)
        stack.callback(cusolverDn.destroy_params, settings)
        kind = int(CudaDataType.CUDA_R_64F)
        lu, x = address(factors), address(self.x)
        on_device_size, on_host_size = cusolverDn.xgetrf_buffer_size(handle, settings, n, n, kind, lu, n, kind)
        self._buffers = torch.empty(max(on_device_size, 1), dtype=torch.uint8, device="cuda"), np.empty(
            max(on_host_size, 1), np.uint8
        )
        pivots = torch.empty(n, dtype=torch.int64, device="cuda")
        info = torch.empty(1, dtype=torch.int32, device="cuda")
        self._others = factors, pivots, info
        self._factorize = (
            handle, settings, n, n, kind, lu, n, address(pivots), kind, address(self._buffers[0]), on_device_size,
            self._buffers[1].ctypes.data, on_host_size, address(info),
        )  # fmt: skip
        # torch's matrices lie by rows
        self._solve = handle, settings, 1, n, 1, kind, lu, n, address(pivots), kind, x, n, address(info)
        self._copies = (lu, address(a), 8 * n * n), (x, address(b), 8 * n)

    def __call__(self) -> None:
        for copy in self._copies:
            runtime.memcpy_async(*copy, ON_DEVICE, 0)
        cusolverDn.xgetrf(*self._factorize)
        cusolverDn.xgetrs(*self._solve)
        runtime.stream_synchronize(0)


# ---- the contenders: each waits until its solution is there ----


def lifecycle(library: str, problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    forms = ["factorize(); solve()"]
    if library == "planmath":
        forms += ["autotuned", *([] if problem.batch else ["in mixed precision"])]
    for form in forms:
        solver = problem.planned(library, stack, **({"precision": "mixed"} if "mixed" in form else {}))
        if form == "autotuned":
            solver.autotune()
        names = {"factorize": solver.factorize, "solve": solver.solve, "wait": runtime.device_synchronize}
        yield Contender(library, form, "factorize(); x = solve(); wait(); x", names, plan=repr(solver))


def function(package: str, problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    a, b = problem.operands(package)
    names = {"call": importable(package).linalg.solve, "a": a, "b": b, "wait": runtime.device_synchronize}
    yield Contender(package, "linalg.solve", "x = call(a, b); wait(); x", names)


def bare(problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    calls = Bare(problem, stack)
    yield Contender("bare", "Xgetrf, Xgetrs", "call()", {"call": calls}, into=calls.x)


def row(name: str, shape: tuple[int, ...], settings: Settings) -> Outcome:
    problem = Problem(shape)
    makers: dict[str, Maker] = {library: partial(lifecycle, library, problem) for library in LIBRARIES}
    makers |= {package: partial(function, package, problem) for package in ("torch", "cupy")}
    targets: list[Target] = [at_most_of_the_best(1.0)]
    if not problem.batch:
        makers["bare"] = partial(bare, problem)
        targets = [at_most_and(1.05, 0, "planmath factorize(); solve()", "bare Xgetrf, Xgetrs")]
    return compare(name, makers, problem.expected, TOLERANCE, targets, settings, everyone=True)


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for n in SINGLE:
        if not settings.quick or n in QUICK:
            rows[f"cuda/dense/{n}"] = partial(row, f"cuda/dense/{n}", (n,))
    for size, (count, n) in BATCHES.items():
        rows[f"cuda/dense/batch/{size}"] = partial(row, f"cuda/dense/batch/{size}", (count, n))
    return rows
