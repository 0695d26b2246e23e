"""What matrices are: found out by one pass over them, and what they are as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided

import planmath.linalg.solver.kernels as kernels
from planmath.linalg.solver.problem import BANDS, DenseProblem, Form, LinearSystem
from planmath.native.call import invoke

#: Diagonals beside the main one, in parts of n, up to which banded routines are expected to be the fastest.
BAND_PART = 8


def detected(problem: DenseProblem, a: Sequence[np.ndarray], definite: bool = True) -> Form:
    """What the matrices are taken for, all of them: the special form of least work that they all have.

    Parameters
    ----------
    problem : DenseProblem
    a : sequence of numpy.ndarray
        The user's arrays.
    definite : bool
        Whether matrices with a positive diagonal may be positive definite.
    """
    facts = np.zeros(kernels.FACTS, np.int64)
    facts[[kernels.IS_SYMMETRIC, kernels.IS_HERMITIAN, kernels.IS_POSITIVE]] = 1
    n = 1
    for system in problem.systems:
        if system.a.rows != system.a.cols:
            return Form("ls")
        n = max(n, system.a.rows)
        for index in range(system.factorizations):
            start = address_of(system, index, a)
            invoke(kernels.DETECT[system.a.dtype], system.a.rows, system.a.row, system.a.col, start, facts.ctypes.data)
    return form_of_facts(
        problem.dtype, n, int(facts[kernels.LOWER_BANDWIDTH]), int(facts[kernels.UPPER_BANDWIDTH]),
        bool(facts[kernels.IS_SYMMETRIC]), bool(facts[kernels.IS_HERMITIAN]),
        definite and bool(facts[kernels.IS_POSITIVE]),
    )  # fmt: skip


def form_of_facts(
    dtype: str, n: int, below: int, above: int, symmetric: bool, hermitian: bool, positive: bool, bands: bool = True
) -> Form:
    """What matrices are taken for of which this is known.

    Parameters
    ----------
    dtype : str
    n : int
        Rows of the largest.
    below, above : int
        Diagonals that are not zero below the main one, and above it.
    symmetric, hermitian : bool
    positive : bool
        Whether the diagonal is, so that they may be positive definite.
    bands : bool
        Whether narrow bands make a difference.
    """
    definite = hermitian and positive
    if not below and not above:
        return Form("dg")
    if not below or not above:
        return Form("tr", upper=not below)
    if bands and max(below, above) == 1 and n > 2:
        return Form("pb", below=1) if definite else Form("gt", below=1, above=1)
    if bands and BAND_PART * (below + above) <= n:
        return Form("pb", below=below) if definite else Form("gb", below=below, above=above)
    if hermitian:
        return Form("po" if definite else "he" if dtype.startswith("complex") else "sy")
    return Form("sy" if symmetric else "ge")


def address_of(system: LinearSystem, index: int, a: Sequence[np.ndarray]) -> int:
    """Where the first element of one matrix is."""
    number, start = system.places[0]
    at = np.unravel_index(index, system.matrices) if system.matrices else ()
    start += sum(int(i) * step for i, step in zip(at, system.a.batch, strict=True))
    array = a[number]
    return array.__array_interface__["data"][0] + start * array.itemsize


def elements(system: LinearSystem, form: Form, index: int, a: Sequence[np.ndarray]) -> np.ndarray:
    """All elements of one matrix that is taken for something, as a new array; those that are not read are zero."""
    m, (number, _) = system.a, system.places[0]
    itemsize = a[number].itemsize
    start = address_of(system, index, a)
    below, above = form.reach(m.rows, m.cols)
    found = np.zeros((m.rows, m.cols), m.dtype)
    if form.kind in (*BANDS, "dg"):
        for d in range(-below, above + 1):
            length = min(m.rows, m.cols - d) if d >= 0 else min(m.rows + d, m.cols)
            first = start + (d * m.col if d >= 0 else -d * m.row) * itemsize
            values = memory_at(first, (length,), ((m.row + m.col) * itemsize,), a[number])
            i = np.arange(length)
            found[i + max(-d, 0), i + max(d, 0)] = values
    else:
        found[...] = memory_at(start, (m.rows, m.cols), (m.row * itemsize, m.col * itemsize), a[number])
        if form.kind in ("po", "sy", "he", "tr"):
            found = np.triu(found) if form.upper else np.tril(found)
    if form.unit:
        np.fill_diagonal(found, 1)
    return found


def whole(found: np.ndarray, form: Form) -> np.ndarray:
    """The matrix whose elements are read so."""
    if form.kind not in ("po", "sy", "he", "pb"):
        return found
    strict = np.triu(found, 1) if form.upper else np.tril(found, -1)
    diagonal = np.diagonal(found)
    if form.kind == "sy":
        return strict + strict.T + np.diag(diagonal)
    return strict + strict.conj().T + np.diag(diagonal.real).astype(found.dtype)


def memory_at(
    address: int, shape: tuple[int, ...], strides: tuple[int, ...], owner: np.ndarray, writeable: bool = False
) -> np.ndarray:  # fmt: skip
    """Elements of an array by where they are; strides in bytes."""
    holder = np.asarray(_Addressed(address, owner, writeable)).view(owner.dtype)
    return as_strided(holder, shape, strides, writeable=writeable)


def copied(array: np.ndarray) -> np.ndarray:
    """A copy with the same strides, and with what is between the elements."""
    low, high = byte_bounds(array)
    memory = np.empty(high - low, np.uint8)
    start = array.__array_interface__["data"][0] - low
    memory[...] = memory_at(low, memory.shape, (1,), np.empty(0, np.uint8))
    return np.ndarray(array.shape, array.dtype, memory, start, array.strides)


class _Addressed:
    """The first element of memory at an address, for NumPy."""

    def __init__(self, address: int, owner: np.ndarray, writeable: bool):
        self.owner = owner
        self.__array_interface__ = {
            "shape": (owner.itemsize,), "typestr": "|u1", "data": (address, not writeable), "version": 3,
        }  # fmt: skip
