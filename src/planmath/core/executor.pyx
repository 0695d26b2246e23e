"""The hot path: operands bound to a plan, and the plan run on them.

Everything that can be known when planning is decided before an `Executor` exists. What is left for each call is to
compare an array with the layout that was planned for (`ArraySlot`), to patch addresses, and to call the library.
"""

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from planmath.core.dlpack cimport DLPACK_CPU, DLPACK_CUDA, dlpack_of, pm_dlpack, pm_dltensor
from planmath.core.cuda.queue cimport Queue
from planmath.native.call cimport Call, pm_call, pm_run, word

from math import prod

from planmath.core.errors import LibraryError

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
    static inline PyObject *pm_descr(PyObject *array) { return (PyObject *)PyArray_DESCR((PyArrayObject *)array); }
    /* A property of an object's type, without the search for it where it is written in C. */
    static inline PyObject *pm_property(PyObject *property, PyObject *object) {
        if (!Py_IS_TYPE(property, &PyGetSetDescr_Type)) return PyObject_CallMethod(property, "__get__", "O", object);
        PyGetSetDef *found = ((PyGetSetDescrObject *)property)->d_getset;
        return found->get(object, found->closure);
    }
    """
    object pm_new_array(object descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides)
    object pm_new_array_in(object descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides, void *data,
                           object owner)
    PyObject *pm_descr(object array)
    object pm_property(object property, object object)

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object o)
    PyObject *PyDict_GetItemWithError(object dictionary, object key)
    object PyObject_Call(object function, object arguments, PyObject *keywords)

cdef extern from "numpy/arrayobject.h":
    int PyArray_CheckExact(object array)
    bint PyArray_ISALIGNED(cnp.ndarray array)
    bint PyArray_ISWRITEABLE(cnp.ndarray array)

cdef enum:
    MAX_DIMS = 64
    MAX_ARRAYS = 16
    MAX_CALLS = 40
    INFO = 20  # logging.INFO
    NUMPY = 0
    TORCH = 1
    CUPY = 2
    RECYCLED = 1 << 20  # bytes of CuPy's largest results that are handed out again
    KEPT = 32 << 20  # bytes of NumPy's smallest results whose memory is: glibc keeps what is freed of smaller ones

KINDS = {"numpy": NUMPY, "torch": TORCH, "cupy": CUPY}


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
    """

    cdef readonly object package, dtype, device_id
    cdef readonly tuple shape, strides
    cdef readonly int itemsize
    cdef readonly bint writeable
    cdef readonly object array      # as the user gave it
    cdef object held                # the same memory, with exactly the planned strides
    cdef word address
    cdef readonly word low, high    # bytes spanned, from the address
    cdef bint has_conjugate
    cdef int ndim, kind, device
    cdef object requires_grad       # PyTorch's property, or None
    cdef pm_dlpack *dlpack          # how a package's arrays are read without Python, or NULL
    cdef unsigned int dlpack_dtype  # DLPack's name of the dtype, once an array with it was seen
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
    cdef cnp.npy_intp dims[MAX_DIMS]
    cdef cnp.npy_intp byte_strides[MAX_DIMS]

    def __init__(self, package, dtype, tuple shape, tuple strides, int itemsize, *, device_id=None, bint writeable=False):
        cdef int i
        if len(shape) > MAX_DIMS:
            raise ValueError(f"an array of {len(shape)} dimensions; at most {MAX_DIMS} are supported")
        self.package, self.dtype, self.device_id = package, dtype, device_id
        self.device = -1 if device_id is None else device_id
        self.shape, self.strides, self.itemsize, self.writeable = shape, strides, itemsize, writeable
        self.kind = KINDS[package.name]
        self.requires_grad = package.requires_grad if package.differentiates else None
        self.dlpack = dlpack_of(package)
        self.steps = tuple([step * itemsize for step in strides])
        if self.kind == CUPY:
            self.dense = package.dense(shape, strides)
            self.only_device = package.only_device
        self.has_conjugate = self.kind == TORCH and "complex" in str(dtype)
        self.ndim = len(shape)
        self.high = itemsize
        for i in range(self.ndim):
            self.dims[i] = shape[i]
            self.byte_strides[i] = strides[i] * itemsize
            if self.byte_strides[i] < 0:
                self.low += self.byte_strides[i] * (self.dims[i] - 1)
            else:
                self.high += self.byte_strides[i] * (self.dims[i] - 1)
        self.gapped = self.low < 0 or self.high > itemsize * prod(shape)

    cdef word address_of(self, object array) except -1:
        """Address of the array's first element if it has exactly the planned layout, else 0."""
        cdef int i
        cdef cnp.ndarray a
        if self.kind == NUMPY:
            if not PyArray_CheckExact(array):
                return 0
            a = <cnp.ndarray>array
            if pm_descr(a) != <PyObject *>self.dtype or cnp.PyArray_NDIM(a) != self.ndim:
                return 0
            for i in range(self.ndim):
                if (cnp.PyArray_DIMS(a)[i] != self.dims[i] or
                        cnp.PyArray_STRIDES(a)[i] != self.byte_strides[i]):
                    return 0
            if not PyArray_ISALIGNED(a) or (self.writeable and not PyArray_ISWRITEABLE(a)):
                return 0
            return <word>cnp.PyArray_DATA(a)
        if type(array) is not self.package.array_type:
            return 0
        if self.dlpack_dtype != 0:
            return self.read(array, True)
        if array.dtype is not self.dtype or array.shape != self.shape:
            return 0
        if self.kind == CUPY:
            memory = array.data
            if not (self.only_device or memory.device_id == self.device):
                return 0
            return memory.ptr if (array.strides == self.steps if self.dense is None else getattr(array, self.dense)) else 0
        if array.stride() != self.strides:
            return 0
        if not array.is_cpu if self.device < 0 else array.get_device() != self.device:
            return 0
        if (self.has_conjugate and array.is_conj()) or array.is_neg():
            return 0
        if self.dlpack != NULL:
            self.read(array, False)
        return array.data_ptr()

    cdef word read(self, object array, bint compare) except -1:
        """The address by DLPack's functions, which take a tenth of the time of asking for each property in Python."""
        cdef pm_dltensor tensor
        cdef int i
        if self.dlpack.read(<void *>array, &tensor):
            PyErr_Clear()  # of a tensor without memory of its own: who looks closer says what it is
            return 0
        if not compare:
            self.dlpack_dtype = tensor.dtype
        elif tensor.dtype != self.dlpack_dtype or tensor.ndim != self.ndim:
            return 0
        elif tensor.device_type != (DLPACK_CPU if self.device < 0 else DLPACK_CUDA):
            return 0
        elif self.device >= 0 and tensor.device_id != self.device:
            return 0
        elif (self.has_conjugate and array.is_conj()) or array.is_neg():
            return 0
        else:
            for i in range(self.ndim):
                if tensor.shape[i] != self.dims[i] or tensor.strides[i] * self.itemsize != self.byte_strides[i]:
                    return 0
        return <word>tensor.data + <word>tensor.byte_offset

    cdef bint has_gradient(self, object array) except -1:
        """Whether the package would look for the derivative with respect to an array of its own."""
        return self.requires_grad is not None and pm_property(self.requires_grad, array) is True

    cdef word address_of_result(self, object array) except -1:
        """The same for an array that is written to."""
        cdef word address = self.address_of(array)
        return 0 if address == 0 or self.has_gradient(array) else address

    cdef word location(self, object array) except -1:
        """Address of the first element of an array that `empty` made."""
        if self.kind == NUMPY:
            return <word>cnp.PyArray_DATA(<cnp.ndarray>array)
        if self.dlpack != NULL:
            return self.read(array, False)
        return array.data.ptr if self.kind == CUPY else array.data_ptr()

    def locate(self, array):
        """Address of the array's first element if it has exactly the planned layout, else 0."""
        return self.address_of(array)

    cpdef bint bind(self, object array) except -1:
        """Take the array if it has exactly the planned layout."""
        cdef word address = self.address_of(array)
        if address == 0:
            return False
        self.address = address
        self.array = self.held = array
        return True

    def bind_view(self, array, view):
        """Take the array through a view of it that has exactly the planned layout."""
        if not self.bind(view):
            raise AssertionError("a view was prepared with another layout than the planned one")
        self.array = array

    def release(self):
        """Drop the array."""
        self.address = 0
        self.array = self.held = None

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

    def snapshot(self):
        """What is bound, to be put back by `restore`."""
        return self.address, self.array, self.held

    def restore(self, snapshot):
        self.address, self.array, self.held = snapshot


