"""What type checkers know of results: they are of the operands' package.

Each function here returns the function it is given: a decorator that says its type, of a function for single use
(``of_...``), or of a method of an operation, which is generic over its operands: a `Matmul[torch.Tensor]` executes to a
`torch.Tensor`. A package's own array type is that of the result, but for NumPy's, which has the dtype in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

P = ParamSpec("P")
A = TypeVar("A")
#: The operands of an operation.
A_co = TypeVar("A_co", covariant=True)


class OfOperand(Generic[A_co]):
    """An operation whose results are of its operands' type."""


class Result(Protocol[P]):
    """A method that returns an array."""

    @overload
    def __get__(self, operation: None, owner: Any, /) -> Callable[..., Any]: ...
    @overload
    def __get__(self, operation: OfOperand[NDArray[Any]], owner: Any = None, /) -> Callable[P, NDArray[Any]]: ...
    @overload
    def __get__(self, operation: OfOperand[A], owner: Any = None, /) -> Callable[P, A]: ...


class Results(Protocol[P]):
    """A method that returns an array or, of lists of operands, a list."""

    @overload
    def __get__(self, operation: None, owner: Any, /) -> Callable[..., Any]: ...
    @overload
    def __get__(self, operation: OfOperand[NDArray[Any]], owner: Any = None, /) -> Callable[P, NDArray[Any]]: ...
    @overload
    def __get__(self, operation: OfOperand[tuple[A, ...]], owner: Any = None, /) -> Callable[P, list[A]]: ...
    @overload
    def __get__(self, operation: OfOperand[A], owner: Any = None, /) -> Callable[P, A]: ...


class Solution(Protocol[P]):
    """A method that returns an array or, for a sequence of right-hand sides, a tuple."""

    @overload
    def __get__(self, operation: None, owner: Any, /) -> Callable[..., Any]: ...
    @overload
    def __get__(self, operation: OfOperand[NDArray[Any]], owner: Any = None, /) -> Callable[P, NDArray[Any]]: ...
    @overload
    def __get__(self, operation: OfOperand[Sequence[A]], owner: Any = None, /) -> Callable[P, tuple[A, ...]]: ...
    @overload
    def __get__(self, operation: OfOperand[A], owner: Any = None, /) -> Callable[P, A]: ...


class OfOne(Protocol[P]):
    """A function of one operand."""

    @overload
    def __call__(self, operand: NDArray[Any], /, *arguments: P.args, **named: P.kwargs) -> NDArray[Any]: ...
    @overload
    def __call__(self, operand: A, /, *arguments: P.args, **named: P.kwargs) -> A: ...


class OfTwo(Protocol[P]):
    """A function of two operands."""

    @overload
    def __call__(self, a: NDArray[Any], b: NDArray[Any], /, *arguments: P.args, **named: P.kwargs) -> NDArray[Any]: ...
    @overload
    def __call__(self, a: A, b: A, /, *arguments: P.args, **named: P.kwargs) -> A: ...


class OfTwoOrLists(Protocol[P]):
    """A function of two operands, or of two lists of them."""

    @overload
    def __call__(self, a: NDArray[Any], b: NDArray[Any], /, *arguments: P.args, **named: P.kwargs) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]], /, *arguments: P.args, **named: P.kwargs
    ) -> list[NDArray[Any]]: ...
    @overload
    def __call__(self, a: Sequence[A], b: Sequence[A], /, *arguments: P.args, **named: P.kwargs) -> list[A]: ...
    @overload
    def __call__(self, a: A, b: A, /, *arguments: P.args, **named: P.kwargs) -> A: ...


class OfSystems(Protocol[P]):
    """A function of matrices and right-hand sides, or of sequences of them."""

    @overload
    def __call__(self, a: Any, b: NDArray[Any], *arguments: P.args, **named: P.kwargs) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, a: Any, b: Sequence[NDArray[Any]], *arguments: P.args, **named: P.kwargs
    ) -> tuple[NDArray[Any], ...]: ...
    @overload
    def __call__(self, a: Any, b: Sequence[A], *arguments: P.args, **named: P.kwargs) -> tuple[A, ...]: ...
    @overload
    def __call__(self, a: Any, b: A, *arguments: P.args, **named: P.kwargs) -> A: ...


class OfTensors(Protocol[P]):
    """A contraction of two or more operands."""

    @overload
    def __call__(
        self, expr: Any, a: NDArray[Any], b: NDArray[Any], *arguments: P.args, **named: P.kwargs
    ) -> NDArray[Any]: ...
    @overload
    def __call__(self, expr: Any, a: A, b: A, *arguments: P.args, **named: P.kwargs) -> A: ...


class OfOneThatIsSparse(Protocol[P]):
    """A function of a sparse and a dense operand, in either order."""

    @overload
    def __call__(self, a: Any, b: NDArray[Any], /, *arguments: P.args, **named: P.kwargs) -> NDArray[Any]: ...
    @overload
    def __call__(self, a: NDArray[Any], b: Any, /, *arguments: P.args, **named: P.kwargs) -> NDArray[Any]: ...
    @overload
    def __call__(self, a: A, b: A, /, *arguments: P.args, **named: P.kwargs) -> A: ...


def result(method: Callable[Concatenate[Any, P], Any]) -> Result[P]:
    return method  # functions are descriptors, which bind whatever has them


def results(method: Callable[Concatenate[Any, P], Any]) -> Results[P]:
    return method


def solution(method: Callable[Concatenate[Any, P], Any]) -> Solution[P]:
    return method


def of_one(function: Callable[Concatenate[Any, P], Any]) -> OfOne[P]:
    return function


def of_two(function: Callable[Concatenate[Any, Any, P], Any]) -> OfTwo[P]:
    return function


def of_two_or_lists(function: Callable[Concatenate[Any, Any, P], Any]) -> OfTwoOrLists[P]:
    return function


def of_systems(function: Callable[Concatenate[Any, Any, P], Any]) -> OfSystems[P]:
    return function  # type: ignore[return-value]  # names of operands are those of the functions


def of_one_that_is_sparse(function: Callable[Concatenate[Any, Any, P], Any]) -> OfOneThatIsSparse[P]:
    return function


def of_tensors(function: Callable[Concatenate[Any, Any, Any, P], Any]) -> OfTensors[P]:
    return function  # type: ignore[return-value]  # names of operands are those of the functions
