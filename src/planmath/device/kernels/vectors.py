"""Short vectors, which are also the complex numbers of registers and shared memory.

In memory each is one integer of all its bits, so that it is aligned to its size, as libmathdx's functions expect it.
Two components convert from and to Numba's complex numbers, which gives them arithmetic.
"""

from __future__ import annotations

import inspect
from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.core.imputils import lower_builtin, lower_cast
from numba.cuda.cudadecl import registry as declarations
from numba.cuda.cudaimpl import registry as implementations
from numba.cuda.datamodel import models
from numba.cuda.extending import register_model
from numba.cuda.np import arrayobj, numpy_support
from numba.cuda.typeconv import Conversion
from numba.cuda.typing.templates import AttributeTemplate, CallableTemplate

from planmath.device import value_types
from planmath.device.vector_values import CONSTRUCTORS

NAMES = "xyzw"


class Bits(types.Type):
    """An integer that only has a size."""

    def __init__(self, width: int):
        self.width = width
        super().__init__(name=f"bits{width}")


@register_model(Bits)
class _BitsModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Bits):
        super().__init__(dmm, fe_type, ir.IntType(fe_type.width))


class VectorType(types.Type):
    """A short vector."""

    def __init__(self, base: Any, size: int):
        self.base, self.size = base, size
        super().__init__(name=f"planmath.{base}x{size}")

    @property
    def complex(self) -> Any:
        """Numba's complex numbers of this precision; half precision is computed in single."""
        return types.complex128 if self.base is types.float64 else types.complex64

    @property
    def converts(self) -> bool:
        return self.size == 2 and isinstance(self.base, types.Float)

    def can_convert_to(self, typingctx: Any, other: Any) -> Any:
        if self.converts and isinstance(other, types.Complex):
            return Conversion.promote if other == self.complex else Conversion.safe
        return None

    def can_convert_from(self, typingctx: Any, other: Any) -> Any:
        if self.converts and isinstance(other, (types.Complex, types.Float, types.Integer)):
            return Conversion.unsafe
        return None


@register_model(VectorType)
class _VectorModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: VectorType):
        width = fe_type.base.bitwidth * fe_type.size
        members = [("bits", Bits(width))] if width <= 128 else [("low", Bits(128)), ("high", Bits(128))]
        super().__init__(dmm, fe_type, members)


TYPES = {
    "float16x2": VectorType(types.float16, 2), "float16x4": VectorType(types.float16, 4),
    "float32x2": VectorType(types.float32, 2), "float32x4": VectorType(types.float32, 4),
    "float64x2": VectorType(types.float64, 2), "float64x4": VectorType(types.float64, 4),
    "uint32x4": VectorType(types.uint32, 4),
}  # fmt: skip

_OF = {
    value_types.complex32: "float16x2", value_types.half2: "float16x2", value_types.half4: "float16x4",
    value_types.complex64: "float32x2", value_types.complex128: "float64x2",
}  # fmt: skip


def of(value: Any) -> Any:
    """Numba's type of elements for a value type, or for a NumPy scalar type."""
    if isinstance(value, (value_types.Complex, value_types.Vector)):
        if value not in _OF:
            raise TypeError(f"kernels have no numbers of type {value}")
        return TYPES[_OF[value]]
    return numpy_support.from_dtype(value_types.host_dtype(value))


# Components.


def _element(vector: VectorType) -> Any:
    return {16: ir.IntType(16), 32: ir.IntType(32), 64: ir.IntType(64)}[vector.base.bitwidth]


def unpack(context: Any, builder: Any, vector: VectorType, value: Any) -> list[Any]:
    """The components, as Numba represents them."""
    element, found = _element(vector), []
    words = [builder.extract_value(value, n) for n in range(len(value.type.elements))]
    for n in range(vector.size):
        word, place = divmod(n * element.width, words[0].type.width)
        bits = words[word]
        if place:
            bits = builder.lshr(bits, ir.Constant(bits.type, place))
        bits = builder.trunc(bits, element) if bits.type != element else bits
        target = context.get_value_type(vector.base)
        found.append(bits if target == element else builder.bitcast(bits, target))
    return found


