"""Factorizations and solvers inside kernels, as classes: what `Solver` has by name, with shapes and strides."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from planmath.device import inside
from planmath.device.function import DeviceFunction
from planmath.device.solver import Solver
from planmath.device.targets import ComputeCapability, Dim3

_PARAMETERS = """
    Parameters
    ----------
    size : one to three int
        M, N, K: a square matrix, a matrix, and the number of right-hand sides.
    precision : {{numpy.float32, numpy.float64}}
    execution : {{'Block'}}
{own}    sm, arrangement, batches_per_block, data_type, leading_dimensions, block_dim
        As of `Solver`.
    """


class _Solvers(DeviceFunction):
    """Several functions with one description."""

    #: The functions, by the method that calls them.
    functions: ClassVar[dict[str, str]]
    hidden: ClassVar[frozenset[str]] = frozenset({"functions"})

    def _make(self, **parameters: Any) -> None:
        """The first function is asked for what is suggested, and the others take that."""
        self._solvers: dict[str, Solver] = {}
        size, precision, execution = (parameters.pop(name) for name in ("size", "precision", "execution"))
        for method, function in self.functions.items():
            if self._solvers:
                parameters |= {"block_dim": self.block_dim, "batches_per_block": self.batches_per_block}
            own = {
                name: value for name, value in parameters.items() if name != "transpose_mode" or method != "factorize"
            }
            if self._fitting(method, function):
                self._solvers[method] = Solver(function, size, precision, execution, **own)

    def _fitting(self, method: str, function: str) -> bool:
        return True

    @property
    def _first(self) -> Solver:
        return next(iter(self._solvers.values()))

    def _solver(self, method: str) -> Solver:
        found = self._solvers.get(method)
        if found is None:
            raise RuntimeError(f"{type(self).__name__}.{method} is for square matrices, not for {self.m} x {self.n}")
        return found

    # What all have.

    @property
    def size(self) -> tuple[int, ...]:
        """M, N and K."""
        return self._first.size

    @property
    def m(self) -> int:
        """M."""
        return self._first.m

    @property
    def n(self) -> int:
        """N."""
        return self._first.n

    @property
    def k(self) -> int:
        """K."""
        return self._first.k

    @property
    def sm(self) -> ComputeCapability:
        """What code is made for."""
        return self._first.sm

    @property
    def precision(self) -> type:
        """Of the elements."""
        return self._first.precision

    @property
    def data_type(self) -> str:
        """``"real"`` or ``"complex"``."""
        return self._first.data_type

    @property
    def execution(self) -> str:
        """``"Block"``."""
        return self._first.execution

    @property
    def arrangement(self) -> tuple[str, str]:
        """Of A and B."""
        return self._first.arrangement

    @property
    def value_type(self) -> Any:
        """The elements of the matrices, and of tau."""
        return self._first.value_type

    @property
    def info_type(self) -> type:
        """The elements of info."""
        return self._first.info_type

    @property
    def ipiv_type(self) -> type:
        """The elements of ipiv."""
        return self._first.ipiv_type

    @property
    def batches_per_block(self) -> int:
        """Problems of a block."""
        return self._first.batches_per_block

    @property
    def block_dim(self) -> Dim3:
        """The block that executes."""
        return self._first.block_dim

    @property
    def leading_dimensions(self) -> tuple[int, int]:
        """Of A and B; 0 where there is no such matrix."""
        return next((s for s in self._solvers.values() if s.leading_dimensions[1]), self._first).leading_dimensions

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return (type(self).__name__, *(solver.key for solver in self._solvers.values()))

    def valid(self, *knobs: str) -> list[tuple[Any, ...]]:
        """Combinations of ``"block_dim"`` and ``"batches_per_block"``, the suggested ones first."""
        return self._first.valid(*knobs)

    # Shapes. Where a matrix has one, the class has ``name_shape``, ``name_strides`` and ``name_size``.

    def _of(self, name: str) -> Solver:
        return next(solver for solver in self._solvers.values() if name in solver.parameters)

    def _batched(self, name: str) -> tuple[int, ...]:
        shape = self._of(name)._shape(name)
        assert shape is not None
        return (self.batches_per_block, *shape)

    def _strides(self, name: str, leading: int | None) -> tuple[int, int, int]:
        return self._of(name).strides(name, leading)

    def _size(self, name: str, leading: int | None) -> int:
        return self.batches_per_block * self._strides(name, leading)[0]

    def _call(self, method: str, *args: Any, **leading: Any) -> None:
        thread = inside.thread(f"{type(self).__name__}.{method}")
        from planmath.device.simulator import solvers

        solvers.call(thread, self._solver(method), args, leading)


class _HasA(_Solvers):
    @property
    def a_shape(self) -> tuple[int, ...]:
        """(batches, rows, columns) of A."""
        return self._batched("a")

    def a_strides(self, *, lda: int | None = None) -> tuple[int, int, int]:
        """Elements between the batches, rows and columns of A."""
        return self._strides("a", lda)

    def a_size(self, *, lda: int | None = None) -> int:
        """Elements of all A of a block."""
        return self._size("a", lda)


class _HasB(_HasA):
    @property
    def b_shape(self) -> tuple[int, ...]:
        """(batches, rows, columns) of B."""
        return self._batched("b")

    def b_strides(self, *, ldb: int | None = None) -> tuple[int, int, int]:
        """Elements between the batches, rows and columns of B."""
        return self._strides("b", ldb)

    def b_size(self, *, ldb: int | None = None) -> int:
        """Elements of all B of a block."""
        return self._size("b", ldb)


class _HasTau(_HasA):
    @property
    def tau_shape(self) -> tuple[int, ...]:
        """(batches, reflectors)."""
        return self._batched("tau")

    @property
    def tau_strides(self) -> tuple[int, int]:
        """Elements between the batches and the entries of tau."""
        return self.tau_shape[1], 1

    @property
    def tau_size(self) -> int:
        """Elements of all tau of a block."""
        return self.tau_shape[0] * self.tau_shape[1]


class _HasInfo(_Solvers):
    @property
    def info_shape(self) -> tuple[int, ...]:
        """(batches,)."""
        return (self.batches_per_block,)

    @property
    def info_strides(self) -> tuple[int, ...]:
        """Elements between the entries of info."""
        return (1,)

    @property
    def info_size(self) -> int:
        """Elements of info."""
        return self.batches_per_block


class CholeskySolver(_HasB, _HasInfo):
    """Cholesky's factorization, and solutions with it."""

    functions: ClassVar[dict[str, str]] = {"factorize": "potrf", "solve": "potrs"}

    def __init__(self, size: Any, precision: Any, execution: str, fill_mode: str, *, sm: Any = None,
                 arrangement: Any = None, batches_per_block: int | str | None = None, data_type: str | None = None,
                 leading_dimensions: Any = None, block_dim: Any = None):  # fmt: skip
        self.fill_mode = fill_mode
        self._make(size=size, precision=precision, execution=execution, fill_mode=fill_mode, sm=sm,
                   arrangement=arrangement, batches_per_block=batches_per_block, data_type=data_type,
                   leading_dimensions=leading_dimensions, block_dim=block_dim)  # fmt: skip

    def factorize(self, a: Any, info: Any, lda: Any = None) -> None:
        """A ← its factor, in the triangle of `fill_mode`; info is 0, or the order of the first minor not positive."""
        self._call("factorize", a, info, lda=lda)

    def solve(self, a: Any, b: Any, lda: Any = None, ldb: Any = None) -> None:
        """B ← A⁻¹ B, by the factor in A."""
        self._call("solve", a, b, lda=lda, ldb=ldb)


