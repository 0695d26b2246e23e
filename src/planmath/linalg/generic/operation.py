"""The stateful product of matrices with a structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from planmath.core import provider
from planmath.core.arrays import Layout, package_of
from planmath.core.errors import InvalidStateError
from planmath.core.execution import Execution, resolve_execution
from planmath.core.operation import Operation
from planmath.core.options import as_options
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot
from planmath.core.typed import A_co, results
from planmath.linalg.generic.options import MatmulOptions, MatmulOptionsDict
from planmath.linalg.generic.problem import ProductProblem, kind_of_square
from planmath.linalg.generic.providers import PROVIDERS, expected_order
from planmath.linalg.generic.qualifiers import MatrixQualifier, as_qualifiers
from planmath.linalg.generic.specification import specify, squeezed


class InvalidMatmulState(InvalidStateError):
    """A method of `Matmul` was called out of order."""


class Matmul(Operation[A_co]):
    """A product of matrices, ``alpha * a @ b + beta * c``, with what is known of a and b, planned once and executed
    many times.

    Parameters
    ----------
    a, b : numpy.ndarray, cupy.ndarray or torch.Tensor
        Matrices (m, k) and (k, n), vectors (k,), or batches of matrices (..., m, k) and (..., k, n), whose batch shapes
        broadcast as NumPy's do. Symmetric, Hermitian and triangular ones are (..., n, n), diagonal ones are given as
        their diagonals, (..., n), banded ones in LAPACK's band storage, (..., k, n), packed ones as the columns of a
        triangle, one behind the other, (..., n (n + 1) / 2). float16, float32, float64, complex64 or complex128; for
        torch also bfloat16. Any strides. Lists of them stand for as many products, of any shapes, with one dtype; a
        list of one belongs to all.
    c : array, optional
        Of the shape of ``a @ b``, or without its batch; a list of them beside lists.
    alpha, beta : number, optional
        For lists, also lists of numbers. Default: 1; beta must be given where c is. Where alpha is 0 neither a nor b
        matters, where beta is 0 c does not.
    qualifiers : numpy.ndarray, optional
        Of `matrix_qualifiers_dtype`, an element for each of a and b, and of c where it is given: what
        `GeneralMatrixQualifier.create` and the others return. For lists, a list of such arrays. Default: general
        matrices. PyTorch's lazy conjugates of a and b, ``x.conj()`` and ``x.mH``, are not carried out in memory, but
        taken as conjugated so as well.
    options : MatmulOptions or dict, optional
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a product.

    Notes
    -----
    Of symmetric, Hermitian and triangular matrices one triangle is read, of Hermitian ones the real part of the
    diagonal. Where the third qualifier says that the result is symmetric or Hermitian, as that of ``a @ a.T`` is, one
    triangle of it may be computed, from one triangle of c, and mirrored. The result has c's order of rows and columns;
    without c that of the general operand beside one with a structure, and else rows only if both operands lie by rows.
    An object may be used by one thread at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg import Matmul, GeneralMatrixQualifier, TriangularMatrixQualifier, matrix_qualifiers_dtype
    >>> lower, b = np.array([[1.0, np.nan], [2, 3]]), np.array([[1.0, 2], [3, 4]])
    >>> qualifiers = np.full(2, GeneralMatrixQualifier.create(), dtype=matrix_qualifiers_dtype)
    >>> qualifiers[0] = TriangularMatrixQualifier.create()
    >>> with Matmul(lower, b, qualifiers=qualifiers) as product:
    ...     product.plan()
    ...     first = product.execute()
    ...     product.reset_operands(b=-b)
    ...     second = product.execute()
    >>> first
    array([[ 1.,  2.],
           [11., 16.]])
    >>> second
    array([[ -1.,  -2.],
           [-11., -16.]])

    Products of different shapes, in one call:

    >>> from planmath.linalg import matmul
    >>> matmul([np.ones((2, 3)), np.ones((1, 2))], [np.ones((3, 1)), np.ones((2, 2))])
    [array([[3.],
           [3.]]), array([[2., 2.]])]
    """

    noun = "Matmul"
    invalid_state = InvalidMatmulState
    #: What is made of lists.
    _of_lists: ClassVar[type[Matmul[Any]]]

    def __new__(cls, *operands: Any, **arguments: Any) -> Self:
        made: Any = cls
        if cls is Matmul and any(isinstance(operand, (list, tuple)) for operand in operands):
            made = cls._of_lists
        return super().__new__(made, *operands, **arguments)

    def __init__(
        self,
        a: A_co,
        b: Any,
        /,
        c: Any = None,
        *,
        alpha: complex | None = None,
        beta: complex | None = None,
        qualifiers: MatrixQualifier | None = None,
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        chosen = as_options(MatmulOptions, options)
        super().__init__(chosen)
        given = {"a": a, "b": b} | ({} if c is None else {"c": c})
        layouts = {name: package_of(array, name).layout(array, name, lazy=name != "c") for name, array in given.items()}
        self._execution = resolve_execution(execution, layouts["a"].memory_space, layouts["a"].device_id)
        known = as_qualifiers(qualifiers, c is not None)
        package = package_of(a, "a").name
        specified = specify(layouts, known, chosen.inplace, self._execution, package)
        self._problem = self._specified(noticed(specified, a, b))
        self._squeeze = squeezed(layouts, known)
        if c is not None and beta is None:
            raise ValueError("beta was not given, but c was; pass beta=1.0 to add c")
        if c is None and beta is not None:
            self._logger.warning("Matmul: beta = %s is ignored, because c was not given.", beta)
        for name, array in given.items():
            self._add_operand(name, array, writeable=name == "c" and chosen.inplace, lazy=True)
        values = {"alpha": 1 if alpha is None else alpha, "beta": 0 if c is None else beta}
        for name, number in checked(values, self._problem.work_dtype).items():
            self._constants[name] = self._constant(number)
        self._log_specification()

    def plan(self, *, stream: Any = None) -> None:
        """Choose how to compute the product, and prepare it.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        InvalidMatmulState
            After `release_operands` or `free`.
        UnavailableError
            If no library can compute the product here.
        """
        self._make_plan(self._problem, self._slots, stream=stream)

    def autotune(
        self, iterations: int = 10, prune: int | None = None, stream: Any = None, *, seconds: float | None = None
    ) -> None:
        """Measure every way of every provider to compute the product, and adopt the fastest.

        The measurements go into the tuning record, which the next `plan` of the same product uses.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        prune : int, optional
            How many of the fastest algorithms to keep. Default: all.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        seconds : float, optional
            How long this may take. What had no turn by then is not chosen, and `report` names it. Default: 8, and more
            for what runs longer than 0.1 s. Ctrl-C ends it earlier, and keeps what was measured as well.

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        """
        self._autotune(iterations, prune, stream, seconds)

    @results
    def execute(self, *, stream: Any = None, out: Any = None, release_workspace: bool = False) -> Any:
        """Compute the product.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array, optional
            Where to put the result: with the shape, dtype and strides that `empty_result` gives. Nothing is allocated
            then.
        release_workspace : bool
            Whether to give temporary memory back afterwards.

        Returns
        -------
        array
            The result, in the same package as the operands: `out`, or for ``options.inplace`` c itself.

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
        return result

    def execute_unchecked(self, *, stream: Any = None) -> Any:
        """`execute` for callers that know that the object is planned and has operands.

        The checks that keep a wrong call from crashing the process cost some nanoseconds and are made here as well.
        """
        return self.execute(stream=stream)

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
        """Replace operands by ones with the same package, memory space, dtype, shape and strides.

        Where a lazy conjugate was planned, new ones are lazy conjugates too.

        Parameters
        ----------
        a, b, c : array, optional
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
        if alpha is None and beta is None and self._executor.bind_many((a, b) if c is None else (a, b, c)):
            return
        self._require("reset", "reset_operands")
        if beta is not None and self._problem.c is None:
            raise ValueError("beta was given to reset_operands(), but this Matmul was created without c")
        scalars = {name: value for name, value in (("alpha", alpha), ("beta", beta)) if value is not None}
        numbers = {
            self._constants[name]: self._constants[name].binding_for_good(number)
            for name, number in checked(scalars, self._problem.work_dtype).items()
        }
        arrays = {name: array for name, array in (("a", a), ("b", b), ("c", c)) if array is not None}
        self._replace({**self._bindings_for(arrays, "reset_operands", scalars), **numbers})

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
        """`reset_operands` for callers that know that the operands fit.

        The comparison that keeps a wrong operand from crashing the process costs some nanoseconds and is made here
        as well.
        """
        self.reset_operands(a=a, b=b, c=c, alpha=alpha, beta=beta, stream=stream)

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidMatmulState
            After `free`.
        """
        self._release()

    def _specified(self, problem: ProductProblem) -> ProductProblem:
        """The problem, with what a subclass knows of it."""
        return problem

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Any]:
        return PROVIDERS

    def _preferred(self, problem: ProductProblem, algorithms: list[provider.Algorithm]) -> list[provider.Algorithm]:
        return expected_order(problem, algorithms)

    def _result_slots(self, problem: ProductProblem) -> dict[str, ArraySlot]:
        if problem.inplace:
            return {}
        return {"d": self._make_slot(result_layout(problem, self._squeeze), writeable=True)}

    def _inplace_operand(self) -> str | None:
        return "c" if self._options.inplace else None

    def _describe(self) -> str:
        p = self._problem
        batch = f"{'x'.join(map(str, p.batch))} times " if p.batch else ""
        extra = "".join([" + c" if p.c else "", ", in place" if p.inplace else ""])
        return f"{p.d.dtype} {batch}{p.a} @ {p.b}{extra} on {p.execution[0]}"


def noticed(problem: ProductProblem, a: Any, b: Any) -> ProductProblem:
    """The problem, with what can be seen from where the operands are."""
    kind = kind_of_square(problem)
    if not kind:
        return problem
    of = package_of(a, "a")
    if problem.execution[0] == "cuda" and of.layout(a, "a", lazy=True).memory_space == "cpu":
        return problem  # each is copied to the device, so that addresses there tell nothing
    return problem._replace(twice=kind) if of.address(a) == package_of(b, "b").address(b) else problem


def result_layout(problem: ProductProblem, squeeze: tuple[bool, bool]) -> Layout:
    """The result as users get it: without the axis of rows, or of columns, that a vector has not."""
    d = problem.d
    axes = [(d.rows, d.row)] * (not squeeze[0]) + [(d.cols, d.col)] * (not squeeze[1])
    shape = (*problem.batch, *(extent for extent, _ in axes))
    return Layout(shape, (*d.batch, *(step for _, step in axes)), d.dtype, "cpu", None)
