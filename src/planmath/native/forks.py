"""What a fork must not cut in two, and what a child begins anew.

A child has its parent's memory, and of its threads the one that forked: what another had begun stays as it was, and
what it had locked stays locked. So no fork happens while a library or a module is loaded, or a planner with global
state is at work; what is computed when it is first asked for is computed without a lock; and threads that wait for work
are sent away, since a child that believes to have them waits forever.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

import planmath.native.thread_limit as thread_limit
from planmath.native.loaded import loaded_libraries

T = TypeVar("T")

_locks: list[Any] = []


def undivided() -> Any:
    """A lock for work that no fork may cut in two: a fork waits for whoever has it.

    Its owner may take it again. Forks take these locks in the order in which they were made, and so must whoever takes
    several.
    """
    _locks.append(RLock())
    return _locks[-1]


#: For what is loaded once for the whole process.
LOADING = undivided()


def load_module(name: str) -> ModuleType:
    """A module that is imported when it is first needed.

    A child can never import a module that another thread was importing when it was forked.
    """
    with LOADING:
        return import_module(name)


class computed(Generic[T]):
    """An attribute that is computed when it is first asked for, and then stays.

    Unlike `functools.cached_property` of Python 3.11 it holds no lock meanwhile. Threads that ask at the same time may
    compute it twice; all of them get the same value.
    """

    def __init__(self, compute: Callable[[Any], T]):
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> computed[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._compute(instance))


class loaded(computed[T]):
    """An attribute for which something is loaded: computed once, while no fork can happen."""

    def __get__(self, instance: object | None, owner: type) -> Any:
        with LOADING:
            if instance is not None and self._name in instance.__dict__:  # another thread was faster
                return instance.__dict__[self._name]
            return super().__get__(instance, owner)


#: ``omp_pause_hard`` (OpenMP 5.0, section 3.2.44): threads and what they hold are given back.
PAUSE_HARD = 2


def _send_threads_away() -> None:
    """Let each of GNU's OpenMP runtimes give back the threads that wait for this one's next parallel region.

    There may be several: the system's, and those that wheels bring under names of their own. Parent and child start new
    threads when they need them. Intel's runtime sees to forks itself.
    """
    for path in loaded_libraries():
        if os.path.basename(path).startswith(b"libgomp"):
            runtime = ctypes.CDLL(os.fsdecode(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            if hasattr(runtime, "omp_pause_resource_all"):  # since GCC 9
                runtime.omp_pause_resource_all(PAUSE_HARD)


_held: list[Any] = []  # by the thread that forks: it has the first of the locks whenever this is not empty


def _before() -> None:
    for lock in tuple(_locks):
        lock.acquire()
        _held.append(lock)
    _send_threads_away()


def _release() -> None:
    while _held:
        _held.pop().release()


def _after_in_child() -> None:
    thread_limit.begin_anew()
    _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_release, after_in_child=_after_in_child)
