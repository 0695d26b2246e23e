"""Calls into C libraries: those that are prepared once and made many times, and C functions as Python functions."""

import ctypes
import inspect
from typing import NamedTuple

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport PyObject

cdef extern from "function.h":
    enum: PM_MAX_WORDS
    enum: PM_MAX_REALS
    word pm_invoke_words(void *function, int n, word *words) nogil
    word pm_invoke_with_reals(void *function, int n, word *words, const double *reals) nogil
    double pm_float_in_register(float value)
    int pm_complex64_in_registers(double *reals, float real, float imaginary)

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        unsigned long tp_flags
        Py_ssize_t tp_vectorcall_offset
    unsigned long Py_TPFLAGS_HAVE_VECTORCALL
    void PyType_Modified(PyTypeObject *type)
    Py_ssize_t PyVectorcall_NARGS(size_t flagged)
    object PyVectorcall_Call(object function, object arguments, object keywords)
    bint is_integer "PyLong_Check"(PyObject *value)
    word integer_value "PyLong_AsSsize_t"(PyObject *value)
    bint is_float "PyFloat_CheckExact"(PyObject *value)
    double float_value "PyFloat_AS_DOUBLE"(PyObject *value)
    PyObject *PyErr_Occurred()
    void PyErr_Clear()


#: How many loops can be nested around a call.
MAX_LOOPS = PM_LOOPS
#: Address of ``void store(word *where, word value)``, for calls that leave an operand's address where a library reads it.
STORE = <word>&pm_store
#: Address of ``void copy(void *where, const void *number, word size)``, for calls that leave an operand's bytes there.
COPY = <word>&pm_copy
#: Address of ``int fail(int status)``, which only returns the status, for calls that must not be made.
FAIL = <word>&pm_fail
#: Address of ``int give(handle, word stream, word workspace, word size)``, which tells a library's handle what it is not
#: told yet. The handle is `HANDLE_WORDS` words: itself, the addresses of the two functions, and zeros.
GIVE, HANDLE_WORDS = <word>&pm_give, sizeof(pm_handle) // sizeof(word)
#: Bytes of a number, by dtype, and the bits of a word of 8 bytes that are set in one that is not 0: all but the signs.
NONZERO_BITS = {
    "float16": (2, 0x7FFF), "float32": (4, 0x7FFFFFFF), "float64": (8, (1 << 63) - 1),
    "complex64": (8, 0x7FFFFFFF7FFFFFFF), "complex128": (16, (1 << 63) - 1),
}


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
    goes_on : bool
        Whether its other repetitions, and the calls of a program behind it, are made whatever it returns; the failure
        is told after them.
    error : callable, optional
        Makes the exception for a failure, from the status and the function's name.
    loops : sequence of (count, steps)
        Nested repetitions, outermost first; ``steps`` has, for each `Slot` in order, the bytes it moves by.
    keep : object
        Owns the memory that arguments point to; kept alive as long as the call.
    unaligned : Call, optional
        Made in this call's place when an operand's address is not a multiple of `alignment` bytes.
    alignment : int
        A power of two.
    aligned_slots : int, optional
        How many of the slots, from the first, it is asked of. Default: all.
    unless_zero : (Slot or int, str), optional
        A number, or its address, and its dtype, one of `NONZERO_BITS`: the call is made only where that is not 0.
    if_zero : Call, optional
        Made in its place where it is.
    """

    def __init__(self, function, arguments, *, str name="", bint returns_status=False, bint goes_on=False, error=None,
                 loops=(), keep=None, Call unaligned=None, alignment=1, aligned_slots=None, unless_zero=None,
                 Call if_zero=None):
        if not function:
            raise ValueError(f"{name or 'the function'} has no address")
        if len(arguments) > PM_WORDS or len(loops) > PM_LOOPS:
            raise ValueError(f"{name}: {len(arguments)} arguments and {len(loops)} loops; "
                             f"a prepared call has at most {PM_WORDS} and {PM_LOOPS}")
        cdef pm_call *call = &self.native
        cdef int slot = 0, i, d
        call.function = <void *><word>function
        call.n_words = len(arguments)
        call.returns_status, call.goes_on = returns_status, goes_on
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
            call.n_aligned = slot if aligned_slots is None else aligned_slots
            call.unaligned = &unaligned.native
        if unless_zero is not None:
            number, dtype = unless_zero
            call.condition_operand, call.condition_offset = number if isinstance(number, Slot) else (-1, number)
            call.condition_size, call.condition_bits = NONZERO_BITS[dtype]
            call.if_zero = NULL if if_zero is None else &if_zero.native
        self.unaligned, self.if_zero = unaligned, if_zero
        self.name, self.keep, self.error = name, keep, error

    def redirected(self, places):
        """The same call on operands that are elsewhere.

        Parameters
        ----------
        places : dict
            From an operand's index to the `Slot` that stands for its first element now.
        """
        cdef Call call = Call.__new__(Call)
        cdef int i
        call.native = self.native
        for i in range(self.native.n_slots):
            place = places.get(self.native.slot_operand[i])
            if place is not None:
                call.native.slot_operand[i] = place.operand
                call.native.slot_offset[i] += place.offset
        call.name, call.keep, call.error = self.name, self.keep, self.error
        if self.unaligned is not None:
            call.unaligned = self.unaligned.redirected(places)
            call.native.unaligned = &call.unaligned.native
        if call.native.condition_size and call.native.condition_operand in places:
            place = places[call.native.condition_operand]
            call.native.condition_operand = place.operand
            call.native.condition_offset += place.offset
        if self.if_zero is not None:
            call.if_zero = self.if_zero.redirected(places)
            call.native.if_zero = &call.if_zero.native
        return call

    def bound(self, arguments):
        """The same call with the addresses of some operands given for good.

        Parameters
        ----------
        arguments : sequence of int or Slot
            Of each operand, by its number: its address, or the `Slot` that stands for its first element now.
        """
        cdef Call call = Call.__new__(Call)
        cdef int i, slots = 0
        if self.native.n_loops or self.unaligned is not None or self.native.condition_size:
            raise ValueError(f"{self.name}: a call with loops, alignments or a condition cannot be bound")
        call.native = self.native
        for i in range(self.native.n_slots):
            argument = arguments[self.native.slot_operand[i]]
            if isinstance(argument, Slot):
                call.native.slot_word[slots] = self.native.slot_word[i]
                call.native.slot_operand[slots] = argument.operand
                call.native.slot_offset[slots] = self.native.slot_offset[i] + argument.offset
                slots += 1
            else:
                call.native.words[self.native.slot_word[i]] = self.native.slot_offset[i] + argument
        call.native.n_slots = slots
        call.name, call.keep, call.error = self.name, self.keep, self.error
        return call

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
        if self.native.condition_size:
            highest = max(highest, self.native.condition_operand)
        for other in (self.unaligned, self.if_zero):
            if other is not None:
                highest = max(highest, other.highest_slot)
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


# C functions as Python functions.

cdef enum:
    MOST_PARAMETERS = 40
    MOST_RESULTS = 64

#: The integers that a parameter of each kind takes. The letters are those of the module `struct`.
LIMITS = {
    "P": (-(1 << 63), (1 << 63) - 1), "q": (-(1 << 63), (1 << 63) - 1), "Q": (0, (1 << 63) - 1),
    "i": (-(1 << 31), (1 << 31) - 1), "I": (0, (1 << 32) - 1), "h": (-(1 << 15), (1 << 15) - 1),
    "H": (0, (1 << 16) - 1), "b": (-(1 << 7), (1 << 7) - 1), "B": (0, (1 << 8) - 1), "?": (0, 1),
    "s": (-(1 << 63), (1 << 63) - 1),
}
#: The most floating-point registers that a parameter of each kind takes.
REALS = {"f": 1, "d": 1, "F": 2, "D": 2}
#: The elements of lists in host memory.
ELEMENTS = {
    "i": ctypes.c_int32, "I": ctypes.c_uint32, "q": ctypes.c_int64, "Q": ctypes.c_uint64, "f": ctypes.c_float,
    "d": ctypes.c_double, "P": ctypes.c_void_p,
}


@cython.final
cdef class Function:
    """A C function as a Python function: integers for pointers and handles, results for output parameters.

    Called with its inputs it returns what C writes to its outputs: None, the one value, or a tuple. Called with all of
    C's parameters it takes addresses for the outputs too, and returns None. A list in host memory is given as its
    address or as a sequence, a string as its address, a str or bytes, a character as its code or a str.

    Parameters
    ----------
    interface : object
        Finds the function and explains its failures: ``interface.resolve(function)`` returns its address,
        ``interface.failure(function, status)`` an exception, ``interface.name_of(function)`` its name in Python, and
        ``interface.module`` is the module that it is in.
    symbol : str
        The function's name in C.
    kinds : str
        A letter for each parameter as in the module `struct` (``F`` and ``D``: complex numbers by value), ``s`` for a
        string; after ``>`` if it points to an output, after ``*`` if it points to a list.
    parameters : str
        The parameters as in C, with the names that they have in Python.
    returns : str
        What C returns: a letter, ``s`` for a string, ``v`` for nothing, ``e`` for a status, zero for success.
    blocks : bool
        Whether other Python threads run meanwhile. What only reads or writes a few bytes of host memory does not need
        that.
    """

    cdef void *vectorcall
    cdef void *address
    cdef int n_parameters, n_inputs, n_outputs, n_words
    cdef bint blocks, has_reals
    cdef char result
    cdef unsigned char input[MOST_PARAMETERS]
    cdef unsigned char output[MOST_PARAMETERS]
    cdef unsigned char word_of[MOST_PARAMETERS]
    cdef char kind[MOST_PARAMETERS]
    cdef char mark[MOST_PARAMETERS]
    cdef word low[MOST_PARAMETERS]
    cdef word high[MOST_PARAMETERS]
    cdef readonly object interface
    cdef readonly str symbol, kinds, parameters, returns

    def __cinit__(self):
        self.vectorcall = <void *>call_function

    def __init__(self, interface, str symbol, str kinds="", str parameters="", str returns="e", bint blocks=True):
        self.interface, self.symbol, self.kinds, self.parameters = interface, symbol, kinds, parameters
        self.returns, self.blocks = returns, blocks
        self.address = NULL

    cdef int prepare(self) except -1:
        """What is left to the first call, because a module has hundreds of functions and a program calls a few."""
        cdef int p = 0, n_reals = 0
        cdef Py_UCS4 mark = u" "
        self.n_inputs = self.n_outputs = self.n_words = 0
        for letter in self.kinds:
            if letter in ">*":
                mark = letter
                continue
            if p == MOST_PARAMETERS:
                raise ValueError(f"{self.symbol} has more than {MOST_PARAMETERS} parameters")
            self.kind[p], self.mark[p] = ord(letter), mark
            self.low[p], self.high[p] = LIMITS["P"] if mark != u" " else LIMITS.get(letter, (1, 0))
            self.word_of[p] = self.n_words
            if mark == u" " and letter in REALS:
                n_reals += REALS[letter]
            else:
                self.n_words += 1
            if mark == u">":
                self.output[self.n_outputs] = p
                self.n_outputs += 1
            else:
                self.input[self.n_inputs] = p
                self.n_inputs += 1
            mark = u" "
            p += 1
        if self.n_words > PM_MAX_WORDS or n_reals > PM_MAX_REALS:
            raise ValueError(f"{self.symbol} takes {self.n_words} words and {n_reals} floating-point registers; "
                             f"at most {PM_MAX_WORDS} and {PM_MAX_REALS} can be passed")
        self.n_parameters, self.has_reals, self.result = p, n_reals > 0, ord(self.returns)
        self.address = <void *><word>self.interface.resolve(self)
        return 0

    cdef object irregular(self, tuple arguments, dict keywords):
        """The first call, and those with keywords or with addresses for the outputs."""
        cdef word words[PM_MAX_WORDS]
        cdef double reals[PM_MAX_REALS]
        cdef word results[MOST_RESULTS]
        cdef int i, p, used = 0
        if self.address == NULL:
            self.prepare()
        arguments = self.in_order(arguments, keywords)
        cdef bint addressed = self.n_outputs > 0 and len(arguments) == self.n_parameters
        if len(arguments) != self.n_inputs and not addressed:
            every = f", or {self.n_parameters} with its outputs' addresses" if self.n_outputs else ""
            raise TypeError(f"{self.__qualname__}({', '.join(self.input_names())}) takes {self.n_inputs} arguments"
                            f"{every}, not {len(arguments)}")
        keep = []
        for i in range(len(arguments)):
            p = i if addressed else self.input[i]
            self.convert(p, arguments[i], words, reals, &used, keep)
        if not addressed:
            self.place_outputs(words, results)
        result = self.invoke(words, reals)
        return self.outcome(result, results, 0 if addressed else self.n_outputs)

    cdef tuple in_order(self, tuple arguments, dict keywords):
        """The arguments in C's order, or in that of the inputs, from those without and those with a keyword."""
        if not keywords:
            return arguments
        names = self.input_names()
        outputs = [name for name, kind in self.named_parameters() if kind[0] == ">"]
        if any(name in outputs for name in keywords):
            names = [name for name, _ in self.named_parameters()]
        unknown = [name for name in keywords if name not in names[len(arguments):]]
        missing = [name for name in names[len(arguments):] if name not in keywords]
        if unknown or missing:
            raise TypeError(f"{self.__qualname__}({', '.join(names)}): " + "; ".join(
                [f"{name!r} is given twice" if name in names else f"there is no {name!r}" for name in unknown]
                + [f"{name!r} is missing" for name in missing]))
        return arguments + tuple([keywords[name] for name in names[len(arguments):]])

    cdef int convert(self, int p, object value, word *words, double *reals, int *used, list keep) except -1:
        """Put one argument where C expects it; `keep` owns what it points to."""
        kind, mark = chr(self.kind[p]), chr(self.mark[p])
        if mark == " " and kind in REALS:
            if kind in "fd":
                reals[used[0]] = pm_float_in_register(value) if kind == "f" else <double>value
                used[0] += 1
            elif kind == "F":
                used[0] += pm_complex64_in_registers(&reals[used[0]], complex(value).real, complex(value).imag)
            else:
                reals[used[0]], reals[used[0] + 1] = complex(value).real, complex(value).imag
                used[0] += 2
            return 0
        if mark == "*" and isinstance(value, (list, tuple)):
            value = (ELEMENTS[kind] * len(value))(*value)
            keep.append(value)
            value = ctypes.addressof(value)
        elif kind == "s" and mark == " " and isinstance(value, (str, bytes)):
            value = value.encode() if isinstance(value, str) else value
            keep.append(value)
            value = <word>PyBytes_AS_STRING(value)
        elif kind in "bB" and mark == " " and isinstance(value, str) and len(value) == 1:
            value = ord(value)
        elif not hasattr(type(value), "__index__"):
            wanted = {"*": "an address or a sequence"}.get(mark, "an address, str or bytes" if kind == "s" else "an integer")
            raise TypeError(f"{self.__qualname__}: {self.parameter_name(p)} must be {wanted}, not {type(value).__name__}")
        number = value.__index__()
        if kind == "Q" and mark == " " and self.high[p] < number < 1 << 64:
            number -= 1 << 64
        elif not self.low[p] <= number <= self.high[p]:
            raise OverflowError(f"{self.__qualname__}: {self.parameter_name(p)} must be from {self.low[p]} to "
                                f"{self.high[p]}, not {number}")
        words[self.word_of[p]] = number
        return 0

    cdef inline void place_outputs(self, word *words, word *results) noexcept:
        cdef int i
        for i in range(self.n_outputs):
            results[i] = 0
            words[self.word_of[self.output[i]]] = <word>&results[i]

    cdef inline word invoke(self, word *words, const double *reals) noexcept:
        cdef word result
        if self.blocks:
            with nogil:
                result = pm_invoke_with_reals(self.address, self.n_words, words, reals) if self.has_reals else \
                    pm_invoke_words(self.address, self.n_words, words)
        elif self.has_reals:
            result = pm_invoke_with_reals(self.address, self.n_words, words, reals)
        else:
            result = pm_invoke_words(self.address, self.n_words, words)
        return result

    cdef inline object outcome(self, word result, const word *results, int n_outputs):
        cdef int i
        if self.result == c"e":
            if <int>result:
                raise self.interface.failure(self, <int>result)
        elif self.result != c"v":
            return python_value(self.result, &result)
        if n_outputs == 0:
            return None
        if n_outputs == 1:
            return python_value(self.kind[self.output[0]], results)
        return tuple([python_value(self.kind[self.output[i]], &results[i]) for i in range(n_outputs)])

    # What describes it.

    def named_parameters(self):
        """Names and kinds of C's parameters, in order; an output's kind begins with ``>``, a list's with ``*``."""
        names = [part.rpartition(" ")[2].strip("*[]") for part in self.parameters.split(", ")] if self.parameters else []
        kinds = self.kinds.replace(">", " >").replace("*", " *")
        letters = []
        for word in kinds.split(" "):
            letters += [word[:2], *word[2:]] if word[:1] in (">", "*") else list(word)
        return list(zip(names, letters, strict=True))

    def input_names(self):
        """Names of the parameters without the outputs."""
        return [name for name, kind in self.named_parameters() if kind[0] != ">"]

    cdef str parameter_name(self, int p):
        return self.named_parameters()[p][0]

    @property
    def __name__(self):
        return self.interface.name_of(self)

    @property
    def __qualname__(self):
        return f"{self.interface.module.rpartition('.')[2]}.{self.__name__}"

    @property
    def __module__(self):
        return self.interface.module

    @property
    def __signature__(self):
        return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                                  for name in self.input_names()])

    @property
    def __doc__(self):
        outputs = [name for name, kind in self.named_parameters() if kind[0] == ">"]
        returned = {"e": "", "v": ""}.get(self.returns, "what C returns")
        returned = ", ".join(([returned] if returned else []) + outputs)
        return f"{self.symbol}({self.parameters})" + (f"\n\nReturns {returned}." if returned else "")

    def __repr__(self):
        return f"<function {self.__qualname__}: {self.symbol}>"

    def __call__(self, *arguments, **keywords):
        return PyVectorcall_Call(self, arguments, keywords)

    def __reduce__(self):
        return self.__name__


