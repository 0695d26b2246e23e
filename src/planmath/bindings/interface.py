"""What the generated modules have in common: the functions, structs and errors of one C library."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from planmath.native.call import Function
from planmath.native.forks import computed
from planmath.native.library import Library, MissingLibraryError


class StatusError(RuntimeError):
    """A function of a C library returned a status that is not success.

    Parameters
    ----------
    status : int
        What it returned.
    function : str
        The function's name in C.
    """

    #: The status's name in C and what it means, by its number.
    statuses: ClassVar[Mapping[int, tuple[str, str]]] = {}
    #: The library, and its function that explains a status, where `statuses` does not.
    library: ClassVar[Library | None] = None
    describing: ClassVar[str] = ""

    def __init__(self, status: int, function: str = ""):
        self.status, self.function = int(status), function
        self.name, self.meaning = self.statuses.get(self.status, ("", ""))
        self.meaning = self.meaning or self._described()
        shown = f"{self.name} ({self.status})" if self.name else f"status {self.status}, unknown to these bindings"
        failed, meaning = f"{function} failed: " * bool(function), f": {self.meaning}" * bool(self.meaning)
        super().__init__(failed + shown + meaning)

    def _described(self) -> str:
        if self.library is None or not self.library.has(self.describing):
            return ""
        text = self.library.function(self.describing, ctypes.c_char_p, [ctypes.c_int])(self.status)
        return text.decode() if isinstance(text, bytes) else ""

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.status, self.function)


@dataclass(eq=False)
class Interface:
    """A C library as one of the generated modules has it.

    Parameters
    ----------
    module : str
        The module's full name.
    title : str
        The library's name in messages.
    library : Library
    version : str
        The version of the headers that the module was generated from.
    error : type
        The module's exception.
    version_function : str
        The C function that tells the loaded library's version.
    since : mapping
        The earliest version known to have a function as it is called here, for those that older libraries lack.
    changed : frozenset of str
        Functions that exist in older libraries too, but take other parameters there.
    """

    module: str
    title: str
    library: Library
    version: str
    error: type[StatusError] = StatusError
    version_function: str = ""
    since: Mapping[str, str] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()

    def function(
        self, symbol: str, kinds: str = "", parameters: str = "", returns: str = "e", blocks: bool = True
    ) -> Any:
        """A function of the library; the parameters are those of `planmath.native.call.Function`."""
        return Function(self, symbol, kinds, parameters, returns, blocks)

    def function_by_value(
        self, symbol: str, kinds: str, parameters: str, returns: str = "e", result: np.dtype | None = None
    ) -> ByValue:
        """A function that takes structs by value, or returns one."""
        return ByValue(self, symbol, kinds, parameters, returns, result)

    def check_status(self, status: int) -> None:
        """Raise the library's error unless the status is success, which is zero."""
        if status:
            raise self.error(status)

    # What a `Function` asks for.

    def resolve(self, function: Any) -> int:
        """The function's address, once the library is loaded."""
        symbol = function.symbol
        if not self.library.missing and symbol in self.changed and self._loaded_is_before(self.since[symbol]):
            raise MissingLibraryError(
                f"{self._loaded()} has {symbol} with other parameters: "
                f"{self.title} {self.since[symbol]} has the one that these bindings call"
            )
        try:
            return self.library.address(symbol)
        except MissingLibraryError:
            if self.library.missing:
                raise
        which = self.since.get(symbol, self.version)
        newer = self._loaded_is_before(which)
        remedy = f"{self.title} {which} has it" if newer else "its header declares it, but the library does not have it"
        raise MissingLibraryError(f"{self._loaded()} has no function {symbol}: {remedy}")

    def failure(self, function: Any, status: int) -> StatusError:
        """The exception for a call that returned this status."""
        return self.error(status, function.symbol)

    def name_of(self, function: Any) -> str:
        """The function's name in its module."""
        found = (name for name, value in vars(sys.modules[self.module]).items() if value is function)
        return next(found, function.symbol)

    # The library that was found.

    @computed
    def loaded_version(self) -> str:
        """The version of the library that was found, or '' where it does not tell."""
        if not self.version_function:
            return ""
        if not self.version_function.endswith("GetProperty"):
            return self._version_as_number()
        numbers, value = [], ctypes.c_int()
        ask = self.library.function(self.version_function, ctypes.c_int, [ctypes.c_int, ctypes.c_void_p])
        for part in range(3):  # libraryPropertyType: major, minor, patch
            if ask(part, ctypes.addressof(value)):
                return ""
            numbers.append(value.value)
        return ".".join(map(str, numbers))

    def _version_as_number(self) -> str:
        if self.version_function in ("cudaRuntimeGetVersion", "mathdxGetVersion", "ncclGetVersion"):
            value = ctypes.c_int()
            self.library.function(self.version_function, ctypes.c_int, [ctypes.c_void_p])(ctypes.addressof(value))
            if self.version_function == "ncclGetVersion":
                return f"{value.value // 10000}.{value.value // 100 % 100}.{value.value % 100}"
            major, rest = divmod(value.value, 1000)
            runtime = self.version_function == "cudaRuntimeGetVersion"
            return f"{major}.{rest // 10}" if runtime else f"{major}.{rest // 100}.{rest % 100}"
        number = int(self.library.function(self.version_function, ctypes.c_size_t, [])())
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def _loaded_is_before(self, version: str) -> bool:
        found = self.loaded_version
        return not found or [int(n) for n in found.split(".")] < [int(n) for n in version.split(".")]

    def _loaded(self) -> str:
        return f"{self.title}{' ' * bool(self.loaded_version)}{self.loaded_version} ({self.library.path})"

    # What is not a function.

    def variable(self, symbol: str) -> int:
        """The value of a pointer that the library exports."""
        try:
            return ctypes.c_void_p.in_dll(self.library.handle, symbol).value or 0
        except ValueError:
            raise MissingLibraryError(f"{self._loaded()} has no {symbol}") from None