class _LU(_HasB, _HasInfo):
    def _fitting(self, method: str, function: str) -> bool:
        return method == "factorize" or self.m == self.n

    def __init__(self, size: Any, precision: Any, execution: str, *, sm: Any = None,
                 transpose_mode: str = "non_transposed", arrangement: Any = None,
                 batches_per_block: int | str | None = None, data_type: str | None = None,
                 leading_dimensions: Any = None, block_dim: Any = None):  # fmt: skip
        self.transpose_mode = transpose_mode
        self._make(size=size, precision=precision, execution=execution, transpose_mode=transpose_mode, sm=sm,
                   arrangement=arrangement, batches_per_block=batches_per_block, data_type=data_type,
                   leading_dimensions=leading_dimensions, block_dim=block_dim)  # fmt: skip

    @property
    def b_shape(self) -> tuple[int, ...]:
        """(batches, rows, columns) of B."""
        return (self.batches_per_block, self.n, self.k)


class LUSolver(_LU):
    """LU factorization without pivoting, and solutions with it."""

    functions: ClassVar[dict[str, str]] = {"factorize": "getrf_no_pivot", "solve": "getrs_no_pivot"}

    def factorize(self, a: Any, info: Any, lda: Any = None) -> None:
        """A ← L and U; info is 0, or the number of the first pivot that is zero."""
        self._call("factorize", a, info, lda=lda)

    def solve(self, a: Any, b: Any, lda: Any = None, ldb: Any = None) -> None:
        """B ← A⁻¹ B, by the factors in A."""
        self._call("solve", a, b, lda=lda, ldb=ldb)


