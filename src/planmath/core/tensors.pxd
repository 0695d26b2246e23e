"""What PyTorch's own functions tell of tensors, without Python around them: `core.arrays.torch_functions` finds them."""

cimport numpy as cnp
from cpython.ref cimport PyObject

from planmath.native.call cimport word

cdef extern from *:
    """
    #include <stdbool.h>
    #include <stdint.h>
    /* The fields of core.arrays.torch_functions.Functions. A tensor is an `at::Tensor *`. */
    typedef struct {
        intptr_t place; /* of the at::Tensor in an object of Python's */
        int32_t (*data)(void *tensor, void **result);
        int32_t (*dim)(void *tensor, int64_t *result);
        int32_t (*sizes)(void *tensor, int64_t **result);
        int32_t (*strides)(void *tensor, int64_t **result);
        int32_t (*dtype)(void *tensor, int32_t *result);
        int32_t (*device_type)(void *tensor, int32_t *result);
        int32_t (*device_index)(void *tensor, int32_t *result);
        bool (*is_conj)(const void *tensor);
        bool (*is_neg)(const void *tensor);
        bool (*is_inference)(const void *tensor);
        bool (*requires_grad)(const void *implementation);
        void (*bump_version)(const void *tensor);
    } pm_tensors;

    static inline void *pm_tensor(const pm_tensors *ask, PyObject *object) { return (char *)object + ask->place; }
    /* Where a tensor's first element is, or 0. */
    static inline intptr_t pm_tensor_address(const pm_tensors *ask, PyObject *object) {
        void *data = NULL;
        return ask->data(pm_tensor(ask, object), &data) ? 0 : (intptr_t)data;
    }
    static inline int pm_tensor_kind(const pm_tensors *ask, PyObject *object, int32_t *dtype, int32_t *device_type) {
        void *tensor = pm_tensor(ask, object);
        return ask->dtype(tensor, dtype) == 0 && ask->device_type(tensor, device_type) == 0;
    }
    /* The address of a tensor with this layout, or 0; `device` is negative where there is one device of its type.
       `nowhere` stands for the address that a tensor without elements does not have. */
    static inline intptr_t pm_tensor_with(const pm_tensors *ask, PyObject *object, int32_t dtype, int32_t device_type,
                                          int32_t device, int nd, const npy_intp *dims, const npy_intp *byte_strides,
                                          int64_t itemsize, intptr_t nowhere) {
        void *tensor = pm_tensor(ask, object);
        int64_t n, *sizes, *strides;
        int32_t found;
        if (ask->dtype(tensor, &found) || found != dtype) return 0;
        if (ask->dim(tensor, &n) || n != nd) return 0;
        if (ask->device_type(tensor, &found) || found != device_type) return 0;
        if (device >= 0 && (ask->device_index(tensor, &found) || found != device)) return 0;
        if (ask->sizes(tensor, &sizes) || ask->strides(tensor, &strides)) return 0;
        for (int i = 0; i < nd; i++)
            if (sizes[i] != dims[i] || strides[i] * itemsize != byte_strides[i]) return 0;
        const intptr_t address = pm_tensor_address(ask, object);
        return address ? address : nowhere;
    }
    static inline int pm_requires_grad(const pm_tensors *ask, PyObject *object) {
        return ask->requires_grad(*(void **)pm_tensor(ask, object));
    }
    /* What `torch.autograd.graph.increment_version` does: those of inference mode have no version. */
    static inline void pm_bump_version(const pm_tensors *ask, PyObject *object) {
        void *tensor = pm_tensor(ask, object);
        if (!ask->is_inference(tensor)) ask->bump_version(tensor);
    }
    """
    ctypedef struct pm_tensors:
        bint (*is_conj)(const void *tensor) noexcept
        bint (*is_neg)(const void *tensor) noexcept
    void *pm_tensor(const pm_tensors *ask, PyObject *object) noexcept
    word pm_tensor_address(const pm_tensors *ask, PyObject *object) noexcept
    bint pm_tensor_kind(const pm_tensors *ask, PyObject *object, int *dtype, int *device_type) noexcept
    word pm_tensor_with(const pm_tensors *ask, PyObject *object, int dtype, int device_type, int device, int nd,
                        const cnp.npy_intp *dims, const cnp.npy_intp *byte_strides, word itemsize, word nowhere) noexcept
    bint pm_requires_grad(const pm_tensors *ask, PyObject *object) noexcept
    void pm_bump_version(const pm_tensors *ask, PyObject *object) noexcept

cdef inline const pm_tensors *tensors_of(object package) except? NULL:
    """A package's functions; NULL where it has none that could be verified."""
    functions = getattr(package, "functions", None)
    if functions is None:
        return NULL
    return <const pm_tensors *><word>functions.address
