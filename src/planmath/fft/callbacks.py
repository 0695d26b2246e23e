"""Callbacks that a transform calls for each element that it loads and stores."""

from __future__ import annotations

import ctypes
import dis
import hashlib
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from planmath.core.arrays import Layout, dtype_name, package_of, same_strides, spanned
from planmath.core.cuda import devices
from planmath.core.options import as_options
from planmath.core.pickling import packed
from planmath.fft import jit

if TYPE_CHECKING:
    from planmath.fft.problem import FFTProblem

#: What cuFFT calls the phases, which callers may name.
PHASES = {"prolog": "Load", "epilog": "Store"}


@dataclass
class DeviceCallable:
    """A compiled callback, with the data that it gets.

    Parameters
    ----------
    ltoir : bytes or int, optional
        What `compile_prolog` or `compile_epilog` returned; for CUDA devices also LTO-IR from elsewhere, or the address
        of such in host memory. Without it there is no callback.
    size : int, optional
        The bytes of LTO-IR at an address.
    data : array or int, optional
        What the callback gets as ``user_info``: an array that is where the transform is computed, with elements of
        ``user_info_dtype``, or the address of such. An array is kept alive as long as the plan; it has no gaps, or lies
        like the operand (for a prolog) or the result (for an epilog). Its values count at each execution. Default: a
        null pointer, which must not be read.

    Raises
    ------
    ValueError
        If `ltoir` is of another type or an address without `size`, or `data` neither an array nor an address.
    """

    ltoir: Any = None
    size: int | None = None
    data: Any = None

    def __post_init__(self) -> None:
        if self.ltoir is None:
            return
        if isinstance(self.ltoir, bytes):
            self.size = len(self.ltoir)
        elif not _is_integer(self.ltoir):
            raise ValueError(
                f"ltoir is a {type(self.ltoir).__name__}; expected bytes, such as compile_prolog() returns, or an "
                "address"
            )
        elif self.size is None or not _is_integer(self.size) or self.size < 1:
            raise ValueError(f"size is {self.size!r}; expected the bytes of LTO-IR at the address that ltoir is")
        if self.data is None:
            self.data = 0
        for name, value, least in (("ltoir", self.ltoir, 1), ("data", self.data, 0)):
            if _is_integer(value) and not least <= value < 1 << 64:
                raise ValueError(f"{name} is {value}, which is no address: expected one from {least} to 2^64 - 1")
        if not _is_integer(self.data):
            try:
                package_of(self.data, "data")
            except TypeError as error:
                raise ValueError(f"{error}, or an address") from None


