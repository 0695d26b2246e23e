"""The CUDA driver: what planmath asks of it beside the runtime, memory operations of streams."""

from __future__ import annotations

import ctypes

from planmath.bindings.interface import StatusError
from planmath.native.library import Library

LIBRARY = Library(
    "the CUDA driver", lambda: ["libcuda.so.1"], "install NVIDIA's driver",
    ("cuStreamWaitValue32_v2", "cuStreamWriteValue32_v2"),
)  # fmt: skip
#: ``CU_STREAM_WAIT_VALUE_GEQ``: until the number there, less the one given, is not negative as one of 32 bits.
WAIT_VALUE_GEQ = 0
#: ``CU_STREAM_WRITE_VALUE_DEFAULT``: after all that the stream did before, for who reads it elsewhere as well.
WRITE_VALUE_DEFAULT = 0


class CUDADriverError(StatusError):
    """A function of the CUDA driver failed."""

    library = LIBRARY

    def _described(self) -> str:
        text = ctypes.c_char_p()
        if LIBRARY.has("cuGetErrorString"):
            LIBRARY.function("cuGetErrorString", ctypes.c_int, [ctypes.c_int, ctypes.c_void_p])(
                self.status, ctypes.addressof(text)
            )
        return (text.value or b"").decode()
