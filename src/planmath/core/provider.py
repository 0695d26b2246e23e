"""How a problem gets solved: the contract between an operation and the libraries that serve it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

from planmath.core.errors import UnavailableError, nearest
from planmath.core.executor import Program
from planmath.native.forks import load_module
from planmath.native.threads import Threads

#: What a user would like, by name, and what takes that out of a problem; None where nobody asks for it in any case.
Hints = Mapping[str, Callable[[Any], Any] | None]


class Algorithm(NamedTuple):
    """One way a provider can solve a problem.

    Parameters
    ----------
    provider : str
        The provider's name.
    knobs : tuple of (str, int or str)
        The settings in which the provider's ways differ, by name. Those whose names begin with an underscore are for
        the provider alone, and no part of what makes two algorithms the same.
    """

    provider: str
    knobs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self._settings)
        return f"{self.provider}({settings})" if settings else self.provider

    @property
    def _settings(self) -> tuple[tuple[str, Any], ...]:
        """The knobs that tell this algorithm from others."""
        return tuple([knob for knob in self.knobs if not knob[0].startswith("_")])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Algorithm) and (self.provider, self._settings) == (other.provider, other._settings)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.provider, self._settings))

    def get(self, knob: str, default: Any = None) -> Any:
        return dict(self.knobs).get(knob, default)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An algorithm made ready for one problem.

    Parameters
    ----------
    programs : dict
        What to run, by the key that the operation's `execute` selects with; None is the default.
    workspace_size : int
        Bytes of temporary memory that the programs need.
    prologue : Program, optional
        What to run once for values of the `watched` operands, which the user promised not to change in place.
    watched : tuple of int
        Their indices.
    """

    programs: dict[Hashable, Program]
    workspace_size: int = 0
    prologue: Program | None = None
    watched: tuple[int, ...] = ()


class Provider(ABC):
    """One library's way to solve one kind of problem.

    Only `unavailable` and `unsupported` may be asked where this machine cannot use it.
    """

    name: str

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this machine cannot use it, in words, or None."""

    @abstractmethod
    def version(self) -> str:
        """The library's version, for the tuning record."""

    @abstractmethod
    def unsupported(self, problem: Any) -> str | None:
        """Why it cannot solve this problem, in words, or None."""

    @abstractmethod
    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        """Its ways to solve the problem, the one expected to be fastest first."""

    @abstractmethod
    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        """Make an algorithm ready. Raises UnavailableError where only the library itself could tell that it cannot."""

    def lingers(self, algorithm: Algorithm) -> float:
        """Seconds that the library's threads go on spinning after a call, which would disturb a measurement."""
        return 0.0

    def path(self) -> str | None:
        """The file that the library was loaded from, if it is one."""
        return None

    def threads(self) -> Threads | None:
        """The most threads of an execution that names no number; None where that says nothing, as on a device."""
        return None


class OwnProvider(Provider):
    """A provider whose work is done by a compiled module of planmath's own.

    Attributes
    ----------
    kernels : module
    """

    kernels: ClassVar[ModuleType]

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return str(load_module("planmath").__version__)

    def path(self) -> str | None:
        return self.kernels.__file__


def choose_providers(providers: Sequence[Provider], wanted: str | None, problem: Any) -> list[Provider]:
    """The providers that can solve the problem, in order of preference.

    Raises
    ------
    ValueError
        If the `wanted` provider does not exist.
    UnavailableError
        If none can, with the reason of each.
    """
    if wanted is not None and wanted not in (names := [p.name for p in providers]):
        reasons = "".join(f"; {p.name} is unavailable: {reason}" for p in providers if (reason := p.unavailable()))
        raise ValueError(f"provider {wanted!r} does not exist: {nearest(wanted, names)}{reasons}")
    usable, refusals = [], []
    for provider in providers:
        if wanted is not None and provider.name != wanted:
            continue
        reason = provider.unavailable() or provider.unsupported(problem)
        if reason is None:
            usable.append(provider)
        else:
            refusals.append(f"{provider.name}: {reason}")
    if not usable:
        raise UnavailableError("no provider can solve this problem on this machine. " + "; ".join(refusals))
    return usable


def choose_by_hints(
    providers: Sequence[Provider], wanted: str | None, problem: Any, hints: Hints
) -> tuple[list[Provider], Any, list[str]]:
    """The providers that can solve the problem, where it may do without some of what the user would like.

    As few hints as possible are left out, the first ones first.

    Returns
    -------
    providers : list of Provider
    problem
        Without what was left out.
    notes : list of str
        What hints have no effect, and why.

    Raises
    ------
    ValueError, UnavailableError
        As `choose_providers` raises for the problem without any hint.
    """
    notes = [without_effect(name) for name, left_out in hints.items() if not left_out]
    relaxations = {name: left_out for name, left_out in hints.items() if left_out}
    refusal: UnavailableError | None = None
    for names in (names for count in range(len(relaxations) + 1) for names in combinations(relaxations, count)):
        relaxed = problem
        for name in names:
            relaxed = relaxations[name](relaxed)
        try:
            chosen = choose_providers(providers, wanted, relaxed)
        except UnavailableError as error:
            if len(names) == len(relaxations):
                raise
            refusal = refusal or error
        else:
            return chosen, relaxed, [*notes, *(without_effect(name, f"with it {refusal}") for name in names)]
    raise AssertionError("the last combination returns or raises")


def without_effect(hint: str, reason: str = "it is for other libraries") -> str:
    """What is said of a hint that nobody follows."""
    return f"{hint} is without effect: {reason}"
