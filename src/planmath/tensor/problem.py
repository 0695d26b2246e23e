"""The specification of a contraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from planmath.core.arrays import Layout, contiguous_strides, overlaps_itself
from planmath.core.execution import Execution, ExecutionCPU
from planmath.tensor.enums import NOT_UNARY, REAL_ONLY, ComputeDescriptor, Operator
from planmath.tensor.expression import Expression
from planmath.tensor.options import ContractionOptions, bytes_of_limit, memory_of, tensor_qualifiers_dtype

_C = ComputeDescriptor
_SINGLE = (_C.COMPUTE_32F, _C.COMPUTE_TF32, _C.COMPUTE_3XTF32, _C.COMPUTE_16F, _C.COMPUTE_16BF, _C.COMPUTE_4X16F,
           _C.COMPUTE_9X16BF)  # fmt: skip
_DOUBLE = (_C.COMPUTE_64F, _C.COMPUTE_32F, _C.COMPUTE_8XINT8)
#: The compute descriptors that operands of a dtype can have, the default first.
COMPUTE_OF = {
    "float16": (_C.COMPUTE_32F, _C.COMPUTE_16F), "bfloat16": (_C.COMPUTE_32F, _C.COMPUTE_16BF), "float32": _SINGLE,
    "complex64": _SINGLE, "float64": _DOUBLE, "complex128": _DOUBLE,
}  # fmt: skip
#: The dtype in which the CPU computes.
WORK_DTYPE = {
    "float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64",
    "complex64": "complex64", "complex128": "complex128",
}  # fmt: skip
HALF = ("float16", "bfloat16")
#: What remains of a contraction where alpha is 0: what is added, or nothing.
ADDEND, ZEROS = "addend", "zeros"
#: What an operator on a lazy conjugate is on what is in memory.
CONJUGATED: dict[int, int] = {Operator.OP_IDENTITY: Operator.OP_CONJ, Operator.OP_CONJ: Operator.OP_IDENTITY}


def as_operand(given: Any) -> Any:
    """What a user gave; a number of NumPy's, which its functions return where an array would have no axis, as one."""
    return np.asarray(given) if isinstance(given, np.generic) else given


def kept_dtype(dtype: str, space: str) -> str:
    """The dtype in which an execution space keeps intermediate results; cuTENSOR does not convert bfloat16."""
    return dtype if (dtype, space) == ("bfloat16", "cuda") else WORK_DTYPE[dtype]


class HasSteps(Protocol):
    """A tensor whose `steps` tell by how many elements each mode moves."""

    @property
    def steps(self) -> Mapping[int, int]: ...


class Tensor(NamedTuple):
    """An operand or a result: which modes its elements are counted by. Modes are numbers.

    Each mode stands once, and only where it makes a difference: an axis of one element is left out, and so is one along
    which an operand repeats (a stride of 0) if another operand has the mode. An operand's diagonal is one mode with the
    sum of the strides.
    """

    dtype: str
    modes: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    operator: int = Operator.OP_IDENTITY

    @property
    def steps(self) -> dict[int, int]:
        return dict(zip(self.modes, self.strides, strict=True))


class ContractionProblem(NamedTuple):
    """What to contract: all that matters for planning. The values of alpha and beta are not part of it."""

    extents: tuple[int, ...]
    """By the modes' numbers."""
    operands: tuple[Tensor, ...]
    """The factors."""
    c: Tensor | None
    """What is added."""
    d: Tensor
    """The result."""
    inplace: bool
    """Whether the result replaces c."""
    compute: str
    """The least accurate arithmetic that may be used, as one of `ComputeDescriptor`."""
    execution: tuple[str, int]
    """The execution space, with its number of threads or device."""
    package: str
    memory_limit: int
    """Most bytes of temporary memory."""
    preference: tuple[tuple[str, int], ...] = ()
    """What `ContractionPlanPreference` has other than the defaults, as far as the execution space heeds it."""
    handle: int = 0
    """The user's own handle of the library, if there is one."""

    @property
    def threads(self) -> int:
        return self.execution[1]

    def names(self) -> list[str]:
        """The arrays as programs see them before the results: the user's operands, then the scale factors."""
        factors = list("abc"[: len(self.operands)])
        return [*factors, *([addend_name(len(factors))] if self.c is not None else []), "alpha", "beta"]


def addend_name(factors: int) -> str:
    """What the operand is called that is added to a contraction of so many."""
    return "abcd"[factors]


class Specified(NamedTuple):
    """A problem, and the layout of the array that holds its result."""

    problem: ContractionProblem
    result: Layout


