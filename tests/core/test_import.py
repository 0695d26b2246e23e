"""What an import brings with it: little."""

from __future__ import annotations

import textwrap

import pytest

from tests.processes import run_python

HEAVY = ("torch", "scipy.fft", "scipy.linalg", "cupy", "hypothesis")


def loaded_after(program: str) -> set[str]:
    return set(run_python(f"{program}\nimport sys\nprint(*sys.modules)").split())


@pytest.mark.parametrize("program", ["import planmath", "from planmath.fft import FFT, fft"])
def test_import_is_light(program):
    assert loaded_after(program).isdisjoint(HEAVY)


def test_operations_are_imported_when_they_are_used():
    program = "import planmath; planmath.memory; from planmath import BaseCUDAMemoryManager"
    operations = {f"planmath.{name}" for name in ("fft", "linalg", "sparse", "tensor", "distributed", "device")}
    assert loaded_after(program).isdisjoint(operations)
    assert "planmath.sparse.ust" in loaded_after("import planmath; planmath.sparse.ust")


def test_every_public_name_is_there_after_the_import():
    program = """
        import planmath
        for name in planmath.__all__:
            if name != "device":
                getattr(planmath, name)
                assert name in vars(planmath), name
        print(sorted(set(planmath.__all__) - set(dir(planmath))))
        try:
            planmath.ftt
        except AttributeError as error:
            print(error)
    """
    assert run_python(textwrap.dedent(program)) == "[]\nmodule 'planmath' has no attribute 'ftt'\n"


def test_what_was_not_built_is_told_by_the_import():
    program = """
        import sys
        sys.modules["planmath.core.executor"] = None
        try:
            import planmath
        except ImportError as error:
            print(error)
    """
    assert "planmath.core.executor" in run_python(textwrap.dedent(program))


def test_transform_of_numpys_arrays_needs_no_torch():
    program = "import numpy, planmath; planmath.fft.fft(numpy.ones(8, complex))"
    assert "torch" not in loaded_after(program)


def test_libraries_are_loaded_on_first_use():
    program = "import planmath; print(*(line.split('/')[-1] for line in open('/proc/self/maps')))"
    assert not any(name.startswith(("libmkl", "libfftw3", "libnvpl")) for name in run_python(program).split())


def test_tensors_are_known_whenever_torch_is_imported():
    pytest.importorskip("torch", reason="torch is not installed")
    program = "import planmath, torch; print(planmath.fft.fft(torch.ones(2, dtype=torch.complex64)).real.tolist())"
    assert run_python(program) == "[2.0, 0.0]\n"


def test_packages_whose_import_is_blocked():
    """None in the place of a module: the usual way to block its import."""
    program = """
        import sys
        sys.modules["torch"] = sys.modules["cupy"] = None
        import numpy as np, planmath, scipy.sparse
        from planmath.report import info
        a = np.eye(3)
        for provider in ("gemm", "einsum"):
            planmath.tensor.binary_contraction("ij,jk", a, a, options={"provider": provider})
        planmath.tensor.contract("ij,jk,kl", a, a, a)
        planmath.linalg.advanced.matmul(a, a)
        planmath.fft.fft(a + 0j)
        planmath.sparse.advanced.direct_solver(scipy.sparse.csr_matrix(a), np.ones(3))
        info.gather()
    """
    run_python(textwrap.dedent(program))
