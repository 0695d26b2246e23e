"""Kernels to machine code, without a device: numba-cuda compiles, nvJitLink links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from planmath.core.cuda.compiling import compiling_for
from planmath.device import inside
from planmath.device.targets import ComputeCapability, target


def compile_kernel(function: Callable[..., Any], signature: Any, sm: Any = None) -> bytes:
    """The machine code of a kernel with all that it calls, made without a device.

    Parameters
    ----------
    function : callable
        The kernel, as decorated by ``numba.cuda.jit`` or as it was before.
    signature : Numba signature or str
        The types of its arguments.
    sm : ComputeCapability or int, optional
        What it is made for; the current device's by default.

    Returns
    -------
    bytes
        A cubin.
    """
    if inside.simulating():
        raise RuntimeError("in the simulator nothing is compiled")
    from numba import cuda

    import planmath.device.kernels.hooks  # noqa: F401

    cc = target(sm)
    with compiling_for((cc.major, cc.minor)):
        codes, _ = cuda.compiler.compile_all(
            getattr(function, "py_func", function), signature, cc=cc[:2], device=False, abi="numba", output="ltoir"
        )
    parts = [("fatbin" if isinstance(code, cuda.Fatbin) else "ltoir", getattr(code, "data", code)) for code in codes]
    return link(parts, cc)


def link(parts: Sequence[tuple[str, bytes]], cc: ComputeCapability) -> bytes:
    """Machine code of several pieces.

    Parameters
    ----------
    parts : sequence of (kind, bytes)
        Kinds are ``"ltoir"``, ``"fatbin"``, ``"cubin"`` and ``"ptx"``.
    cc : ComputeCapability
    """
    from cuda.bindings import nvjitlink

    options = ["-lto", f"-arch=sm_{cc.major}{cc.minor}{cc.arch}"]
    handle = nvjitlink.create(len(options), options)
    try:
        for number, (kind, data) in enumerate(parts):
            name = f"part{number}"
            nvjitlink.add_data(handle, int(getattr(nvjitlink.InputType, kind.upper())), data, len(data), name)
        try:
            nvjitlink.complete(handle)
        except nvjitlink.nvJitLinkError as error:
            size = nvjitlink.get_error_log_size(handle)
            log = bytearray(size)
            nvjitlink.get_error_log(handle, log)
            raise RuntimeError(f"nvJitLink could not link the kernel: {error}\n{bytes(log).decode().strip()}") from None
        size = nvjitlink.get_linked_cubin_size(handle)
        cubin = bytearray(size)
        nvjitlink.get_linked_cubin(handle, cubin)
        return bytes(cubin)
    finally:
        nvjitlink.destroy(handle)
