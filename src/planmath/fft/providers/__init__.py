"""The libraries that compute Fourier transforms, in order of preference."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from planmath.bindings import fftw3, mkl
from planmath.core.provider import Provider
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.cufft import CuFFTProvider
from planmath.fft.providers.fftw3_interface import FFTW3Provider
from planmath.fft.providers.pocketfft import PocketFFTProvider


@runtime_checkable
class Estimating(Protocol):
    """A provider whose library tells how much temporary memory a transform needs without planning it."""

    def workspace_size(self, problem: FFTProblem, technique: str, handle: int | None) -> int: ...


PROVIDERS: Sequence[Provider] = (
    FFTW3Provider("mkl", fftw3.MKL, mkl.version, spin=mkl.BLOCK_TIME),
    FFTW3Provider("nvpl", fftw3.NVPL, lambda: "unknown"),
    FFTW3Provider("fftw", fftw3.FFTW, fftw3.fftw_version),
    PocketFFTProvider(),
    CuFFTProvider(),
)
