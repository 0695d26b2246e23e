"""What Numba makes of callbacks: loops for the CPU, and LTO-IR for CUDA devices. Imported only where it is used."""

from __future__ import annotations

import inspect
import json
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from planmath.core import code_cache, fingerprints, waiting
from planmath.core.arrays import dtype_name
from planmath.core.cuda.compiling import compiling_for
from planmath.native.forks import load_module

#: The types that elements can have; and user_info where it is given by a name.
DTYPES = ("float32", "float64", "complex64", "complex128")
#: How the parameters are called in messages, by phase.
PARAMETERS = {
    "prolog": ("data_in", "offset", "user_info", "reserved"),
    "epilog": ("data_out", "offset", "data", "user_info", "reserved"),
}
RETURNS = {"prolog": "it returns the element that the transform loads", "epilog": "it stores, and returns nothing"}
#: The names that cuFFT has for callbacks.
SYMBOLS = {
    ("prolog", "float32"): "_Z24cufftJITCallbackLoadRealPvyS_S_",
    ("prolog", "float64"): "_Z30cufftJITCallbackLoadDoubleRealPvyS_S_",
    ("prolog", "complex64"): "_Z27cufftJITCallbackLoadComplexPvyS_S_",
    ("prolog", "complex128"): "_Z33cufftJITCallbackLoadDoubleComplexPvyS_S_",
    ("epilog", "float32"): "_Z25cufftJITCallbackStoreRealPvyfS_S_",
    ("epilog", "float64"): "_Z31cufftJITCallbackStoreDoubleRealPvydS_S_",
    ("epilog", "complex64"): "_Z28cufftJITCallbackStoreComplexPvy6float2S_S_",
    ("epilog", "complex128"): "_Z34cufftJITCallbackStoreDoubleComplexPvy7double2S_S_",
}
#: What the loops for the CPU return where a callback raised an exception.
FAILED = {"prolog": 1, "epilog": 2}
#: Changes with the code that is made here.
GENERATION = 4
#: Loops that stay loaded where nothing uses them any more.
MOST_KEPT = 256


class Description(NamedTuple):
    """A callback before it is compiled."""

    phase: str
    """'prolog' or 'epilog'."""
    function: FunctionType
    element: str
    user_info: Any
    """Numba's type."""

    @property
    def name(self) -> str:
        return f"{self.phase} {getattr(self.function, '__qualname__', self.function)}"

    @property
    def signature(self) -> Any:
        types = numba().types
        element = getattr(types, self.element)
        pointer, info = types.CPointer(element), types.CPointer(self.user_info)
        if self.phase == "prolog":
            return element(pointer, types.uint64, info, pointer)
        return types.void(pointer, types.uint64, element, info, pointer)

    def digest(self, *target: object) -> str | None:
        """The name of what is made of it for a target; None where the function has no fingerprint."""
        function = fingerprints.fingerprint(self.function)
        if function is None:
            return None
        return code_cache.digest(
            GENERATION, self.phase, function, self.element, str(self.user_info), numba().__version__, *target
        )


class Loops(NamedTuple):
    """Loops with a callback in them, compiled for this processor: a ``pm_rows`` of ``core/tiles.h``."""

    address: int
    keep: Any
    writes: frozenset[str]
    """The parameters, as `PARAMETERS` calls them, to whose memory the callback writes."""


def numba() -> Any:
    """Numba.

    Raises
    ------
    RuntimeError
        If it is not installed.
    """
    try:
        return load_module("numba")
    except ImportError as error:
        raise RuntimeError(f"callbacks written in Python need Numba ({error}): pip install planmath[jit]") from error


#: Functions that make something else when they are called than what they return, by flags of their code.
_OTHERS = {
    inspect.CO_COROUTINE: "a coroutine function", inspect.CO_ASYNC_GENERATOR: "an asynchronous generator function",
    inspect.CO_GENERATOR: "a generator function",
}  # fmt: skip


def check_parameters(phase: str, function: Any) -> FunctionType:
    """The Python function. Raises TypeError where it is none, or takes other parameters."""
    plain = getattr(function, "py_func", function)
    if not isinstance(plain, FunctionType):
        raise TypeError(f"{phase} is a {type(function).__name__}; expected a Python function")
    names, code = PARAMETERS[phase], plain.__code__
    several = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    given = f"the {phase} {plain.__qualname__}{inspect.signature(plain, follow_wrapped=False)}"
    for flag, kind in _OTHERS.items():
        if code.co_flags & flag:
            raise TypeError(f"{given} is {kind}; expected one that {RETURNS[phase].removeprefix('it ')}")
    if several or code.co_kwonlyargcount or code.co_argcount != len(names):
        raise TypeError(
            f"{given} is not a function of {len(names)} arguments, which are given by position, none of them optional; "
            f"expected {phase}({', '.join(names)})"
        )
    return plain


