"""Calls into C libraries that are prepared once and made many times."""

from typing import NamedTuple


#: How many loops can be nested around a call.
MAX_LOOPS = PM_LOOPS


class Slot(NamedTuple):
    """Stands in a prepared call's arguments for the address of an operand.

    Parameters
    ----------
    operand : int
        Index of the operand among those the program runs on.
    offset : int
        Bytes added to its address.
    """

    operand: int
    offset: int = 0


cdef class Call:
    """A C function with its arguments, ready to be made on changing operands.

    Parameters
    ----------
    function : int
        Address of the function. It takes integers and pointers only.
    arguments : sequence of int or Slot
        At most 20; a `Slot` is patched with an operand's address at each invocation.
    name : str
        The function's name, for messages.
    returns_status : bool
        Whether the function returns 0 for success; otherwise what it returns is ignored.
    loops : sequence of (count, steps)
        Nested repetitions, outermost first; ``steps`` has, for each `Slot` in order, the bytes it moves by.
    keep : object
        Owns the memory that arguments point to; kept alive as long as the call.
    unaligned : Call, optional
        Made in this call's place when an operand's address is not a multiple of `alignment` bytes.
    alignment : int
        A power of two.
    """

    def __init__(self, function, arguments, *, str name="", bint returns_status=False, loops=(), keep=None,
                 Call unaligned=None, alignment=1):
        if not function:
            raise ValueError(f"{name or 'the function'} has no address")
        if len(arguments) > PM_WORDS or len(loops) > PM_LOOPS:
            raise ValueError(f"{name}: {len(arguments)} arguments and {len(loops)} loops; "
                             f"a prepared call has at most {PM_WORDS} and {PM_LOOPS}")
        cdef pm_call *call = &self.native
        cdef int slot = 0, i, d
        call.function = <void *><word>function
        call.n_words = len(arguments)
        call.returns_status = returns_status
        for i, argument in enumerate(arguments):
            if isinstance(argument, Slot):
                if slot == PM_SLOTS:
                    raise ValueError(f"{name}: a prepared call has at most {PM_SLOTS} operand slots")
                call.slot_word[slot] = i
                call.slot_operand[slot] = argument.operand
                call.slot_offset[slot] = argument.offset
                slot += 1
            else:
                call.words[i] = argument
        call.n_slots = slot
        call.n_loops = len(loops)
        for d, (count, steps) in enumerate(loops):
            if count < 1 or len(steps) != slot:
                raise ValueError(f"{name}: a loop of {count} with {len(steps)} steps for {slot} slots")
            call.loop_count[d] = count
            for i in range(slot):
                call.loop_step[d][i] = steps[i]
        if unaligned is not None:
            call.alignment_mask = alignment - 1
            call.unaligned = &unaligned.native
        self.unaligned = unaligned
        self.name = name
        self.keep = keep

    def __call__(self, *addresses):
        """Make the call now, on operands at these addresses; returns the status."""
        cdef word operands[32]
        cdef int i, status
        if len(addresses) > 32 or len(addresses) <= self.highest_slot:
            raise ValueError(f"{self.name}: {len(addresses)} addresses for operands up to number {self.highest_slot}")
        for i in range(len(addresses)):
            operands[i] = addresses[i]
        with nogil:
            status = pm_run(&self.native, operands)
        return status

    @property
    def highest_slot(self):
        """Largest operand index that the call refers to, or -1."""
        cdef int i, highest = -1
        for i in range(self.native.n_slots):
            highest = max(highest, self.native.slot_operand[i])
        return highest


def invoke(function, *arguments):
    """Call the C function at address `function` with integer arguments and return its result as a signed word."""
    cdef word words[20]
    cdef int i, n = len(arguments)
    if n > PM_WORDS:
        raise ValueError(f"{n} arguments; at most {PM_WORDS} can be passed")
    for i in range(n):
        words[i] = arguments[i]
    if not function:
        raise ValueError("the function has no address")
    cdef void *address = <void *><word>function
    cdef word result
    with nogil:
        result = pm_invoke(address, n, words)
    return result
