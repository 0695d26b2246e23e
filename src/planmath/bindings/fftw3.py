"""The FFTW3 interface, which FFTW, MKL and NVPL FFT all have.

Names, types and flags are those of FFTW 3.3's ``fftw3.h`` (manual, chapters "FFTW Reference" and "Multi-threaded
FFTW"). The guru interface with 64-bit sizes is the only one used: it describes every strided transform.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from planmath.bindings import mkl
from planmath.native.forks import undivided
from planmath.native.library import Library, in_package

FORWARD, BACKWARD = -1, 1
NO_LIMIT = -1.0  # of seconds (FFTW_NO_TIMELIMIT)
MEASURE, DESTROY_INPUT, UNALIGNED, PRESERVE_INPUT, PATIENT, ESTIMATE = 0, 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 6

#: FFTW's kernels want addresses at multiples of 16 bytes (manual, "SIMD alignment and fftw_malloc").
ALIGNMENT = 16

#: The letter that a function's name carries for each precision.
PREFIX = {"float32": "fftwf", "float64": "fftw"}
#: The transforms by kind, as planner and execution functions call them.
SUFFIX = {"C2C": "dft", "R2C": "dft_r2c", "C2R": "dft_c2r"}


class Dimension(ctypes.Structure):
    """``fftw_iodim64``: an extent, and the strides of operand and result in their own elements."""

    _fields_ = (("n", ctypes.c_ssize_t), ("input_stride", ctypes.c_ssize_t), ("output_stride", ctypes.c_ssize_t))


class NativePlan:
    """A plan of the library, destroyed with this object."""

    __slots__ = ("_destroy", "address")

    def __init__(self, address: int, destroy: Callable[[int], Any]):
        self._destroy, self.address = destroy, address

    _is_finalizing = staticmethod(sys.is_finalizing)  # of the class, which is there when the module is not

    def __del__(self) -> None:
        if hasattr(self, "address") and not self._is_finalizing():  # else it was interrupted before it had a plan
            with _PLANNER:
                self._destroy(self.address)


class Lesson:
    """What a planner learned while it was `Interface.taught`."""

    def __init__(self) -> None:
        self.refused = False  # whether it did not take what was known
        self.lines: list[str] = []


#: The planners of these libraries keep global state.
_PLANNER = undivided()


@dataclass(frozen=True, eq=False)
class Interface:
    """One library's implementation of the FFTW3 interface.

    Parameters
    ----------
    libraries : dict
        For each real precision, the library of its functions, and the one of its threading functions.
    """

    name: str
    libraries: dict[str, tuple[Library, Library]]
    needs_alignment: bool

    def missing(self) -> str | None:
        return next(
            (reason for pair in self.libraries.values() for library in pair if (reason := library.missing)), None
        )

    @cache  # noqa: B019  (one object a library, alive as long as the process)
    def planner(self, precision: str, kind: str) -> Callable[..., Any]:
        library = self.libraries[precision][0]
        sizes: list[Any] = [ctypes.c_int, ctypes.c_void_p] * 2 + [ctypes.c_void_p] * 2
        tail = [ctypes.c_int, ctypes.c_uint] if kind == "C2C" else [ctypes.c_uint]
        return library.function(f"{PREFIX[precision]}_plan_guru64_{SUFFIX[kind]}", ctypes.c_void_p, sizes + tail)

    @cache  # noqa: B019
    def execute_address(self, precision: str, kind: str) -> int:
        return self.libraries[precision][0].address(f"{PREFIX[precision]}_execute_{SUFFIX[kind]}")

    @cache  # noqa: B019
    def _thread_setter(self, precision: str) -> Callable[..., Any]:
        library = self.libraries[precision][1]
        if not library.function(f"{PREFIX[precision]}_init_threads", ctypes.c_int, [])():
            raise OSError(f"{library.name}: threads could not be initialized")
        return library.function(f"{PREFIX[precision]}_plan_with_nthreads", None, [ctypes.c_int])

    @cache  # noqa: B019
    def _time_limiter(self, precision: str) -> Callable[..., Any]:
        return self.libraries[precision][0].function(f"{PREFIX[precision]}_set_timelimit", None, [ctypes.c_double])

    @cache  # noqa: B019
    def _destroyer(self, precision: str) -> Callable[..., Any]:
        return self.libraries[precision][0].function(f"{PREFIX[precision]}_destroy_plan", None, [ctypes.c_void_p])

    @cache  # noqa: B019
    def _wisdom(self, precision: str) -> tuple[Callable[..., Any], ...]:
        """What exports, imports and forgets the planner's wisdom, and what frees an exported text."""
        self._thread_setter(precision)  # wisdom is of one set of solvers, and some come with the threads
        library, prefix = self.libraries[precision][0], PREFIX[precision]
        return (
            library.function(f"{prefix}_export_wisdom_to_string", ctypes.c_void_p, []),
            library.function(f"{prefix}_import_wisdom_from_string", ctypes.c_int, [ctypes.c_char_p]),
            library.function(f"{prefix}_forget_wisdom", None, []),
            library.function(f"{prefix}_free", None, [ctypes.c_void_p]),
        )

    def _exported(self, precision: str) -> str:
        export, _, _, free = self._wisdom(precision)
        if not (address := export()):
            raise MemoryError("FFTW could not export its wisdom")
        try:
            return ctypes.string_at(address).decode()
        finally:
            free(address)

    @cache  # noqa: B019
    def wisdom_title(self, precision: str) -> str:
        """The first line of the planner's wisdom, which names the library and all its solvers."""
        with _PLANNER:
            return self._exported(precision).partition("\n")[0].removesuffix(")").rstrip()

    @contextmanager
    def taught(self, precision: str, known: Sequence[str]) -> Iterator[Lesson]:
        """Let the planner know, for a while, only what it learned before; tell what it learned meanwhile.

        Its wisdom is afterwards what it was: other users of the library keep theirs, and a plan that is to be estimated
        is not one that was measured.

        Parameters
        ----------
        precision : str
        known : sequence of str
            Lines of wisdom, without the title.
        """
        _, import_, forget, _ = self._wisdom(precision)
        title, lesson = self.wisdom_title(precision), Lesson()
        with _PLANNER:
            before = self._exported(precision)
            forget()
            try:
                lesson.refused = bool(known) and not import_("\n".join([title, *known, ")\n"]).encode())
                imported = set(self._exported(precision).splitlines())
                yield lesson
                lesson.lines = [x for x in self._exported(precision).splitlines()[1:-1] if x not in imported]
            finally:
                forget()
                if not import_(before.encode()):
                    raise RuntimeError("FFTW does not take its own wisdom back")

    def plan(
        self,
        precision: str,
        kind: str,
        dimensions: Sequence[tuple[int, int, int]],
        batch: Sequence[tuple[int, int, int]],
        addresses: tuple[int, int],
        *,
        sign: int = FORWARD,
        flags: int = ESTIMATE,
        threads: int = 1,
        limit: float = math.inf,
    ) -> NativePlan | None:
        """A plan, or None where the library has none for this transform.

        Parameters
        ----------
        dimensions, batch : sequence of (extent, operand stride, result stride)
            The transformed axes in order, and the others.
        addresses : (int, int)
            Of operand and result. With ESTIMATE their memory is not touched, only whether they are equal and how they
            are aligned matters.
        limit : float
            Seconds after which a planner that measures gives up, and estimates.
        """
        dims, howmany = (
            (Dimension * len(items))(*[Dimension(*item) for item in items]) for items in (dimensions, batch)
        )
        arguments = [len(dimensions), dims, len(batch), howmany, *addresses, *([sign] if kind == "C2C" else []), flags]
        with _PLANNER:
            self._thread_setter(precision)(threads)
            if not flags & ESTIMATE:
                self._time_limiter(precision)(limit if limit < math.inf else NO_LIMIT)
            try:
                address = self.planner(precision, kind)(*arguments)
            finally:  # also where Ctrl-C was pressed meanwhile
                if not flags & ESTIMATE:
                    self._time_limiter(precision)(NO_LIMIT)
        return NativePlan(address, self._destroyer(precision)) if address else None


