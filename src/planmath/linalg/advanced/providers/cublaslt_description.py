"""What cuBLASLt is told about a product before it computes: descriptions, layouts and preferences, as owned objects."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from planmath.bindings import cublasLt
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.advanced.problem import ALIGNED, Choices, MatmulProblem
from planmath.linalg.advanced.providers.arrangement import CUDA_TYPE, Arrangement, Copy, Walk
from planmath.native.call import STORE, Call, Slot

#: Stands for an address that is known when the product is computed; only its alignment matters before.
ANYWHERE = 1 << 30

#: How elements are copied: as which dtype, and scaled by a 1 of which. Those of 8 bits are copied as they are.
COPIED_AS = {
    "float16": ("float16", "float32"), "bfloat16": ("bfloat16", "float32"), "int32": ("int32", "int32"),
} | {dtype: (dtype, dtype) for dtype in ("float32", "float64", "complex64", "complex128")} | {
    dtype: ("int8", "int32") for dtype, size in ITEMSIZE.items() if size == 1
}  # fmt: skip


@cache
def _shared_handle(device_id: int) -> int:
    return cublasLt.create()


def handle_of(problem: MatmulProblem) -> int:
    """The user's own handle, or that of the device, which is the current one; it is made once in a process."""
    assert problem.cuda is not None
    return problem.cuda.handle or _shared_handle(problem.execution[1])


def _set(function: Callable[..., None], dtype: Callable[[int], Any], address: int, attribute: int, value: Any) -> None:
    """Set an attribute, through memory of the type that it has."""
    memory = np.array([value], dtype(attribute))
    function(address, attribute, memory.ctypes.data, memory.nbytes)


def _not_aligned(status: int, name: str) -> ValueError:
    return ValueError(
        f"an auxiliary array is not at a multiple of {ALIGNED} bytes in memory, where kernels look for it: pass a copy "
        "of it in epilog_inputs, or the array that empty_result() makes in out"
    )


class Layout:
    """A matrix, or so many of a batch, by columns."""

    def __init__(self, dtype: str, rows: int, cols: int, leading: int, count: int, step: int):
        self.address = 0
        self.address = cublasLt.matrix_layout_create(CUDA_TYPE[dtype], rows, cols, leading)
        if count > 1:
            which = cublasLt.MatrixLayoutAttribute
            for attribute, value in ((which.BATCH_COUNT, count), (which.STRIDED_BATCH_OFFSET, step)):
                _set(
                    cublasLt.matrix_layout_set_attribute, cublasLt.get_matrix_layout_attribute_dtype, self.address,
                    attribute, value,
                )  # fmt: skip

    def __del__(self) -> None:
        if self.address:
            cublasLt.matrix_layout_destroy(self.address)


