"""The hot path: a plan run on the operands that are bound to it.

Everything that can be known when planning is decided before an `Executor` exists. What is left for each call is to see
where the arrays are now (`core.slots`), to patch addresses, and to call the library.
"""

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.pythread cimport (
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    PyThread_type_lock,
    WAIT_LOCK,
)
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject

from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy

from planmath.core.cuda.queue cimport Queue
from planmath.core.slots cimport ArraySlot, Binding, has_stayed
from planmath.native.call cimport Call, pm_call, pm_run, word

from planmath.core.errors import LibraryError

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object dictionary, object key)

cdef enum:
    FEW = 14  # arrays of a program whose addresses need no memory of their own
    MANY = 8  # results that are compared with all arrays in the order of their addresses
    INFO = 20  # logging.INFO


cdef struct Stretch:
    # the memory of an array, up to the byte behind its last one
    word low, high
    bint written


cdef int by_address(const void *a, const void *b) noexcept nogil:
    cdef word first = (<const Stretch *>a).low, second = (<const Stretch *>b).low
    return (first > second) - (first < second)


cdef void *table(Py_ssize_t count, Py_ssize_t size) except NULL:
    """Memory for a table of zeros."""
    cdef void *made = PyMem_Calloc(max(count, 1), size)
    if made == NULL:
        raise MemoryError(f"{count * size} bytes of memory could not be allocated")
    return made


@cython.final
cdef class Lock:
    """Held by one program at a time of those that share what the library changes in each call, such as a handle."""

    cdef PyThread_type_lock lock

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError("a lock could not be allocated")

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_free_lock(self.lock)


