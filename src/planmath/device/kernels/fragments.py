"""Layouts, tensors and accumulators in kernels."""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.core.errors import TypingError
from numba.cuda.core.imputils import lower_builtin
from numba.cuda.cudadecl import registry as declarations
from numba.cuda.cudaimpl import registry as implementations
from numba.cuda.datamodel import models
from numba.cuda.extending import register_model
from numba.cuda.typing.templates import AbstractTemplate, AttributeTemplate, signature

from planmath.device import tensor_code, tensors
from planmath.device.kernels import objects, vectors
from planmath.device.kernels.calls import Emitter, Plan, function, given, linked, method
from planmath.device.layouts import KINDS, Layout, misplaced
from planmath.device.matmul import Matmul
from planmath.device.targets import CodeType
from planmath.device.tensor_code import Function, Operand
from planmath.device.value_types import value_type_number

POINTER = types.CPointer(types.uint8)


class LayoutType(types.Type):
    """A layout of global memory whose leading dimension is known at run time only."""

    def __init__(self, mm: Matmul, kind: str):
        self.mm, self.kind = mm, kind
        super().__init__(name=f"Layout<{kind} of {objects.type_of(mm)}>")


class TensorType(types.Type):
    """A tensor: an address, and the leading dimension of one in global memory."""

    def __init__(self, mm: Matmul, kind: str, dtype: Any, other: Any = None):
        #: `other` is the value type of a fragment whose elements are not those of C.
        self.mm, self.kind, self.dtype, self.other = mm, kind, dtype, other
        super().__init__(name=f"Tensor<{kind} of {dtype}, {objects.type_of(mm)}>")

    @property
    def operand(self) -> Operand:
        return Operand(self.kind, None if self.other is None else value_type_number(self.other))

    @property
    def count(self) -> int:
        return tensor_code.traits(self.mm, self.kind)["LOGICAL_SIZE"]

    @property
    def registers(self) -> bool:
        return "rmem" in self.kind


class AccumulatorType(types.Type):
    """An accumulator: the address of its state."""

    def __init__(self, mm: Matmul, kind: str):
        self.mm, self.kind = mm, kind
        super().__init__(name=f"Accumulator<{kind} of {objects.type_of(mm)}>")

    @property
    def operand(self) -> Operand:
        return Operand(self.kind)

    @property
    def fragment(self) -> TensorType:
        kind = "suggested_rmem_c" if self.kind.startswith("suggested") else "rmem_c"
        return TensorType(self.mm, kind, vectors.of(self.mm.c_value_type))


@register_model(LayoutType)
class _LayoutModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, [("leading", types.int64)])


@register_model(TensorType)
class _TensorModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, [("pointer", POINTER), ("leading", types.int64)])


@register_model(AccumulatorType)
class _AccumulatorModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, [("pointer", POINTER)])


# Linked code: all functions of a product that kernels have asked for, in one piece.


class _Bundle:
    def __init__(self, mm: Matmul):
        self.described, self.code_type = tensor_code.description(mm), CodeType("lto", mm.sm)
        self.functions: dict[Function, str] = {}
        self.link = [_Part(tensor_code.compile_functions, self), _Part(tensor_code.compile_shims, self)]

    def symbol(self, function: Function) -> str:
        return self.functions.setdefault(function, function.symbol(self.described, self.code_type))


class _Part(cuda.LTOIR):
    """LTO-IR of a bundle, compiled when it is linked."""

    def __init__(self, make: Any, bundle: _Bundle):
        super().__init__(b"", name="planmath.device.tensors")
        self._make, self._bundle = make, bundle

    @property
    def data(self) -> bytes:
        return self._make(self._bundle.described, self._bundle.code_type, list(self._bundle.functions)).data


def call_function(to: Emitter, mm: Matmul, function: Function, *passed: Any) -> None:
    bundle = linked(("tensors", mm.key), lambda: _Bundle(mm))
    to.call(f"{bundle.symbol(function)}_call", passed, bundle.link)


def _struct(to: Emitter, kind: Any, *members: Any) -> Any:
    value = ir.Constant(to.context.get_value_type(kind), ir.Undefined)
    for n, member in enumerate(members):
        value = to.builder.insert_value(value, member, n)
    return value


def _passed(to: Emitter, kind: Any, value: Any) -> list[Any]:
    """How a tensor is passed: its address, and for global memory its leading dimension."""
    pointer = to.bytes(to.builder.extract_value(value, 0))
    if isinstance(kind, TensorType) and kind.kind.startswith("gmem"):
        return [pointer, to.builder.extract_value(value, 1)]
    return [pointer]


