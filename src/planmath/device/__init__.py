"""Functions for the inside of kernels: transforms, products, solvers and random numbers for ``numba.cuda``.

Objects are made on the host and called in kernels. Code is compiled by libmathdx when a kernel first needs it, and kept
on disk. Kernels run without a GPU in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``), and compile without one
(`compile_kernel`).
"""

from importlib import import_module
from typing import Any

#: Names by the module that has them. Modules are imported when a name of theirs is first used.
_MODULES = {
    "fft": ("FFT", "compile_fft_execute"),
    "matmul": ("Alignment", "Arrangement", "LeadingDimension", "Matmul", "MAX_ALIGNMENT", "Precision", "TransposeMode",
               "compile_blas_execute"),
    "layouts": ("Layout", "SharedStorageCalc"),
    "tensors": ("Accumulator", "OpaqueTensor", "axpby", "clear", "copy", "copy_fragment", "copy_wait",
                "make_fragment_like", "make_tensor"),
    "pipelines": ("DevicePipeline", "TilePipeline"),
    "solver": ("Solver", "compile_solver_execute"),
    "solvers": ("CholeskySolver", "LQFactorize", "LQMultiply", "LUPivotSolver", "LUSolver", "LeastSquaresSolver",
                "QRFactorize", "QRMultiply", "TriangularSolver"),
    "targets": ("Code", "CodeType", "ComputeCapability", "Dim3", "ISAVersion", "MAX_SUPPORTED_CC",
                "current_device_lto", "current_device_sm"),
    "value_types": ("Complex", "INT_NP_TYPES", "REAL_NP_TYPES", "Vector", "complex128", "complex32", "complex64",
                    "half2", "half4", "np_float16x2", "np_float16x4"),
    "vector_values": ("float16x2", "float16x4", "float32x2", "float32x4", "float64x2", "float64x4", "uint32x4"),
    "linking": ("compile_kernel",),
    "launching": ("autotune", "launch"),
}  # fmt: skip
_NAMES = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("cublasdx_backend", "cublasdx_numba", "random", "random_helpers")
_TYPES = tuple(f"{name}_type" for name in _MODULES["vector_values"])

__all__ = [*_NAMES, *_SUBMODULES, *_TYPES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in _TYPES:
        from planmath.device import inside

        home = "simulator" if inside.simulating() else "kernels"
        return import_module(f"{__name__}.{home}.vectors").TYPES[name.removesuffix("_type")]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _set_up() -> None:
    import numpy

    from planmath.device import inside

    if not hasattr(numpy, "row_stack"):  # which numba-cuda 0.30 reads, and NumPy 2.5 no longer has
        numpy.row_stack = numpy.vstack
    if inside.simulating():
        from planmath.device import simulator

        simulator.install()


_set_up()