class Description:
    """A product, with the layouts of its four matrices.

    Parameters
    ----------
    problem : MatmulProblem
    arrangement : Arrangement
        Of this problem.
    """

    def __init__(self, problem: MatmulProblem, arrangement: Arrangement):
        self.address = 0
        assert problem.cuda is not None
        self.choices: Choices = problem.cuda
        self.arrangement = arrangement
        self.handle = handle_of(problem)
        self.address = cublasLt.matmul_desc_create(self.choices.compute_type, CUDA_TYPE[self.choices.scale])
        for name, value in arrangement.attributes.items():
            self._set(name, value)
        for name in arrangement.pointers:
            self._set(name, ANYWHERE)
        walk = arrangement.walk
        self.layouts = [
            Layout(factor.dtype, factor.rows, factor.cols, factor.leading, walk.matrices, step)
            for factor, step in zip(arrangement.factors, walk.steps, strict=False)
        ]

    def __del__(self) -> None:
        if self.address:
            cublasLt.matmul_desc_destroy(self.address)

    def _set(self, name: str, value: int) -> None:
        _set(
            cublasLt.matmul_desc_set_attribute, cublasLt.get_matmul_desc_attribute_dtype, self.address,
            cublasLt.MatmulDescAttribute[name], value,
        )  # fmt: skip

    @staticmethod
    def when_unaligned(slot: Slot, call: Call) -> Call:
        """The call, made only where an operand's address is not aligned; else nothing that anybody would see."""
        memory = ctypes.c_void_p()
        return Call(
            STORE, [ctypes.addressof(memory), slot], name=call.name, error=call.error, keep=memory, unaligned=call,
            alignment=ALIGNED,
        )  # fmt: skip

    def refusal(self) -> Call:
        """A call that fails."""
        function = "cublasLtMatmulDescSetAttribute"
        no_attribute = -1
        return Call(
            cublasLt.LIBRARY.address(function), [self.address, no_attribute, 0, 0], name=function, returns_status=True,
            keep=self,
        )  # fmt: skip

    def set_pointer(self, name: str, slot: Slot, unaligned: Slot | Call | None = None) -> list[Call]:
        """Calls that leave an operand's address in the description.

        Parameters
        ----------
        name : str
            Of the attribute.
        slot : Slot
        unaligned : Slot or Call, optional
            What is done where that address is not aligned: another one is left, or a call is made in place of that.
        """
        memory = ctypes.c_void_p()
        where, attribute = ctypes.addressof(memory), cublasLt.MatmulDescAttribute[name]
        if isinstance(unaligned, Slot):
            unaligned = Call(STORE, [where, unaligned], name="store", keep=memory)
        function = "cublasLtMatmulDescSetAttribute"
        return [
            Call(
                STORE, [where, slot], name=name, error=_not_aligned, keep=memory, unaligned=unaligned,
                alignment=1 if unaligned is None else ALIGNED,
            ),
            Call(
                cublasLt.LIBRARY.address(function), [self.address, attribute, where, ctypes.sizeof(memory)],
                name=function, returns_status=True, error=cublasLt.cuBLASLtError, keep=(self, memory),
            ),
        ]  # fmt: skip

    def heuristics(self, count: int, workspace: int, *, aligned: bool) -> np.ndarray:
        """At most `count` algorithms for matrices that are aligned, or anywhere; the one expected to be best first."""
        choices, which = self.choices, cublasLt.MatmulPreferenceAttribute
        values: list[tuple[int, Any]] = [
            (which.MAX_WORKSPACE_BYTES, min(choices.memory, workspace)),
            (which.REDUCTION_SCHEME_MASK, choices.reductions),
            (which.MAX_WAVES_COUNT, choices.waves),
            (which.IMPL_MASK, choices.implementations),
        ]
        for letter, alignment in zip("ABCD", self.arrangement.alignments(aligned=aligned), strict=True):
            values.append((which[f"MIN_ALIGNMENT_{letter}_BYTES"], alignment))
        preference = cublasLt.matmul_preference_create()
        found = np.zeros(count, cublasLt.matmul_heuristic_result_dtype)
        try:
            for attribute, value in values:
                _set(
                    cublasLt.matmul_preference_set_attribute, cublasLt.get_matmul_preference_attribute_dtype,
                    preference, attribute, value,
                )  # fmt: skip
            n = cublasLt.matmul_algo_get_heuristic(
                self.handle, self.address, *(layout.address for layout in self.layouts), preference, count,
                found.ctypes.data,
            )  # fmt: skip
        except cublasLt.cuBLASLtError as error:
            if error.status != cublasLt.Status.NOT_SUPPORTED:
                raise
            n = 0
        finally:
            cublasLt.matmul_preference_destroy(preference)
        return found[:n][found["state"][:n] == 0]

    def check(self, algorithm: np.ndarray) -> Any:
        """What the library says about an algorithm: the temporary memory that it needs.

        Raises
        ------
        cuBLASLtError
            If it cannot compute this product.
        """
        result = np.zeros(1, cublasLt.matmul_heuristic_result_dtype)
        cublasLt.matmul_algo_check(
            self.handle, self.address, *(layout.address for layout in self.layouts), algorithm.ctypes.data,
            result.ctypes.data,
        )  # fmt: skip
        cublasLt.check_status(int(result["state"][0]))
        result["algo"] = algorithm
        return result[0]

    def algorithm_ids(self, limit: int) -> tuple[int, ...]:
        """The library's numbers of at most `limit` algorithms for these dtypes."""
        ids = np.zeros(limit, np.int32)
        n = cublasLt.matmul_algo_get_ids(
            self.handle, self.choices.compute_type, CUDA_TYPE[self.choices.scale],
            *(CUDA_TYPE[factor.dtype] for factor in self.arrangement.factors), limit, ids.ctypes.data,
        )  # fmt: skip
        return tuple(ids[:n].tolist())


class Transform:
    """A copy of matrices into another order.

    Parameters
    ----------
    problem : MatmulProblem
    copy : Copy
    walk : Walk
        Over the batches of source and target.
    """

    def __init__(self, problem: MatmulProblem, copy: Copy, walk: Walk):
        self.address = 0
        dtype, scale = COPIED_AS[copy.source.matrix.dtype]
        self.handle = handle_of(problem)
        self._scalars = np.array([1, 0], scale)
        self.one, self.zero = (int(scalar.ctypes.data) for scalar in (self._scalars, self._scalars[1:]))
        self.address = cublasLt.matrix_transform_desc_create(CUDA_TYPE[scale])
        _set(
            cublasLt.matrix_transform_desc_set_attribute, cublasLt.get_matrix_transform_desc_attribute_dtype,
            self.address, cublasLt.MatrixTransformDescAttribute.TRANSA, copy.operation,
        )  # fmt: skip
        self.layouts = [
            Layout(dtype, form.rows, form.cols, form.leading, walk.matrices, step)
            for form, step in zip(copy.forms, walk.steps, strict=True)
        ]

    def __del__(self) -> None:
        if self.address:
            cublasLt.matrix_transform_desc_destroy(self.address)