def check_element(dtype: Any) -> str:
    """The name of one of `DTYPES`. Raises ValueError where it is none."""
    try:
        name = dtype if isinstance(dtype, str) else dtype_name(dtype)
    except TypeError:
        name = None
    if name not in DTYPES:
        half = ": half precision has no callbacks" if name in ("float16", "complex32") else ""
        raise ValueError(f"element_dtype is {dtype!r}; expected one of {', '.join(map(repr, DTYPES))}{half}")
    return name


def check_user_info(dtype: Any) -> Any:
    """Numba's type. Raises ValueError where it is none: one of four names, such a type, or a dtype of NumPy's."""
    types = numba().types
    if isinstance(dtype, str) and dtype in DTYPES:
        return getattr(types, dtype)
    if isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic)):
        given = np.dtype(dtype)
        try:
            found = numba().from_dtype(given) if given.kind in "biufcV" and given.isnative else None
        except load_module("numba.core.errors").NumbaError:  # it has no such type
            found = None
    else:
        found = dtype
    if isinstance(found, types.Type) and not isinstance(found, types.Record):
        return found
    what = "a record type, to which Numba has no pointers" if isinstance(found, types.Type) else repr(dtype)
    raise ValueError(
        f"user_info_dtype is {what}; expected one of {', '.join(map(repr, DTYPES))}, or another type of numba.types, "
        "such as numba.types.int32"
    )


# What is compiled of a function as other compilers understand it.

#: The function that is being compiled in this context.
_compiled: ContextVar[Any] = ContextVar("compiled", default=None)


@contextmanager
def _as_callback(function: Any, package: str) -> Iterator[None]:
    """Have one of Numba's compilers, by the package that it is, compile a function as a callback.

    A quotient of complex numbers is what NumPy computes, also where the divisor is zero: Numba's own would raise an
    exception, of which a kernel makes a zero. And there is no callback that may return None for an element.
    """
    _watch(package)
    token = _compiled.set(function)
    try:
        yield
    finally:
        _compiled.reset(token)


@cache
def _watch(package: str) -> None:
    """Let a compiler look at callbacks once it knows the types in them; other functions are as they were."""
    rewrites, ir, errors = (load_module(f"{package}.core.{name}") for name in ("rewrites", "ir", "errors"))
    types = load_module(f"{package}.types")

    class Callback(rewrites.Rewrite):  # type: ignore[name-defined]
        def match(self, func_ir: Any, block: Any, typemap: Any, calltypes: Any) -> bool:
            if _compiled.get() is None or func_ir.func_id.func is not _compiled.get():
                return False
            returned = getattr(block.terminator, "value", None)
            for made in block.find_insts(ir.Assign):
                if made.target == returned and getattr(made.value, "op", "") == "cast":
                    kind = typemap[made.value.value.name]
                    if isinstance(kind, types.Optional):
                        raise errors.TypingError(f"it may return {kind.type} or None", loc=made.loc)
            self.block, self.quotients = block, [
                each
                for op in ("binop", "inplace_binop")
                for each in block.find_exprs(op=op)
                if each.fn in (operator.truediv, operator.itruediv)
                and isinstance(calltypes[each].return_type, types.Complex)
            ]
            return bool(self.quotients)

        def apply(self) -> Any:
            for quotient in self.quotients:
                quotient.fn = np.divide
                if quotient.op == "inplace_binop":
                    quotient.immutable_fn = np.divide
            return self.block

    rewrites.register_rewrite("after-inference")(Callback)


# Code for the CPU.

_loaded: code_cache.Pieces[Loops] = code_cache.Pieces(MOST_KEPT)


def host_loops(described: Description) -> Loops:
    """The loops with a callback for the CPU, from memory, from disk, or compiled now.

    Raises
    ------
    numba.core.errors.TypingError
        If Numba cannot compile it.
    """
    name, title = described.digest(*_processor(), str(numba().config.OPT)), f"compiling the {described.name}"
    if name is None:
        return waiting.interruptible(title, lambda: _compile_loops(described)[0])
    return _loaded.get(name, lambda: _restored(name), lambda: _make_loops(described, name), title)


def _restored(name: str) -> Loops | None:
    kept = code_cache.load(name)
    return None if kept is None else _from_disk(kept)


def _make_loops(described: Description, name: str) -> Loops:
    """Compile them, and keep them on disk."""
    loops, content = _compile_loops(described)
    if content is not None:
        code_cache.store(name, content)
    return loops


@cache
def _processor() -> tuple[str, str, str]:
    binding = load_module("llvmlite.binding")
    return (
        load_module("llvmlite").__version__, binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    )  # fmt: skip


