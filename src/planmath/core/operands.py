"""The operands of an operation, and what it writes into: how they are taken, replaced, checked and let go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from planmath.core.arrays import ITEMSIZE, Layout, Package, package_named, package_of, same_strides, share_memory
from planmath.core.errors import AutogradWarning, warn
from planmath.core.executor import Executor
from planmath.core.slots import ArraySlot, Binding, commit
from planmath.core.telling import Plan


class Operands:
    """What all operations do with arrays; they say in what state which call is allowed, and what the results are."""

    noun: ClassVar[str]
    reset_name: ClassVar[str]
    release_name: ClassVar[str]
    inplace_by: ClassVar[str | None]
    _executor: Executor
    _plan_made: Plan | None
    _slots: dict[str, ArraySlot]
    _package: Package
    _logger: logging.Logger

    if TYPE_CHECKING:  # of `Operation`

        def _require(self, call: str, name: str | None = None) -> None: ...
        def _inplace_operand(self) -> str | None: ...
        def _result_slots(self, problem: Any) -> dict[str, ArraySlot]: ...

    def _add_operand(self, name: str, array: Any, *, writeable: bool = False, lazy: bool = False) -> Layout:
        """Take the array as the operand that fixes package, memory space and layout for all later ones.

        With `lazy` it may be conjugated in name only, which the layout says then.
        """
        package = package_of(array, name)
        if self._slots and package is not self._package:
            first = next(iter(self._slots))
            raise TypeError(
                f"{name} is a {package.name} array and {first} a {self._package.name} one; all operands must belong "
                "to the same package"
            )
        layout = package.layout(array, name, lazy=lazy)
        for other_name, other in self._slots.items():
            if layout.device_id != other.device_id:
                raise ValueError(
                    f"{name} is on {_place(layout.device_id)} and {other_name} on {_place(other.device_id)}; "
                    "move all operands to the same place"
                )
        if layout.dtype not in ITEMSIZE:
            raise ValueError(f"{name} has the dtype {layout.dtype}; expected one of {', '.join(ITEMSIZE)}: convert it")
        self._package = package
        slot = make_slot(package, layout, writeable=writeable)
        commit({slot: self._binding_for(name, slot, array)})
        self._slots[name] = slot
        return layout

    @property
    def _device_id(self) -> int | None:
        """Number of the device that the operands are on; None for the host."""
        return next((slot.device_id for slot in self._slots.values()), None)

    def _make_slot(self, layout: Layout, *, writeable: bool = False) -> ArraySlot:
        """A slot for an array beside the operands, of their package and in their place."""
        return make_slot(self._package, layout._replace(device_id=self._device_id), writeable=writeable)

    def _given_operands(self) -> Iterable[tuple[str, Any]]:
        """The operands as the user gave them, with their names."""
        return ((name, slot.array) for name, slot in self._slots.items())

    def _reset(self, arrays: Mapping[str, Any], call: str, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        """Replace operands; either all of them or, where one does not fit, none."""
        self._replace(self._bindings_for(arrays, call), *stores)

    def _replace(self, bindings: Mapping[ArraySlot, Binding], *stores: tuple[Any, Mapping[str, Any]]) -> None:
        """Bind what was found to fit, and store the attributes of objects that change with it, in one step."""
        commit(dict(bindings), *stores)
        if self._logger.isEnabledFor(logging.INFO):
            names = [name for name, slot in self._slots.items() if slot in bindings]
            self._logger.info("%s: new operands %s.", self.noun, ", ".join(names))

    def _check_given(self, arrays: Mapping[str, Any], call: str, beside: Iterable[str] = ()) -> None:
        """Raise where new operands are not those that the object has, or not all that it needs.

        `beside` has the names of what else is given, such as scale factors.
        """
        self._require("reset", call)
        given = ", ".join([*arrays, *beside])
        if not given:
            raise ValueError(f"{call}() got no operand; pass at least one of {', '.join(self._slots)}")
        for name in arrays:
            if name not in self._slots:
                raise ValueError(f"{name} was given to {call}(), but this {self.noun} was created without it")
        missing = [n for n, slot in self._slots.items() if slot.array is None and n not in arrays]
        if missing:
            raise ValueError(
                f"{call}() got {given} only; after {self.release_name}() it needs all operands: "
                f"{', '.join(missing)} missing"
            )

    def _bindings_for(
        self, arrays: Mapping[str, Any], call: str, beside: Iterable[str] = ()
    ) -> dict[ArraySlot, Binding]:
        """The operands as they may be bound. Raises where one does not fit, or one is missing."""
        self._check_given(arrays, call, beside)
        return {self._slots[name]: self._binding_for(name, self._slots[name], array) for name, array in arrays.items()}

    def _binding_for(self, name: str, slot: ArraySlot, array: Any, title: str | None = None) -> Binding:
        """An array as it may be bound, itself or a view of it with the planned layout. Raises where it does not fit."""
        binding = slot.binding(array)
        if binding is not None and not (slot.writeable and not slot.package.is_writeable(array)):
            return binding
        view = self._view_for(title or name, slot, array)
        own = make_slot(slot.package, slot.package.layout(array, name, lazy=True), writeable=slot.writeable)
        return slot.binding_through(array, view, own)

    def _constant(self, value: np.generic | np.ndarray) -> ArraySlot:
        """The slot of a number that programs find behind the operands."""
        dtype = value.dtype
        slot = ArraySlot(package_named("numpy"), dtype, (), (), dtype.itemsize)
        commit({slot: slot.binding_for_good(np.array(value))})
        return slot

    def _follow_operands(self) -> None:
        """Raise where an operand was changed so that it has not the planned layout any more."""
        for name, slot in self._slots.items():
            if slot.bound is None or slot.current() is not None:
                continue
            try:
                binding = self._binding_for(name, slot, slot.array)
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"{name} was changed after it was bound: {error}. Or pass another array to {self.reset_name}()"
                ) from None
            commit({slot: binding})

    def _view_for(self, name: str, slot: ArraySlot, array: Any) -> Any:
        """The array's memory with exactly the slot's layout. Raises where the array does not have that layout."""
        package = package_of(array, name)
        if package is not slot.package:
            raise TypeError(f"{name} is a {package.name} array; expected a {slot.package.name} one, as planned")
        expected = slot.layout
        layout = package.layout(array, name, lazy=expected.conjugate)
        for what, given, planned, mend in (
            ("dtype", layout.dtype, expected.dtype, f"convert it to {expected.dtype}"),
            ("shape", layout.shape, expected.shape, f"create a new {self.noun} for another shape"),
            ("memory space", layout.memory_space, expected.memory_space, "move it there"),
            ("device_id", layout.device_id, expected.device_id, "move it there"),
            ("conjugate bit", layout.conjugate, expected.conjugate, f"pass {name}.conj_physical().conj()"),
        ):
            if given != planned:
                raise ValueError(f"{name} has the {what} {given}; expected {planned}, as planned: {mend}")
        if not same_strides(layout.shape, layout.strides, expected.strides):
            raise ValueError(
                f"{name} has the strides {layout.strides} (in elements); expected {expected.strides}, as planned: "
                f"copy it into an array with that layout, or create a new {self.noun} for this one"
            )
        if slot.writeable and not package.is_writeable(array):
            raise ValueError(f"{name} is read-only and would be written to; pass a writeable array")
        return package.with_strides(array, expected)

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        """Let go of all operands, and change what belongs to them."""
        commit(dict.fromkeys(self._slots.values()), *stores)
        self._executor.release_results()

    # What an execution reads and writes.

    def _check_gradients(self) -> None:
        """Tell of operands whose derivatives somebody may expect; raise where the result replaces such a one."""
        if not self._package.differentiates:
            return
        names = [name for name, array in self._given_operands() if self._package.records(array)]
        if (replaced := self._inplace_operand()) is not None:
            self._check_written(replaced, self._slots[replaced].array)
        if names:
            given = f"{', '.join(names)} require{'s' if len(names) == 1 else ''} grad"
            warn(
                f"{given}, and the result of {self.noun} does not: gradients are not computed. The functions of "
                f"planmath.interfaces.torch compute them; where none are wanted, pass {names[0]}.detach(), or call "
                "this under torch.no_grad()",
                AutogradWarning,
            )

    def _check_written(self, name: str, array: Any) -> None:
        """Raise where what is written into an array would be missing in its history."""
        if self._package.differentiates and self._package.records(array):
            raise ValueError(
                f"{name} requires grad and would be written to, which autograd does not see: pass {name}.detach(), or "
                "call this under torch.no_grad()"
            )

    def _check_inplace_operand(self) -> None:
        """Raise where the operand that the result replaces has elements in common with another operand."""
        if (replaced := self._inplace_operand()) is not None:
            for name, slot in self._slots.items():
                if name != replaced and share_memory(self._package, self._slots[replaced].array, slot.array):
                    raise ValueError(
                        f"{replaced} shares memory with {name}, which is read while {replaced} is replaced by the "
                        f"result; pass a copy of {name}, or leave {self.inplace_by} away"
                    )

    def _check_out(self, out: Any) -> Any:
        """`out` as views with exactly the planned layout. Raises where it does not fit."""
        assert self._plan_made is not None
        if (name := self._inplace_operand()) is not None and not self._executor.results:
            raise ValueError(f"out was given, but the result replaces {name} ({self.inplace_by}); leave out away")
        slots = self._result_slots(self._plan_made.problem)
        if not self._executor.auxiliary:
            return self._check_result("out", next(iter(slots.values())), out)
        if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], dict)):
            raise TypeError(
                f"out is a {type(out).__name__}; expected a tuple of the result and a dict of the auxiliary results "
                f"{', '.join(self._executor.auxiliary)}"
            )
        main, auxiliary = out
        if name is not None and main is not None and main is not self._slots[name].array:
            raise ValueError(
                f"out[0] was given, but the result replaces {name} ({self.inplace_by}); pass None or {name} for it"
            )
        if set(auxiliary) != set(self._executor.auxiliary):
            raise ValueError(f"out[1] has the keys {sorted(auxiliary)}; expected {sorted(self._executor.auxiliary)}")
        views = {
            name: self._check_result(f"out[1][{name!r}]", slots[name], auxiliary[name])
            for name in self._executor.auxiliary
        }
        if name is None:
            main = self._check_result("out[0]", next(iter(slots.values())), main)
            for other, view in views.items():
                if share_memory(self._package, main, view):
                    raise ValueError(f"out[0] shares memory with out[1][{other!r}]; pass separate arrays")
        return main, views

    def _check_result(self, name: str, slot: ArraySlot, array: Any) -> Any:
        try:
            view = self._view_for(name, slot, array)
        except ValueError as error:
            raise ValueError(f"{error}. {self.noun}.empty_result() makes an array that fits") from None
        self._check_written(name, array)
        for operand_name, operand in self._slots.items():
            if share_memory(self._package, array, operand.array):
                mend = f"; only {self.inplace_by} lets the result replace an operand" if self.inplace_by else ""
                raise ValueError(
                    f"{name} shares memory with {operand_name}, which is read while {name} is written; "
                    f"pass other memory{mend}"
                )
        return view


def make_slot(package: Package, layout: Layout, *, writeable: bool = False) -> ArraySlot:
    """A slot for arrays of the package with this layout."""
    if layout.dtype not in ITEMSIZE:
        raise ValueError(f"the dtype {layout.dtype} is not supported; choose from {', '.join(ITEMSIZE)}")
    return ArraySlot(
        package, package.dtype(layout.dtype), layout.shape, layout.strides, ITEMSIZE[layout.dtype],
        device_id=layout.device_id, writeable=writeable, conjugate=layout.conjugate,
    )  # fmt: skip


def scratch_like(slot: ArraySlot) -> Any:
    """Memory of its own with the values of the array that is bound, and the slot's layout."""
    copy = slot.empty()
    copy[...] = slot.package.with_strides(slot.array, slot.layout)  # of a tensor that requires grad without its history
    return copy


def _place(device_id: int | None) -> str:
    return "the CPU" if device_id is None else f"CUDA device {device_id}"