class CallbackCode(bytes):
    """A callback as `compile_prolog` and `compile_epilog` return it: its LTO-IR, and what it was made from.

    The bytes are empty where no code for a device was made: see `compile_prolog`.

    Attributes
    ----------
    description : planmath.fft.jit.Description
        Phase, Python function and types.
    capability : tuple of int or None
        The compute capability that the bytes are for.
    symbol : str
    representation : {'ltoir', 'ptx'}
    identity : str
        The same for all code that was made from the same, in all processes where that can be said.
    """

    description: jit.Description
    identity: str
    capability: tuple[int, int] | None
    symbol: str
    representation: str
    _loops: jit.Loops | None = None

    @property
    def loops(self) -> jit.Loops:
        """The loops for the CPU."""
        if self._loops is None:
            self._loops = jit.host_loops(self._unchanged())
        return self._loops

    def by_address(self, capability: tuple[int, int]) -> bytes:
        """LTO-IR of the function for kernels of planmath's own: see `jit.code_by_address`."""
        return jit.code_by_address(self._unchanged(), capability)

    def for_device(self, capability: tuple[int, int]) -> bytes:
        """LTO-IR that runs on a device: these bytes if they do, else from the function.

        Raises
        ------
        RuntimeError
            If Numba's compiler for CUDA is not there.
        """
        if self and self.representation == "ltoir" and self.capability is not None and self.capability <= capability:
            return bytes(self)
        return jit.device_code(self._unchanged(), capability, self.symbol, "ltoir")

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has as well: loops are made anew."""
        return {name: value for name, value in vars(self).items() if name != "_loops"}

    def _unchanged(self) -> jit.Description:
        """The description, from which more code is to be made. Raises where that would be other code."""
        if self.description.digest() not in (None, self.identity):
            raise ValueError(
                f"what the {self.description.name} computes with was changed after it was compiled; compile it again"
            )
        return self.description

    @property
    def reads_user_info(self) -> bool:
        """Whether the function has its parameter ``user_info`` in its code."""
        code = self.description.function.__code__
        place = jit.PARAMETERS[self.description.phase].index("user_info")
        name = code.co_varnames[place]
        for instruction in dis.get_instructions(code):
            names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
            if instruction.opname.startswith("LOAD_") and "GLOBAL" not in instruction.opname and name in names:
                return True
        return False


def compile_prolog(
    function: Any, element_dtype: Any, user_info_dtype: Any, *, name: str | None = None, phase: Any = None,
    representation: str = "ltoir", compute_capability: Any = None,
) -> CallbackCode:  # fmt: skip
    """Compile a Python function that a transform calls in place of loading an element.

    Parameters
    ----------
    function : callable
        ``function(data_in, offset, user_info, reserved)`` returns the element. ``data_in`` points to the operand's
        first element and ``offset`` says how many elements from there the wanted one is: the sum of its indices times
        the strides of `FFT.get_input_layout`. ``user_info`` points to the data of the `DeviceCallable`; a single value
        is ``user_info[0]``. ``reserved`` must not be used. What the function does has to suit Numba; numbers and arrays
        of its closure are constants. It is called once for each element, in no order, and by several threads at once.
        Quotients in it are NumPy's: a division by zero is an infinity or not a number. What it calls of other functions
        that Numba compiled is as it is: they may raise exceptions, which `FFT.execute` tells of on the CPU.
    element_dtype : {'float32', 'float64', 'complex64', 'complex128'}
        The operand's dtype, by name or as a dtype.
    user_info_dtype : str, numba.types.Type or dtype
        One of the same names, another type of Numba's, or a dtype of NumPy's.
    name : str, optional
        The symbol in the LTO-IR. Default: the one that cuFFT looks for.
    phase : {'Load'}, optional
        Says nothing new.
    representation : {'ltoir', 'ptx'}
        What the bytes are; transforms take LTO-IR.
    compute_capability : str, optional
        Of the device that the bytes are for, such as ``'90'``. Default: the current device's. Where there is none, or
        Numba's compiler for CUDA is not installed, the bytes are empty, and serve transforms on the CPU.

    Returns
    -------
    CallbackCode
        Bytes that remember function and types, for a `DeviceCallable`.

    Raises
    ------
    RuntimeError
        If Numba is missing, or for a given `compute_capability` its compiler for CUDA.
    TypeError
        If the function does not take these parameters.
    numba.core.errors.TypingError
        If Numba cannot compile it, as where it does not return an element.
    ValueError
        For other arguments than these.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> from planmath.fft import DeviceCallable, compile_prolog
    >>> def filtered(data_in, offset, user_info, reserved):
    ...     return data_in[offset] * user_info[offset]
    >>> prolog = DeviceCallable(compile_prolog(filtered, "complex128", "float64"), data=np.array([0.0, 1.0, 0.0, 0.0]))
    >>> planmath.fft.ifft(np.array([5, 1j, 7, 8]), prolog=prolog).round(3)
    array([ 0.+1.j, -1.+0.j,  0.-1.j,  1.+0.j])
    """
    return _compiled(
        "prolog", function, element_dtype, user_info_dtype, name, phase, representation, compute_capability
    )


def compile_epilog(
    function: Any, element_dtype: Any, user_info_dtype: Any, *, name: str | None = None, phase: Any = None,
    representation: str = "ltoir", compute_capability: Any = None,
) -> CallbackCode:  # fmt: skip
    """Compile a Python function that a transform calls in place of storing an element.

    Parameters are those of `compile_prolog`, but for the function, and the element being the result's:
    ``function(data_out, offset, data, user_info, reserved)`` returns nothing and stores ``data``, or what it makes of
    it, by itself: ``data_out[offset] = data``. ``data_out`` points to the result's first element, and the offset counts
    by the strides of `FFT.get_output_layout`. Where it does not store, the result's memory stays as it was.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> from planmath.fft import DeviceCallable, compile_epilog
    >>> def halved(data_out, offset, data, user_info, reserved):
    ...     data_out[offset] = data / 2
    >>> epilog = DeviceCallable(compile_epilog(halved, "complex128", "complex128"))
    >>> planmath.fft.fft(np.array([1, 1j]), epilog=epilog)
    array([0.5+0.5j, 0.5-0.5j])
    """
    return _compiled(
        "epilog", function, element_dtype, user_info_dtype, name, phase, representation, compute_capability
    )


def _compiled(
    phase: str, function: Any, element_dtype: Any, user_info_dtype: Any, name: Any, given_phase: Any,
    representation: Any, compute_capability: Any,
) -> CallbackCode:  # fmt: skip
    jit.numba()
    plain = jit.check_parameters(phase, function)
    element = jit.check_element(element_dtype)
    described = jit.Description(phase, plain, element, jit.check_user_info(user_info_dtype))
    if representation not in ("ltoir", "ptx"):
        raise ValueError(f"representation is {representation!r}; expected 'ltoir' or 'ptx'")
    if given_phase not in (None, PHASES[phase]):
        raise ValueError(f"phase is {given_phase!r}; compile_{phase}() makes callbacks of the phase {PHASES[phase]!r}")
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"name is {name!r}; expected a symbol in C")
    symbol = name or jit.SYMBOLS[phase, element]
    capability = _capability(compute_capability)
    content = b""
    if capability is not None:
        try:
            content = jit.device_code(described, capability, symbol, representation)
        except RuntimeError:
            if compute_capability is not None:
                raise
            capability = None  # nobody asked for it: it may be for the CPU
    code = CallbackCode(content)
    code.description, code.capability, code.symbol, code.representation = described, capability, symbol, representation
    code.identity = described.digest() or f"{described.name}, number {next(_numbers)} of this process"
    if capability is None:
        _ = code.loops  # what is wrong with the function is told now
    return code


#: For code that nothing else identifies.
_numbers = count(1)


def _capability(given: Any) -> tuple[int, int] | None:
    """The compute capability to compile for; None where none was given, and there is no device or no compiler."""
    if given is None:
        if devices.missing() is None and jit.has_cuda_compiler():
            return devices.compute_capability()
        return None
    if not (isinstance(given, str) and re.fullmatch(r"\d{2,3}", given)):
        raise ValueError(f"compute_capability is {given!r}; expected a string such as '90' for compute capability 9.0")
    return int(given[:-1]), int(given[-1])


@dataclass(frozen=True)
class Callback:
    """A callback of a plan: equal to another one with the same code and the same data."""

    phase: str
    identity: str
    """Says what code it is, in all processes where that can be said."""
    element: str
    address: int
    """Of the data."""
    code: Any = field(compare=False)
    """A `CallbackCode`, or LTO-IR from elsewhere."""
    owner: Any = field(compare=False, default=None)
    """Owns the data."""

    def __repr__(self) -> str:
        return f"{self.phase} {self.identity}"

    @property
    def name(self) -> str:
        """The function's, where it is known."""
        if isinstance(self.code, CallbackCode):
            return self.code.description.name
        return f"{self.phase} of LTO-IR {self.identity[:8]}"

    @property
    def symbol(self) -> str:
        return self.code.symbol if isinstance(self.code, CallbackCode) else jit.SYMBOLS[self.phase, self.element]

    def for_device(self, capability: tuple[int, int]) -> bytes:
        return self.code.for_device(capability) if isinstance(self.code, CallbackCode) else self.code


