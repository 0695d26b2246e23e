"""Contractions by the operands' own package: NumPy's and PyTorch's einsum."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from planmath.bindings.blas import OPENBLAS_SPIN
from planmath.core.arrays import ITEMSIZE, Layout, package_named
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.threads import Threads, openmp_threads
from planmath.tensor.enums import Operator
from planmath.tensor.problem import WORK_DTYPE, ContractionProblem, Tensor

#: Most modes: the packages count them by letters, in both cases.
MOST_MODES = 52

_O = Operator
#: What the operators are in a package's functions.
FUNCTIONS: dict[int, Callable[[Any, Any], Any]] = {
    _O.OP_SQRT: lambda xp, x: xp.sqrt(x), _O.OP_RELU: lambda xp, x: xp.where(x <= 0, 0, x),
    _O.OP_CONJ: lambda xp, x: xp.conj(x), _O.OP_RCP: lambda xp, x: 1 / x,
    _O.OP_SIGMOID: lambda xp, x: 1 / (1 + xp.exp(-x)), _O.OP_TANH: lambda xp, x: xp.tanh(x),
    _O.OP_EXP: lambda xp, x: xp.exp(x), _O.OP_LOG: lambda xp, x: xp.log(x), _O.OP_ABS: lambda xp, x: xp.abs(x),
    _O.OP_NEG: lambda xp, x: -x, _O.OP_SIN: lambda xp, x: xp.sin(x), _O.OP_COS: lambda xp, x: xp.cos(x),
    _O.OP_TAN: lambda xp, x: xp.tan(x), _O.OP_SINH: lambda xp, x: xp.sinh(x), _O.OP_COSH: lambda xp, x: xp.cosh(x),
    _O.OP_ASIN: lambda xp, x: xp.arcsin(x), _O.OP_ACOS: lambda xp, x: xp.arccos(x),
    _O.OP_ATAN: lambda xp, x: xp.arctan(x), _O.OP_ASINH: lambda xp, x: xp.arcsinh(x),
    _O.OP_ACOSH: lambda xp, x: xp.arccosh(x), _O.OP_ATANH: lambda xp, x: xp.arctanh(x),
    _O.OP_CEIL: lambda xp, x: xp.ceil(x), _O.OP_FLOOR: lambda xp, x: xp.floor(x),
    _O.OP_MISH: lambda xp, x: x * xp.tanh(_soft_plus(xp, x)), _O.OP_SWISH: lambda xp, x: x / (1 + xp.exp(-x)),
    _O.OP_SOFT_PLUS: lambda xp, x: _soft_plus(xp, x), _O.OP_SOFT_SIGN: lambda xp, x: x / (1 + xp.abs(x)),
}  # fmt: skip


def _soft_plus(xp: Any, x: Any) -> Any:
    return xp.logaddexp(x, xp.zeros_like(x))


class EinsumProvider(Provider):
    """The package's einsum, with products by the BLAS that the package has; it works for all operands."""

    name = "einsum"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        modules = [module for name in ("numpy", "torch") if (module := sys.modules.get(name)) is not None]
        return ", ".join(f"{module.__name__} {module.__version__}" for module in modules)

    def path(self) -> str | None:
        return sys.modules["numpy"].__file__

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: ContractionProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.preference:
            return "it has a single algorithm, and plan_preference asks for a certain one"
        if len(problem.extents) > MOST_MODES:
            return f"it takes up to {MOST_MODES} modes, not {len(problem.extents)}"
        most = _most_memory(problem)
        if most > problem.memory_limit:
            return (
                f"it may take {most} bytes of temporary memory, and options.memory_limit allows {problem.memory_limit}"
            )
        return None

    def algorithms(self, problem: ContractionProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]

    def lingers(self, algorithm: Algorithm) -> float:
        return OPENBLAS_SPIN

    def prepare(self, problem: ContractionProblem, algorithm: Algorithm) -> Prepared:
        return Prepared({None: Program(function=_Einsum(problem))})


def _most_memory(problem: ContractionProblem) -> int:
    """Bytes of copies of everything, in the dtype of the work, with the largest intermediate there can be."""
    tensors = (*problem.operands, problem.d, problem.d)
    elements = sum(math.prod(problem.extents[m] for m in tensor.modes) for tensor in tensors)
    if len(problem.operands) > 2:
        elements += math.prod(problem.extents)
    return elements * ITEMSIZE[WORK_DTYPE[problem.d.dtype]]


class _Einsum:
    def __init__(self, problem: ContractionProblem):
        self.problem = problem
        self.package = package_named(package_named(problem.package).host)  # whose arrays a device's are copied to
        self.module = sys.modules[self.package.name]
        self.names = problem.names()
        self.work = self.package.dtype(WORK_DTYPE[problem.d.dtype])

    @np.errstate(all="ignore")  # as a library's own loops
    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):  # what is not finite is a result like any other
            self._contract(dict(zip(self.names, operands, strict=True)), results)

    def _contract(self, arrays: dict[str, Any], results: tuple[Any, ...]) -> None:
        problem = self.problem
        alpha, beta = arrays["alpha"].item(), arrays["beta"].item()
        target = results[0] if results else arrays[self.names[len(problem.operands)]]
        result = self._product(arrays) if alpha != 0 else 0.0
        result = result * alpha if alpha not in (0, 1) else result
        if problem.c is not None and beta != 0:
            addend = self._seen(arrays[self.names[len(problem.operands)]], problem.c)
            shape = [problem.extents[m] if m in problem.c.modes else 1 for m in problem.d.modes]
            axes = [problem.c.modes.index(m) for m in problem.d.modes if m in problem.c.modes]
            result = result + beta * self._transposed(addend, axes).reshape(shape)
        self._view(target, problem.d)[...] = result

    def _product(self, arrays: dict[str, Any]) -> Any:
        """The contraction alone."""
        sublists: list[Any] = []
        for name, tensor in zip(self.names, self.problem.operands, strict=False):
            sublists += [self._seen(arrays[name], tensor), list(tensor.modes)]
        return self.module.einsum(*sublists, list(self.problem.d.modes), **self._options())

    def _options(self) -> dict[str, Any]:
        return {"optimize": True} if self.package.name == "numpy" else {}

    def _transposed(self, array: Any, axes: list[int]) -> Any:
        return array.transpose(axes) if self.package.name == "numpy" else array.permute(axes)

    def _view(self, array: Any, tensor: Tensor) -> Any:
        """The array's memory as the problem counts it."""
        shape = tuple(self.problem.extents[m] for m in tensor.modes)
        return self.package.with_strides(array, Layout(shape, tensor.strides, "", "cpu", None))

    def _seen(self, array: Any, tensor: Tensor) -> Any:
        """The operand in the dtype of the work, with its operator applied."""
        view = self._view(array, tensor)
        if view.dtype != self.work:
            view = view.astype(self.work) if self.package.name == "numpy" else view.to(self.work)
        function = FUNCTIONS.get(tensor.operator)
        return view if function is None else function(self.module, view)
