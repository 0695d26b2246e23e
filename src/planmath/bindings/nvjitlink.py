"""nvJitLink, which links LTO-IR to machine code while a program runs: what planmath uses of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from planmath.native.library import nvidia_library

LIBRARY = nvidia_library("nvJitLink", "nvJitLink", ("libnvJitLink.so.13", "libnvJitLink.so.12"), "nvJitLinkVersion")
#: Its functions have the version of CUDA that they came with in their names; later libraries have the earlier ones too.
_SUFFIXES = ("_13_0", "_12_0")
#: ``NVJITLINK_INPUT_LTOIR``.
_LTOIR = 3


class NvJitLinkError(RuntimeError):
    """A function of nvJitLink failed; the message has the linker's log, if there is one."""


def link(pieces: Sequence[bytes], options: Sequence[str]) -> bytes:
    """Machine code of pieces of LTO-IR, or PTX with the option ``-ptx``.

    Parameters
    ----------
    pieces : sequence of bytes
    options : sequence of str
        Such as ``-arch=sm_90`` and ``-lto``.
    """
    handle = ctypes.c_void_p()
    encoded = [option.encode() for option in options]
    given = (ctypes.c_char_p * len(encoded))(*encoded)
    _check(_function("Create")(ctypes.byref(handle), len(encoded), given), "Create")
    try:
        for number, piece in enumerate(pieces):
            size, name = ctypes.c_size_t(len(piece)), f"piece {number}".encode()
            _check(_function("AddData")(handle, _LTOIR, piece, size, name), "AddData", handle)
        _check(_function("Complete")(handle), "Complete", handle)
        return _text("LinkedPtx" if "-ptx" in options else "LinkedCubin", handle)
    finally:
        _function("Destroy")(ctypes.byref(handle))


def version() -> str:
    """The library's version."""
    major, minor = ctypes.c_uint(), ctypes.c_uint()
    _check(LIBRARY.function("nvJitLinkVersion", ctypes.c_int)(ctypes.byref(major), ctypes.byref(minor)), "Version")
    return f"{major.value}.{minor.value}"


def _text(what: str, handle: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _check(_function(f"Get{what}Size")(handle, ctypes.byref(size)), f"Get{what}Size")
    text = ctypes.create_string_buffer(size.value)
    _check(_function(f"Get{what}")(handle, text), f"Get{what}")
    return text.raw


def _check(status: int, name: str, handle: ctypes.c_void_p | None = None) -> None:
    if status:
        log = "" if handle is None else _text("ErrorLog", handle).rstrip(b"\0").decode()
        raise NvJitLinkError(f"nvJitLink{name} failed with status {status}\n{log}".rstrip())


def _function(name: str) -> Callable[..., int]:
    for suffix in _SUFFIXES[:-1]:
        if LIBRARY.has(f"__nvJitLink{name}{suffix}"):
            return LIBRARY.function(f"__nvJitLink{name}{suffix}", ctypes.c_int)
    return LIBRARY.function(f"__nvJitLink{name}{_SUFFIXES[-1]}", ctypes.c_int)
