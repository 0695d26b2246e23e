"""How operations are copied and pickled: as what they were made of, which is made and planned anew where it arrives.

What travels is the class, what its `__init__` was given, the present operands, numbers and options, what `plan` was
asked for, and, where it was measured which algorithm is the best one, that algorithm. A plan itself stays: it is memory
and handles of native libraries.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from planmath.core.arrays import Layout, Package, package_named
from planmath.core.cuda import devices
from planmath.core.cuda.streams import is_capturing
from planmath.core.execution import Execution
from planmath.core.provider import Algorithm, Provider
from planmath.core.slots import ArraySlot
from planmath.native.forks import load_module

if TYPE_CHECKING:
    from planmath.core.telling import Plan

#: Parameters of `__init__` whose present values an object has, whatever they were in the beginning; streams have none.
PRESENT = frozenset(
    ("operand", "operands", "a", "b", "c", "d", "out", "alpha", "beta", "quantization_scales", "options", "execution",
     "stream")
)  # fmt: skip

#: Those of them that are arrays.
OPERANDS = frozenset(("operand", "operands", "a", "b", "c", "d", "out"))

#: An element of an operand that is a list.
ELEMENT = re.compile(r"(\w+)\[\d+\]")

#: Values that users may change.
CHANGEABLE = (list, np.ndarray)

#: Where a plan's choice came from if it was measured.
MEASURED = ("autotuning", "the tuning record")


class Choice(NamedTuple):
    """What was found to be the best algorithm, and where that counts."""

    algorithm: Algorithm
    version: str
    """The provider's."""
    machine: str
    origin: str
    measurements: tuple[Any, ...]

    def counts(self, providers: Mapping[str, Provider], machine: str) -> bool:
        provider = providers.get(self.algorithm.provider)
        return provider is not None and (provider.version(), machine) == (self.version, self.machine)


class Recipe(NamedTuple):
    """What an operation is made of."""

    cls: type
    arguments: dict[str, Any]
    """Of `__init__`, by name."""
    settings: Any
    """What was set between `__init__` and `plan`."""
    planned: dict[str, Any] | None
    """What `plan` was asked for; None where there is no plan."""
    choice: Choice | None
    """None where nothing was measured."""
    released: bool
    """Whether it has no operands."""


@cache
def signature_of(cls: type) -> inspect.Signature:
    """What a class is called with, as the `__init__` says that does not pass on whatever it is given."""
    inits = [base.__dict__["__init__"] for base in cls.__mro__ if "__init__" in base.__dict__]
    passed_on = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    found = next(s for s in map(inspect.signature, inits) if not passed_on <= {p.kind for p in s.parameters.values()})
    return found.replace(parameters=list(found.parameters.values())[1:])


@cache
def positional(cls: type) -> tuple[str, ...]:
    """The names of what may be given without them."""
    parameters = signature_of(cls).parameters.values()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


class Signature:
    """What `inspect` is told, whatever `__new__` looks like."""

    def __get__(self, instance: Any, cls: Any) -> inspect.Signature:
        return signature_of(cls)


