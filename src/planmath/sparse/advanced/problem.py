"""The specification of sparse linear systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from planmath.core.arrays import WIDER
from planmath.core.execution import available_cpus
from planmath.core.executor import Executor
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.matrix import Matrices
from planmath.sparse.advanced.options import DirectSolverPlanPreferences
from planmath.sparse.advanced.pattern import Pattern

#: The matrix types that a real matrix cannot have, and those that a complex one cannot.
NOT_REAL, NOT_COMPLEX = (MatrixType.HERMITIAN, MatrixType.HPD), (MatrixType.SPD,)

#: `Executor` for the only system's values, b and x: it takes the programs, and the only stream that they may run on.
ExecutorOf = Callable[..., Executor]


class DirectSolverProblem(NamedTuple):
    """What to solve: all that matters for planning. Of the matrices it has the patterns, not the values."""

    patterns: tuple[Pattern, ...]
    """One for each system; systems may share one."""
    dtype: str
    columns: tuple[int, ...]
    """Right-hand sides of each system."""
    kind: MatrixType
    batched: bool
    execution: tuple[str, int]
    """The execution space, with its number of threads or device."""
    preferences: DirectSolverPlanPreferences
    space: Any = None
    """The execution space as the user has it, with its options."""
    on_host: bool = True
    """Where the operands are."""
    handle: int = 0
    threading_layer: str | None = None

    @property
    def threads(self) -> int:
        """Most threads of the CPU that the work may use."""
        most = self.execution[1] if self.execution[0] == "cpu" else available_cpus()
        return min(most, self.preferences.host_nthreads or most)

    @property
    def index_dtype(self) -> str:
        return self.patterns[0].index_dtype

    @property
    def is_complex(self) -> bool:
        return self.dtype.startswith("complex")

    @property
    def largest(self) -> Pattern:
        return max(self.patterns, key=lambda pattern: pattern.n)

    @property
    def key(self) -> str:
        """The problem in a line that two runs of a program have in common."""
        sizes = f"{len(self.patterns)}x" if self.batched else ""
        return (
            f"{self.kind.name} {self.dtype} {self.index_dtype} {sizes}{self.pattern_key} "
            f"columns={max(self.columns)} on {self._where}, {self.preferences}"
        )

    @property
    def pattern_key(self) -> str:
        """What the line says of the patterns."""
        mixed = hash_of(pattern.checksum for pattern in self.patterns)
        return f"n={self.largest.n} nnz={self.largest.nnz} pattern={mixed:x}"

    @property
    def _where(self) -> str:
        """The execution space, where one device is like another of its kind."""
        if self.execution[0] == "cpu":
            return f"cpu, {self.threads} threads"
        options = replace(self.space, device_id=0)
        return f"{options}, operands on the {'host' if self.on_host else 'device'}"


def hash_of(numbers: object) -> int:
    """A number made of many."""
    mixed = 0
    for number in numbers:  # type: ignore[attr-defined]
        mixed = (mixed * 1099511628211 ^ number) % 2**63
    return mixed


def check_kind(kind: MatrixType, view: int, dtype: str) -> None:
    """Raise where matrix type, view and dtype contradict each other."""
    if dtype not in ("float32", "float64", "complex64", "complex128"):
        raise ValueError(
            f"a has the dtype {dtype}; expected float32, float64, complex64 or complex128: convert it to "
            f"{WIDER.get(dtype, 'float64')}"
        )
    is_complex = dtype.startswith("complex")
    if kind in (NOT_COMPLEX if is_complex else NOT_REAL):
        instead = {MatrixType.SPD: "HPD", MatrixType.HERMITIAN: "SYMMETRIC", MatrixType.HPD: "SPD"}[kind]
        raise ValueError(
            f"options.sparse_system_type is {kind.name} and a has the dtype {dtype}; "
            f"{kind.name} matrices are {'real' if is_complex else 'complex'}: use {instead}"
        )
    if kind == MatrixType.GENERAL and view != 0:
        raise ValueError(
            "options.sparse_system_view is LOWER or UPPER and sparse_system_type is GENERAL, which has no other "
            "triangle to mirror: use FULL for all entries of a, and of scipy.sparse.tril(a, format='csr') or triu "
            "for a triangle alone; or SYMMETRIC, HERMITIAN, SPD or HPD where the triangle stands for the whole matrix"
        )


def batch_count(matrices: Matrices) -> int:
    """How many systems there are."""
    return 1 if matrices.batch is None else math.prod(matrices.batch)
