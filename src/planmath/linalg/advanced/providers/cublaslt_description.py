"""What cuBLASLt is told about a product before it computes: descriptions, layouts and preferences, as owned objects."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import numpy as np

from planmath import bindings
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.advanced.problem import Choices, MatmulProblem
from planmath.linalg.advanced.providers.arrangement import CUDA_TYPE, Arrangement, Transfer
from planmath.linalg.product.matrix import ALIGNED
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
    return bindings.cublasLt.create()


def handle_of(problem: MatmulProblem) -> int:
    """The user's own handle, or that of the device, which is the current one; it is made once in a process."""
    assert problem.cuda is not None
    return problem.cuda.handle or _shared_handle(problem.execution[1])


def _set(what: str, address: int, attribute: str, value: Any) -> None:
    """Set an attribute of a thing that the library calls `what`, through memory of the type that the value has."""
    library = bindings.cublasLt
    kind = "".join(word.title() for word in what.split("_"))
    number = getattr(library, f"{kind}Attribute")[attribute]
    memory = np.array([value], getattr(library, f"get_{what}_attribute_dtype")(number))
    getattr(library, f"{what}_set_attribute")(address, number, memory.ctypes.data, memory.nbytes)


def _not_aligned(status: int, name: str) -> ValueError:
    if "SCALE" in name:
        return ValueError(
            f"scales of blocks ({name}) are not at a multiple of {ALIGNED} bytes in memory, where kernels look for "
            "them: pass a copy of them in quantization_scales, or the arrays that empty_result() makes in out"
        )
    return ValueError(
        f"an auxiliary array is not at a multiple of {ALIGNED} bytes in memory, where kernels look for it: pass a copy "
        "of it in epilog_inputs, or the array that empty_result() makes in out"
    )


