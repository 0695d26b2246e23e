"""The operations that the tests of this folder run: small enough to be quick, and all that they ask of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from planmath import linalg
from planmath.bindings import cutensor
from planmath.fft import FFT, fft
from planmath.linalg.advanced import Matmul, matmul
from planmath.tensor import BinaryContraction, TernaryContraction, binary_contraction, ternary_contraction
from tests.arrays import to_numpy, to_package

#: A length without small factors, for which cuFFT needs a workspace.
PRIME = 4_194_301


class Work(NamedTuple):
    """An operation under one signature, whatever its own is."""

    name: str
    draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    """Operands on the host."""
    expected: Callable[..., np.ndarray]
    create: Callable[..., Any]
    stateless: Callable[..., Any]
    operands: tuple[str, ...]
    reset: str
    """The method that replaces operands."""
    missing: Callable[[], str | None] = lambda: None
    """Why this machine's device cannot do it, if so: a library of its own is not installed."""

    def operands_of(self, seed: int) -> tuple[np.ndarray, ...]:
        return self.draw(np.random.default_rng(seed))

    def arrays(self, seed: int, package: str) -> tuple[Any, ...]:
        """Operands of a package."""
        return tuple(to_package(array, package) for array in self.operands_of(seed))

    def planned(self, arrays: tuple[Any, ...], **arguments: Any) -> Any:
        operation = self.create(*arrays, **arguments)
        operation.plan()
        return operation

    def replace(self, operation: Any, arrays: tuple[Any, ...], unchecked: bool = False, **arguments: Any) -> None:
        """Give the operation other operands."""
        method = getattr(operation, self.reset + "_unchecked" * unchecked)
        if len(self.operands) == 1:
            method(*arrays, **arguments)
        else:
            method(**dict(zip(self.operands, arrays, strict=True)), **arguments)

    def check(self, result: Any, seed: int) -> None:
        """Compare with what the operands of this seed give in double precision."""
        expected = expected_of(self, seed)
        np.testing.assert_allclose(to_numpy(result), expected, rtol=0, atol=5e-6 * np.abs(expected).max())


@lru_cache(maxsize=32)
def expected_of(work: Work, seed: int) -> np.ndarray:
    """What the operands of a seed give in double precision."""
    operands = work.operands_of(seed)
    return work.expected(*(x.astype(np.complex128 if np.iscomplexobj(x) else np.float64) for x in operands))


def noise(shape: tuple[int, ...], dtype: str) -> Callable[[np.random.Generator], np.ndarray]:
    def draw(random: np.random.Generator) -> np.ndarray:
        values = random.standard_normal(shape)
        return (values + 1j * random.standard_normal(shape) if dtype[0] == "c" else values).astype(dtype)

    return draw


def tuple_of(*draws: Callable[[np.random.Generator], np.ndarray]) -> Callable[..., tuple[np.ndarray, ...]]:
    return lambda random: tuple(draw(random) for draw in draws)


def transform(name: str, shape: tuple[int, ...]) -> Work:
    """Of the last axis."""

    def create(array: Any, **arguments: Any) -> FFT:
        return FFT(array, axes=[-1], **arguments)

    def stateless(array: Any, **arguments: Any) -> Any:
        return fft(array, axes=[-1], **arguments)

    return Work(name, tuple_of(noise(shape, "complex64")), np.fft.fft, create, stateless, ("operand",), "reset_operand")


def contraction(name: str, expr: str, *shapes: tuple[int, ...]) -> Work:
    create, stateless = {
        2: (BinaryContraction, binary_contraction), 3: (TernaryContraction, ternary_contraction)
    }[len(shapes)]  # fmt: skip
    return Work(
        name, tuple_of(*(noise(shape, "float32") for shape in shapes)), partial(np.einsum, expr), partial(create, expr),
        partial(stateless, expr), tuple("abc"[: len(shapes)]), "reset_operands", lambda: cutensor.LIBRARY.missing,
    )  # fmt: skip


FFT_WORK = transform("fft", (5, 1000))
LARGE_FFT = transform("large-fft", (PRIME,))
MATMUL_WORK = Work(
    "matmul", tuple_of(noise((48, 96), "float32"), noise((96, 40), "float32")), np.matmul, Matmul, matmul, ("a", "b"),
    "reset_operands",
)  # fmt: skip
#: Of which one triangle is read.
LOWER = np.array(
    [linalg.TriangularMatrixQualifier.create(), linalg.GeneralMatrixQualifier.create()],
    linalg.matrix_qualifiers_dtype,
)  # fmt: skip
TRIANGULAR_WORK = Work(
    "triangular", tuple_of(noise((96, 96), "float32"), noise((96, 40), "float32")), lambda a, b: np.tril(a) @ b,
    partial(linalg.Matmul, qualifiers=LOWER), partial(linalg.matmul, qualifiers=LOWER), ("a", "b"), "reset_operands",
)  # fmt: skip
CONTRACTION_WORK = contraction("contraction", "ibkn,ukb->inu", (12, 8, 10, 9), (7, 10, 8))
#: It leaves an intermediate result in the workspace.
TERNARY_WORK = contraction("ternary", "ij,jk,kl->il", (12, 40), (40, 30), (30, 8))
WORKS = (FFT_WORK, MATMUL_WORK, TRIANGULAR_WORK, CONTRACTION_WORK, TERNARY_WORK)
