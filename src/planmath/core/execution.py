"""Where the work is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from planmath.core.errors import nearest
from planmath.native.threads import available_cpus


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCPU:
    """Execute on the CPU.

    Parameters
    ----------
    num_threads : int, optional
        Most threads that an execution may use, if this process may run on so many CPUs. Default: a limit set at run
        time, else what variables such as MKL_NUM_THREADS or OMP_NUM_THREADS say, else those CPUs. Small problems use
        fewer.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> planmath.fft.fft(np.array([1, 0, 0, 0j]), execution=planmath.fft.ExecutionCPU(num_threads=1))
    array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """

    num_threads: int | None = None

    def __post_init__(self) -> None:
        n = self.num_threads
        if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 1):
            raise ValueError(f"num_threads is {n!r}; expected a positive integer, or None for all available CPUs")

    @property
    def space(self) -> str:
        return "cpu"

    @property
    def threads(self) -> int:
        """Most threads that this stands for on this machine, before limits that libraries have."""
        cpus = available_cpus()
        return min(self.num_threads or cpus, cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCUDA:
    """Execute on a CUDA device.

    Parameters
    ----------
    device_id : int
        Number of the device. Operands that are on a device already determine it themselves.
    """

    device_id: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.device_id, int) or self.device_id < 0:
            raise ValueError(f"device_id is {self.device_id!r}; expected the number of a CUDA device")

    @property
    def space(self) -> str:
        return "cuda"


Execution = ExecutionCPU | ExecutionCUDA
SPACES: dict[str, type[ExecutionCPU] | type[ExecutionCUDA]] = {"cpu": ExecutionCPU, "cuda": ExecutionCUDA}


def resolve_execution(
    execution: Any, memory_space: str, device_id: int | None = None, spaces: Mapping[str, type] = SPACES
) -> Any:
    """The execution space that a user's argument stands for.

    Parameters
    ----------
    execution : object
        What the user passed: an object, a name in capitals or not, or a dictionary of an object's fields with its
        'name'. None follows the operands' memory space, as does a dictionary without a name.
    memory_space : {'cpu', 'cuda'}
        Where the operands are.
    device_id : int, optional
        The device that they are on, which is then the one that executes.
    spaces : mapping
        The execution spaces that the operation has, by name. Default: those of every operation.
    """
    chosen = _as_execution(execution, memory_space, spaces)
    if isinstance(chosen, ExecutionCUDA) and device_id is not None:
        return replace(chosen, device_id=device_id)
    return chosen


def _as_execution(execution: Any, memory_space: str, spaces: Mapping[str, type]) -> Any:
    if isinstance(execution, tuple(spaces.values())):
        return execution
    parameters: dict[str, Any] = {}
    if execution is None:
        name = memory_space
    elif isinstance(execution, str):
        name = execution
    elif isinstance(execution, dict):
        parameters = dict(execution)
        name = parameters.pop("name", memory_space)
    else:
        objects = " or ".join(space.__name__ for space in spaces.values())
        raise TypeError(
            f"execution is a {type(execution).__name__}; expected {', '.join(map(repr, spaces))}, a dict of "
            f"parameters, or an {objects} object"
        )
    space = spaces.get(name.lower()) if isinstance(name, str) else None
    if space is None:
        raise ValueError(f"execution {name!r} does not exist: {nearest(name, spaces)}")
    known = [field.name for field in fields(space)]
    for key in parameters:
        if key not in known:
            others = [other for other, kind in spaces.items() if key in {field.name for field in fields(kind)}]
            mend = f'{{"name": "{others[0]}", "{key}": ...}} has it' if others else nearest(key, known)
            raise TypeError(f"execution {name!r} has no parameter {key!r}: {mend}")
    return space(**parameters)
