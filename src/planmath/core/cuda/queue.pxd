from planmath.core.dlpack cimport pm_dlpack
from planmath.native.call cimport word


cdef class Queue:
    cdef readonly int device_id
    cdef readonly object package, allocator
    cdef readonly word stream
    cdef object current
    cdef void *stream_function  # the package's own in C, where it has one
    cdef pm_dlpack *dlpack      # or DLPack's
    cdef readonly object held
    cdef public object passed
    cdef bint only_device       # nobody can have made another one current
    cdef void *get_device
    cdef void *set_device

    cdef int enter(self) except -2
    cdef int leave(self, int before) except -1