def _fftw(stem: str, symbol: str) -> Library:
    return Library(
        "FFTW",
        lambda: [*in_package("pyfftw", f"pyfftw.libs/lib{stem}-*.so*"), f"lib{stem}.so.3", f"lib{stem}.so"],
        "install pyFFTW's wheel with: pip install 'planmath[fftw]', or your system's FFTW 3 with its OpenMP libraries",
        requires=(symbol,),
        companions=("libgomp-*.so*", f"lib{stem.removesuffix('_omp')}-*.so*"),
    )


def _nvpl(symbol: str) -> Library:
    return Library(
        "NVPL FFT",
        lambda: [*in_package("nvpl", "nvpl/lib/libnvpl_fftw.so*"), "libnvpl_fftw.so.0"],
        "install it on AArch64 with: pip install 'planmath[cpu]'",
        requires=(symbol,),
    )


MKL = Interface("MKL", dict.fromkeys(PREFIX, (mkl.LIBRARY, mkl.LIBRARY)), needs_alignment=False)
FFTW = Interface(
    "FFTW",
    {
        "float32": (_fftw("fftw3f", "fftwf_execute_dft"), _fftw("fftw3f_omp", "fftwf_init_threads")),
        "float64": (_fftw("fftw3", "fftw_execute_dft"), _fftw("fftw3_omp", "fftw_init_threads")),
    },
    needs_alignment=True,
)
_NVPL_LIBRARY = _nvpl("fftw_execute_dft")
NVPL = Interface("NVPL FFT", dict.fromkeys(PREFIX, (_NVPL_LIBRARY, _NVPL_LIBRARY)), needs_alignment=False)


@cache
def fftw_version() -> str:
    """FFTW's version string, such as 'fftw-3.3.10-sse2-avx'."""
    library = FFTW.libraries["float64"][0]
    return ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library.handle, "fftw_version"))).decode()
