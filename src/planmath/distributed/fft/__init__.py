"""Fourier transforms of arrays that lie across processes, in place."""

from planmath.distributed.distribution import Slab
from planmath.distributed.fft.operand import allocate_operand
from planmath.distributed.fft.operation import FFT, InvalidFFTState, fft, ifft, irfft, rfft
from planmath.distributed.fft.options import FFTOptions
from planmath.fft.options import FFTDirection

__all__ = [
    "FFT",
    "FFTDirection",
    "FFTOptions",
    "InvalidFFTState",
    "Slab",
    "allocate_operand",
    "fft",
    "ifft",
    "irfft",
    "rfft",
]