def _tensor(to: Emitter, kind: TensorType, pointer: Any, leading: Any = None) -> Any:
    pointer = to.builder.bitcast(pointer, to.context.get_value_type(POINTER))
    return _struct(to, kind, pointer, to.constant(types.int64, 0) if leading is None else leading)


def _registers(to: Emitter, kind: TensorType) -> Any:
    """A new fragment."""
    size = to.context.get_abi_sizeof(to.context.get_data_type(kind.dtype))
    return _tensor(to, kind, to.slot(types.uint8, max(16, kind.count * size)))


# Layouts.


def _layout_method(name: str, kind: str) -> None:
    @method(objects.class_of(Matmul), name)
    def planner(receiver: Any, leading_dimension: Any = None) -> Plan:
        mm = receiver.instance
        if not given(leading_dimension) or isinstance(leading_dimension, types.Literal):
            value = leading_dimension.literal_value if given(leading_dimension) else None
            try:
                found = Layout._of(mm, kind, value)
            except ValueError as error:
                raise TypingError(str(error)) from None
            return Plan(objects.type_of(found), lambda to, *values: to.context.get_dummy_value())
        if not isinstance(leading_dimension, types.Integer):
            raise TypingError(f"Matmul.{name} takes an integer, not {leading_dimension}")

        def emit(to: Emitter, value: Any) -> Any:
            return _struct(to, result, to.cast(value, leading_dimension, types.int64))

        result = LayoutType(mm, kind)
        return Plan(result, emit)


for _kind in KINDS:
    _plain = _kind.removeprefix("suggested_")
    _layout_method(f"{'suggest' if _plain != _kind else 'get'}_layout_{_plain}", _kind)


@declarations.register_attr
class _LayoutAttributes(AttributeTemplate):
    key = LayoutType

    def generic_resolve(self, kind: LayoutType, attribute: str) -> Any:
        if attribute in ("size", "alignment"):
            return types.literal(getattr(Layout._of(kind.mm, kind.kind), attribute))
        return None


@implementations.lower_getattr_generic(LayoutType)
def _layout_attribute(context: Any, builder: Any, kind: LayoutType, value: Any, attribute: str) -> Any:
    return context.get_constant(types.int64, getattr(Layout._of(kind.mm, kind.kind), attribute))


# Tensors.


@function(tensors.make_tensor)
def _make_tensor(array: Any, layout: Any) -> Plan:
    constant = isinstance(layout, objects.class_of(Layout))
    if not (constant or isinstance(layout, LayoutType)):
        raise TypingError(f"make_tensor takes a layout of a Matmul, not {layout}")
    mm, kind = (layout.instance._mm, layout.instance._kind) if constant else (layout.mm, layout.kind)
    value = vectors.of((mm.a_value_type, mm.b_value_type, mm.c_value_type)["abc".index(kind[-1])])
    if not isinstance(array, types.Array):
        raise TypingError(f"make_tensor takes an array, not {array}")
    complex_ = getattr(value, "complex", None) if kind.startswith("gmem") else None
    if array.dtype not in (value, complex_):
        raise TypingError(f"make_tensor takes an array of {value} for {kind}, not of {array.dtype}")
    result = TensorType(mm, kind, value)

    def emit(to: Emitter, data: Any, given_layout: Any) -> Any:
        leading = None
        if kind.startswith("gmem"):
            leading = (
                to.constant(types.int64, layout.instance._leading)
                if constant
                else to.builder.extract_value(given_layout, 0)
            )
        return _tensor(to, result, to.array(array, data), leading)

    return Plan(result, emit)


@function(tensors.make_fragment_like)
def _make_fragment_like(tensor: Any, dtype: Any) -> Plan:
    if not (isinstance(tensor, TensorType) and tensor.registers):
        raise TypingError(f"make_fragment_like takes a fragment in registers, not {tensor}")
    if not isinstance(dtype, types.DTypeSpec):
        raise TypingError(f"make_fragment_like takes a type of elements, not {dtype}")
    other = _value_type(dtype.dtype)
    result = TensorType(tensor.mm, tensor.kind, dtype.dtype, other)
    return Plan(result, lambda to, *values: _registers(to, result))


def _value_type(dtype: Any) -> Any:
    from planmath.device import value_types

    every = (*value_types.REAL_NP_TYPES, *value_types.INT_NP_TYPES, value_types.complex32, value_types.complex64,
             value_types.complex128)  # fmt: skip
    for each in every:
        if vectors.of(each) == dtype or getattr(vectors.of(each), "complex", None) == dtype:
            return each
    raise TypingError(f"fragments have no elements of {dtype}")


