"""The functions of `numpy.fft` and `scipy.fft` on planned transforms.

A call is looked up by its function, the layout of its operand and its arguments. What is found knows how the operand
becomes that of a transform (converted, cropped, padded, conjugated), has planned transforms that no other call uses
now, and knows what is left to do with the result. All that is decided at the first call of a kind, which also finds
what is wrong with the arguments.
"""

from __future__ import annotations

import atexit
import math
import operator
from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.fft

from planmath.fft.operation import FFT
from planmath.fft.options import TURNED, FFTOptions
from planmath.native.thread_limit import stamp

#: How many kinds of calls are remembered; after that, the first one is forgotten.
CAPACITY = 256
#: Bytes of temporary memory that an idle transform keeps at most.
MOST_KEPT = 1 << 20
#: From so many elements on the transform of real numbers is one of half the spectrum, which is then mirrored.
MIRRORED = 2048

Prepare = Callable[[np.ndarray], np.ndarray]


class Function(NamedTuple):
    """One function of the family."""

    name: str
    kind: str
    inverse: bool
    hermitian: bool
    """Whether it is of hfft's kind: that of the other direction, on conjugates."""


#: The family. What has an n or a 2 behind it transforms several axes.
FUNCTIONS = {
    name + suffix: Function(name + suffix, kind, name.startswith("i"), "h" in name)
    for suffix in ("", "2", "n")
    for name, kind in {
        "fft": "C2C", "ifft": "C2C", "rfft": "R2C", "irfft": "C2R", "hfft": "C2R", "ihfft": "R2C",
    }.items()
}  # fmt: skip

_CONVERTED: dict[str, np.dtype] = {"e": np.dtype(np.float32), **{code: np.dtype(code) for code in "fdgFDG"}}
_COMPLEX: dict[str, np.dtype] = {code: np.dtype(code.upper()) for code in "fdg"}


def perform(
    function: Function, x: Any, sizes: Any, axes: Any, norm: Any, overwrite: Any = False, threads: int | None = None,
    out: Any = None,
) -> Any:  # fmt: skip
    """The result of a call.

    Parameters
    ----------
    function : Function
    x : array_like
    sizes : int, sequence of int or None
        Extents along the axes: `x` is cropped or padded with zeros to them.
    axes : int, sequence of int or None
        An integer for the functions of one axis.
    norm : {'backward', 'ortho', 'forward'}, optional
    overwrite : bool
        Whether the result may replace `x`.
    threads : int, optional
    out : numpy.ndarray, optional
        Where to put the result.
    """
    if type(x) is not np.ndarray:
        x = np.asarray(x)
    if overwrite:
        overwrite = x.flags.writeable and x.flags.c_contiguous
    key = (function, x.dtype, x.shape, x.strides, sizes, axes, norm, overwrite, threads, stamp())
    try:
        way = _ways.get(key)
    except TypeError:
        if norm is not None and not isinstance(norm, str):
            raise ValueError(_invalid_norm(norm)) from None
        sizes, axes = _hashable("shape", sizes), _hashable("axes", axes)
        return perform(function, x, sizes, axes, norm, bool(overwrite), threads, out)
    if way is None:
        if not x.flags.aligned:
            return perform(function, x.copy(), sizes, axes, norm, overwrite, threads, out)
        way = _remember(key, _way(function, x, sizes, axes, norm, overwrite, threads))
    result = way(x, out)
    if result is None:  # not aligned
        return perform(function, x.copy(), sizes, axes, norm, overwrite, threads, out)
    return result


class Way:
    """How calls of one kind are carried out.

    Parameters
    ----------
    plan : callable
        Makes a planned transform for an operand.
    direction : int
    prepare : callable, optional
        Makes the operand from the array that the user gave.
    finish : callable, optional
        Makes the result from that of the transform.
    """

    __slots__ = ("_direction", "_finish", "_forgotten", "_idle", "_plan", "_prepare")

    def __init__(
        self, plan: Callable[[np.ndarray], FFT], direction: int, prepare: Prepare | None, finish: Prepare | None
    ):
        self._plan, self._direction, self._prepare, self._finish = plan, direction, prepare, finish
        #: What a call takes is its own, in other threads and in signal handlers; taking and giving back are atomic.
        self._idle: list[FFT] = []
        self._forgotten = False

    def __call__(self, x: np.ndarray, out: np.ndarray | None) -> np.ndarray | None:
        """The result, `out` if it is given; None where `x` is not aligned in memory, and has to be."""
        operand = x if self._prepare is None else self._prepare(x)
        try:
            transform = self._idle.pop()
        except IndexError:
            transform = self._plan(operand)
        try:
            result = transform._executor.once(self._direction, (operand,))
            if result is None:
                if not operand.flags.aligned:
                    self._idle.append(transform)
                    return None
                transform.reset_operand(operand)  # as somebody listens to the log
                result = transform.execute(self._direction)
                transform._drop_operands()
        except BaseException:
            transform.free()
            raise
        if transform._executor.workspace_size > MOST_KEPT:
            transform._executor.release_workspace()
        self._idle.append(transform)
        if self._forgotten:
            self.clear()
        if self._finish is not None:
            result = self._finish(result)
        return result if out is None else filled(out, result)

    def clear(self) -> None:
        """Free the transforms: those that a call has, when it is done."""
        self._forgotten = True
        while True:
            try:
                transform = self._idle.pop()
            except IndexError:  # also where another thread took the last one
                return
            transform.free()


