"""Options of sparse products, and what they take beside operands."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from planmath.core.errors import nearest
from planmath.core.options import check_choice, check_common

#: One element for each of a, b and c: whether it is transposed, and whether it is conjugated.
matmul_matrix_qualifiers_dtype = np.dtype([("is_transpose", "<i4"), ("is_conjugate", "<i4")])

_LIMIT = re.compile(r"\s*(\d+(\.\d*)?)\s*(%|[kmgt]?i?b)?\s*", re.IGNORECASE)


class ComputeType(enum.IntEnum):
    """The arithmetic of a product, numbered as CUDA's data types."""

    CUDA_R_32F = 0
    CUDA_R_64F = 1
    CUDA_C_32F = 4
    CUDA_C_64F = 5


#: The dtypes that the compute types stand for.
WORK_OF = {
    ComputeType.CUDA_R_32F: "float32", ComputeType.CUDA_R_64F: "float64", ComputeType.CUDA_C_32F: "complex64",
    ComputeType.CUDA_C_64F: "complex128",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MatmulOptions:
    """Options of sparse `Matmul` and `matmul`.

    Parameters
    ----------
    codegen : bool
        Whether planmath's own loops, or kernels, compute the product, whichever library could.
    compute_type : ComputeType, optional
        Default: that of the operands, and single precision for half precision.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    memory_limit : int, float or str
        The most temporary memory on a device: bytes, a share, a percentage, or a size with its unit. Without effect on
        the CPU.
    blocking : {'auto', True}
        When executions return in which a CUDA device takes part; those on the CPU return when they are done.
    allocator : BaseCUDAMemoryManager or BaseCUDAMemoryManagerAsync, optional
        Where temporary device memory comes from. Default: the memory pool of the operands' package.
    constant : iterable of {'a'}
        What does not change its values in place between resets, so that libraries may keep copies in other forms.
    provider : str, optional
        Who computes: 'mkl', 'own' or 'scipy', on a device 'cusparse' or 'generated'. Default: the best that can.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    """

    codegen: bool = False
    compute_type: ComputeType | int | None = None
    logger: logging.Logger | None = None
    memory_limit: int | float | str = "80%"
    blocking: Literal["auto", True] = "auto"
    allocator: Any = None
    constant: Iterable[str] = ()
    provider: str | None = None
    tuning: bool = True

    def __post_init__(self) -> None:
        check_choice("MatmulOptions", "codegen", self.codegen, (False, True))
        if self.compute_type is not None and self.compute_type not in list(ComputeType):
            names = ", ".join(f"{t.name} ({t.value})" for t in ComputeType)
            raise ValueError(f"MatmulOptions.compute_type is {self.compute_type!r}; expected one of {names}")
        limit = self.memory_limit
        fits = _LIMIT.fullmatch(limit) if isinstance(limit, str) else not isinstance(limit, bool) and limit >= 0
        if not fits:
            raise ValueError(
                f"MatmulOptions.memory_limit is {limit!r}; expected bytes, a share, a percentage, or a size such as "
                "'2 GiB'"
            )
        constant = frozenset(self.constant)
        if not constant <= {"a"}:
            name = sorted(constant - {"a"})[0]
            raise ValueError(f"MatmulOptions.constant has {name!r}: {nearest(name, ['a'])}")
        object.__setattr__(self, "constant", constant)
        check_common(self)


def qualifiers_of(given: Any) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    """Whether a and b are transposed, and whether they are conjugated.

    Raises
    ------
    ValueError
        If they are given otherwise than by `matmul_matrix_qualifiers_dtype`.
    NotImplementedError
        If there are any for c.
    """
    if given is None:
        return (False, False), (False, False)
    array = np.asarray(given)
    if array.dtype != matmul_matrix_qualifiers_dtype or array.shape not in ((2,), (3,)):
        raise ValueError(
            f"qualifiers has the dtype {array.dtype} and the shape {array.shape}; expected an array of "
            "matmul_matrix_qualifiers_dtype with an element for each of a, b and c"
        )
    if len(array) == 3 and (array["is_transpose"][2] or array["is_conjugate"][2]):
        raise NotImplementedError("qualifiers says something of c, which is used as it is; leave it 0 for c")
    a, b = ((bool(q["is_transpose"]), bool(q["is_conjugate"])) for q in array[:2])
    return a, b


def qualifiers_for(transposed: tuple[bool, bool], conjugated: tuple[bool, bool]) -> np.ndarray:
    """The array of qualifiers that says this."""
    pairs = [*zip(transposed, conjugated, strict=True), (False, False)]
    return np.array(pairs, matmul_matrix_qualifiers_dtype)