def _alignment(name: str, alignment: Any, dtype: Any) -> int:
    if not given(alignment):
        return 0
    size = dtype.bitwidth // 8 if hasattr(dtype, "bitwidth") else dtype.base.bitwidth * dtype.size // 8
    value = getattr(alignment, "literal_value", None)
    if value not in (1, 2, 4, 8, 16) or value < size:
        raise TypingError(
            f"the alignment of {name} is a literal 1, 2, 4, 8 or 16 and not less than {size} bytes, not {alignment}"
        )
    return value


def _copying(name: str, src: Any, dst: Any, alignment: Any, registers: bool) -> Plan:
    for each in (src, dst):
        if not isinstance(each, TensorType):
            raise TypingError(f"{name} takes tensors, not {each}")
    if (src.registers or dst.registers) is not registers:
        raise TypingError(
            "copy_fragment copies between registers and global memory, copy between global and shared memory"
        )
    made = Function("COPY", (src.operand, dst.operand), _alignment(name, alignment, src.dtype))

    def emit(to: Emitter, source: Any, target: Any, *ignored: Any) -> None:
        call_function(to, src.mm, made, *_passed(to, src, source), *_passed(to, dst, target))

    return Plan(types.none, emit)


@function(tensors.copy)
def _copy(src: Any, dst: Any, alignment: Any = None) -> Plan:
    return _copying("copy", src, dst, alignment, False)


@function(tensors.copy_fragment)
def _copy_fragment(src: Any, dst: Any, alignment: Any = None) -> Plan:
    return _copying("copy_fragment", src, dst, alignment, True)


def assembly(to: Emitter, text: str) -> None:
    """An instruction, around which memory is not kept in registers."""
    to.builder.call(ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), text, "~{memory}", side_effect=True), [])


def barrier(to: Emitter) -> None:
    """All threads of the block."""
    assembly(to, "bar.sync 0;")


@function(tensors.copy_wait)
def _copy_wait() -> Plan:
    """All asynchronous copies of the thread, then all threads."""

    def emit(to: Emitter) -> None:
        assembly(to, "cp.async.wait_all;")
        barrier(to)

    return Plan(types.none, emit)


@function(tensors.clear)
def _clear(arr: Any) -> Plan:
    if not (isinstance(arr, AccumulatorType) or (isinstance(arr, TensorType) and arr.registers)):
        raise TypingError(f"clear takes a fragment or an accumulator, not {arr}")
    made = Function("CLEAR", (arr.operand,))
    return Plan(types.none, lambda to, value: call_function(to, arr.mm, made, *_passed(to, arr, value)))


@function(tensors.axpby)
def _axpby(alpha: Any, x_tensor: Any, beta: Any, y_tensor: Any) -> Plan:
    for each in (x_tensor, y_tensor):
        if not (isinstance(each, TensorType) and each.registers):
            raise TypingError(f"axpby takes fragments in registers, not {each}")
    made = Function("AXPBY", (x_tensor.operand, y_tensor.operand))

    def emit(to: Emitter, a: Any, x: Any, b: Any, y: Any) -> None:
        passed = [to.by_address(a, alpha, x_tensor.dtype), *_passed(to, x_tensor, x)]
        passed += [to.by_address(b, beta, y_tensor.dtype), *_passed(to, y_tensor, y)]
        call_function(to, x_tensor.mm, made, *passed)

    return Plan(types.none, emit)


# Elements of fragments.


