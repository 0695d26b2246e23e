"""Calls of `FFT.execute` in kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

from numba.cuda import types
from numba.cuda.core.errors import TypingError

from planmath.device.fft import APIS, FFT
from planmath.device.kernels import objects, vectors
from planmath.device.kernels.calls import Emitter, Pending, Plan, check_array, given, linked, method


@method(objects.class_of(FFT), "execute")
def _execute(kind: Any, first: Any, second: Any = None) -> Plan:
    fft, code_type = kind.instance, kind.code_type
    block, scratch = fft.execution == "Block", given(second)
    if scratch and not block:
        raise TypingError("FFT.execute takes the registers alone for execution='Thread'")
    check_array("FFT.execute", "its values", first, vectors.of(fft.value_type))
    if scratch and not isinstance(second, types.Array):
        raise TypingError(f"FFT.execute takes an array of shared memory for scratch, not {second}")
    api = "register_memory" if scratch or not block else "shared_memory"
    symbol = fft._description(fft._chosen, APIS[api]).symbol("fft", code_type)
    code = linked(symbol, lambda: Pending(symbol, partial(_code, fft, code_type, api)))

    def emit(to: Emitter, *values: Any) -> None:
        kinds = (first, second) if scratch else (first,)
        to.call(symbol, [to.array(*each) for each in zip(kinds, values, strict=False)], [code])

    return Plan(types.none, emit)


def _code(fft: FFT, code_type: Any, api: str) -> Any:
    return fft._compile(code_type, api)[0]
