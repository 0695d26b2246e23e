"""Calls of `Matmul.execute` with arrays in kernels. Those with tensors: `fragments`."""

from __future__ import annotations

from functools import partial
from typing import Any

from numba.cuda import types
from numba.cuda.core.errors import TypingError

from planmath.device.kernels import fragments, objects, vectors
from planmath.device.kernels.calls import Emitter, Pending, Plan, check_array, check_number, linked, method
from planmath.device.matmul import Matmul, compile_arrays


@method(objects.class_of(Matmul), "execute")
def _execute(kind: Any, *args: Any) -> Plan:
    if any(isinstance(each, fragments.TensorType) for each in args):
        return fragments.execute(kind, args)
    if len(args) not in (5, 8):
        raise TypingError(
            "Matmul.execute takes (alpha, a, b, beta, c), (alpha, a, lda, b, ldb, beta, c, ldc), "
            f"or tensors (a, b, accumulator), not {len(args)} arguments"
        )
    mm, code_type = kind.instance, kind.code_type
    kinds = [vectors.of(each) for each in (mm.a_value_type, mm.b_value_type, mm.c_value_type)]
    arrays, scalars, leading = ((1, 2, 4), (0, 3), ()) if len(args) == 5 else ((1, 3, 6), (0, 5), (2, 4, 7))
    for place, name, dtype in zip(arrays, "abc", kinds, strict=True):
        check_array("Matmul.execute", name, args[place], dtype)
    for place, name in zip(scalars, ("alpha", "beta"), strict=True):
        check_number("Matmul.execute", name, args[place])
    for place, name in zip(leading, ("lda", "ldb", "ldc"), strict=False):
        if not isinstance(args[place], types.Integer):
            raise TypingError(f"Matmul.execute takes an integer for {name}, not {args[place]}")
    api = int(bool(leading))
    symbol = mm._description(api).symbol("matmul", code_type)
    code = linked(symbol, lambda: Pending(symbol, partial(_code, mm, code_type, api)))

    def emit(to: Emitter, *values: Any) -> None:
        passed = []
        for place, (source, value) in enumerate(zip(args, values, strict=True)):
            if place in arrays:
                passed.append(to.array(source, value))
            else:
                passed.append(to.by_address(value, source, kinds[2] if place in scalars else types.uint32))
        to.call(symbol, passed, [code])

    return Plan(types.none, emit)


def _code(mm: Matmul, code_type: Any, api: int) -> Any:
    return compile_arrays(mm, code_type, api)[0]
