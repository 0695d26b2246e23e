"""The specification of a Fourier transform."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from planmath.core.arrays import COMPLEX_OF, ITEMSIZE, REAL_OF, WIDER, Layout, contiguous_strides, overlaps_itself
from planmath.core.execution import Execution, ExecutionCPU
from planmath.fft.options import FFTDirection, FFTOptions

#: The directions that each kind of transform can have, the default first.
DIRECTIONS_OF = {
    "C2C": (FFTDirection.FORWARD, FFTDirection.INVERSE),
    "R2C": (FFTDirection.FORWARD,),
    "C2R": (FFTDirection.INVERSE,),
}


class FFTProblem(NamedTuple):
    """What to transform: all that matters for planning. Strides are in elements."""

    kind: str
    precision: str
    """The dtype of the real and imaginary parts."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    result_shape: tuple[int, ...]
    result_strides: tuple[int, ...]
    axes: tuple[int, ...]
    inplace: bool
    execution: tuple[str, int]
    """The execution space, with its number of threads or device."""
    directions: tuple[int, ...]
    aligned: bool = True
    """Whether an operand on a device is at a multiple of the size of complex elements, as CUDA's libraries need it."""
    norm: str | None = None
    """Which of the directions are scaled: see `factor`."""
    prolog: Any = None
    epilog: Any = None
    """A `planmath.fft.callbacks.Callback` each, if there is one."""

    def __repr__(self) -> str:
        """All fields but callbacks that are not there."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return f"FFTProblem({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    @property
    def callbacks(self) -> tuple[Any, ...]:
        return tuple(callback for callback in (self.prolog, self.epilog) if callback is not None)

    @property
    def plain(self) -> FFTProblem:
        """The same transform without callbacks."""
        return self._replace(prolog=None, epilog=None) if self.callbacks else self

    @property
    def dtype(self) -> str:
        return self.precision if self.kind == "R2C" else COMPLEX_OF[self.precision]

    @property
    def result_dtype(self) -> str:
        return self.precision if self.kind == "C2R" else COMPLEX_OF[self.precision]

    @property
    def real_shape(self) -> tuple[int, ...]:
        """The shape on the side that has all elements: the real one for R2C and C2R."""
        return self.result_shape if self.kind == "C2R" else self.shape

    @property
    def result_aligned(self) -> bool:
        """As `aligned` says it of operands: results of their own are."""
        return self.aligned or not self.inplace

    @property
    def threads(self) -> int:
        return self.execution[1]

    @property
    def work(self) -> float:
        """Elements times the logarithm of the transform's length: floating-point operations are about 5 times this."""
        length = math.prod(self.real_shape[axis] for axis in self.axes)
        return math.prod(self.real_shape) * math.log2(max(length, 2))

    def factor(self, direction: int) -> float:
        """What the results in a direction are multiplied by."""
        unscaled = {None: (-1, 1), "backward": (-1,), "forward": (1,), "ortho": ()}[self.norm]
        if direction in unscaled:
            return 1.0
        length = math.prod(self.real_shape[axis] for axis in self.axes)
        return 1 / math.sqrt(length) if self.norm == "ortho" else 1 / length

    def transformed(self) -> list[tuple[int, int, int]]:
        """Extent, operand stride and result stride of the transformed axes, in their order."""
        return [(self.real_shape[axis], self.strides[axis], self.result_strides[axis]) for axis in self.axes]

    def batch(self) -> list[tuple[int, int, int]]:
        """The same of all other axes, from the slowest to the fastest; axes that are one in memory are fused."""
        rest = [
            (n, s, r)
            for axis, (n, s, r) in enumerate(zip(self.shape, self.strides, self.result_strides, strict=True))
            if axis not in self.axes and n > 1
        ]
        return fuse(rest)