def with_callbacks(problem: FFTProblem, prolog: Any, epilog: Any) -> FFTProblem:
    """The problem with a user's callbacks.

    Raises
    ------
    TypeError, ValueError
        If they are none, or not for this problem.
    """
    return problem._replace(
        prolog=_callback("prolog", prolog, problem, problem.dtype, problem.shape, problem.strides),
        epilog=_callback("epilog", epilog, problem, problem.result_dtype, problem.result_shape, problem.result_strides),
    )


def as_given(callback: Callback) -> dict[str, Any]:
    """What a user gives for the same callback, with the data as it travels."""
    given: dict[str, Any] = {"ltoir": callback.code}
    if callback.owner is not None:
        package = package_of(callback.owner, "data")
        given["data"] = packed(callback.owner, package.layout(callback.owner, "data"), package.name)
    return given


def borrowed(problem: FFTProblem) -> FFTProblem:
    """The same problem without references to the data of its callbacks."""
    prolog, epilog = (each and replace(each, owner=None) for each in (problem.prolog, problem.epilog))
    return problem._replace(prolog=prolog, epilog=epilog)


def said(name: str, given: Any) -> Hashable:
    """What makes a callback, as it was given, the same as another one; part of a key of stateless calls."""
    callable_ = _as_callable(name, given)
    if callable_ is None:
        return None
    data = callable_.data
    where: Hashable = data
    if not _is_integer(data):
        package = package_of(data, "data")
        where = package.address(data), package.layout(data, "data")
    return _identity(callable_), where


def _as_callable(name: str, given: Any) -> DeviceCallable | None:
    if given is None:
        return None
    if isinstance(given, bytes):
        raise TypeError(f"{name} is bytes; expected a DeviceCallable: pass DeviceCallable(code, data=...)")
    if callable(given):
        raise TypeError(
            f"{name} is a {type(given).__name__}; expected a DeviceCallable: compile it, as in "
            f"DeviceCallable(compile_{name}(function, element_dtype, user_info_dtype))"
        )
    callable_ = as_options(DeviceCallable, given, name)
    if callable_.ltoir is None and callable_.data is not None:
        raise ValueError(f"{name} has data and no ltoir; give what compile_{name}() returns as ltoir")
    return None if callable_.ltoir is None else callable_


