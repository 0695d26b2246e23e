"""How the operands of a sparse product are replaced by others, whose entries may be elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planmath.core.operands import make_slot
from planmath.core.operation import Operation
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot
from planmath.core.typed import A_co
from planmath.sparse.product import patterns
from planmath.sparse.product.operands import check_once, dense_array, is_sparse, parts_of, read
from planmath.sparse.product.problem import Given, Sparse, summary
from planmath.sparse.ust.tensor import Tensor

#: Of an operand that is an object of SciPy or CuPy its name, the object, and the values that it had when bound.
#: A plain tuple: to unpack one with names takes a tenth of a microsecond, in each execution.
Followed = tuple[str, Any, Any]


#: How arrays of a package are converted.
_CONVERSION = {"numpy": "astype('{}')", "cupy": "astype('{}')", "torch": "to(torch.{})"}


def followed(given: Mapping[str, Any]) -> tuple[Followed, ...]:
    """The operands that may get other arrays: their `data` is an attribute."""
    return tuple(
        (name, x, x.data) for name, x in given.items()
        if is_sparse(x) and not isinstance(x, Tensor) and not hasattr(x, "layout") and x.data is x.data
    )  # fmt: skip


class SparseOperands(Operation[A_co]):
    """The part of `Matmul` that binds operands in place of those that there are."""

    _tensors: dict[str, Tensor]
    _made_for: Given
    _given_c: Any
    _followed: tuple[Followed, ...]
    _problem: Any
    _replaced: str | None

    def _specified(self, given: Given) -> tuple[Any, Any]:
        raise NotImplementedError

    def _follow_objects(self) -> None:
        """Bind the arrays that objects have now, where they got others.

        Raises
        ------
        TypeError, ValueError
            If these do not fit.
        """
        found = {name: given for name, given, values in self._followed if given.data is not values}
        if not found:
            return
        try:
            self._replace_operands(found, {}, self.reset_name, True)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{', '.join(found)} got other arrays after being bound: {error}") from None

    def _replace_operands(
        self, arrays: dict[str, Any], scalars: dict[str, Any], call: str, check: bool, *, compare: bool | None = None,
        objects: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Replace operands and factors; `objects` are what the user gave, where `arrays` were made of that."""
        self._require("reset", call)
        given = {name: array for name, array in arrays.items() if array is not None}
        numbers = {name: value for name, value in scalars.items() if value is not None}
        if "c" in given and not self._problem.inplace:
            raise ValueError(f"c was given to {call}(), but this Matmul was created without it")
        if "beta" in numbers and not self._problem.inplace:
            raise ValueError(f"beta was given to {call}(), but this Matmul was created without c")
        if numbers and self._plan_made is not None and self._plan_made.problem.semiring != "plus_times":
            raise ValueError(f"{', '.join(numbers)} given to {call}(), but the plan's semiring has no factors")
        if not given and not numbers:
            raise ValueError(f"{call}() got no operand; pass at least one of {', '.join(arrays)}, alpha, beta")
        stores: dict[str, Any] = {}
        parts: dict[str, Any] = {}
        tensors = dict(self._tensors)
        for name, array in given.items():
            if isinstance(getattr(self._made_for, name), Sparse):
                tensors[name] = read(array, name, check)
                self._check_alike(name, tensors[name])
                if name == "c" and check:
                    check_once(tensors[name])
                parts |= dict(parts_of(name, tensors[name], array if objects is None else objects[name]))
            else:
                parts[name] = dense_array(array, name)
        self._check_sparse_result(c := (given if objects is None else objects).get("c"))
        if "c" in given:
            stores["_given_c"] = c
        stores["_tensors"] = tensors
        stores["_followed"] = (*(x for x in self._followed if x[0] not in given), *followed(given))
        missing = [name for name, slot in self._slots.items() if slot.array is None and name not in parts]
        if missing:
            told = ", ".join([*given, *numbers])
            raise ValueError(f"{call}() got {told} only; it needs all operands: {missing[0]} missing")
        lengths = any(tuple(x.shape) != self._slots[name].shape for name, x in parts.items() if "." in name)
        slots = self._slots_for(parts) if lengths else self._slots
        bindings: dict[ArraySlot, Any] = {
            slots[name]: self._binding_for(name, slots[name], array) for name, array in parts.items()
        }
        for name, number in checked(numbers, self._problem.work).items():
            bindings[self._constants[name]] = self._constants[name].binding_for_good(number)
        if lengths or self._has_other_pattern(given, tensors, check if compare is None else compare):
            stores |= self._changes_of_pattern(tensors, slots)
        self._replace(bindings, (self, stores))

    def _check_sparse_result(self, c: Any) -> None:
        """Raise where autograd would not see what is written into the values of a sparse tensor."""
        if c is not None and not isinstance(c, Tensor) and is_sparse(c):
            self._check_written("c", c)

    def _check_alike(self, name: str, tensor: Tensor) -> None:
        planned, new = getattr(self._made_for, name), summary(tensor)
        for what in ("format", "extents", "index_type", "dtype"):
            if getattr(new, what) != getattr(planned, what):
                mend = "convert it"
                if what == "format" and new.format.storage == planned.format.storage and not new.format.is_ordered:
                    mend = "sort its entries, by sum_duplicates() of SciPy and CuPy, coalesce() of PyTorch"
                elif what == "index_type":
                    mend = f"convert its index arrays by {_CONVERSION[tensor.package].format(planned.index_type)}"
                raise TypeError(
                    f"{name} has the {what} {getattr(new, what)}; expected {getattr(planned, what)}, as planned: "
                    f"{mend}, or create a new Matmul"
                )
        if tensor.package != self._package.name:
            raise TypeError(f"{name} consists of {tensor.package} arrays; expected {self._package.name} ones")

    def _has_other_pattern(self, given: Mapping[str, Any], tensors: Mapping[str, Tensor], compare: bool) -> bool:
        """Whether the entries of new operands are at other places than those of the plan's."""
        pattern = getattr(self._problem, "pattern", None)
        if pattern is None or not compare or not any(name in tensors for name in given):
            return False
        return not pattern.is_same(self._problem, tensors)

    def _slots_for(self, parts: Mapping[str, Any]) -> dict[str, ArraySlot]:
        """Slots for sparse operands with other numbers of entries, and the present ones of the others."""
        return {
            name: make_slot(
                self._package, self._package.layout(parts[name], name), writeable=name == self._replaced
            ) if "." in name and name in parts else slot
            for name, slot in self._slots.items()
        }  # fmt: skip

    def _changes_of_pattern(self, tensors: Mapping[str, Tensor], slots: dict[str, ArraySlot]) -> dict[str, Any]:
        """The attributes that change with the places of entries: what was planned is prepared for them."""
        now: dict[str, Any] = {name: summary(tensor) for name, tensor in tensors.items()}
        made_for = self._made_for._replace(**now)
        problem = self._problem
        if problem.kind == "dense":
            problem = problem._replace(sparse=summary(next(iter(tensors.values()))))
        elif self._plan_made is not None or problem.pattern is not None:
            problem = patterns.planned(problem, tensors)
        else:
            problem = self._specified(made_for)[0]
        changes: dict[str, Any] = {"_problem": problem, "_made_for": made_for, "_slots": slots}
        plan = self._plan_made
        if plan is None:
            return changes
        planned = problem._replace(semiring=plan.problem.semiring, functions=plan.problem.functions)
        providers = {provider.name: provider for provider in self._providers()}
        able = [each for each in plan.algorithms if providers[each.provider].unsupported(planned) is None]
        if not able:
            reason = providers[plan.chosen.provider].unsupported(planned)
            raise ValueError(
                f"the new operand has entries elsewhere than the planned one, and {plan.chosen.provider} cannot do "
                f"that: {reason}; create a new Matmul"
            )
        provider = providers[able[0].provider]
        with self._on_device():
            prepared = provider.prepare(self._problem_for(provider, planned), able[0])
        ranked = (able[0], *[each for each in plan.algorithms if each != able[0]])
        new = replace(plan, problem=planned, prepared=prepared, algorithms=ranked)
        return changes | self._changes(new, self._make_executor(planned, prepared, slots), slots) | {
            "_checked_out": lambda: None
        }  # fmt: skip
