"""Kernels of products: what they are compiled for, and how they are launched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import runtime
from planmath.core.cuda import device_code
from planmath.core.cuda.device_code import ELEMENTS
from planmath.native.call import COPY, STORE, Call, Slot

#: Arrays in temporary memory begin at multiples of this many bytes.
ALIGNMENT = 256
#: What adds and what multiplies, as the kernels name it, and what changes nothing when it is added.
OPERATIONS = {
    "plus": "sum", "times": "product", "min": "least", "max": "greatest", "first": "first", "second": "second"
}  # fmt: skip
NEUTRAL = {
    "plus": "number(NUMBER(),0)", "min": "(NUMBER)of_bits(0x7f800000u)", "max": "(NUMBER)of_bits(0xff800000u)"
}  # fmt: skip


class Kernel(NamedTuple):
    """A kernel, the extents of its grid, and the threads of a block."""

    kernel: int
    blocks: tuple[int, int]
    threads: int


def definitions(
    problem: Any, dtypes: tuple[str, str], conjugate: tuple[bool, bool], wide: bool, large: bool,
    semiring: str | None = None,
) -> tuple[str, ...]:  # fmt: skip
    """The macros of ``elements.cu``.

    Parameters
    ----------
    problem : object
        Of a product.
    dtypes : tuple of str
        Of the operands' values in the order in which they are multiplied.
    conjugate : tuple of bool
        Whether they are conjugated.
    wide : bool
        Whether index arrays have 64 bits.
    large : bool
        Whether places are counted in 64 bits.
    semiring : str, optional
        Default: the problem's.
    """
    name = semiring or problem.semiring
    add, multiply = name.split("_")
    return (
        f"ELEMENT_A={ELEMENTS[dtypes[0]]}", f"ELEMENT_B={ELEMENTS[dtypes[1]]}", f"ELEMENT_C={ELEMENTS[problem.dtype]}",
        f"NUMBER={ELEMENTS[problem.work]}", f"INDEX={'long long' if wide else 'int'}",
        f"AT={'long long' if large else 'int'}", f"LOOPS={max(1, len(problem.batch))}",
        f"PLAIN={int(not problem.batch)}",
        f"SCALED={int(name == 'plus_times')}", f"INPLACE={int(problem.inplace)}",
        f"JOINED={OPERATIONS[add]}", f"PAIRED={OPERATIONS[multiply]}", f"NEUTRAL={NEUTRAL[add]}",
        f"CONJUGATED_A={'conjugate' if conjugate[0] else ''}", f"CONJUGATED_B={'conjugate' if conjugate[1] else ''}",
    )  # fmt: skip


def calls(
    launch: Kernel, problem: Any, places: Any, pointers: Mapping[str, Slot | None], values: Mapping[str, int],
    steps: Mapping[str, Sequence[int]],
) -> list[Call]:  # fmt: skip
    """The launch of a kernel, and what puts addresses and factors into its parameters before.

    Parameters
    ----------
    launch : Kernel
    problem, places : object
        Of a product.
    pointers : mapping of str to Slot or None
        The addresses in the kernel's parameters, in their order there; None is null. Then alpha and beta follow,
    values : mapping of str to int
        then integers,
    steps : mapping of str to sequence of int
        then the batch's extents, and for each array the elements between its matrices.
    """
    number, loops = np.dtype(problem.work), max(1, len(problem.batch))
    fields: list[Any] = [*((name, np.uintp) for name in pointers), ("alpha", number), ("beta", number)]
    fields += [(name, np.int64) for name in values]
    fields += [(name, np.int64, loops) for name in ("extents", *steps)]
    parameters = np.zeros(1, np.dtype(fields))
    for name, value in values.items():
        parameters[name] = value
    parameters["extents"] = 1
    for name, each in {"extents": problem.batch, **steps}.items():
        parameters[name].reshape(-1)[: len(each)] = each
    made = [device_code.store(parameters, name, slot) for name, slot in pointers.items() if slot is not None]
    offsets = parameters.dtype.fields
    assert offsets is not None
    for name, place in (("alpha", places.alpha), ("beta", places.beta)):
        where = parameters.ctypes.data + offsets[name][1]
        made.append(Call(COPY, [where, Slot(place), number.itemsize], name="copy", keep=parameters))
    kernel, blocks, threads = launch
    return [*made, device_code.launch(kernel, blocks, threads, parameters, Slot(places.workspace + 1))]


def nothing() -> Call:
    """A call that changes nothing of the operands."""
    where = np.zeros(1, np.int64)
    return Call(STORE, [where.ctypes.data, 0], name="store", keep=where)


class Uploading:
    """Arrays of the host in a plan's temporary memory.

    Parameters
    ----------
    arrays : mapping of str to array
    workspace : int
        The number of the temporary memory among a program's arrays.

    Attributes
    ----------
    slots : dict
        Where programs find each.
    size : int
        Bytes of temporary memory.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], workspace: int):
        self.arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        self.slots: dict[str, Slot] = {}
        self.size, self._stream = 0, Slot(workspace + 1)
        for name, array in self.arrays.items():
            self.slots[name] = Slot(workspace, self.size)
            self.size += max(1, -(-array.nbytes // ALIGNMENT)) * ALIGNMENT

    def calls(self) -> list[Call]:
        """What a prologue calls."""
        address = runtime.LIBRARY.address("cudaMemcpyAsync")
        kind = runtime.MemcpyKind.HOST_TO_DEVICE
        return [
            Call(
                address, [self.slots[name], array.ctypes.data, array.nbytes, kind, self._stream],
                name="cudaMemcpyAsync", returns_status=True, error=runtime.CUDARuntimeError, keep=array,
            )
            for name, array in self.arrays.items()
            if array.nbytes
        ]  # fmt: skip
