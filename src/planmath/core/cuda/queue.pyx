"""Where work on a CUDA device is put: the device, and the package's stream that is current at each execution."""

from sys import is_finalizing

from cpython.exc cimport PyErr_Clear

from planmath.core.dlpack cimport DLPACK_CUDA, PyCapsule_GetPointer, dlpack_of
from planmath.native.call cimport pm_invoke, word

from planmath.bindings import runtime
from planmath.core.cuda import devices, memory
from planmath.core.cuda.streams import is_capturing, let_wait

cdef extern from "Python.h":
    bint PyCapsule_IsValid(object capsule, const char *name)

ctypedef word (*stream_of)(int device_id) except? -1

cdef word GET_DEVICE = 0, SET_DEVICE = 0


class Workspace:
    """Temporary memory on a device: when it is dropped, the stream that it came from first waits for its last use."""

    def __init__(self, queue, owner):
        self.queue, self.owner, self.stream, self.held = queue, owner, queue.stream, queue.held

    def __del__(self):
        if self.queue.stream != self.stream and not is_finalizing():
            with devices.on(self.queue.device_id):
                follow(self.stream, self.queue.stream)


def follow(later, earlier):
    """Let work on a stream wait for what is on another one."""
    # a stream that is being captured into a graph can wait for nothing outside of it: who captures has waited
    if not (is_capturing(later) or is_capturing(earlier)):
        let_wait(later, earlier)


cdef class Queue:
    """The device and the stream of an operation's executions.

    Executions follow each other in order, also where the stream changes in between: they share temporary memory.

    Parameters
    ----------
    device_id : int
    package : core.arrays.Package
        Whose current stream is used, and whose pool temporary memory comes from.
    allocator : BaseCUDAMemoryManager, BaseCUDAMemoryManagerAsync or None
        The user's, in place of the package's pool.
    passed : object, optional
        The stream that the user passed to the present call, which nobody else may hold any longer when the next one has
        to wait for it.
    """

    def __init__(self, int device_id, package, allocator=None, passed=None):
        global GET_DEVICE, SET_DEVICE
        devices.device(device_id)  # explains why there is none
        if GET_DEVICE == 0:
            GET_DEVICE, SET_DEVICE = [runtime.LIBRARY.address(f"cuda{call}Device") for call in ("Get", "Set")]
        self.get_device, self.set_device = <void *>GET_DEVICE, <void *>SET_DEVICE
        self.device_id, self.package, self.allocator = device_id, package, allocator
        self.only_device = devices.count() == 1
        self.current = package.current_stream(device_id)
        capsule = getattr(package, "stream_function", None)
        if PyCapsule_IsValid(capsule, "intptr_t (int)"):
            self.stream_function = PyCapsule_GetPointer(capsule, "intptr_t (int)")
        self.dlpack = dlpack_of(package)
        with devices.on(device_id):
            self.stream = self.current()
            self.held = package.stream_object(device_id), passed

    cdef int enter(self) except -2:
        """Make the device current, note the package's stream, and return the device that was current before."""
        cdef int before = -1
        cdef word argument = <word>&before, stream
        cdef void *told
        cdef int status = 0
        if self.only_device:
            before = self.device_id
        else:
            status = <int>pm_invoke(self.get_device, 1, &argument)
        if status == 0 and before != self.device_id:
            argument = self.device_id
            status = <int>pm_invoke(self.set_device, 1, &argument)
        if status:
            raise runtime.CUDARuntimeError(status, "cudaSetDevice")
        try:
            if self.stream_function != NULL:
                stream = (<stream_of>self.stream_function)(self.device_id)
            elif self.dlpack != NULL and self.dlpack.current_stream(DLPACK_CUDA, self.device_id, &told) == 0:
                stream = <word>told
            else:
                PyErr_Clear()
                stream = self.current()
            if stream != self.stream:
                self.change(stream)
        except BaseException:
            self.leave(before)
            raise
        return before

    cdef int leave(self, int before) except -1:
        """Make the device current again that was before `enter`."""
        cdef word argument = before
        cdef int status = 0
        if before != self.device_id:
            status = <int>pm_invoke(self.set_device, 1, &argument)
        if status:
            raise runtime.CUDARuntimeError(status, "cudaSetDevice")
        return 0

    def run(self, work, *arguments):
        """What ``work(*arguments)`` returns, which is Python that puts work on the queue's stream."""
        cdef int before = self.enter()
        try:
            return work(*arguments)
        finally:
            self.leave(before)

    def change(self, word stream):
        """Let work on another stream wait for what is on the one before."""
        follow(stream, self.stream)
        self.held = self.package.stream_object(self.device_id), self.passed
        self.stream = stream

    def allocate(self, size):
        """Temporary memory for work on the stream: what owns it, and its address."""
        try:
            owner, address = memory.allocate(size, self.package, self.allocator, self.device_id, self.stream)
            return Workspace(self, owner), address
        except Exception as error:
            self.explain(error, f"{size:,} bytes of temporary memory could not be allocated")
            raise

    def explain(self, error, what="memory for a result could not be allocated"):
        """Raise planmath's own error for a failed allocation of a package."""
        if isinstance(error, devices.OutOfDeviceMemoryError):
            return
        out_of_memory = isinstance(error, runtime.CUDARuntimeError) and error.name == "cudaErrorMemoryAllocation"
        if out_of_memory or isinstance(error, (MemoryError, *self.package.out_of_memory)):
            raise devices.OutOfDeviceMemoryError(f"{what} ({error})", self.device_id) from error
