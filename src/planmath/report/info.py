"""What planmath finds on this machine: libraries, processor, tuning record."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from planmath.core import code_cache
from planmath.core.arrays import package_named
from planmath.core.cuda import devices
from planmath.core.cuda.mathdx import descriptors
from planmath.core.execution import available_cpus
from planmath.core.provider import Provider
from planmath.core.tuning import record
from planmath.native.threads import Threads
from planmath.report import ranks
from planmath.report.pages import Report, Table, page

#: The operations, as `planmath.<name>`, each with a module `providers` that lists its libraries.
OPERATIONS = (
    "fft", "linalg.advanced", "linalg.generic", "linalg.solver", "sparse.advanced", "sparse.product", "tensor",
)  # fmt: skip

#: Packages whose arrays can be operands, and those that planmath needs itself: the distributions that hold them.
PACKAGES = {
    "numpy": ("numpy",), "scipy": ("scipy",), "torch": ("torch",), "cupy": ("cupy", "cupy-cuda13x", "cupy-cuda12x"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LibraryFacts:
    """One provider of one operation."""

    operation: str
    provider: str
    version: str | None = None
    threads: Threads | None = None
    """The most threads of an execution that names no number, and where they come from."""
    path: str | None = None
    missing: str | None = None
    """Why this machine cannot use it and what would help, in words."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that `planmath info` shows."""

    planmath: str
    python: str
    system: str
    machine: str
    cpus: int
    devices: tuple[str, ...]
    """CUDA devices, each in a line."""
    no_device: str | None
    """Why there is none that can be used."""
    packages: dict[str, str | None]
    tensors: str | None
    """How PyTorch's tensors are read, if there is PyTorch."""
    ranks: tuple[str, ...]
    """What there is for programs of several processes, each in a line."""
    libraries: tuple[LibraryFacts, ...]
    record: str
    record_entries: int
    record_date: str | None
    """When the newest entry was measured."""
    code: str
    """Where compiled code is kept."""
    code_files: int
    code_bytes: int
    device_library: str
    """The library of functions for kernels, or why it cannot be used."""


def gather() -> Facts:
    """Look for everything. Loads every library that is there, and imports PyTorch if it is installed."""
    has_torch = find_spec("torch") is not None
    if has_torch:
        import_module("torch")  # its kernels are there for a program that has its tensors
    code_files, code_bytes = code_cache.stored()
    measured = [entries for where in record.processors() for entries in record.entries(where).values()]
    return Facts(
        planmath=version("planmath"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        machine=record.machine(),
        cpus=available_cpus(),
        devices=tuple(str(devices.device(number)) for number in range(devices.count())),
        no_device=devices.missing(),
        packages={name: _version_of(*distributions) for name, distributions in PACKAGES.items()},
        tensors=package_named("torch").how_read() if has_torch else None,  # type: ignore[attr-defined]
        ranks=tuple(ranks.lines()),
        libraries=tuple(libraries()),
        record=str(record.path()),
        record_entries=len(measured),
        record_date=max((entry.date for entries in measured for entry in entries), default=None),
        code=str(code_cache.folder()),
        code_files=code_files,
        code_bytes=code_bytes,
        device_library=descriptors.missing() or f"libmathdx {descriptors.library_version()} ({descriptors.path()})",
    )


def libraries() -> Iterable[LibraryFacts]:
    """The facts on every provider of every operation, in the order of preference."""
    for operation in OPERATIONS:
        for provider in import_module(f"planmath.{operation}.providers").PROVIDERS:
            yield _library(operation, provider)


def _library(operation: str, provider: Provider) -> LibraryFacts:
    missing = provider.unavailable()
    if missing is not None:
        return LibraryFacts(operation, provider.name, missing=missing)
    return LibraryFacts(operation, provider.name, provider.version(), provider.threads(), provider.path())


def render(facts: Facts) -> Report:
    """The facts, as text for a terminal and as HTML."""
    packages = ", ".join(f"{name} {found or 'not installed'}" for name, found in facts.packages.items())
    rows = [
        [f.operation, f.provider, _short(f.version), _counted(f.threads), f.path or f.missing or "-"]
        for f in facts.libraries
    ]
    if facts.record_entries:
        noun = "problem" if facts.record_entries == 1 else "problems"
        measured = f"{facts.record_entries} {noun} measured on this machine, the last on {facts.record_date}"
    else:
        measured = "nothing measured on this machine yet; autotune() fills it"
    files = f"{facts.code_files} file{'' if facts.code_files == 1 else 's'}"
    return Report([
        f"planmath {facts.planmath}, {facts.python}, {facts.system}",
        facts.machine,
        *(facts.devices or [f"no CUDA: {facts.no_device}"]),
        packages,
        *([f"PyTorch's tensors are {facts.tensors}"] if facts.tensors else []),
        *facts.ranks,
        "",
        Table(["operation", "provider", "version", "threads", "library, or why it is missing"], rows),
        "",
        f"tuning record {facts.record}",
        measured,
        f"compiled code {facts.code}",
        f"{files}, {devices.bytes_in_words(facts.code_bytes)}" if facts.code_files else "nothing kept",
        f"functions for kernels: {facts.device_library}",
    ])  # fmt: skip


def page_of(facts: Facts) -> str:
    """The facts and the tuning record as a page."""
    return page("planmath info", [render(facts)._repr_html_(), record.show()._repr_html_()])


def _counted(threads: Threads | None) -> str:
    return f"{threads.number} ({threads.origin})" if threads else "-"


def _short(version: str | None) -> str:
    """A version without the list of build options that some libraries append."""
    return " ".join(version.split()[:2]) if version else "-"


def _version_of(*distributions: str) -> str | None:
    """The version of the first that is installed."""
    for distribution in distributions:
        with suppress(PackageNotFoundError):
            return version(distribution)
    return None
