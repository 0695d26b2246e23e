"""How many threads a library uses where nobody names a number, and why.

The first of these that says something: a limit that was set at run time, the library's own variable, OMP_NUM_THREADS,
the CPUs of this process; and never more than those. Libraries read the variables when they are loaded, and their own
number has them in it. PyTorch's limit, set with `torch.set_num_threads`, is one for all libraries.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from math import ceil
from pathlib import Path
from typing import NamedTuple

import planmath.native.thread_limit as thread_limit
from planmath.native.loaded import loaded_libraries

OPENMP = "OMP_NUM_THREADS"
#: PyTorch's number is MKL's, where that variable is set.
PYTORCH = "MKL_NUM_THREADS"
#: Beginnings of the names of OpenMP's runtimes: GNU's, Intel's and LLVM's. Wheels bring their own, under longer names.
RUNTIMES = ("libgomp", "libiomp", "libomp")
#: `at::get_num_threads`, which sees to it that a thread's OpenMP has the limit.
PYTORCH_LIBRARY, PYTORCH_NUMBER = "libtorch_cpu.", "_ZN2at15get_num_threadsEv"
#: Seconds for which the threads of GNU's OpenMP look for work after a call where nobody says otherwise: 300,000 times
#: (libgomp's manual, GOMP_SPINCOUNT), 5 to 10 ms on an AMD EPYC (Zen 4). And what counts where they are told to go on.
GNU_SPIN, LONG_SPIN = 10e-3, 0.2


class Threads(NamedTuple):
    """A number of threads, and where it comes from, in words."""

    number: int
    origin: str


def available_cpus() -> int:
    """The CPUs that this process may use: those of its affinity, at most as many as its control group has time of."""
    return min(_affinity(), _granted())


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _granted() -> int:
    return cpu_quota() or sys.maxsize


def cpu_quota(groups: str = "/proc/self/cgroup", mounted: str = "/sys/fs/cgroup") -> int | None:
    """The CPUs whose time the control groups of this process grant it, rounded up; None where they set no limit.

    Parameters
    ----------
    groups : str
        The file that lists the groups, each as number, controllers and path (cgroups(7)).
    mounted : str
        The folder of all groups. Inside a container, it is that of the container's own group.
    """
    try:
        lines = Path(groups).read_text().splitlines()
    except OSError:
        return None
    paths = [line.split(":", 2)[1:] for line in lines if line.count(":") >= 2]
    quotas = [quota for controllers, group in paths for quota in _quotas(Path(mounted), controllers, group)]
    return max(1, ceil(min(quotas))) if quotas else None


def _quotas(mounted: Path, controllers: str, group: str) -> Iterator[float]:
    """Of a group and those around it, the quotas over their periods."""
    if controllers and "cpu" not in controllers.split(","):
        return
    for root in [mounted / controllers, mounted / "cpu"] if controllers else [mounted]:
        folder = root / group.strip("/")
        for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(root))):
            try:
                if controllers:
                    quota, period = ((place / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
                else:
                    quota, period = (place / "cpu.max").read_text().split()
                if quota.strip() not in ("max", "-1"):
                    yield int(quota) / int(period)
            except (OSError, ValueError):  # there is none here
                continue


def library_threads(own: int, *variables: str) -> Threads:
    """Most threads of a library.

    Parameters
    ----------
    own : int
        The number that it would use by itself.
    *variables : str
        Its own environment variables, before OMP_NUM_THREADS.
    """
    cpus, limit = available_cpus(), _pytorch_limit()
    number = min(own, cpus, limit or cpus)
    if number == cpus:
        return Threads(number, "CPUs")
    if number == limit and limit < own:
        return Threads(number, "torch.set_num_threads")
    name = next((name for name in (*variables, OPENMP) if _variable(name)), "")
    return Threads(number, name if _variable(name) == own else "set in the library")


def openmp_threads() -> Threads:
    """Most threads of a library on OpenMP, and of what has no limit of its own: the least of the runtimes' numbers."""
    runtimes, _ = _loaded()
    numbers = [number() for number in runtimes] or [_variable(OPENMP) or available_cpus()]
    return library_threads(min(numbers))


def gnu_openmp_spin() -> float:
    """Seconds for which the threads of GNU's OpenMP look for work after a call, as its variables have it."""
    if looks := os.environ.get("GOMP_SPINCOUNT", "").strip():
        return LONG_SPIN if looks.strip("0") else 0.0
    policy = os.environ.get("OMP_WAIT_POLICY", "").strip().lower()
    return {"passive": 0.0, "active": LONG_SPIN}.get(policy, GNU_SPIN)


def _variable(name: str) -> int | None:
    """A number of threads in the environment; of a list for nested regions, the first."""
    first = os.environ.get(name, "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def _pytorch_limit() -> int | None:
    """PyTorch's number where it is less than what the environment says."""
    _, pytorch = _loaded()
    if pytorch is None or (number := pytorch()) in (_variable(PYTORCH), _variable(OPENMP)):
        return None
    return number


_found: tuple[list[Callable[[], int]], Callable[[], int] | None] = ([], None)


def _look() -> None:
    """Find OpenMP's runtimes and PyTorch among the loaded libraries."""
    global _found
    paths = {os.path.basename(path): path for path in map(os.fsdecode, loaded_libraries())}
    torch = next((path for name, path in paths.items() if name.startswith(PYTORCH_LIBRARY)), None)
    pytorch = None if torch is None else _getter(torch, PYTORCH_NUMBER)
    beside = torch and os.path.dirname(torch)  # PyTorch's runtime has PyTorch's number
    found = [
        _getter(path, "omp_get_max_threads")
        for name, path in paths.items()
        if name.startswith(RUNTIMES) and not (pytorch and os.path.dirname(path) == beside)
    ]
    runtimes = [number for number in found if number]
    _found = runtimes, pytorch
    expected = _variable(OPENMP) or _affinity()
    for number in runtimes:
        thread_limit.watch(ctypes.cast(number, ctypes.c_void_p).value, expected)  # type: ignore[arg-type]
    if pytorch:
        thread_limit.watch(ctypes.cast(pytorch, ctypes.c_void_p).value, _variable(PYTORCH) or expected)  # type: ignore[arg-type]


def _getter(path: str, name: str) -> Callable[[], int] | None:
    """A function of a library that is loaded."""
    try:
        return getattr(ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD), name)
    except (OSError, AttributeError):
        return None


def _loaded() -> tuple[list[Callable[[], int]], Callable[[], int] | None]:
    thread_limit.stamp()  # which looks where something was loaded
    return _found


thread_limit.begin(_look, sys.modules)
