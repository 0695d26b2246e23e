# cython: boundscheck=False, wraparound=False, cdivision=True
"""Conversions of matrices by rows to the other usual formats: each a few passes over index arrays and values.

Values are moved as bits, whatever they are.
"""

cimport cython

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

ctypedef fused index:
    int32_t
    int64_t

ctypedef fused bits:
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    double complex


def as_bits(values):
    """Values as something that the functions of this module take."""
    return values.view({1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}[values.dtype.itemsize])


def has_zero(const bits[::1] val, uint64_t mask):
    """Whether a value is zero in the bits of the mask; of complex numbers whether one is zero, whatever the mask."""
    cdef int64_t q
    cdef bits x, tops = 0
    cdef bint found = False
    with nogil:
        if bits is cython.doublecomplex:
            for q in range(val.shape[0]):
                found = found | (val[q] == 0)
        else:
            for q in range(val.shape[0]):  # the highest bit of x - 1 is set and that of x is not: of zero alone
                x = val[q] & <bits>mask
                tops = tops | (<bits>(x - 1) & <bits>~x)
            found = tops >> (8 * sizeof(bits) - 1) != 0
    return found


cdef inline int64_t quotient(int64_t x, int64_t n, int64_t shift) noexcept nogil:
    """x // n, where n is 1 << shift, or the shift -1."""
    return x >> shift if shift >= 0 else x // n


def _shift(n):
    return n.bit_length() - 1 if n & (n - 1) == 0 else -1


def to_columns(const index[::1] pos, const index[::1] crd, const bits[::1] val, int64_t columns,
               index[::1] starts, index[::1] rows, bits[::1] moved):
    """The same by columns.

    Parameters
    ----------
    pos, crd, val : array
    columns : int
    starts, rows, moved : array
        To be filled: `starts` with zeros in it.
    """
    cdef int64_t i, q, at, n = pos.shape[0] - 1
    with nogil:
        for q in range(crd.shape[0]):
            starts[crd[q] + 1] += 1
        for i in range(columns):
            starts[i + 1] += starts[i]
        for i in range(n):
            for q in range(pos[i], pos[i + 1]):
                at = starts[crd[q]]
                rows[at] = <index>i
                moved[at] = val[q]
                starts[crd[q]] = <index>(at + 1)
        for i in range(columns, 0, -1):
            starts[i] = starts[i - 1]
        starts[0] = 0


def to_list(const index[::1] pos, index[::1] rows):
    """The row of each entry."""
    cdef int64_t i, q
    with nogil:
        for i in range(pos.shape[0] - 1):
            for q in range(pos[i], pos[i + 1]):
                rows[q] = <index>i


def count_blocks(const index[::1] pos, const index[::1] crd, int64_t columns, int64_t m, int64_t n, index[::1] starts):
    """Where the blocks of m rows and n columns of each row of blocks begin."""
    cdef int64_t i, q, block, count = 0, shift = _shift(n)
    cdef int64_t[::1] seen = np.full(columns // n + 1, -1, np.int64)
    cdef int64_t lines = (pos.shape[0] - 1) // m
    with nogil:
        for i in range(lines):
            for q in range(pos[i * m], pos[i * m + m]):
                block = quotient(crd[q], n, shift)
                if seen[block] != i:
                    seen[block] = i
                    count += 1
            starts[i + 1] = <index>count
    return count


def to_blocks(const index[::1] pos, const index[::1] crd, const bits[::1] val, int64_t columns, int64_t m, int64_t n,
              const index[::1] starts, index[::1] blocks, bits[::1] filled):
    """Blocks whose starts are known, in order, row by row; `filled` has zeros in it."""
    cdef int64_t i, j, r, q, block, count, at, shift = _shift(n)
    cdef int64_t[::1] place = np.full(columns // n + 1, -1, np.int64)
    cdef int64_t lines = (pos.shape[0] - 1) // m
    with nogil:
        for i in range(lines):
            count = starts[i]
            for q in range(pos[i * m], pos[i * m + m]):
                block = quotient(crd[q], n, shift)
                if place[block] < starts[i]:
                    place[block] = count
                    j = count
                    while j > starts[i] and blocks[j - 1] > block:  # mostly behind all others, or nearly
                        blocks[j] = blocks[j - 1]
                        j -= 1
                    blocks[j] = <index>block
                    count += 1
            for j in range(starts[i], count):
                place[blocks[j]] = j
            for r in range(m):
                for q in range(pos[i * m + r], pos[i * m + r + 1]):
                    block = quotient(crd[q], n, shift)
                    at = place[block] * m * n + r * n + (crd[q] - block * n)
                    filled[at] = val[q]


def mark_diagonals(const index[::1] pos, const index[::1] crd, uint8_t[::1] present):
    """Which diagonals have entries; the first is that of the last row."""
    cdef int64_t i, q, n = pos.shape[0] - 1
    with nogil:
        for i in range(n):
            for q in range(pos[i], pos[i + 1]):
                present[crd[q] - i + n - 1] = 1


def to_diagonals(const index[::1] pos, const index[::1] crd, const bits[::1] val, const int64_t[::1] first, bint by_rows,
                 bits[::1] filled):
    """Diagonals by their columns or by their rows; `first` says where that of each number begins."""
    cdef int64_t i, q, n = pos.shape[0] - 1
    with nogil:
        for i in range(n):
            for q in range(pos[i], pos[i + 1]):
                filled[first[crd[q] - i + n - 1] + (i if by_rows else crd[q])] = val[q]
