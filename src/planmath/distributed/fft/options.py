"""Options of distributed Fourier transforms."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from planmath.core.options import check_choice, check_common


@dataclass(slots=True)
class FFTOptions:
    """Options of `FFT` and of the functions `fft`, `ifft`, `rfft`, `irfft`.

    Parameters
    ----------
    fft_type : {'C2C', 'R2C', 'C2R'}, optional
        Default: C2C for complex operands, R2C for real ones.
    redistribute : bool
        Of slabs, whether the result has the operand's distribution. Otherwise it has the other one, Slab.Y for Slab.X
        and Slab.X for Slab.Y, which takes one exchange less. Without effect where boxes say what the result has.
    last_axis_parity : {'even', 'odd'}
        For C2R, whether the last transformed axis of the result has ``2 * (m - 1)`` or ``2 * (m - 1) + 1`` elements,
        with ``m`` those of the operand.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        When executions on a device return. On the CPU they return when they are done.
    provider : str, optional
        How messages are sent: 'mapped' (memory that the ranks of one host share), 'ipc' (the same of CUDA devices),
        'nccl', 'mpi', 'torch', or 'broadcast' (by the collectives of any group; from devices these three go by way of
        the host). Default: the first of them that all ranks have.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    check : bool
        Whether to make sure before each execution and reset that all ranks are in the same call. The environment
        variable PLANMATH_DISTRIBUTED_CHECK=1 says so for all objects.
    """

    fft_type: Literal["C2C", "C2R", "R2C"] | None = None
    redistribute: bool = True
    last_axis_parity: Literal["even", "odd"] = "even"
    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    provider: str | None = None
    tuning: bool = True
    check: bool = False

    def __post_init__(self) -> None:
        for name, choices in (
            ("fft_type", (None, "C2C", "R2C", "C2R")), ("redistribute", (True, False)),
            ("last_axis_parity", ("even", "odd")), ("check", (False, True)),
        ):  # fmt: skip
            check_choice("FFTOptions", name, getattr(self, name), choices)
        check_common(self)
