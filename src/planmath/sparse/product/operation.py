"""The stateful sparse product, and the function for single use."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import planmath.sparse.product.formats as format_times
from planmath.core.arrays import Layout
from planmath.core.cuda import devices
from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.core.execution import Execution, ExecutionCPU, ExecutionCUDA, resolve_execution
from planmath.core.executor import Executor
from planmath.core.operation import Plan
from planmath.core.options import as_options
from planmath.core.pickling import carried
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot, commit
from planmath.core.typed import A, A_co, result
from planmath.sparse.product import patterns, sparse_results
from planmath.sparse.product.functions import functions_of, semiring_of
from planmath.sparse.product.operands import (
    Taken,
    are_tensors,
    take,
)
from planmath.sparse.product.options import MatmulOptions, MatmulOptionsDict, qualifiers_for, qualifiers_of
from planmath.sparse.product.pair_problem import specify_pair
from planmath.sparse.product.problem import Given, Sparse, specify, summary
from planmath.sparse.product.providers import PROVIDERS, expected
from planmath.sparse.product.replacing import SparseOperands, followed
from planmath.sparse.product.sampled_problem import specify_sampled
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.pattern import has_even_segments
from planmath.sparse.ust.tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    class MatmulArguments(TypedDict, total=False):
        """What a `Matmul` takes beside its operands."""

        alpha: complex | None
        beta: complex | None
        qualifiers: Any
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None
        execution: Execution | str | dict[str, Any] | None
        stream: Any


#: Multiplications up to which stateless calls leave the pattern of a product to the next one: what is kept takes up to
#: some bytes for each.
MOST_REMEMBERED = 4_000_000


class InvalidMatmulState(InvalidStateError):
    """A method of a sparse `Matmul` was called out of order."""


class Matmul(SparseOperands[A_co]):
    """A product in which an operand is sparse, ``alpha * a @ b + beta * c``, planned once, executed many times.

    Parameters
    ----------
    a, b : sparse matrix, sparse tensor or array
        At least one of them, or c, is sparse: a matrix of SciPy or CuPy, a sparse torch.Tensor, or a `ust.Tensor` of
        any format. The others are dense arrays of the package whose arrays the sparse one consists of (NumPy for
        SciPy's), or `ust.Tensor` of such. Shapes are as for `numpy.matmul`: vectors (k,), matrices, and batches of
        matrices, which are the same or one operand has none. float16, bfloat16 (torch), float32, float64, complex64 or
        complex128; two dtypes are promoted. Indices of int32 or int64.
    c : array, sparse matrix or sparse tensor, optional
        Of the result's shape and dtype: it is replaced by the result. Where it is sparse, and a and b are both dense or
        both sparse, the elements that it stores are computed and no others. Without c each execution makes a new
        result: an array, or of two sparse operands a sparse one of the same kind, whose entries are those that there
        may be, in order (CSR, but CSC or COO where both operands are; a `ust.Tensor` where a or b is one). Batches of
        PyTorch's CSR tensors stay such: zeros are stored where a matrix has fewer entries than the others.
    alpha, beta : number, optional
        Default: 1. Where beta is 0 what is in c does not count.
    qualifiers : numpy.ndarray, optional
        Of `matmul_matrix_qualifiers_dtype`, an element for each of a, b and c: whether a and b are transposed and
        conjugated. PyTorch's lazy conjugates of a dense operand count with them.
    options : MatmulOptions or dict, optional
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a product, or index arrays are inconsistent.

    Notes
    -----
    The operands are the arrays that the sparse one has when it is passed: values may be changed in place between
    executions, unless ``options.constant`` has 'a'; index arrays may not. Half precision is summed in single
    precision. Results repeat bit by bit for the same plan, but for those of cuSPARSE: its documentation promises that
    of some algorithms only. An object may be used by one thread at a time.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.sparse import Matmul
    >>> a, x = sp.csr_array([[0.0, 2, 0], [1, 0, 3]]), np.array([1.0, 10, 100])
    >>> with Matmul(a, x) as product:
    ...     product.plan()
    ...     first = product.execute()
    ...     product.reset_operands(b=-x)
    ...     second = product.execute()
    >>> first, second
    (array([ 20., 301.]), array([ -20., -301.]))

    The square of a sparse matrix, whose pattern is found out once:

    >>> s = sp.csr_array([[0.0, 2], [1, 0]])
    >>> with Matmul(s, s) as square:
    ...     square.plan()
    ...     square.execute().toarray()
    array([[2., 0.],
           [0., 2.]])

    The least sums, along the edges of a graph:

    >>> with Matmul(a, x) as step:
    ...     step.plan(semiring="min_plus")
    ...     step.execute()
    array([12.,  2.])
    """

    noun = "Matmul"
    invalid_state = InvalidMatmulState
    inplace_by = "c was given"

    if TYPE_CHECKING:

        @overload
        def __init__(self: Matmul[A], a: Any, b: Any, /, c: A, **named: Unpack[MatmulArguments]): ...
        @overload
        def __init__(self: Matmul[NDArray[Any]], a: Any, b: NDArray[Any], /, **named: Unpack[MatmulArguments]): ...
        @overload
        def __init__(self: Matmul[NDArray[Any]], a: NDArray[Any], b: Any, /, **named: Unpack[MatmulArguments]): ...
        @overload
        def __init__(self: Matmul[A], a: A, b: A, /, **named: Unpack[MatmulArguments]): ...

    def __init__(
        self,
        a: Any,
        b: Any,
        /,
        c: Any = None,
        *,
        alpha: complex | None = None,
        beta: complex | None = None,
        qualifiers: Any = None,
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        super().__init__(as_options(MatmulOptions, options))
        taken = take(a, b, c)
        self._package = package = taken.package
        self._check_sparse_result(c)
        self._given_c = c
        self._as_tensor = are_tensors({"a": a, "b": b})
        layouts = {name: package.layout(x, name, lazy=name != "c") for name, x in taken.dense.items()}
        (a_transposed, a_conjugated), (b_transposed, b_conjugated) = qualifiers_of(qualifiers)
        lazy = {name: layout.conjugate for name, layout in layouts.items()}
        conjugated = (a_conjugated != lazy.get("a", False), b_conjugated != lazy.get("b", False))
        place = next(
            iter(layouts.values()), package.layout(taken.sparse["a"].val, "a") if "a" in taken.sparse else None
        )
        assert place is not None
        self._execution = resolve_execution(execution, place.memory_space, place.device_id)
        summaries = {name: summary(tensor) for name, tensor in taken.sparse.items()}
        known: dict[str, Any] = summaries | {name: x._replace(conjugate=False) for name, x in layouts.items()}
        self._made_for = Given(
            known["a"], known["b"], known.get("c"), (a_transposed, b_transposed), conjugated
        )  # fmt: skip
        problem, self._result = self._specified(self._made_for)
        self._problem = problem
        self._tensors: dict[str, Tensor] = taken.sparse
        self._followed = followed(taken.given)
        self._conjugated = (a_conjugated, b_conjugated)
        self._formats: list[format_times.FormatTime] = []
        self._replaced = None if c is None else "c.val" if "c" in taken.sparse else "c"
        self._checked_out: Callable[[], Any] = lambda: None
        for name, part in taken.parts():
            self._add_operand(name, part, writeable=name == self._replaced, lazy=name in ("a", "b"))
        numbers = {"alpha": 1 if alpha is None else alpha, "beta": (0 if c is None else 1) if beta is None else beta}
        if c is None and beta is not None:
            self._logger.warning("Matmul: beta = %s is ignored, because c was not given.", beta)
            numbers["beta"] = 0
        for name, number in checked(numbers, problem.work).items():
            self._constants[name] = self._constant(number)
        self._log_specification()

    def _specified(self, given: Given) -> tuple[Any, Layout | None]:
        """The problem, and the layout of a new dense result."""
        space = self._execution.space
        limit = self._execution.threads if isinstance(self._execution, ExecutionCPU) else self._execution.device_id
        # on the CPU: whose arrays those that are computed with are
        where = self._package.host if space == "cpu" else self._package.name, (space, limit)
        compute_type, constant = self._options.compute_type, "a" in self._options.constant
        if given.kind == "dense":
            return specify(given, *where, compute_type=compute_type, constant=constant)
        if given.kind == "sampled":
            return specify_sampled(given, *where, compute_type=compute_type, constant=constant), None
        return specify_pair(
            given, *where, compute_type=compute_type, constant=constant, as_tensor=self._as_tensor
        ), None  # fmt: skip

    def plan(
        self, *, prologs: Mapping[str, Any] | None = None, epilog: Any = None, semiring: Any = None,
        compute_capability: Any = None, stream: Any = None,
    ) -> None:  # fmt: skip
        """Choose how to compute the product, and prepare it.

        Parameters
        ----------
        prologs : dict, optional
            From 'a' and 'b' to functions of one value, applied to the stored values of a sparse operand and to the
            elements of a dense one before they are multiplied. Functions that take arrays are called once; others are
            compiled by Numba where that is installed. What `compile_matmul_prolog` returns serves as well.
        epilog : callable, optional
            The same, of each element of the result.
        semiring : str, pair or dict, optional
            What adds and what multiplies, by a name such as 'min_plus', or as in ``(np.minimum, np.add)``: of real
            numbers; or a dict with 'add' and 'mul', functions of two numbers of your own, which Numba compiles, and
            the 'identity' that an addition does not change, for products with one sparse operand. Sums begin with c
            where it is given and else with what changes nothing; entries that are not stored take no part;
            zeros that fill blocks or diagonals are stored. alpha and beta have to be 1.
        compute_capability : object, optional
            Without effect on the CPU.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If there are no such functions, or no such semiring.
        InvalidMatmulState
            After `release_operands` or `free`.
        UnavailableError
            If nothing can compute the product here.
        """
        self._require("plan")
        functions, name = functions_of(prologs, epilog), semiring_of(semiring)
        if name != "plus_times":
            if isinstance(name, str) and self._problem.work.startswith("complex"):
                raise ValueError(f"semiring is {name}, which is not defined for {self._problem.work}")
            for factor, only, mend in (
                ("alpha", 1, "leave it away"),
                ("beta", int(self._problem.inplace), "leave it away, and fill c with what its sums begin with"),
            ):
                if self._constants[factor].array != only:
                    raise ValueError(
                        f"{factor} is {self._constants[factor].array}, and a semiring has no factors: {mend}"
                    )
        problem = self._problem
        if problem.kind != "dense" and problem.pattern is None:
            problem = patterns.planned(problem, self._tensors)
        asked = {"prologs": prologs and dict(prologs), "epilog": epilog, "semiring": semiring}
        planned = problem._replace(semiring=name, functions=functions)
        self._make_plan(planned, self._slots, stream=stream, asked=asked)
        self._problem = problem

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, stream: Any = None, seconds: float | None = None,
        formats: bool | Sequence[TensorFormat] = False,
    ) -> None:  # fmt: skip
        """Measure every way of every provider to compute the product, and adopt the fastest.

        The measurements go into the tuning record, which the next `plan` of the same product uses.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        prune : int, optional
            How many of the fastest algorithms to keep in `report`. Default: all.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        seconds : float, optional
            How long this may take. Default: 8, and more for what runs longer than 0.1 s.
        formats : bool or sequence of TensorFormat
            Whether to measure the product with its sparse operand in other formats as well, for up to two seconds: with
            True those that suit it by their counts of blocks, diagonals and empty rows. `report` then has a table of
            what executions and conversions take, and of the number of executions after which converting pays. The
            operand keeps its format.

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If formats are asked for of a product with another than one sparse operand, or on a device.
        """
        if not isinstance(formats, bool):
            formats = format_times.checked(formats, next(iter(self._tensors.values()), None))
        if formats is not False and (self._problem.kind != "dense" or self._execution.space != "cpu"):
            raise ValueError(
                "formats can be compared of products with one sparse operand, on the CPU; leave formats away"
            )
        self._autotune(iterations, prune, stream, seconds)
        if formats is False:
            return
        ((name, tensor),) = self._tensors.items()
        wanted = format_times.candidates(tensor) if formats is True else list(formats)
        asked = self._plan_made.asked  # type: ignore[union-attr]
        factors: dict[str, complex] = {name: slot.array.item() for name, slot in self._constants.items()}
        into = None
        if self._problem.inplace:  # what is measured leaves c as it is
            into = self._slots["c"].empty()
            into[...] = self._slots["c"].array
        else:
            del factors["beta"]

        def planned(other: Tensor) -> Matmul:
            given = {key: slot.array for key, slot in self._slots.items() if key in ("a", "b")} | {name: other}
            product = Matmul(
                given["a"], given["b"], into, **factors, options=self._options, execution=self._execution,
                qualifiers=qualifiers_for(self._made_for.transposed, self._conjugated),
            )  # fmt: skip
            product.plan(**asked)
            return product

        self._formats = format_times.measured(tensor, wanted, planned, min(seconds or 2.0, 2.0))

    def _report_parts(self) -> list[Any]:
        parts = super()._report_parts()
        return [*parts, format_times.as_table(self._formats)] if self._formats else parts

    @result
    def execute(self, *, release_workspace: bool = False, stream: Any = None, out: Any = None) -> Any:
        """Compute the product.

        Parameters
        ----------
        release_workspace : bool
            Whether to give temporary memory back afterwards.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array, optional
            Where to put the result, without c: with the shape, dtype and strides that `empty_result` gives; a sparse
            one with the same entries, of which the values are written.

        Returns
        -------
        array
            c itself where it was given, else `out`, or a new array.

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If `out` does not fit.
        """
        for _, given, values in self._followed:
            if given.data is not values:
                self._follow_objects()
                break
        if self._result is None and self._given_c is None:
            return self._execute_sparse(release_workspace, stream, out)
        result = self._executor.run(None, out, stream)
        if result is None:
            result = self._execute(None, out, stream)
        if release_workspace:
            self._executor.release_workspace()
        return result if self._given_c is None else self._given_c

    def _execute_sparse(self, release_workspace: bool, stream: Any, out: Any) -> Any:
        """An execution that makes a sparse result, or writes its values into one."""
        into = None if out is None else self._values_of(out)
        result = self._executor.run(None, into, stream)
        if result is None:
            result = self._execute(None, into, stream)
        if release_workspace:
            self._executor.release_workspace()
        return self._wrapped(result) if out is None else out

    def _values_of(self, out: Any) -> Any:
        """The values of a sparse tensor that takes the result. Raises where its entries are others."""
        self._require("execute")
        if out is self._checked_out():
            return sparse_results.values_of(out)
        values = sparse_results.checked_values(out, self._plan_made.problem, self._as_tensor)  # type: ignore[union-attr]
        self._checked_out = weakref.ref(out)
        return values

    def _wrapped(self, val: Any) -> Any:
        """A sparse result of the kind of the operands over its values."""
        problem = self._plan_made.problem  # type: ignore[union-attr]
        return sparse_results.wrapped(problem, val, self._package.name, self._as_tensor)

    @result
    def empty_result(self) -> Any:
        """An uninitialized result that fits ``execute(out=...)``: an array, or a sparse tensor with all its entries."""
        made = super().empty_result()
        if self._result is not None or self._given_c is not None:
            return made
        made = self._wrapped(made)
        self._checked_out = weakref.ref(made)
        return made

    def reset_operands(
        self,
        *,
        a: Any = None,
        b: Any = None,
        c: Any = None,
        alpha: complex | None = None,
        beta: complex | None = None,
        stream: Any = None,
    ) -> None:
        """Replace operands by ones with the same package, place, dtype, shape, strides, format and index type.

        A new sparse operand may have other entries. Its index arrays are checked, and a product of sparse operands, or
        into a sparse c, whose entries are elsewhere then, is planned for them.

        Parameters
        ----------
        a, b, c : optional
        alpha, beta : number, optional
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or none is given, or after `release_operands` not all are; all stay then.
        InvalidMatmulState
            After `free`.
        """
        self._replace_operands({"a": a, "b": b, "c": c}, {"alpha": alpha, "beta": beta}, "reset_operands", True)

    def reset_operands_unchecked(
        self,
        *,
        a: Any = None,
        b: Any = None,
        c: Any = None,
        alpha: complex | None = None,
        beta: complex | None = None,
        stream: Any = None,
    ) -> None:
        """`reset_operands` for callers that know that operands fit.

        Index arrays of a `ust.Tensor` are not checked, and as many entries as planned are taken to be where those were.
        """
        self._replace_operands(
            {"a": a, "b": b, "c": c}, {"alpha": alpha, "beta": beta}, "reset_operands_unchecked", False
        )

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidMatmulState
            After `free`.
        """
        self._release()

    def _release_dense(self) -> None:
        """Let go of dense operands alone, as who multiplies a sparse one with many: what its indices led to stays."""
        commit({slot: None for name, slot in self._slots.items() if "." not in name})
        self._executor.release_results()

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        super()._drop_operands(*stores, (self, {"_tensors": {}, "_given_c": None, "_followed": ()}))

    # Details.

    def _stays_because(self) -> str | None:
        if not self._tensors:
            return "it has no operands, and without the sparse ones it is not known what it is; reset operands first"
        return super()._stays_because()

    def _present(self) -> dict[str, Any]:
        found = super()._present() | self._tensors | {"c": carried(self._given_c)}
        if self._given_c is not None:
            found["beta"] = self._constants["beta"].array[()]
        return found

    def _settings(self) -> tuple[bool]:
        return (self._as_tensor,)

    def _settle(self, settings: tuple[bool]) -> None:
        """Results of a copy are of the kind of the operands that were given, though it gets tensors."""
        (self._as_tensor,) = settings
        self._problem = self._specified(self._made_for)[0]

    def _asked(self, plan: Plan) -> dict[str, Any]:
        return dict(plan.asked)

    def _take_over(self, taken: Taken) -> None:
        """Bind operands of a stateless call whose layouts and formats are those of the plan's."""
        given = {name: taken.sparse.get(name, taken.dense.get(name)) for name in "abc"}
        self._replace_operands(given, {}, "reset_operands", False, compare=True, objects=taken.given)

    # What the lifecycle asks for.

    @property
    def _leaves_much(self) -> bool:  # type: ignore[override]
        return self._problem.kind != "dense" and self._problem.work_amount > MOST_REMEMBERED

    def _make_executor(self, problem: Any, prepared: Prepared, slots: Mapping[str, ArraySlot]) -> Executor:
        if isinstance(self._execution, ExecutionCUDA):
            given = self._options.memory_limit
            limit = devices.memory_limit(
                f"{100 * given}%" if isinstance(given, float) else given, self._execution.device_id
            )
            if prepared.workspace_size > limit:
                raise UnavailableError(
                    f"the product needs {prepared.workspace_size} bytes of temporary memory, and options.memory_limit "
                    f"allows {limit}"
                )
        return super()._make_executor(problem, prepared, slots)

    def _providers(self) -> Sequence[Provider]:
        if self._options.codegen:
            return [provider for provider in PROVIDERS if provider.name in ("own", "generated")]
        return PROVIDERS

    def _preferred(self, problem: Any, algorithms: list[Algorithm]) -> list[Algorithm]:
        on_device = problem.kind == "dense" and problem.execution[0] == "cuda"
        return expected(problem, algorithms, on_device and has_even_segments(next(iter(self._tensors.values()))))

    def _result_slots(self, problem: Any) -> dict[str, ArraySlot]:
        if problem.inplace:
            return {}
        if self._result is not None:
            return {"out": self._make_slot(self._result, writeable=True)}
        place = next(iter(self._slots.values())).layout
        count = (problem.result.nse,)
        return {"out": self._make_slot(place._replace(shape=count, strides=(1,), dtype=problem.dtype), writeable=True)}

    def _inplace_operand(self) -> str | None:
        return self._replaced

    def _given_operands(self) -> Iterable[tuple[str, Any]]:
        return ((name.partition(".")[0], slot.array) for name, slot in self._slots.items())

    def _tuning_key(self, problem: Any) -> str:
        about = {
            name: f"{x.format} {x.extents} {x.index_type} {x.dtype} 2^{x.nse.bit_length()}"
            for name, x in problem._asdict().items() if isinstance(x, Sparse)
        }  # fmt: skip
        if problem.kind != "dense":
            about["pattern"] = f"2^{problem.work_amount.bit_length()} products"
        names = tuple(name for name, _ in problem.functions)
        return super()._tuning_key(problem._replace(functions=names, semiring=str(problem.semiring), **about))

    def _describe(self) -> str:
        p, given = self._problem, self._made_for
        told = [
            f"{x.format.name} {'x'.join(map(str, x.extents))} with {x.nse} entries" if isinstance(x, Sparse)
            else "x".join(map(str, x.shape))
            for x in (given.a, given.b)
        ]  # fmt: skip
        into = " into c" if isinstance(given.c, Sparse) else " + c" if p.inplace else ""
        return f"{p.dtype} {told[0]} @ {told[1]}{into} on {p.execution[0]}"

