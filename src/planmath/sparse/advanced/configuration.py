"""What a user can set for each phase, before it runs."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Protocol

from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverPlanPreferences,
    DirectSolverSolutionPreferences,
    checked_preference,
)


class Configured(Protocol):
    """What has preferences: a solver."""

    _preferences: dict[str, Any]
    """Those of each phase, by its name."""


class _Config:
    """Preferences of a phase as properties that can be set; None means that the provider decides."""

    phase = ""
    preferences: type[Any]

    def __init__(self, solver: Configured):
        self._solver = solver

    def __init_subclass__(cls) -> None:
        for field in fields(cls.preferences):
            get, put = _property_of(field.name)
            setattr(cls, field.name, property(get, put, doc=f"`{field.name}` of `{cls.preferences.__name__}`."))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._solver._preferences[self.phase]}>"


def _property_of(name: str) -> tuple[Any, Any]:
    def get(config: _Config) -> Any:
        return getattr(config._solver._preferences[config.phase], name)

    def put(config: _Config, value: Any) -> None:
        checked = checked_preference(f"{config.phase}_config.{name}", name, value)
        preferences = config._solver._preferences
        preferences[config.phase] = replace(preferences[config.phase], **{name: checked})

    return get, put


class DirectSolverPlanConfig(_Config):
    """Settings for `DirectSolver.plan`: those of `DirectSolverPlanPreferences`, for the next plan."""

    phase, preferences = "plan", DirectSolverPlanPreferences


class DirectSolverFactorizationConfig(_Config):
    """Settings for `DirectSolver.factorize`: those of `DirectSolverFactorizationPreferences`."""

    phase, preferences = "factorization", DirectSolverFactorizationPreferences


class DirectSolverSolutionConfig(_Config):
    """Settings for `DirectSolver.solve`: those of `DirectSolverSolutionPreferences`."""

    phase, preferences = "solution", DirectSolverSolutionPreferences
