"""`Matmul`: products of matrices inside kernels, by cuBLASDx."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from planmath.core.cuda.mathdx import descriptors
from planmath.core.cuda.mathdx.descriptors import Description
from planmath.device import inside
from planmath.device.function import Choice, DeviceFunction, choose, positives
from planmath.device.layouts import Layout, SharedStorageCalc
from planmath.device.targets import (
    SPECIFIC,
    Code,
    CodeType,
    ComputeCapability,
    Dim3,
    check_block,
    check_code_type,
    target,
)
from planmath.device.value_types import INT_NP_TYPES, PRECISION, REAL_NP_TYPES, Complex, host_dtype, precision

#: Bytes to which operands may be said to be aligned.
LARGEST_ALIGNMENT = 16
APIS = {"static_leading_dimensions": 0, "dynamic_leading_dimensions": 1, "tensors": 2}


class Precision(NamedTuple):
    """The precisions of A, B and C."""

    a: type
    b: type
    c: type


class Arrangement(NamedTuple):
    """How A, B and C lie in memory: ``"row_major"`` or ``"col_major"``."""

    a: str
    b: str
    c: str


class TransposeMode(NamedTuple):
    """What of A and B is multiplied: ``"non_transposed"``, ``"transposed"`` or ``"conj_transposed"``."""

    a: str
    b: str


class LeadingDimension(NamedTuple):
    """Elements from one row, or column, of A, B and C to the next."""

    a: int
    b: int
    c: int


class Alignment(NamedTuple):
    """Bytes to which A, B and C are aligned."""

    a: int
    b: int
    c: int


MAX_ALIGNMENT = Alignment(LARGEST_ALIGNMENT, LARGEST_ALIGNMENT, LARGEST_ALIGNMENT)


class Matmul(DeviceFunction):
    """C ← alpha A B + beta C by the threads of a block, or by each thread.

    Parameters
    ----------
    size : (int, int, int)
        m, n, k: A is m × k, B is k × n, C is m × n.
    precision : type or sequence of three
        Of A, B and C: `REAL_NP_TYPES` or `INT_NP_TYPES`.
    data_type : {'real', 'complex'}
    sm : ComputeCapability or int, optional
        What code is made for; the current device's by default.
    block_size : int or 'suggested', optional
    block_dim : tuple of int or 'suggested', optional
        The block; only one of the two. By default what the library prefers.
    leading_dimension : three int or 'suggested', optional
        Tight by default.
    transpose_mode : two str, optional
        Deprecated.
    arrangement : three str, optional
        Either this or `transpose_mode` has to be given.
    alignment : three int, optional
        Bytes: multiples of an element's, 16 at most.
    function : {'MM'}
    static_block_dim : bool, default: False
        Whether the block is exactly `block_dim`, in one, two or three dimensions.
    execution : {'Block', 'Thread'}, default: 'Block'
    with_pipeline, enable_input_streaming : bool, default: False
        For the tiles of a `DevicePipeline`; that inputs are used as they are loaded.

    Notes
    -----
    In a kernel: ``execute(alpha, a, b, beta, c)`` with arrays in shared memory or with tensors,
    ``execute(alpha, a, lda, b, ldb, beta, c, ldc)``, and ``execute(a, b, accumulator)``. All threads of the block call;
    ``cuda.syncthreads()`` before and after is the caller's.
    """

    hidden: ClassVar[frozenset[str]] = frozenset(
        {"arrangement", "transpose_mode", "precision", "data_type", "function"}
    )

    def __init__(
        self,
        size: Sequence[int],
        precision: Any,
        data_type: str,
        *,
        sm: Any = None,
        block_size: int | str | None = None,
        block_dim: Any = None,
        leading_dimension: Any = None,
        transpose_mode: Any = None,
        arrangement: Any = None,
        alignment: Any = None,
        function: str = "MM",
        static_block_dim: bool = False,
        execution: str = "Block",
        with_pipeline: bool = False,
        enable_input_streaming: bool = False,
    ):
        self.size = positives("size", size, (3,))
        self.precision = _precisions(precision)
        self.data_type = choose("data_type", data_type, ("real", "complex"))
        self.function = choose("function", function, ("MM",))
        self.execution = choose("execution", execution, tuple(Choice.EXECUTION))
        found = target(sm)
        self.sm = found if found.arch != "a" or found[:2] in SPECIFIC else ComputeCapability(*found[:2])
        if (arrangement is None) == (transpose_mode is None):
            raise ValueError("exactly one of arrangement and transpose_mode is given")
        self.arrangement = (
            None if arrangement is None else Arrangement(*_words("arrangement", arrangement, 3, Choice.ARRANGEMENT))
        )
        self.transpose_mode = None
        if transpose_mode is not None:
            warnings.warn("transpose_mode is deprecated: say arrangement", DeprecationWarning, stacklevel=2)
            self.transpose_mode = TransposeMode(*_words("transpose_mode", transpose_mode, 2, Choice.TRANSPOSE))
        self.static_block_dim, self.with_pipeline = bool(static_block_dim), bool(with_pipeline)
        self.enable_input_streaming = bool(enable_input_streaming)
        kinds = [Complex(each) if self.data_type == "complex" else each for each in self.precision]
        self.a_value_type, self.b_value_type, self.c_value_type = kinds
        self.alignment = self._alignment(alignment)
        self._asked_block = self._block(block_size, block_dim)
        self._asked_leading = leading_dimension
        self.leading_dimension = self._leading(leading_dimension)

    # What is given, checked.

    def _alignment(self, given: Any) -> Alignment:
        sizes = [host_dtype(each).itemsize for each in (self.a_value_type, self.b_value_type, self.c_value_type)]
        if given is None:
            return Alignment(*sizes)
        found = Alignment(*positives("alignment", given, (3,)))
        for name, bytes_, size in zip("abc", found, sizes, strict=True):
            if bytes_ % size or bytes_ > LARGEST_ALIGNMENT or bytes_ & (bytes_ - 1):
                raise ValueError(
                    f"the alignment of {name} is a power of two from {size} (an element) to {LARGEST_ALIGNMENT} bytes, "
                    f"not {bytes_}"
                )
        return found

    def _block(self, block_size: Any, block_dim: Any) -> Any:
        if block_size is not None and block_dim is not None:
            raise ValueError("block_size and block_dim are two ways to say one thing: give one")
        given = block_size if block_dim is None else block_dim
        if self.execution == "Thread" and given is not None:
            raise ValueError("block_size and block_dim are for execution='Block'")
        if given is None or isinstance(given, str):
            return None if given is None else choose("block_size and block_dim", given, ("suggested",))
        return check_block("block_size" if block_dim is None else "block_dim", given)

    def _leading(self, given: Any) -> LeadingDimension:
        if isinstance(given, str):
            choose("leading_dimension", given, ("suggested",))
            return LeadingDimension(*self._traits["SUGGESTED_LEADING_DIMENSION"])
        least = LeadingDimension(*(d[1] if row else d[0] for d, row in zip(self._dims, self._rows, strict=True)))
        if given is None:
            return least
        found = LeadingDimension(*positives("leading_dimension", given, (3,)))
        for name, have, need in zip("abc", found, least, strict=True):
            if have < need:
                raise ValueError(f"the leading dimension of {name} is {need} at least, not {have}")
        return found

    # Shapes.

    @property
    def _dims(self) -> tuple[tuple[int, int], ...]:
        m, n, k = self.size
        a, b = (m, k), (k, n)
        if self.transpose_mode:
            a = a if self.transpose_mode.a == "non_transposed" else (k, m)
            b = b if self.transpose_mode.b == "non_transposed" else (n, k)
        return a, b, (m, n)

    @property
    def _rows(self) -> tuple[bool, ...]:
        return tuple(each == "row_major" for each in self.arrangement or ("col_major",) * 3)

    @property
    def a_dim(self) -> tuple[int, int]:
        """The shape of A in memory."""
        return self._dims[0]

    @property
    def b_dim(self) -> tuple[int, int]:
        """The shape of B in memory."""
        return self._dims[1]

    @property
    def c_dim(self) -> tuple[int, int]:
        """The shape of C."""
        return self._dims[2]

    def _elements(self, which: int, leading: int | None = None) -> int:
        rows, columns = self._dims[which]
        return (leading or self.leading_dimension[which]) * (rows if self._rows[which] else columns)

    @property
    def a_size(self) -> int:
        """Elements of A in memory, with its leading dimension."""
        return self._elements(0)

    @property
    def b_size(self) -> int:
        """Elements of B in memory, with its leading dimension."""
        return self._elements(1)

    @property
    def c_size(self) -> int:
        """Elements of C in memory, with its leading dimension."""
        return self._elements(2)

    # The block.

    @cached_property
    def block_dim(self) -> Dim3 | None:
        """The block that executes; None for 'Thread'. Where it was not given, libmathdx is asked, in seconds, once."""
        if self.execution == "Thread":
            return None
        if isinstance(self._asked_block, Dim3):
            return self._asked_block
        return Dim3(*self._traits["SUGGESTED_BLOCK_DIM"])

    @property
    def block_size(self) -> int | None:
        """Threads of the block."""
        return None if self.block_dim is None else self.block_dim.x * self.block_dim.y * self.block_dim.z

    @property
    def max_threads_per_block(self) -> int | None:
        """The most threads that a block with this product may have."""
        return self.block_size

    def valid(self, *knobs: str) -> list[tuple[Dim3]]:
        """Blocks, the suggested one first: one knob there is, ``"block_dim"``."""
        if knobs != ("block_dim",):
            raise ValueError(f"the knob is 'block_dim', not {knobs!r}")
        if self.execution == "Thread":
            return []
        suggested = Dim3(*self._traits["SUGGESTED_BLOCK_DIM"])
        others = (Dim3(32 << n) for n in range(6))
        return [(suggested,), *((each,) for each in others if each != suggested)]

    # What libmathdx is told and asked.

    def _description(self, api: int = 0, resolved: bool = True) -> Description:
        from planmath.bindings import mathdx

        operators: dict[str, descriptors.Value] = {
            "FUNCTION": 0,
            "SIZE": self.size,
            "TYPE": Choice.TYPE[self.data_type],
            "PRECISION": tuple(int(mathdx.CommondxPrecision[PRECISION[each]]) for each in self.precision),
            "SM": self.sm.integer,
            "EXECUTION": Choice.EXECUTION[self.execution],
            "API": api,
            "ALIGNMENT": tuple(self.alignment),
        }
        if self.arrangement:
            operators["ARRANGEMENT"] = tuple(Choice.ARRANGEMENT[each] for each in self.arrangement)
        if self.transpose_mode:
            operators["TRANSPOSE_MODE"] = tuple(Choice.TRANSPOSE[each] for each in self.transpose_mode)
        if self.static_block_dim:
            operators["STATIC_BLOCK_DIM"] = 1
        if self.with_pipeline:
            operators["WITH_PIPELINE"] = 1
        if self.enable_input_streaming:
            operators["ENABLE_INPUT_STREAMING"] = 1
        if resolved and self.block_dim:
            operators["BLOCK_DIM"] = tuple(self.block_dim)
        if resolved and self._asked_leading is not None:
            operators["LEADING_DIMENSION"] = tuple(self.leading_dimension)
        return Description("cublasdx", tuple(operators.items()))

    @cached_property
    def _traits(self) -> dict[str, Any]:
        from planmath.bindings import mathdx

        if inside.simulating() and descriptors.missing():
            return _simulated_traits(self)
        descriptors.require()
        wanted = {"SUGGESTED_LEADING_DIMENSION": "int3"} | (
            {"SUGGESTED_BLOCK_DIM": "int3"} if self.execution == "Block" else {}
        )
        try:
            return self._description(resolved=False).traits(True, **wanted)
        except mathdx.LibMathDxError as error:
            raise ValueError(
                f"libmathdx {descriptors.library_version()} has no product of size {self.size} with precisions "
                f"{tuple(each.__name__ for each in self.precision)} for {self.sm}: {descriptors.compiler_error(error)}"
            ) from None

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return (
            "Matmul",
            self._description(resolved=False),
            tuple(self.leading_dimension),
            self._asked_block,
            str(self.sm),
        )

    # Memory.

    def get_shared_storage_size(self, *args: Any) -> int:
        """Bytes of shared memory for A, B and C behind each other, each aligned.

        Parameters
        ----------
        *args : int or Layout
            Three leading dimensions, or three layouts; the product's own where none is given.
        """
        return self._storage("get_shared_storage_size", args, 3)

    def get_shared_storage_size_ab(self, *args: Any) -> int:
        """Bytes of shared memory for A and B, as by `get_shared_storage_size`."""
        return self._storage("get_shared_storage_size_ab", args, 2)

    def _storage(self, name: str, given: tuple[Any, ...], count: int) -> int:
        if len(given) not in (0, count):
            raise ValueError(f"{name} takes no argument or {count}, not {len(given)}")
        calculator = SharedStorageCalc()
        kinds = (self.a_value_type, self.b_value_type, self.c_value_type)
        for which in range(count):
            item = given[which] if given else None
            itemsize = host_dtype(kinds[which]).itemsize
            if isinstance(item, Layout):
                calculator.add(max(self.alignment[which], item.alignment), itemsize, item)
            else:
                leading = None if item is None else positives(f"the leading dimension of {'abc'[which]}", item, (1,))[0]
                calculator.add(self.alignment[which], itemsize, self._elements(which, leading))
        return calculator.get()

    # Layouts, accumulators, pipelines.

    def _layout(self, kind: str, leading_dimension: int | None = None) -> Layout:
        return Layout._of(self, kind, leading_dimension)

    def get_layout_gmem_a(self, leading_dimension: int | None = None) -> Layout:
        """The layout of a tile of A in global memory."""
        return self._layout("gmem_a", leading_dimension)

    def get_layout_gmem_b(self, leading_dimension: int | None = None) -> Layout:
        """The layout of a tile of B in global memory."""
        return self._layout("gmem_b", leading_dimension)

    def get_layout_gmem_c(self, leading_dimension: int | None = None) -> Layout:
        """The layout of a tile of C in global memory."""
        return self._layout("gmem_c", leading_dimension)

    def get_layout_smem_a(self) -> Layout:
        """The plain layout of A in shared memory."""
        return self._layout("smem_a")

    def get_layout_smem_b(self) -> Layout:
        """The plain layout of B in shared memory."""
        return self._layout("smem_b")

    def get_layout_smem_c(self) -> Layout:
        """The plain layout of C in shared memory."""
        return self._layout("smem_c")

    def suggest_layout_smem_a(self) -> Layout:
        """The layout of A in shared memory that the library prefers; where an element is, it alone knows."""
        return self._layout("suggested_smem_a")

    def suggest_layout_smem_b(self) -> Layout:
        """The layout of B in shared memory that the library prefers."""
        return self._layout("suggested_smem_b")

    def suggest_layout_smem_c(self) -> Layout:
        """The layout of C in shared memory that the library prefers."""
        return self._layout("suggested_smem_c")

    def get_layout_rmem_c(self) -> Layout:
        """The layout of a thread's part of C in registers."""
        return self._layout("rmem_c")

    def suggest_layout_rmem_c(self) -> Layout:
        """The layout of a thread's part of C in registers that the library prefers."""
        return self._layout("suggested_rmem_c")

    def get_accumulator(self) -> Any:
        """In a kernel: the thread's part of C, in registers, which starts at zero."""
        return _accumulator(self, "Matmul.get_accumulator", "accumulator_c")

    def suggest_accumulator(self) -> Any:
        """In a kernel: the thread's part of C in the layout that the library prefers, which starts at zero."""
        return _accumulator(self, "Matmul.suggest_accumulator", "suggested_accumulator_c")

    def suggest_device_pipeline(self, pipeline_depth: int, a: Any, b: Any) -> Any:
        """Tiles of two matrices in global memory, streamed through shared memory; see `DevicePipeline`."""
        from planmath.device.pipelines import DevicePipeline

        return DevicePipeline(self, pipeline_depth, a, b)

    # Code, and calls in kernels.

    def execute(self, *args: Any) -> None:
        """Multiply, in a kernel.

        Raises
        ------
        RuntimeError
            Outside of kernels.
        """
        thread = inside.thread("Matmul.execute")
        from planmath.device.simulator import products

        products.execute(thread, self, *args)

    def __repr__(self) -> str:
        names = "/".join(dict.fromkeys(each.__name__ for each in self.precision))
        return f"<Matmul: {'x'.join(map(str, self.size))}, {self.data_type} {names}, {self.execution}, for {self.sm}>"


