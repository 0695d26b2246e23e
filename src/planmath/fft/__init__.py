"""Fast Fourier transforms: stateless functions, and the stateful `FFT` that plans once and executes many times.

The transforms of any number of axes of arrays with any strides; inverse transforms are not scaled.
"""

from planmath.core.errors import UnsupportedLayoutError
from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.fft.callbacks import DeviceCallable, compile_epilog, compile_prolog
from planmath.fft.operation import FFT, InvalidFFTState, estimate_workspace_size
from planmath.fft.options import FFTDirection, FFTOptions
from planmath.fft.stateless import fft, ifft, irfft, rfft

__all__ = [
    "FFT",
    "DeviceCallable",
    "ExecutionCPU",
    "ExecutionCUDA",
    "FFTDirection",
    "FFTOptions",
    "InvalidFFTState",
    "UnsupportedLayoutError",
    "compile_epilog",
    "compile_prolog",
    "estimate_workspace_size",
    "fft",
    "ifft",
    "irfft",
    "rfft",
]