class Travelling:
    """What all operations can do because of this module, and what one says that has more to it."""

    noun: ClassVar[str]
    _freed: bool
    _said: dict[str, Any]
    """What `__init__` was given beside what is `PRESENT`."""
    _carried: Choice | None = None
    """While an operation that arrived is planned."""
    _arrived = False
    """Whether it came from a pickle or is a copy: whoever got it need not know that it is to be freed."""
    __signature__ = Signature()

    if TYPE_CHECKING:  # of `Operation`
        _plan_made: Plan | None
        _slots: dict[str, ArraySlot]
        _constants: dict[str, ArraySlot]
        _options: Any
        _execution: Execution
        _package: Package
        _queue: Any

        @property
        def _device_id(self) -> int | None: ...
        def _providers(self) -> Sequence[Provider]: ...
        def _machine(self) -> str: ...

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        operation = super().__new__(cls)
        operation._said = said(cls, arguments, named)
        return operation

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self).__reduce__ is not object.__reduce__:  # a user's class that says it itself
            return self.__reduce__()
        if self._freed:
            raise TypeError(f"this {self.noun} was freed, and nothing is left to copy or pickle; create a new one")
        if (reason := self._stays_because()) is not None:
            raise TypeError(f"this {self.noun} cannot be copied or pickled: {reason}")
        plan = self._plan_made
        cls: Any = type(self)
        known = signature_of(cls).parameters
        given = self._said | {name: value for name, value in self._present().items() if name in known}
        released = any(slot.array is None for slot in self._slots.values())
        asked, choice = (None, None) if plan is None else (self._asked(plan), self._choice(plan))
        return remade, (Recipe(cls, given, self._settings(), asked, choice, released),)

    def _stays_because(self) -> str | None:
        """What forbids to copy or pickle the object, and how to mend it."""
        if getattr(self._options, "handle", None):
            return "options.handle is a library's handle of this process; create it without"
        if (device_id := self._device_id) is not None and is_capturing(self._package.current_stream(device_id)()):
            return "its stream is being captured into a graph, in which operands cannot be read; end the capture first"
        if forgotten := self._forgets():
            which, name = " and ".join(map(repr, forgotten)), type(self).__name__
            return f"{name}.__init__ cannot be given its present {which}; define __reduce__ in that class"
        return None

    def _forgets(self) -> list[str]:
        """Present operands that `__init__` of a user's class neither takes by name nor was given as something else."""
        cls: Any = type(self)
        ours: Any = next(base for base in cls.__mro__ if base.__module__.partition(".")[0] == "planmath")
        names = OPERANDS & (signature_of(ours).parameters.keys() - signature_of(cls).parameters.keys())
        if not names:
            return []
        given = list(_pieces(list(self._said.values())))
        forgotten = {
            parameter for name, slot in self._slots.items()
            if (parameter := re.split(r"[.\[]", name)[0]) in names
            and slot.array is not None and not any(_is_same(slot.array, value) for value in given)
        }  # fmt: skip
        return sorted(forgotten)

    def _present(self) -> dict[str, Any]:
        """The present values of parameters of `__init__`; what else is here does not matter."""
        numbers = {name: slot.array[()] for name, slot in self._constants.items()}
        found = grouped({**operands(self._slots), **numbers})
        if "c" not in found:
            found.pop("beta", None)
        return {**found, "options": self._options, "execution": self._execution}

    def _settings(self) -> Any:
        """What users set between `__init__` and `plan`."""
        return None

    def _settle(self, settings: Any) -> None:
        """Take over what `_settings` returned."""

    def _asked(self, plan: Plan) -> dict[str, Any]:
        """What `plan` was asked for, with the present operands."""
        return {}

    def _choice(self, plan: Plan) -> Choice | None:
        if plan.origin not in MEASURED:
            return None
        version = next(p.version() for p in self._providers() if p.name == plan.chosen.provider)
        return Choice(plan.chosen, version, self._machine(), plan.origin, plan.measurements)


def said(cls: type, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """What an object of the class is made of beside what is `PRESENT`, from what its `__init__` is given."""
    found = {}
    for name, value in (*zip(positional(cls), arguments, strict=False), *named.items()):
        if name not in PRESENT:
            found[name] = copy.deepcopy(value) if isinstance(value, CHANGEABLE) else value
    return found


def _pieces(value: Any) -> Iterator[Any]:
    """What may be operands: what is in lists, and the arrays of sparse matrices."""
    yield value
    if isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item)
    elif type(value).__module__.startswith("scipy.sparse"):
        yield from _pieces(list(vars(value).values()))


def _is_same(array: Any, given: Any) -> bool:
    """Whether an object that is made of what was given has this operand."""
    if array is given:
        return True
    if not isinstance(array, np.ndarray) or not isinstance(given, np.ndarray) or array.dtype != given.dtype:
        return False
    return array.shape == given.shape and array.tobytes() == given.tobytes()


