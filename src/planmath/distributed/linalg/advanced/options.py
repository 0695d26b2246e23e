"""Options, preferences and qualifiers of distributed products."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from planmath.core.datatypes import CudaDataType
from planmath.core.errors import UnavailableError
from planmath.core.options import check_choice, check_common
from planmath.distributed.linalg.advanced.enums import MatmulAlgoType, MatmulComputeType
from planmath.linalg.advanced.options import MatmulEpilogPreferences

#: Element type of the `qualifiers` array: one element for each of a, b and c.
matrix_qualifiers_dtype = np.dtype([("structure", "O"), ("is_transpose", "i1"), ("is_conjugate", "i1")])


class MatmulOptionsDict(TypedDict, total=False):
    """The fields of `MatmulOptions`, as a dictionary may have them."""

    inplace: bool
    compute_type: int | None
    scale_type: int | None
    result_type: int | None
    algo_type: int | None
    result_amax: bool
    block_scaling: bool
    sm_count_communication: int | None
    logger: logging.Logger | None
    blocking: Literal["auto", True]
    provider: str | None
    tuning: bool
    check: bool


@dataclass(slots=True)
class MatmulOptions:
    """Options of `Matmul` and `matmul`.

    Parameters
    ----------
    inplace : bool
        Whether the result replaces c, where there is one.
    compute_type : MatmulComputeType or int, optional
        How products are accumulated. Default: by the operands' dtype.
    scale_type : CudaDataType or int, optional
        dtype of alpha and beta. Default: by the compute type.
    result_type : CudaDataType or int, optional
        dtype of the result. Default: that of c, else that of a.
    algo_type : MatmulAlgoType or int, optional
        A hint, which planmath's own providers do without.
    result_amax, block_scaling : bool
        Not supported.
    sm_count_communication : int, optional
        How many multiprocessors exchanges may use. Without effect on the CPU.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        When executions on a device return. On the CPU they return when they are done.
    provider : str, optional
        How messages are sent: 'mapped' (memory that the ranks of one host share), 'ipc' (the same of CUDA devices),
        'nccl', 'mpi', 'torch', or 'broadcast' (by the collectives of any group; from devices these three go by way of
        the host). Default: the first of them that all ranks have. For ranks of MPI on the host also 'scalapack_mkl'
        (MKL's ScaLAPACK) and 'scalapack' (the one beside this program's MPI), which are taken where measured faster.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    check : bool
        Whether to make sure before each execution and reset that all ranks are in the same call. The environment
        variable PLANMATH_DISTRIBUTED_CHECK=1 says so for all objects.
    """

    inplace: bool = True
    compute_type: int | None = None
    scale_type: int | None = None
    result_type: int | None = None
    algo_type: int | None = None
    result_amax: bool = False
    block_scaling: bool = False
    sm_count_communication: int | None = None
    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    provider: str | None = None
    tuning: bool = True
    check: bool = False

    def __post_init__(self) -> None:
        for name in ("inplace", "result_amax", "block_scaling", "check"):
            check_choice("MatmulOptions", name, getattr(self, name), (False, True))
        for name, numbers in (
            ("compute_type", MatmulComputeType), ("scale_type", CudaDataType), ("result_type", CudaDataType),
            ("algo_type", MatmulAlgoType),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value not in list(numbers):
                names = ", ".join(numbers.__members__)
                raise ValueError(f"MatmulOptions.{name} is {value!r}; expected a {numbers.__name__}: {names}")
        count = self.sm_count_communication
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
            raise ValueError(f"MatmulOptions.sm_count_communication is {count!r}; expected an integer from 0 on")
        for name in ("result_amax", "block_scaling"):
            if getattr(self, name):
                raise UnavailableError(f"MatmulOptions.{name} is not supported across ranks: leave it away")
        check_common(self)


@dataclass(slots=True)
class MatmulPlanPreferences:
    """Preferences for planning.

    Parameters
    ----------
    epilog : MatmulEpilogPreferences or dict, optional
    """

    epilog: MatmulEpilogPreferences | dict[str, Any] | None = None
