"""An operand's arrays on a device, where a library and kernels take them: as they are, or copied."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from planmath.bindings import runtime
from planmath.core.cuda.device_arrays import overwrite, upload
from planmath.core.cuda.queue import Queue
from planmath.sparse.advanced.device_kernels import Places, Table
from planmath.sparse.advanced.kernels import address

#: Arrays in memory of its own begin at multiples of this many bytes, where they need not follow each other.
ALIGNMENT = 256
_TO_DEVICE, _TO_HOST = runtime.MemcpyKind.HOST_TO_DEVICE, runtime.MemcpyKind.DEVICE_TO_HOST


class Operand:
    """The arrays of one operand, one for each system, column by column on the device.

    Those that are there in that order are taken as they are. For others there is memory of the operand's own, which
    `bring` copies them into and `send` copies from.

    Parameters
    ----------
    shapes : sequence of (rows, columns)
    dtype : str
    queue : Queue
    copy : callable, optional
        Copies between two places on the device.
    on_host : bool
        Where the user's arrays are.
    packed : bool
        Whether the arrays have to follow each other without gaps.
    listed : bool
        Whether a table of their addresses is wanted.

    Attributes
    ----------
    places : Places
        Where the arrays are on the device, for kernels.
    addresses : list of int
    views : sequence of numpy.ndarray
        The user's arrays, as long as they are held.
    table : int
        The address, on the device, of an array of these addresses, if it is wanted.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int]], dtype: str, queue: Queue,
        copy: Callable[[Places, Places], None] | None = None, *, on_host: bool = False, packed: bool = False,
        listed: bool = False,
    ):  # fmt: skip
        self.shapes, self.dtype, self.queue, self.copy = list(shapes), np.dtype(dtype), queue, copy
        self.on_host, self.packed, self.listed = on_host, packed, listed
        self.sizes = [math.prod(shape) * self.dtype.itemsize for shape in self.shapes]
        step = 1 if packed else ALIGNMENT
        *self.offsets, self.size = itertools.accumulate((-(-size // step) * step for size in self.sizes), initial=0)
        self.copied = False
        self.addresses: list[int] = []
        self.places = self._users = Places(0)
        self.table = 0
        self.views: Sequence[np.ndarray] = ()
        self._own: tuple[Any, list[int]] | None = None
        self._staging: np.ndarray | None = None
        self._list_owner: Any = None
        self._tables: dict[str, Table] = {}

    def take(self, views: Sequence[np.ndarray]) -> None:
        """Find out where the user's arrays are, and whether they have to be copied."""
        if views is self.views:
            return
        self.views = views
        leading = None if self.on_host else self._leading(views)
        self.copied = leading is None
        if leading is not None:
            self._locate([address(view) for view in views], leading)
            return
        self._locate(self.own(), 0)
        if not self.on_host:
            item = self.dtype.itemsize
            strides = np.array([(*view.strides, 0)[:2] for view in views]) // item
            self._users = self._table("users").places([address(view) for view in views], strides[:, 1], strides[:, 0])

    def move(self, start: int) -> bool:
        """Be at another address, as before in all else; False where that is not all that there is to do."""
        if self.copied or self.on_host or len(self.addresses) != 1:
            return False
        if start != self.addresses[0]:
            self._locate([start], self.places.leading)
        return True

    def release(self) -> None:
        """Let go of the user's arrays."""
        self.views = ()

    def own(self) -> list[int]:
        """The addresses in memory of its own, which this allocates."""
        if self._own is None:
            owner, start = self.queue.allocate(self.size)
            self._own = owner, [start + offset for offset in self.offsets]
        return self._own[1]

    def use_own(self) -> Operand:
        """Be in memory of its own, for what no user sees."""
        self._locate(self.own(), 0)
        return self

    def _locate(self, addresses: list[int], leading: int) -> None:
        if addresses == self.addresses:
            return
        self.addresses = addresses
        if self.packed or len(addresses) == 1:
            self.places = Places(addresses[0], leading, 1, self.sizes[0])
        else:
            # new ones, also where the table is the same: whoever compares them sees that they are
            self.places = Places(*self._table("places").places(addresses, leading))
        if self.listed:
            self._list(np.array(addresses, np.uint64))

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = Table(len(self.shapes), self.queue)
        return self._tables[name]

    def _list(self, addresses: np.ndarray) -> None:
        if self.table:
            overwrite(self.table, addresses, self.queue)
        else:
            self._list_owner, (self.table,) = upload([addresses], self.queue)

    def _leading(self, views: Sequence[np.ndarray]) -> int | None:
        """Elements from a column to the next, 0 for as many as there are rows; None where a copy is needed."""
        item = self.dtype.itemsize
        if len(views) == 1:
            (view,), (rows, columns) = views, self.shapes[0]
            if rows > 1 and view.strides[0] != item:
                return None
            if columns == 1 or view.ndim == 1:
                return 0
            leading, rest = divmod(view.strides[1], item)
            return None if rest or leading < rows else leading
        if not all(view.flags.f_contiguous for view in views):
            return None
        if self.packed:
            first = address(views[0])
            if any(address(view) != first + i * self.sizes[0] for i, view in enumerate(views)):
                return None
        return 0

    # Copies.

    def bring(self) -> None:
        """Put the copies of the user's arrays, where there are any, on the stream."""
        if not self.copied:
            return
        if not self.on_host:
            self.copy(self._users, self.places)  # type: ignore[misc]
            return
        source, size = self._host_side()
        for staged, view in self._staged():
            np.copyto(staged, view)
        runtime.memcpy_async(self.addresses[0], source, size, _TO_DEVICE, self.queue.stream)

    def send(self) -> None:
        """Put the copies back into the user's arrays, where there are any, on the stream; then `land` is needed."""
        if not self.copied:
            return
        if not self.on_host:
            self.copy(self.places, self._users)  # type: ignore[misc]
            return
        target, size = self._host_side()
        runtime.memcpy_async(target, self.addresses[0], size, _TO_HOST, self.queue.stream)

    def land(self) -> None:
        """Finish `send`, once the stream has been waited for."""
        if self.copied and self.on_host:
            for staged, view in self._staged():
                np.copyto(view, staged)

    def _host_side(self) -> tuple[int, int]:
        """Where on the host to copy from or to, in one go: the only array itself, or the staging memory."""
        if len(self.views) == 1 and self.views[0].flags.f_contiguous:
            return address(self.views[0]), self.sizes[0]
        if self._staging is None:
            self._staging = np.empty(self.size, np.uint8)
        return address(self._staging), self.size

    def _staged(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each of the user's arrays that are copied by way of the staging memory, behind its place there."""
        if len(self.views) == 1 and self.views[0].flags.f_contiguous:
            return
        assert self._staging is not None
        for view, offset in zip(self.views, self.offsets, strict=True):
            yield np.ndarray(view.shape, self.dtype, self._staging, offset, order="F"), view