def specify(
    expression: Expression, layouts: Mapping[str, Layout], out: Layout | None, options: ContractionOptions,
    operators: Sequence[int], execution: Execution, package: str, *, inplace: bool = False,
) -> Specified:  # fmt: skip
    """The problem that the arguments of a contraction describe.

    Parameters
    ----------
    expression : Expression
    layouts : dict
        Of the operands, in their order; the last one is that of what is added, if there are more than terms.
    out : Layout, optional
        Of the array for the result.
    operators : sequence of int
        One `Operator` for each layout.
    inplace : bool
        Whether the array for the result is the one that is added.
    """
    factors = len(expression.inputs)
    names = list(layouts)
    dtype = layouts[names[0]].dtype
    operators = [_in_memory(*of, operator) for of, operator in zip(layouts.items(), operators, strict=False)]
    tensors = [
        _tensor(layout, modes, operator)
        for layout, modes, operator in zip(layouts.values(), expression.inputs, operators, strict=False)
    ]
    addend = layouts[names[factors]] if len(names) > factors else None
    shape = expression.shape
    if addend is not None and (
        len(addend.shape) != len(shape) or any(n not in (1, m) for n, m in zip(addend.shape, shape, strict=True))
    ):
        raise ValueError(f"{names[factors]} has the shape {addend.shape}; expected that of the result, {shape}")
    numbers = {mode: i for i, mode in enumerate(expression.extents)}
    tensors = [_without_repetition(t, tensors[:i] + tensors[i + 1 :]) for i, t in enumerate(tensors)]
    if out is None:
        layout = "C" if options.result_layout == "auto" and addend is not None else options.result_layout
        strides = result_strides(expression, [tensor.steps for tensor in tensors], layout)
    else:
        strides = out.strides
    result = Layout(shape, strides, out.dtype if out is not None else dtype, *layouts[names[0]][3:5])
    if out is not None:
        _check_out(out, shape)
    problem = ContractionProblem(
        tuple(expression.extents.values()),
        tuple(_numbered(tensor, numbers) for tensor in tensors),
        None if addend is None else _numbered(_tensor(addend, expression.output, operators[factors]), numbers),
        _numbered(_tensor(result, expression.output), numbers),
        inplace,
        check_compute(dtype, options.compute_type),
        place_of(execution),
        package,
        bytes_of_limit(options.memory_limit, memory_of(execution)),
        handle=(options.handle or 0) if execution.space == "cuda" else 0,
    )
    return Specified(_renumbered(problem), result)


def place_of(execution: Execution) -> tuple[str, int]:
    """The execution space with its number of threads or device."""
    return execution.space, execution.threads if isinstance(execution, ExecutionCPU) else execution.device_id


def _in_memory(name: str, layout: Layout, operator: int) -> int:
    """The operator that is to be applied to what an operand has in memory."""
    if not layout.conjugate:
        return operator
    if operator not in CONJUGATED:
        raise ValueError(
            f"{name} is conjugated in name only, and qualifiers has {Operator(operator).name} for it; expected the "
            f"values themselves there: pass {name}.resolve_conj()"
        )
    return CONJUGATED[operator]


class _Named(NamedTuple):
    """A `Tensor` before its modes have numbers."""

    dtype: str
    steps: dict[Any, int]
    operator: int


def _tensor(layout: Layout, modes: Sequence[Any], operator: int = Operator.OP_IDENTITY) -> _Named:
    steps: dict[Any, int] = {}
    for mode, extent, stride in zip(modes, layout.shape, layout.strides, strict=True):
        if extent != 1:
            steps[mode] = steps.get(mode, 0) + stride
    if operator == Operator.OP_CONJ and not layout.dtype.startswith("complex"):
        operator = Operator.OP_IDENTITY
    return _Named(layout.dtype, steps, int(operator))


def _without_repetition(tensor: _Named, others: Sequence[_Named]) -> _Named:
    """The tensor without the modes along which it only repeats, where another one has them."""
    kept = {m: s for m, s in tensor.steps.items() if s != 0 or not any(other.steps.get(m) for other in others)}
    return tensor._replace(steps=kept)


def _numbered(tensor: _Named, numbers: Mapping[Any, int]) -> Tensor:
    return Tensor(tensor.dtype, tuple(numbers[m] for m in tensor.steps), tuple(tensor.steps.values()), tensor.operator)


def _renumbered(problem: ContractionProblem) -> ContractionProblem:
    """The problem with its modes numbered as they come, without those that are nowhere."""
    present: dict[int, int] = {}
    for tensor in (*problem.operands, problem.d):
        for mode in tensor.modes:
            present.setdefault(mode, len(present))

    def renumber(tensor: Tensor) -> Tensor:
        return tensor._replace(modes=tuple(present[mode] for mode in tensor.modes))

    return problem._replace(
        extents=tuple(problem.extents[mode] for mode in present),
        operands=tuple(map(renumber, problem.operands)),
        c=None if problem.c is None else renumber(problem.c),
        d=renumber(problem.d),
    )