def pack(context: Any, builder: Any, vector: VectorType, parts: list[Any]) -> Any:
    """A vector of components."""
    element = _element(vector)
    struct = context.get_value_type(vector)
    words = [ir.Constant(word, 0) for word in struct.elements]
    for n, part in enumerate(parts):
        word, place = divmod(n * element.width, words[0].type.width)
        bits = part if part.type == element else builder.bitcast(part, element)
        bits = builder.zext(bits, words[word].type) if bits.type != words[word].type else bits
        if place:
            bits = builder.shl(bits, ir.Constant(bits.type, place))
        words[word] = builder.or_(words[word], bits)
    value = ir.Constant(struct, ir.Undefined)
    for n, word in enumerate(words):
        value = builder.insert_value(value, word, n)
    return value


@declarations.register_attr
class _Components(AttributeTemplate):
    key = VectorType

    def generic_resolve(self, vector: VectorType, attribute: str) -> Any:
        if attribute in NAMES[: vector.size]:
            return vector.base
        if vector.converts and attribute in ("real", "imag"):
            return vector.base
        return None


@implementations.lower_getattr_generic(VectorType)
def _component(context: Any, builder: Any, vector: VectorType, value: Any, attribute: str) -> Any:
    place = {"real": 0, "imag": 1}.get(attribute)
    return unpack(context, builder, vector, value)[NAMES.index(attribute) if place is None else place]


# Conversions.


@lower_cast(VectorType, types.Complex)
def _to_complex(context: Any, builder: Any, vector: VectorType, target: Any, value: Any) -> Any:
    number = context.make_complex(builder, target)
    parts = [context.cast(builder, part, vector.base, target.underlying_float)
             for part in unpack(context, builder, vector, value)]  # fmt: skip
    number.real, number.imag = parts
    return number._getvalue()


@lower_cast(types.Complex, VectorType)
def _from_complex(context: Any, builder: Any, source: Any, vector: VectorType, value: Any) -> Any:
    number = context.make_complex(builder, source, value)
    parts = [context.cast(builder, part, source.underlying_float, vector.base) for part in (number.real, number.imag)]
    return pack(context, builder, vector, parts)


@lower_cast(types.Float, VectorType)
@lower_cast(types.Integer, VectorType)
def _from_real(context: Any, builder: Any, source: Any, vector: VectorType, value: Any) -> Any:
    zero = context.get_constant_generic(builder, types.float32, 0.0)
    parts = [context.cast(builder, value, source, vector.base), context.cast(builder, zero, types.float32, vector.base)]
    return pack(context, builder, vector, parts)


# Constructors: components, or vectors and complex numbers whose components follow each other.


def _parts_of(given: Any) -> int:
    return given.size if isinstance(given, VectorType) else 2 if isinstance(given, types.Complex) else 1


def positional(count: int) -> inspect.Signature:
    """The signature of so many arguments, which Numba wants in place of that of ``*args``."""
    names = (f"argument{n}" for n in range(count))
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])


def _constructor(function: Any, vector: VectorType) -> None:
    class Template(CallableTemplate):
        key = function

        def generic(self) -> Any:
            def typer(*given: Any) -> Any:
                if any(not isinstance(each, (types.Number, VectorType)) for each in given):
                    return None
                if sum(map(_parts_of, given)) != vector.size:
                    return None
                typer.pysig = positional(len(given))  # type: ignore[attr-defined]
                return vector

            return typer

    declarations.register_global(function, types.Function(Template))

    @lower_builtin(function, types.VarArg(types.Any))
    def construct(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        parts: list[Any] = []
        for kind, value in zip(sig.args, arguments, strict=True):
            if isinstance(kind, VectorType):
                found, source = unpack(context, builder, kind, value), kind.base
            elif isinstance(kind, types.Complex):
                number = context.make_complex(builder, kind, value)
                found, source = [number.real, number.imag], kind.underlying_float
            else:
                found, source = [value], kind
            parts += [context.cast(builder, part, source, vector.base) for part in found]
        return pack(context, builder, vector, parts)


for _name, _function in CONSTRUCTORS.items():
    _constructor(_function, TYPES[_name])


@lower_builtin("array.view", types.Array, types.TypeRef)
def _view(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """``array.view(float32x4_type)``, as of other dtypes."""
    return arrayobj.array_view(
        context, builder, sig.replace(args=(sig.args[0], types.DType(sig.args[1].instance_type))), args
    )
