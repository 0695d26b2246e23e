"""Whatever the environment says of MKL, and whoever called it first: right results, or another provider."""

from __future__ import annotations

import pytest

from planmath.bindings import mkl
from tests.processes import run_python

pytestmark = pytest.mark.skipif(mkl.LIBRARY.missing is not None, reason=str(mkl.LIBRARY.missing))

COMPUTE = """
    import ctypes, os, tempfile
    import numpy as np, scipy.sparse as sp
    from planmath.fft import fft
    from planmath.linalg.advanced import matmul
    from planmath.sparse.advanced import direct_solver

    def right(*providers):
        two = {"name": "cpu", "num_threads": 2}
        settings = [{"options": {"provider": p, "tuning": False}, "execution": two} for p in providers]
        a, x = np.random.rand(300, 300), np.random.rand(500, 500) + 1j
        line = sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(30, 30))
        m = sp.csr_array(sp.kron(line, sp.eye_array(30)) + sp.kron(sp.eye_array(30), line))
        b = np.arange(1.0, 901)
        return [
            np.allclose(matmul(a, a, **settings[0]), a @ a), np.allclose(fft(x, **settings[1]), np.fft.fft2(x)),
            np.allclose(m @ direct_solver(m, b, **settings[2]), b),
        ]
"""

ENVIRONMENTS = {
    "MKL_INTERFACE_LAYER": ("ILP64", "LP64,GNU", "unknown"),
    "MKL_THREADING_LAYER": ("TBB", "tbb", "SEQUENTIAL", "GNU", "INTEL", "PGI", "unknown"),
}


@pytest.mark.parametrize("first", ["nothing", "torch"])
def test_every_environment(first):
    """One process for each value, and one whose working directory was deleted."""
    if first == "torch":
        pytest.importorskip("torch")
    program = f"""
    {"import torch" if first == "torch" else ""}
    def child(prepare):
        if (pid := os.fork()) == 0:
            prepare()
            os._exit(0 if all(right("mkl", "mkl", "pardiso")) else 1)
        return os.waitpid(pid, 0)[1]

    def delete_directory():
        os.chdir(directory := tempfile.mkdtemp())
        os.rmdir(directory)

    found = {{"deleted": child(delete_directory)}}
    for name, values in {ENVIRONMENTS}.items():
        for value in values:
            found[name, value] = child(lambda: os.environ.update({{name: value}}))
    print({{case for case, status in found.items() if status}} or "right")
    """
    assert run_python(COMPUTE + program, timeout=120) == "right\n"


def test_called_first_by_another_package():
    """With integers of 64 bits it is declined, with the reason, and other libraries compute."""
    program = f"""
    os.environ["MKL_INTERFACE_LAYER"] = "ILP64"
    ctypes.CDLL({mkl.LIBRARY.path!r}).mkl_get_version(ctypes.byref((ctypes.c_int * 64)()))
    print(right(None, None, None))
    try:
        right("mkl", None, None)
    except Exception as error:
        print("integers of 64 bits" in str(error))
    """
    assert run_python(COMPUTE + program) == "[True, True, True]\nTrue\n"