def compile_blas_execute(
    blas: Matmul, code_type: CodeType, execute_api: str | None = None, tensor_types: Sequence[str] | None = None
) -> tuple[Code, str]:
    """The code of a product for another compiler, and the name of its C function.

    Parameters
    ----------
    blas : Matmul
    code_type : CodeType
    execute_api : {'static_leading_dimensions', 'dynamic_leading_dimensions', 'tensors'}
    tensor_types : three str, for 'tensors'
        Names of libmathdx's ``cublasdxTensorType``, in lower case, as in ``suggested_smem_a``.
    """
    api = choose("execute_api", execute_api, tuple(APIS))
    code_type = check_code_type(code_type)
    if (api == "tensors") != (tensor_types is not None):
        raise ValueError("tensor_types is given for execute_api='tensors', and only for it")
    if api == "tensors":
        from planmath.device import tensor_code

        assert tensor_types is not None
        return tensor_code.compile_tensors(blas, code_type, "EXECUTE", tuple(tensor_types))
    return compile_arrays(blas, code_type, APIS[api])


def compile_arrays(blas: Matmul, code_type: CodeType, api: int) -> tuple[Code, str]:
    """The code of a product of arrays."""
    description = blas._description(api)
    symbol = description.symbol("matmul", code_type)
    try:
        return description.compile(code_type, symbol), symbol
    except RuntimeError as error:
        if blas.execution == "Thread":  # cuBLASDx solves triangular systems so, and does not multiply
            raise RuntimeError(
                f"libmathdx {descriptors.library_version()} does not compile products for execution='Thread', which "
                "run in the simulator: use execution='Block'"
            ) from error
        raise


