# cython: boundscheck=False, wraparound=False, cdivision=True
"""What planning a product of two sparse matrices needs: its pattern, and the place of each term in it."""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc, qsort, realloc

ctypedef fused index:
    int32_t
    int64_t

ctypedef fused offset:
    uint8_t
    uint16_t

cdef extern from *:
    """
    static inline int pm_lowest_bit(uint64_t x) { return __builtin_ctzll(x); }
    """
    int pm_lowest_bit(uint64_t x) nogil


def order_of(const int64_t[::1] keys, const int64_t[::1] starts):
    """The order of keys, those that are alike as they come.

    Parameters
    ----------
    keys : array of int64
    starts : array of int64
        How many keys are less than each number.
    """
    cdef int64_t i, k
    cdef int64_t[::1] place = np.array(starts), order = np.empty(keys.shape[0], np.int64)
    with nogil:
        for i in range(keys.shape[0]):
            k = keys[i]
            order[place[k]] = i
            place[k] += 1
    return np.asarray(order)


def products(const index[::1] pos_a, const index[::1] crd_a, const index[::1] pos_b):
    """How many multiplications a product takes."""
    cdef int64_t q, count = 0
    with nogil:
        for q in range(crd_a.shape[0]):
            count += pos_b[crd_a[q] + 1] - pos_b[crd_a[q]]
    return count


def part_starts(const index[::1] pos_a, const index[::1] crd_a, const index[::1] pos_b, int64_t parts):
    """Where parts of the rows begin that take about as many multiplications, and how many are before each."""
    cdef int64_t rows = pos_a.shape[0] - 1, i, q, count = 0, part = 1, total = 0
    cdef int64_t[::1] starts = np.full(parts + 1, rows), before = np.zeros(parts + 1, np.int64)
    with nogil:
        for q in range(crd_a.shape[0]):
            total += pos_b[crd_a[q] + 1] - pos_b[crd_a[q]]
        starts[0] = 0
        for i in range(rows):
            while part < parts and count + i >= (total + rows) * part // parts:
                starts[part] = i
                before[part] = count
                part += 1
            for q in range(pos_a[i], pos_a[i + 1]):
                count += pos_b[crd_a[q] + 1] - pos_b[crd_a[q]]
        while part <= parts:
            before[part] = count
            part += 1
    return np.asarray(starts), np.asarray(before)


cdef int ascending(const void *a, const void *b) noexcept nogil:
    cdef int64_t x = (<int64_t *>a)[0], y = (<int64_t *>b)[0]
    return (x > y) - (x < y)


cdef void sort(int64_t *columns, int64_t count, uint64_t *bits) noexcept nogil:
    """Sort different columns; all bits are zero, before and afterwards."""
    cdef int64_t i, j, x, low, high, at = 0
    cdef uint64_t word
    if count <= 24:
        for i in range(1, count):
            x = columns[i]
            j = i
            while j > 0 and columns[j - 1] > x:
                columns[j] = columns[j - 1]
                j -= 1
            columns[j] = x
        return
    low = high = columns[0] >> 6
    for i in range(count):
        x = columns[i] >> 6
        low, high = min(low, x), max(high, x)
    if high - low > 16 * count:
        qsort(columns, count, sizeof(int64_t), ascending)
        return
    for i in range(count):
        bits[columns[i] >> 6] |= (<uint64_t>1) << (columns[i] & 63)
    for i in range(low, high + 1):
        word = bits[i]
        bits[i] = 0
        while word:
            columns[at] = (i << 6) + pm_lowest_bit(word)
            word &= word - 1
            at += 1


