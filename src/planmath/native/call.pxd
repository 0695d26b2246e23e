from libc.stdint cimport intptr_t, uint64_t

cdef extern from "prepared.h":
    ctypedef intptr_t word
    ctypedef struct pm_call:
        void *function
        int n_words, n_slots, n_loops, returns_status, goes_on
        word words[20]
        int slot_word[10]
        int slot_operand[10]
        word slot_offset[10]
        word loop_count[16]
        word loop_step[16][10]
        int n_aligned
        word alignment_mask
        const pm_call *unaligned
        int condition_operand, condition_size
        word condition_offset
        uint64_t condition_bits
        const pm_call *if_zero
    enum: PM_WORDS
    enum: PM_SLOTS
    enum: PM_LOOPS
    word pm_invoke(void *function, int n, const word *words) nogil
    int pm_run(const pm_call *call, const word *addresses) nogil
    void pm_store(word *where, word value) nogil
    void pm_copy(void *where, const void *number, word size) nogil
    int pm_fail(int status) nogil
    ctypedef struct pm_handle:
        pass
    int pm_give(pm_handle *of, word stream, word workspace, word size) nogil


cdef class Call:
    cdef pm_call native
    cdef readonly str name
    cdef readonly object keep, error
    cdef Call unaligned, if_zero
