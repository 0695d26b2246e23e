"""Refinement on a device, of all systems of a group at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from planmath.bindings import runtime
from planmath.core.accuracy import Decisions, Judge, Request, SolutionInfo
from planmath.core.arrays import ITEMSIZE, REAL_OF
from planmath.core.cuda.device_arrays import ALIGNMENT, overwrite, pinned
from planmath.core.cuda.queue import Queue
from planmath.core.executor import Program
from planmath.linalg.solver import device_kernels
from planmath.linalg.solver.providers.assembly import TRANS
from planmath.linalg.solver.providers.cusolver_group import Group
from planmath.linalg.solver.refinement import info_of_least_squares

#: What there is memory for: as many right-hand sides as the group has.
ARRAYS = ("x", "b", "r", "better")


class Refinement:
    """Solutions that may not be good enough, with copies that lie column by column.

    Parameters
    ----------
    group : Group
    trans : str
        What was solved with.
    source, target : tuple
        Where right-hand sides are, and solutions.
    """

    def __init__(self, group: Group, trans: str, source: tuple[int, ...], target: tuple[int, ...]):
        self.group, self.trans, self.queue, self.target = group, trans, group.queue, target
        self.each = group.rows * group.k * ITEMSIZE[group.dtype]
        size = -(-group.sides // ALIGNMENT) * ALIGNMENT
        self._owner, start = self.queue.allocate(len(ARRAYS) * size)
        self.at = {name: start + place * size for place, name in enumerate(ARRAYS)}
        columns = group.solutions * group.k
        self._sizes, self._forward = pinned((columns, 3)), pinned((columns,))
        transposed, conjugate = TRANS[trans]
        flags = int(group.refining["flags"][0])
        flags |= device_kernels.TRANSPOSE if transposed != group.transposed else 0
        flags |= device_kernels.CONJUGATE if conjugate != group.system.a.conjugate and group.dtype in REAL_OF else 0
        self._parameters = group.refining.copy()
        self._parameters["flags"] = flags
        self._run([
            group.kernels.move(group.moving(source, group.packed(self.at["b"]))),
            group.kernels.move(group.moving(target, group.packed(self.at["x"]))),
        ])  # fmt: skip

    def _run(self, calls: Sequence[Any]) -> None:
        Program([*self.group.handles.streams, *calls])(self.queue.stream)

    def _launch(self, name: str, blocks: bool, **fields: Any) -> None:
        parameters = self._parameters.copy()
        for field, value in fields.items():
            parameters[field] = value
        columns = self.group.solutions * self.group.k
        kernels = self.group.kernels
        if name == "residual":
            call = kernels.residual(parameters)
        elif blocks:
            call = kernels.launch_blocks(name, columns, parameters)
        else:
            call = kernels.launch(name, columns * self.group.rows, parameters)
        self._run([call])

    # What is known of b.

    def not_finite(self, positions: Iterable[int]) -> list[int]:
        """Of which solutions the right-hand sides are not finite."""
        self._norms("x")
        sizes = self._sizes.reshape(self.group.solutions, self.group.k, 3)
        return [position for position in positions if not (sizes[position, :, 2] < np.inf).all()]

    def side(self, position: int) -> np.ndarray:
        """A copy of the right-hand sides of one solution, on the host."""
        found = np.empty((self.group.system.b.rows, self.group.k), self.group.dtype, order="F")
        return fetched(found, self.at["b"] + position * self.each, self.queue)

    # What decisions ask for.

    def run(self, judges: dict[int, Judge]) -> dict[int, SolutionInfo]:
        """Refine the solutions with these positions as long as that helps."""
        self._judges = judges
        self._kept = set[int]()
        actions: dict[Request, Callable[[Sequence[int]], dict[int, Any]]] = {
            Request.RESIDUAL: lambda members: self._errors("x", members), Request.REFINE: self._refine,
            Request.KEEP: self._keep, Request.DISCARD: lambda members: {}, Request.FORWARD: self._forward_errors,
        }  # fmt: skip
        decisions: dict[int, Decisions] = {position: judge.decide(None) for position, judge in judges.items()}
        requests = {position: next(made) for position, made in decisions.items()}
        infos = {}
        while requests:
            request = min(requests.values())
            members = [position for position, asked in requests.items() if asked == request]
            answers = actions[request](members)
            for position in members:
                try:
                    requests[position] = decisions[position].send(answers.get(position))
                except StopIteration as end:
                    infos[position] = end.value
                    del requests[position]
        give_back(self.group, self.at["x"], self.group.rows, self._kept, self.target)
        return infos

    def solution(self, position: int) -> np.ndarray:
        """A copy of one solution, on the host."""
        found = np.empty((self.group.rows, self.group.k), self.group.dtype, order="F")
        return fetched(found, self.at["x"] + position * self.each, self.queue)

    def replace(self, solutions: dict[int, np.ndarray]) -> None:
        """Put other solutions in the place of some."""
        put(self.group, self.at["x"], self.group.rows, solutions, self.target)

    def _residual(self, x: str) -> None:
        self._launch("residual", False, x=self.at[x], b=self.at["b"], r=self.at["r"])

    def _norms(self, x: str) -> None:
        self._launch("norms", True, x=self.at[x], b=self.at["b"], r=self.at["r"], found=self._sizes.ctypes.data)
        runtime.stream_synchronize(self.queue.stream)

    @np.errstate(all="ignore")
    def _errors(self, x: str, members: Sequence[int]) -> dict[int, tuple[float, float]]:
        """The largest backward error and growth of the columns of each solution."""
        self._residual(x)
        self._norms(x)
        found = {}
        for position in members:
            r, y, b = self._sizes.reshape(self.group.solutions, self.group.k, 3)[position].T
            products = self._judges[position].norm * y
            scale = products + b
            error = np.where(scale == 0, 0, np.where(scale < np.inf, r / scale, np.nan)).max()
            found[position] = float(error), float(np.where(products == 0, 0, products / b).max())
        return found

    def _refine(self, members: Sequence[int]) -> dict[int, tuple[float, float]]:
        self._residual("x")  # what is there may be that of another step
        self._run(self.group.solving(self.trans, self.at["r"], self.at["better"]))
        self._launch("add", False, x=self.at["x"], r=self.at["better"])
        return self._errors("better", members)

    def _keep(self, members: Sequence[int]) -> dict[int, Any]:
        self._kept.update(members)
        for position in members:
            source, target = (self.at[name] + position * self.each for name in ("better", "x"))
            kind = runtime.MemcpyKind.DEVICE_TO_DEVICE
            runtime.memcpy_async(target, source, self.each, kind, self.queue.stream)
        return {}

    def _forward_errors(self, members: Sequence[int]) -> dict[int, float]:
        """The largest relative error of an unknown, estimated as LAPACK's gerfs does, by one solution."""
        self._residual("x")
        places = {name: self.at[name] for name in ("x", "b", "r")}
        self._launch("residual", False, **places, noisy=1)
        self._run(self.group.solving(self.trans, self.at["r"], self.at["better"]))
        self._launch("relative", True, x=self.at["x"], r=self.at["better"], found=self._forward.ctypes.data)
        runtime.stream_synchronize(self.queue.stream)
        forward = self._forward.reshape(self.group.solutions, self.group.k)
        return {position: float(forward[position].max()) for position in members}


