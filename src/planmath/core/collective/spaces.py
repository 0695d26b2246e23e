"""Memory of the host in exchanges, and copies there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planmath.core.collective.exchange import Copying
from planmath.core.collective.exchange_kernels import SectionCopy
from planmath.core.collective.sections import Run


def section_copy(
    axes: Sequence[Sequence[Run]], source_strides: Sequence[int], target_strides: Sequence[int], itemsize: int
) -> SectionCopy:
    """A copy between two strided arrays, with as few and as long loops as possible.

    The loops go through the target in the order of its memory, and axes that follow one another in both arrays are one.
    Where the source's fastest axis is another than the target's, these two are the innermost, to be copied in tiles.
    """
    loops: list[tuple[list[Run], int, int]] = []
    for k in sorted(range(len(axes)), key=lambda k: -abs(target_strides[k])):
        runs, step, to = list(axes[k]), source_strides[k] * itemsize, target_strides[k] * itemsize
        if runs == [(0, 0, 1)]:
            continue
        if loops and len(runs) == 1 and runs[0][:2] == (0, 0):
            before, outer_step, outer_to = loops[-1]
            n = runs[0][2]
            if outer_step == n * step and outer_to == n * to:  # both arrays go on where this axis ends
                loops[-1] = [(s * n, t * n, c * n) for s, t, c in before], step, to
                continue
        loops.append((runs, step, to))
    if len(loops) > 2:
        fastest = min(range(len(loops)), key=lambda k: abs(loops[k][1]))
        if fastest < len(loops) - 2:
            loops.insert(-1, loops.pop(fastest))
    return SectionCopy(loops, itemsize)


class HostMemory:
    """Memory for what a rank receives, or for messages, where a library finds it as it is."""

    def __init__(self, size: int):
        self.host = np.empty(size, np.uint8)
        self.address = self.host.ctypes.data

    def collect(self) -> None:
        """Nothing to do."""

    def spread(self) -> None:
        """Nothing to do."""


class HostSpace:
    """Arrays on the host."""

    name = "cpu"
    device_id: int | None = None

    def copy(self, copying: Copying) -> SectionCopy:
        return section_copy(*copying)

    def memory(self, size: int) -> HostMemory:
        return HostMemory(size)

    def mailbox(self, size: int) -> HostMemory:
        return HostMemory(size)

    def settle(self) -> None:
        """It is done."""


HOST = HostSpace()
