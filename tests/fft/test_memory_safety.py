"""No library may write beyond the arrays it was given, or beyond its own."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.fft import FFT
from planmath.fft.providers import PROVIDERS
from tests.arrays import to_numpy, to_package, view_of
from tests.fft.operands import random_operand
from tests.fft.reference import FORWARD, assert_accurate
from tests.processes import run_python
from tests.providers import provider_parameters, space_of

#: Operands in which a library's own buffers are at risk: few rows, far apart, of elements that are far apart as well.
GATHERED = [
    ((6, 279), (558, 2), (1, 0)),
    ((356, 3), (3, 1068), (1, 0)),
    ((204, 4), (2, 816), (0, 1)),
    ((6, 2, 210), (3360, 840, 2), (0, 2)),
    ((128, 3, 29), (29, 3712, 1), (0, 1)),
    ((132, 2, 12), (2, 528, 3168), (0, 2, 1)),
    ((48, 480, 3), (1440, 3, 1), (0, 1)),
    ((3, 228, 448), (896, 8064, 2), (2, 1, 0)),
    ((91, 112, 6), (2016, -1, 336), (1, 0, 2)),
    ((2, 8, 203), (203, 406, -1), (0, 2, 1)),
]


@pytest.mark.parametrize("provider", provider_parameters([p for p in PROVIDERS if space_of(p.name) == "cpu"]))
@pytest.mark.parametrize("kind", ["C2C", "R2C", "C2R"])
@pytest.mark.parametrize("threads", [1, 2])
def test_buffers_of_the_library(provider, kind, threads):
    """The C library's allocator stops the process when it finds its records between two blocks overwritten."""
    program = f"""
        import ctypes, sys
        import numpy as np
        from planmath.bindings import mkl
        from planmath.fft import FFT
        from planmath.fft.providers import fftw3_interface

        provider, kind, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
        fftw3_interface.THREADED_WORK = fftw3_interface.SURELY_THREADED_WORK = 0
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        for shape, strides, axes in {GATHERED!r}:
            for layout in ("natural", "optimized"):
                dtype = np.dtype(float if kind == "R2C" else complex)
                memory = np.ones(1 + sum(abs(s) * (n - 1) for n, s in zip(shape, strides)), dtype)
                start = sum(-s * (n - 1) for n, s in zip(shape, strides) if s < 0)
                steps = [s * dtype.itemsize for s in strides]
                operand = np.lib.stride_tricks.as_strided(memory[start:], shape, steps)
                options = dict(provider=provider, fft_type=kind, result_layout=layout, tuning=False)
                with FFT(operand, axes=axes, options=options, execution=dict(name="cpu", num_threads=threads)) as t:
                    t.plan()
                    for _ in range(5):
                        t.execute()
                        if provider == "mkl":
                            mkl.LIBRARY.function("mkl_free_buffers")()
                        for block in [libc.malloc(size) for size in (100, 1000, 5000, 20000, 100000)]:
                            libc.free(block)
        print("done")
    """
    assert run_python(program, provider, kind, threads) == "done\n"


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize(("shape", "strides", "axes"), GATHERED)
def test_memory_around_the_arrays(package, provider, shape, strides, axes):
    if package.startswith("torch") and min(strides) < 0:
        pytest.skip(f"{package} has no such arrays")
    margin = 512
    values = random_operand("C2C", "float64", shape, axes)
    spans = [s * (n - 1) for n, s in zip(shape, strides, strict=True)]
    memory = np.full(2 * margin + 1 + sum(map(abs, spans)), 7.0, complex)
    start = margin - sum(span for span in spans if span < 0)
    view_of(memory, start, shape, strides)[...] = values
    everything = to_package(memory, package)
    with FFT(view_of(everything, start, shape, strides), axes=axes, options={"provider": provider}) as transform:
        transform.plan()
        results = to_package(np.full(2 * margin + values.size, 7.0, complex), package)
        transform.execute(out=view_of(results, margin, shape, transform.get_output_layout()[1]))
    np.testing.assert_array_equal(to_numpy(everything), memory)
    around = to_numpy(results)
    assert (around[:margin] == 7).all()
    assert (around[margin + values.size :] == 7).all()
    result = view_of(around, margin, shape, transform.get_output_layout()[1])
    assert_accurate(result, "C2C", values, axes, FORWARD)
