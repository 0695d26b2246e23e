"""Where the elements of matrices lie: layouts of tensors, and the shared memory that several things need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planmath.core.cuda.mathdx import descriptors
from planmath.device import inside
from planmath.device.function import DeviceFunction, positive
from planmath.device.value_types import host_dtype

if TYPE_CHECKING:
    from planmath.device.matmul import Matmul

KINDS = (
    "gmem_a", "gmem_b", "gmem_c", "smem_a", "smem_b", "smem_c", "suggested_smem_a", "suggested_smem_b",
    "suggested_smem_c", "rmem_c", "suggested_rmem_c",
)  # fmt: skip


class Layout(DeviceFunction):
    """Where the elements of a tensor lie. `Matmul` makes them.

    Attributes
    ----------
    size : int
        Elements; those of one thread for a layout in registers.
    cosize : int
        Elements of the memory that they lie in.
    alignment : int
        Bytes.
    """

    def __init__(self) -> None:
        raise RuntimeError("layouts are made by Matmul: get_layout_smem_a() and so on")

    @classmethod
    def _of(cls, mm: Matmul, kind: str, leading_dimension: Any = None) -> Layout:
        made = object.__new__(cls)
        made._mm, made._kind, made._which = mm, kind, "abc".index(kind[-1])
        made._leading = None
        if kind.startswith("gmem"):
            least = mm._leading(None)[made._which]
            made._leading = mm.leading_dimension[made._which] if leading_dimension is None else leading_dimension
            if not isinstance(made._leading, int):
                made._leading = positive("leading_dimension", made._leading)
            if made._leading < least:
                raise ValueError(f"leading_dimension is {least} at least, not {made._leading}")
        return made

    _mm: Matmul
    _kind: str
    _which: int
    _leading: int | None

    @property
    def key(self) -> tuple[Any, ...]:
        return ("Layout", self._kind, self._leading, self._mm.key)

    @property
    def _space(self) -> str:
        return self._kind.removeprefix("suggested_")[:4]

    @property
    def _suggested(self) -> bool:
        return self._kind.startswith("suggested")

    @property
    def _value_type(self) -> Any:
        return (self._mm.a_value_type, self._mm.b_value_type, self._mm.c_value_type)[self._which]

    @property
    def size(self) -> int:
        """Elements."""
        if self._space == "rmem":
            return self._told["LOGICAL_SIZE"]
        rows, columns = self._mm._dims[self._which]
        return rows * columns

    @property
    def cosize(self) -> int:
        """Elements of the memory that they lie in."""
        if self._space == "rmem":
            return -(-self._told["STORAGE_BYTES"] // host_dtype(self._value_type).itemsize)
        if not self._suggested:
            rows, columns = self._mm._dims[self._which]
            leading = self._leading or self._mm.leading_dimension[self._which]
            lines, length = (rows, columns) if self._mm._rows[self._which] else (columns, rows)
            return (lines - 1) * leading + length if self._space == "gmem" else self._mm._elements(self._which)
        return -(-self._told["STORAGE_BYTES"] // host_dtype(self._value_type).itemsize)

    @property
    def alignment(self) -> int:
        """Bytes to which the memory is aligned."""
        return self._told["ALIGNMENT_BYTES"] if self._suggested else self._mm.alignment[self._which]

    @property
    def _told(self) -> dict[str, int]:
        if inside.simulating():  # whose layouts are plain, so that results do not depend on which libraries there are
            from planmath.device.simulator import tensors

            return tensors.traits(self._mm, self._kind)
        descriptors.require()
        from planmath.device import tensor_code

        return tensor_code.traits(self._mm, self._kind)

    def __repr__(self) -> str:
        return f"<Layout: {self._kind} of {self._mm!r}>"


def misplaced(name: str, kind: str) -> str:
    """What is said of a tensor of some kind in the place of A or B."""
    return f"Matmul.execute takes a tensor in shared memory, in a layout of {name}, for {name}: not one of {kind}"


class SharedStorageCalc:
    """Adds up the shared memory of several arrays behind each other, each aligned.

    Examples
    --------
    >>> storage = SharedStorageCalc()
    >>> storage.add(16, 100)
    >>> storage.add(16, 4, 25)
    >>> storage.get()
    212
    """

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, *args: Any) -> None:
        """Add ``(alignment, bytes)`` or ``(alignment, itemsize, count or layout)``."""
        if len(args) not in (2, 3):
            raise ValueError("add takes (alignment, bytes) or (alignment, itemsize, count or layout)")
        alignment, size, *rest = args
        alignment, size = positive("alignment", alignment), positive("the size", size)
        count = 1
        if rest:
            count = rest[0].cosize if isinstance(rest[0], Layout) else positive("count", rest[0])
        self._bytes = -(-self._bytes // alignment) * alignment + size * count

    def get(self) -> int:
        """Bytes of all of them."""
        return self._bytes