def pattern(const index[::1] pos_a, const index[::1] crd_a, const index[::1] pos_b, const index[::1] crd_b,
            int64_t columns):
    """The rows of a product: where each begins, and its columns in ascending order.

    Returns
    -------
    pos : array of int64
    crd : array of the type of the indices
    """
    cdef int64_t rows = pos_a.shape[0] - 1, i, q, r, j, count, total = 0, room = 2 * (crd_a.shape[0] + crd_b.shape[0]) + 1024
    cdef int64_t[::1] pos = np.zeros(rows + 1, np.int64)
    cdef int64_t[::1] seen = np.full(columns, -1, np.int64), row = np.empty(max(columns, 1), np.int64)
    cdef uint64_t[::1] bits = np.zeros((columns >> 6) + 1, np.uint64)
    cdef index *found = <index *>malloc(room * sizeof(index))
    cdef index *more = found
    cdef index[::1] crd
    try:
        with nogil:
            for i in range(rows):
                if more == NULL:
                    break
                count = 0
                for q in range(pos_a[i], pos_a[i + 1]):
                    for r in range(pos_b[crd_a[q]], pos_b[crd_a[q] + 1]):
                        j = crd_b[r]
                        if seen[j] != i:
                            seen[j] = i
                            row[count] = j
                            count += 1
                if total + count > room:
                    room = 2 * room + count
                    more = <index *>realloc(found, room * sizeof(index))
                    if more == NULL:
                        break
                    found = more
                sort(&row[0], count, &bits[0])
                for q in range(count):
                    found[total + q] = <index>row[q]
                total += count
                pos[i + 1] = total
        if more == NULL:
            raise MemoryError(f"{room * sizeof(index)} bytes of memory for the pattern could not be allocated")
        made = np.empty(total, np.int32 if sizeof(index) == 4 else np.int64)
        crd = made
        with nogil:
            for q in range(total):
                crd[q] = found[q]
    finally:
        free(found)
    return np.asarray(pos), made


def evened(const int64_t[::1] pos, const index[::1] crd, int64_t matrices, int64_t columns):
    """The rows of matrices that stand below each other, of which each has as many entries as the one with the most.

    Those that lack some get them where their first rows have none.

    Returns
    -------
    pos : array of int64
    crd : array of the type of the indices
    """
    cdef int64_t rows = (pos.shape[0] - 1) // max(matrices, 1), most = 0, k, i, q, j, at = 0, lacking, free
    if matrices == 0:
        return np.asarray(pos), np.asarray(crd)
    for k in range(matrices):
        most = max(most, pos[(k + 1) * rows] - pos[k * rows])
    if most * matrices == crd.shape[0]:
        return np.asarray(pos), np.asarray(crd)
    cdef int64_t[::1] starts = np.zeros(pos.shape[0], np.int64)
    made = np.empty(most * matrices, np.int32 if sizeof(index) == 4 else np.int64)
    cdef index[::1] filled = made
    with nogil:
        for k in range(matrices):
            lacking = most - (pos[(k + 1) * rows] - pos[k * rows])
            for i in range(k * rows, (k + 1) * rows):
                free = min(lacking, columns - (pos[i + 1] - pos[i]))
                lacking -= free
                q = pos[i]
                j = 0
                while free > 0 or q < pos[i + 1]:
                    if q < pos[i + 1] and (free == 0 or crd[q] == j):
                        j = crd[q] + 1
                        filled[at] = crd[q]
                        q += 1
                    else:
                        filled[at] = <index>j
                        free -= 1
                        j += 1
                    at += 1
                starts[i + 1] = at
    return np.asarray(starts), made


def schedule(const index[::1] pos_a, const index[::1] crd_a, const index[::1] pos_b, const index[::1] crd_b,
             const index[::1] pos_c, const index[::1] crd_c, int64_t columns, offset[::1] made):
    """For each multiplication in its turn, which entry of the row of the result it is added to.

    What the result has no entry for gets the number behind the last one.
    """
    cdef int64_t rows = pos_a.shape[0] - 1, i, q, r, n = 0, length
    cdef int64_t[::1] place = np.full(columns, -1, np.int64)
    with nogil:
        for i in range(rows):
            length = pos_c[i + 1] - pos_c[i]
            for q in range(length):
                place[crd_c[pos_c[i] + q]] = q
            for q in range(pos_a[i], pos_a[i + 1]):
                for r in range(pos_b[crd_a[q]], pos_b[crd_a[q] + 1]):
                    made[n] = <offset>(length if place[crd_b[r]] < 0 else place[crd_b[r]])
                    n += 1
            for q in range(length):
                place[crd_c[pos_c[i] + q]] = -1
