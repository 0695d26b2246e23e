"""Where operands and results stand: the layout that was planned, the array bound to it, and where that is now.

The owner of an array may give it other memory at any time: PyTorch's ``t.data = new``, NumPy's ``a.resize(...)``. So an
address is read when it is used, and compared are then the properties that may have changed with it.
"""

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.ref cimport PyObject

from planmath.core.dlpack cimport DLPACK_CPU, DLPACK_CUDA, dlpack_of, pm_dlpack, pm_dltensor
from planmath.core.tensors cimport (
    pm_bump_version,
    pm_requires_grad,
    pm_tensor,
    pm_tensor_address,
    pm_tensor_kind,
    pm_tensor_with,
    pm_tensors,
    tensors_of,
)
from planmath.native.call cimport word

from math import prod

from numpy.ma import MaskedArray

from planmath.core.arrays import Layout

cnp.import_array()

cdef extern from *:
    """
    static inline PyObject *pm_new_array(PyObject *descr, int nd, const npy_intp *dims, const npy_intp *strides) {
        Py_INCREF(descr); /* the constructor takes over a reference */
        return PyArray_NewFromDescr(&PyArray_Type, (PyArray_Descr *)descr, nd, (npy_intp *)dims, (npy_intp *)strides,
                                    NULL, 0, NULL);
    }
    /* The same on memory of `owner`. */
    static inline PyObject *pm_new_array_in(PyObject *descr, int nd, const npy_intp *dims, const npy_intp *strides,
                                            void *data, PyObject *owner) {
        Py_INCREF(descr);
        PyObject *array = PyArray_NewFromDescr(&PyArray_Type, (PyArray_Descr *)descr, nd, (npy_intp *)dims,
                                               (npy_intp *)strides, data, NPY_ARRAY_WRITEABLE, NULL);
        if (array == NULL) return NULL;
        Py_INCREF(owner); /* this takes over a reference, also where it fails */
        if (PyArray_SetBaseObject((PyArrayObject *)array, owner)) Py_CLEAR(array);
        return array;
    }
    static inline int pm_has_dtype(PyObject *array, PyObject *planned) {
        return pm_same_dtype(PyArray_DESCR((PyArrayObject *)array), (PyArray_Descr *)planned);
    }
    """
    object pm_new_array(object descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides)
    object pm_new_array_in(object descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides, void *data,
                           object owner)
    bint pm_has_dtype(object array, object planned)

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object o)
    object PyObject_Call(object function, object arguments, PyObject *keywords)

cdef extern from "numpy/arrayobject.h":
    int PyArray_Check(object array)
    int PyArray_CheckExact(object array)
    bint PyArray_ISALIGNED(cnp.ndarray array)
    bint PyArray_ISWRITEABLE(cnp.ndarray array)

cdef enum:
    NUMPY = 0
    TORCH = 1
    CUPY = 2
    RECYCLED = 1 << 20  # bytes of CuPy's largest results that are handed out again
    KEPT = 32 << 20  # bytes of NumPy's smallest results whose memory is: glibc keeps what is freed of smaller ones

KINDS = {"numpy": NUMPY, "torch": TORCH, "cupy": CUPY}

cdef unsigned long long SERIAL = 0


@cython.final
@cython.freelist(64)
cdef class Binding:
    """An array in a slot. It never changes: who holds one knows what he works on, whatever is bound meanwhile."""

    def __cinit__(self):
        global SERIAL
        SERIAL += 1
        self.serial = SERIAL