cdef class Program:
    """What an execution runs: native calls in order, or one Python function.

    Parameters
    ----------
    calls : sequence of Call
        The addresses they refer to are those of the operands, of the results, and of the workspace, in this order.
    function : callable, optional
        Called as ``function(operands, results)`` with two tuples of arrays, in place of native calls.
    release_gil : bool
        Whether other Python threads may run meanwhile. Work shorter than a microsecond or two is done sooner than the
        lock is handed over.
    """

    cdef readonly tuple calls
    cdef readonly object function
    cdef readonly bint release_gil
    cdef const pm_call *native[MAX_CALLS]
    cdef int n_calls
    cdef readonly int highest_slot  # the last address that a call refers to, or -1

    def __init__(self, calls=(), *, function=None, bint release_gil=True):
        cdef int i
        if len(calls) > MAX_CALLS or bool(calls) == (function is not None):
            raise ValueError(f"a program is one function or 1 to {MAX_CALLS} calls, not {len(calls)}")
        self.calls = tuple(calls)
        self.function = function
        self.release_gil = release_gil
        self.n_calls, self.highest_slot = len(self.calls), -1
        for i in range(self.n_calls):
            self.native[i] = &(<Call?>self.calls[i]).native
            self.highest_slot = max(self.highest_slot, (<Call>self.calls[i]).highest_slot)

    def __call__(self, *addresses):
        """Make the calls now, on operands at these addresses, whatever they wait for without the Python lock.

        Raises what a call that fails has for it; those behind it are not made.
        """
        cdef word words[MAX_ARRAYS]
        cdef int i, status, failed = 0
        if self.n_calls == 0 or not self.highest_slot < len(addresses) <= MAX_ARRAYS:
            raise ValueError(f"{len(addresses)} addresses for {self.n_calls} native calls, which refer to number "
                             f"{self.highest_slot}; at most {MAX_ARRAYS} are passed")
        for i in range(len(addresses)):
            words[i] = addresses[i]
        with nogil:
            status = self.run(words, &failed)
        if status:
            self.fail(status, failed)

    cdef int fail(self, int status, int failed) except -1:
        call = <Call>self.calls[failed]
        raise LibraryError(call.name, status) if call.error is None else call.error(status, call.name)

    cdef int run(self, const word *addresses, int *failed) noexcept nogil:
        cdef int i, status
        for i in range(self.n_calls):
            status = pm_run(self.native[i], addresses)
            if status:
                failed[0] = i
                return status
        return 0


