"""Tensors inside kernels: arrays with the layout of a product's operand, and a thread's part of the result."""

from __future__ import annotations

from typing import Any, NoReturn

from planmath.device.inside import KernelFunction
from planmath.device.layouts import Layout


class OpaqueTensor:
    """An array with a layout, in a kernel. `make_tensor` makes it.

    Attributes
    ----------
    buffer : array
    layout : Layout
    leading_dimension : int
        Of a tensor in global memory.
    """

    buffer: Any
    layout: Layout
    leading_dimension: int

    def __init__(self, buffer: Any = None, layout: Any = None, leading_dimension: Any = None):
        _only_in_kernels("OpaqueTensor")

    def __getitem__(self, index: int) -> Any:
        """An element of a fragment in registers."""
        _only_in_kernels("OpaqueTensor[i]")

    def __setitem__(self, index: int, value: Any) -> None:
        _only_in_kernels("OpaqueTensor[i]")


class Accumulator:
    """A thread's part of C, in a kernel. `Matmul.get_accumulator` and `Matmul.suggest_accumulator` make it, at zero."""

    def __init__(self) -> None:
        _only_in_kernels("Accumulator")

    def size(self) -> int:
        """Elements of the thread."""
        _only_in_kernels("Accumulator.size")

    def get_results(self, out: Any = None) -> Any:
        """The elements, as a fragment in registers: a new one, or `out`."""
        _only_in_kernels("Accumulator.get_results")

    def make_empty_fragment(self) -> Any:
        """A fragment in registers, with nothing in it."""
        _only_in_kernels("Accumulator.make_empty_fragment")

    def partition_like_C(self, gmem_c: Any) -> Any:
        """The thread's part of C in global memory, as a fragment."""
        _only_in_kernels("Accumulator.partition_like_C")

    def make_partition_and_copy(self, src: Any) -> Any:
        """A fragment with the thread's part of C in global memory."""
        _only_in_kernels("Accumulator.make_partition_and_copy")

    def partition_and_copy(self, src: Any, dst: Any) -> None:
        """Copy the thread's part of C between a fragment and global memory."""
        _only_in_kernels("Accumulator.partition_and_copy")

    def partition_and_store(self, tensor: Any) -> None:
        """Store the elements into C in global memory."""
        _only_in_kernels("Accumulator.partition_and_store")

    def map_fragment_index(self, fragment_index: int) -> tuple[int, int]:
        """Row and column of an element."""
        _only_in_kernels("Accumulator.map_fragment_index")

    def is_thread_active(self) -> bool:
        """Whether the thread has a part of C."""
        _only_in_kernels("Accumulator.is_thread_active")

    def is_predicated(self) -> bool:
        """Whether some elements of some threads are outside of C."""
        _only_in_kernels("Accumulator.is_predicated")

    def is_index_in_bounds(self, index: int) -> bool:
        """Whether an element is inside of C."""
        _only_in_kernels("Accumulator.is_index_in_bounds")

    def clear(self) -> None:
        """Set all elements to zero."""
        _only_in_kernels("Accumulator.clear")

    def axpby(self, alpha: Any, x: Any, beta: Any) -> None:
        """The elements ← alpha x + beta times themselves."""
        _only_in_kernels("Accumulator.axpby")

    def get_alignment(self) -> int:
        """Bytes to which the elements are aligned."""
        _only_in_kernels("Accumulator.get_alignment")


def _only_in_kernels(name: str) -> NoReturn:
    raise RuntimeError(f"{name} is for kernels: Matmul and make_tensor make it there")


def _function(name: str, parameters: str, doc: str) -> KernelFunction:
    made = KernelFunction(name, f"tensors.{name}", doc)
    made.__signature__ = _signature(parameters)  # type: ignore[attr-defined]
    return made


def _signature(parameters: str) -> Any:
    import inspect

    return inspect.signature(eval(f"lambda {parameters}: None"))


make_tensor = _function("make_tensor", "array, layout", "An array as a tensor with this layout, in a kernel.")
make_fragment_like = _function(
    "make_fragment_like", "tensor, dtype", "A fragment in registers with the layout of another, of other elements."
)
copy = _function(
    "copy",
    "src, dst, alignment=None",
    "Copy between global and shared memory, by all threads of the block. `copy_wait` has to follow.",
)
copy_wait = _function("copy_wait", "", "Wait for all copies, and for all threads of the block.")
copy_fragment = _function(
    "copy_fragment", "src, dst, alignment=None", "Copy between registers and global memory, each thread its part."
)
clear = _function("clear", "arr", "Set a tensor to zero.")
axpby = _function("axpby", "alpha, x_tensor, beta, y_tensor", "y ← alpha x + beta y, of fragments in registers.")