@cython.final
cdef class ArraySlot:
    """The layout that an operand or a result must have, and the operand bound to it.

    Parameters
    ----------
    package : core.arrays.Package
    dtype : object
        The package's own dtype object.
    shape, strides : tuple of int
        Strides count elements.
    itemsize : int
        Bytes of an element.
    device_id : int, optional
        Number of the CUDA device that the array must be on; None on the CPU.
    writeable : bool
        Whether the array will be written to.
    conjugate : bool
        Whether it is one of PyTorch's lazy conjugates of what is in memory.
    """

    def __init__(
        self, package, dtype, tuple shape, tuple strides, int itemsize, *, device_id=None, bint writeable=False,
        bint conjugate=False,
    ):
        cdef int i
        if len(shape) > MAX_DIMS:
            raise ValueError(f"an array of {len(shape)} dimensions; at most {MAX_DIMS} are supported")
        self.package, self.dtype, self.device_id = package, dtype, device_id
        self.device = -1 if device_id is None else device_id
        self.shape, self.strides, self.itemsize, self.writeable = shape, strides, itemsize, writeable
        self.conjugate = conjugate
        self.kind = KINDS[package.name]
        self.differentiates = package.differentiates
        self.functions, self.tensors = getattr(package, "functions", None), tensors_of(package)
        self.dlpack = dlpack_of(package)
        self.steps = tuple([step * itemsize for step in strides])
        if self.kind == CUPY:
            self.dense = package.dense(shape, strides)
            self.only_device = package.only_device
        elif self.kind == TORCH:
            self.has_conjugate = "complex" in str(dtype)
        self.flags = cnp.NPY_ARRAY_ALIGNED | (cnp.NPY_ARRAY_WRITEABLE if writeable else 0)
        self.ndim = len(shape)
        self.high = itemsize
        for i in range(self.ndim):
            self.dims[i] = shape[i]
            self.byte_strides[i] = strides[i] * itemsize
            if self.byte_strides[i] < 0:
                self.low += self.byte_strides[i] * (self.dims[i] - 1)
            else:
                self.high += self.byte_strides[i] * (self.dims[i] - 1)
        self.nowhere = NOWHERE if 0 in shape else 0
        self.gapped = self.low < 0 or self.high > itemsize * prod(shape)

    cdef word address_of(self, object array) except -1:
        """Address of the first element of an array with exactly the planned layout, else 0.

        It is of the package's own type, one of PyTorch's parameters, which are tensors in all respects, or of a type
        derived from NumPy's, such as that of files mapped into memory.
        """
        if self.kind == NUMPY:
            if not (PyArray_CheckExact(array) or (PyArray_Check(array) and not isinstance(array, MaskedArray))):
                return 0
        elif type(array) is not self.package.array_type and (
                self.kind != TORCH or type(array) is not self.package.parameter_type):
            return 0
        return self.located(array)

    cdef word located(self, object array) except -1:
        """The same for an array that is known to be of that type, or of one derived from it."""
        cdef int i
        cdef word address
        cdef cnp.ndarray a
        if self.kind == NUMPY:
            a = <cnp.ndarray>array
            if not pm_has_dtype(a, self.dtype) or cnp.PyArray_NDIM(a) != self.ndim:
                return 0
            for i in range(self.ndim):
                if (cnp.PyArray_DIMS(a)[i] != self.dims[i] or
                        cnp.PyArray_STRIDES(a)[i] != self.byte_strides[i]):
                    return 0
            if not PyArray_ISALIGNED(a) or (self.writeable and not PyArray_ISWRITEABLE(a)):
                return 0
            return <word>cnp.PyArray_DATA(a)
        if self.known:
            address = self.read(array)
            return address if address == 0 or not self.is_pending(array) else 0
        if array.dtype is not self.dtype or array.shape != self.shape:
            return 0
        if self.kind == CUPY:
            memory = array.data
            if not (self.only_device or memory.device_id == self.device):
                return 0
            return (memory.ptr or self.nowhere) if (array.strides == self.steps if self.dense is None else getattr(array, self.dense)) else 0
        if array.stride() != self.strides:
            return 0
        if not array.is_cpu if self.device < 0 else array.get_device() != self.device:
            return 0
        if self.is_pending(array):
            return 0
        self.learn(array)
        return self.location(array)

    cdef word followed(self, object array) except -1:
        """`located` of an array that was found to fit before.

        Whatever it was then, it can have become a lazy conjugate or negative of what is at the same address since.
        """
        cdef word address
        if not self.known:
            return self.located(array)
        address = self.read(array)
        return 0 if address == 0 or self.is_pending(array) else address

    cdef int learn(self, object array) except -1:
        """Note by which numbers a tensor with the planned layout names its dtype and its type of device."""
        cdef pm_dltensor tensor
        if self.tensors != NULL:
            self.known = pm_tensor_kind(self.tensors, <PyObject *>array, &self.dtype_number, &self.device_type)
        elif self.dlpack != NULL and self.read_dlpack(array, &tensor):
            self.known, self.dtype_number = True, <int>tensor.dtype
            self.device_type = DLPACK_CPU if self.device < 0 else DLPACK_CUDA
        return 0

    cdef word read(self, object array) except -1:
        """The address of a tensor with the planned layout, else 0, without asking for each property in Python."""
        cdef pm_dltensor tensor
        cdef int i
        if self.tensors != NULL:
            return pm_tensor_with(self.tensors, <PyObject *>array, self.dtype_number, self.device_type, self.device,
                                  self.ndim, self.dims, self.byte_strides, self.itemsize, self.nowhere)
        if not self.read_dlpack(array, &tensor):
            return 0
        if <int>tensor.dtype != self.dtype_number or tensor.ndim != self.ndim or tensor.device_type != self.device_type:
            return 0
        if self.device >= 0 and tensor.device_id != self.device:
            return 0
        for i in range(self.ndim):
            if tensor.shape[i] != self.dims[i] or tensor.strides[i] * self.itemsize != self.byte_strides[i]:
                return 0
        return <word>tensor.data + <word>tensor.byte_offset or self.nowhere

    cdef bint read_dlpack(self, object array, pm_dltensor *result):
        """What DLPack's functions tell of a tensor, in a tenth of the time of Python; False where it is none to them."""
        if self.dlpack.read(<void *>array, result):
            PyErr_Clear()  # of a tensor without memory of its own: who looks closer says what it is
            return False
        return True

    cdef bint is_pending(self, object array) except -1:
        """Whether a tensor is a view of which other things than planned are not carried out in memory."""
        if not self.is_conjugate_as_planned(array):
            return True
        if self.tensors != NULL:
            return self.tensors.is_neg(pm_tensor(self.tensors, <PyObject *>array))
        return array.is_neg()

    cdef bint is_conjugate_as_planned(self, object array) except -1:
        """Whether a tensor is a lazy conjugate where one was planned, and none where none was."""
        if not self.has_conjugate:
            return True
        if self.tensors != NULL:
            return self.tensors.is_conj(pm_tensor(self.tensors, <PyObject *>array)) == self.conjugate
        return array.is_conj() is self.conjugate

    cdef bint has_gradient(self, object array) except -1:
        """Whether the package would look for the derivative with respect to an array of its own."""
        if not self.differentiates:
            return False
        if self.tensors != NULL:
            return pm_requires_grad(self.tensors, <PyObject *>array)
        return array.requires_grad

    cdef int tell_of_change(self, object array) except -1:
        """Tell a package that differentiates that one of its arrays is written to."""
        if self.tensors != NULL:
            pm_bump_version(self.tensors, <PyObject *>array)
        else:
            self.package.changed((array,))
        return 0

    cdef word address_of_result(self, object array) except -1:
        """`address_of` for an array that is written to."""
        cdef word address = self.address_of(array)
        return 0 if address == 0 or self.has_gradient(array) else address

    cdef word location(self, object array) except -1:
        """Address of the first element of an array that `empty` made."""
        if self.kind == NUMPY:
            return <word>cnp.PyArray_DATA(<cnp.ndarray>array)
        if self.tensors != NULL:
            return pm_tensor_address(self.tensors, <PyObject *>array) or self.nowhere
        return (array.data.ptr if self.kind == CUPY else array.data_ptr()) or self.nowhere

    def locate(self, array):
        """Address of the array's first element if it has exactly the planned layout, else 0."""
        return self.address_of(array)

    def binding(self, array):
        """The array as it may be bound, or None if it does not have exactly the planned layout."""
        cdef word address = self.address_of(array)
        return None if address == 0 else self.bind_at(array, address)

    def binding_through(self, array, view, ArraySlot source):
        """The array as it may be bound through a view of it that has exactly the planned layout.

        Parameters
        ----------
        array, view : object
        source : ArraySlot
            The layout that the array itself has.
        """
        cdef Binding made
        cdef word address = self.address_of(view), start = source.located(array)
        if address == 0 or start == 0:
            raise AssertionError("a view was prepared with another layout than the planned one")
        made = self.bind_at(array, address)
        made.held, made.source, made.offset = self.memory_of(view), source, address - start
        return made

    def binding_to_part(self, ArraySlot whole, tuple index, word offset):
        """What is to be bound to follow a part of whatever array is bound to another slot.

        It holds no array: whoever executes with it holds what is bound to the other slot meanwhile.

        Parameters
        ----------
        whole : ArraySlot
        index : tuple
            Which part: ``array[index]`` has the planned layout.
        offset : int
            Bytes from the first element of the whole to that of the part.
        """
        cdef Binding made = Binding.__new__(Binding)
        made.whole, made.index, made.offset = whole, index, offset
        return made

    cdef Binding bind_at(self, object array, word address):
        cdef Binding made = Binding.__new__(Binding)
        made.array, made.address = array, address
        if self.kind == CUPY:
            made.memory = array.data
        return made

    def binding_for_good(self, array):
        """The same for an array of planmath's own, which nobody gives other memory."""
        cdef Binding made = self.binding(array)
        if made is None:
            raise AssertionError("an array of planmath's own has another layout than the planned one")
        made.stays = True
        return made

    def bind(self, array):
        """Take the array if it has exactly the planned layout."""
        binding = self.binding(array)
        if binding is None:
            return False
        self.bound = binding
        return True

    @property
    def layout(self):
        """The `Layout` of the slot's arrays."""
        space = "cpu" if self.device_id is None else "cuda"
        dtype = str(self.dtype).removeprefix("torch.")
        return Layout(self.shape, self.strides, dtype, space, self.device_id, self.conjugate)

    @property
    def array(self):
        """What the user bound, or None."""
        if self.bound is None:
            return None
        return self.bound.array if self.bound.whole is None else self.bound.whole.array

    def current(self):
        """What is bound, with its present address; None where nothing is, or its layout is not the planned one any more."""
        return self.present()

    cdef Binding present(self):
        cdef Binding bound = self.bound, moved, origin
        cdef ArraySlot source
        cdef word address
        if bound is None:
            return None
        if has_stayed(self, bound):
            return bound
        if bound.whole is None:
            source = self if bound.source is None else bound.source
            if (self.kind == CUPY and bound.array.data is bound.memory  # nothing but this and the shape can change
                    and bound.array.shape == source.shape):
                return bound
            address = source.followed(bound.array)
            if address == 0:
                return None
            address += bound.offset
            if address == bound.address:
                return bound
            moved = self.bind_at(bound.array, address)
            moved.source, moved.offset = bound.source, bound.offset
        else:
            origin = bound.whole.present()
            if origin is None:
                return None
            if origin.serial == bound.origin:
                return bound
            moved = self.binding_to_part(bound.whole, bound.index, bound.offset)
            moved.origin, moved.address = origin.serial, origin.address + bound.offset
        if self.bound is bound:
            self.bound = moved
        return moved

    cdef object view_of(self, Binding bound):
        """What is bound as an array with exactly the planned strides, not conjugated."""
        if bound.whole is not None:
            return self.package.with_strides(bound.whole.view_of(bound.whole.bound)[bound.index], self.layout)
        if bound.source is None and not self.conjugate and self.is_plain(bound.array):
            return bound.array
        if bound.held is None:
            bound.held = self.memory_of(self.package.with_strides(bound.array, self.layout))
        return bound.held

    cdef bint is_plain(self, object array) noexcept:
        """Whether an array does what the package's own type does: one derived from it may have indices of its own."""
        return self.kind != NUMPY or PyArray_CheckExact(array)

    cdef object plain(self, object result):
        """The memory of a result with the planned layout, as an array of the package's own type."""
        return result if self.is_plain(result) else self.package.with_strides(result, self.layout)

    cdef object memory_of(self, object view):
        """What is in memory of an array that may be a lazy conjugate."""
        return view.conj() if self.conjugate else view

    cpdef object empty(self):
        """A new array with the planned layout, its memory not initialized."""
        if self.kind == NUMPY and not self.gapped:
            return pm_new_array(self.dtype, self.ndim, self.dims, self.byte_strides)
        if self.make is None:
            self.make, self.arguments = self.package.maker(self.shape, self.strides, self.dtype, self.device_id)
        return PyObject_Call(self.make, self.arguments, NULL)

    cdef object fresh(self, word *address):
        """A new result and its address.

        A small one of CuPy may be the last but one again, if nobody holds it or its memory any longer: CuPy's pool would
        hand out the same memory, but takes longer for that than an execution may.
        """
        cdef object array, data, memory
        if self.kind == NUMPY and self.high - self.low >= KEPT and not self.gapped:
            return self.large(address)
        if self.kind != CUPY or self.high - self.low > RECYCLED:
            array = self.empty()
            address[0] = self.location(array)
            return array
        array, self.older = self.older, self.newer
        address[0], self.older_address = self.older_address, self.newer_address
        self.newer, self.newer_address = array, address[0]
        if array is not None and Py_REFCNT(array) == 2:
            data = array.data
            memory = data.mem
            if (Py_REFCNT(data) == self.data_count and Py_REFCNT(memory) == self.memory_count
                    and array.shape == self.shape):  # nothing else of an array can be changed in place
                return array
        array = self.empty()
        data = array.data
        memory = data.mem
        self.data_count, self.memory_count = Py_REFCNT(data), Py_REFCNT(memory)
        address[0] = data.ptr
        self.newer, self.newer_address = array, address[0]
        return array

    cdef object large(self, word *address):
        """A new result in the memory of one that was dropped, if there is such, and its address.

        The C library would give that memory back to the system each time, and take pages of zeros from it, which takes
        as long as writing twice to memory that is there.
        """
        cdef ResultMemory owner = ResultMemory.__new__(ResultMemory)
        cdef cnp.npy_intp size = self.high
        cdef object memory = self.spare
        self.spare, self.keeps = None, True
        owner.memory = cnp.PyArray_SimpleNew(1, &size, cnp.NPY_UINT8) if memory is None else memory
        owner.slot = self
        address[0] = <word>cnp.PyArray_DATA(<cnp.ndarray>owner.memory)
        return pm_new_array_in(self.dtype, self.ndim, self.dims, self.byte_strides, <void *>address[0], owner)

    cdef void forget(self):
        """Keep no result any longer."""
        self.newer = self.older = None
        self.forget_large()

    cdef void forget_large(self):
        self.spare, self.keeps = None, False


