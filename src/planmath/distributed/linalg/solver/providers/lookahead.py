"""LU between devices that all have all rows: the next panel is factorized while the rest of the matrix is updated."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.bindings import runtime
from planmath.core.collective.device_space import SideStream
from planmath.core.cuda.device_arrays import pinned
from planmath.distributed.linalg.solver.providers.factors import LU


class Lookahead(LU):
    """L and U, with partial pivoting, on devices in one row of the grid.

    Rows stay where they are, so pivots need not be known on the host before the end. A panel goes to every rank as
    soon as its own columns are up to date, and is factorized on a stream beside the one of the other columns' update.
    """

    buffers_panels = False
    routines: Any

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        space, n, widest = self.bench.space, self.blocks.n, max(stop - start for start, stop in self.bounds)
        size = n * widest * self.itemsize
        #: Of the panel that is applied, and of the next one.
        self._memory = [space.memory(size) for _ in range(2)]
        self._arrays = [
            self.bench.over(of, of.address, (n - start, stop - start), (1, n - start), self.dtype)
            for (start, stop), of in zip(self.bounds, self._memory * len(self.bounds), strict=False)
        ]
        #: The pivots of all panels, and what there is to say of each.
        self._told = space.memory(4 * (n + len(self.bounds)))
        self._words = pinned((n + len(self.bounds),), "int32")
        assert space.device_id is not None
        self._side = SideStream(space.device_id, urgent=True)
        self.routines.make_room([array.shape for array in self._arrays], self._memory[0].address)

    def factorize(self, a: Any) -> None:
        main, address, n = self.bench.space.stream, self.bench.package.address, self.blocks.n  # type: ignore[attr-defined]
        self.diagonal = []
        self._fetch(0, address(a))
        for number, (start, stop) in enumerate(self.bounds):
            panel, end = self._arrays[number], a.shape[1]
            self._side.lead(main)
            self.diagonal.append(self.bench.copied(panel[: stop - start]))
            _, _, c0, c1 = self._local(start, stop)
            ahead = c1
            if number + 1 < len(self.bounds):
                ahead = self._local(*self.bounds[number + 1])[3]
                self._update(a, start, panel, c1, ahead)
                self._fetch(number + 1, address(a))
            self._update(a, start, panel, ahead, end)
            if c0:
                self.routines.swap(a[start:, :c0], self._told.address + 4 * start, stop - start)
            if c1 > c0:
                a[start:, c0:c1] = panel
        runtime.memcpy_async(
            self._words.ctypes.data, self._told.address, self._words.nbytes, runtime.MemcpyKind.DEVICE_TO_HOST, main
        )
        runtime.stream_synchronize(main)
        self._conclude(self._words[:n], self._words[n:])

    def _fetch(self, number: int, source: int) -> None:
        """Bring a panel to this rank, and factorize it on the other stream."""
        panel, told = self._arrays[number], self._told.address
        self._panels[number][1].run(source, self.bench.package.address(panel))
        self._side.follow(self.bench.space.stream)  # type: ignore[attr-defined]
        info = told + 4 * (self.blocks.n + number)
        self.routines.factorize_beside(self._side.address, panel, told + 4 * self.bounds[number][0], info)

    def _update(self, a: Any, start: int, panel: Any, first: int, end: int) -> None:
        """Apply a panel to some columns."""
        if first == end:
            return
        width = panel.shape[1]
        self.routines.swap(a[start:, first:end], self._told.address + 4 * start, width)
        top = a[start : start + width, first:end]
        self.routines.trsm(panel[:width], top, lower=True, unit=True)
        self.routines.subtract_product(a[start + width :, first:end], panel[width:], top)

    def _conclude(self, pivots: np.ndarray, zeros: np.ndarray) -> None:
        """The permutation, or the exception."""
        self.permutation = np.arange(self.blocks.n)
        for (start, stop), zero in zip(self.bounds, zeros.tolist(), strict=True):
            if zero > 0:
                raise self.singular(start + zero)
            for k, pivot in enumerate(pivots[start:stop].tolist(), start):
                other = start + pivot - 1
                self.permutation[[k, other]] = self.permutation[[other, k]]
