"""Factorizations by blocks (block_order.h, block_lu.h), for prepared calls: what they work on, and what they found."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, intptr_t

import numpy as np

cnp.import_array()

cdef extern from "block_order.h":
    enum: PM_BLOCKS, PM_MATCHED, PM_FILL, PM_OPERATIONS, PM_ORDER_FACTS
    enum: PM_UNMATCHED, PM_ORDER_NO_MEMORY
    enum: PM_UNORDERED, PM_BY_DIAGONAL, PM_BY_COLUMNS
    intptr_t pm_block_order(intptr_t n, intptr_t wanted, intptr_t known, const int32_t *starts, const int32_t *columns,
                            int32_t *order, int32_t *diagonal, int32_t *first, double *facts) nogil

cdef extern from "block_lu.h":
    enum: PM_FACTORIZED, PM_SINGULAR, PM_NO_MEMORY, PM_FILLED
    ctypedef struct pm_columns:
        int64_t *starts
    ctypedef struct pm_lu:
        int32_t n, status, place, complete
        int64_t most
        double threshold
        int32_t *column
        pm_columns lower, upper, outside
        void *pivots
    pm_lu *pm_lu_new(int32_t n, size_t size, const int32_t *starts, const int32_t *columns, const int32_t *order,
                     const int32_t *diagonal, const int32_t *first, int32_t blocks, double expected)
    void pm_lu_free(pm_lu *lu)
    void *pm_lu_factorize_f32
    void *pm_lu_factorize_f64
    void *pm_lu_factorize_c64
    void *pm_lu_factorize_c128
    intptr_t pm_lu_weak_f32(int32_t, const int32_t *, const int32_t *, const int32_t *, const int32_t *, double, void *)
    intptr_t pm_lu_weak_f64(int32_t, const int32_t *, const int32_t *, const int32_t *, const int32_t *, double, void *)
    intptr_t pm_lu_weak_c64(int32_t, const int32_t *, const int32_t *, const int32_t *, const int32_t *, double, void *)
    intptr_t pm_lu_weak_c128(int32_t, const int32_t *, const int32_t *, const int32_t *, const int32_t *, double, void *)
    void *pm_lu_solve_f32
    void *pm_lu_solve_f64
    void *pm_lu_solve_c64
    void *pm_lu_solve_c128

UNORDERED, BY_DIAGONAL, BY_COLUMNS = PM_UNORDERED, PM_BY_DIAGONAL, PM_BY_COLUMNS
FACTORIZED, SINGULAR, NO_MEMORY, FILLED = PM_FACTORIZED, PM_SINGULAR, PM_NO_MEMORY, PM_FILLED

#: dtype -> f(lu, values), which returns the status
FACTORIZE = {
    "float32": <intptr_t>&pm_lu_factorize_f32, "float64": <intptr_t>&pm_lu_factorize_f64,
    "complex64": <intptr_t>&pm_lu_factorize_c64, "complex128": <intptr_t>&pm_lu_factorize_c128,
}
#: dtype -> f(lu, columns, b, x)
SOLVE = {
    "float32": <intptr_t>&pm_lu_solve_f32, "float64": <intptr_t>&pm_lu_solve_f64,
    "complex64": <intptr_t>&pm_lu_solve_c64, "complex128": <intptr_t>&pm_lu_solve_c128,
}


cdef class BlockOrder:
    """The order in which a pattern is eliminated by blocks.

    Parameters
    ----------
    starts, columns : numpy.ndarray of int32, dense
        Those of a pattern that was checked.
    wanted : int
        `BY_DIAGONAL` for an order for the pivots on the diagonal, `BY_COLUMNS` for whatever pivots the values will ask
        for, `UNORDERED` for the blocks alone.
    blocks : BlockOrder, optional
        One of the same pattern, whose blocks are taken.

    Attributes
    ----------
    order : numpy.ndarray of shape (n,), int32
        Entry k is the row that comes k-th, unless pivoting exchanges columns.
    diagonal : numpy.ndarray of shape (n,), int32
        The column that is eliminated with it.
    blocks, largest : int
        How many blocks there are, and the rows of the largest one.
    matched : int
        How many rows could be matched with a column each: where that is not all, the matrix is singular, and there is
        no order.
    fill : float
        Entries of each factor of the blocks beside its diagonal, expected.
    operations : float
        Multiplications that make them.
    """

    cdef readonly cnp.ndarray starts, columns, order, diagonal, first
    cdef readonly int32_t n, blocks, matched, largest, wanted
    cdef readonly double fill, operations

    def __init__(self, cnp.ndarray starts not None, cnp.ndarray columns not None, int32_t wanted=PM_BY_DIAGONAL,
                 BlockOrder blocks=None):
        cdef Py_ssize_t n = len(starts) - 1
        cdef double facts[PM_ORDER_FACTS]
        cdef intptr_t status, known = 0 if blocks is None or blocks.matched < n else blocks.blocks
        if starts.dtype != np.int32 or columns.dtype != np.int32:
            raise TypeError("a pattern to be ordered needs indices of int32")
        self.n, self.starts, self.columns, self.wanted = n, starts, columns, wanted
        if known:
            self.order, self.diagonal, self.first = blocks.order.copy(), blocks.diagonal.copy(), blocks.first
        else:
            self.order, self.diagonal = np.empty(n, np.int32), np.empty(n, np.int32)
            self.first = np.empty(n + 1, np.int32)
        cdef int32_t *s = <int32_t *>cnp.PyArray_DATA(starts)
        cdef int32_t *c = <int32_t *>cnp.PyArray_DATA(columns)
        cdef int32_t *order = <int32_t *>cnp.PyArray_DATA(self.order)
        cdef int32_t *diagonal = <int32_t *>cnp.PyArray_DATA(self.diagonal)
        cdef int32_t *first = <int32_t *>cnp.PyArray_DATA(self.first)
        with nogil:
            status = pm_block_order(n, wanted, known, s, c, order, diagonal, first, facts)
        if status == PM_ORDER_NO_MEMORY:
            raise MemoryError(f"no memory to order a matrix of {n} rows and {len(columns)} entries")
        self.matched = <int32_t>facts[PM_MATCHED]
        if status == PM_UNMATCHED:
            return
        self.blocks, self.fill, self.operations = <int32_t>facts[PM_BLOCKS], facts[PM_FILL], facts[PM_OPERATIONS]
        for i in range(self.blocks):
            self.largest = max(self.largest, first[i + 1] - first[i])


def weak(cnp.ndarray starts not None, cnp.ndarray columns not None, BlockOrder of, str dtype not None, intptr_t values,
         double threshold):
    """How many rows of the values at an address have an entry on the diagonal of an order, or without one on their own,
    that is less than this part of the largest one."""
    cdef int32_t n = <int32_t>(len(starts) - 1)
    cdef int32_t *s = <int32_t *>cnp.PyArray_DATA(starts)
    cdef int32_t *c = <int32_t *>cnp.PyArray_DATA(columns)
    cdef int32_t *order = NULL if of is None else <int32_t *>cnp.PyArray_DATA(of.order)
    cdef int32_t *diagonal = NULL if of is None else <int32_t *>cnp.PyArray_DATA(of.diagonal)
    cdef void *at = <void *>values
    if starts.dtype != np.int32 or columns.dtype != np.int32:
        raise TypeError("a pattern to be looked at needs indices of int32")
    if dtype == "float64":
        return pm_lu_weak_f64(n, s, c, order, diagonal, threshold, at)
    if dtype == "float32":
        return pm_lu_weak_f32(n, s, c, order, diagonal, threshold, at)
    if dtype == "complex128":
        return pm_lu_weak_c128(n, s, c, order, diagonal, threshold, at)
    return pm_lu_weak_c64(n, s, c, order, diagonal, threshold, at)


cdef class BlockLU:
    """One matrix's factorization by blocks.

    Parameters
    ----------
    order : BlockOrder
    dtype : str
    """

    cdef pm_lu *lu
    cdef readonly BlockOrder of
    cdef readonly str dtype

    def __init__(self, BlockOrder of not None, str dtype not None):
        cdef int32_t *order = <int32_t *>cnp.PyArray_DATA(of.order)
        if self.lu != NULL:
            raise RuntimeError("it has been initialized")
        if of.matched < of.n:
            raise ValueError("it has no order")
        self.of, self.dtype = of, dtype
        self.lu = pm_lu_new(
            of.n, np.dtype(dtype).itemsize, <int32_t *>cnp.PyArray_DATA(of.starts),
            <int32_t *>cnp.PyArray_DATA(of.columns), order, <int32_t *>cnp.PyArray_DATA(of.diagonal),
            <int32_t *>cnp.PyArray_DATA(of.first), of.blocks, of.fill,
        )
        if self.lu == NULL:
            raise MemoryError(f"no memory for the factors of a matrix of {of.n} rows")

    def __dealloc__(self):
        pm_lu_free(self.lu)

    @property
    def address(self):
        return <intptr_t>self.lu

    @property
    def status(self):
        """How the last factorization ended."""
        return self.lu.status

    @property
    def row(self):
        """The row whose pivot was zero."""
        return self.lu.place

    @property
    def threshold(self):
        """How large a pivot on the diagonal has to be, as a part of the largest entry of its row."""
        return self.lu.threshold

    @threshold.setter
    def threshold(self, double value):
        self.lu.threshold, self.lu.complete = value, False

    @property
    def most(self):
        """Entries of a factor beside its diagonal above which the factorization ends."""
        return self.lu.most

    @most.setter
    def most(self, int64_t value):
        self.lu.most = value

    @property
    def nonzeros(self):
        """Entries of the factors, and of what lies outside of the blocks."""
        cdef int32_t n = self.lu.n
        return n + self.lu.lower.starts[n] + self.lu.upper.starts[n] + self.lu.outside.starts[n]

    @property
    def column_order(self):
        """Entry k is the column that was eliminated k-th."""
        return np.array(<int32_t[:self.lu.n]>self.lu.column)

    @property
    def pivots(self):
        """The pivots, in the order of elimination."""
        cdef Py_ssize_t size = np.dtype(self.dtype).itemsize * self.lu.n
        return np.frombuffer((<char *>self.lu.pivots)[:size], self.dtype)
