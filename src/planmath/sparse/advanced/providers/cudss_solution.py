"""The ordinary solution on a device: of one system, with nothing to be copied, refined or ordered."""

from __future__ import annotations

from planmath.core.cuda.streams import wait_call
from planmath.core.executor import Program
from planmath.native.call import Slot
from planmath.sparse.advanced.device_kernels import DeviceSystems
from planmath.sparse.advanced.providers.cudss_objects import Task
from planmath.sparse.advanced.providers.device_operand import Operand

#: Where an executor of this program has the addresses of the values, of b and of x, and the stream.
OF_VALUES, OF_B, OF_X, STREAM = Slot(0), Slot(1), Slot(2), Slot(4)


def direct_solution(
    kernels: DeviceSystems, task: Task, values: Operand, x: Operand, b: Operand, residual: Operand
) -> Program:
    """A solution of one system, its residual, and the wait for both, as native calls that follow each other directly.

    Parameters
    ----------
    kernels : DeviceSystems
    task : Task
    values, x, b, residual : Operand
        Not copied. Those but the residual may be elsewhere at each execution, but lie as they do now; cuDSS's
        descriptions of x and b are for this alone.
    """
    places = values.places, x.places, b.places, residual.places
    return Program([
        *task.prepared_solution(values, x, b, OF_X, OF_B),
        *kernels.prepared_residual(*places, OF_VALUES, OF_X, OF_B, STREAM), wait_call(STREAM),
    ])  # fmt: skip