def remade(recipe: Recipe) -> Any:
    """The operation that was copied or pickled: made, and planned where it was."""
    values = arrived(recipe.arguments)
    arguments: list[Any] = []
    parameters = signature_of(recipe.cls).parameters.values()
    if many := next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None):
        arguments = [values.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        arguments += values.pop(many.name)
    else:
        arguments = [values.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_ONLY]
    operation = recipe.cls(*arguments, **values)
    operation._arrived = True
    operation._settle(recipe.settings)
    if recipe.planned is not None:
        operation._carried = choice = recipe.choice
        operation.plan(**arrived(recipe.planned))
        operation._carried = None
        plan = operation._plan_made
        if choice is not None and (plan.chosen, plan.origin) == (choice.algorithm, choice.origin):
            operation._plan_made = replace(plan, measurements=choice.measurements)
    if recipe.released:
        operation._drop_operands()
    return operation


def grouped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the parameters that they belong to: those of 'a[0]' and 'a[1]' are a list.

    Examples
    --------
    >>> grouped({"a[0]": 1, "a[1]": 2, "b": 3})
    {'a': [1, 2], 'b': 3}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if (element := ELEMENT.fullmatch(name)) is not None:
            found.setdefault(element[1], []).append(value)
        else:
            found[name] = value
    return found


# Operands on their way.


def operands(slots: Mapping[str, ArraySlot]) -> dict[str, Any]:
    """What is bound to slots, as it travels."""
    owners = [_owner(slot.array) for slot in {id(slot.array): slot for slot in slots.values()}.values()]
    shared = {id(owner) for i, owner in enumerate(owners) if any(owner is other for other in owners[:i])}
    return {name: _packed(slot, id(_owner(slot.array)) in shared) for name, slot in slots.items()}


def _owner(array: Any) -> Any:
    """Whose memory it is."""
    return base if isinstance(array, np.ndarray) and isinstance(base := array.base, np.ndarray) else array


def _packed(slot: ArraySlot, shared: bool) -> Any:
    if slot.array is None:
        return Absent(slot.layout, slot.package.name)
    array = packed(slot.array, slot.layout, slot.package.name, shared)
    return Written(array) if slot.writeable else array


def packed(array: Any, layout: Layout, package: str, shared: bool = False) -> Any:
    """An array so that it has the same layout where it arrives; `shared` if another one has parts of its memory."""
    if package == "torch":  # whose own pickles keep strides, and what is shared
        return OfTorch(array)
    if package == "cupy":  # whose own pickles bring arrays to the device that is current
        return Strided(array, layout, package)
    dense = array.flags.c_contiguous or array.flags.f_contiguous
    return array if dense and not (shared and _owner(array) is not array) else Strided(array, layout, package)


class Strided:
    """An array with more to it than its elements: gaps, steps in another order, memory that others have as well."""

    def __init__(self, array: Any, layout: Layout, package: str):
        self.array, self.layout, self.package = array, layout, package

    def arrive(self) -> Any:
        return self.array

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        array, owner = self.array, _owner(self.array)
        if type(owner) is np.ndarray and owner.flags.forc and owner.nbytes <= 2 * array.nbytes and owner is not array:
            start = array.ctypes.data - owner.ctypes.data
            return _view, (owner, start, array.shape, array.strides, array.dtype)
        return _strided, (array.get() if self.package == "cupy" else array.copy(), self.layout, self.package)


class OfTorch:
    """A tensor, which PyTorch pickles whatever it is, but does not always copy."""

    def __init__(self, array: Any):
        self.array = array

    def arrive(self) -> Any:
        return self.array

    def __deepcopy__(self, memo: dict[int, Any]) -> OfTorch:
        return OfTorch(deep_copy(self.array, memo))


def carried(value: Any) -> Any:
    """An operand that is not bound itself, such as a sparse tensor, or a sequence of such, as it travels."""
    if isinstance(value, list | tuple):
        return [carried(item) for item in value]
    return OfTorch(value) if hasattr(value, "grad_fn") else value


def deep_copy(value: Any, memo: dict[int, Any]) -> Any:
    """`copy.deepcopy`, also of tensors that PyTorch refuses: sparse ones, and those with a history, which stays."""
    if not hasattr(value, "grad_fn") or id(value) in memo:
        return copy.deepcopy(value, memo)
    dense = str(value.layout) == "torch.strided"
    if dense and value.is_leaf:
        return copy.deepcopy(value, memo)
    made = copy.deepcopy(value.detach(), memo) if dense else value.detach().clone()
    memo[id(value)] = made.requires_grad_(value.requires_grad)
    return made


class Absent:
    """In the place of an operand that was released."""

    def __init__(self, layout: Layout, package: str):
        self.layout, self.package = layout, package
        self.array: Any = None

    def arrive(self) -> Any:
        if self.array is None:
            self.array = _empty(self.layout, self.package)
        return self.array

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Absent, (self.layout, self.package)


class Written:
    """An operand that results replace: it has to be writeable where it arrives, whatever memory pickles bring."""

    def __init__(self, array: Any):
        self.array = array

    def arrive(self) -> Any:
        array = self.array = arrived(self.array)
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            self.array = array.copy(order="K")
        return self.array


def _view(owner: np.ndarray, start: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array on another one's memory."""
    return np.ndarray(shape, dtype, owner.reshape(-1, order="A").view(np.uint8).data, start, strides)


def _strided(dense: np.ndarray, layout: Layout, package: str) -> Any:
    """An array with this layout, and the elements of another one."""
    array = _empty(layout, package)
    with devices.on(layout.device_id):
        array[...] = load_module("cupy").asarray(dense) if package == "cupy" else dense
    return array


def _empty(layout: Layout, package: str) -> Any:
    found = package_named(package)
    with devices.on(layout.device_id):
        return found.empty(layout.shape, layout.strides, found.dtype(layout.dtype), layout.device_id)


def arrived(value: Any) -> Any:
    """Operands as arrays, in whatever they stand."""
    if type(value) is dict:
        return {name: arrived(item) for name, item in value.items()}
    if type(value) is list:
        return [arrived(item) for item in value]
    return value.arrive() if isinstance(value, Strided | OfTorch | Absent | Written) else value
