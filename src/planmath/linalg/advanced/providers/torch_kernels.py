"""Products by PyTorch's own kernels, for operands that are tensors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from planmath.core.errors import LibraryError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.problem import MatmulProblem
from planmath.linalg.advanced.providers.pipeline import MatmulPipeline, folded, operand_names
from planmath.linalg.advanced.providers.subnormals import kept, values
from planmath.linalg.product.matrix import WORK_DTYPE, Matrix
from planmath.native.threads import Threads, library_threads


class TorchProvider(Provider):
    name = "torch"

    def unavailable(self) -> str | None:
        if sys.modules.get("torch") is not None:  # None is there where an import is blocked
            return None
        return _why_not_imported()

    def version(self) -> str:
        return str(sys.modules["torch"].__version__)

    def path(self) -> str | None:
        return str(sys.modules["torch"].__file__)

    def threads(self) -> Threads:
        return library_threads(sys.modules["torch"].get_num_threads(), "MKL_NUM_THREADS")

    def unsupported(self, problem: MatmulProblem) -> str | None:
        if problem.package != "torch":
            return "it multiplies torch tensors only"
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.narrow is not None:
            return f"it has no products of {problem.a.dtype} with scales on the CPU"
        if problem.a.dtype == "int8":
            return "it has no products of int8 with results of int32"
        if problem.d.dtype != problem.a.dtype:
            return f"its products of {problem.a.dtype} have results of the same dtype, not {problem.d.dtype}"
        if problem.a.dtype == "bfloat16" and problem.compute == "float32" and not _keeps_subnormals():
            return (
                "its products of bfloat16 take subnormal numbers for 0 on this processor: to allow that, pass "
                "options={'compute_type': MatmulComputeType.COMPUTE_32F_FAST_16BF}"
            )
        return None

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("threads", problem.threads),))]

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        return Prepared({None: Program(function=_Product(problem, algorithm.get("threads")))})


@cache
def _why_not_imported() -> str:
    """Once for the process: to look through all folders takes longer than planning a small product."""
    if find_spec("torch") is None:
        return "PyTorch was not found: install it with: pip install 'planmath[torch]'"
    return "PyTorch multiplies its own tensors only, and is not imported yet"


@cache
def _keeps_subnormals() -> bool:
    """Whether its products of bfloat16 get subnormal numbers right."""
    torch = sys.modules["torch"]

    def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = (torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16) for bits in (a, b))
        return values(torch.mm(x, y).view(torch.int16).numpy().view(np.uint16), "bfloat16")

    return kept("bfloat16", multiply)


class _Product:
    """The product by PyTorch, then the epilog by the kernels that all CPU providers share."""

    def __init__(self, problem: MatmulProblem, threads: int):
        self.torch = sys.modules["torch"]
        self.problem = problem
        self.threads = threads
        self.names = operand_names(problem)
        self.auxiliary = list(problem.auxiliary())
        pipeline = MatmulPipeline(problem, WORK_DTYPE[problem.a.dtype])
        d = pipeline.region("d", problem.d)
        if EPILOGS[problem.epilog] != EPILOGS[problem.epilog.DEFAULT]:
            if problem.d.dtype != pipeline.work:
                d = pipeline.staged(d)
            pipeline.epilog(d)
            if d.slot != pipeline.slot("d"):
                pipeline.convert(d, pipeline.region("d", problem.d))
        self.calls = pipeline.calls
        self.workspace = np.empty(pipeline.workspace_size, np.uint8)
        self.flat = folded(problem)
        self.copies = {name: copy for name in "ab" if (copy := self._even_copy(name)) is not None}
        self.alpha = self.names.index("alpha")
        conjugate = problem.a.conjugate or problem.b.conjugate
        self.plain = not (problem.batch or problem.c is not None or conjugate or self.copies)

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        torch = self.torch
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            a, b, alpha = operands[0], operands[1], operands[self.alpha].item()
            needs_grad = a.requires_grad or b.requires_grad or (results and results[0].requires_grad)
            if self.plain and alpha == 1 and a.dim() == b.dim() == 2 and not needs_grad:
                torch.mm(a, b, out=results[0])
            else:
                with torch.no_grad():
                    self._multiply(dict(zip(self.names, operands, strict=True)), results)
        finally:
            if before != self.threads:
                torch.set_num_threads(before)
        if self.calls:
            addresses = [x.ctypes.data if isinstance(x, np.ndarray) else x.data_ptr() for x in (*operands, *results)]
            for call in self.calls:
                if status := call(*addresses, self.workspace.ctypes.data):
                    raise LibraryError(call.name, status)

    def _even_copy(self, name: str) -> Any:
        """Memory for a copy of an operand whose 16-bit numbers PyTorch's kernels would read in pairs, past an odd end.

        What stands there is multiplied by 0, which gives NaN for NaN and infinity. Behind the copy's rows it is 0.
        """
        torch, problem = self.torch, self.flat
        matrix = getattr(problem, name)
        step = matrix.col if name == "a" else matrix.row
        if problem.a.dtype not in ("float16", "bfloat16") or problem.k % 2 == 0 or step != 1:
            return None
        batch = problem.batch if any(matrix.batch) else ()
        extent = problem.m if name == "a" else problem.n
        copy = torch.zeros((*batch, extent, problem.k + 1), dtype=getattr(torch, matrix.dtype), device="cpu")[..., :-1]
        return copy if name == "a" else copy.mT

    def _factor(self, name: str, array: Any) -> Any:
        """a or b as the product needs it."""
        seen = view(array, getattr(self.flat, name), self.flat.batch)
        if (copy := self.copies.get(name)) is None:
            return seen
        if copy.dim() == seen.dim():
            return copy.copy_(seen)
        return copy.copy_(seen[(0,) * (seen.dim() - 2)]).expand(seen.shape)  # one matrix serves the whole batch

    def _multiply(self, operand: dict[str, Any], results: tuple[Any, ...]) -> None:
        torch, problem = self.torch, self.flat
        d = view(operand["c"] if problem.inplace else results[0], problem.d, problem.batch)
        a, b = (self._factor(name, operand[name]) for name in "ab")
        alpha, beta = operand["alpha"].item(), operand["beta"].item()
        c = view(operand["c"], problem.c, problem.batch).expand(d.shape) if problem.c and beta != 0 else None
        if alpha == 0:  # as in BLAS, what is multiplied by 0 is not read: not even NaN and infinity
            if c is None:
                d.zero_()
            elif beta == 1:  # times 1 + 0i, an infinity would become NaN
                d.copy_(c)
            else:
                torch.mul(c, beta, out=d)
        elif c is None and alpha == 1:
            (torch.mm if d.dim() == 2 else torch.matmul)(a, b, out=d)
        elif d.dim() <= 3:  # scales before it rounds
            fused = torch.addmm if d.dim() == 2 else torch.baddbmm
            fused(d if c is None else c, a, b, beta=0 if c is None else beta, alpha=alpha, out=d)
        else:
            product = torch.matmul(a, b, out=d if c is None or not problem.inplace else None).mul_(alpha)
            if c is not None:
                torch.add(product, c, alpha=beta, out=d)


def view(array: Any, matrix: Matrix, batch: tuple[int, ...]) -> Any:
    """The tensor's memory as the problem sees it: always matrices, with the batch's axes in front."""
    seen = array.as_strided((*batch, matrix.rows, matrix.cols), (*matrix.batch, matrix.row, matrix.col))
    return seen.conj() if matrix.conjugate else seen