class Layout:
    """A matrix, or so many of a batch, by columns."""

    def __init__(self, dtype: str, rows: int, cols: int, leading: int, count: int, step: int):
        self.address = 0
        self.address = bindings.cublasLt.matrix_layout_create(CUDA_TYPE[dtype], rows, cols, leading)
        if count > 1:
            _set("matrix_layout", self.address, "BATCH_COUNT", count)
            _set("matrix_layout", self.address, "STRIDED_BATCH_OFFSET", step)

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            bindings.cublasLt.matrix_layout_destroy(self.address)


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
        self.address = bindings.cublasLt.matmul_desc_create(self.choices.compute_type, CUDA_TYPE[self.choices.scale])
        for name, value in arrangement.attributes.items():
            self._set(name, value)
        for name in arrangement.pointers:
            self._set(name, ANYWHERE)
        self.layouts = self._made_layouts()

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            bindings.cublasLt.matmul_desc_destroy(self.address)

    def _set(self, name: str, value: int) -> None:
        _set("matmul_desc", self.address, name, value)

    def _made_layouts(self) -> list[Layout]:
        walk = self.arrangement.walk
        return [
            Layout(factor.dtype, factor.rows, factor.cols, factor.leading, walk.matrices, step)
            for factor, step in zip(self.arrangement.factors, walk.steps, strict=False)
        ]

    @staticmethod
    def when_unaligned(slot: Slot, call: Call) -> Call:
        """The call, made only where an operand's address is not aligned; else nothing that anybody would see."""
        memory = ctypes.c_void_p()
        return Call(
            STORE, [ctypes.addressof(memory), slot], name=call.name, error=call.error, keep=memory, unaligned=call,
            alignment=ALIGNED,
        )  # fmt: skip

    @staticmethod
    def instead(call: Call, unless_zero: tuple[Slot, str]) -> Call:
        """The call, made only where a number is 0; else nothing that anybody would see."""
        memory = ctypes.c_void_p()
        return Call(
            STORE, [ctypes.addressof(memory), unless_zero[0]], name=call.name, error=call.error, keep=memory,
            unless_zero=unless_zero, if_zero=call,
        )  # fmt: skip

    def refusal(self) -> Call:
        """A call that fails."""
        function = "cublasLtMatmulDescSetAttribute"
        no_attribute = -1
        address = bindings.cublasLt.LIBRARY.address(function)
        return Call(address, [self.address, no_attribute, 0, 0], name=function, returns_status=True, keep=self)

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
        where, attribute = ctypes.addressof(memory), bindings.cublasLt.MatmulDescAttribute[name]
        if isinstance(unaligned, Slot):
            unaligned = Call(STORE, [where, unaligned], name="store", keep=memory)
        function = "cublasLtMatmulDescSetAttribute"
        return [
            Call(
                STORE, [where, slot], name=name, error=_not_aligned, keep=memory, unaligned=unaligned,
                alignment=1 if unaligned is None else ALIGNED,
            ),
            Call(
                bindings.cublasLt.LIBRARY.address(function), [self.address, attribute, where, ctypes.sizeof(memory)],
                name=function, returns_status=True, error=bindings.cublasLt.cuBLASLtError, keep=(self, memory),
            ),
        ]  # fmt: skip

    def heuristics(self, count: int, workspace: int, *, aligned: bool) -> np.ndarray:
        """At most `count` algorithms for matrices that are aligned, or anywhere; the one expected to be best first."""
        choices = self.choices
        values: dict[str, Any] = {
            "MAX_WORKSPACE_BYTES": min(choices.memory, workspace), "REDUCTION_SCHEME_MASK": choices.reductions,
            "MAX_WAVES_COUNT": choices.waves, "IMPL_MASK": choices.implementations,
        }  # fmt: skip
        for letter, alignment in zip("ABCD", self.arrangement.alignments(aligned=aligned), strict=True):
            values[f"MIN_ALIGNMENT_{letter}_BYTES"] = alignment
        preference = bindings.cublasLt.matmul_preference_create()
        found = np.zeros(count, bindings.cublasLt.matmul_heuristic_result_dtype)
        try:
            for attribute, value in values.items():
                _set("matmul_preference", preference, attribute, value)
            n = bindings.cublasLt.matmul_algo_get_heuristic(
                self.handle, self.address, *(layout.address for layout in self.layouts), preference, count,
                found.ctypes.data,
            )  # fmt: skip
        except bindings.cublasLt.cuBLASLtError as error:
            if error.status != bindings.cublasLt.Status.NOT_SUPPORTED:
                raise
            n = 0
        finally:
            bindings.cublasLt.matmul_preference_destroy(preference)
        return found[:n][found["state"][:n] == 0]

    def check(self, algorithm: np.ndarray) -> Any:
        """What the library says about an algorithm: the temporary memory that it needs.

        Raises
        ------
        cuBLASLtError
            If it cannot compute this product.
        """
        result = np.zeros(1, bindings.cublasLt.matmul_heuristic_result_dtype)
        bindings.cublasLt.matmul_algo_check(
            self.handle, self.address, *(layout.address for layout in self.layouts), algorithm.ctypes.data,
            result.ctypes.data,
        )  # fmt: skip
        bindings.cublasLt.check_status(int(result["state"][0]))
        result["algo"] = algorithm
        return result[0]

    def algorithm_ids(self, limit: int) -> tuple[int, ...]:
        """The library's numbers of at most `limit` algorithms for these dtypes."""
        ids = np.zeros(limit, np.int32)
        n = bindings.cublasLt.matmul_algo_get_ids(
            self.handle, self.choices.compute_type, CUDA_TYPE[self.choices.scale],
            *(CUDA_TYPE[factor.dtype] for factor in self.arrangement.factors), limit, ids.ctypes.data,
        )  # fmt: skip
        return tuple(ids[:n].tolist())


class DescriptionOfZeros(Description):
    """The same product with other factors, which are zeros: it has the addresses that the product has.

    Parameters
    ----------
    product : Description
    zeros : Slot
        Temporary memory of `Arrangement.zeros_size` bytes.
    """

    def __init__(self, product: Description, zeros: Slot):
        self.choices, self.handle, self.address = product.choices, product.handle, product.address
        self.arrangement = product.arrangement.of_zeros(zeros)
        self.layouts = self._made_layouts()
        self._product = product

    def __del__(self) -> None:
        """It owns no more than its layouts."""


class Transform:
    """A copy of matrices into another order.

    Parameters
    ----------
    problem : MatmulProblem
    dtype : str
        Of the elements.
    made : Transfer
        How they are copied.
    """

    def __init__(self, problem: MatmulProblem, dtype: str, made: Transfer):
        self.address = 0
        dtype, scale = COPIED_AS[dtype]
        self.handle = handle_of(problem)
        self._scalars = np.array([1, 0], scale)
        self.one, self.zero = (int(scalar.ctypes.data) for scalar in (self._scalars, self._scalars[1:]))
        self.address = bindings.cublasLt.matrix_transform_desc_create(CUDA_TYPE[scale])
        _set("matrix_transform_desc", self.address, "TRANSA", made.operation)
        self.layouts = [
            Layout(dtype, form.rows, form.cols, form.leading, made.walk.matrices, step)
            for form, step in zip(made.forms, made.walk.steps, strict=True)
        ]

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            bindings.cublasLt.matrix_transform_desc_destroy(self.address)