def result_strides(expression: Expression, steps: Sequence[Mapping[Any, int]], layout: str) -> tuple[int, ...]:
    """Strides of a new result of operands with these steps, for one of `options.RESULT_LAYOUTS`."""
    shape = expression.shape
    order = {
        "C": lambda: list(expression.output),
        "F": lambda: list(reversed(expression.output)),
    }.get(layout, lambda: best_order(expression.output, steps))()
    return contiguous_strides(shape, tuple(expression.output.index(mode) for mode in order))


def by_step(tensor: HasSteps) -> list[int]:
    """The modes of a tensor, the slowest first."""
    return sorted(tensor.steps, key=lambda mode: -abs(tensor.steps[mode]))


def best_order(output: Sequence[Any], steps: Sequence[Mapping[Any, int]]) -> list[Any]:
    """The result's modes, the slowest first, so that products of the operands as they are leave it in place.

    That is: what all operands have, then what the first has alone, then what the others have alone, each in the order
    in which it lies in memory; or the same with the operands exchanged, if that is nearer to the order of `output`.
    """
    first, rest = steps[0], steps[1:]

    def place(mode: Any) -> tuple[int, int]:
        owners = [i for i, of in enumerate(steps) if mode in of]
        if len(owners) == len(steps) > 1 or not owners:
            return (0, -abs(first.get(mode, 0)))
        return (1 + owners[0], -abs(steps[owners[0]][mode]))

    order = sorted(output, key=place)
    if len(rest) == 1:
        exchanged = sorted(output, key=lambda mode: ((0, 2, 1)[place(mode)[0]], place(mode)[1]))
        if exchanged == list(output):
            return exchanged
    return order


def check_compute(dtype: str, compute_type: int | None) -> str:
    """The name of the least accurate arithmetic in which operands of this dtype may be contracted."""
    possible = COMPUTE_OF.get(dtype)
    if possible is None:
        raise ValueError(f"operands of {dtype} cannot be contracted; convert them to one of {', '.join(COMPUTE_OF)}")
    if compute_type is not None and compute_type not in possible:
        names = ", ".join(descriptor.name for descriptor in possible)
        raise ValueError(f"options.compute_type is {ComputeDescriptor(compute_type).name}; {dtype} has {names}")
    return (possible[0] if compute_type is None else ComputeDescriptor(compute_type)).name


def check_dtypes(layouts: Mapping[str, Layout], out: Layout | None = None) -> None:
    """Raise where operands, or the array for the result, differ in dtype, or have one that cannot be contracted."""
    (first, layout), *others = layouts.items()
    for name, other in others:
        if other.dtype != layout.dtype:
            raise ValueError(f"{name} has the dtype {other.dtype} and {first} {layout.dtype}; convert one of them")
    check_compute(layout.dtype, None)
    if out is not None and out.dtype != layout.dtype:
        raise ValueError(f"out has the dtype {out.dtype}; expected that of the operands, {layout.dtype}")


def _check_out(out: Layout, shape: tuple[int, ...]) -> None:
    if out.shape != shape:
        raise ValueError(f"out has the shape {out.shape}; expected that of the result, {shape}")
    if overlaps_itself(out.shape, out.strides):
        raise ValueError(
            f"out has the shape {out.shape} and the strides {out.strides} (in elements), so that elements share "
            "memory; pass an array with memory for each element"
        )


def operators_of(qualifiers: Any, names: Sequence[str], dtype: str) -> tuple[int, ...]:
    """The operator of each operand, and of what is added.

    Parameters
    ----------
    qualifiers : numpy.ndarray or None
    names : sequence of str
        The operands', the one that is added included.
    dtype : str
        The operands'.
    """
    if qualifiers is None:
        return (Operator.OP_IDENTITY,) * len(names)
    given = np.asarray(qualifiers)
    if given.dtype != tensor_qualifiers_dtype or given.shape != (len(names),):
        raise ValueError(
            f"qualifiers has the dtype {given.dtype} and the shape {given.shape}; expected an array of "
            f"tensor_qualifiers_dtype with {len(names)} elements, for {', '.join(names)}"
        )
    operators = []
    for name, number in zip(names, given.tolist(), strict=True):
        try:
            operator = Operator(number)
        except ValueError:
            raise ValueError(f"qualifiers has {number} for {name}; expected an Operator") from None
        if operator in NOT_UNARY:
            raise ValueError(f"qualifiers has {operator.name} for {name}; expected an operator of one element")
        if operator in REAL_ONLY and dtype.startswith("complex"):
            raise ValueError(f"qualifiers has {operator.name} for {name}, which is not defined for {dtype}")
        operators.append(operator)
    return tuple(operators)