class LUPivotSolver(_LU):
    """LU factorization with partial pivoting, and solutions with it."""

    functions: ClassVar[dict[str, str]] = {"factorize": "getrf_partial_pivot", "solve": "getrs_partial_pivot"}

    @property
    def ipiv_shape(self) -> tuple[int, ...]:
        """(batches, pivots)."""
        return self._batched("ipiv")

    @property
    def ipiv_strides(self) -> tuple[int, int]:
        """Elements between the batches and the entries of ipiv."""
        return self.ipiv_shape[1], 1

    @property
    def ipiv_size(self) -> int:
        """Elements of all ipiv of a block."""
        return self.ipiv_shape[0] * self.ipiv_shape[1]

    def factorize(self, a: Any, ipiv: Any, info: Any, lda: Any = None) -> None:
        """A ← L and U, ipiv ← the rows exchanged, from 1; info is 0, or the number of the first pivot that is zero."""
        self._call("factorize", a, ipiv, info, lda=lda)

    def solve(self, a: Any, ipiv: Any, b: Any, lda: Any = None, ldb: Any = None) -> None:
        """B ← A⁻¹ B, by the factors in A."""
        self._call("solve", a, ipiv, b, lda=lda, ldb=ldb)


class _Factorize(_HasTau):
    def __init__(self, size: Any, precision: Any, execution: str, *, sm: Any = None, arrangement: Any = None,
                 batches_per_block: int | str | None = None, data_type: str | None = None,
                 leading_dimension: int | None = None, block_dim: Any = None):  # fmt: skip
        self._make(size=size, precision=precision, execution=execution, sm=sm, arrangement=arrangement,
                   batches_per_block=batches_per_block, data_type=data_type, leading_dimensions=leading_dimension,
                   block_dim=block_dim)  # fmt: skip

    @property
    def leading_dimension(self) -> int:
        """Of A."""
        return self.leading_dimensions[0]

    def factorize(self, a: Any, tau: Any, lda: Any = None) -> None:
        """A ← the factors, Q as reflectors that `tau` completes."""
        self._call("factorize", a, tau, lda=lda)


class QRFactorize(_Factorize):
    """QR factorization."""

    functions: ClassVar[dict[str, str]] = {"factorize": "geqrf"}


class LQFactorize(_Factorize):
    """LQ factorization."""

    functions: ClassVar[dict[str, str]] = {"factorize": "gelqf"}


class _Multiply(_HasTau):
    def __init__(self, size: Any, precision: Any, execution: str, side: str, *, sm: Any = None,
                 transpose_mode: str = "non_transposed", arrangement: Any = None,
                 batches_per_block: int | str | None = None, data_type: str | None = None,
                 leading_dimensions: Any = None, block_dim: Any = None):  # fmt: skip
        self.side, self.transpose_mode = side, transpose_mode
        self._make(size=size, precision=precision, execution=execution, side=side, transpose_mode=transpose_mode, sm=sm,
                   arrangement=arrangement, batches_per_block=batches_per_block, data_type=data_type,
                   leading_dimensions=leading_dimensions, block_dim=block_dim)  # fmt: skip

    @property
    def c_shape(self) -> tuple[int, ...]:
        """(batches, rows, columns) of C."""
        return self._batched("c")

    def c_strides(self, *, ldc: int | None = None) -> tuple[int, int, int]:
        """Elements between the batches, rows and columns of C."""
        return self._strides("c", ldc)

    def c_size(self, *, ldc: int | None = None) -> int:
        """Elements of all C of a block."""
        return self._size("c", ldc)

    def multiply(self, a: Any, tau: Any, c: Any, lda: Any = None, ldc: Any = None) -> None:
        """C ← Q C or C Q, by the reflectors in A."""
        self._call("multiply", a, tau, c, lda=lda, ldc=ldc)


