# cython: boundscheck=False, wraparound=False, cdivision=True
"""What conversions and checks of sparse tensors need beyond NumPy: each one or a few passes over index arrays."""

import numpy as np

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t

ctypedef fused index:
    int8_t
    int16_t
    int32_t
    int64_t

cdef enum:
    DIGIT_BITS = 11  # of a radix sort; tables of 2048 numbers stay in the first cache


cdef inline bint is_narrow(int64_t bound, int64_t n) noexcept nogil:
    """Whether a table of all keys is not much larger than the list of those that occur."""
    return bound <= 4 * n + 1024


def check(const index[::1] pos, const index[::1] crd, int64_t low, int64_t size, bint differences):
    """Whether segments of coordinates are what they should be.

    Parameters
    ----------
    pos : array
        Where the segments begin, and where the last one ends.
    crd : array
        Coordinates, or with `differences` the numbers of coordinates that are skipped.
    low, size : int
        The least coordinate there may be, and how many there may be.
    differences : bool

    Returns
    -------
    fault : str
        What is wrong, in words; empty where nothing is.
    ordered, unique : bool
        Whether coordinates ascend within each segment, and none comes twice (unordered ones are not looked at).
    """
    cdef int64_t p, q, n = pos.shape[0] - 1, before, at, entries = crd.shape[0]
    cdef bint ordered = True, unique = True
    if n < 0 or pos[0] != 0:
        return "pos does not begin with 0", True, True
    if pos[n] != entries:
        return f"pos ends with {pos[n]}, and crd has {entries} elements", True, True
    for p in range(n):
        if pos[p + 1] < pos[p] or pos[p + 1] > entries:
            return f"pos descends from {pos[p]} to {pos[p + 1]} at {p}, or passes the end of crd", True, True
        before = low - 1
        for q in range(pos[p], pos[p + 1]):
            at = before + 1 + crd[q] if differences else crd[q]
            if at < low or at >= low + size or (differences and crd[q] < 0):
                return f"crd[{q}] is {crd[q]}, which leads to {at}; expected {low} to {low + size - 1}", True, True
            if at <= before:
                ordered = ordered and at == before
                unique = unique and at != before
            before = at
    return "", ordered, unique


def check_range(const index[::1] crd, int64_t low, int64_t size):
    """What is wrong of coordinates, in words: empty if each is within its bounds."""
    cdef int64_t q
    for q in range(crd.shape[0]):
        if crd[q] < low or crd[q] >= low + size:
            return f"crd[{q}] is {crd[q]}; expected {low} to {low + size - 1}"
    return ""


def check_list(const index[::1] first, const index[::1] second):
    """Whether pairs of coordinates ascend, and whether none comes twice (of those that ascend)."""
    cdef int64_t q
    cdef bint unique = True
    for q in range(1, first.shape[0]):
        if first[q] < first[q - 1] or (first[q] == first[q - 1] and second[q] < second[q - 1]):
            return False, True
        if first[q] == first[q - 1] and second[q] == second[q - 1]:
            unique = False
    return True, unique


cdef int64_t[::1] sorted_by(const int64_t[::1] keys, int64_t low, int64_t bound, int64_t[::1] order):
    """An order, None for the present one, stably sorted by keys from `low` up to `low + bound`."""
    cdef int64_t n = keys.shape[0], i, k, total, count, e, shift = 0
    cdef int64_t[::1] table, made
    cdef int64_t width = bound if is_narrow(bound, n) else 1 << DIGIT_BITS
    cdef bint whole = is_narrow(bound, n)
    cdef int64_t mask = (1 << DIGIT_BITS) - 1
    while True:
        table, made = np.zeros(width + 1, np.int64), np.empty(n, np.int64)
        with nogil:
            for i in range(n):
                k = keys[i] - low
                table[(k if whole else (k >> shift) & mask) + 1] += 1
            for i in range(width):
                table[i + 1] += table[i]
            if order is None:
                for i in range(n):
                    k = keys[i] - low
                    k = k if whole else (k >> shift) & mask
                    made[table[k]] = i
                    table[k] += 1
            else:
                for i in range(n):
                    e = order[i]
                    k = keys[e] - low
                    k = k if whole else (k >> shift) & mask
                    made[table[k]] = e
                    table[k] += 1
        order = made
        shift += DIGIT_BITS
        if whole or shift >= 63 or (bound - 1) >> shift == 0:
            return order


def rank(const int64_t[::1] parents, int64_t n_parents, const int64_t[::1] indices, int64_t low, int64_t size):
    """The distinct pairs of parent and index in their order, and which one of them each entry has.

    Parameters
    ----------
    parents : array of int64
        From 0 up to `n_parents`.
    indices : array of int64
        From `low` up to ``low + size``.

    Returns
    -------
    places : array of int64 or None
        The number of each entry's pair; None where each entry has its own, in the present order.
    firsts : array of int64
        For each distinct pair, an entry that has it.
    """
    cdef int64_t n = parents.shape[0], i, e, before, count = 0, bound = n_parents * size
    cdef bint ascends = True, strictly = True, by_index = True
    cdef int64_t[::1] order = None, places, firsts
    cdef int64_t[::1] table
    with nogil:
        for i in range(1, n):
            if indices[i] < indices[i - 1]:
                by_index = False
                if parents[i] == parents[i - 1]:
                    ascends = False
            if parents[i] < parents[i - 1]:
                ascends = False
            if parents[i] == parents[i - 1] and indices[i] == indices[i - 1]:
                strictly = False
    if ascends and strictly:
        return None, np.arange(n)
    places = np.empty(n, np.int64)
    if not ascends and n_parents <= (4 * n + 1024) // max(size, 1) and is_narrow(bound, n):
        table = np.full(bound, -1, np.int64)
        with nogil:
            for i in range(n):
                table[parents[i] * size + indices[i] - low] = i
            for i in range(bound):
                if table[i] >= 0:
                    count += 1
        firsts = np.empty(count, np.int64)
        count = 0
        with nogil:
            for i in range(bound):
                if table[i] >= 0:
                    firsts[count] = table[i]
                    table[i] = count
                    count += 1
            for i in range(n):
                places[i] = table[parents[i] * size + indices[i] - low]
        return np.asarray(places), np.asarray(firsts)
    if not ascends:
        if not by_index:
            order = sorted_by(indices, low, size, None)
        if n_parents > 1:
            order = sorted_by(parents, 0, n_parents, order)
    firsts = np.empty(n, np.int64)
    with nogil:
        for i in range(n):
            e = i if order is None else order[i]
            if i == 0 or parents[e] != parents[before] or indices[e] != indices[before]:
                firsts[count] = e
                count += 1
            places[e] = count - 1
            before = e
    return np.asarray(places), np.asarray(firsts)[:count]
