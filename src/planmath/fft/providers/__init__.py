"""The libraries that compute Fourier transforms, in order of preference."""

from collections.abc import Sequence

from planmath.bindings import fftw3, mkl
from planmath.core.provider import Provider
from planmath.fft.providers.fftw3_interface import FFTW3Provider
from planmath.fft.providers.pocketfft import PocketFFTProvider

PROVIDERS: Sequence[Provider] = (
    FFTW3Provider("mkl", fftw3.MKL, mkl.version, spin=mkl.BLOCK_TIME),
    FFTW3Provider("nvpl", fftw3.NVPL, lambda: "unknown"),
    FFTW3Provider("fftw", fftw3.FFTW, fftw3.fftw_version),
    PocketFFTProvider(),
)
