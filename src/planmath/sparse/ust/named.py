"""The formats that have names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from planmath.sparse.ust.expressions import Dimension
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat, LevelProperty

_D, _C, _S, _R = LevelFormat.DENSE, LevelFormat.COMPRESSED, LevelFormat.SINGLETON, LevelFormat.RANGE
#: Compressed, with coordinates that may come twice.
_CN = (LevelFormat.COMPRESSED, LevelProperty.NONUNIQUE)

_LETTERS = "ijklmnopqrstuvwxyzabcdefgh"


def dimensions(count: int) -> list[Dimension]:
    """New dimensions, named i, j, k, and so on."""
    return [
        Dimension(dimension_name=_LETTERS[n] if n < len(_LETTERS) else f"d{n}") for n in range(count)
    ]


def _count(name: str, value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected an int of at least {least}")
    return value


def _sizes(blocksize: Any, count: int) -> tuple[int, ...]:
    if not isinstance(blocksize, list | tuple) or len(blocksize) != count:
        raise ValueError(f"blocksize is {blocksize!r}; expected {count} positive ints")
    return tuple(_count("blocksize", size, 1) for size in blocksize)


def _suffix(batch_dim: int, dense_dim: int) -> str:
    """What names say of leading batch and trailing dense dimensions."""
    return (f"-b{batch_dim}" if batch_dim else "") + (f"-d{dense_dim}" if dense_dim else "")


def _around(batch_dim: int, inner: int, dense_dim: int) -> tuple[list[Dimension], list[Dimension], Any, Any]:
    """All dimensions, the inner ones, and the levels before and behind those."""
    _count("batch_dim", batch_dim)
    _count("dense_dim", dense_dim)
    every = dimensions(batch_dim + inner + dense_dim)
    middle = every[batch_dim : batch_dim + inner]
    return every, middle, dict.fromkeys(every[:batch_dim], LevelFormat.BATCH), dict.fromkeys(
        every[batch_dim + inner :], _D
    )  # fmt: skip


def _blocks(i: Any, j: Any, m: int, n: int, by_rows: bool, row_blocks: bool) -> dict[Any, Any]:
    outer = {i // m: _D, j // n: _C} if row_blocks else {j // n: _D, i // m: _C}
    inner = {i % m: _D, j % n: _D} if by_rows else {j % n: _D, i % m: _D}
    return {**outer, **inner}


class NamedFormats:
    """The formats that have names: fixed ones, and builders of families.

    Examples
    --------
    >>> print(NamedFormats.CSR)
    [i, j] -> (i: <LevelFormat.DENSE>, j: <LevelFormat.COMPRESSED>)
    >>> NamedFormats.BSRRight((2, 3)).name, NamedFormats.COOd(3).name
    ('BSRRight2x3', 'COO3')
    """

    i = Dimension(dimension_name="i")
    j = Dimension(dimension_name="j")
    k = Dimension(dimension_name="k")
    b = Dimension(dimension_name="batch")

    Scalar = TensorFormat([], {}, name="Scalar")
    DenseVector = TensorFormat([i], {i: _D}, name="DenseVector")
    SparseVector = TensorFormat([i], {i: _C}, name="SparseVector")
    DenseMatrixRight = TensorFormat([i, j], {i: _D, j: _D}, name="DenseMatrixRight")
    DenseMatrixLeft = TensorFormat([i, j], {j: _D, i: _D}, name="DenseMatrixLeft")
    COO = TensorFormat([i, j], {i: _CN, j: _S}, name="COO")
    CSR = TensorFormat([i, j], {i: _D, j: _C}, name="CSR")
    CSC = TensorFormat([i, j], {j: _D, i: _C}, name="CSC")
    DCSR = TensorFormat([i, j], {i: _C, j: _C}, name="DCSR")
    DCSC = TensorFormat([i, j], {j: _C, i: _C}, name="DCSC")
    CROW = TensorFormat([i, j], {i: _C, j: _D}, name="CROW")
    CCOL = TensorFormat([i, j], {j: _C, i: _D}, name="CCOL")
    DIAI = TensorFormat([i, j], {j - i: _C, i: _R}, name="DIAI")
    DIAJ = TensorFormat([i, j], {j - i: _C, j: _R}, name="DIAJ")
    SkewDIAI = TensorFormat([i, j], {i + j: _C, i: _R}, name="SkewDIAI")
    SkewDIAJ = TensorFormat([i, j], {i + j: _C, j: _R}, name="SkewDIAJ")
    BatchedCSR = TensorFormat([b, i, j], {b: _D, i: _D, j: _C}, name="BatchedCSR")
    BatchedDIAINonUniform = TensorFormat([b, i, j], {b: _D, j - i: _C, i: _R}, name="BatchedDIAINonUniform")
    BatchedDIAIUniform = TensorFormat([b, i, j], {j - i: _C, b: _D, i: _R}, name="BatchedDIAIUniform")

    @staticmethod
    def BlockVector(blocksize: int) -> TensorFormat:
        """A vector of blocks of `blocksize` elements."""
        m = _count("blocksize", blocksize, 1)
        (i,) = dimensions(1)
        return TensorFormat([i], {i // m: _C, i % m: _D}, name=f"BlockVector{m}")

    @staticmethod
    def BSRRight(blocksize: Sequence[int]) -> TensorFormat:
        """A matrix of blocks (m, n), compressed by rows of blocks; blocks by rows."""
        return _block_format(blocksize, True, True, "BSRRight")

    @staticmethod
    def BSRLeft(blocksize: Sequence[int]) -> TensorFormat:
        """A matrix of blocks (m, n), compressed by rows of blocks; blocks by columns."""
        return _block_format(blocksize, False, True, "BSRLeft")

    @staticmethod
    def BSCRight(blocksize: Sequence[int]) -> TensorFormat:
        """A matrix of blocks (m, n), compressed by columns of blocks; blocks by rows."""
        return _block_format(blocksize, True, False, "BSCRow")

    @staticmethod
    def BSCLeft(blocksize: Sequence[int]) -> TensorFormat:
        """A matrix of blocks (m, n), compressed by columns of blocks; blocks by columns."""
        return _block_format(blocksize, False, False, "BSCCol")

    @staticmethod
    def BSR3(blocksize: Sequence[int]) -> TensorFormat:
        """A tensor of three dimensions in blocks (m, n, o)."""
        m, n, o = _sizes(blocksize, 3)
        i, j, k = dimensions(3)
        levels = {i // m: _D, j // n: _C, k // o: _C, i % m: _D, j % n: _D, k % o: _D}
        return TensorFormat([i, j, k], levels, name=f"BSR3{m}x{n}x{o}")

    @staticmethod
    def DELTA(delta: int) -> TensorFormat:
        """A matrix by rows, with the distances of entries in `delta` bits."""
        bits = _count("delta", delta, 1)
        i, j = dimensions(2)
        return TensorFormat([i, j], {i: _D, j: (LevelFormat.DELTA, bits)}, name=f"Delta{bits}")

    @staticmethod
    def Structured(N: int, M: int) -> TensorFormat:
        """A matrix with exactly `N` entries in each strip of `M` columns of a row."""
        if _count("M", M, 1) < _count("N", N, 1):
            raise ValueError(f"N is {N} and M is {M}; expected at most {M} entries in a strip of {M}")
        i, j = dimensions(2)
        levels = {i: _D, j // M: _D, j % M: (LevelFormat.STRUCTURED, N)}
        return TensorFormat([i, j], levels, name=f"Structured{N}:{M}")

    @staticmethod
    def DensedRight(dim: int) -> TensorFormat:
        """A dense tensor of `dim` dimensions, the last one contiguous."""
        every = dimensions(_count("dim", dim))
        return TensorFormat(every, dict.fromkeys(every, _D), name=f"Dense{dim}Right")

    @staticmethod
    def DensedLeft(dim: int) -> TensorFormat:
        """A dense tensor of `dim` dimensions, the first one contiguous."""
        every = dimensions(_count("dim", dim))
        return TensorFormat(every, dict.fromkeys(reversed(every), _D), name=f"Dense{dim}Left")

    @staticmethod
    def COOd(sparse_dim: int, dense_dim: int = 0) -> TensorFormat:
        """A list of coordinates of `sparse_dim` dimensions, each with a dense tensor of `dense_dim` dimensions."""
        _count("sparse_dim", sparse_dim, 1)
        every = dimensions(sparse_dim + _count("dense_dim", dense_dim))
        first = {every[0]: _C if sparse_dim == 1 else _CN}
        levels = {**first, **dict.fromkeys(every[1:sparse_dim], _S), **dict.fromkeys(every[sparse_dim:], _D)}
        name = None if dense_dim else "COO" if sparse_dim == 2 else f"COO{sparse_dim}"
        return TensorFormat(every, levels, name=name)

    @staticmethod
    def CSRd(batch_dim: int = 0, dense_dim: int = 0) -> TensorFormat:
        """Matrices by rows, with leading batch dimensions and dense tensors as elements."""
        every, (i, j), before, behind = _around(batch_dim, 2, dense_dim)
        return TensorFormat(every, {**before, i: _D, j: _C, **behind}, name="CSR" + _suffix(batch_dim, dense_dim))

    @staticmethod
    def CSCd(batch_dim: int = 0, dense_dim: int = 0) -> TensorFormat:
        """Matrices by columns, with leading batch dimensions and dense tensors as elements."""
        every, (i, j), before, behind = _around(batch_dim, 2, dense_dim)
        return TensorFormat(every, {**before, j: _D, i: _C, **behind}, name="CSC" + _suffix(batch_dim, dense_dim))

    @staticmethod
    def BSRRightd(blocksize: Sequence[int], batch_dim: int = 0, dense_dim: int = 0) -> TensorFormat:
        """`BSRRight` with leading batch dimensions and dense tensors as elements."""
        return _block_format(blocksize, True, True, "BSRRight", batch_dim, dense_dim)

    @staticmethod
    def BSCRightd(blocksize: Sequence[int], batch_dim: int = 0, dense_dim: int = 0) -> TensorFormat:
        """`BSCRight` with leading batch dimensions and dense tensors as elements."""
        return _block_format(blocksize, True, False, "BSCRight", batch_dim, dense_dim)

    @staticmethod
    def CSFd(dim: int) -> TensorFormat:
        """A tensor with all `dim` dimensions compressed."""
        every = dimensions(_count("dim", dim, 1))
        return TensorFormat(every, dict.fromkeys(every, _C), name=f"CSF{dim}")


def _block_format(
    blocksize: Any, by_rows: bool, row_blocks: bool, name: str, batch_dim: int = 0, dense_dim: int = 0
) -> TensorFormat:
    m, n = _sizes(blocksize, 2)
    every, (i, j), before, behind = _around(batch_dim, 2, dense_dim)
    levels = {**before, **_blocks(i, j, m, n, by_rows, row_blocks), **behind}
    return TensorFormat(every, levels, name=f"{name}{m}x{n}{_suffix(batch_dim, dense_dim)}")


def dense_format(order: Iterable[int]) -> TensorFormat:
    """The format of a dense array whose axes, the slowest first, are these."""
    axes = tuple(order)
    names = {(): "Scalar", (0,): "DenseVector", (0, 1): "DensedRight", (1, 0): "DensedLeft"}
    every = dimensions(len(axes))
    name = names.get(axes) or f"Dense{len(axes)}D-" + "-".join(map(str, axes))
    return TensorFormat(every, {every[axis]: _D for axis in axes}, name=name)
