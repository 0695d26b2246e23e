"""Options, preferences and qualifiers of advanced matrix multiplication."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from planmath.core.datatypes import CudaDataType
from planmath.core.options import check_choice, check_common
from planmath.linalg.advanced.enums import MatmulComputeType, MatmulNumericalImplFlags, MatmulReductionScheme

#: Element type of the `qualifiers` array: one element for each of a, b and c.
matrix_qualifiers_dtype = np.dtype([("structure", "O"), ("is_conjugate", "<i4")])


class MatmulOptionsDict(TypedDict, total=False):
    """The fields of `MatmulOptions`, as a dictionary may have them."""

    inplace: bool
    compute_type: int | None
    scale_type: int | None
    result_type: int | None
    result_amax: bool
    block_scaling: bool
    sm_count_target: int | None
    fast_accumulation: bool | None
    device_id: int | None
    handle: int | None
    logger: logging.Logger | None
    memory_limit: int | str | None
    blocking: Literal["auto", True]
    allocator: Any
    provider: str | None
    tuning: bool
    constant: Sequence[str]


@dataclass(slots=True)
class MatmulOptions:
    """Options of `Matmul` and `matmul`.

    Parameters
    ----------
    inplace : bool
        Whether the result replaces c.
    compute_type : MatmulComputeType or int, optional
        How products are accumulated. Default: by `scale_type` where that is given, else by the operands' dtype, with at
        least single precision. For bfloat16, COMPUTE_32F_FAST_16BF allows the CPU's instructions for such products,
        which take subnormal numbers for 0; else a library that uses them converts to single precision, or is not used.
    scale_type : CudaDataType or int, optional
        dtype of alpha and beta. Default: by the compute type, which has only one but for int8 on the CPU.
    result_type : CudaDataType or int, optional
        dtype of the result. Default: that of c, else that of a (int32 for int8). FP8 operands have results of FP8,
        bfloat16, float16 and float32.
    result_amax : bool
        Whether to return the largest magnitude in an FP8 result, before scaling, as ``result_amax``.
    block_scaling : bool
        Whether operands are scaled by blocks (MXFP8 and NVFP4); on the CPU, and on devices of compute capability 10.0
        and later, on which it is unverified.
    sm_count_target : int
        How many multiprocessors to plan for; 0 stands for all. Without effect on the CPU.
    fast_accumulation : bool
        Less accurate FP8 accumulation; without effect on the CPU.
    device_id : int
        CUDA device for host operands; without effect on the CPU.
    handle : int, optional
        A cuBLASLt handle of the user's own. Default: planmath's, one for each device. Without effect on the CPU.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    memory_limit : int or str
        Most device memory to use, in bytes, with a unit, or in per cent; without effect on the CPU.
    blocking : {'auto', True}
        When executions on a CUDA device return. On the CPU they return when they are done.
    allocator : object, optional
        Draws temporary device memory. Not used on the CPU.
    provider : str, optional
        The library to use, such as 'mkl', 'blas' or 'torch'. Default: the best that can solve the problem.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    constant : sequence of {'a', 'b'}
        Operands whose values will not be changed in place, such as the weights of a layer: libraries may keep them in
        a form of their own between executions, and see new values after `Matmul.reset_operands` only.
    """

    inplace: bool = False
    compute_type: int | None = None
    scale_type: int | None = None
    result_type: int | None = None
    result_amax: bool = False
    block_scaling: bool = False
    sm_count_target: int | None = 0
    fast_accumulation: bool | None = False
    device_id: int | None = 0
    handle: int | None = None
    logger: logging.Logger | None = None
    memory_limit: int | str | None = "80%"
    blocking: Literal["auto", True] = "auto"
    allocator: Any = None
    provider: str | None = None
    tuning: bool = True
    constant: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_choice("MatmulOptions", "inplace", self.inplace, (False, True))
        if not isinstance(self.constant, list | tuple | set | frozenset) or not set(self.constant) <= {"a", "b"}:
            raise ValueError(f"MatmulOptions.constant is {self.constant!r}; expected a sequence of 'a' and 'b'")
        for name, numbers in (
            ("compute_type", MatmulComputeType), ("scale_type", CudaDataType), ("result_type", CudaDataType)
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value not in list(numbers):
                names = ", ".join(numbers.__members__)
                raise ValueError(f"MatmulOptions.{name} is {value!r}; expected a {numbers.__name__}: {names}")
        for name in ("sm_count_target", "device_id", "handle"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise ValueError(f"MatmulOptions.{name} is {value!r}; expected an integer from 0 on")
        for name in ("result_amax", "block_scaling"):
            check_choice("MatmulOptions", name, getattr(self, name), (False, True))
        check_choice("MatmulOptions", "fast_accumulation", self.fast_accumulation, (False, True, None))
        check_common(self)


class MatmulEpilogPreferencesDict(TypedDict, total=False):
    """The fields of `MatmulEpilogPreferences`, as a dictionary may have them."""

    aux_type: int | None
    aux_amax: bool


@dataclass(slots=True)
class MatmulEpilogPreferences:
    """Preferences for auxiliary results of epilogs.

    Parameters
    ----------
    aux_type : CudaDataType or int, optional
        dtype of ``gelu_aux`` for FP8 operands; an FP8 one needs the epilog input ``aux_quantization_scale``. Default:
        that of the result or, where that is FP8, of what can be added to it: c's or the bias's, else float16.
    aux_amax : bool
        Whether to return the largest magnitude in an FP8 auxiliary result, before scaling, as ``gelu_aux_amax``.
    """

    aux_type: int | None = None
    aux_amax: bool = False

    def __post_init__(self) -> None:
        if self.aux_type is not None and self.aux_type not in list(CudaDataType):
            names = ", ".join(CudaDataType.__members__)
            raise ValueError(f"MatmulEpilogPreferences.aux_type is {self.aux_type!r}; expected a CudaDataType: {names}")
        check_choice("MatmulEpilogPreferences", "aux_amax", self.aux_amax, (False, True))


class MatmulPlanPreferencesDict(TypedDict, total=False):
    """The fields of `MatmulPlanPreferences`, as a dictionary may have them."""

    reduction_scheme_mask: MatmulReductionScheme
    max_waves_count: float
    numerical_impl_mask: MatmulNumericalImplFlags
    limit: int
    epilog: MatmulEpilogPreferences | MatmulEpilogPreferencesDict | dict[str, Any] | None


@dataclass(slots=True)
class MatmulPlanPreferences:
    """Preferences for planning; what has no effect is said in the log, at INFO, and by `Matmul.report`.

    Parameters
    ----------
    reduction_scheme_mask : MatmulReductionScheme
        Schemes that may sum parts of a split product; without effect on the CPU.
    max_waves_count : float
        Leave out kernels that occupy the device for more rounds than this; 0 leaves out none. Without effect on the
        CPU.
    numerical_impl_mask : MatmulNumericalImplFlags
        Arithmetic that kernels may use; without effect on the CPU.
    limit : int
        How many algorithms `Matmul.plan` returns at most.
    epilog : MatmulEpilogPreferences or dict, optional
    """

    reduction_scheme_mask: MatmulReductionScheme = MatmulReductionScheme.MASK
    max_waves_count: float = 0.0
    numerical_impl_mask: MatmulNumericalImplFlags = MatmulNumericalImplFlags.ALL
    limit: int = 8
    epilog: MatmulEpilogPreferences | dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int) or self.limit < 1:
            raise ValueError(f"MatmulPlanPreferences.limit is {self.limit!r}; expected a positive integer")
        for name, every in (
            ("reduction_scheme_mask", MatmulReductionScheme.MASK),
            ("numerical_impl_mask", MatmulNumericalImplFlags.ALL),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= every:
                raise ValueError(f"MatmulPlanPreferences.{name} is {value!r}; expected a {type(every).__name__}")
        waves = self.max_waves_count
        if not isinstance(waves, int | float) or isinstance(waves, bool) or not 0 <= waves < float("inf"):
            raise ValueError(f"MatmulPlanPreferences.max_waves_count is {waves!r}; expected a number from 0 on")


def for_devices(preferences: MatmulPlanPreferences) -> dict[str, None]:
    """What is not the default, of the preferences that concern devices alone."""
    defaults = MatmulPlanPreferences()
    names = "reduction_scheme_mask", "max_waves_count", "numerical_impl_mask"
    given = {name: getattr(preferences, name) for name in names}
    return {
        f"preferences.{name}={getattr(value, 'name', None) or value}": None
        for name, value in given.items()
        if value != getattr(defaults, name)
    }


class MatmulQuantizationScalesDict(TypedDict, total=False):
    """The fields of `MatmulQuantizationScales`, as a dictionary may have them."""

    a: Any
    b: Any
    c: Any
    d: Any


@dataclass(slots=True)
class MatmulQuantizationScales:
    """Scales of narrow-precision (FP8, MXFP8, NVFP4) operands and of the result.

    What is multiplied is the operands times their scales; what the result holds is its values times d's. With
    ``MatmulOptions.block_scaling``, a's and b's are flat arrays of one scale a block, as `helpers.matmul` makes them,
    and d's is only for results of 4 bits: it multiplies them before their blocks get scales.

    Parameters
    ----------
    a, b, c, d : float or array, optional
        A number or, beside the operands, an array of one float32, of shape () or (1,). An array is read at each
        execution: what is written to it in place takes effect.
    """

    a: Any = None
    b: Any = None
    c: Any = None
    d: Any = None


if TYPE_CHECKING:
    from planmath.core.execution import Execution

    class MatmulArguments(TypedDict, total=False):
        """What `matmul` takes beside operands and epilog."""

        alpha: complex | None
        beta: complex | None
        qualifiers: np.ndarray | None
        quantization_scales: MatmulQuantizationScales | MatmulQuantizationScalesDict | dict[str, Any] | None
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None
        execution: Execution | str | dict[str, Any] | None
        preferences: MatmulPlanPreferences | MatmulPlanPreferencesDict | dict[str, Any] | None
        algorithm: Any
        stream: Any
        out: Any
