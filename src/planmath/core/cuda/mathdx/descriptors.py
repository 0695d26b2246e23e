"""libmathdx's descriptions of device functions: what is set, what can be asked, and the code that comes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import mathdx
from planmath.core import code_cache
from planmath.core.cuda.mathdx.codes import Code, CodeType, ComputeCapability, ISAVersion
from planmath.native.library import MissingLibraryError

#: What an operator is set to: a member of the library's enum by its name or its number, or several numbers.
Value = int | tuple[int, ...]

#: libmathdx's compilations use one NVRTC program a call; its errors belong to the thread.
_ARCH = {"": "GENERIC", "a": "ARCH_SPECIFIC", "f": "FAMILY_SPECIFIC"}


class Description(NamedTuple):
    """One device function, as libmathdx is told.

    Parameters
    ----------
    library : {'cufftdx', 'cublasdx', 'cusolverdx'}
    operators : tuple of (str, value)
        In the order in which they are set.
    """

    library: str
    operators: tuple[tuple[str, Value], ...]

    def __call__(self, **operators: Value) -> Description:
        """The same with more operators."""
        return Description(self.library, self.operators + tuple(operators.items()))

    @contextmanager
    def handle(self, symbol: str = "") -> Iterator[int]:
        """libmathdx's handle of it."""
        kinds = self.enum("OperatorType")
        number = self.function("create_descriptor")()
        try:
            for name, value in self.operators:
                if isinstance(value, tuple):
                    self.function("set_operator_int64s")(number, kinds[name], len(value), list(value))
                else:
                    self.function("set_operator_int64")(number, kinds[name], int(value))
            if symbol:
                self.function("set_option_str")(number, mathdx.CommondxOption.SYMBOL_NAME, symbol)
            yield number
        finally:
            self.function("destroy_descriptor")(number)

    def function(self, name: str) -> Any:
        return getattr(mathdx, f"{self.library}_{name}")

    def enum(self, name: str) -> Any:
        return getattr(mathdx, f"{self.library.capitalize()}{name}")

    @property
    def key(self) -> str:
        return code_cache.digest(versions(), self)

    # What can be asked.

    def traits(self, kept: bool = True, **wanted: str) -> dict[str, Any]:
        """Traits by name. Each is asked for as ``int``, ``int3`` (three integers), ``type``, or ``type3``.

        Those of matrix products and solvers are compiled by NVRTC each time, in seconds, so they are kept on disk.
        """
        if not kept:
            return self._ask(wanted)
        name = code_cache.digest("traits", versions(), self, sorted(wanted.items()))
        return json.loads(code_cache.get(name, lambda: json.dumps(self._ask(wanted)).encode()))

    def _ask(self, wanted: Mapping[str, str]) -> dict[str, Any]:
        kinds, found = self.enum("TraitType"), {}
        with self.handle() as handle:
            for name, kind in wanted.items():
                if kind == "int":
                    found[name] = self.function("get_trait_int64")(handle, kinds[name])
                elif kind == "type":
                    found[name] = self.function("get_trait_commondx_data_type")(handle, kinds[name])
                else:
                    numbers = np.zeros(3, np.int64 if kind == "int3" else np.int32)
                    ask = "get_trait_int64s" if kind == "int3" else "get_trait_commondx_data_types"
                    self.function(ask)(handle, kinds[name], 3, numbers.ctypes.data)
                    found[name] = numbers.tolist()
        return found

    # What comes of it.

    def symbol(self, prefix: str, code_type: CodeType) -> str:
        """A name for the function that no other description has."""
        return f"planmath_{prefix}_{code_cache.digest(self, code_type)[:20]}"

    def compile(self, code_type: CodeType, symbol: str) -> Code:
        """LTO-IR of the function, from disk where it has been made before."""
        name = code_cache.digest("code", versions(), self, code_type, symbol)

        def make() -> bytes:
            with self.handle(symbol) as handle:
                return packed(code_type.cc, lambda code: self.function("finalize_code")(code, handle))

        return unpacked(code_type, code_cache.get(name, make))