class ByValue:
    """A C function that takes structs by value. Python gives their addresses, as for those that C takes by address.

    Its calls go through ctypes, which knows how each platform passes structs. Its parameters are those of `Function`,
    where a struct's kind is its size in braces; `result` is the type of a struct that it returns.
    """

    LETTERS: ClassVar[dict[str, type]] = {
        "P": ctypes.c_void_p, "i": ctypes.c_int32, "I": ctypes.c_uint32, "q": ctypes.c_int64, "Q": ctypes.c_uint64,
    }  # fmt: skip

    def __init__(
        self, interface: Interface, symbol: str, kinds: str, parameters: str, returns: str, result: np.dtype | None
    ):
        self.interface, self.symbol, self.kinds, self.parameters = interface, symbol, kinds, parameters
        self.returns, self.result = returns, result

    def __call__(self, *arguments: int) -> Any:
        function, types, outputs = self._function
        if len(arguments) == len(types):
            outputs = []
        elif len(arguments) != len(types) - len(outputs):
            raise TypeError(f"{self!r} takes {len(types) - len(outputs)} arguments, not {len(arguments)}")
        given, values, results = iter(arguments), [], []
        for n, kind in enumerate(types):
            if n in outputs:
                results.append(ctypes.c_void_p())
                values.append(ctypes.addressof(results[-1]))
            elif issubclass(kind, ctypes.Structure):
                values.append(kind.from_address(next(given)))
            else:
                values.append(next(given))
        returned = function(*values)
        if self.result is not None:
            return np.frombuffer(bytes(returned), self.result)[0]
        if returned:
            raise self.interface.failure(self, returned)
        found = tuple(result.value or 0 for result in results)
        return None if not found else found[0] if len(found) == 1 else found

    @computed
    def _function(self) -> tuple[Any, list[Any], list[int]]:
        self.interface.resolve(self)
        types: list[Any] = []
        outputs = []
        for kind in _tokens(self.kinds):
            if kind[0] == "{":
                types.append(_struct_of(int(kind[1:-1])))
                continue
            if kind[0] == ">":
                outputs.append(len(types))
            types.append(self.LETTERS["P" if kind[0] == ">" else kind])
        returns = _struct_of(self.result.itemsize) if self.result is not None else ctypes.c_int
        return self.interface.library.function(self.symbol, returns, types), types, outputs

    @property
    def __name__(self) -> str:
        return self.interface.name_of(self)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return f"{self.symbol}({self.parameters})\n\nStructs that C takes by value are given by their address."

    def __repr__(self) -> str:
        return f"<function {self.interface.module.rpartition('.')[2]}.{self.__name__}: {self.symbol}>"


def _tokens(kinds: str) -> list[str]:
    found, n = [], 0
    while n < len(kinds):
        end = kinds.index("}", n) + 1 if kinds[n] == "{" else n + 1 + (kinds[n] == ">")
        found.append(kinds[n:end])
        n = end
    return found


def _struct_of(size: int) -> type[ctypes.Structure]:
    """A struct of integers of this size. The structs that CUDA passes by value hold integers and pointers only."""
    fields = [(f"word{n}", ctypes.c_uint32) for n in range(size // 4)]
    return type("Struct", (ctypes.Structure,), {"_fields_": fields})


#: NumPy's types for the letters of the module struct.
NUMPY_TYPES = {
    "P": np.uintp, "q": np.int64, "Q": np.uint64, "i": np.int32, "I": np.uint32, "h": np.int16, "H": np.uint16,
    "b": np.int8, "B": np.uint8, "?": np.bool_, "f": np.float32, "d": np.float64,
}  # fmt: skip


def struct(size: int, /, **fields: tuple[Any, ...]) -> np.dtype:
    """A C struct as a NumPy dtype, so that ``numpy.zeros(n, dtype)`` is an array of them.

    Parameters
    ----------
    size : int
        In bytes.
    fields : (kind, offset) or (kind, offset, lengths)
        The kind is a letter, ``S`` for characters, or the dtype of an inner struct. The fields of a union overlap.
    """
    formats: list[Any] = []
    for kind, _, *lengths in fields.values():
        if kind == "S":
            formats.append(f"S{lengths[0]}")
        else:
            base = NUMPY_TYPES.get(kind, kind) if isinstance(kind, str) else kind
            formats.append((base, tuple(lengths)) if lengths else base)
    offsets = [field[1] for field in fields.values()]
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": size})


def attribute_dtypes(kinds: Mapping[int, str]) -> Callable[[int], type[np.generic]]:
    """A function from an attribute to the NumPy type of its value."""

    def dtype(attribute: int) -> type[np.generic]:
        """The NumPy type of an attribute's value; an array of it for an attribute that is a list."""
        try:
            return NUMPY_TYPES[kinds[attribute]]
        except KeyError:
            known = ", ".join(getattr(known, "name", str(known)) for known in kinds)
            raise ValueError(f"{attribute!r} is not an attribute with one type: {known}") from None

    return dtype