def _accumulator(mm: Matmul, function: str, kind: str) -> Any:
    thread = inside.thread(function)
    from planmath.device.simulator import tensors

    return tensors.accumulator(thread, mm, kind)


def _simulated_traits(mm: Matmul) -> dict[str, Any]:
    """Where the simulator has no libmathdx to ask: a block that deals C to the threads of some warps."""
    m, n, _ = mm.size
    threads = max(32, min(256, 1 << max(5, (m * n // 16 - 1).bit_length())))
    return {"SUGGESTED_BLOCK_DIM": [threads, 1, 1], "SUGGESTED_LEADING_DIMENSION": list(mm._leading(None))}


def _precisions(given: Any) -> Precision:
    allowed = REAL_NP_TYPES + INT_NP_TYPES
    given = tuple(given) if isinstance(given, (tuple, list)) else (given,) * 3
    if len(given) != 3:
        raise ValueError(f"precision is a dtype or three of them, for A, B and C, not {given!r}")
    return Precision(*(precision("precision", each, allowed) for each in given))


def _words(name: str, given: Any, count: int, allowed: dict[str, int]) -> list[str]:
    words = [given] if isinstance(given, str) else list(given)
    if len(words) != count:
        raise ValueError(f"{name} is {count} words, not {given!r}")
    return [choose(name, word, tuple(allowed)) for word in words]
