"""The libraries that compute Fourier transforms, in order of preference."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from planmath.bindings import fftw3, mkl
from planmath.core.provider import Provider
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.callbacks_device import DeviceCallbacks
from planmath.fft.providers.callbacks_host import HostCallbacks
from planmath.fft.providers.cufft import CuFFTProvider
from planmath.fft.providers.fftw3_interface import FFTW3Provider
from planmath.fft.providers.pocketfft import PocketFFTProvider


@runtime_checkable
class Estimating(Protocol):
    """A provider whose library tells how much temporary memory a transform needs without planning it."""

    def workspace_size(self, problem: FFTProblem, technique: str, handle: int | None) -> int: ...


#: For transforms without callbacks.
PLAIN: Sequence[Provider] = (
    FFTW3Provider("mkl", fftw3.MKL, mkl.version, spin=mkl.BLOCK_TIME),
    FFTW3Provider("nvpl", fftw3.NVPL, lambda: "unknown"),
    FFTW3Provider("fftw", fftw3.FFTW, fftw3.fftw_version),
    PocketFFTProvider(),
    CuFFTProvider(),
)

#: For all transforms. pocketfft makes vectors of several transforms, so it has at least so many in a tile.
PROVIDERS: Sequence[Provider] = (
    *(HostCallbacks(provider, 16 if provider.name == "pocketfft" else 1) for provider in PLAIN[:-1]),
    DeviceCallbacks(CuFFTProvider()),
)
