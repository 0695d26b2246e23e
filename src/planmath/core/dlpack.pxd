"""What is used of DLPack 1.3's C interface, by which packages tell of arrays and streams without Python."""

cdef extern from *:
    """
    typedef struct {
        char *data;
        int32_t device_type, device_id, ndim;
        uint32_t dtype;
        int64_t *shape, *strides;
        uint64_t byte_offset;
    } pm_dltensor;
    /* DLPackExchangeAPI */
    typedef struct {
        uint32_t major, minor;
        void *previous, *allocate, *from_array, *to_array;
        int (*read)(void *array, pm_dltensor *result);
        int (*current_stream)(int32_t device_type, int32_t device_id, void **stream);
    } pm_dlpack;
    """
    ctypedef struct pm_dltensor:
        char *data
        int device_type, device_id, ndim
        unsigned int dtype
        long long *shape
        long long *strides
        unsigned long long byte_offset
    ctypedef struct pm_dlpack:
        unsigned int major
        int (*read)(void *array, pm_dltensor *result) noexcept
        int (*current_stream)(int device_type, int device_id, void **stream) noexcept

cdef extern from "Python.h":
    void *PyCapsule_GetPointer(object capsule, const char *name) except NULL

cdef enum:
    DLPACK_CPU = 1
    DLPACK_CUDA = 2

cdef inline pm_dlpack *dlpack_of(object package) except? NULL:
    """A package's functions; NULL where it has none, or those of another major version."""
    capsule = getattr(package, "dlpack_exchange", None)
    if capsule is None:
        return NULL
    cdef pm_dlpack *found = <pm_dlpack *>PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
    return found if found.major == 1 else NULL
