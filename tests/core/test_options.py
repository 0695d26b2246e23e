"""Options are the user's to change; an operation has a copy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import planmath
from planmath import fft, linalg, tensor
from planmath.core.cuda.memory import AllocationStream, stream_object
from planmath.core.options import as_options
from planmath.distributed import fft as distributed_fft
from planmath.distributed import linalg as distributed_linalg
from planmath.linalg import advanced
from planmath.sparse import advanced as sparse

A = np.eye(3)


def test_an_operation_has_a_copy():
    options = advanced.MatmulOptions()
    options.inplace = True
    with advanced.Matmul(A, A, A.copy(), beta=0, options=options) as product:
        options.inplace = False
        product.plan()
        assert product.execute() is product._slots["c"].array
    transform_options = fft.FFTOptions()
    transform_options.result_layout = "natural"
    with fft.FFT(A + 0j, options=transform_options) as transform:
        transform_options.result_layout = "optimized"
        assert transform._options.result_layout == "natural"
    assert fft.FFTOptions().result_layout == "optimized"


@pytest.mark.parametrize(
    ("options", "field", "create"),
    [
        (advanced.MatmulOptions(), "inplace", lambda o: advanced.matmul(A, A, options=o)),
        (advanced.MatmulPlanPreferences(), "limit", lambda o: advanced.matmul(A, A, preferences=o)),
        (fft.FFTOptions(), "fft_type", lambda o: fft.fft(A + 0j, options=o)),
        (tensor.ContractionOptions(), "result_layout", lambda o: tensor.binary_contraction("ij,jk", A, A, options=o)),
        (sparse.DirectSolverOptions(), "on_inaccurate", lambda o: sparse.direct_solver(None, A, options=o)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_what_was_assigned_is_checked_when_it_is_used(options, field, create):
    before = getattr(options, field)
    setattr(options, field, -7)
    with pytest.raises(ValueError, match=f"{field} is -7"):
        create(options)
    setattr(options, field, before)
    assert options == type(options)()


def test_stateless_calls_see_changed_options():
    options = advanced.MatmulOptions()
    c = np.ones((3, 3))
    first = advanced.matmul(A, A, c, beta=1, options=options)
    options.inplace = True
    second = advanced.matmul(A, A, c, beta=1, options=options)
    assert first is not c
    assert second is c


@pytest.mark.parametrize(
    "name", ["memory", "tuning", "bindings", "linalg.advanced", "sparse.advanced", "tensor", "fft"]
)
def test_public_modules_come_with_the_package(name):
    code = f"import planmath, sys; planmath.{name}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_allocators_get_a_stream(monkeypatch):
    for module in ("cuda.core", "cuda.core.experimental"):  # whoever imported it gets its streams
        monkeypatch.delitem(sys.modules, module, raising=False)
    stream = stream_object(4711)
    assert isinstance(stream, AllocationStream)
    assert stream.handle == int(stream) == stream.__cuda_stream__()[1] == 4711


def test_hints():
    with pytest.raises(ValueError, match="did you mean 'cuda'"):
        advanced.matmul(A, A, execution="gpu")
    with pytest.raises(TypeError, match=r"pass MatmulEpilog\.RELU"):
        advanced.matmul(A, A, epilog="RELU")
    with pytest.raises(ValueError, match="convert the operands") as caught:
        advanced.matmul(A.astype(int), A.astype(int))
    assert "did you mean" not in str(caught.value)
    assert planmath.memory.MemoryPointer is planmath.MemoryPointer


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (advanced.MatmulOptions, {"inplace": True, "result_amax": False, "fast_accumulation": True, "blocking": True}),
        (linalg.MatmulOptions, {"inplace": False, "blocking": True, "tuning": False}),
        (linalg.DirectSolverOptions, {"inplace_a": True, "blocking": True}),
        (fft.FFTOptions, {"inplace": False, "blocking": True}),
        (tensor.ContractionOptions, {"blocking": True, "tuning": False}),
        (sparse.DirectSolverOptions, {"blocking": True, "tuning": False}),
        (sparse.HybridMemoryModeOptions, {"hybrid_memory_mode": True}),
        (distributed_fft.FFTOptions, {"redistribute": True, "check": False}),
        (distributed_linalg.DirectSolverOptions, {"inplace_a": False, "check": True}),
    ],
    ids=lambda value: f"{value.__module__}.{value.__name__}" if isinstance(value, type) else "",
)
def test_booleans_of_numpy_are_booleans(kind, named):
    given = {name: np.bool(value) for name, value in named.items()}
    for options in given, kind(**given):
        made = as_options(kind, options)
        assert {name: getattr(made, name) for name in named} == named
        assert all(getattr(made, name) is value for name, value in named.items())