cdef class Executor:
    """A plan's programs with the operands they run on.

    Parameters
    ----------
    operands, results : tuple of ArraySlot
        `results` is empty where the result replaces the operand number `inplace`.
    programs : dict
        From the key that `run` gets (None for the default) to a `Program`.
    inplace : int
        Index of the operand that is overwritten with the result, or -1.
    auxiliary : tuple of str
        Names of the results after the first.
    workspace_size : int
        Bytes of temporary memory, allocated at the first execution and kept.
    queue : Queue, optional
        Where a CUDA device takes part: the programs then find its stream behind the workspace.
    only_stream : int, optional
        The only stream that programs may run on; on others an execution is not ordinary.
    host_workspace : bool
        Whether temporary memory is the host's all the same.
    prologue : Program, optional
        Runs before the first execution after a `watched` operand was bound, such as a conversion of an operand that
        does not change between executions.
    watched : tuple of int
        Indices of operands.
    log_levels : dict
        The logger's own memory of which levels it lets through (`logging.Logger` keeps it current).
    """

    cdef readonly tuple operands, results, auxiliary
    cdef readonly dict programs
    cdef readonly int inplace
    cdef readonly Py_ssize_t workspace_size
    cdef public bint ready
    cdef public bint stale          # the prologue has to run
    cdef Program prologue
    cdef tuple watched
    cdef dict log_levels
    cdef object changed             # what PyTorch is told of a tensor that is written to, or None
    cdef readonly Queue queue
    cdef object workspace
    cdef word workspace_address
    cdef bint host_workspace, any_stream
    cdef word only_stream
    cdef int n_operands, n_results
    cdef PyObject *slots[MAX_ARRAYS]

    def __init__(self, tuple operands, tuple results, dict programs, *, int inplace=-1, tuple auxiliary=(),
                 Py_ssize_t workspace_size=0, Program prologue=None, tuple watched=(), dict log_levels=None,
                 Queue queue=None, only_stream=None, bint host_workspace=False):
        cdef int i
        self.operands, self.results, self.programs = operands, results, programs
        self.inplace, self.auxiliary, self.workspace_size = inplace, auxiliary, workspace_size
        self.prologue, self.watched, self.stale = prologue, watched, prologue is not None
        self.queue, self.host_workspace = queue, queue is None or host_workspace
        self.any_stream, self.only_stream = only_stream is None, only_stream or 0
        self.log_levels = {INFO: False} if log_levels is None else log_levels
        self.n_operands, self.n_results = len(operands), len(results)
        if self.n_operands + self.n_results >= MAX_ARRAYS:
            raise ValueError(f"{self.n_operands} operands and {self.n_results} results; "
                             f"at most {MAX_ARRAYS - 1} arrays are supported")
        packages = [slot.package for slot in (*operands, *results)]
        self.changed = packages[0].changed if packages and packages[0].differentiates else None
        cdef int arrays = self.n_operands + self.n_results
        for i in range(arrays):
            self.slots[i] = <PyObject *>(operands[i] if i < self.n_operands else results[i - self.n_operands])
        for program in programs.values():
            for call in (<Program?>program).calls:
                if call.highest_slot > (arrays + 1 if queue is not None else arrays - (workspace_size == 0)):
                    raise ValueError(f"{call.name} refers to array {call.highest_slot} of {arrays}")

    def run(self, key, out, stream=None):
        """Run a program, or return None where something is not ordinary: then the caller finds out what it is.

        Ordinary means: the operands are in place, nobody listens to the log or wants derivatives, `out` is None or exactly
        as planned, and the stream, where there are streams, is the package's current one, and one that programs may run on.
        """
        if not self.ready or self.log_levels.get(INFO) is not False or stream is not None or self.recorded():
            return None
        if self.queue is None:
            return self.perform(key, out, False, 0)
        return self.enqueue(key, out, False)

    def execute(self, key, out, bint disjoint=False):
        """Run a program without looking at the log; None where `out` or the key is not as planned.

        `disjoint` says that `out` is known to share no element with an operand; otherwise they must not even interleave.
        """
        if self.queue is None:
            return self.perform(key, out, disjoint, 0)
        return self.enqueue(key, out, disjoint)

    cdef bint recorded(self) except -1:
        """Whether the package would record what is done with the operands, for derivatives."""
        cdef ArraySlot slot
        cdef int i
        for i in range(self.n_operands):
            slot = <ArraySlot>self.slots[i]
            if slot.has_gradient(slot.array):
                return slot.package.records(slot.array)
        return False

    cdef object enqueue(self, key, out, bint disjoint):
        """Run a program on the package's current stream."""
        cdef int before = self.queue.enter()
        try:
            if not (self.any_stream or self.queue.stream == self.only_stream):
                return None
            return self.perform(key, out, disjoint, self.queue.stream)
        except Exception as error:
            self.queue.explain(error)
            raise
        finally:
            self.queue.leave(before)

    def allocate_workspace(self):
        """Allocate the temporary memory now, not at the first execution, which may be captured into a graph."""
        if self.queue is not None and self.workspace is None and self.workspace_size != 0:
            self.allocate()

    cdef int allocate(self) except -1:
        cdef int before
        if self.queue is None:
            return self.prepare_workspace()
        before = self.queue.enter()
        try:
            self.prepare_workspace()
        finally:
            self.queue.leave(before)
        return 0

    cdef int prepare_workspace(self) except -1:
        if self.host_workspace:
            self.workspace = host_memory(self.workspace_size)
            self.workspace_address = <word>cnp.PyArray_DATA(<cnp.ndarray>self.workspace)
        else:
            self.workspace, self.workspace_address = self.queue.allocate(self.workspace_size)
        return 0

    cdef object perform(self, key, out, bint disjoint, word stream):
        cdef PyObject *found = PyDict_GetItemWithError(self.programs, key)
        if found == NULL:
            PyErr_Clear()  # of a key that cannot be hashed
            return None
        cdef Program program = <Program>found
        cdef word addresses[MAX_ARRAYS + 2]
        cdef PyObject *held[MAX_ARRAYS]
        cdef ArraySlot slot
        cdef int i, status = 0, failed = 0
        cdef object first = None
        cdef list others = None
        for i in range(self.n_operands):
            slot = <ArraySlot>self.slots[i]
            addresses[i] = slot.address
        if self.inplace >= 0:
            if out is not None and not self.n_results:
                return None
            slot = <ArraySlot>self.slots[self.inplace]
            if not disjoint and self.n_operands > 1 and self.overlaps(slot, slot.address, self.inplace):
                return None
            first = slot.array
        elif self.n_results == 1:
            slot = <ArraySlot>self.slots[self.n_operands]
            if out is None:
                first = slot.fresh(&addresses[self.n_operands])
            else:
                first = out
                addresses[self.n_operands] = slot.address_of_result(out)
                if addresses[self.n_operands] == 0:
                    return None
                if not disjoint and self.overlaps(slot, addresses[self.n_operands], -1):
                    return None
        if self.n_results > 1 or (self.n_results and self.inplace >= 0):
            others = self.gather(out, addresses, disjoint)
            if others is None:
                return None
            if self.inplace < 0:
                first = others[0]
        if self.workspace_size:
            if self.workspace is None:
                self.prepare_workspace()
            addresses[self.n_operands + self.n_results] = self.workspace_address
        addresses[self.n_operands + self.n_results + 1] = stream
        if self.changed is not None and (out is not None or self.inplace >= 0):
            self.changed((first,) if out is None or others is None else (first, *others))
        if program.function is not None:
            program.function(tuple([(<ArraySlot>self.slots[i]).held for i in range(self.n_operands)]),
                             tuple(others) if others is not None else (first,) if self.n_results else ())
        else:
            workspace = self.workspace
            for i in range(self.n_operands):  # every array stays alive while other threads may reset this object
                slot = <ArraySlot>self.slots[i]
                addresses[i] = slot.address
                held[i] = <PyObject *>slot.held
                Py_INCREF(<object>held[i])
                if slot.address == 0:
                    failed = -1
            if failed == 0 and self.stale:
                status = self.prologue.run(addresses, &failed)
                self.stale = status != 0
                program = self.prologue if status else program
            if failed == 0 and status == 0:
                if program.release_gil:
                    with nogil:
                        status = program.run(addresses, &failed)
                else:
                    status = program.run(addresses, &failed)
            for i in range(self.n_operands):
                Py_DECREF(<object>held[i])
            if failed < 0:
                return None
            if status:
                program.fail(status, failed)
        if self.auxiliary and (out is None or self.inplace >= 0):
            return first, dict(zip(self.auxiliary, others if self.inplace >= 0 else others[1:]))
        return first if out is None else out

    cdef list gather(self, out, word *addresses, bint disjoint):
        """Results of a program with several: new ones, or those of `out` = (result, {name: auxiliary result})."""
        cdef ArraySlot slot, other
        cdef int i, j
        cdef list arrays = []
        given = None
        if out is not None:
            if not (type(out) is tuple and len(out) == 2 and type(out[1]) is dict and len(out[1]) == len(self.auxiliary)):
                return None
            given = [out[0]] + [out[1].get(name) for name in self.auxiliary]
            if self.inplace >= 0:
                first = given.pop(0)
                if first is not None and first is not (<ArraySlot>self.slots[self.inplace]).array:
                    return None
        for i in range(self.n_results):
            slot = <ArraySlot>self.slots[self.n_operands + i]
            if given is None:
                array = slot.fresh(&addresses[self.n_operands + i])
            else:
                array = given[i]
                addresses[self.n_operands + i] = slot.address_of_result(array) if array is not None else 0
                if addresses[self.n_operands + i] == 0:
                    return None
            if given is not None and not disjoint:
                if self.overlaps(slot, addresses[self.n_operands + i], -1):
                    return None
                for j in range(i):
                    other = <ArraySlot>self.slots[self.n_operands + j]
                    if ranges_meet(slot, addresses[self.n_operands + i], other, addresses[self.n_operands + j]):
                        return None
            arrays.append(array)
        return arrays

    cdef bint overlaps(self, ArraySlot written, word address, int besides):
        """Whether the byte range that is written to meets that of an operand, other than the one it replaces."""
        cdef int i
        for i in range(self.n_operands):
            if i != besides and ranges_meet(
                written, address, <ArraySlot>self.slots[i], (<ArraySlot>self.slots[i]).address
            ):
                return True
        return False

    def bind_one(self, int index, array):
        """Replace an operand by one with exactly its layout; False, and nothing done, where something is not ordinary.

        Once it was False, the caller finds out why, or finds that the log is on.
        """
        if index >= self.n_operands or self.log_levels.get(INFO) is not False:
            return False
        if not (<ArraySlot>self.slots[index]).bind(array):
            return False
        self.stale = self.prologue is not None
        if not self.ready:
            self.ready = self.complete()
        return True

    def bind_many(self, tuple arrays):
        """Replace the operands that are not None, all of them or, with False, none."""
        cdef word addresses[MAX_ARRAYS]
        cdef ArraySlot slot
        cdef int i, n = len(arrays)
        cdef bint any_given = False
        if n > self.n_operands or self.log_levels.get(INFO) is not False:
            return False
        for i in range(n):
            if arrays[i] is not None:
                addresses[i] = (<ArraySlot>self.slots[i]).address_of(arrays[i])
                if addresses[i] == 0:
                    return False
                any_given = True
        if not any_given or not self.ready and self.still_missing(arrays):
            return False
        for i in range(n):
            if arrays[i] is not None:
                slot = <ArraySlot>self.slots[i]
                slot.address = addresses[i]
                slot.array = slot.held = arrays[i]
        if self.prologue is not None:
            self.rebound([i for i in range(n) if arrays[i] is not None])
        if not self.ready:
            self.ready = self.complete()
        return True

    def rebound(self, indices):
        """Note that operands were bound."""
        if self.prologue is not None and any([index in self.watched for index in indices]):
            self.stale = True

    def invalidate(self):
        """Run the prologue again before the next execution."""
        self.stale = self.prologue is not None

    cdef bint still_missing(self, tuple arrays):
        """Whether an operand would be missing with these arrays bound."""
        cdef int i, n = len(arrays)
        for i in range(self.n_operands):
            if (<ArraySlot>self.slots[i]).array is None and (i >= n or arrays[i] is None):
                return True
        return False

    cdef bint complete(self):
        cdef int i
        for i in range(self.n_operands):
            if (<ArraySlot>self.slots[i]).array is None:
                return False
        return True

    def release_results(self):
        """Give the memory of large results back that were dropped."""
        cdef int i
        for i in range(self.n_results):
            (<ArraySlot>self.slots[self.n_operands + i]).forget_large()

    def release_workspace(self):
        """Give the temporary memory back; the next execution allocates it again."""
        cdef int i
        self.workspace = None
        for i in range(self.n_results):
            (<ArraySlot>self.slots[self.n_operands + i]).forget()
        self.invalidate()