@cython.final
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
    lock : Lock, optional
        Held while the calls are made, by other threads' programs as well.
    """

    cdef readonly tuple calls
    cdef readonly object function
    cdef readonly bint release_gil
    cdef readonly Lock lock
    cdef const pm_call **native
    cdef int n_calls
    cdef readonly int highest_slot  # the last address that a call refers to, or -1

    def __init__(self, calls=(), *, function=None, bint release_gil=True, Lock lock=None):
        cdef int i
        if bool(calls) == (function is not None):
            raise ValueError(f"a program is one function or at least one call, not {len(calls)} calls")
        if lock is not None and not release_gil:
            raise ValueError("a program that waits for a lock lets other Python threads run")
        self.calls = tuple(calls)
        self.function = function
        self.release_gil, self.lock = release_gil, lock
        self.n_calls, self.highest_slot = len(self.calls), -1
        self.native = <const pm_call **>table(self.n_calls, sizeof(pm_call *))
        for i in range(self.n_calls):
            self.native[i] = &(<Call?>self.calls[i]).native
            self.highest_slot = max(self.highest_slot, (<Call>self.calls[i]).highest_slot)

    def __dealloc__(self):
        PyMem_Free(self.native)

    def __call__(self, *addresses):
        """Make the calls now, on operands at these addresses, whatever they wait for without the Python lock.

        Raises what the first call that fails has for it; those behind it are not made, unless it goes on.
        """
        cdef word *words
        cdef int i, status, failed = 0
        if self.n_calls == 0 or not self.highest_slot < len(addresses):
            raise ValueError(f"{len(addresses)} addresses for {self.n_calls} native calls, which refer to number "
                             f"{self.highest_slot}")
        words = <word *>table(len(addresses), sizeof(word))
        try:
            for i in range(len(addresses)):
                words[i] = addresses[i]
            with nogil:
                status = self.run(words, &failed)
        finally:
            PyMem_Free(words)
        if status:
            self.fail(status, failed)

    cdef int fail(self, int status, int failed) except -1:
        call = <Call>self.calls[failed]
        raise LibraryError(call.name, status) if call.error is None else call.error(status, call.name)

    cdef int run(self, const word *addresses, int *failed) noexcept nogil:
        cdef int i, status, first = 0
        if self.lock is not None:
            PyThread_acquire_lock(self.lock.lock, WAIT_LOCK)
        for i in range(self.n_calls):
            status = pm_run(self.native[i], addresses)
            if status:
                if first == 0:
                    first, failed[0] = status, i
                if not self.native[i].goes_on:
                    break
        if self.lock is not None:
            PyThread_release_lock(self.lock.lock)
        return first


@cython.final
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
        Runs before the first execution after a `watched` operand was bound or got other memory, such as a conversion of
        an operand that does not change between executions.
    watched : tuple of int
        Indices of operands.
    log_levels : dict
        The logger's own memory of which levels it lets through (`logging.Logger` keeps it current).
    """

    cdef readonly tuple operands, results, auxiliary
    cdef readonly dict programs
    cdef readonly int inplace
    cdef readonly Py_ssize_t workspace_size
    cdef Program prologue
    cdef tuple watched
    cdef unsigned long long *prepared_for  # what was bound of them when the prologue ran
    cdef dict log_levels
    cdef public bint silent         # whether nobody is told of operands, for their owner tells it otherwise
    cdef bint differentiates        # whether the package records what is done with its arrays, for derivatives
    cdef readonly Queue queue
    cdef object workspace
    cdef word workspace_address
    cdef bint host_workspace, any_stream
    cdef word only_stream
    cdef int n_operands, n_results
    cdef PyObject **slots
    cdef Stretch *stretches  # of programs with many results: room to sort all arrays
    cdef word *apart         # and the addresses that were last found to be apart

    def __init__(self, tuple operands, tuple results, dict programs, *, int inplace=-1, tuple auxiliary=(),
                 Py_ssize_t workspace_size=0, Program prologue=None, tuple watched=(), dict log_levels=None,
                 Queue queue=None, only_stream=None, bint host_workspace=False):
        cdef int i
        self.operands, self.results, self.programs = operands, results, programs
        self.inplace, self.auxiliary, self.workspace_size = inplace, auxiliary, workspace_size
        self.prologue, self.watched = prologue, watched
        self.queue, self.host_workspace = queue, queue is None or host_workspace
        self.any_stream, self.only_stream = only_stream is None, only_stream or 0
        self.log_levels = {INFO: False} if log_levels is None else log_levels
        self.n_operands, self.n_results = len(operands), len(results)
        every = operands + results
        self.differentiates = bool(every) and every[0].package.differentiates
        cdef int arrays = self.n_operands + self.n_results
        self.slots = <PyObject **>table(arrays, sizeof(PyObject *))
        if self.n_results >= MANY:
            self.stretches = <Stretch *>table(arrays, sizeof(Stretch))
            self.apart = <word *>table(arrays, sizeof(word))
        self.prepared_for = <unsigned long long *>table(len(watched), sizeof(unsigned long long))
        for i in range(arrays):
            self.slots[i] = <PyObject *><ArraySlot?>(
                operands[i] if i < self.n_operands else results[i - self.n_operands]
            )
        for program in programs.values():
            for call in (<Program?>program).calls:
                if call.highest_slot > (arrays + 1 if queue is not None else arrays - (workspace_size == 0)):
                    raise ValueError(f"{call.name} refers to array {call.highest_slot} of {arrays}")

    def __dealloc__(self):
        PyMem_Free(self.slots)
        PyMem_Free(self.prepared_for)
        PyMem_Free(self.stretches)
        PyMem_Free(self.apart)

    def run(self, key, out, stream=None):
        """Run a program, or return None where something is not ordinary: then the caller finds out what it is.

        Ordinary means: the operands are bound and still as planned, nobody listens to the log or wants derivatives, `out`
        is None or exactly as planned, and the stream, where there are streams, is the package's current one, and one that
        programs may run on.
        """
        if self.log_levels.get(INFO) is not False or stream is not None:
            return None
        return self.run_heard(key, out)

    cpdef object run_heard(self, key, out):
        """`run` on the current stream, whoever listens to the log."""
        if self.differentiates and self.recorded():
            return None
        if self.queue is None:
            return self.perform(key, out, False, 0)
        return self.enqueue(key, out, False)

    cdef bint recorded(self) except -1:
        """Whether the package would record what is done with the operands, for derivatives."""
        cdef ArraySlot slot
        cdef Binding bound
        cdef int i
        for i in range(self.n_operands):
            slot = <ArraySlot>self.slots[i]
            bound = slot.bound
            if bound is not None and bound.whole is not None:
                bound = bound.whole.bound
            if bound is not None and slot.has_gradient(bound.array):
                return slot.package.records(bound.array)
        return False

    def execute(self, key, out, bint disjoint=False):
        """Run a program without looking at the log; None where `out` or the key is not as planned.

        `disjoint` says that `out` is known to share no element with an operand; otherwise they must not even interleave.
        """
        if self.queue is None:
            return self.perform(key, out, disjoint, 0)
        return self.enqueue(key, out, disjoint)

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
        cdef word few_addresses[FEW + 2]
        cdef PyObject *few_bound[FEW]
        cdef word *addresses
        cdef PyObject **bound
        cdef int arrays = self.n_operands + self.n_results
        if found == NULL:
            PyErr_Clear()  # of a key that cannot be hashed
            return None
        if arrays <= FEW:
            return self.perform_at(<Program>found, out, disjoint, stream, few_addresses, few_bound)
        addresses = <word *>table(arrays + 2, sizeof(word))
        bound = NULL
        try:
            bound = <PyObject **>table(arrays, sizeof(PyObject *))
            return self.perform_at(<Program>found, out, disjoint, stream, addresses, bound)
        finally:
            PyMem_Free(addresses)
            PyMem_Free(bound)

    cdef object perform_at(self, Program program, out, bint disjoint, word stream, word *addresses, PyObject **bound):
        """Run a program, with room for the addresses of all arrays and for what is bound."""
        cdef ArraySlot slot
        cdef Binding binding
        cdef int i, held = 0, status = 0, failed = 0
        cdef object first = None
        cdef list others = None
        if self.n_results and (self.n_results > 1 or self.inplace >= 0):
            others = self.gather(out, addresses)
            if others is None:
                return None
            if self.inplace < 0:
                first = others[0]
        elif self.n_results == 1:
            slot = <ArraySlot>self.slots[self.n_operands]
            if out is None:
                first = slot.fresh(&addresses[self.n_operands])
            else:
                first = out
                addresses[self.n_operands] = slot.address_of_result(out)
                if addresses[self.n_operands] == 0:
                    return None
        elif out is not None and self.inplace >= 0:
            return None
        if self.workspace_size:
            if self.workspace is None:
                self.prepare_workspace()
            addresses[self.n_operands + self.n_results] = self.workspace_address
        addresses[self.n_operands + self.n_results + 1] = stream
        if self.differentiates and (out is not None or self.inplace >= 0):
            self.tell_of_changes(first, others if out is not None else None)
        try:
            # from here on no Python runs: nobody can move an array that was found, and what is bound stays alive
            # while other threads may reset this object
            for held in range(self.n_operands):
                slot = <ArraySlot>self.slots[held]
                binding = slot.bound
                if not has_stayed(slot, binding):
                    binding = slot.present()
                    if binding is None:
                        return None
                Py_INCREF(binding)
                bound[held] = <PyObject *>binding
                addresses[held] = binding.address
            held = self.n_operands
            if not disjoint and not self.are_apart(addresses, out is not None):
                return None
            if self.inplace >= 0:
                first = (<Binding>bound[self.inplace]).array
                if out is not None and out[0] is not None and out[0] is not first:
                    return None
            if program.function is not None:
                written = others if others is not None else [first] if self.n_results else []
                program.function(
                    tuple([(<ArraySlot>self.slots[i]).view_of(<Binding>bound[i]) for i in range(self.n_operands)]),
                    tuple([(<ArraySlot>self.slots[self.n_operands + i]).plain(array) for i, array in enumerate(written)]),
                )
            else:
                workspace = self.workspace
                if self.prologue is not None and self.is_stale(bound):
                    status = self.prologue.run(addresses, &failed)
                    if status:
                        self.prologue.fail(status, failed)
                    self.note(bound)
                if program.release_gil:
                    with nogil:
                        status = program.run(addresses, &failed)
                else:
                    status = program.run(addresses, &failed)
                if status:
                    program.fail(status, failed)
        finally:
            for i in range(held):
                Py_DECREF(<object>bound[i])
        if self.auxiliary and (out is None or self.inplace >= 0):
            return first, dict(zip(self.auxiliary, others if self.inplace >= 0 else others[1:]))
        return first if out is None else out

    cdef bint is_stale(self, PyObject **bound):
        """Whether the prologue has to run for what is bound."""
        cdef int i
        for i in range(len(self.watched)):
            if (<Binding>bound[<int>self.watched[i]]).serial != self.prepared_for[i]:
                return True
        return False

    cdef void note(self, PyObject **bound):
        """Remember what the prologue ran for."""
        cdef int i
        for i in range(len(self.watched)):
            self.prepared_for[i] = (<Binding>bound[<int>self.watched[i]]).serial

    cdef bint are_apart(self, const word *addresses, bint given):
        """Whether the bytes that are written are none that are read, as far as the user has a say in where they are."""
        cdef ArraySlot slot
        cdef int i
        if self.inplace >= 0 and self.n_operands > 1 and self.overlaps(
            <ArraySlot>self.slots[self.inplace], addresses[self.inplace], self.inplace, addresses
        ):
            return False
        if given and self.stretches != NULL:
            return self.many_are_apart(addresses)
        if given:
            for i in range(self.n_operands, self.n_operands + self.n_results):
                slot = <ArraySlot>self.slots[i]
                if self.overlaps(slot, addresses[i], -1, addresses):
                    return False
                for j in range(self.n_operands, i):
                    if ranges_meet(slot, addresses[i], <ArraySlot>self.slots[j], addresses[j]):
                        return False
        return True

    cdef bint many_are_apart(self, const word *addresses):
        """Whether results meet neither an operand nor each other."""
        cdef ArraySlot slot
        cdef Stretch *stretch
        cdef int i, arrays = self.n_operands + self.n_results
        cdef word read = 0, written = 0  # the ends of what came before
        if memcmp(addresses, self.apart, arrays * sizeof(word)) == 0:
            return True
        for i in range(arrays):
            slot, stretch = <ArraySlot>self.slots[i], &self.stretches[i]
            stretch.low, stretch.high = addresses[i] + slot.low, addresses[i] + slot.high
            stretch.written = i >= self.n_operands
        qsort(self.stretches, arrays, sizeof(Stretch), by_address)
        for i in range(arrays):
            stretch = &self.stretches[i]
            if stretch.low < written or stretch.written and stretch.low < read:
                return False
            if stretch.written:
                written = max(written, stretch.high)
            else:
                read = max(read, stretch.high)
        memcpy(self.apart, addresses, arrays * sizeof(word))
        return True

    cdef int tell_of_changes(self, object first, list others) except -1:
        """Tell the package which arrays of the user's are written to."""
        cdef ArraySlot slot
        if self.inplace >= 0:
            slot = <ArraySlot>self.slots[self.inplace]
            first = slot.array
        elif others is not None:
            first = None  # they begin with it
        if first is not None:
            (<ArraySlot>self.slots[self.n_operands if self.inplace < 0 else self.inplace]).tell_of_change(first)
        if others is not None:
            for array in others:
                if array is not None:
                    (<ArraySlot>self.slots[self.n_operands]).tell_of_change(array)
        return 0

    cdef list gather(self, out, word *addresses):
        """Results of a program with several: new ones, or those of `out` = (result, {name: auxiliary result})."""
        cdef ArraySlot slot
        cdef int i
        cdef list arrays = []
        given = None
        if out is not None:
            if not (type(out) is tuple and len(out) == 2 and type(out[1]) is dict and len(out[1]) == len(self.auxiliary)):
                return None
            given = [out[0]] + [out[1].get(name) for name in self.auxiliary]
            if self.inplace >= 0:
                given.pop(0)
        for i in range(self.n_results):
            slot = <ArraySlot>self.slots[self.n_operands + i]
            if given is None:
                array = slot.fresh(&addresses[self.n_operands + i])
            else:
                array = given[i]
                addresses[self.n_operands + i] = slot.address_of_result(array) if array is not None else 0
                if addresses[self.n_operands + i] == 0:
                    return None
            arrays.append(array)
        return arrays

    cdef bint overlaps(self, ArraySlot written, word address, int besides, const word *addresses):
        """Whether the byte range that is written to meets that of an operand, other than the one it replaces."""
        cdef int i
        for i in range(self.n_operands):
            if i != besides and ranges_meet(written, address, <ArraySlot>self.slots[i], addresses[i]):
                return True
        return False

    cdef bint is_heard(self):
        """Whether somebody wants to hear that operands are replaced."""
        return not self.silent and self.log_levels.get(INFO) is not False

    def bind_one(self, int index, array):
        """Replace an operand by one with exactly its layout; False, and nothing done, where something is not ordinary.

        Once it was False, the caller finds out why, or finds that the log is on.
        """
        cdef ArraySlot slot
        cdef word address
        if index >= self.n_operands or self.is_heard():
            return False
        slot = <ArraySlot>self.slots[index]
        address = slot.address_of(array)
        if address == 0:
            return False
        slot.bound = slot.bind_at(array, address)
        return True

    def once(self, key, tuple arrays, out=None):
        """Run a program on operands that are bound for this call alone; None where something is not ordinary.

        Then nothing was done, and none of them is bound.
        """
        cdef Py_ssize_t i
        if not self.bind_many(arrays):
            return None
        try:
            return self.run_heard(key, out)
        finally:
            for i in range(len(arrays)):
                if arrays[i] is not None:
                    (<ArraySlot>self.slots[i]).bound = None
            self.release_results()

    def bind_many(self, tuple arrays):
        """Replace the operands that are not None, all of them or, with False, none."""
        cdef PyObject *few[FEW]
        cdef PyObject **made = few
        cdef Py_ssize_t n = len(arrays)
        if n > self.n_operands or self.is_heard():
            return False
        if n <= FEW:
            return self.bind_in(arrays, few, None, 0, None, None, None)
        made = <PyObject **>table(n, sizeof(PyObject *))
        try:
            return self.bind_in(arrays, made, None, 0, None, None, None)
        finally:
            PyMem_Free(made)

    cdef bint bind_in(self, tuple arrays, PyObject **made, ArraySlot result, word at, out, owner, str name) except -1:
        """The same, with room for what is bound; `out` and where it is, if it is given."""
        cdef ArraySlot slot
        cdef Binding bound
        cdef Py_ssize_t i, n = len(arrays), done = 0
        cdef word address
        cdef bint any_given = False, fits = True
        try:
            for done in range(n):
                made[done] = NULL
                if arrays[done] is not None:
                    slot = <ArraySlot>self.slots[done]
                    address = slot.address_of(arrays[done])
                    if address == 0:
                        return False
                    binding = slot.bind_at(arrays[done], address)
                    Py_INCREF(binding)
                    made[done] = <PyObject *>binding
                    any_given = True
            done = n
            if not any_given and result is None:
                return False
            for i in range(self.n_operands):
                slot = <ArraySlot>self.slots[i]
                bound = <Binding>made[i] if i < n and made[i] != NULL else slot.bound
                if bound is None or (result is not None and ranges_meet(result, at, slot, bound.address)):
                    return False
            before = None if result is None else getattr(owner, name)  # dropped when all is replaced
            if result is not None:
                setattr(owner, name, out)
            for i in range(n):  # nothing of Python's runs in here, so all are replaced or none
                if made[i] != NULL:
                    slot = <ArraySlot>self.slots[i]
                    bound = slot.bound
                    Py_INCREF(bound)
                    slot.bound = <Binding>made[i]
                    Py_DECREF(<object>made[i])
                    made[i] = <PyObject *>bound
            return True
        finally:
            for i in range(done):
                Py_XDECREF(made[i])

    def bind_with(self, tuple arrays, out, owner, str name):
        """`bind_many`, and store `out` as an attribute of its owner: all of it or, with False, nothing.

        `out` must not interleave with any operand.
        """
        cdef PyObject *few[FEW]
        cdef ArraySlot slot
        cdef word address
        cdef Py_ssize_t n = len(arrays)
        if not (n <= self.n_operands and n <= FEW and self.n_results == 1) or self.is_heard():
            return False
        slot = <ArraySlot>self.slots[self.n_operands]
        address = slot.address_of_result(out)
        return address != 0 and self.bind_in(arrays, few, slot, address, out, owner, name)

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
        for i in range(len(self.watched)):
            self.prepared_for[i] = 0


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