cdef object python_value(char kind, const word *value):
    """A value of C that is stored here."""
    if kind == c"P" or kind == c"q":
        return value[0]
    if kind == c"i":
        return (<const int *>value)[0]
    if kind == c"I":
        return (<const unsigned int *>value)[0]
    if kind == c"Q":
        return (<const unsigned long long *>value)[0]
    if kind == c"f":
        return (<const float *>value)[0]
    if kind == c"d":
        return (<const double *>value)[0]
    if kind == c"h":
        return (<const short *>value)[0]
    if kind == c"H":
        return (<const unsigned short *>value)[0]
    if kind == c"b":
        return (<const signed char *>value)[0]
    if kind == c"B":
        return (<const unsigned char *>value)[0]
    if kind == c"?":
        return (<const unsigned char *>value)[0] != 0
    if kind == c"s":
        return (<const char *>value[0]).decode("utf-8", "replace") if value[0] else None
    raise ValueError(f"a value of kind {chr(kind)!r} cannot be returned")


cdef object call_function(object callable, PyObject *const *arguments, size_t flagged, PyObject *names):
    """A `Function`'s vector call (PEP 590): the ordinary call, without a tuple for its arguments."""
    cdef Function self = <Function>callable
    cdef word words[PM_MAX_WORDS]
    cdef double reals[PM_MAX_REALS]
    cdef word results[MOST_RESULTS]
    cdef word value
    cdef int i, p, used = 0
    cdef Py_ssize_t n = PyVectorcall_NARGS(flagged)
    cdef list keep = None
    if names != NULL or self.address == NULL or n != self.n_inputs:
        keywords = <object>names if names != NULL else ()
        return self.irregular(tuple([<object>arguments[i] for i in range(n)]),
                              {name: <object>arguments[n + i] for i, name in enumerate(keywords)})
    for i in range(n):
        p = self.input[i]
        if is_integer(arguments[i]):
            value = integer_value(arguments[i])
            if self.low[p] <= value <= self.high[p] and (value != -1 or PyErr_Occurred() == NULL):
                words[self.word_of[p]] = value
                continue
            PyErr_Clear()
        elif is_float(arguments[i]) and (self.kind[p] == c"d" or self.kind[p] == c"f") and self.mark[p] == c" ":
            reals[used] = float_value(arguments[i])
            if self.kind[p] == c"f":
                reals[used] = pm_float_in_register(<float>reals[used])
            used += 1
            continue
        if keep is None:
            keep = []
        self.convert(p, <object>arguments[i], words, reals, &used, keep)
    self.place_outputs(words, results)
    return self.outcome(self.invoke(words, reals), results, self.n_outputs)


cdef int enable_vector_calls() except -1:
    """Tell Python where each `Function` has the address of its vector call."""
    cdef Function function = Function.__new__(Function)
    cdef PyTypeObject *type = <PyTypeObject *>Function
    type.tp_vectorcall_offset = <char *>&function.vectorcall - <char *><PyObject *>function
    type.tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL
    PyType_Modified(type)
    return 0


enable_vector_calls()