def fetched(array: np.ndarray, source: int, queue: Queue) -> np.ndarray:
    """The array, once memory of the device was copied into it."""
    runtime.memcpy_async(array.ctypes.data, source, array.nbytes, runtime.MemcpyKind.DEVICE_TO_HOST, queue.stream)
    runtime.stream_synchronize(queue.stream)
    return array


def put(group: Group, place: int, rows: int, solutions: dict[int, np.ndarray], target: tuple[int, ...]) -> None:
    """Put solutions from the host where others are, which lie column by column, and to the user's."""
    each = rows * group.k * ITEMSIZE[group.dtype]
    for position, x in solutions.items():
        overwrite(place + position * each, np.ascontiguousarray(x.T), group.queue)
    give_back(group, place, rows, solutions, target)


def give_back(group: Group, place: int, rows: int, positions: Iterable[int], target: tuple[int, ...]) -> None:
    """Copy some solutions, which lie column by column, to where the user wants them."""
    chosen = np.zeros(group.solutions, np.int32)
    chosen[sorted(positions)] = 1
    if not chosen.any():
        return
    owner, table = group.queue.allocate(chosen.nbytes)
    overwrite(table, chosen, group.queue)
    back = group.moving(group.packed(place, rows), target, chosen=table, n=rows)
    Program([group.kernels.move(back)])(group.queue.stream)
    runtime.stream_synchronize(group.queue.stream)
    del owner