def _identity(callable_: DeviceCallable) -> str:
    code = callable_.ltoir
    if isinstance(code, CallbackCode):
        return code.identity
    return hashlib.sha256(_content(callable_)).hexdigest()[:40]


def _content(callable_: DeviceCallable) -> bytes:
    if isinstance(callable_.ltoir, bytes):
        return callable_.ltoir
    assert callable_.size is not None
    return ctypes.string_at(callable_.ltoir, callable_.size)


def _callback(
    name: str, given: Any, problem: FFTProblem, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Callback | None:
    callable_ = _as_callable(name, given)
    if callable_ is None:
        return None
    side = "operand" if name == "prolog" else "result"
    code, on_host = callable_.ltoir, problem.execution[0] == "cpu"
    if dtype not in jit.DTYPES:
        raise ValueError(f"{name} was given, and the {side} has the dtype {dtype}: half precision has no callbacks")
    if isinstance(code, CallbackCode):
        phase, _, element, _ = code.description
        if phase != name:
            raise ValueError(f"{name} was compiled by compile_{phase}(); compile it by compile_{name}()")
        if element != dtype:
            raise ValueError(
                f"{name} was compiled for elements of {element}, and the {side} of this {problem.kind} transform has "
                f"the dtype {dtype}: compile it for that"
            )
        if code.representation != "ltoir" and not on_host:
            raise ValueError(f"{name} was compiled to {code.representation}; a transform needs LTO-IR")
        if _is_integer(callable_.data) and callable_.data == 0 and code.reads_user_info:
            raise ValueError(
                f"{name} {code.description.function.__qualname__} reads user_info, and has no data: give it an array, "
                "as in DeviceCallable(code, data=array)"
            )
    elif on_host:
        raise ValueError(
            f"{name} is LTO-IR, which is code for CUDA devices, and the transform is computed on the CPU: give what "
            f"compile_{name}() returned, which remembers the Python function"
        )
    if on_host and isinstance(code, CallbackCode):
        _check_written(name, callable_)
    address = _address(name, callable_, problem, Layout(shape, strides, dtype, problem.execution[0], None))
    owner = None if _is_integer(callable_.data) else callable_.data
    kept = code if isinstance(code, CallbackCode) else _content(callable_)
    return Callback(name, _identity(callable_), dtype, address, kept, owner)


def _check_written(name: str, callable_: DeviceCallable) -> None:
    """Raise where a callback on the CPU writes to memory that is to stay as it is."""
    code, data = callable_.ltoir, callable_.data
    writes, function = code.loops.writes, code.description.function.__qualname__
    if name == "prolog" and writes & {"data_in", "reserved"}:
        raise ValueError(f"prolog {function} writes to the operand, which transforms do not change; return the element")
    if "user_info" in writes and not _is_integer(data) and not package_of(data, f"{name}'s data").is_writeable(data):
        raise ValueError(f"{name}'s data is read-only, and {function} writes to user_info; pass a writeable array")


def _address(name: str, callable_: DeviceCallable, problem: FFTProblem, like: Layout) -> int:
    """Where the data is. Raises where an array is not what the callback takes."""
    data = callable_.data
    if _is_integer(data):
        return int(data)
    package = package_of(data, f"{name}'s data")
    layout = package.layout(data, f"{name}'s data")
    space, number = problem.execution
    if layout.memory_space != space or (space == "cuda" and layout.device_id != number):
        where = "the CPU" if layout.device_id is None else f"CUDA device {layout.device_id}"
        computed = "the CPU" if space == "cpu" else f"CUDA device {number}"
        raise ValueError(f"{name}'s data is on {where}, and the transform is computed on {computed}; move it there")
    if isinstance(callable_.ltoir, CallbackCode):
        wanted = str(callable_.ltoir.description.user_info)
        if dtype_name(layout.dtype) != wanted:
            raise ValueError(
                f"{name}'s data has the dtype {layout.dtype}, and it was compiled for user_info of {wanted}: convert "
                "it, or compile for that"
            )
    if 0 in layout.shape:
        raise ValueError(f"{name}'s data has the shape {layout.shape}, and so no elements")
    dense = spanned(layout.shape, layout.strides)[1] == math.prod(layout.shape)
    alike = layout.shape == like.shape and same_strides(like.shape, layout.strides, like.strides)
    if not (dense and min(layout.strides, default=0) >= 0) and not alike:
        raise ValueError(
            f"{name}'s data of shape {layout.shape} has the strides {layout.strides} (in elements), which the callback "
            "does not know; copy it into an array without gaps"
        )
    return package.address(data)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
