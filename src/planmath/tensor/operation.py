"""The stateful contractions of two and three operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from planmath.core.arrays import Layout, package_of, share_memory
from planmath.core.errors import InvalidStateError
from planmath.core.execution import Execution, resolve_execution
from planmath.core.operands import make_slot
from planmath.core.operation import Operation, State
from planmath.core.options import as_options
from planmath.core.pickling import Absent
from planmath.core.slots import ArraySlot, commit
from planmath.core.typed import A_co, result
from planmath.tensor.expression import read
from planmath.tensor.options import ContractionOptions, ContractionOptionsDict, ContractionPlanPreference
from planmath.tensor.problem import (
    WORK_DTYPE,
    ContractionProblem,
    addend_name,
    as_operand,
    check_dtypes,
    operators_of,
    specify,
)
from planmath.tensor.providers import PROVIDERS, Dividing, usual_library

#: The programs for an alpha of 0, with which factors are not read, and the result is beta times what is added, or 0.
WITHOUT_PRODUCT, NOTHING = "without the product", "nothing"
#: The most bytes of temporary memory that a plan keeps which a stateless call leaves to the next one.
MOST_KEPT = 4 << 20


class InvalidContractionState(InvalidStateError):
    """A method of a contraction was called out of order."""


class _Contraction(Operation[A_co]):
    """What the contractions of a certain number of operands share."""

    invalid_state = InvalidContractionState
    _factors: ClassVar[int]
    """How many operands are multiplied; one more may be added."""

    def __init__(self, expr: Any, operands: Mapping[str, Any], out: Any, qualifiers: Any, options: Any, execution: Any):
        super().__init__(as_options(ContractionOptions, options))
        arrays = {name: as_operand(array) for name, array in operands.items() if array is not None}
        for name in "abc"[: self._factors]:
            if name not in arrays:
                raise TypeError(f"{name} is None; a {self.noun} needs all of {', '.join('abc'[: self._factors])}")
        layouts = {name: package_of(array, name).layout(array, name, lazy=True) for name, array in arrays.items()}
        self._addend = addend_name(self._factors) if len(arrays) > self._factors else None
        self._expr = expr
        expression = read(expr, "abc"[: self._factors], [layouts[n].shape for n in "abc"[: self._factors]])
        self._execution = resolve_execution(execution, layouts["a"].memory_space, layouts["a"].device_id)
        inplace = out is not None and out is arrays.get(self._addend or "")
        for name, array in arrays.items():
            replaced = inplace and name == self._addend
            self._add_operand(name, array, writeable=replaced, lazy=not replaced)
        given: Layout | None = out if isinstance(out, Layout) else None
        if out is not None and given is None:
            package = package_of(out, "out")
            if package is not self._package:
                raise TypeError(f"out is a {package.name} array and a a {self._package.name} one; they must be alike")
            given = package.layout(out, "out")
            if given[3:5] != layouts["a"][3:5]:
                where = given.memory_space if given.device_id is None else f"{given.memory_space}:{given.device_id}"
                raise ValueError(f"out is in the memory space {where!r}; expected that of a: move it there")
        self._check_dtypes(layouts, given)
        every = [*"abc"[: self._factors], addend_name(self._factors)]
        operators = operators_of(qualifiers, every, layouts["a"].dtype)
        self._problem, self._result = specify(
            expression, layouts, given, self._options, operators, self._execution, self._package.name, inplace=inplace
        )
        self._make_scalars(self._problem)
        self._out = None if out is None or inplace or isinstance(out, Layout) else self._bound_out(out, arrays)
        self._preference = ContractionPlanPreference(self)
        self._log_specification()

    def _check_dtypes(self, layouts: Mapping[str, Layout], out: Layout | None) -> None:
        check_dtypes(layouts, out)

    def _make_scalars(self, problem: ContractionProblem) -> None:
        work = WORK_DTYPE[problem.d.dtype]
        for name, value in (("alpha", 1.0), ("beta", 0.0)):
            self._constants[name] = self._constant(np.array(value, work))
        self._alpha: Any = 1.0
        self._beta: Any = None
        self._key: str | None = None

    @property
    def plan_preference(self) -> ContractionPlanPreference:
        """What the next `plan` should prefer: a `ContractionPlanPreference` whose attributes can be set."""
        return self._preference

    def plan(self, *, stream: Any = None) -> None:
        """Choose how to compute the contraction, and prepare it; `plan_preference` has a say in that.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        InvalidContractionState
            After `release_operands` or `free`.
        UnavailableError
            If no provider can compute the contraction within ``options.memory_limit`` or, on a device, as
            `plan_preference` wants it. An earlier plan stays then.
        """
        self._require("plan")
        space = self._execution.space
        problem = self._problem._replace(preference=self._preference.chosen(space))
        self._make_plan(problem, self._slots, stream=stream, hints=self._preference.hints(space))

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, stream: Any = None, seconds: float | None = None
    ) -> None:
        """Measure every way of every provider to compute the contraction, and adopt the fastest.

        The measurements go into the tuning record, which the next `plan` of the same contraction uses.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        prune : int, optional
            How many of the fastest algorithms to keep in `report`. Default: all.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        seconds : float, optional
            How long this may take. What had no turn by then is not chosen, and `report` names it. Default: 8, and more
            for what runs longer than 0.1 s. Ctrl-C ends it earlier, and keeps what was measured as well.

        Raises
        ------
        InvalidContractionState
            Before `plan`, after `release_operands` or `free`.
        """
        self._require("autotune")
        self._set_scalars(1.0, None if self._addend is None else 1.0)  # with an alpha of 0 there is nothing to measure
        self._autotune(iterations, prune, stream, seconds)

    @result
    def execute(
        self, *, alpha: complex = 1.0, beta: complex | None = None, release_workspace: bool = False, stream: Any = None,
        out: Any = None,
    ) -> Any:  # fmt: skip
        """Compute the contraction.

        Parameters
        ----------
        alpha : number
            Factor of the contraction. With 0 the factors are not read, whatever they hold: the result is
            ``beta * c``, or 0.
        beta : number, optional
            Factor of the operand that is added; must be given where there is one. With 0 that operand is not read.
        release_workspace : bool
            Whether to give temporary memory back afterwards.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array, optional
            Where to put the result this time: with the shape, dtype and strides that `empty_result` gives.

        Returns
        -------
        array
            `out`, or the `out` that the object was created with, or a new array in the package of the operands.

        Raises
        ------
        InvalidContractionState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If beta is missing or has nothing to scale, or `out` does not fit.
        """
        if alpha is not self._alpha or beta is not self._beta or (beta is None and self._addend is not None):
            self._set_scalars(alpha, beta)
        target = self._out if out is None else out
        result = self._executor.run(self._key, target, stream)
        if result is None:
            result = self._execute_carefully(target, stream)
        if release_workspace:
            self._executor.release_workspace()
        return result

    def _execute_carefully(self, target: Any, stream: Any) -> Any:
        self._require("execute")
        if self._key not in self._executor.programs:
            provider = {p.name: p for p in self._providers()}[self._plan_made.chosen.provider]  # type: ignore[union-attr]
            if isinstance(provider, Dividing):
                with self._on_device(stream):
                    self._add_program(self._key, provider.without_product(self._key == WITHOUT_PRODUCT))
            else:
                self._executor.programs[self._key] = self._executor.programs[None]
        return self._execute(self._key, target, stream)

    def _execute_once(self, alpha: Any, beta: Any, stream: Any) -> Any:
        """The result for a stateless call, which leaves no large workspace behind."""
        large = self._executor.workspace_size > MOST_KEPT
        return self.execute(alpha=alpha, beta=beta, stream=stream, release_workspace=large)

    def release_operands(self) -> None:
        """Drop the references to all operands, `out` included; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidContractionState
            After `free`.
        """
        self._release()

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Any]:
        return PROVIDERS

    def _usual_library(self) -> tuple[str, str | None] | None:
        return usual_library() if self._execution.space == "cpu" else None

    def _result_slots(self, problem: ContractionProblem) -> dict[str, ArraySlot]:
        return {} if problem.inplace else {"out": self._make_slot(self._result, writeable=True)}

    def _inplace_operand(self) -> str | None:
        return self._addend if self._problem.inplace else None

    def _tuning_key(self, problem: ContractionProblem) -> str:
        return super()._tuning_key(problem._replace(handle=0))  # an address, which is another in each process

    def _describe(self) -> str:
        shapes = ", ".join(str(slot.shape) for name, slot in self._slots.items() if name != self._addend)
        added = f" + {self._addend}" if self._addend else ""
        p = self._problem
        return f"{self._expr!r} of {p.operands[0].dtype} {shapes}{added} on {p.execution[0]}"

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        super()._drop_operands(*stores, (self, {"_out": None if self._out is None else _RELEASED}))

    # Details.

    def _present(self) -> dict[str, Any]:
        present = super()._present()
        if self._problem.inplace:
            return present | {"out": present[self._addend or ""]}
        result = self._out
        if result is _RELEASED:
            result = Absent(self._result, self._package.name)
        return present | {"out": result}

    def _settings(self) -> dict[str, Any]:
        return dict(self._preference._values)

    def _settle(self, settings: dict[str, Any]) -> None:
        self._preference._values.update(settings)

    def _set_scalars(self, alpha: Any, beta: Any) -> None:
        if self._addend is not None and beta is None:
            raise ValueError(f"beta was not given, but {self._addend} was; pass beta=1.0 to add {self._addend}")
        if self._addend is None and beta is not None:
            raise ValueError(f"beta is {beta!r}, but nothing is added; create the {self.noun} with an operand to add")
        values = {"alpha": alpha, "beta": 0.0 if beta is None else beta}
        numbers = {}
        for name, value in values.items():
            slot = self._constants[name]
            dtype = slot.dtype
            number = np.asarray(value)
            if number.shape == () and number.dtype.kind in "biufc" and (number.dtype.kind != "c" or dtype.kind == "c"):
                with suppress(FloatingPointError), np.errstate(all="ignore", over="raise"):
                    numbers[slot] = slot.binding_for_good(number.astype(dtype))
            if slot not in numbers:
                raise ValueError(f"{name} is {value!r}; expected a single number that fits {dtype}")
        zero = {name: not numbers[self._constants[name]].array for name in values}
        adds = self._addend is not None and not zero["beta"]
        # what cannot change its value is known by its identity the next time
        constant = (int, float, complex)
        known = {
            "_key": None if not zero["alpha"] else WITHOUT_PRODUCT if adds else NOTHING,
            "_alpha": alpha if type(alpha) in constant else _UNKNOWN,
            "_beta": beta if beta is None or type(beta) in constant else _UNKNOWN,
        }
        commit(numbers, (self, known))

    def _bound_out(self, out: Any, operands: Mapping[str, Any]) -> Any:
        """`out` if it fits, beside these operands. Raises where it does not."""
        slot = make_slot(self._package, self._result, writeable=True)
        view = self._view_for("out", slot, out)
        for name, operand in operands.items():
            if share_memory(self._package, view, operand):
                raise ValueError(
                    f"out shares memory with {name}, which is read while out is written; pass other memory"
                    + (f", or {name} itself, to be replaced" if name == self._addend else "")
                )
        return out

    def _bind(self, factors: tuple[Any, ...], addend: Any, out: Any) -> bool:
        """Replace operands and `out` in the ordinary case, where each is exactly as planned."""
        if out is not None and self._out is None:  # it may be given as what it is to replace
            if not self._problem.inplace or (addend is not None and addend is not out):
                return False
            addend, out = out, None
        if (self._out is _RELEASED and out is None) or (addend is not None and self._addend is None):
            return False
        arrays = factors if addend is None else (*factors, addend)
        return self._executor.bind_many(arrays) if out is None else self._executor.bind_with(arrays, out, self, "_out")

    def _reset_operands(self, arrays: dict[str, Any], out: Any, call: str) -> None:
        """Replace operands and `out`; all of them or, where one does not fit, none."""
        self._require("reset", call)
        given = {name: as_operand(array) for name, array in arrays.items() if array is not None}
        if self._out is _RELEASED and out is None:
            raise ValueError(f"{call}() got no out; after release_operands() it needs all operands, out included")
        replaced = self._inplace_operand()
        if replaced is not None and out is not None:
            if given.setdefault(replaced, out) is not out:
                raise ValueError(
                    f"{call}() got different arrays for {replaced} and out, which is planned to replace it"
                )
            out = None
        if out is not None and self._out is None:
            raise ValueError(f"out was given to {call}(), but this {self.noun} was created without it")
        if out is None:
            self._reset(given, call)
            return
        bindings = self._bindings_for(given, call) if given or self.state is State.RELEASED else {}
        arrays = {name: bindings[slot].array if slot in bindings else slot.array for name, slot in self._slots.items()}
        self._replace(bindings, (self, {"_out": self._bound_out(out, arrays)}))


#: In the place of an `out` that was released, and of a factor whose value may have changed: neither is any array or
#: number.
_RELEASED, _UNKNOWN = object(), object()


class BinaryContraction(_Contraction[A_co]):
    """A contraction of two tensors, ``alpha * a b + beta * c``, planned once and executed many times.

    Parameters
    ----------
    expr : str, or sequence of sequences of hashable
        Which modes are multiplied and summed, in einsum notation: ``'ijk,jkl->il'``, or without the result, whose modes
        are then those that occur once, sorted; or the modes as sequences, for the operands and the result:
        ``[('i', 'j'), ('j', 'k'), ('i', 'k')]``. ``...`` stands for any number of modes.
    a, b : numpy.ndarray, cupy.ndarray or torch.Tensor
        Of float16, float32, float64, complex64 or complex128 (for torch also bfloat16), of any strides. An extent of 1
        is repeated where the other operand has more. A number of NumPy's counts as an array without axes.
    c : array, optional
        What is added: of the result's shape, or with extents of 1 that are repeated.
    out : array, optional
        For the result, of its shape and any strides. It may be `c` itself, which is then replaced, and must not share
        memory with an operand otherwise.
    qualifiers : numpy.ndarray, optional
        Of `tensor_qualifiers_dtype`, with three elements: the `Operator` that is applied to each element of a, b and c.
        PyTorch's lazy conjugates, ``x.conj()``, are not carried out in memory, but conjugated so as well.
    stream : object, optional
        CUDA stream; without effect on the CPU.
    options : ContractionOptions or dict, optional
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a contraction.

    Notes
    -----
    Half precision is summed in single precision. An object may be used by one thread at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import BinaryContraction
    >>> a, b = np.arange(8.0).reshape(2, 2, 2), np.ones((2, 2, 3))
    >>> with BinaryContraction("ijk,jkl->il", a, b) as contraction:
    ...     contraction.plan()
    ...     first = contraction.execute()
    ...     contraction.reset_operands(a=2 * a)
    ...     second = contraction.execute(alpha=0.5)
    >>> first
    array([[ 6.,  6.,  6.],
           [22., 22., 22.]])
    >>> bool((first == second).all())
    True
    """

    noun = "BinaryContraction"
    inplace_by = "out=c"
    _factors = 2

    def __init__(
        self,
        expr: Any,
        a: A_co,
        b: Any,
        *,
        c: Any = None,
        out: Any = None,
        qualifiers: np.ndarray | None = None,
        stream: Any = None,
        options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
    ):
        super().__init__(expr, {"a": a, "b": b, "c": c}, out, qualifiers, options, execution)

    def reset_operands(
        self, *, a: Any = None, b: Any = None, c: Any = None, out: Any = None, stream: Any = None
    ) -> None:
        """Replace operands by ones with the same package, memory space, dtype, shape and strides.

        Where a lazy conjugate was planned, new ones are lazy conjugates too.

        Parameters
        ----------
        a, b, c, out : array, optional
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or none is given, or after `release_operands` not all are; all stay then.
        InvalidContractionState
            After `free`.
        """
        if self._bind((a, b), c, out):
            return
        self._reset_operands({"a": a, "b": b, "c": c}, out, "reset_operands")

    def reset_operands_unchecked(
        self, *, a: Any = None, b: Any = None, c: Any = None, out: Any = None, stream: Any = None
    ) -> None:
        """`reset_operands` for callers that know that the operands fit.

        The comparison that keeps a wrong operand from crashing the process costs some nanoseconds and is made here
        as well.
        """
        if self._bind((a, b), c, out):
            return
        self._reset_operands({"a": a, "b": b, "c": c}, out, "reset_operands_unchecked")


class TernaryContraction(_Contraction[A_co]):
    """A contraction of three tensors, ``alpha * a b c + beta * d``, planned once and executed many times.

    Parameters
    ----------
    expr, out, stream, options, execution
        As for `BinaryContraction`.
    a, b, c : array
        What is multiplied.
    d : array, optional
        What is added.
    qualifiers : numpy.ndarray, optional
        Of `tensor_qualifiers_dtype`, with four elements: the `Operator` that is applied to each element of a, b, c and
        d.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a contraction.

    Notes
    -----
    Two of the three operands are contracted first, whichever makes the least work; what comes out stays in temporary
    memory, in single precision for half precision, but for bfloat16 on a CUDA device, which cuTENSOR does not convert.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import TernaryContraction
    >>> a, b, c = np.ones((2, 3)), np.ones((3, 4)), np.eye(4)
    >>> with TernaryContraction("ij,jk,kl->il", a, b, c) as contraction:
    ...     contraction.plan()
    ...     r = contraction.execute()
    >>> r
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]])
    """

    noun = "TernaryContraction"
    inplace_by = "out=d"
    _factors = 3

    def __init__(
        self,
        expr: Any,
        a: A_co,
        b: Any,
        c: Any,
        *,
        d: Any = None,
        out: Any = None,
        qualifiers: np.ndarray | None = None,
        stream: Any = None,
        options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
    ):
        super().__init__(expr, {"a": a, "b": b, "c": c, "d": d}, out, qualifiers, options, execution)

    def reset_operands(
        self, *, a: Any = None, b: Any = None, c: Any = None, d: Any = None, out: Any = None, stream: Any = None
    ) -> None:
        """Replace operands by ones with the same package, memory space, dtype, shape and strides.

        Where a lazy conjugate was planned, new ones are lazy conjugates too.

        Parameters
        ----------
        a, b, c, d, out : array, optional
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or none is given, or after `release_operands` not all are; all stay then.
        InvalidContractionState
            After `free`.
        """
        if self._bind((a, b, c), d, out):
            return
        self._reset_operands({"a": a, "b": b, "c": c, "d": d}, out, "reset_operands")

    def reset_operands_unchecked(
        self, *, a: Any = None, b: Any = None, c: Any = None, d: Any = None, out: Any = None, stream: Any = None
    ) -> None:
        """`reset_operands` for callers that know that the operands fit.

        The comparison that keeps a wrong operand from crashing the process costs some nanoseconds and is made here
        as well.
        """
        if self._bind((a, b, c), d, out):
            return
        self._reset_operands({"a": a, "b": b, "c": c, "d": d}, out, "reset_operands_unchecked")