def _compile_loops(described: Description) -> tuple[Loops, bytes | None]:
    """Compile them; with what another process needs to load them, if it can."""
    library = numba()
    options = {"error_model": "numpy", "nogil": True}
    with _explained(described, "the CPU"):
        with _as_callback(described.function, "numba"):
            callback = library.njit(described.signature, **options)(described.function)
        nest = library.njit(**options)(_nest(described, callback))

        failed = FAILED[described.phase]

        def rows(array, tile, data, offset, n_outer, step_outer, tile_outer, n, step, tile_step):
            try:
                nest(array, tile, data, offset, n_outer, step_outer, tile_outer, n, step, tile_step)
            except Exception:
                return failed
            return 0

        word = library.types.int64
        compiled = library.cfunc(library.types.int32(*[word] * 10), error_model="numpy")(rows)
    writes = _written(callback, described)
    return Loops(compiled.address, compiled, writes), _for_disk(compiled, writes)


def _written(callback: Any, described: Description) -> frozenset[str]:
    """To which of its parameters a callback writes, by what LLVM found out of pointers; none where it did not look."""
    made = callback.overloads[tuple(described.signature.args)]
    module = load_module("llvmlite.binding").parse_assembly(made.library.get_llvm_str())
    found = {each.name: set(each.attributes) for each in module.get_function(made.fndesc.llvm_func_name).arguments}
    names = zip(PARAMETERS[described.phase], described.function.__code__.co_varnames, strict=False)
    only_read = {
        name: not found[f"arg.{own}"].isdisjoint((b"readonly", b"readnone"))
        for name, own in names
        if name not in ("offset", "data")
    }
    looked = any(only_read.values())  # one at least has no use: it is not to be used
    return frozenset(name for name, read in only_read.items() if looked and not read)


def _nest(described: Description, callback: Any) -> Callable[..., None]:
    """The loops around a callback, as a Python function for Numba, which compiles the callback into them.

    The inner loop stands there twice, so that the one without gaps becomes vector instructions.
    """
    pointer, types = _pointer(), numba().types
    element, info, uint64 = getattr(types, described.element), described.user_info, types.uint64

    def load(array, tile, data, offset, n_outer, step_outer, tile_outer, n, step, tile_step):
        source, target, user_info = pointer(array, element), pointer(tile, element), pointer(data, info)
        for outer in range(n_outer):
            here, there = offset + outer * step_outer, outer * tile_outer
            if step == 1 and tile_step == 1:
                for inner in range(n):
                    target[there + inner] = callback(source, uint64(here + inner), user_info, source)
            else:
                for inner in range(n):
                    target[there + inner * tile_step] = callback(source, uint64(here + inner * step), user_info, source)

    def store(array, tile, data, offset, n_outer, step_outer, tile_outer, n, step, tile_step):
        target, source, user_info = pointer(array, element), pointer(tile, element), pointer(data, info)
        for outer in range(n_outer):
            here, there = offset + outer * step_outer, outer * tile_outer
            if step == 1 and tile_step == 1:
                for inner in range(n):
                    callback(target, uint64(here + inner), source[there + inner], user_info, target)
            else:
                for inner in range(n):
                    callback(
                        target, uint64(here + inner * step), source[there + inner * tile_step], user_info, target
                    )  # fmt: skip

    return load if described.phase == "prolog" else store


@cache
def _pointer() -> Any:
    """For code that Numba compiles: a pointer to elements of a type at an address."""
    types, extending = numba().types, load_module("numba.extending")

    @extending.intrinsic
    def pointer(context, address, element):
        made = types.CPointer(element.instance_type)

        def generate(target, builder, signature, arguments):
            return builder.inttoptr(arguments[0], target.get_value_type(made))

        return made(types.intp, element), generate

    return pointer


def _for_disk(compiled: Any, writes: frozenset[str]) -> bytes | None:
    """Machine code with its name and the symbols that it needs; None where addresses of this process are in it."""
    text = compiled.inspect_llvm()
    if "numba.dynamic.globals" in text:
        return None
    binding = load_module("llvmlite.binding")
    module = binding.parse_assembly(text)
    needed = [
        symbol.name
        for symbol in (*module.functions, *module.global_variables)
        if symbol.is_declaration and not symbol.name.startswith("llvm.")
    ]
    header = json.dumps([compiled.native_name, needed, sorted(writes)]).encode()
    return header + b"\n" + bytes(_target_machine().emit_object(module))


def _from_disk(content: bytes) -> Loops | None:
    """The loops that another process compiled; None where what they need is not there."""
    header, _, machine_code = content.partition(b"\n")
    name, needed, writes = json.loads(header)
    binding = load_module("llvmlite.binding")
    load_module("numba.core.registry").cpu_target.target_context  # noqa: B018  it tells LLVM of Numba's own symbols
    if any(binding.address_of_symbol(symbol) is None for symbol in needed):
        return None
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    return Loops(engine.get_function_address(name), engine, frozenset(writes))


