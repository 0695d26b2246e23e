"""Code for tensors: what libmathdx tells of them, and the functions that work on them, some at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from planmath.bindings import mathdx
from planmath.core import code_cache
from planmath.core.cuda.mathdx.descriptors import Description, packed, unpacked, versions
from planmath.device.function import choose
from planmath.device.targets import Code, CodeType

if TYPE_CHECKING:
    from planmath.device.matmul import Matmul

#: What can be asked for: tensors of these kinds, which are names of libmathdx's in lower case.
KINDS = tuple(each.name.lower() for each in mathdx.CublasdxTensorType)
_OF_PIPELINES = ("WITH_PIPELINE", "ENABLE_INPUT_STREAMING")
_TRAITS = ("LOGICAL_SIZE", "STORAGE_BYTES", "ALIGNMENT_BYTES")


class Operand(NamedTuple):
    """A tensor of a function: its kind, and the number of its value type where that is not the product's."""

    kind: str
    value_type: int | None = None


class Function(NamedTuple):
    """A function on tensors.

    Parameters
    ----------
    name : str
        Of libmathdx's ``cublasdxDeviceFunctionType``.
    operands : tuple of Operand
    alignment : int
        Bytes, for copies; 0 where it is the tensors'.
    """

    name: str
    operands: tuple[Operand, ...]
    alignment: int = 0

    def symbol(self, description: Description, code_type: CodeType) -> str:
        return f"planmath_{self.name.lower()}_{code_cache.digest(description, self, code_type)[:20]}"

    def parameters(self) -> str:
        """Of the C function, and of the one that planmath puts before it: ``p`` a pointer, ``t`` a tensor of shared
        memory or registers, ``g`` one of global memory, which is an address and a leading dimension."""
        tensors = ["g" if each.kind.startswith("gmem") else "t" for each in self.operands]
        if self.name == "EXECUTE" and "smem" in self.operands[-1].kind:
            return f"p{tensors[0]}{tensors[1]}p{tensors[2]}"
        if self.name == "AXPBY":
            return f"p{tensors[0]}p{tensors[1]}"
        if self.name == "MAP_IDX2CRD_PARTITIONER":
            return f"{tensors[0]}ppp"
        if self.name in ("IS_THREAD_ACTIVE", "IS_PREDICATED"):
            return f"{tensors[0]}p"
        if self.name == "IS_INDEX_IN_BOUNDS":
            return f"{tensors[0]}pp"
        return "".join(tensors)


def description(mm: Matmul) -> Description:
    """Of a product of tensors. Pipelines are made of its copies, and need no other code."""
    library, operators = mm._description(2)
    return Description(library, tuple(each for each in operators if each[0] not in _OF_PIPELINES))


def traits(mm: Matmul, kind: str) -> dict[str, int]:
    """Elements, bytes and alignment of a tensor: of all kinds at once, since asking takes seconds. Kept on disk."""
    return _traits(description(mm))[kind]


@cache
def _traits(described: Description) -> dict[str, dict[str, int]]:
    name = code_cache.digest("tensors", versions(), described, KINDS)
    return json.loads(code_cache.get(name, lambda: json.dumps(_ask(described)).encode()))


def _ask(described: Description) -> dict[str, dict[str, int]]:
    kinds = [kind for kind in KINDS if not kind.startswith("gmem")]
    with described.handle() as handle, _tensors(handle, [Operand(kind) for kind in kinds]) as tensors:
        return {
            kind: {
                name: mathdx.cublasdx_get_tensor_trait_int64(tensor, mathdx.CublasdxTensorTrait[name])
                for name in _TRAITS
            }
            for kind, tensor in zip(kinds, tensors, strict=True)
        }