def knob_values(description: Description, knobs: Sequence[str]) -> list[tuple[int, ...]]:
    """What combinations of knobs a function of cuFFTDx has, the suggested one first."""
    numbers = [int(mathdx.CufftdxKnobType[knob]) for knob in knobs]
    with description.handle() as handle:
        count = mathdx.cufftdx_get_knob_int64_size(handle, len(numbers), numbers)
        values = np.zeros(count, np.int64)
        mathdx.cufftdx_get_knob_int64s(handle, len(numbers), numbers, count, values.ctypes.data)
    return [tuple(row) for row in values.reshape(-1, len(numbers)).tolist()]


def packed(cc: ComputeCapability, finalize: Any) -> bytes:
    """What is kept of code: four bytes of its version, and the code."""
    code = mathdx.commondx_create_code()
    try:
        modifier = int(mathdx.CommondxArchModifier[_ARCH[cc.arch]])
        option = mathdx.CommondxOption
        mathdx.commondx_set_code_option_int64s(code, option.TARGET_SM, 2, [cc.integer, modifier])
        mathdx.commondx_set_code_option_str(code, option.EXTRA_NVRTC_ARGS, "-gen-opt-lto")
        try:
            finalize(code)
        except mathdx.LibMathDxError as error:
            raise compiler_error(error) from error
        isa = mathdx.commondx_get_code_option_int64(code, option.CODE_ISA)
        content = np.empty(mathdx.commondx_get_code_ltoir_size(code), np.uint8)
        mathdx.commondx_get_code_ltoir(code, content.size, content.ctypes.data)
        return int(isa).to_bytes(4, "little") + content.tobytes()
    finally:
        mathdx.commondx_destroy_code(code)


def unpacked(code_type: CodeType, content: bytes) -> Code:
    return Code(code_type, ISAVersion.from_integer(int.from_bytes(content[:4], "little")), content[4:])


def compiler_error(error: mathdx.LibMathDxError) -> RuntimeError:
    """The error with what NVRTC said."""
    try:
        text = np.zeros(mathdx.commondx_get_last_error_str_size(), np.uint8)
        status = np.zeros(1, np.int32)
        mathdx.commondx_get_last_error_str(status.ctypes.data, text.size, text.ctypes.data)
        said = text.tobytes().rstrip(b"\0").decode(errors="replace").strip()
    except mathdx.LibMathDxError:
        said = ""
    return RuntimeError(f"{error}{chr(10) * bool(said)}{said[-2000:]}")


@cache
def versions() -> tuple[str, str]:
    """Of libmathdx and NVRTC, which what is compiled depends on."""
    import ctypes

    from planmath.bindings import nvrtc

    major, minor = ctypes.c_int(), ctypes.c_int()
    ask = nvrtc.LIBRARY.function("nvrtcVersion", ctypes.c_int, [ctypes.c_void_p] * 2)
    ask(ctypes.addressof(major), ctypes.addressof(minor))
    return library_version(), f"{major.value}.{minor.value}"


@cache
def library_version() -> str:
    """The version of libmathdx that was found."""
    return ".".join(map(str, mathdx.get_version_ex()))


def path() -> str | None:
    """The file of libmathdx."""
    return mathdx.LIBRARY.path


def missing() -> str | None:
    """Why libmathdx cannot be used, in words, or None."""
    return mathdx.LIBRARY.missing


def require() -> None:
    """Raise unless libmathdx can be used."""
    if reason := missing():
        raise MissingLibraryError(reason)


#: The universal fatbin of solvers is the same for all.
_fatbin_lock = threading.Lock()


@cache
def universal_fatbin(description: Description) -> bytes:
    """Machine code that every kernel with a solver links."""
    with _fatbin_lock, description.handle() as handle:
        content = np.empty(description.function("get_universal_fatbin_size")(handle), np.uint8)
        description.function("get_universal_fatbin")(handle, content.size, content.ctypes.data)
        return content.tobytes()