def fuse(dimensions: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same elements by as few dimensions as possible, from the slowest in the result to the fastest."""
    fused: list[tuple[int, int, int]] = []
    for n, s, r in sorted(dimensions, key=lambda dim: (-dim[2], -abs(dim[1]))):
        if fused and fused[-1][1] == n * s and fused[-1][2] == n * r:
            fused[-1] = (fused[-1][0] * n, s, r)
        else:
            fused.append((n, s, r))
    return fused


def specify(
    layout: Layout, axes: Sequence[int] | None, options: FFTOptions, execution: Execution, address: int = 0
) -> FFTProblem:
    """The problem that a user's arguments describe; `address` is the operand's, if there is one already.

    Raises
    ------
    ValueError
        If they do not describe one.
    """
    shape = layout.shape
    if not shape or 0 in shape:
        raise ValueError(f"operand has the shape {shape}; a transform needs at least one axis and one element")
    kind = _kind(layout.dtype, options.fft_type)
    chosen = _axes(axes, len(shape))
    precision = REAL_OF.get(layout.dtype, layout.dtype)
    strides = _canonical(shape, layout.strides)
    if options.inplace:
        if kind != "C2C":
            raise ValueError(f"options.inplace is for C2C transforms; this one is {kind}: leave inplace away")
        if overlaps_itself(shape, strides):
            raise ValueError(
                f"operand of shape {shape} and strides {strides} (in elements) has elements that share memory, "
                "so it cannot be transformed in place; copy it, or leave inplace away"
            )
        result_shape, result_strides = shape, strides
    else:
        result_shape = _result_shape(shape, kind, chosen[-1], options.last_axis_parity)
        order = list(range(len(shape)))
        if options.result_layout != "C":
            order.sort(key=lambda axis: (-abs(strides[axis]), axis))
        if options.result_layout == "optimized":
            order.sort(key=lambda axis: axis in chosen)  # stable: each group keeps its order
        result_strides = contiguous_strides(result_shape, tuple(order))
    limit = execution.threads if isinstance(execution, ExecutionCPU) else execution.device_id
    stays = execution.space == layout.memory_space == "cuda"  # copies from elsewhere are aligned
    return FFTProblem(
        kind, precision, shape, strides, result_shape, result_strides, chosen, options.inplace,
        (execution.space, limit), tuple(int(d) for d in DIRECTIONS_OF[kind]),
        not stays or address % ITEMSIZE[COMPLEX_OF[precision]] == 0,
        options.norm,
    )  # fmt: skip


def _kind(dtype: str, wanted: str | None) -> str:
    if dtype not in REAL_OF and dtype not in COMPLEX_OF:
        raise ValueError(unsupported_dtype(dtype, f"operand has the dtype {dtype}"))
    kinds = ("C2C", "C2R") if dtype in REAL_OF else ("R2C",)
    if wanted is not None and wanted not in kinds:
        raise ValueError(
            f"options.fft_type is {wanted!r} and the operand has the dtype {dtype}; "
            f"{'complex' if dtype in REAL_OF else 'real'} operands have transforms of type {' or '.join(kinds)}"
        )
    return wanted or kinds[0]


def unsupported_dtype(dtype: str, given: str, domain: str | None = None) -> str:
    """What to say of an operand whose dtype no transform has, or none of this domain."""
    names = {
        "real": "float32 or float64, or on a CUDA device float16",
        "complex": "complex64 or complex128, or on a CUDA device complex32",
        None: "float32, float64, complex64 or complex128, or on a CUDA device float16 or complex32",
    }[domain]
    wanted = domain or ("complex" if dtype.startswith(("complex", "clong")) else "real")
    wider = WIDER.get(dtype, "complex128" if wanted == "complex" else "float64")
    return f"{given}; expected {names}: convert it to {wider if wanted == 'real' else COMPLEX_OF.get(wider, wider)}"


def only_on_devices(dtype: str) -> str:
    """Why a library of the CPU does not transform half precision."""
    return (
        f"it has transforms of float32, float64, complex64 and complex128, not of {dtype}: convert the operand to "
        f"{WIDER.get(dtype)}"
    )


def _axes(axes: Any, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    try:
        given = tuple(operator.index(axis) for axis in axes)
    except TypeError:
        raise TypeError(f"axes is {axes!r}; expected a sequence of integers, such as axes=(0, 1)") from None
    if not given:
        raise ValueError("axes is empty; name at least one axis, or leave it away to transform all")
    for axis in given:
        if not -ndim <= axis < ndim:
            raise ValueError(f"axes has {axis}, which is out of range for an operand of {ndim} dimensions")
    chosen = tuple(axis % ndim for axis in given)
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"axes {given} names an axis twice; each can be transformed once")
    return chosen


def _canonical(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in which axes with one element, whose strides mean nothing, have the dense ones."""
    canonical = list(strides)
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1:
            canonical[axis] = abs(canonical[axis + 1]) * shape[axis + 1] if axis + 1 < len(shape) else 1
    return tuple(canonical)


def _result_shape(shape: tuple[int, ...], kind: str, last: int, parity: str) -> tuple[int, ...]:
    result = list(shape)
    if kind == "R2C":
        result[last] = shape[last] // 2 + 1
    elif kind == "C2R":
        result[last] = 2 * (shape[last] - 1) + (parity == "odd")
        if result[last] < 1:
            raise ValueError(
                f"a C2R transform of {shape[last]} element along the last transformed axis has an even number of "
                "results, which is none; use options.last_axis_parity='odd' for one result"
            )
    return tuple(result)