@contextmanager
def _tensors(handle: int, operands: Sequence[Operand]) -> Iterator[list[int]]:
    with ExitStack() as stack:
        found = []
        for kind, value in operands:
            tensor = mathdx.cublasdx_create_tensor(handle, mathdx.CublasdxTensorType[kind.upper()])
            stack.callback(mathdx.cublasdx_destroy_tensor, tensor)
            if value is not None:
                mathdx.cublasdx_finalize_tensors(1, [tensor])
                tensor = mathdx.cublasdx_make_tensor_like(tensor, value)
                stack.callback(mathdx.cublasdx_destroy_tensor, tensor)
            found.append(tensor)
        if found:
            mathdx.cublasdx_finalize_tensors(len(found), found)
        yield found


def compile_functions(described: Description, code_type: CodeType, functions: Sequence[Function]) -> Code:
    """LTO-IR of some functions of one product."""
    ordered = sorted(set(functions))
    name = code_cache.digest("functions", versions(), described, code_type, ordered)

    def make() -> bytes:
        with ExitStack() as stack:
            handle = stack.enter_context(described.handle())
            made = []
            for function in ordered:
                tensors = stack.enter_context(_tensors(handle, function.operands))
                number = mathdx.cublasdx_create_device_function(
                    handle, mathdx.CublasdxDeviceFunctionType[function.name], len(tensors), tensors
                )
                stack.callback(mathdx.cublasdx_destroy_device_function, number)
                options = mathdx.CublasdxDeviceFunctionOption
                symbol = function.symbol(described, code_type)
                mathdx.cublasdx_set_device_function_option_str(number, options.SYMBOL_NAME, symbol)
                if function.alignment:
                    mathdx.cublasdx_set_device_function_option_int64(number, options.COPY_ALIGNMENT, function.alignment)
                made.append(number)
            return packed(code_type.cc, lambda code: mathdx.cublasdx_finalize_device_functions(code, len(made), made))

    return unpacked(code_type, code_cache.get(name, make))


def compile_shims(described: Description, code_type: CodeType, functions: Sequence[Function]) -> Code:
    """LTO-IR of functions with pointers and integers only, which call those with structs by value.

    So what compilers make of structs stays between two C++ compilers.
    """
    lines = ["struct t { void *p; };", "struct g { void *p; long long l; };"]
    for function in sorted(set(functions)):
        symbol = function.symbol(described, code_type)
        taken, passed, declared = [], [], []
        for n, letter in enumerate(function.parameters()):
            declared.append({"p": "void *", "t": "t", "g": "g"}[letter])
            taken.append(f"void *p{n}" + (f", long long l{n}" if letter == "g" else ""))
            passed.append({"p": f"p{n}", "t": f"t{{p{n}}}", "g": f"g{{p{n}, l{n}}}"}[letter])
        lines.append(f'extern "C" __device__ void {symbol}({", ".join(declared)});')
        lines.append(
            f'extern "C" __device__ void {symbol}_call({", ".join(taken)}) {{ {symbol}({", ".join(passed)}); }}'
        )
    source = "\n".join(lines)

    def make() -> bytes:
        from planmath.bindings import nvrtc

        arch = f"--gpu-architecture=compute_{code_type.cc.major}{code_type.cc.minor}"
        options = [arch, "-dlto", "--relocatable-device-code=true", "-default-device"]
        return (0).to_bytes(4, "little") + nvrtc.compile_to_ltoir(source, options)

    return unpacked(code_type, code_cache.get(code_cache.digest("shims", versions()[1], source, code_type), make))


def compile_tensors(mm: Matmul, code_type: CodeType, name: str, kinds: tuple[str, ...]) -> tuple[Code, str]:
    """The code of a product of tensors for another compiler, and the name of its C function."""
    if len(kinds) != 3:
        raise ValueError(f"tensor_types is three names, of A, B and C, not {kinds!r}")
    operands = tuple(Operand(choose("tensor_types", kind, KINDS)) for kind in kinds)
    function = Function(name, operands)
    described = description(mm)
    return compile_functions(described, code_type, [function]), function.symbol(described, code_type)
