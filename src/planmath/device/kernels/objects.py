"""Objects as constants of a kernel: their attributes are compile-time constants."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba.cuda import types
from numba.cuda.cudadecl import registry as declarations
from numba.cuda.cudaimpl import registry as implementations
from numba.cuda.datamodel import models
from numba.cuda.extending import register_model
from numba.cuda.typing.templates import AttributeTemplate

from planmath.core import code_cache
from planmath.device.function import DeviceFunction
from planmath.device.kernels import vectors
from planmath.device.targets import CodeType


class ObjectType(types.Type):
    """Numba's type of one object: equal where the objects' keys are."""

    def __init__(self, instance: DeviceFunction):
        self.instance = instance
        super().__init__(name=f"{type(instance).__name__}<{code_cache.digest(instance.key)[:16]}>")

    @property
    def code_type(self) -> CodeType:
        return CodeType("lto", self.instance.sm)  # type: ignore[attr-defined]


register_model(ObjectType)(models.OpaqueModel)


@cache
def _class(cls: Any) -> type[ObjectType]:
    """A type class for a class of objects, whose bases' methods it has."""
    bases = tuple(_class(base) for base in cls.__bases__ if issubclass(base, DeviceFunction) and base is not cls)
    name = f"{cls.__name__}Type"
    made = type(name, bases or (ObjectType,), {})
    register_model(made)(models.OpaqueModel)
    return made


def class_of(cls: type) -> type[ObjectType]:
    """The class of the types of a class's objects, for which methods are registered."""
    return _class(cls)


def type_of(instance: DeviceFunction) -> ObjectType:
    cls: Any = type(instance)
    return _class(cls)(instance)


@declarations.register_attr
class _Attributes(AttributeTemplate):
    key = ObjectType

    def generic_resolve(self, kind: ObjectType, attribute: str) -> Any:
        value = _value(kind.instance, attribute)
        return None if value is None else type_of_constant(value)


def _value(instance: DeviceFunction, attribute: str) -> Any:
    if attribute.startswith("_") or attribute in instance.hidden:
        return None
    value = getattr(instance, attribute, None)
    return None if callable(value) and not isinstance(value, type) and not hasattr(value, "itemsize") else value


def type_of_constant(value: Any) -> Any:
    """Numba's type of a constant; None for what kernels cannot see."""
    if isinstance(value, bool):
        return types.boolean
    if isinstance(value, int):
        return types.literal(value)
    if isinstance(value, str):
        return types.literal(value)
    if isinstance(value, type):
        return types.NumberClass(vectors.of(value))
    if hasattr(value, "_dtype"):
        return types.DType(vectors.of(value))
    if isinstance(value, tuple):
        kinds = [types.int64 if type(each) is int else type_of_constant(each) for each in value]
        if hasattr(value, "_fields") and value:
            return types.NamedUniTuple(kinds[0], len(value), type(value)) if len(set(kinds)) == 1 else None
        return types.UniTuple(kinds[0], len(value)) if len(set(kinds)) == 1 else types.Tuple(kinds)
    return None


@implementations.lower_getattr_generic(ObjectType)
def _constant(context: Any, builder: Any, kind: ObjectType, value: Any, attribute: str) -> Any:
    found = _value(kind.instance, attribute)
    target = type_of_constant(found)
    if isinstance(target, (types.DType, types.NumberClass, types.StringLiteral)):
        return context.get_dummy_value()
    return context.get_constant_generic(builder, getattr(target, "literal_type", target), found)


@implementations.lower_constant(ObjectType)
def _object_constant(context: Any, builder: Any, kind: ObjectType, value: Any) -> Any:
    return context.get_dummy_value()