@cython.no_gc_clear
cdef class ResultMemory:
    """Owns the memory of a large result; it goes to the slot of the result with the last array on it."""

    cdef ArraySlot slot
    cdef object memory

    def __dealloc__(self):
        if self.slot is not None and self.slot.keeps:
            self.slot.spare = self.memory


def commit(dict bindings, *stores):
    """Bind arrays and store attributes, all of them or none, whatever exception comes when.

    Nothing of Python's runs in between: what is replaced is dropped at the end.

    Parameters
    ----------
    bindings : dict
        From an `ArraySlot` to a `Binding`, or None for no array any more.
    *stores : tuple of (object, dict)
        Objects, and their attributes' new values by name.
    """
    cdef list before = [], every = []
    cdef ArraySlot slot
    cdef Binding binding
    for slot, binding in bindings.items():
        before.append(slot.bound)
    for owner, values in stores:
        for name, value in values.items():
            before.append(getattr(owner, name, None))
            every.append((owner, name, value))
    for slot, binding in bindings.items():
        slot.bound = binding
    for owner, name, value in every:
        setattr(owner, name, value)


def followed(tuple slots):
    """What is bound to slots, each with its present address; None where one cannot be followed."""
    cdef list found = []
    cdef ArraySlot slot
    cdef Binding bound
    for slot in slots:
        bound = slot.present()
        if bound is None:
            return None
        found.append(bound)
    return tuple(found)
