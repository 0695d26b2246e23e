"""What code is made for: compute capabilities, kinds of code, and the extents of a block."""

from __future__ import annotations

from typing import Any, NamedTuple

from planmath.core.cuda.mathdx.codes import Code, CodeType, ComputeCapability, ISAVersion

__all__ = [
    "Code", "CodeType", "ComputeCapability", "Dim3", "ISAVersion", "check_block", "check_code_type",
    "current_device_lto", "current_device_sm", "target",
]


#: The least and the largest compute capability that device functions are made for.
MIN_SUPPORTED_CC = ComputeCapability(7, 0)
MAX_SUPPORTED_CC = ComputeCapability(12, 1)

#: Architectures with features of their own that matrix products use.
SPECIFIC = ((9, 0), (10, 0), (10, 3), (11, 0))


class Dim3(NamedTuple):
    """The extents of a block or grid."""

    x: int = 1
    y: int = 1
    z: int = 1


def current_device_sm() -> ComputeCapability:
    """The compute capability of the current CUDA device, with ``arch="a"`` from 9.0 on.

    Raises
    ------
    RuntimeError
        Without a device.
    """
    from planmath.bindings import runtime
    from planmath.core.cuda import devices
    from planmath.native.library import MissingLibraryError

    if reason := devices.missing():
        raise RuntimeError(f"there is no current CUDA device: {reason}. Name what to compile for, as in sm=90")
    try:
        major, minor = devices.device(runtime.get_device()).compute_capability
    except (MissingLibraryError, runtime.CUDARuntimeError) as error:
        raise RuntimeError(f"the current CUDA device cannot be asked for: {error}") from error
    return ComputeCapability(major, minor, "a" if major >= 9 else "")


def current_device_lto() -> CodeType:
    """LTO-IR for the current CUDA device.

    Raises
    ------
    RuntimeError
        Without a device.
    """
    return CodeType("lto", current_device_sm())


def target(sm: Any) -> ComputeCapability:
    """The compute capability that ``sm=`` names: itself, an integer such as 90, or None for the current device's."""
    from planmath.device import inside

    if sm is None:
        found = ComputeCapability(9, 0, "a") if inside.simulating() else current_device_sm()
    elif isinstance(sm, ComputeCapability):
        found = sm
    elif isinstance(sm, int) and not isinstance(sm, bool):
        found = ComputeCapability(*divmod(sm, 10))
    else:
        raise TypeError(f"sm is a ComputeCapability, an integer such as 90, or None, not {sm!r}")
    if found.arch not in ("", "a", "f"):
        raise ValueError(f"the modifier of a compute capability is '', 'a' or 'f', not {found.arch!r}")
    if not MIN_SUPPORTED_CC[:2] <= found[:2] <= MAX_SUPPORTED_CC[:2]:
        raise RuntimeError(
            f"device functions are made for compute capability {MIN_SUPPORTED_CC} to {MAX_SUPPORTED_CC}, not {found}"
            + (f": sm={sm} means {found}; for {sm // 100}.{sm % 100 // 10} write {sm // 10}" if sm == 900 else "")
        )
    return found


def check_code_type(code_type: Any) -> CodeType:
    """A CodeType, checked."""
    if not isinstance(code_type, CodeType):
        raise TypeError(f"code_type is a CodeType, such as CodeType('lto', ComputeCapability(9, 0)), not {code_type!r}")
    if code_type.kind != "lto":
        raise ValueError(f"the kind of code is 'lto', not {code_type.kind!r}")
    return CodeType("lto", target(code_type.cc))


#: The most blocks of a grid, and threads of a block, along each axis; and the threads of a block in all.
MOST_BLOCKS, MOST_EXTENTS, MOST_THREADS = (2**31 - 1, 65535, 65535), (1024, 1024, 64), 1024


def check_grid(name: str, dim: Any) -> Dim3:
    """The extents of a grid: one to three positive integers."""
    return _limited(name, _extents(name, dim), MOST_BLOCKS)


def check_block(name: str, dim: Any) -> Dim3:
    """The extents of a block: one to three positive integers whose product is 1024 at most."""
    found = _extents(name, dim)
    threads = found.x * found.y * found.z
    if threads > MOST_THREADS:
        raise ValueError(f"{name}={tuple(found)} is {threads} threads; a block has {MOST_THREADS} at most")
    return _limited(name, found, MOST_EXTENTS)


def _extents(name: str, dim: Any) -> Dim3:
    numbers = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if not 1 <= len(numbers) <= 3 or any(
        isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1 for n in numbers
    ):
        raise ValueError(f"{name} is one to three positive integers, not {dim!r}")
    return Dim3(*(n.__index__() for n in numbers))


def _limited(name: str, found: Dim3, most: tuple[int, int, int]) -> Dim3:
    if any(n > limit for n, limit in zip(found, most, strict=True)):
        raise ValueError(f"{name}={tuple(found)} is too large: at most {most}")
    return found