@declarations.register_global(operator.getitem)
class _Get(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        tensor, index = args
        if isinstance(tensor, TensorType) and tensor.registers and isinstance(index, types.Integer):
            return signature(tensor.dtype, tensor, index)
        return None


@declarations.register_global(operator.setitem)
class _Set(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        tensor, index, value = args
        if isinstance(tensor, TensorType) and tensor.registers and isinstance(index, types.Integer):
            return signature(types.none, tensor, index, value)
        return None


def _element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    data = context.get_data_type(sig.args[0].dtype).as_pointer()
    start = builder.bitcast(builder.extract_value(args[0], 0), data)
    return builder.gep(start, [context.cast(builder, args[1], sig.args[1], types.int64)])


@lower_builtin(operator.getitem, TensorType, types.Integer)
def _get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return context.unpack_value(builder, sig.args[0].dtype, _element(context, builder, sig, args))


@lower_builtin(operator.setitem, TensorType, types.Integer, types.Any)
def _set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value = context.cast(builder, args[2], sig.args[2], sig.args[0].dtype)
    context.pack_value(builder, sig.args[0].dtype, value, _element(context, builder, sig, args))
    return context.get_dummy_value()


@declarations.register_attr
class _TensorAttributes(AttributeTemplate):
    key = TensorType

    def generic_resolve(self, kind: TensorType, attribute: str) -> Any:
        if attribute == "layout":
            return objects.type_of(Layout._of(kind.mm, kind.kind))
        return types.int64 if attribute == "leading_dimension" else None


@implementations.lower_getattr_generic(TensorType)
def _tensor_attribute(context: Any, builder: Any, kind: TensorType, value: Any, attribute: str) -> Any:
    return context.get_dummy_value() if attribute == "layout" else builder.extract_value(value, 1)


# Accumulators.


def _accumulator_method(name: str, kind: str) -> None:
    @method(objects.class_of(Matmul), name)
    def planner(receiver: Any) -> Plan:
        result = AccumulatorType(receiver.instance, kind)
        made = (Function("CREATE", (result.operand,)), Function("CLEAR", (result.operand,)))

        def emit(to: Emitter) -> Any:
            size = tensor_code.traits(result.mm, kind)["STORAGE_BYTES"]
            slot = to.bytes(to.slot(types.uint8, max(16, size)))
            for each in made:
                call_function(to, result.mm, each, slot)
            return _struct(to, result, to.builder.bitcast(slot, to.context.get_value_type(POINTER)))

        return Plan(result, emit)


_accumulator_method("get_accumulator", "accumulator_c")
_accumulator_method("suggest_accumulator", "suggested_accumulator_c")


def _to_registers(to: Emitter, kind: AccumulatorType, value: Any, fragment: TensorType, target: Any) -> None:
    made = Function("COPY", (kind.operand, fragment.operand))
    call_function(to, kind.mm, made, *_passed(to, kind, value), *_passed(to, fragment, target))


@method(AccumulatorType, "get_results")
def _get_results(kind: Any, out: Any = None) -> Plan:
    fragment = kind.fragment
    if given(out) and out != fragment:
        raise TypingError(f"get_results takes a fragment of the accumulator's layout, not {out}")

    def emit(to: Emitter, value: Any, target: Any = None) -> Any:
        target = _registers(to, fragment) if target is None else target
        _to_registers(to, kind, value, fragment, target)
        return target

    return Plan(fragment, emit)


@method(AccumulatorType, "make_empty_fragment")
def _make_empty_fragment(kind: Any) -> Plan:
    return Plan(kind.fragment, lambda to, value: _registers(to, kind.fragment))


def _partition(kind: AccumulatorType, src: Any) -> Plan:
    if not (isinstance(src, TensorType) and src.kind == "gmem_c"):
        raise TypingError(f"a part of C is taken from a tensor of C in global memory, not from {src}")
    fragment = kind.fragment
    made = Function("COPY", (src.operand, fragment.operand))

    def emit(to: Emitter, value: Any, source: Any) -> Any:
        target = _registers(to, fragment)
        call_function(to, kind.mm, made, *_passed(to, src, source), *_passed(to, fragment, target))
        return target

    return Plan(fragment, emit)


@method(AccumulatorType, "make_partition_and_copy")
def _make_partition_and_copy(kind: Any, src: Any) -> Plan:
    return _partition(kind, src)


@method(AccumulatorType, "partition_like_C")
def _partition_like_c(kind: Any, gmem_c: Any) -> Plan:
    return _partition(kind, gmem_c)


@method(AccumulatorType, "partition_and_copy")
def _partition_and_copy(kind: Any, src: Any, dst: Any) -> Plan:
    plan = _copying("partition_and_copy", src, dst, None, True)
    return Plan(plan.result, lambda to, value, *rest: plan.emit(to, *rest))


@method(AccumulatorType, "partition_and_store")
def _partition_and_store(kind: Any, tensor: Any) -> Plan:
    fragment = kind.fragment
    plan = _copying("partition_and_store", fragment, tensor, None, True)

    def emit(to: Emitter, value: Any, target: Any) -> None:
        registers = _registers(to, fragment)
        _to_registers(to, kind, value, fragment, registers)
        plan.emit(to, registers, target)

    return Plan(types.none, emit)


@method(AccumulatorType, "map_fragment_index")
def _map_fragment_index(kind: Any, fragment_index: Any) -> Plan:
    made = Function("MAP_IDX2CRD_PARTITIONER", (kind.operand,))
    result = types.UniTuple(types.int64, 2)

    def emit(to: Emitter, value: Any, index: Any) -> Any:
        slots = [to.slot(types.int32) for _ in range(2)]
        passed = [*_passed(to, kind, value), to.by_address(index, fragment_index, types.int32)]
        call_function(to, kind.mm, made, *passed, *map(to.bytes, slots))
        parts = [to.cast(to.load(types.int32, slot), types.int32, types.int64) for slot in slots]
        return to.context.make_tuple(to.builder, result, parts)

    return Plan(result, emit)


def _question(name: str, function_name: str, indexed: bool) -> None:
    def emit_for(kind: Any, index_kind: Any) -> Any:
        made = Function(function_name, (kind.operand,))

        def emit(to: Emitter, value: Any, *index: Any) -> Any:
            slot = to.slot(types.int32)
            passed = [to.by_address(each, index_kind, types.int32) for each in index]
            call_function(to, kind.mm, made, *_passed(to, kind, value), *passed, to.bytes(slot))
            return to.cast(to.load(types.int32, slot), types.int32, types.boolean)

        return emit

    if indexed:

        @method(AccumulatorType, name)
        def of_index(kind: Any, index: Any) -> Plan:
            return Plan(types.boolean, emit_for(kind, index))

    else:

        @method(AccumulatorType, name)
        def alone(kind: Any) -> Plan:
            return Plan(types.boolean, emit_for(kind, None))


_question("is_thread_active", "IS_THREAD_ACTIVE", False)
_question("is_predicated", "IS_PREDICATED", False)
_question("is_index_in_bounds", "IS_INDEX_IN_BOUNDS", True)


@method(AccumulatorType, "clear")
def _clear_accumulator(kind: Any) -> Plan:
    made = Function("CLEAR", (kind.operand,))
    return Plan(types.none, lambda to, value: call_function(to, kind.mm, made, *_passed(to, kind, value)))


@method(AccumulatorType, "axpby")
def _axpby_accumulator(kind: Any, alpha: Any, x: Any, beta: Any) -> Plan:
    """By way of registers: the accumulator may be in memory of another kind."""
    fragment = kind.fragment
    plan = _axpby(alpha, x, beta, fragment)
    back = Function("COPY", (fragment.operand, kind.operand))

    def emit(to: Emitter, value: Any, a: Any, x_value: Any, b: Any) -> None:
        registers = _registers(to, fragment)
        _to_registers(to, kind, value, fragment, registers)
        plan.emit(to, a, x_value, b, registers)
        call_function(to, kind.mm, back, *_passed(to, fragment, registers), *_passed(to, kind, value))

    return Plan(types.none, emit)


def _number_method(name: str, number: Any) -> None:
    @method(AccumulatorType, name)
    def planner(kind: Any) -> Plan:
        return Plan(types.int64, lambda to, value: to.constant(types.int64, number(kind)))


_number_method("size", lambda kind: kind.fragment.count)
_number_method("get_alignment", lambda kind: tensor_code.traits(kind.mm, kind.fragment.kind)["ALIGNMENT_BYTES"])


# Products of tensors.


def execute(kind: Any, args: Any) -> Plan:
    """`Matmul.execute` with tensors."""
    mm = kind.instance
    if len(args) == 5:
        alpha, a, b, beta, c = args
        scalars = True
    elif len(args) == 3:
        a, b, c = args
        scalars = False
    else:
        raise TypingError("Matmul.execute takes tensors as (alpha, a, b, beta, c) or (a, b, accumulator)")
    for each in (a, b, c):
        if not isinstance(each, (TensorType, AccumulatorType)):
            raise TypingError(f"Matmul.execute takes tensors alone, not {each} among them")
    for name, tensor in (("a", a), ("b", b)):
        if not tensor.kind.endswith(f"smem_{name}"):
            raise TypingError(misplaced(name, tensor.kind))
    if len({each.kind.startswith("suggested") for each in (a, b, c)}) > 1:
        raise TypingError("the tensors of a product are all in suggested layouts, or none is")
    if scalars is (isinstance(c, AccumulatorType) or c.registers):
        raise TypingError("C is in shared memory for (alpha, a, b, beta, c), and in registers for (a, b, c)")
    made = Function("EXECUTE", (a.operand, b.operand, c.operand))

    def emit(to: Emitter, *values: Any) -> None:
        tensors_of = [(k, v) for k, v in zip(args, values, strict=True) if isinstance(k, (TensorType, AccumulatorType))]
        passed = [_passed(to, *each) for each in tensors_of]
        if scalars:
            value = vectors.of(mm.c_value_type)
            first, second = to.by_address(values[0], alpha, value), to.by_address(values[3], beta, value)
            call_function(to, mm, made, first, *passed[0], *passed[1], second, *passed[2])
        else:
            call_function(to, mm, made, *passed[0], *passed[1], *passed[2])

    return Plan(types.none, emit)
