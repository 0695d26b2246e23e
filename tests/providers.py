"""Providers as test parameters, each with the packages whose arrays are where it computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from planmath.core.provider import Provider
from tests.arrays import DEVICE, HOST, missing

#: The providers that compute on CUDA devices; all others compute on the CPU.
ON_DEVICE = ("cufft", "cublas", "cublaslt", "cutensor", "cudss", "cusolver")


class Pair(NamedTuple):
    """A provider, and a package whose arrays it gets."""

    provider: str
    package: str


def space_of(provider: str) -> str:
    """The execution space that a provider computes in."""
    return "cuda" if provider in ON_DEVICE else "cpu"


def native_packages(provider: str) -> tuple[str, ...]:
    """The packages whose arrays are where the provider computes."""
    return DEVICE if provider in ON_DEVICE else HOST


def foreign_packages(provider: str) -> tuple[str, ...]:
    """The packages whose arrays are elsewhere, so that copies cross in each execution."""
    return HOST if provider in ON_DEVICE else DEVICE


def on_host(providers: Sequence[Provider]) -> list[Provider]:
    """Those that compute on the CPU."""
    return [provider for provider in providers if provider.name not in ON_DEVICE]


def provider_parameters(providers: Sequence[Provider]) -> list[Any]:
    """The names of the providers; those that this machine lacks are skipped, for the reason they give themselves."""
    return [
        pytest.param(p.name, marks=pytest.mark.skipif((reason := p.unavailable()) is not None, reason=str(reason)))
        for p in providers
    ]


def pairs(providers: Sequence[Provider], packages_of: Any = native_packages) -> list[Any]:
    """Providers with their packages as parameters; what this machine lacks is skipped with the reason, once."""
    parameters = []
    for provider in providers:
        absent = provider.unavailable()
        for package in packages_of(provider.name)[: 1 if absent else None]:
            reason = absent or missing(package)
            mark = pytest.mark.skipif(reason is not None, reason=str(reason))
            parameters.append(pytest.param(Pair(provider.name, package), marks=mark, id=f"{provider.name}-{package}"))
    return parameters


def available(providers: Sequence[Provider]) -> list[str]:
    """The names of the providers that this machine has."""
    return [p.name for p in providers if p.unavailable() is None]


def available_pairs(providers: Sequence[Provider]) -> list[Pair]:
    """The pairs that this machine has."""
    return [Pair(name, p) for name in available(providers) for p in native_packages(name) if missing(p) is None]
