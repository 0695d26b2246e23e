"""Launches of kernels by the traits of what they call, and the choice among the valid ones by measuring."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from planmath.core import code_cache, fingerprints
from planmath.device import inside
from planmath.device.function import DeviceFunction, positive
from planmath.device.targets import check_block, check_grid

#: Bytes of dynamic shared memory that a launch may ask for without being allowed to.
USUAL = 48 << 10


def launch(
    kernel: Any,
    grid: Any,
    traits: Any,
    *args: Any,
    block: Any = None,
    shared: int | None = None,
    stream: Any = 0,
) -> None:
    """Launch a kernel with the block and the shared memory that what it calls needs.

    More than 48 KiB of dynamic shared memory are allowed first. The linked machine code is kept on disk, where it
    depends on nothing but constants, functions and planmath's objects, so that the next process need not compile it.

    Parameters
    ----------
    kernel : what ``numba.cuda.jit`` makes
    grid : int or tuple of int
    traits : FFT, Matmul, Solver, ... or None
        Whose ``block_dim`` and ``shared_memory_size`` are taken.
    *args
        Of the kernel.
    block : int or tuple of int, optional
        In place of ``traits.block_dim``.
    shared : int, optional
        Bytes of dynamic shared memory, in place of ``traits.shared_memory_size``.
    stream
        As Numba takes it.
    """
    if not hasattr(kernel, "py_func" if not inside.simulating() else "fn"):
        raise TypeError(f"kernel is a {type(kernel).__name__}; expected what numba.cuda.jit makes of a function")
    if getattr(kernel, "_device", False) or getattr(kernel, "targetoptions", {}).get("device"):
        raise TypeError("kernel is a function for kernels (device=True), which cannot be launched: kernels call it")
    block = getattr(traits, "block_dim", None) if block is None else block
    if block is None:
        raise ValueError(f"traits is {traits!r}, which has no block_dim: say block=...")
    if shared is None:
        shared = getattr(traits, "shared_memory_size", None) or 0
    if isinstance(shared, bool) or not hasattr(shared, "__index__") or shared < 0:
        raise ValueError(f"shared is {shared!r}; expected bytes, or None for those of traits.shared_memory_size")
    extents = tuple(check_grid("grid", grid)), tuple(check_block("block", block))
    if inside.simulating():
        from planmath.device.simulator import memory

        if shared > memory.MOST:
            raise ValueError(f"the device cannot give a block {shared} bytes of dynamic shared memory")
        kernel.allowed = max(kernel.allowed, shared)
    else:
        _prepare(kernel, args, shared)
    kernel[(*extents, stream, shared)](*args)


def _prepare(kernel: Any, args: Sequence[Any], shared: int) -> None:
    """Have the machine code, from disk if it is there, and allow the memory."""
    kinds = tuple(kernel.typeof_pyval(arg) for arg in args)
    compiled = kernel.overloads.get(kinds)
    if compiled is None:
        compiled = _restored(kernel, kinds) or _compiled(kernel, kinds)
    if shared > USUAL:
        _allow(compiled, shared)


def _compiled(kernel: Any, kinds: tuple[Any, ...]) -> Any:
    compiled = kernel.compile(kinds)
    name = _name(kernel, kinds)
    if name is not None:
        library = compiled._codelibrary
        library.get_cubin()
        files, library._linking_files = library._linking_files, set()  # which machine code has been linked with
        try:
            states = compiled._reduce_states()
            states["extensions"] = []
            code_cache.store(name, pickle.dumps((type(compiled), states)))
        except (pickle.PicklingError, TypeError, AttributeError, RuntimeError):
            pass  # a kernel with objects that cannot be kept is compiled anew in each process
        finally:
            library._linking_files = files
    return compiled


def _restored(kernel: Any, kinds: tuple[Any, ...]) -> Any:
    name = _name(kernel, kinds)
    content = None if name is None else code_cache.load(name)
    if content is None:
        return None
    try:
        cls, states = pickle.loads(content)
        compiled = cls._rebuild(**states)
    except (pickle.UnpicklingError, TypeError, AttributeError, ImportError, EOFError):  # of another version
        return None
    compiled.extensions = list(kernel.extensions)
    from numba.cuda.descriptor import cuda_target

    compiled.target_context = cuda_target.target_context
    compiled.bind()
    kernel.add_overload(compiled, kinds)
    return compiled


def _name(kernel: Any, kinds: tuple[Any, ...]) -> str | None:
    """What the machine code depends on, or None where that cannot be told."""
    import numba_cuda
    from numba import cuda

    from planmath.core.cuda.mathdx import descriptors

    function = fingerprints.fingerprint(kernel.py_func, _known)
    given = dict(kernel.targetoptions)
    linked = _linked(given.pop("link", None) or ())
    if function is None or linked is None:
        return None
    given.pop("extensions", None)  # which change arguments, not code
    options = [*sorted((name, repr(value)) for name, value in given.items()), linked]
    capability = tuple(cuda.get_current_device().compute_capability)
    return code_cache.digest(
        "kernel", numba_cuda.__version__, descriptors.versions(), capability, function, options, list(map(str, kinds))
    )


def _known(value: Any) -> object:
    """What tells apart values that are planmath's own."""
    if isinstance(value, DeviceFunction):
        return value.key
    home = str(getattr(value, "__module__", None) or getattr(value, "__name__", ""))
    return repr(value) if home.partition(".")[0] == "planmath" else None


