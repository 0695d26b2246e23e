"""Pipelines in kernels: tiles of A and B are copied to shared memory while the ones before are multiplied.

A pipeline is an argument of the kernel: addresses and leading dimensions of A and B, and how many tiles a row of A has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.core.errors import TypingError
from numba.cuda.datamodel import models
from numba.cuda.extending import register_model

from planmath.device.kernels import vectors
from planmath.device.kernels.calls import Emitter, Plan, method
from planmath.device.kernels.fragments import AccumulatorType, TensorType, assembly, barrier, call_function
from planmath.device.matmul import Matmul
from planmath.device.pipelines import FIELDS, DevicePipeline, stage
from planmath.device.tensor_code import Function

POINTER = types.CPointer(types.uint8)


class PipelineType(types.Type):
    """A pipeline of a product, with a number of tiles that are under way."""

    def __init__(self, mm: Matmul, depth: int):
        self.mm, self.depth = mm, depth
        super().__init__(name=f"DevicePipeline<{depth} of {mm.key}>")

    @property
    def argument(self) -> Any:
        """As what it is passed to a kernel."""
        return types.UniTuple(types.int64, len(FIELDS))


class TileType(types.Type):
    """The tiles for one block of C: the pipeline, the shared memory, and the address of the indices of the block."""

    def __init__(self, pipeline: PipelineType):
        self.pipeline = pipeline
        super().__init__(name=f"TilePipeline<{pipeline.name}>")


@register_model(PipelineType)
class _PipelineModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, [(name, types.int64) for name in FIELDS])


@register_model(TileType)
class _TileModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any):
        super().__init__(dmm, fe_type, [("pipeline", fe_type.pipeline), ("shared", POINTER), ("place", POINTER)])




def type_of(pipeline: DevicePipeline) -> PipelineType:
    return PipelineType(pipeline.mm, pipeline.pipeline_depth)


def _index(to: Emitter, kind: Any, value: Any) -> Any:
    """Of a block: an index, or the first of a pair."""
    if isinstance(kind, types.BaseTuple):
        kind, value = kind[0], to.builder.extract_value(value, 0)
    return to.cast(value, kind, types.int64)


def _check_index(name: str, *kinds: Any) -> None:
    for kind in kinds:
        first = kind[0] if isinstance(kind, types.BaseTuple) and len(kind) else kind
        if not isinstance(first, types.Integer):
            raise TypingError(f"{name} takes the indices of a block of C, not {kind}")


def _put(to: Emitter, place: Any, kinds: Any, values: Any) -> None:
    slot = to.builder.bitcast(place, ir.IntType(64).as_pointer())
    for number, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        at = to.builder.gep(slot, [ir.Constant(ir.IntType(32), number)])
        to.builder.store(_index(to, kind, value), at)


@method(PipelineType, "get_tile")
def _get_tile(kind: Any, smem: Any, blockIdx_x: Any, blockIdx_y: Any) -> Plan:
    if not isinstance(smem, types.Array):
        raise TypingError(f"DevicePipeline.get_tile takes an array of shared memory, not {smem}")
    _check_index("DevicePipeline.get_tile", blockIdx_x, blockIdx_y)
    result = TileType(kind)

    def emit(to: Emitter, pipeline: Any, array: Any, x: Any, y: Any) -> Any:
        pointer = to.context.get_value_type(POINTER)
        place = to.bytes(to.slot(types.int64, 2))
        _put(to, place, (blockIdx_x, blockIdx_y), (x, y))
        value = ir.Constant(to.context.get_value_type(result), ir.Undefined)
        members = (pipeline, to.builder.bitcast(to.array(smem, array), pointer), to.builder.bitcast(place, pointer))
        for number, member in enumerate(members):
            value = to.builder.insert_value(value, member, number)
        return value

    return Plan(result, emit)


@method(PipelineType, "reset_tile")
def _reset_tile(kind: Any, tile_pipeline: Any, idx: Any, idy: Any) -> Plan:
    if not (isinstance(tile_pipeline, TileType) and tile_pipeline.pipeline == kind):
        raise TypingError(f"DevicePipeline.reset_tile takes a tile of this pipeline, not {tile_pipeline}")
    _check_index("DevicePipeline.reset_tile", idx, idy)

    def emit(to: Emitter, pipeline: Any, tile: Any, x: Any, y: Any) -> None:
        _put(to, to.builder.extract_value(tile, 2), (idx, idy), (x, y))

    return Plan(types.none, emit)


@method(TileType, "_del")
def _del(kind: Any) -> Plan:
    return Plan(types.none, lambda to, value: None)


@method(TileType, "execute")
def _execute(kind: Any, accumulator: Any) -> Plan:
    pipeline, mm = kind.pipeline, kind.pipeline.mm
    if not (isinstance(accumulator, AccumulatorType) and accumulator.mm.key == mm.key):
        raise TypingError(f"TilePipeline.execute takes an accumulator of the pipeline's product, not {accumulator}")
    suggested = "suggested_" if accumulator.kind.startswith("suggested") else ""
    sides = [
        tuple(TensorType(mm, f"{kind}_{side}", vectors.of(value)) for kind in ("gmem", f"{suggested}smem"))
        for side, value in (("a", mm.a_value_type), ("b", mm.b_value_type))
    ]
    product = Function("EXECUTE", (sides[0][1].operand, sides[1][1].operand, accumulator.operand))
    copies = [Function("COPY", (source.operand, target.operand)) for source, target in sides]
    offsets, size = stage(mm)
    depth = pipeline.depth

    def emit(to: Emitter, tile: Any, into: Any) -> None:
        builder, word = to.builder, ir.IntType(64)
        number = lambda n: ir.Constant(word, n)  # noqa: E731
        fields = dict(zip(FIELDS, [builder.extract_value(tile, [0, n]) for n in range(len(FIELDS))], strict=True))
        shared = builder.extract_value(tile, 1)
        place = builder.bitcast(builder.extract_value(tile, 2), word.as_pointer())
        x, y = (builder.load(builder.gep(place, [ir.Constant(ir.IntType(32), n)])) for n in range(2))
        m, n, k = mm.size
        corners = (builder.mul(x, number(m)), builder.mul(y, number(n)))

        def buffer(turn: Any, side: int) -> Any:
            start = builder.mul(builder.urem(turn, number(depth)), number(size))
            return builder.gep(shared, [builder.add(start, number(offsets[side]))])

        def load(turn: Any) -> None:
            """Begin to copy the tiles of a turn."""
            along = builder.mul(turn, number(k))
            for side, name in enumerate("ab"):
                row, column = (corners[0], along) if side == 0 else (along, corners[1])
                slow, fast = (row, column) if mm._rows[side] else (column, row)
                leading = fields[f"{name}_leading"]
                elements = builder.add(builder.mul(slow, leading), fast)
                address = builder.add(
                    fields[name], builder.mul(elements, number(_itemsize(to, sides[side][0].dtype)))
                )
                source = builder.inttoptr(address, to.context.get_value_type(POINTER))
                call_function(to, mm, copies[side], to.bytes(source), leading, to.bytes(buffer(turn, side)))

        tiles = fields["tiles"]
        for turn in range(depth - 1):
            with builder.if_then(builder.icmp_signed("<", number(turn), tiles)):
                load(number(turn))
            assembly(to, "cp.async.commit_group;")
        with cgutils.for_range(builder, tiles, intp=word) as loop:
            ahead = builder.add(loop.index, number(depth - 1))
            with builder.if_then(builder.icmp_signed("<", ahead, tiles)):
                load(ahead)
            assembly(to, "cp.async.commit_group;")
            assembly(to, f"cp.async.wait_group {depth - 1};")
            barrier(to)
            passed = [to.bytes(buffer(loop.index, side)) for side in range(2)]
            call_function(to, mm, product, *passed, to.bytes(builder.extract_value(into, 0)))
            barrier(to)

    return Plan(types.none, emit)


def _itemsize(to: Emitter, dtype: Any) -> int:
    return to.context.get_abi_sizeof(to.context.get_data_type(dtype))
