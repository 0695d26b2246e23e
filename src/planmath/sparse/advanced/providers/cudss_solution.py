"""The ordinary solution on a device: of one system, with nothing to be copied, refined or ordered."""

from __future__ import annotations

from planmath.core.executor import Program
from planmath.core.streams import wait_call
from planmath.native.call import Slot
from planmath.sparse.advanced.device_kernels import DeviceSystems
from planmath.sparse.advanced.providers.cudss_objects import Task
from planmath.sparse.advanced.providers.device_operand import Operand


class DirectSolution:
    """A solution of one system, its residual, and the wait for both, as native calls that follow each other directly.

    Parameters
    ----------
    kernels : DeviceSystems
    task : Task
    values, x, b, residual : Operand
        Not copied. x, and b, may be elsewhere at each execution, but lie as they do now.
    """

    def __init__(
        self, kernels: DeviceSystems, task: Task, values: Operand, x: Operand, b: Operand, residual: Operand
    ):  # fmt: skip
        of_x, of_b, stream = Slot(0), Slot(1), Slot(2)
        places = values.places, x.places, b.places
        self._program = Program([
            *task.prepared_solution(values, x, b, of_x, of_b),
            *kernels.prepared_residual(*places, residual.places, of_x, of_b, stream), wait_call(stream),
        ])  # fmt: skip
        self._task, self._x, self._b, self._places = task, x, b, places

    def fits(self, task: Task, values: Operand, x: Operand, b: Operand) -> bool:
        """Whether these operands are where, or as, those were that it was made for."""
        of_values, of_x, of_b = self._places
        return (
            task is self._task and values.places is of_values and not x.copied and x.places.leading == of_x.leading
            and not b.copied and b.places.leading == of_b.leading
        )  # fmt: skip

    def __call__(self, x: int, stream: int) -> None:
        self._task.moved(self._x, self._b)
        self._program(x, self._b.addresses[0], stream)
