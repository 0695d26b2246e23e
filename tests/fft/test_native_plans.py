"""The native plans of the FFTW3 interface are destroyed when nobody can use them any more, wherever that happens."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.bindings import fftw3
from planmath.fft import FFT
from tests.processes import run_python

LIBRARIES = [
    pytest.param(name, marks=pytest.mark.skipif(bool(interface.missing()), reason=str(interface.missing())))
    for name, interface in (("mkl", fftw3.MKL), ("fftw", fftw3.FFTW), ("nvpl", fftw3.NVPL))
]


@pytest.fixture
def destroyed(monkeypatch):
    """The addresses of the plans that were destroyed."""
    addresses = []
    destroy = fftw3.NativePlan.__del__
    monkeypatch.setattr(fftw3.NativePlan, "__del__", lambda plan: (addresses.append(plan.address), destroy(plan))[1])
    return addresses


@pytest.mark.parametrize("provider", LIBRARIES)
def test_destroyed_with_the_object(provider, destroyed):
    with FFT(np.ones(8, complex), options={"provider": provider, "tuning": False}) as transform:
        transform.plan()
        assert not destroyed
        transform.plan()
        again = len(destroyed)
        assert again >= 2, "one for each direction of the old plan"
        transform.execute()
    assert len(destroyed) == 2 * again


@pytest.mark.parametrize("provider", LIBRARIES)
def test_garbage_collected_while_another_plan_is_made(provider):
    """The collector may run at any moment, also while the same thread has the planner locked."""
    program = """
        import gc, sys
        import numpy as np
        from planmath.bindings.fftw3 import Interface, NativePlan
        from planmath.fft import FFT

        def plan(provider):
            with FFT(np.ones(8, complex), options={"provider": provider, "tuning": False}) as transform:
                transform.plan()
                transform.itself = transform, transform._plan_made

        planner, destroy, destroyed = Interface.planner, NativePlan.__del__, []
        Interface.planner = lambda *arguments: (gc.collect(), planner(*arguments))[1]
        NativePlan.__del__ = lambda plan: (destroyed.append(plan), destroy(plan))
        gc.disable()
        plan(sys.argv[1])
        assert not destroyed
        plan(sys.argv[1])
        print(len(destroyed) > 0)
    """
    assert run_python(program, provider, timeout=10) == "True\n"


GAPS = np.ones((512, 1024), complex)[:, ::2]


@pytest.mark.skipif(bool(fftw3.MKL.missing()), reason=str(fftw3.MKL.missing()))
@pytest.mark.parametrize(
    ("operand", "axes", "inplace", "calls"),
    [
        (np.ones((512, 512), complex), (0, 1), False, 1),
        (np.ones((512, 512), complex).T, (0, 1), False, 1),
        (GAPS, (1,), False, 1),
        (GAPS.copy(), (0, 1), True, 1),
        (GAPS, (0, 1), False, 2),
        (GAPS.T, (1, 0), False, 2),
    ],
)
def test_mkl_gets_operands_with_gaps_one_axis_first(operand, axes, inplace, calls):
    """MKL gathers such an operand into a buffer of its own, and writes beyond that."""
    with FFT(operand, axes=axes, options={"provider": "mkl", "tuning": False, "inplace": inplace}) as transform:
        transform.plan()
        assert len(transform._plan_made.prepared.programs[None].calls) == calls
