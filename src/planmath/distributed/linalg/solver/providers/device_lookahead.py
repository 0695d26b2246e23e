"""LU between devices that all have all rows: panels are factorized on a stream beside the one of the updates."""

from __future__ import annotations

from typing import Any

from planmath.bindings import runtime
from planmath.core.collective.device_space import SideStream
from planmath.core.cuda.device_arrays import pinned
from planmath.distributed.linalg.solver.providers.lookahead import Lookahead


class DeviceLookahead(Lookahead):
    """On devices every rank gets each panel and factorizes it; pivots need not be known on the host before the end."""

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

    @property
    def _main(self) -> int:
        return self.bench.space.stream  # type: ignore[attr-defined]

    def _send(self, a: Any, number: int) -> None:
        panel, told = self._arrays[number], self._told.address
        address = self.bench.package.address
        self._panels[number][1].run(address(a), address(panel))
        self._side.follow(self._main)
        info = told + 4 * (self.blocks.n + number)
        self.routines.factorize_beside(self._side.address, panel, told + 4 * self.bounds[number][0], info)

    def _received(self, a: Any, number: int) -> tuple[Any, int]:
        self._side.lead(self._main)
        return self._arrays[number], self._told.address + 4 * self.bounds[number][0]

    def _end(self, a: Any, number: int) -> None:
        start, stop = self.bounds[number]
        _, _, c0, c1 = self._local(start, stop)
        if c1 > c0:
            a[start:, c0:c1] = self._arrays[number]

    def _conclude(self) -> None:
        runtime.memcpy_async(
            self._words.ctypes.data, self._told.address, self._words.nbytes, runtime.MemcpyKind.DEVICE_TO_HOST,
            self._main,
        )  # fmt: skip
        runtime.stream_synchronize(self._main)
        for number, (start, _) in enumerate(self.bounds):
            self._follow(number, self._words[start:], int(self._words[self.blocks.n + number]))
