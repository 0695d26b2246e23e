"""Options of the Fourier transforms."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from planmath.core.errors import nearest
from planmath.core.options import check_choice, check_common


class FFTDirection(enum.IntEnum):
    """Direction of a transform: the sign of the exponent."""

    FORWARD = -1
    INVERSE = 1


#: What a user may write for a direction.
DIRECTIONS: dict[Any, FFTDirection] = {
    **{direction.name.lower(): direction for direction in FFTDirection},
    **{direction.value: direction for direction in FFTDirection},
}


def as_direction(value: Any) -> FFTDirection:
    """The direction that a user's value stands for."""
    try:
        return DIRECTIONS[value.lower() if isinstance(value, str) else value]
    except (KeyError, TypeError):
        names = [d.name.lower() for d in FFTDirection]
        raise ValueError(
            f"direction is {value!r}; expected an FFTDirection, -1 or 1, or a name: {nearest(value, names)}"
        ) from None


#: The norms, each with the one by which transforms of the other direction have the same factor.
TURNED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


class FFTOptionsDict(TypedDict, total=False):
    """The fields of `FFTOptions`, as a dictionary may have them."""

    fft_type: Literal["C2C", "C2R", "R2C"] | None
    inplace: bool
    last_axis_parity: Literal["even", "odd"]
    result_layout: Literal["natural", "optimized", "C"]
    norm: Literal["backward", "ortho", "forward"] | None
    logger: logging.Logger | None
    blocking: Literal["auto", True]
    allocator: Any
    provider: str | None
    tuning: bool


@dataclass(slots=True)
class FFTOptions:
    """Options of `FFT` and of the functions `fft`, `ifft`, `rfft`, `irfft`.

    Parameters
    ----------
    fft_type : {'C2C', 'R2C', 'C2R'}, optional
        Default: C2C for complex operands, R2C for real ones. What C2R makes of operands without Hermitian symmetry is
        said in `FFT`.
    inplace : bool
        Whether the result replaces the operand (C2C only).
    last_axis_parity : {'even', 'odd'}
        For C2R, whether the result's last transformed axis has ``2 * (m - 1)`` or ``2 * (m - 1) + 1`` elements, with
        ``m`` those of the operand.
    result_layout : {'optimized', 'natural', 'C'}
        Memory order of the result's axes: the operand's for 'natural'; for 'optimized' the transformed axes vary
        fastest; for 'C' the last axis does, whatever the operand's order. Ignored for `inplace`.
    norm : {'backward', 'ortho', 'forward'}, optional
        Which transforms are scaled by 1/n, n being the number of elements transformed: the inverse ones, none of them
        but both by its square root, or the forward ones, as in `numpy.fft`. Default: none. An epilog gets what is
        scaled already. On CUDA devices with callbacks only.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        When executions return in which a CUDA device takes part: with True, once the work is done; with 'auto', for an
        operand on the device, once it is launched. Executions on the CPU return when they are done.
    allocator : BaseCUDAMemoryManager or BaseCUDAMemoryManagerAsync, optional
        Where temporary device memory comes from. Default: the memory pool of the operand's package.
    provider : str, optional
        The library to use, such as 'mkl', 'fftw', 'pocketfft' or 'cufft'. Default: the best that can solve the problem.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    """

    fft_type: Literal["C2C", "C2R", "R2C"] | None = None
    inplace: bool = False
    last_axis_parity: Literal["even", "odd"] = "even"
    result_layout: Literal["natural", "optimized", "C"] = "optimized"
    norm: Literal["backward", "ortho", "forward"] | None = None
    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    allocator: Any = None
    provider: str | None = None
    tuning: bool = True

    def __post_init__(self) -> None:
        for name, choices in (
            ("fft_type", (None, "C2C", "R2C", "C2R")),
            ("inplace", (False, True)),
            ("last_axis_parity", ("even", "odd")),
            ("result_layout", ("optimized", "natural", "C")),
            ("norm", (None, *TURNED)),
        ):
            check_choice("FFTOptions", name, getattr(self, name), choices)
        check_common(self)
