"""Conversions of matrices by rows to the other usual formats (rows.h)."""

import numpy as np

cimport numpy as cnp

from libc.stdint cimport int64_t, intptr_t, uint64_t

from planmath.native.team import SHARE

cdef extern from "rows.h":
    void pm_set_share(intptr_t address)
    ctypedef struct pm_rows:
        const void *pos
        const void *crd
        const void *val
        void *starts
        void *indices
        void *moved
        int64_t rows, columns, m, n, shift, by_rows
        const int64_t *first
        uint64_t mask
        int64_t zero, parts, threads
        void *room
    ctypedef void (*pm_conversion)(pm_rows *) noexcept nogil
    const pm_conversion pm_zeros[5]
    const pm_conversion pm_list[2]
    const pm_conversion pm_count_blocks[2]
    const pm_conversion pm_mark_diagonals[2]
    const pm_conversion pm_columns[2][5]
    const pm_conversion pm_blocks[2][5]
    const pm_conversion pm_diagonals[2][5]

cnp.import_array()
pm_set_share(SHARE)

#: Parts for each thread: processors that are shared are not equally fast.
PARTS = 4


cdef inline void *address(cnp.ndarray array):
    return cnp.PyArray_DATA(array)


cdef class Matrix:
    """A matrix by rows that is converted: its arrays, what of a value's bits is zero if it is, and the threads.

    `has_zero` says afterwards whether a value was zero.
    """

    cdef pm_rows w
    cdef bint wide
    cdef int size
    cdef object pos, crd, val
    cdef readonly tuple extents

    def __init__(self, extents, pos, crd, val, uint64_t mask, int64_t threads):
        self.extents = extents
        self.pos, self.crd, self.val = pos, crd, val
        self.wide, self.size = pos.dtype.itemsize == 8, (1, 2, 4, 8, 16).index(val.dtype.itemsize)
        self.w.pos, self.w.crd, self.w.val = address(pos), address(crd), address(val)
        self.w.rows, self.w.columns = extents
        self.w.m = self.w.n = 1
        self.w.mask, self.w.threads = mask, threads
        self.w.parts = PARTS * threads if threads > 1 else 1

    @property
    def has_zero(self):
        return self.w.zero != 0

    cdef run(self, pm_conversion conversion):
        with nogil:
            conversion(&self.w)

    def look_for_zeros(self):
        """Find out whether a value is zero."""
        cdef int64_t rows = self.w.rows
        self.w.rows = len(self.val)
        self.run(pm_zeros[self.size])
        self.w.rows = rows

    def to_columns(self, starts, indices, moved):
        """The same by columns, into arrays."""
        cdef int64_t parts = self.w.parts
        self.w.parts = self.w.threads  # each takes memory for all columns
        room = np.empty(self.w.parts * self.w.columns, self.pos.dtype)
        self.w.starts, self.w.indices, self.w.moved, self.w.room = (
            address(starts), address(indices), address(moved), address(room))
        self.run(pm_columns[self.wide][self.size])
        self.w.parts = parts

    def to_list(self, indices):
        """The row of each entry, into an array."""
        self.w.indices = address(indices)
        self.run(pm_list[self.wide])

    def count_blocks(self, m, n, starts):
        """Where the blocks of m rows and n columns of each row of blocks begin, into an array; how many there are."""
        self.w.m, self.w.n, self.w.shift = m, n, n.bit_length() - 1 if n & (n - 1) == 0 else -1
        room = self.marks()
        self.w.starts, self.w.room = address(starts), address(room)
        self.run(pm_count_blocks[self.wide])
        np.cumsum(starts, out=starts)
        return int(starts[-1])

    def to_blocks(self, starts, indices, moved):
        """Blocks that were counted, in order, into arrays, that of the values with zeros in it."""
        room = self.marks()
        self.w.starts, self.w.indices, self.w.moved, self.w.room = (
            address(starts), address(indices), address(moved), address(room))
        self.run(pm_blocks[self.wide][self.size])

    def marks(self):
        """Memory for each column of blocks, for each thread."""
        return np.full(self.w.threads * (self.w.columns // self.w.n + 1), -1, np.int64)

    def diagonals(self):
        """The diagonals that have entries, by numbers: the first is that of the last row."""
        room = np.zeros((self.w.threads, self.w.rows + self.w.columns - 1), np.uint8)
        self.w.room = address(room)
        self.run(pm_mark_diagonals[self.wide])
        return np.nonzero(room.any(axis=0))[0]

    def to_diagonals(self, first, by_rows, moved):
        """Diagonals by their rows or by their columns, into an array with zeros in it; where each number's begins."""
        self.w.first, self.w.by_rows, self.w.moved = <const int64_t *>address(first), by_rows, address(moved)
        self.run(pm_diagonals[self.wide][self.size])
