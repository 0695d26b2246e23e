"""Let programs written for nvmath-python run on planmath, unchanged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pkgutil import iter_modules
from types import ModuleType

ALIAS, OURS = "nvmath", "planmath"
#: Modules of planmath that have no counterpart under the other name.
OURS_ALONE = ("__main__", "core", "demo", "dropin", "native", "report", "tuning")


def install_as_nvmath() -> None:
    """Make ``import nvmath``, and every submodule of it, mean planmath for the rest of the process.

    The modules are the same objects under both names, so a class imported under one is the class imported under the
    other. Calling it again does nothing. Processes that `multiprocessing` spawns (rather than forks) have to call it
    themselves.

    Raises
    ------
    RuntimeError
        If another `nvmath` is imported already.

    Examples
    --------
    >>> import planmath
    >>> planmath.install_as_nvmath()  # doctest: +SKIP
    >>> from nvmath.fft import FFT  # doctest: +SKIP
    >>> FFT is planmath.fft.FFT  # doctest: +SKIP
    True
    """
    for name, module in sorted(sys.modules.items()):
        if _is_alias(name) and module is not sys.modules.get(_ours(name)):
            place = getattr(module, "__file__", None) or "an unknown place"
            raise RuntimeError(
                f"{name} is already imported, from {place}; call planmath.install_as_nvmath() before the first import "
                f"of {ALIAS}, or run the program with: python -m planmath run SCRIPT.py"
            )
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())
        sys.meta_path.append(_AbsenceFinder())


class _AliasFinder(MetaPathFinder):
    """Stands first, before whatever would find an installed nvmath."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _AliasLoader(import_module(_ours(fullname)))) if _is_alias(fullname) else None


class _AliasLoader(Loader):
    """Puts planmath's module in the place of the empty one that Python made, which is how importlib allows for it."""

    def __init__(self, module: ModuleType):
        self._module = module

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._module


class _AbsenceFinder(MetaPathFinder):
    """Stands last: the part of planmath that Python asks it for does not exist.

    ``from nvmath import sparse`` comes here as well, for a module found under the alias has planmath's name. The error
    carries the alias: Python hides one that carries the name it asked for.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{OURS}."):
            return None
        name = ALIAS + fullname.removeprefix(OURS)
        parts = [part.name for part in iter_modules(import_module(OURS).__path__)]
        there = ", ".join(f"{ALIAS}.{part}" for part in parts if part not in OURS_ALONE)
        message = f"planmath stands in for {ALIAS} and does not have {name} yet; it has {there}"
        raise ModuleNotFoundError(message, name=name)


def _is_alias(name: str) -> bool:
    return name == ALIAS or name.startswith(f"{ALIAS}.")


def _ours(name: str) -> str:
    return OURS + name.removeprefix(ALIAS)
