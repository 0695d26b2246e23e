"""The stateful sparse product, and the function for single use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from planmath.core.arrays import Layout, package_of
from planmath.core.errors import InvalidStateError
from planmath.core.execution import Execution, ExecutionCPU, resolve_execution
from planmath.core.operation import Operation, Plan, make_slot
from planmath.core.options import as_options
from planmath.core.provider import Provider
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot
from planmath.core.typed import of_one_that_is_sparse
from planmath.sparse.product.functions import functions_of, semiring_of
from planmath.sparse.product.options import MatmulOptions, MatmulOptionsDict, qualifiers_of
from planmath.sparse.product.problem import Given, MatmulProblem, specify, summary
from planmath.sparse.product.providers import PROVIDERS
from planmath.sparse.ust import packages, pattern
from planmath.sparse.ust.tensor import Tensor


class InvalidMatmulState(InvalidStateError):
    """A method of a sparse `Matmul` was called out of order."""


def is_sparse(array: Any) -> bool:
    """Whether an operand is a sparse one: a matrix of SciPy or CuPy, a sparse torch.Tensor, or a sparse ust.Tensor."""
    if isinstance(array, Tensor):
        return not packages.is_dense(array.tensor_format)
    if hasattr(array, "layout") and hasattr(array, "is_sparse"):
        return str(array.layout) != "torch.strided"
    return hasattr(array, "tocoo") and hasattr(array, "nnz")


def dense_array(array: Any, name: str) -> Any:
    """The array of a dense operand, that of a dense ust.Tensor included."""
    found = array.to_package() if isinstance(array, Tensor) else array
    package_of(found, name)
    return found


class Matmul(Operation):
    """A product of a sparse tensor with a dense one, ``alpha * a @ b + beta * c``, planned once, executed many times.

    Parameters
    ----------
    a, b : sparse matrix, sparse tensor or array
        One of them is sparse: a matrix of SciPy or CuPy, a sparse torch.Tensor, or a `ust.Tensor` of any format. The
        other is a dense array of the package whose arrays the sparse one consists of (NumPy for SciPy's), or a
        `ust.Tensor` of such. Shapes are as for `numpy.matmul`: vectors (k,), matrices, and batches of matrices, which
        are the same or one operand has none. float16, bfloat16 (torch), float32, float64, complex64 or complex128; two
        dtypes are promoted. Indices of int32 or int64.
    c : array, optional
        Of the result's shape and dtype: it is replaced by the result. Without it each execution makes a new array.
    alpha, beta : number, optional
        Default: 1. Where beta is 0 what is in c does not count.
    qualifiers : numpy.ndarray, optional
        Of `matmul_matrix_qualifiers_dtype`, an element for each of a, b and c: whether a and b are transposed and
        conjugated. PyTorch's lazy conjugates of a dense operand count with them.
    options : MatmulOptions or dict, optional
    execution : {'cpu'}, dict or ExecutionCPU, optional
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
    executions, unless ``options.constant`` has 'a'. Half precision is summed in single precision. Results repeat bit by
    bit for the same plan. An object may be used by one thread at a time.

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

    The least sums, along the edges of a graph:

    >>> with Matmul(a, x) as step:
    ...     step.plan(semiring="min_plus")
    ...     step.execute()
    array([12.,  2.])
    """

    noun = "Matmul"
    invalid_state = InvalidMatmulState
    inplace_by = "c was given"

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
        if execution is not None and not isinstance(execution, str | dict | ExecutionCPU):
            resolve_execution(execution, "cpu")  # raises for what is none
        self._names = self._sparse_and_dense(a, b, c)
        given = dict(zip("ab", (a, b), strict=True))
        sparse = self._read(given[self._names[0]], self._names[0])
        dense = dense_array(given[self._names[1]], self._names[1])
        package = package_of(dense, self._names[1])
        if package.name != sparse.package:
            raise TypeError(
                f"{self._names[0]} consists of {sparse.package} arrays and {self._names[1]} is a {package.name} one; "
                "both must belong to the same package (NumPy's arrays go with SciPy's matrices)"
            )
        layout = package.layout(dense, self._names[1], lazy=True)
        self._given_c = c
        array = None if c is None else dense_array(c, "c")
        if array is not None and package_of(array, "c") is not package:
            raise TypeError(f"c is a {package_of(array, 'c').name} array; expected a {package.name} one, as b")
        c_layout = None if array is None else package.layout(array, "c")
        (a_transposed, a_conjugated), (b_transposed, b_conjugated) = qualifiers_of(qualifiers)
        transposed, swapped = (a_transposed, b_transposed), self._names == ("b", "a")
        lazy = layout.conjugate
        conjugated = (a_conjugated != (lazy and swapped), b_conjugated != (lazy and not swapped))
        self._execution = resolve_execution(execution, layout.memory_space, layout.device_id)
        dense_layout = layout._replace(conjugate=False)
        self._made_for = Given(summary(sparse), dense_layout, c_layout, swapped, transposed, conjugated)
        problem, self._result = self._specified(self._made_for, package.name)
        self._problem = problem
        self._tensor: Tensor | None = sparse
        self._functions: tuple[tuple[str, Any], ...] = ()
        for name, part in self._parts(sparse):
            self._add_operand(name, part)
        self._add_operand(self._names[1], dense, lazy=True)
        if array is not None:
            self._add_operand("c", array, writeable=True)
        numbers = {"alpha": 1 if alpha is None else alpha, "beta": (0 if c is None else 1) if beta is None else beta}
        if c is None and beta is not None:
            self._logger.warning("Matmul: beta = %s is ignored, because c was not given.", beta)
            numbers["beta"] = 0
        for name, number in checked(numbers, problem.work).items():
            self._constants[name] = self._constant(number)
        self._log_specification()

    @staticmethod
    def _sparse_and_dense(a: Any, b: Any, c: Any) -> tuple[str, str]:
        """Which operand is sparse and which is dense."""
        kinds = {"a": is_sparse(a), "b": is_sparse(b)}
        if c is not None and is_sparse(c):
            raise ValueError("c is sparse; expected a dense array, which takes the result")
        if all(kinds.values()):
            raise NotImplementedError(
                "a and b are both sparse, and so is their product; make one of them dense (.toarray(), .to_dense())"
            )
        if not any(kinds.values()):
            dense = next((name for name, x in (("a", a), ("b", b)) if isinstance(x, Tensor)), None)
            if dense is not None:  # a dense tensor with a format is multiplied as any other one
                return (dense, "b" if dense == "a" else "a")
            raise TypeError("neither a nor b is sparse; planmath.linalg.matmul multiplies dense arrays")
        return ("a", "b") if kinds["a"] else ("b", "a")

    def _read(self, array: Any, name: str, check: bool = True) -> Tensor:
        if isinstance(array, Tensor):
            array._filled()
            form = array.tensor_format
            if check and (found := pattern.described(form, array.extents, array._filled())) is not form:
                raise ValueError(
                    f"{name} has the format {form.name}, and its coordinates are not in the order that this promises, "
                    f"or come twice; sort it with convert(), or say so: {found}"
                )
            return array
        try:
            return Tensor.from_package(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from error

    def _parts(self, tensor: Tensor) -> list[tuple[str, Any]]:
        """The arrays of the sparse operand, by their names as operands."""
        name = self._names[0]
        found: list[tuple[str, Any]] = []
        for level in range(tensor.num_levels):
            for kind, array in (("pos", tensor.pos(level)), ("crd", tensor.crd(level))):
                if array is not None:
                    found.append((f"{name}.{kind}({level})", array))
        return [*found, (f"{name}.val", tensor.val)]

    def _specified(self, given: Given, package: str) -> tuple[MatmulProblem, Layout]:
        space = self._execution.space
        limit = self._execution.threads if isinstance(self._execution, ExecutionCPU) else self._execution.device_id
        return specify(
            given, package, (space, limit), compute_type=self._options.compute_type,
            constant="a" in self._options.constant,
        )  # fmt: skip

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
            numbers. Sums begin with c where it is given and else with what changes nothing; entries that are not stored
            take no part. alpha and beta have to be 1.
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
            if self._problem.work.startswith("complex"):
                raise ValueError(f"semiring is {name}, which is not defined for {self._problem.work}")
            factors = {"alpha": 1, "beta": 1 if self._problem.inplace else 0}
            for factor, only in factors.items():
                if self._constants[factor].array != only:
                    raise ValueError(f"{factor} is {self._constants[factor].array}; a semiring has none: leave it away")
        problem = self._problem._replace(semiring=name, functions=functions)
        asked = {"prologs": prologs and dict(prologs), "epilog": epilog, "semiring": semiring}
        self._make_plan(problem, self._slots, stream=stream, asked=asked)

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, stream: Any = None, seconds: float | None = None
    ) -> None:
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

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        """
        self._autotune(iterations, prune, stream, seconds)

    def execute(self, *, release_workspace: bool = False, stream: Any = None, out: Any = None) -> Any:
        """Compute the product.

        Parameters
        ----------
        release_workspace : bool
            Whether to give temporary memory back afterwards.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array, optional
            Where to put the result, without c: with the shape, dtype and strides that `empty_result` gives.

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
        result = self._executor.run(None, out, stream)
        if result is None:
            result = self._execute(None, out, stream)
        if release_workspace:
            self._executor.release_workspace()
        return result if self._given_c is None else self._given_c

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

        A new sparse operand may have another number of entries. Its index arrays are checked.

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
        """`reset_operands` for callers that know that operands fit: index arrays of a `ust.Tensor` are not checked."""
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

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        super()._drop_operands(*stores, (self, {"_tensor": None, "_given_c": None}))

    # Details.

    def _stays_because(self) -> str | None:
        if self._tensor is None:
            return "it has no operands, and without the sparse one it is not known what it is; reset operands first"
        return super()._stays_because()

    def _present(self) -> dict[str, Any]:
        return super()._present() | {self._names[0]: self._tensor, "c": self._given_c}

    def _asked(self, plan: Plan) -> dict[str, Any]:
        return dict(plan.asked)

    def _replace_operands(self, arrays: dict[str, Any], scalars: dict[str, Any], call: str, check: bool) -> None:
        self._require("reset", call)
        given = {name: array for name, array in arrays.items() if array is not None}
        numbers = {name: value for name, value in scalars.items() if value is not None}
        sparse_name, dense_name = self._names
        if "c" in given and not self._problem.inplace:
            raise ValueError(f"c was given to {call}(), but this Matmul was created without it")
        if "beta" in numbers and not self._problem.inplace:
            raise ValueError(f"beta was given to {call}(), but this Matmul was created without c")
        if numbers and self._plan_made is not None and self._plan_made.problem.semiring != "plus_times":
            raise ValueError(f"{', '.join(numbers)} given to {call}(), but the plan's semiring has no factors")
        stores: dict[str, Any] = {}
        slots: dict[str, ArraySlot] | None = None
        parts: dict[str, Any] = {}
        if sparse_name in given:
            tensor = self._read(given[sparse_name], sparse_name, check)
            self._check_alike(tensor)
            parts = dict(self._parts(tensor))
            if tensor.nse != self._problem.sparse.nse or self._other_lengths(parts):
                slots = self._slots_for(tensor, parts)
            stores["_tensor"] = tensor
        if dense_name in given:
            parts[dense_name] = dense_array(given[dense_name], dense_name)
        if "c" in given:
            parts["c"] = dense_array(given["c"], "c")
            stores["_given_c"] = given["c"]
        if not parts and not numbers:
            raise ValueError(f"{call}() got no operand; pass at least one of {', '.join(arrays)}, alpha, beta")
        where = self._slots if slots is None else slots
        missing = [name for name, slot in where.items() if slot.array is None and name not in parts]
        if missing:
            told = ", ".join([*given, *numbers])
            raise ValueError(f"{call}() got {told} only; it needs all operands: {missing[0]} missing")
        bindings: dict[ArraySlot, Any] = {
            where[name]: self._binding_for(name, where[name], array) for name, array in parts.items()
        }
        for name, number in checked(numbers, self._problem.work).items():
            bindings[self._constants[name]] = self._constants[name].binding_for_good(number)
        if slots is not None:
            stores |= self._changes_of_pattern(stores["_tensor"], slots)
        self._replace(bindings, (self, stores))

    def _check_alike(self, tensor: Tensor) -> None:
        planned, new = self._problem.sparse, summary(tensor)
        for what in ("format", "extents", "index_type", "dtype"):
            if getattr(new, what) != getattr(planned, what):
                raise TypeError(
                    f"{self._names[0]} has the {what} {getattr(new, what)}; expected {getattr(planned, what)}, as "
                    "planned: convert it, or create a new Matmul"
                )
        if tensor.package != self._package.name:
            raise TypeError(f"{self._names[0]} consists of {tensor.package} arrays; expected {self._package.name} ones")

    def _other_lengths(self, parts: Mapping[str, Any]) -> bool:
        return any(tuple(array.shape) != self._slots[name].shape for name, array in parts.items())

    def _slots_for(self, tensor: Tensor, parts: Mapping[str, Any]) -> dict[str, ArraySlot]:
        """Slots for a sparse operand with other numbers of entries, and the present ones of the others."""
        return {
            name: make_slot(self._package, self._package.layout(parts[name], name)) if name in parts else slot
            for name, slot in self._slots.items()
        }

    def _changes_of_pattern(self, tensor: Tensor, slots: dict[str, ArraySlot]) -> dict[str, Any]:
        """The attributes that change with the number of entries: what was planned is prepared for it."""
        problem = self._problem._replace(sparse=summary(tensor))
        changes: dict[str, Any] = {
            "_problem": problem, "_made_for": self._made_for._replace(sparse=problem.sparse), "_slots": slots,
        }  # fmt: skip
        plan = self._plan_made
        if plan is None:
            return changes
        planned = problem._replace(semiring=plan.problem.semiring, functions=plan.problem.functions)
        provider = {p.name: p for p in self._providers()}[plan.chosen.provider]
        reason = provider.unsupported(planned)
        if reason is not None:
            raise ValueError(
                f"{self._names[0]} has {tensor.nse} entries where {self._problem.sparse.nse} were planned, and "
                f"{provider.name} cannot do that: {reason}; create a new Matmul"
            )
        prepared = provider.prepare(self._problem_for(provider, planned), plan.chosen)
        new = replace(plan, problem=planned, prepared=prepared)
        return changes | self._changes(new, self._make_executor(planned, prepared, slots), slots)

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Provider]:
        if self._options.codegen:
            return [provider for provider in PROVIDERS if provider.name == "own"]
        return PROVIDERS

    def _result_slots(self, problem: MatmulProblem) -> dict[str, ArraySlot]:
        return {} if problem.inplace else {"out": self._make_slot(self._result, writeable=True)}

    def _inplace_operand(self) -> str | None:
        return "c" if self._problem.inplace else None

    def _tuning_key(self, problem: MatmulProblem) -> str:
        sparse = problem.sparse
        about = f"{sparse.format} {sparse.extents} {sparse.index_type} {sparse.dtype} 2^{sparse.nse.bit_length()}"
        names = tuple(name for name, _ in problem.functions)
        return super()._tuning_key(problem._replace(sparse=about, functions=names))  # type: ignore[arg-type]

    def _describe(self) -> str:
        p = self._problem
        sparse = f"{p.sparse.format.name} {'x'.join(map(str, p.sparse.extents))} with {p.sparse.nse} entries"
        dense = "x".join(map(str, self._made_for.dense.shape))
        both = [sparse, dense][:: -1 if p.swapped else 1]
        return f"{p.dtype} {both[0]} @ {both[1]}{' + c' if p.inplace else ''} on {p.execution[0]}"


@of_one_that_is_sparse
def matmul(
    a: Any,
    b: Any,
    /,
    c: Any = None,
    *,
    alpha: complex | None = None,
    beta: complex | None = None,
    qualifiers: Any = None,
    prologs: Mapping[str, Any] | None = None,
    epilog: Callable[[Any], Any] | None = None,
    semiring: Any = None,
    compute_capability: Any = None,
    options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Multiply a sparse tensor with a dense one once: ``alpha * a @ b + beta * c``.

    Parameters
    ----------
    a, b, c, alpha, beta, qualifiers, options, execution, stream
        As for `Matmul`.
    prologs, epilog, semiring, compute_capability
        As for `Matmul.plan`.

    Returns
    -------
    array
        As for `Matmul.execute`.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.sparse import matmul
    >>> matmul(sp.csr_array([[0.0, 2], [1, 0]]), np.array([[1.0, 2], [3, 4]]))
    array([[6., 8.],
           [1., 2.]])
    """
    with Matmul(
        a, b, c, alpha=alpha, beta=beta, qualifiers=qualifiers, options=options, execution=execution, stream=stream
    ) as product:
        product.plan(
            prologs=prologs, epilog=epilog, semiring=semiring, compute_capability=compute_capability, stream=stream
        )
        return product.execute(stream=stream)

