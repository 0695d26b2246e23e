cimport numpy as cnp
from cpython.ref cimport PyObject

from planmath.core.dlpack cimport pm_dlpack, pm_dltensor
from planmath.core.tensors cimport pm_tensors
from planmath.native.call cimport word

cdef extern from *:
    """
    /* Whether NumPy's elements are of the same type: arrays that came out of a pickle have dtype objects of their own. */
    static inline int pm_same_dtype(const PyArray_Descr *given, const PyArray_Descr *planned) {
        return given == planned || (given->type_num == planned->type_num && PyArray_ISNBO(given->byteorder));
    }
    /* Whether an array of NumPy is still where it was, with this layout. */
    static inline int pm_stayed(PyObject *object, intptr_t address, PyObject *descr, int nd, const npy_intp *dims,
                                const npy_intp *strides, int flags) {
        const PyArrayObject *a = (const PyArrayObject *)object;
        if ((intptr_t)PyArray_DATA(a) != address || PyArray_NDIM(a) != nd) return 0;
        if (!pm_same_dtype(PyArray_DESCR(a), (PyArray_Descr *)descr)) return 0;
        for (int i = 0; i < nd; i++)
            if (PyArray_DIMS(a)[i] != dims[i] || PyArray_STRIDES(a)[i] != strides[i]) return 0;
        return PyArray_CHKFLAGS(a, flags);
    }
    """
    bint pm_stayed(PyObject *array, word address, PyObject *descr, int nd, const cnp.npy_intp *dims,
                   const cnp.npy_intp *strides, int flags) noexcept

cdef enum:
    MAX_DIMS = 64
    IS_NUMPY = 0
    NOWHERE = 256


cdef class Binding:
    cdef readonly object array      # as the user gave it
    cdef object held                # the same memory with exactly the planned strides, once somebody asked for it
    cdef object memory              # of CuPy's array: what points to it
    cdef ArraySlot source           # the layout that the array has to keep; None: that of the slot it is bound to
    cdef bint stays                 # nobody gives it other memory
    cdef word offset                # bytes from its first element to the first planned one
    cdef readonly word address      # of that
    cdef readonly unsigned long long serial  # no other binding has it
    cdef ArraySlot whole            # of a part of another slot's array: that slot,
    cdef unsigned long long origin  # the serial of what was bound to it, which is not held here,
    cdef tuple index                # and which part


cdef class ArraySlot:
    cdef readonly object package, dtype, device_id
    cdef readonly tuple shape, strides
    cdef readonly int itemsize
    cdef readonly bint writeable
    cdef readonly Binding bound
    cdef readonly word low, high    # bytes spanned, from the address
    cdef readonly bint conjugate    # whether arrays are lazy conjugates of their memory
    cdef bint has_conjugate         # whether such can come
    cdef int ndim, kind, device
    cdef bint differentiates        # whether arrays may require gradients
    cdef int flags                  # what NumPy's arrays must have
    cdef const pm_tensors *tensors  # how tensors are read without Python, or NULL
    cdef object functions           # what that points to
    cdef pm_dlpack *dlpack          # another way for any package's arrays, or NULL
    cdef bint known                 # whether a tensor was seen that tells the numbers of:
    cdef int dtype_number, device_type
    cdef tuple steps                # strides in bytes
    cdef object dense               # CuPy's name for having such strides, which costs less than they do, or None
    cdef bint only_device           # there is no other one
    cdef bint gapped                # new arrays need more memory than their elements
    cdef object make, arguments     # what makes new arrays of other packages than NumPy, and gapped ones
    cdef object newer, older        # results that were made last, where such are handed out again
    cdef word newer_address, older_address
    cdef Py_ssize_t data_count, memory_count  # references to their memory, when nobody else has one
    cdef object spare               # memory of a large result that was dropped
    cdef bint keeps                 # whether such memory is kept
    cdef word nowhere               # stands for the address 0 of a tensor without elements; 0 where it would have some
    cdef cnp.npy_intp dims[MAX_DIMS]
    cdef cnp.npy_intp byte_strides[MAX_DIMS]

    cdef word address_of(self, object array) except -1
    cdef word located(self, object array) except -1
    cdef word followed(self, object array) except -1
    cdef int learn(self, object array) except -1
    cdef word read(self, object array) except -1
    cdef bint read_dlpack(self, object array, pm_dltensor *result)
    cdef bint is_pending(self, object array) except -1
    cdef bint is_conjugate_as_planned(self, object array) except -1
    cdef bint has_gradient(self, object array) except -1
    cdef int tell_of_change(self, object array) except -1
    cdef word address_of_result(self, object array) except -1
    cdef word location(self, object array) except -1
    cdef Binding bind_at(self, object array, word address)
    cdef Binding present(self)
    cdef object view_of(self, Binding bound)
    cdef bint is_plain(self, object array) noexcept
    cdef object plain(self, object result)
    cdef object memory_of(self, object view)
    cpdef object empty(self)
    cdef object fresh(self, word *address)
    cdef object large(self, word *address)
    cdef void forget(self)
    cdef void forget_large(self)


cdef inline bint has_stayed(ArraySlot slot, Binding bound) noexcept:
    """Whether what is bound is where it was, as far as that can be seen at once; otherwise `present` finds out."""
    if bound is None or bound.whole is not None:
        return False
    if bound.stays:
        return True
    cdef ArraySlot source = slot if bound.source is None else bound.source
    return slot.kind == IS_NUMPY and bound.offset == 0 and pm_stayed(
        <PyObject *>bound.array, bound.address, <PyObject *>source.dtype, source.ndim, source.dims, source.byte_strides,
        slot.flags)