#: What makes the result of a kind of calls in another way.
Other = Callable[[np.ndarray, np.ndarray | None], np.ndarray]

_ways: dict[Hashable, Way | Other] = {}


def _remember(key: Hashable, way: Way | Other) -> Way | Other:
    if len(_ways) >= CAPACITY:
        _forget(next(iter(_ways), None))
    return _ways.setdefault(key, way)


def _forget(key: Hashable) -> None:
    way = _ways.pop(key, None)
    if isinstance(way, Way):
        way.clear()


@atexit.register
def clear() -> None:
    """Forget all calls, and free their plans."""
    for key in list(_ways):
        _forget(key)


def as_if_named(function: Callable[..., Any], module: str, original: Any) -> Callable[..., Any]:
    """A function of the family by the name of the one that it stands for."""
    function.__module__, function.__name__ = module, original.__name__
    function.__qualname__ = original.__name__
    function.__doc__ = f"`{original.__module__.partition('._')[0]}.{original.__name__}`, by planmath."
    return function


def filled(out: np.ndarray, result: np.ndarray) -> np.ndarray:
    """The user's array, with the result in it."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is a {type(out).__name__}; expected a numpy.ndarray")
    if out.shape != result.shape:
        raise ValueError(f"out has the shape {out.shape}; expected {result.shape}")
    if not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise TypeError(f"out has the dtype {out.dtype}, which cannot hold {result.dtype}")
    out[...] = result
    return out


# How a call is carried out, found at the first one of its kind.


def _way(
    function: Function, x: np.ndarray, sizes: Any, axes: Any, norm: Any, overwrite: bool, threads: int | None
) -> Way | Other:
    shape, chosen = _extents(function, x.shape, sizes, axes)
    if norm is None:
        norm = "backward"
    elif norm not in TURNED:
        raise ValueError(_invalid_norm(norm))
    kind = function.kind
    if kind == "R2C" and x.dtype.kind == "c":
        raise TypeError("x must be a real sequence")
    if not chosen:
        if kind != "C2C":
            raise ValueError("at least 1 axis must be transformed")
        return lambda x, out: x if out is None else filled(out, x)
    if any(n < 1 for axis, n in enumerate(shape) if axis in chosen):
        raise ValueError(f"invalid number of data points ({[shape[axis] for axis in chosen]}) specified")
    if function.hermitian:  # hfft(x) is irfft(conj(x)), ihfft(x) conj(rfft(x)), each without the factor of the other
        norm = TURNED[norm]
    last, dtype = chosen[-1], _CONVERTED.get(x.dtype.char, np.dtype(np.float64))
    full = list(shape)
    if kind == "C2R":
        shape[last] = shape[last] // 2 + 1
    length = math.prod(full)
    mirrored = kind == "C2C" and dtype.kind == "f" and len(chosen) == 1 and length >= MIRRORED
    if kind != "R2C" and not mirrored:
        dtype = _COMPLEX.get(dtype.char, dtype)
    prepare, is_new = _preparation(x, tuple(shape), dtype, conjugate=kind == "C2R" and function.hermitian)
    finish: Prepare | None = None
    if mirrored:
        finish = _mirror(full[last], last, conjugate=function.inverse)
        norm = TURNED[norm] if function.inverse else norm
    elif kind == "R2C" and function.hermitian:
        finish = _conjugate
    if 0 in shape:
        return _empty(kind, full, last, dtype)
    if dtype.char in "gG":
        return _extended(kind, full, chosen, norm, function.inverse, prepare, finish)
    options = FFTOptions(
        fft_type="C2R" if kind == "C2R" else None,
        inplace=kind == "C2C" and not mirrored and (is_new or (overwrite and prepare is None)),
        last_axis_parity="odd" if full[last] % 2 else "even",
        result_layout="C",
        norm=norm,
    )
    direction = 1 if kind == "C2R" or (kind == "C2C" and function.inverse and not mirrored) else -1
    return Way(_planner(options, chosen, direction, threads), direction, prepare, finish)


def _planner(options: FFTOptions, axes: list[int], direction: int, threads: int | None) -> Callable[[np.ndarray], FFT]:
    execution = None if threads is None else {"name": "cpu", "num_threads": threads}

    def planned(operand: np.ndarray) -> FFT:
        transform = FFT(operand, axes=axes, options=options, execution=execution)
        try:
            transform.plan(direction=direction)
            transform._drop_operands()
        except BaseException:
            transform.free()
            raise
        return transform

    return planned


def _extents(function: Function, shape: tuple[int, ...], sizes: Any, axes: Any) -> tuple[list[int], list[int]]:
    """The extents of all axes, on the side of a transform that has all elements, and the transformed axes in order."""
    ndim = len(shape)
    if function.name[-1] not in "2n":
        chosen = [operator.index(axes)]
        given = None if sizes is None else [operator.index(sizes)]
    else:
        given = None if sizes is None else _integers("shape", sizes)
        if axes is not None:
            chosen = _integers("axes", axes)
        elif given is None:
            chosen = list(range(ndim))
        elif len(given) <= ndim:
            chosen = list(range(ndim - len(given), ndim))
        else:
            raise ValueError("shape requires more axes than are present")
        if given is not None and len(given) != len(chosen):
            raise ValueError("when given, axes and shape arguments have to be of the same length")
    for axis in chosen:
        if not -ndim <= axis < ndim:
            raise np.exceptions.AxisError(f"axes exceeds dimensionality of input: axis {axis} of {ndim}")
    chosen = [axis % ndim for axis in chosen]
    if len(set(chosen)) != len(chosen):
        raise ValueError("all axes must be unique")
    extents = list(shape)
    several = function.name[-1] in "2n"
    for position, axis in enumerate(chosen):
        if given is not None and not (several and given[position] == -1):
            extents[axis] = given[position]
        elif function.kind == "C2R" and position == len(chosen) - 1:
            extents[axis] = max(2 * (shape[axis] - 1), 0)
    return extents, chosen


def _integers(name: str, values: Any) -> list[int]:
    try:
        return [operator.index(value) for value in (values if np.iterable(values) else (values,))]
    except TypeError:
        raise ValueError(f"{name} must be a scalar or iterable of integers") from None


def _hashable(name: str, values: Any) -> Any:
    if values is None:
        return None
    return tuple(_integers(name, values)) if np.iterable(values) else operator.index(values)


def _invalid_norm(norm: Any) -> str:
    return f'Invalid norm value {norm!r}, should be "backward", "ortho" or "forward"'


def _preparation(
    x: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, *, conjugate: bool
) -> tuple[Prepare | None, bool]:
    """What makes arrays like `x` ones of this shape and dtype, None where they are; and whether in new memory."""
    index = tuple([slice(0, min(n, m)) for n, m in zip(shape, x.shape, strict=True)])
    padded = any(n > m for n, m in zip(shape, x.shape, strict=True))
    conjugate = conjugate and x.dtype.kind == "c"
    if padded or x.dtype != dtype or not _in_c_order(x[index]):

        def copied(x: np.ndarray) -> np.ndarray:
            made = (np.zeros if padded else np.empty)(shape, dtype)
            made[index] = x[index]
            return np.conjugate(made, out=made) if conjugate else made

        return copied, True
    if conjugate:
        return lambda x: np.conjugate(x[index]), True
    return (None if shape == x.shape else lambda x: x[index]), False


def _in_c_order(x: np.ndarray) -> bool:
    """Whether the elements lie in memory as those of C-ordered arrays do, or of a part of one."""
    steps = [step for n, step in zip(x.shape, x.strides, strict=True) if n > 1]
    return all(step >= following > 0 for step, following in pairwise([*steps, x.itemsize]))


def _conjugate(result: np.ndarray) -> np.ndarray:
    return np.conjugate(result, out=result)


def _mirror(n: int, axis: int, *, conjugate: bool) -> Prepare:
    """What makes the whole spectrum of real numbers, or the conjugate of it, of its first half."""
    before = (slice(None),) * axis
    kept, mirrored, source = (
        (*before, slice(*bounds)) for bounds in ((n // 2 + 1,), (n // 2 + 1, n), ((n - 1) // 2, 0, -1))
    )

    def whole(half: np.ndarray) -> np.ndarray:
        made = np.empty((*half.shape[:axis], n, *half.shape[axis + 1 :]), half.dtype)
        if conjugate:
            np.conjugate(half, out=made[kept])
            made[mirrored] = half[source]
        else:
            made[kept] = half
            np.conjugate(half[source], out=made[mirrored])
        return made

    return whole


def _empty(kind: str, shape: list[int], last: int, dtype: np.dtype) -> Other:
    """Of arrays without elements: there is nothing to transform."""
    if kind == "R2C":
        shape = [*shape[:last], shape[last] // 2 + 1, *shape[last + 1 :]]
    dtype = np.empty(0, dtype).real.dtype if kind == "C2R" else _COMPLEX.get(dtype.char, dtype)

    def nothing(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        result = np.empty(shape, dtype)
        return result if out is None else filled(out, result)

    return nothing


def _extended(
    kind: str, shape: list[int], axes: list[int], norm: str, inverse: bool, prepare: Prepare | None,
    finish: Prepare | None,
) -> Other:  # fmt: skip
    """Of extended precision, which the libraries do not have: by NumPy's transforms, which do."""
    mirrored = kind == "C2C" and finish is not None
    name = {"C2R": "irfftn", "R2C": "rfftn"}.get("R2C" if mirrored else kind, "ifftn" if inverse else "fftn")
    transform: Callable[..., np.ndarray] = getattr(numpy.fft, name)
    extents = [shape[axis] for axis in axes]

    def by_numpy(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        result = transform(x if prepare is None else prepare(x), extents, axes, norm)
        result = result if finish is None else finish(result)
        return result if out is None else filled(out, result)

    return by_numpy