def _linked(pieces: Iterable[Any]) -> list[tuple[str, str]] | None:
    """What says all about code that a kernel is linked with, or None where nothing does."""
    told = []
    for piece in pieces:
        if isinstance(piece, str):
            kind, data = Path(piece).suffix, _content(piece)
        else:
            kind, data = type(piece).__name__, getattr(piece, "data", None)
        callbacks = (getattr(piece, f"{when}_callback", None) for when in ("setup", "teardown"))
        if data is None or kind in SOURCES or any(callbacks):  # which machine code from disk would not call
            return None
        told.append((kind, hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()))
    return told


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


#: Kinds of code that includes what nothing is known of.
SOURCES = (".cu", "CUSource")


def _allow(compiled: Any, shared: int) -> None:
    """Let blocks of a kernel have so much dynamic shared memory, on its device.

    What numba-cuda calls the function is a kernel of a library (``CUkernel``), which has its own call for that.
    """
    from cuda.bindings import driver

    function = compiled._codelibrary.get_cufunc()
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(
        attribute, shared, driver.CUkernel(int(function.handle)), driver.CUdevice(function.device.id)
    )
    if int(status):
        raise ValueError(f"the device cannot give a block {shared} bytes of dynamic shared memory: {status!r}")


class Tuned(NamedTuple):
    """What `autotune` found.

    Parameters
    ----------
    best : tuple
        The knobs of the fastest.
    seconds : dict
        The time of each combination that ran, the fastest first.
    failed : dict
        Why the others did not.
    """

    best: tuple[Any, ...]
    seconds: dict[tuple[Any, ...], float]
    failed: dict[tuple[Any, ...], str]


def autotune(
    run: Callable[..., Any], candidates: Iterable[tuple[Any, ...]], *, repeat: int = 5, limit: int = 8
) -> Tuned:
    """Measure combinations of knobs, such as ``fft.valid("ffts_per_block", "elements_per_thread")``.

    Parameters
    ----------
    run : callable
        Gets the knobs of one combination; makes what it needs and returns a function that launches the kernel once.
    candidates : iterable of tuple
        The suggested one first.
    repeat : int, default: 5
        Launches that are measured, after one that is not.
    limit : int, default: 8
        How many of the candidates are measured.

    Returns
    -------
    Tuned

    Raises
    ------
    RuntimeError
        If none of them can be launched.
    """
    positive("repeat", repeat)
    times: dict[tuple[Any, ...], float] = {}
    failed: dict[tuple[Any, ...], str] = {}
    reasons_to_go_on = _failures()
    for knobs in list(dict.fromkeys(candidates))[: positive("limit", limit)]:
        try:
            launched = run(*knobs)
            if not callable(launched):
                raise TypeError(f"run returns a {type(launched).__name__}; expected a function that launches once")
            launched()
            times[knobs] = min(seconds(launched) for _ in range(repeat))
        except reasons_to_go_on as error:
            failed[knobs] = str(error)
    if not times:
        reasons = "; ".join(f"{knobs}: {reason}" for knobs, reason in failed.items())
        raise RuntimeError(f"none of the candidates can be launched ({reasons or 'there are none'})")
    ranked = dict(sorted(times.items(), key=lambda item: item[1]))
    return Tuned(next(iter(ranked)), ranked, failed)


def _failures() -> tuple[type[Exception], ...]:
    """What a combination that the device or the compiler refuses raises."""
    if inside.simulating():
        return RuntimeError, ValueError
    from numba.cuda.core.errors import NumbaError
    from numba.cuda.cudadrv.error import CudaDriverError

    return RuntimeError, ValueError, NumbaError, CudaDriverError


#: Launches that are timed together, so that what the host takes for the first one is spread over all; and the seconds
#: of a launch from which it does not count.
LAUNCHES, LONG = 10, 2e-3


def seconds(launched: Callable[[], Any]) -> float:
    """Seconds of a launch: on a device, of the kernel, or of the host's work for it where that takes longer."""
    if inside.simulating():
        start = time.perf_counter()
        launched()
        return time.perf_counter() - start
    alone = _seconds(launched, 1)
    return alone if alone > LONG else _seconds(launched, LAUNCHES)


def _seconds(launched: Callable[[], Any], count: int) -> float:
    from numba import cuda

    first, last = cuda.event(), cuda.event()
    first.record()
    for _ in range(count):
        launched()
    last.record()
    last.synchronize()
    return cuda.event_elapsed_time(first, last) / 1000 / count
