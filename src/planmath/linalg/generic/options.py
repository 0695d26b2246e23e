"""Options of generic products."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from planmath.core.options import check_choice, check_common


class MatmulOptionsDict(TypedDict, total=False):
    """The fields of `MatmulOptions`, as a dictionary may have them."""

    allocator: Any
    blocking: Literal["auto", True]
    logger: logging.Logger | None
    inplace: bool
    provider: str | None
    tuning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulOptions:
    """Options of `Matmul` and `matmul`.

    Parameters
    ----------
    allocator : BaseCUDAMemoryManager or BaseCUDAMemoryManagerAsync, optional
        Where temporary device memory comes from. Default: the memory pool of the operands' package.
    blocking : {'auto', True}
        When executions return in which a CUDA device takes part: with True, once the work is done; with 'auto', for
        operands on the device, once it is launched. Executions on the CPU return when they are done.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    inplace : bool
        Whether the result replaces c.
    provider : str, optional
        The library to use, such as 'mkl' or 'blas'. Default: the best that can compute the product.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    """

    allocator: Any = None
    blocking: Literal["auto", True] = "auto"
    logger: logging.Logger | None = None
    inplace: bool = False
    provider: str | None = None
    tuning: bool = True

    def __post_init__(self) -> None:
        check_choice("MatmulOptions", "inplace", self.inplace, (False, True))
        check_common(self)
