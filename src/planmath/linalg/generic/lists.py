"""Lists of generic products: many of different shapes, planned and executed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import package_of, share_memory
from planmath.core.execution import Execution, resolve_execution
from planmath.core.options import as_options
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot
from planmath.core.typed import A_co, result, results
from planmath.linalg.generic.operation import Matmul, noticed, result_layout
from planmath.linalg.generic.options import MatmulOptions, MatmulOptionsDict
from planmath.linalg.generic.problem import ListProblem
from planmath.linalg.generic.providers import LIST_PROVIDERS, expected_order
from planmath.linalg.generic.qualifiers import as_qualifiers
from planmath.linalg.generic.specification import specify, squeezed


class ListMatmul(Matmul[A_co]):
    """What `Matmul` is for lists of operands: a product for each of their elements.

    Elements of a list of one belong to all products.
    """

    _problem: ListProblem  # type: ignore[assignment]

    def __init__(
        self,
        a: Sequence[Any],
        b: Sequence[Any],
        /,
        c: Sequence[Any] | None = None,
        *,
        alpha: Any = None,
        beta: Any = None,
        qualifiers: Any = None,
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        chosen = as_options(MatmulOptions, options)
        super(Matmul, self).__init__(chosen)
        given = {"a": a, "b": b} | ({} if c is None else {"c": c})
        known = {} if qualifiers is None else {"qualifiers": qualifiers}
        for name, operands in (given | known).items():
            check_list(name, operands)
        if c is not None and beta is None:
            raise ValueError("beta was not given, but c was; pass beta=1.0 to add c")
        if c is None and beta is not None:
            self._logger.warning("Matmul: beta = %s is ignored, because c was not given.", beta)
        if chosen.inplace:
            raise ValueError("options.inplace is set, but results of lists do not replace c: leave it away")
        scalars = {"alpha": 1 if alpha is None else alpha, "beta": 0 if c is None else beta}
        numbers = {name: as_list(value) for name, value in scalars.items()}
        count = common_length(given | known | numbers)
        layouts = {
            name: [package_of(x, f"{name}[{i}]").layout(x, f"{name}[{i}]", lazy=name != "c") for i, x in enumerate(xs)]
            for name, xs in given.items()
        }
        first = layouts["a"][0]
        self._execution = resolve_execution(execution, first.memory_space, first.device_id)
        package = package_of(a[0], "a[0]").name
        members, self._squeezes = [], []
        for i in range(count):
            of = {name: of_product(found, i) for name, found in layouts.items()}
            try:
                element = as_qualifiers(None if qualifiers is None else of_product(qualifiers, i), c is not None)
                specified = specify(of, element, False, self._execution, package)
                members.append(noticed(specified, of_product(a, i), of_product(b, i)))
                if of["a"].dtype != first.dtype:
                    raise ValueError(
                        f"a has the dtype {of['a'].dtype}, and that of product 0 {first.dtype}; expected equal ones: "
                        "convert one"
                    )
            except ValueError as error:
                raise ValueError(f"product {i} of {count}: {error}") from None
            self._squeezes.append(squeezed(of, element))
        for name, operands in given.items():
            for i, array in enumerate(operands):
                self._add_operand(f"{name}[{i}]", array, lazy=True)
        for name, values in numbers.items():
            for key, number in self._checked_numbers(name, values, members[0].work_dtype).items():
                self._constants[key] = self._constant(number)
        self._lengths = {name: len(xs) for name, xs in given.items()} | {name: len(xs) for name, xs in numbers.items()}
        self._problem = ListProblem(tuple(members), tuple(self._lengths.items()), members[0].execution)
        self._log_specification()

    @staticmethod
    def _checked_numbers(name: str, values: Sequence[Any], dtype: str) -> dict[str, np.ndarray]:
        return checked({f"{name}[{i}]": value for i, value in enumerate(values)}, dtype)

    @results
    def execute(self, *, stream: Any = None, out: Any = None, release_workspace: bool = False) -> Any:
        """Compute all products.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : list of array, optional
            Where to put the results, as `empty_result` makes them.
        release_workspace : bool
            Whether to give temporary memory back afterwards.

        Returns
        -------
        list of array

        Raises
        ------
        InvalidMatmulState, ValueError
            As `Matmul.execute` raises.
        """
        given = None if out is None else self._as_given(out)
        result = self._executor.run(None, given, stream)
        if result is None:
            result = self._execute(None, given, stream)
        if release_workspace:
            self._executor.release_workspace()
        if out is not None:
            return out
        return [result] if len(self._squeezes) == 1 else [result[0], *result[1].values()]

    @result
    def empty_result(self) -> Any:
        """Uninitialized arrays that fit ``execute(out=...)``."""
        made: Any = super().empty_result()
        return [made] if len(self._squeezes) == 1 else [made[0], *made[1].values()]

    def _as_given(self, out: Any) -> Any:
        """A list of results as programs take them."""
        count = len(self._squeezes)
        if not is_list(out) or len(out) != count:
            raise ValueError(f"out is a {_shown(out)}; expected a list of {count} arrays, as empty_result() makes it")
        first, *others = out
        return first if count == 1 else (first, {f"d[{i}]": array for i, array in enumerate(others, 1)})

    def _check_out(self, out: Any) -> Any:
        arrays = [out] if len(self._squeezes) == 1 else [out[0], *out[1].values()]
        assert self._plan_made is not None
        slots = self._result_slots(self._plan_made.problem).values()
        views = [
            self._check_result(f"out[{i}]", slot, x) for i, (slot, x) in enumerate(zip(slots, arrays, strict=True))
        ]
        for i, view in enumerate(views):
            for j in range(i):
                if share_memory(self._package, view, views[j]):
                    raise ValueError(f"out[{i}] shares memory with out[{j}]; pass separate arrays")
        return views[0] if len(views) == 1 else (views[0], {f"d[{i}]": view for i, view in enumerate(views[1:], 1)})

    def reset_operands(
        self, *, a: Any = None, b: Any = None, c: Any = None, alpha: Any = None, beta: Any = None, stream: Any = None
    ) -> None:
        """Replace lists of operands by ones of the same lengths, whose elements fit as `Matmul.reset_operands` says.

        Parameters
        ----------
        a, b, c : list of array, optional
        alpha, beta : number or list of number, optional
            A list has the length that the object was created with.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError, InvalidMatmulState
            As `Matmul.reset_operands` raises; all operands stay then.
        """
        given = {name: value for name, value in (("a", a), ("b", b), ("c", c)) if value is not None}
        scalars = {name: value for name, value in (("alpha", alpha), ("beta", beta)) if value is not None}
        self._require("reset", "reset_operands")
        if "beta" in scalars and "c" not in self._lengths:
            raise ValueError("beta was given to reset_operands(), but this Matmul was created without c")
        numbers: dict[str, np.ndarray] = {}
        for name, value in scalars.items():
            length = self._lengths[name]
            values = value if is_list(value) else [value] * length
            if len(values) != length:
                raise ValueError(f"{name} is a {_shown(value)}; expected {length} numbers, as at the beginning, or one")
            numbers |= self._checked_numbers(name, values, self._problem.members[0].work_dtype)
        for name, value in given.items():
            if name in self._lengths and (not is_list(value) or len(value) != self._lengths[name]):
                raise ValueError(
                    f"{name} is a {_shown(value)}; expected a list of {self._lengths[name]} arrays, as at the beginning"
                )
            if name not in self._lengths:
                raise ValueError(f"{name} was given to reset_operands(), but this Matmul was created without it")
        if not numbers and self._executor.bind_many(self._flat(given)):
            return
        arrays = {f"{name}[{i}]": array for name, arrays in given.items() for i, array in enumerate(arrays)}
        bindings = self._bindings_for(arrays, "reset_operands", scalars)
        for name, number in numbers.items():
            bindings[self._constants[name]] = self._constants[name].binding_for_good(number)
        self._replace(bindings)

    def _flat(self, given: Mapping[str, Sequence[Any]]) -> tuple[Any, ...]:
        """Operands in the order of their slots; None for those that stay."""
        return tuple(
            x for name in "abc" if name in self._lengths for x in given.get(name, (None,) * self._lengths[name])
        )

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Any]:
        return LIST_PROVIDERS

    def _preferred(self, problem: Any, algorithms: list[Any]) -> list[Any]:
        return expected_order(problem, algorithms)

    def _result_slots(self, problem: Any) -> dict[str, ArraySlot]:
        pairs = zip(problem.members, self._squeezes, strict=True)
        return {
            f"d[{i}]": self._make_slot(result_layout(member, squeeze), writeable=True)
            for i, (member, squeeze) in enumerate(pairs)
        }

    def _describe(self) -> str:
        members = self._problem.members
        first = members[0]
        return (
            f"{first.d.dtype} {len(members)} products, the first one {first.a} @ {first.b}{' + c' if first.c else ''}, "
            f"on {first.execution[0]}"
        )


Matmul._of_lists = ListMatmul


def is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def as_list(value: Any) -> list[Any]:
    """A list of numbers, or of one that belongs to all products."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def of_product(values: Sequence[Any], i: int) -> Any:
    """An element of a list, of which a single one belongs to all products."""
    return values[i] if len(values) > 1 else values[0]


def check_list(name: str, operands: Any) -> None:
    """Raise where lists are asked for, and an argument is none."""
    if not is_list(operands):
        raise ValueError(f"{name} is a {_shown(operands)}, and others are lists; expected lists of all, or of none")
    if not operands:
        raise ValueError(f"{name} is an empty list; expected at least one element")
    for i, element in enumerate(operands):
        if is_list(element):
            raise ValueError(f"{name}[{i}] is a {_shown(element)}; expected a list of arrays: join the lists")


def common_length(lists: Mapping[str, Sequence[Any]]) -> int:
    """How many products lists stand for.

    Raises
    ------
    ValueError
        If they have different lengths other than 1.
    """
    lengths = {name: len(values) for name, values in lists.items() if len(values) != 1}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"lists have different lengths: {told}; expected equal ones, or 1 for what all products share")
    return next(iter(lengths.values()), 1)


def _shown(value: Any) -> str:
    return f"list of {len(value)}" if is_list(value) else type(value).__name__
