"""The examples in the docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import planmath

MODULES = ["planmath"] + [
    module.name
    for module in pkgutil.walk_packages(planmath.__path__, "planmath.", onerror=lambda name: None)
    if not module.name.endswith("__main__")
]
#: Packages that are not there on every machine, by what is in the names of modules that need them.
OPTIONAL = {"torch": "torch", "cupy": "cupy", "device.kernels": "numba_cuda", "interfaces.jax": "jax"}


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tuning_record, nothing_remembered):
    for part, package in OPTIONAL.items():
        if part in name:
            pytest.importorskip(package, reason=f"{package} is not installed")
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_examples_are_found():
    found = doctest.DocTestFinder(exclude_empty=True).find(planmath.fft.FFT)
    assert sum(len(test.examples) for test in found) > 5