def _target_machine() -> Any:
    binding = load_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    _, cpu, features = _processor()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


# Code for devices.


@cache
def _cuda_version() -> str:
    """The version of Numba's compiler for CUDA, which takes long to import."""
    metadata = load_module("importlib.metadata")
    try:
        return metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        raise RuntimeError(
            "callbacks for CUDA devices need numba-cuda and NVVM: pip install planmath[cu13] or planmath[cu12]"
        ) from None


def has_cuda_compiler() -> bool:
    """Whether Numba's compiler for CUDA is installed."""
    try:
        return bool(_cuda_version())
    except RuntimeError:
        return False


@cache
def cuda_compiler() -> Any:
    """Numba's compiler for CUDA devices.

    Raises
    ------
    RuntimeError
        If it, or NVVM, is not installed.
    """
    if not hasattr(np, "row_stack"):
        np.row_stack = np.vstack  # numba-cuda 0.30 reads it, and NumPy 2.5 has it no more
    _cuda_version()
    try:
        return load_module("numba.cuda")
    except ImportError as error:
        raise RuntimeError(
            f"Numba's compiler for CUDA cannot be used ({error}): pip install planmath[cu13] or planmath[cu12]"
        ) from error


def device_code(described: Description, capability: tuple[int, int], symbol: str, representation: str) -> bytes:
    """A callback for a device, as LTO-IR or PTX, from disk or compiled now.

    Raises
    ------
    numba.core.errors.TypingError
        If Numba cannot compile it.
    RuntimeError
        If its compiler for CUDA is not there.
    """
    return _for_device(
        described, lambda compiler: (described.function, described.signature), capability, symbol, representation
    )


#: The symbols of callbacks that get an element by its address.
BY_ADDRESS = {"prolog": "planmath_load", "epilog": "planmath_store"}


def code_by_address(described: Description, capability: tuple[int, int]) -> bytes:
    """A callback for kernels of planmath's own, as a function of array, offset, address of the element, and data.

    Complex numbers by value are not the same types to Numba and to NVRTC, and a function with such is not compiled into
    the kernel that calls it.
    """
    types = numba().types
    element = types.CPointer(getattr(types, described.element))
    signature = types.void(element, types.uint64, element, types.CPointer(described.user_info))

    def adapted(compiler: Any) -> tuple[Callable[..., None], Any]:
        callback = compiler.jit(device=True, inline="always")(described.function)

        def load(array, offset, element, user_info):
            element[0] = callback(array, offset, user_info, array)

        def store(array, offset, element, user_info):
            callback(array, offset, element[0], user_info, array)

        return load if described.phase == "prolog" else store, signature

    return _for_device(described, adapted, capability, BY_ADDRESS[described.phase], "ltoir")


def _for_device(
    described: Description, made_for: Callable[[Any], tuple[Callable[..., Any], Any]], capability: tuple[int, int],
    symbol: str, representation: str,
) -> bytes:  # fmt: skip
    def make() -> bytes:
        compiler = cuda_compiler()
        failures: tuple[type[BaseException], ...] = (ImportError, OSError, *_nvvm_errors())
        try:
            shown = waiting.going_on(f"compiling the {described.name}")
            where = f"compute capability {capability[0]}.{capability[1]}"
            with _explained(described, where), compiling_for(capability), shown:
                function, signature = made_for(compiler)
                with _as_callback(function, "numba.cuda"):
                    code, _ = compiler.compile(
                        function, signature, device=True, abi="c", abi_info={"abi_name": symbol},
                        output=representation, cc=capability,
                    )  # fmt: skip
        except failures as error:
            raise RuntimeError(f"the {described.name} cannot be compiled for CUDA devices: {error}") from error
        return code.encode() if isinstance(code, str) else bytes(code)

    name = described.digest(capability, symbol, representation, _cuda_version())
    return make() if name is None else code_cache.get(name, make, None)


def _nvvm_errors() -> tuple[type[Exception], ...]:
    """What NVVM's bindings raise where it refuses what Numba made, such as a function that raises exceptions."""
    try:
        return (load_module("cuda.bindings.nvvm").nvvmError,)
    except ImportError:
        return ()


class _explained:
    """Says of Numba's errors which callback they are about."""

    def __init__(self, described: Description, where: str):
        self._described, self._where = described, where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        errors = load_module("numba.core.errors")
        if isinstance(error, (errors.NumbaError, NotImplementedError)):
            described = self._described
            raise errors.TypingError(
                f"the {described.name} cannot be compiled for {self._where} with the types {described.signature} "
                f"({RETURNS[described.phase]}): {error}"
            ) from error