@cython.no_gc_clear
cdef class ResultMemory:
    """Owns the memory of a large result; it goes to the slot of the result with the last array on it."""

    cdef ArraySlot slot
    cdef object memory

    def __dealloc__(self):
        if self.slot is not None and self.slot.keeps:
            self.slot.spare = self.memory


cdef bint ranges_meet(ArraySlot a, word at_a, ArraySlot b, word at_b):
    """Whether arrays of two layouts at these addresses have a byte between their first and last in common."""
    return at_b + b.low < at_a + a.high and at_a + a.low < at_b + b.high


def share_workspace(executors):
    """Let executors of which only one runs at a time use the same temporary memory.

    Those with a prologue, which leaves something there, keep their own.
    """
    cdef Executor executor, largest = None
    cdef list sharing = []
    for executor in executors:
        if executor.prologue is None and executor.workspace_size:
            sharing.append(executor)
            if largest is None or executor.workspace_size > largest.workspace_size:
                largest = executor
    if largest is not None:
        largest.allocate()
    for executor in sharing:
        executor.workspace, executor.workspace_address = largest.workspace, largest.workspace_address


cdef object host_memory(Py_ssize_t size):
    """Uninitialized bytes whose address is a multiple of 64."""
    cdef cnp.npy_intp length = size + 64
    cdef cnp.ndarray memory = cnp.PyArray_SimpleNew(1, &length, cnp.NPY_UINT8)
    return memory[-<word>cnp.PyArray_DATA(memory) % 64:]
