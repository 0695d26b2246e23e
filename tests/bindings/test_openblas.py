"""Whose OpenBLAS computes: NumPy's own where its wheel brings one, so that both share one pool of threads."""

from __future__ import annotations

import ctypes
import os

import numpy as np
import pytest
from planmath.native.loaded import loaded_libraries

from planmath.bindings import blas

NUMPYS = pytest.mark.skipif(blas._NUMPYS.library.missing is not None, reason=str(blas._NUMPYS.library.missing))


@NUMPYS
def test_products_are_those_of_numpys_library():
    path = blas.OPENBLAS.path()
    assert path is not None
    assert "numpy" in path
    (loaded,) = {name for name in map(os.fsdecode, loaded_libraries()) if "libscipy_openblas64_" in name}
    assert os.path.samefile(path, loaded), "another copy would have threads of its own"
    assert "OpenBLAS" in blas.OPENBLAS.version()


@pytest.mark.parametrize("wheels", [(blas._NUMPYS,), (blas._SCIPYS,), ()], ids=["NumPy's", "SciPy's", "published"])
def test_integers_suit_all_of_them(wheels):
    """Those of 64 bits are read by libraries with integers of 32 bits, too."""
    for wheel in wheels:
        if wheel.library.missing:
            pytest.skip(wheel.library.missing)
    library = blas._openblas("OpenBLAS", *wheels)
    rng = np.random.default_rng(0)
    a, b = (np.asfortranarray(rng.random(shape)) for shape in ((3, 4), (4, 2)))
    d = np.zeros((3, 2), order="F")
    m, n, k = (blas.INTEGER(x) for x in (3, 2, 4))
    alpha, beta, letter = ctypes.c_double(1.0), ctypes.c_double(0.0), ctypes.c_char(b"N")
    dgemm = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(library.find("dgemm"))
    values = (letter, letter, m, n, k, alpha, a, m, b, k, beta, d, m)
    dgemm(*[x.ctypes.data if isinstance(x, np.ndarray) else ctypes.addressof(x) for x in values])
    np.testing.assert_allclose(d, a @ b)
    assert library.find("no_such_routine") == 0
