"""Arrays of generators: in device memory, or, in the simulator, Python objects."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from typing import Any, ClassVar

from planmath.device import inside
from planmath.device.function import positive
from planmath.device.targets import ComputeCapability, target

#: Bytes of a state on a device, as the code that is compiled asserts.
SIZES = {
    "XORWOW": 48, "MRG32k3a": 48, "Philox4_32_10": 64, "Sobol32": 140, "ScrambledSobol32": 140, "Sobol64": 536,
    "ScrambledSobol64": 536, "Test": 4,
}  # fmt: skip


class _States:
    """Generators for as many threads, not started yet.

    Parameters
    ----------
    size : int
        How many.

    Attributes
    ----------
    data
        Their address in device memory. In a kernel, ``states[i]`` is one of them; there are no slices.
    """

    kind: ClassVar[str]

    def __init__(self, size: int):
        self._size = positive("size", size)
        if inside.simulating():
            from planmath.device.random.generators import GENERATORS

            self._states = [GENERATORS[self.kind]() for _ in range(self._size)]
        else:
            from numba import cuda

            self._memory = cuda.device_array(self._size * SIZES[self.kind], "uint8")

    @property
    def data(self) -> int:
        """The address of the first one; 0 in the simulator."""
        return 0 if inside.simulating() else int(self._memory.__cuda_array_interface__["data"][0])

    def __getitem__(self, index: int) -> Any:
        thread = inside.thread(f"{type(self).__name__}[i]")
        if not 0 <= index < self._size:
            raise IndexError(f"{thread} reads states[{index}] of {self._size}: a device reads what lies there")
        return self._states[index]

    @property
    def _numba_type_(self) -> Any:
        from planmath.device import kernels

        return kernels.states_type(self.kind)


def _array(kind: str) -> type[_States]:
    doc = f"States of cuRAND's generator {kind}.\n{(_States.__doc__ or '').partition(chr(10))[2]}"
    return type(f"States{kind}", (_States,), {"kind": kind, "__doc__": doc, "__module__": __name__})


StatesXORWOW = _array("XORWOW")
StatesMRG32k3a = _array("MRG32k3a")
StatesPhilox4_32_10 = _array("Philox4_32_10")
StatesSobol32 = _array("Sobol32")
StatesSobol64 = _array("Sobol64")
StatesScrambledSobol32 = _array("ScrambledSobol32")
StatesScrambledSobol64 = _array("ScrambledSobol64")
StatesTest = _array("Test")


class Extension:
    """For ``cuda.jit(extensions=...)``: lets arrays of states be arguments of kernels."""

    def prepare_args(self, ty: Any, val: Any, stream: Any = 0, retr: Any = None) -> tuple[Any, Any]:
        if isinstance(val, _States) and not inside.simulating():
            from numba.cuda import types

            return types.uint64, val.data
        return ty, val


class Compile:
    """The generators' code, ready to be linked.

    Parameters
    ----------
    cc : ComputeCapability, optional
        The current device's by default.

    Attributes
    ----------
    files : list of str
        For ``cuda.jit(link=...)``. Kernels link what they use by themselves, so it may be left out.
    extension
        For ``cuda.jit(extensions=[...])``.
    """

    def __init__(self, cc: ComputeCapability | None = None):
        if cc is not None and not isinstance(cc, ComputeCapability):
            raise ValueError(f"cc is a ComputeCapability, not {cc!r}")
        self.extension = Extension()
        self.files: list[str] = []
        found = target(cc)
        if not inside.simulating():
            from planmath.device.random import device_code

            code = device_code.compile(found)
            folder = tempfile.mkdtemp(prefix="planmath-")
            weakref.finalize(self, shutil.rmtree, folder, True)
            self.files.append(os.path.join(folder, "random.ltoir"))
            with open(self.files[0], "wb") as stream:
                stream.write(code)
