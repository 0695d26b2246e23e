"""What planmath finds on this machine: libraries, processor, tuning record."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from planmath.bindings import blas, cublasLt, cufft, cutensor, fftw3, mkl
from planmath.core import devices, tuning
from planmath.core.execution import available_cpus
from planmath.core.provider import Provider
from planmath.report.tables import table

#: The operations, as `planmath.<name>`, each with a module `providers` that lists its libraries.
OPERATIONS = ("fft", "linalg.advanced", "sparse.advanced", "tensor")

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
    threads: int | None = None
    """The most threads of an execution that names no number."""
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
    libraries: tuple[LibraryFacts, ...]
    record: str
    record_entries: int
    record_date: str | None
    """When the newest entry was measured."""


def gather() -> Facts:
    """Look for everything. Loads every library that is there, and imports PyTorch if it is installed."""
    if find_spec("torch"):
        import_module("torch")  # its kernels are there for a program that has its tensors
    entries = [entry for where in tuning.processors() for entry in tuning.entries(where).values()]
    return Facts(
        planmath=version("planmath"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        machine=tuning.machine(),
        cpus=available_cpus(),
        devices=tuple(str(devices.device(number)) for number in range(devices.count())),
        no_device=devices.missing(),
        packages={name: _version_of(*distributions) for name, distributions in PACKAGES.items()},
        libraries=tuple(libraries()),
        record=str(tuning.path()),
        record_entries=len(entries),
        record_date=max((entry.date for entry in entries), default=None),
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
    path, threads = PLACES.get((operation, provider.name), (_nothing, available_cpus))
    return LibraryFacts(operation, provider.name, provider.version(), threads(), path())


def render(facts: Facts) -> str:
    """The facts as text for a terminal."""
    packages = ", ".join(f"{name} {found or 'not installed'}" for name, found in facts.packages.items())
    rows = [
        [f.operation, f.provider, _short(f.version), f.threads or "-", f.path or f.missing or "-"]
        for f in facts.libraries
    ]
    if facts.record_entries:
        noun = "problem" if facts.record_entries == 1 else "problems"
        record = f"{facts.record_entries} {noun} measured on this machine, the last on {facts.record_date}"
    else:
        record = "nothing measured on this machine yet; autotune() fills it"
    return "\n".join([
        f"planmath {facts.planmath}, {facts.python}, {facts.system}",
        facts.machine,
        *(facts.devices or [f"no CUDA: {facts.no_device}"]),
        packages,
        "",
        table(["operation", "provider", "version", "threads", "library, or why it is missing"], rows),
        "",
        f"tuning record {facts.record}",
        record,
    ])  # fmt: skip


def _short(version: str | None) -> str:
    """A version without the list of build options that some libraries append."""
    return " ".join(version.split()[:2]) if version else "-"


def _version_of(*distributions: str) -> str | None:
    """The version of the first that is installed."""
    for distribution in distributions:
        with suppress(PackageNotFoundError):
            return version(distribution)
    return None


def _nothing() -> None:
    return None


def _module_path(*names: str) -> Callable[[], str | None]:
    """Finds the file of the first of the modules that exists."""

    def path() -> str | None:
        for name in names:
            try:
                spec = find_spec(name)
            except ModuleNotFoundError:  # of the package that should hold it
                continue
            if spec is not None:
                return spec.origin
        return None

    return path


def _scipy_blas_path() -> str | None:
    return blas.OPENBLAS_LIBRARY.path or _module_path("scipy.linalg.cython_blas")()


def _torch_threads() -> int:
    return int(import_module("torch").get_num_threads())


#: pocketfft's compiled module, in SciPy before 1.18 and since.
POCKETFFT = ("scipy.fft._pocketfft.pypocketfft", "scipy.fft._duccfft.pyduccfft")

#: Where each provider's library is, and the most threads it uses by default, by operation and provider.
PLACES: dict[tuple[str, str], tuple[Callable[[], Any], Callable[[], Any]]] = {
    ("fft", "mkl"): (lambda: mkl.LIBRARY.path, mkl.threads),
    ("fft", "nvpl"): (lambda: fftw3.NVPL.libraries["float64"][0].path, available_cpus),
    ("fft", "fftw"): (lambda: fftw3.FFTW.libraries["float64"][0].path, available_cpus),
    ("fft", "pocketfft"): (_module_path(*POCKETFFT), available_cpus),
    ("fft", "cufft"): (lambda: cufft.LIBRARY.path, _nothing),
    ("linalg.advanced", "mkl"): (lambda: mkl.LIBRARY.path, mkl.threads),
    ("linalg.advanced", "blas"): (_scipy_blas_path, blas.SCIPY.max_threads),
    ("linalg.advanced", "torch"): (_module_path("torch"), _torch_threads),
    ("linalg.advanced", "cublaslt"): (lambda: cublasLt.LIBRARY.path, _nothing),
    ("tensor", "cutensor"): (lambda: cutensor.LIBRARY.path, _nothing),
    ("tensor", "gemm"): (lambda: mkl.LIBRARY.path or _scipy_blas_path(), available_cpus),
    ("tensor", "einsum"): (_module_path("numpy"), available_cpus),
    ("sparse.advanced", "pardiso"): (lambda: mkl.LIBRARY.path, mkl.threads),
    ("sparse.advanced", "banded"): (_module_path("scipy.linalg.cython_lapack"), available_cpus),
    ("sparse.advanced", "superlu"): (_module_path("scipy.sparse.linalg._dsolve._superlu"), available_cpus),
}