class QRMultiply(_Multiply):
    """Products with Q of a QR factorization."""

    functions: ClassVar[dict[str, str]] = {"multiply": "unmqr"}


class LQMultiply(_Multiply):
    """Products with Q of an LQ factorization."""

    functions: ClassVar[dict[str, str]] = {"multiply": "unmlq"}


class LeastSquaresSolver(_HasTau):
    """Least squares, or least norms: X of min ‖B - A X‖. B and X share a buffer of max(M, N) rows."""

    functions: ClassVar[dict[str, str]] = {"solve": "gels"}

    def __init__(self, size: Any, precision: Any, execution: str, *, sm: Any = None,
                 transpose_mode: str = "non_transposed", arrangement: Any = None,
                 batches_per_block: int | str | None = None, data_type: str | None = None,
                 leading_dimensions: Any = None, block_dim: Any = None):  # fmt: skip
        self.transpose_mode = transpose_mode
        self._make(size=size, precision=precision, execution=execution, transpose_mode=transpose_mode, sm=sm,
                   arrangement=arrangement, batches_per_block=batches_per_block, data_type=data_type,
                   leading_dimensions=leading_dimensions, block_dim=block_dim)  # fmt: skip

    @property
    def b_shape(self) -> tuple[int, ...]:
        """(batches, rows, columns) of B."""
        rows = self.m if self.transpose_mode == "non_transposed" else self.n
        return (self.batches_per_block, rows, self.k)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """(batches, rows, columns) of X."""
        rows = self.n if self.transpose_mode == "non_transposed" else self.m
        return (self.batches_per_block, rows, self.k)

    def bx_strides(self, *, ldb: int | None = None) -> tuple[int, int, int]:
        """Elements between the batches, rows and columns of the buffer of B and X."""
        return self._strides("b", ldb)

    def bx_size(self, *, ldb: int | None = None) -> int:
        """Elements of all buffers of a block."""
        return self._size("b", ldb)

    def solve(self, a: Any, tau: Any, b: Any, lda: Any = None, ldb: Any = None) -> None:
        """The buffer B ← X; A ← its factors."""
        self._call("solve", a, tau, b, lda=lda, ldb=ldb)


class TriangularSolver(_HasB):
    """Solutions of triangular systems."""

    functions: ClassVar[dict[str, str]] = {"solve": "trsm"}

    def __init__(self, size: Any, precision: Any, execution: str, side: str, fill_mode: str, diag: str,
                 transpose_mode: str = "non_transposed", *, sm: Any = None, arrangement: Any = None,
                 batches_per_block: int | str | None = None, data_type: str | None = None,
                 leading_dimensions: Any = None, block_dim: Any = None):  # fmt: skip
        self.side, self.fill_mode, self.diag, self.transpose_mode = side, fill_mode, diag, transpose_mode
        self._make(size=size, precision=precision, execution=execution, side=side, fill_mode=fill_mode, diag=diag,
                   transpose_mode=transpose_mode, sm=sm, arrangement=arrangement, batches_per_block=batches_per_block,
                   data_type=data_type, leading_dimensions=leading_dimensions, block_dim=block_dim)  # fmt: skip

    def solve(self, a: Any, b: Any, lda: Any = None, ldb: Any = None) -> None:
        """B ← A⁻¹ B, or B A⁻¹ for ``side='right'``."""
        self._call("solve", a, b, lda=lda, ldb=ldb)


for _class in (CholeskySolver, LUSolver, LUPivotSolver, QRFactorize, LQFactorize, QRMultiply, LQMultiply,
               LeastSquaresSolver, TriangularSolver):  # fmt: skip
    _own = {
        CholeskySolver: "    fill_mode : {'upper', 'lower'}\n",
        TriangularSolver: "    side : {'left', 'right'}\n    fill_mode : {'upper', 'lower'}\n"
        "    diag : {'unit', 'non_unit'}\n    transpose_mode : str, default: 'non_transposed'\n",
    }.get(_class, "    side : {'left', 'right'}\n" if issubclass(_class, _Multiply) else "")
    _class.__doc__ = f"{_class.__doc__}\n{_PARAMETERS.format(own=_own)}"
