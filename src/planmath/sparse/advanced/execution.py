"""Where the sparse direct solver works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from planmath.core import execution as core
from planmath.core.execution import ExecutionCPU
from planmath.core.options import as_options, check_choice


@dataclass(frozen=True, slots=True)
class HybridMemoryModeOptions:
    """Whether the factors may live in host memory as well, for systems that device memory cannot hold.

    Parameters
    ----------
    hybrid_memory_mode : bool
        Whether to use it.
    hybrid_device_memory_limit : int or str, optional
        Most device memory to use for the factors: in bytes, with a unit ('2 GiB') or in per cent ('80%'). Default: what
        the library decides.
    register_cuda_memory : bool
        Whether host memory is pinned, which makes copies faster.
    """

    hybrid_memory_mode: bool = False
    hybrid_device_memory_limit: int | str | None = None
    register_cuda_memory: bool = True

    def __post_init__(self) -> None:
        for name in ("hybrid_memory_mode", "register_cuda_memory"):
            check_choice("HybridMemoryModeOptions", name, getattr(self, name), (True, False))
        limit = self.hybrid_device_memory_limit
        if limit is not None and (not isinstance(limit, int | str) or isinstance(limit, bool)):
            raise ValueError(
                f"HybridMemoryModeOptions.hybrid_device_memory_limit is {limit!r}; expected bytes, such as 2**30, or a "
                "string, such as '2 GiB' or '80%'"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCUDA(core.ExecutionCUDA):
    """Factorize and solve on a CUDA device.

    Parameters
    ----------
    device_id : int
        Number of the device. Operands that are on a device already determine it themselves.
    hybrid_memory_mode_options : HybridMemoryModeOptions or dict
    """

    hybrid_memory_mode_options: HybridMemoryModeOptions | dict[str, Any] = field(
        default_factory=HybridMemoryModeOptions
    )

    def __post_init__(self) -> None:
        core.ExecutionCUDA.__post_init__(self)
        name = "hybrid_memory_mode_options"
        object.__setattr__(self, name, as_options(HybridMemoryModeOptions, getattr(self, name), name))


@dataclass(frozen=True, slots=True)
class ExecutionHybrid(core.ExecutionCUDA):
    """Factorize and solve on a CUDA device and the CPU together, as suits small systems.

    Parameters
    ----------
    device_id : int
        Number of the device. Operands that are on a device already determine it themselves.
    num_threads : int, optional
        Threads of the CPU's part. Default: what the library decides.
    """

    device_id: int = 0
    num_threads: int | None = None

    def __post_init__(self) -> None:
        core.ExecutionCUDA.__post_init__(self)
        ExecutionCPU(num_threads=self.num_threads)

    @property
    def space(self) -> str:
        return "hybrid"


Execution = ExecutionCPU | ExecutionCUDA | ExecutionHybrid
SPACES: dict[str, type] = {"cpu": ExecutionCPU, "cuda": ExecutionCUDA, "hybrid": ExecutionHybrid}
