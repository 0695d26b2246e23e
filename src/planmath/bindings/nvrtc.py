"""NVRTC, which compiles CUDA C++ while a program runs: what planmath uses of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from planmath.native.library import nvidia_library

LIBRARY = nvidia_library("NVRTC", "nvrtc", ("libnvrtc.so.13", "libnvrtc.so.12"), "nvrtcGetCUBIN")


class NVRTCError(RuntimeError):
    """A function of NVRTC failed; the message has the compiler's log, if there is one."""


def compile_to_cubin(source: str, options: Sequence[str]) -> bytes:
    """Machine code of a source, for the architecture that the options name.

    Parameters
    ----------
    source : str
        CUDA C++.
    options : sequence of str
        Such as ``--gpu-architecture=sm_90``.
    """
    return _compiled(source, options, "CUBIN")


def compile_to_ltoir(source: str, options: Sequence[str]) -> bytes:
    """The same as LTO-IR, which nvJitLink makes machine code of; the options have ``-dlto``."""
    return _compiled(source, options, "LTOIR")


def version() -> str:
    """The library's version."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _compiled(source: str, options: Sequence[str], what: str) -> bytes:
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), None, 0, None, None)
    try:
        encoded = [option.encode() for option in options]
        status = _function("nvrtcCompileProgram")(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
        if status:
            raise NVRTCError(f"nvrtcCompileProgram failed: {_error(status)}\n{_text('ProgramLog', program).decode()}")
        return _text(what, program)
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def _text(what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, text)
    return text.raw


def _call(name: str, *arguments: object) -> None:
    if status := _function(name)(*arguments):
        raise NVRTCError(f"{name} failed: {_error(status)}")


def _function(name: str) -> Callable[..., int]:
    return LIBRARY.function(name, ctypes.c_int)


def _error(status: int) -> str:
    return LIBRARY.function("nvrtcGetErrorString", ctypes.c_char_p, [ctypes.c_int])(status).decode()
