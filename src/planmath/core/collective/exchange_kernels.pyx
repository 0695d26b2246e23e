"""Copies between products of index sets, and counters in memory that processes share."""

import time

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint32_t

from planmath.core.collective import deadline

ctypedef long long word

cdef extern from "exchange_kernels.h":
    ctypedef struct pm_run:
        int64_t source, target, count
    ctypedef struct pm_axis:
        int64_t n_runs
        const pm_run *runs
        int64_t source_step, target_step
    ctypedef struct pm_section:
        int ndim
        int64_t itemsize
        pm_axis *axes
    void pm_copy_axes(const pm_section *section, int axis, const char *source, char *target) nogil
    void pm_raise_counter(uint32_t *counter, uint32_t value) nogil
    bint pm_has_reached(const uint32_t *counter, uint32_t value) nogil
    bint pm_await_counter(uint32_t *counter, uint32_t value, int spins, int64_t nanoseconds) nogil

cdef enum:
    SLICE = 50_000_000  # nanoseconds between two looks for signals, such as Ctrl-C


@cython.final
cdef class SectionCopy:
    """A copy of the product of runs, from one strided array to another, at addresses that are given later.

    Parameters
    ----------
    axes : sequence of (runs, source_step, target_step)
        Of each axis, the last one being the innermost loop: runs (source index, target index, count), and the bytes
        between neighbours. No axis at all is one element.
    itemsize : int
        Bytes of an element.
    """

    cdef pm_section section
    cdef pm_run *runs
    cdef readonly word size  # bytes that are copied

    def __init__(self, axes, int64_t itemsize):
        cdef int64_t total = 0, at = 0
        axes = list(axes) or [([(0, 0, 1)], itemsize, itemsize)]
        for runs, _, _ in axes:
            total += len(runs)
        self.section.ndim, self.section.itemsize = len(axes), itemsize
        self.section.axes = <pm_axis *>PyMem_Calloc(len(axes), sizeof(pm_axis))
        self.runs = <pm_run *>PyMem_Calloc(max(total, 1), sizeof(pm_run))
        if self.section.axes == NULL or self.runs == NULL:
            raise MemoryError("the table of an exchange could not be allocated")
        self.size = itemsize
        for k, (runs, source_step, target_step) in enumerate(axes):
            self.section.axes[k].runs = self.runs + at
            self.section.axes[k].n_runs = len(runs)
            self.section.axes[k].source_step, self.section.axes[k].target_step = source_step, target_step
            extent = 0
            for source, target, count in runs:
                self.runs[at].source, self.runs[at].target, self.runs[at].count = source, target, count
                at += 1
                extent += count
            self.size *= extent

    def __dealloc__(self):
        PyMem_Free(self.section.axes)
        PyMem_Free(self.runs)

    cpdef int run(self, word source, word target) except -1:
        """Copy between arrays whose first elements are at these addresses."""
        if self.size:
            with nogil:
                pm_copy_axes(&self.section, 0, <const char *>source, <char *>target)
        return 0


@cython.final
cdef class Counter:
    """A number in memory that several processes map; one of them raises it, any of them waits for it.

    Parameters
    ----------
    address : int
        Of four bytes, zero at first, at a multiple of four.
    owner : object
        Keeps the memory.
    """

    cdef uint32_t *counter
    cdef readonly object owner

    def __init__(self, word address, owner):
        self.counter, self.owner = <uint32_t *>address, owner

    cpdef int raise_to(self, word value) except -1:
        """Let it have a value, and wake who waits for that. What was written before is seen by who sees the value."""
        with nogil:
            pm_raise_counter(self.counter, <uint32_t>value)
        return 0

    cpdef bint has_reached(self, word value):
        return pm_has_reached(self.counter, <uint32_t>value)

    cpdef bint wait(self, word value, int spins) except -1:
        """Wait until it has reached a value; False at the deadline. Signals are handled meanwhile.

        Parameters
        ----------
        value : int
        spins : int
            How often to look before giving up the CPU.
        """
        cdef bint reached = pm_has_reached(self.counter, <uint32_t>value)
        if reached:
            return True
        with nogil:
            reached = pm_await_counter(self.counter, <uint32_t>value, spins, SLICE)
        if reached:
            return True
        end = time.monotonic() + deadline.seconds()
        while not reached and time.monotonic() < end:
            with nogil:
                reached = pm_await_counter(self.counter, <uint32_t>value, 0, SLICE)
        return reached