class LeastSquares:
    """Solutions in the sense of least squares, with copies that lie column by column: how good they are."""

    def __init__(self, group: Group, source: tuple[int, ...], target: tuple[int, ...]):
        self.group, system = group, group.system
        self._rows, self._cols = system.b.rows, system.x.rows
        size = -(-group.sides // ALIGNMENT) * ALIGNMENT
        self._owner, start = group.queue.allocate(4 * size)
        self._target = target
        self._b, self._x, self._r, self._across = (start + place * size for place in range(4))
        columns = group.solutions * group.k
        self._sizes, self._found = pinned((columns, 3)), pinned((columns, 3))
        flags = int(group.refining["flags"][0]) | (device_kernels.TRANSPOSE if group.transposed else 0)
        flags |= device_kernels.CONJUGATE if system.a.conjugate and group.dtype in REAL_OF else 0
        residual = group.refining.copy()
        for name, value in {
            "flags": flags, "rows": self._rows, "cols": self._cols, "b_rows": self._rows, "x": self._x, "b": self._b,
            "r": self._r, "found": self._sizes.ctypes.data,
        }.items():
            residual[name] = value
        adjoint = residual.copy()
        for name, value in {
            "flags": flags ^ device_kernels.TRANSPOSE ^ (device_kernels.CONJUGATE if group.dtype in REAL_OF else 0),
            "rows": self._cols, "cols": self._rows, "b_rows": self._rows, "x": self._r, "b": 0, "r": self._across,
        }.items():
            adjoint[name] = value
        measure = adjoint.copy()
        measure["b"], measure["found"] = self._b, self._found.ctypes.data
        kernels = group.kernels
        Program([
            *group.handles.streams,
            kernels.move(group.moving(source, group.packed(self._b, self._rows), n=self._rows)),
            kernels.move(group.moving(target, group.packed(self._x, self._cols), n=self._cols)),
            kernels.residual(residual),
            kernels.launch_blocks("norms", columns, residual),
            kernels.residual(adjoint),
            kernels.launch_blocks("norms", columns, measure),
        ])(group.queue.stream)  # fmt: skip
        runtime.stream_synchronize(group.queue.stream)

    def not_finite(self, positions: Iterable[int]) -> list[int]:
        """Of which solutions the right-hand sides are not finite."""
        sizes = self._sizes.reshape(self.group.solutions, self.group.k, 3)
        return [position for position in positions if not (sizes[position, :, 2] < np.inf).all()]

    def side(self, position: int) -> np.ndarray:
        """A copy of the right-hand sides of one solution, on the host."""
        found = np.empty((self._rows, self.group.k), self.group.dtype, order="F")
        return fetched(found, self._b + position * found.nbytes, self.group.queue)

    def solution(self, position: int) -> np.ndarray:
        """A copy of one solution, on the host."""
        found = np.empty((self._cols, self.group.k), self.group.dtype, order="F")
        return fetched(found, self._x + position * found.nbytes, self.group.queue)

    def replace(self, solutions: dict[int, np.ndarray]) -> None:
        """Put other solutions in the place of some."""
        put(self.group, self._x, self._cols, solutions, self._target)

    @np.errstate(all="ignore")
    def judged(self, judges: dict[int, Judge]) -> dict[int, SolutionInfo]:
        """How far residuals are from being orthogonal to the columns, beside the sizes of all."""
        shape = self.group.solutions, self.group.k, 3
        tolerance = self.group.tolerance if self.group.form.kind == "rr" else None
        exact = self._rows < self._cols and tolerance is None
        found = {}
        for position, judge in judges.items():
            residual, y, side = self._sizes.reshape(shape)[position].T
            across = residual if exact else self._found.reshape(shape)[position, :, 0] / (judge.norm or 1)
            # products so small that what they sum up to is lost tell nothing
            across = np.where((across == 0) & (residual > 0), np.nan, across)
            found[position] = info_of_least_squares(judge, judge.norm * y, across, side, tolerance)
        return found
