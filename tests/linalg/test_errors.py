"""What the user reads after a mistake: the argument, what was given, what was expected, how to mend it."""
# ruff: noqa: E501 - the tables read best with one mistake a line

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planmath.core.datatypes import CudaDataType
from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.linalg.advanced import (
    InvalidMatmulState,
    Matmul,
    MatmulComputeType,
    MatmulEpilog,
    MatmulOptions,
    MatmulPlanPreferences,
    matmul,
    matrix_qualifiers_dtype,
)
from planmath.linalg.advanced.providers import PROVIDERS
from tests.linalg.operands import qualifiers
from tests.misuse import Misuse, check, frozen

E = MatmulEpilog
A, B, C, BIAS = np.ones((5, 4)), np.ones((4, 3)), np.ones((5, 3)), np.ones(5)
COMPLEX_A, COMPLEX_B = A + 1j, B + 1j
MASK, STATE = np.zeros((16, 3), np.uint8, "F"), np.zeros((8, 3), order="F")


def planned(
    call: Callable[[Matmul], Any], *, c: Any = None, epilog: Any = None, inputs: Any = None, **options: Any
) -> Callable[[], Any]:
    """A call on a planned multiplication of A and B."""

    def run() -> None:
        with Matmul(A.copy(), B.copy(), c, beta=None if c is None else 1.0, options=options) as mm:
            mm.plan(epilog=epilog, epilog_inputs=inputs)
            call(mm)

    return run


def specified(call: Callable[[Matmul], Any], *, c: Any = None) -> Callable[[], Any]:
    """A call on a multiplication of A and B that is not planned."""

    def run() -> None:
        with Matmul(A.copy(), B.copy(), c, beta=None if c is None else 1.0) as mm:
            call(mm)

    return run


def epilog(kind: Any, /, a: Any = A, b: Any = B, c: Any = None, **inputs: Any) -> Callable[[], Any]:
    return lambda: matmul(a, b, c, beta=None if c is None else 1.0, epilog=kind, epilog_inputs=inputs)


def inplace(c: Any, a: Any = A, b: Any = B, **options: Any) -> Callable[[], Any]:
    return lambda: matmul(a, b, c, beta=1.0, options={"inplace": True}, **options)


def overlapping(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(np.ones(200), shape, [8 * step for step in strides])


MEND = "copy {}, for example with numpy.ascontiguousarray or .contiguous"

OPERANDS = [
    Misuse("a list", lambda: matmul([[1.0]], B), TypeError, ("a is a list", "numpy.ndarray, cupy.ndarray or torch.Tensor", "numpy.asarray")),
    Misuse("nothing", lambda: matmul(A, None), TypeError, ("b is a NoneType", "numpy.ndarray")),
    Misuse("c is a number", lambda: matmul(A, B, 1.0, beta=1.0), TypeError, ("c is a float", "numpy.ndarray")),
    Misuse("a masked array", lambda: matmul(A, np.ma.masked_array(B)), TypeError, ("b is a numpy.ma.*MaskedArray", "fill the masked")),
    Misuse("different dtypes", lambda: matmul(A, B.astype("f4")), ValueError, ("a has the dtype float64 and b float32", "convert one")),
    Misuse("integers", lambda: matmul(np.ones((2, 2), int), np.ones((2, 2), int)), ValueError, ("a has the dtype int64", "'float32', 'float64'")),
    Misuse("booleans", lambda: matmul(A > 0, B > 0), ValueError, ("a has the dtype bool", "choose from|did you mean")),
    Misuse("objects", lambda: matmul(A.astype(object), B.astype(object)), ValueError, ("a has the dtype object",)),
    Misuse("extended precision", lambda: matmul(A.astype("g"), B.astype("g")), ValueError, ("a has the dtype (float128|longdouble)", "'float64'")),
    Misuse("records", lambda: matmul(np.zeros((2, 2), [("x", "f8")]), np.zeros((2, 2), [("x", "f8")])), ValueError, ("a has the dtype void",)),
    Misuse("foreign byte order", lambda: matmul(A, B.astype(">f8")), TypeError, ("b has the byte order", "'>f8'", "newbyteorder")),
    Misuse("elements at odd addresses", lambda: matmul(np.zeros(8 * 16 + 1, np.uint8)[1:].view("f8").reshape(4, 4), B), UnsupportedLayoutError,
           ("a has elements of 8 bytes", "copy it with numpy.array")),
]  # fmt: skip

SHAPES = [
    Misuse("different k", lambda: matmul(A, B[:3]), ValueError, (r"a has the shape \(5, 4\) and b \(3, 3\)", r"last extent of a \(4\)", r"first matrix extent of b \(3\)")),
    Misuse("different k, vectors", lambda: matmul(A[0], B[:3, 0]), ValueError, (r"a has the shape \(4,\) and b \(3,\)", "must equal")),
    Misuse("no columns", lambda: matmul(np.ones((3, 0)), np.ones((0, 3))), ValueError, (r"a has the shape \(3, 0\)", "no extent of 0")),
    Misuse("no rows", lambda: matmul(A, np.ones((4, 0))), ValueError, (r"b has the shape \(4, 0\)", "no extent of 0")),
    Misuse("an empty batch", lambda: matmul(np.ones((0, 5, 4)), B), ValueError, (r"a has the shape \(0, 5, 4\)", "no extent of 0")),
    Misuse("no dimensions", lambda: matmul(A, np.array(1.0)), ValueError, (r"b has the shape \(\)", "at least one axis")),
    Misuse("different batches", lambda: matmul(np.ones((2, 5, 4)), np.ones((3, 4, 3))), ValueError, (r"a has the batch shape \(2,\) and b \(3,\)", "equal ones, or none")),
    Misuse("batches that would broadcast", lambda: matmul(np.ones((1, 5, 4)), np.ones((3, 4, 3))), ValueError, (r"batch shape \(1,\) and b \(3,\)",)),
    Misuse("batches of different ranks", lambda: matmul(np.ones((2, 3, 5, 4)), np.ones((3, 4, 3))), ValueError, (r"batch shape \(2, 3\) and b \(3,\)",)),
    Misuse("c of one dimension", lambda: matmul(A, B, BIAS, beta=1.0), ValueError, (r"c has the shape \(5,\)", "at least two dimensions", r"\(5, 1\) or \(5, 3\)")),
    Misuse("c of another shape", lambda: matmul(A, B, C.T.copy(), beta=1.0), ValueError, (r"c has the shape \(3, 5\)", r"expected \(5, 3\) or \(5, 1\)$")),
    Misuse("c with one row", lambda: matmul(A, B, C[:1], beta=1.0), ValueError, (r"c has the shape \(1, 3\)",)),
    Misuse("c with another batch", lambda: matmul(np.ones((2, 5, 4)), B, np.ones((3, 5, 3)), beta=1.0), ValueError,
           (r"c has the shape \(3, 5, 3\)", r"expected \(5, 3\) or \(5, 1\) or \(2, 5, 3\) or \(2, 5, 1\)")),
    Misuse("c of another dtype", lambda: matmul(A, B, C.astype("f4"), beta=1.0), ValueError, ("c has the dtype float32", "operands of float64 have results of float64: convert it")),
    Misuse("c of an impossible dtype", lambda: matmul(A, B, C.astype(complex), beta=1.0), ValueError, ("c has the dtype complex128", "float64")),
]  # fmt: skip

LAYOUTS = [
    Misuse("steps in both directions", lambda: matmul(np.ones((8, 8))[::2, ::2], B), UnsupportedLayoutError,
           (r"a has the shape \(4, 4\) and the strides \(16, 2\)", "row-major or column-major", MEND.format("a"))),
    Misuse("b, steps in both directions", lambda: matmul(A, np.ones((8, 6))[::2, ::2]), UnsupportedLayoutError, (r"b has the shape \(4, 3\)", MEND.format("b"))),
    Misuse("rows backwards", lambda: matmul(A[::-1], B), UnsupportedLayoutError, (r"strides \(-4, 1\)", MEND.format("a"))),
    Misuse("columns backwards", lambda: matmul(A[:, ::-1], B), UnsupportedLayoutError, (r"strides \(4, -1\)", MEND.format("a"))),
    Misuse("a vector backwards", lambda: matmul(A, B[::-1, 0]), UnsupportedLayoutError, (r"b has the shape \(4,\) and the strides \(-3,\)", MEND.format("b"))),
    Misuse("a repeated number", lambda: matmul(A, np.broadcast_to(1.0, 4)), UnsupportedLayoutError, (r"strides \(0,\)", MEND.format("b"))),
    Misuse("a repeated row", lambda: matmul(np.broadcast_to(A[0], (5, 4)), B), UnsupportedLayoutError, (r"strides \(0, 1\)", MEND.format("a"))),
    Misuse("overlapping rows", lambda: matmul(overlapping((5, 4), (2, 1)), B), UnsupportedLayoutError, (r"strides \(2, 1\)", "at least the extent of that axis")),
    Misuse("c, steps in both directions", lambda: matmul(A, B, np.ones((10, 6))[::2, ::2], beta=1.0), UnsupportedLayoutError, (r"c has the shape \(5, 3\)", MEND.format("c"))),
    Misuse("batch inside the rows", lambda: matmul(np.moveaxis(np.ones((5, 4, 2)), -1, 0), B), UnsupportedLayoutError, (r"strides \(1, 8, 2\)", MEND.format("a"))),
]  # fmt: skip

FACTORS = [
    Misuse("c without beta", lambda: matmul(A, B, C), ValueError, ("beta was not given, but c was", "beta=1.0")),
    Misuse("alpha is a string", lambda: matmul(A, B, alpha="2"), ValueError, ("alpha is '2'", "single number that fits float64")),
    Misuse("alpha is an array", lambda: matmul(A, B, alpha=np.ones(1)), ValueError, (r"alpha is array\(\[1.\]\)", "single number")),
    Misuse("alpha is ragged", lambda: matmul(A, B, alpha=[[1], [2, 3]]), ValueError, ("alpha is", "single number")),
    Misuse("complex alpha", lambda: matmul(A, B, alpha=1j), ValueError, ("alpha is 1j", "fits float64")),
    Misuse("complex beta", lambda: matmul(A, B, C, beta=1 + 0j), ValueError, (r"beta is \(1\+0j\)", "fits float64")),
    Misuse("alpha beyond all numbers", lambda: matmul(A, B, alpha=10**400), ValueError, ("alpha is 1000", "fits float64")),
    Misuse("beta without c, later", planned(lambda m: m.reset_operands(beta=2.0)), ValueError, (r"beta was given to reset_operands\(\)", "created without c")),
    Misuse("c that was not there, later", planned(lambda m: m.reset_operands(c=C)), ValueError, (r"c was given to reset_operands\(\)", "created without it")),
    Misuse("wrong beta, later", planned(lambda m: m.reset_operands(beta=None, alpha="x"), c=C), ValueError, ("alpha is 'x'",)),
]  # fmt: skip

QUALIFIERS = [
    Misuse("a list", lambda: matmul(COMPLEX_A, COMPLEX_B, qualifiers=[True, False, False]), ValueError, ("qualifiers has the dtype bool", "matrix_qualifiers_dtype with three")),
    Misuse("too few", lambda: matmul(COMPLEX_A, COMPLEX_B, qualifiers=np.zeros(2, matrix_qualifiers_dtype)), ValueError, (r"the shape \(2,\)", "three elements, for a, b and c")),
    Misuse("conjugates reals", lambda: matmul(A, B, qualifiers=qualifiers(True, False, False)), ValueError, ("qualifiers conjugates an operand of float64", "only complex")),
    Misuse("conjugates a c that is replaced", inplace(C + 0j, COMPLEX_A, COMPLEX_B, qualifiers=qualifiers(False, False, True)), ValueError, ("c cannot be conjugated", "leave its qualifier or options.inplace away")),
]  # fmt: skip

IN_PLACE = [
    Misuse("without c", lambda: matmul(A, B, options={"inplace": True}), ValueError, ("options.inplace is set, but c was not given", "replaces c")),
    Misuse("read-only c", inplace(frozen(C.copy())), ValueError, ("c is read-only", "writeable array")),
    Misuse("broadcast c", inplace(np.broadcast_to(C, (5, 3))), ValueError, ("c is read-only",)),
    Misuse("a c that is repeated", inplace(C[:, :1].copy()), ValueError, (r"c has the shape \(5, 1\)", r"expected \(5, 3\)$")),
    Misuse("one c for a batch", inplace(C.copy(), np.ones((2, 5, 4))), ValueError, (r"c has the shape \(5, 3\)", r"expected \(2, 5, 3\)$")),
    Misuse("c whose matrices are one", inplace(overlapping((2, 5, 3), (0, 3, 1)), np.ones((2, 5, 4))), ValueError,
           (r"c has the shape \(2, 5, 3\) and the strides \(0, 3, 1\)", "elements share memory", "copy c, or leave options.inplace away")),
    Misuse("c whose matrices overlap", inplace(overlapping((2, 5, 3), (6, 3, 1)), np.ones((2, 5, 4))), ValueError, (r"strides \(6, 3, 1\)", "share memory")),
    Misuse("c is a", lambda: inplace(square := np.ones((4, 4)), square, np.ones((4, 4)))(), ValueError, ("c shares memory with a, which is read while c is replaced", "pass a copy of a, or leave options.inplace away")),
    Misuse("c is b transposed", lambda: inplace((square := np.ones((4, 4))).T, np.ones((4, 4)), square)(), ValueError, ("c shares memory with b", "copy of b")),
    Misuse("c overlaps a", lambda: inplace((memory := np.ones((9, 4)))[:5], memory[4:], np.ones((4, 4)))(), ValueError, ("c shares memory with a",)),
    Misuse("c overlaps the bias", lambda: matmul(A, B, (memory := np.ones((5, 4)))[:, :3], beta=1.0, epilog=E.BIAS, epilog_inputs={"bias": memory[:, 2]}, options={"inplace": True}), ValueError,
           ("c shares memory with bias",)),
    Misuse("new read-only c", planned(lambda m: m.reset_operands(c=frozen(C.copy())), c=C.copy(), inplace=True), ValueError, ("c is read-only",)),
]  # fmt: skip

EPILOGS = [
    Misuse("unknown number", epilog(3), ValueError, ("epilog is 3", "MatmulEpilog", "'RELU_BIAS'")),
    Misuse("a name", epilog("RELU_BAIS"), ValueError, ("epilog is 'RELU_BAIS'", "did you mean 'RELU_BIAS'")),
    Misuse("a list", epilog([E.RELU]), ValueError, ("epilog is .*RELU", "MatmulEpilog")),
    Misuse("no input", epilog(E.BIAS), ValueError, ("epilog_inputs has nothing; BIAS needs bias", r"pass epilog_inputs=\{'bias': ...\}")),
    Misuse("input is None", epilog(E.RELU_AUX_BIAS, bias=None), ValueError, ("RELU_AUX_BIAS needs bias",)),
    Misuse("another input", epilog(E.DRELU, gelu_aux=STATE), ValueError, (r"epilog_inputs has \['gelu_aux'\]; DRELU needs relu_aux",)),
    Misuse("an input too many", epilog(E.BIAS, bias=BIAS, aux=MASK), ValueError, ("epilog_inputs has 'aux'; BIAS takes bias",)),
    Misuse("an input for none", epilog(E.RELU, bias=BIAS), ValueError, ("epilog_inputs has 'bias'; RELU takes no inputs",)),
    Misuse("inputs without an epilog", epilog(None, bias=BIAS), ValueError, ("epilog_inputs has 'bias'; DEFAULT takes no inputs",)),
    Misuse("inputs are a list", lambda: matmul(A, B, epilog=E.BIAS, epilog_inputs=[BIAS]), TypeError, ("epilog_inputs is a list", "dict from the inputs' names to arrays")),
    Misuse("inputs are an array", planned(lambda m: m.reset_operands(epilog_inputs=BIAS), epilog=E.BIAS, inputs={"bias": BIAS}), TypeError, ("epilog_inputs is a ndarray", "dict")),
    Misuse("input is a list", epilog(E.BIAS, bias=[1.0] * 5), TypeError, (r"epilog_inputs\['bias'\] is a list", "numpy.ndarray")),
    Misuse("bias of another length", epilog(E.BIAS, bias=np.ones(4)), ValueError, (r"epilog_inputs\['bias'\] has the shape \(4,\)", r"expected \(5,\) or \(5, 1\)")),
    Misuse("bias along the row", epilog(E.BIAS, bias=np.ones((1, 3))), ValueError, (r"has the shape \(1, 3\)", r"expected \(5,\) or \(5, 1\)")),
    Misuse("bias of another batch", epilog(E.BIAS, np.ones((2, 5, 4)), bias=np.ones((3, 5, 1))), ValueError, (r"has the shape \(3, 5, 1\)", r"\(5,\) or \(5, 1\) or \(2, 5, 1\)")),
    Misuse("bias of another dtype", epilog(E.BIAS, bias=BIAS.astype("f4")), ValueError, (r"epilog_inputs\['bias'\] has the dtype float32", "expected float64: convert it")),
    Misuse("bias backwards", epilog(E.BIAS, bias=BIAS[::-1]), ValueError, (r"epilog_inputs\['bias'\] has the strides \(-1,\)", "copy it")),
    Misuse("mask of another shape", epilog(E.DRELU, relu_aux=MASK[:8]), ValueError, (r"epilog_inputs\['relu_aux'\] has the shape \(8, 3\)", r"expected \(16, 3\)$")),
    Misuse("mask of booleans", epilog(E.DRELU, relu_aux=MASK > 0), ValueError, (r"epilog_inputs\['relu_aux'\] has the dtype bool", "expected uint8")),
    Misuse("mask by rows", epilog(E.DRELU_BGRAD, relu_aux=MASK.copy("C")), ValueError, (r"strides \(3, 1\)", "column-major ones, as the forward epilog returned it")),
    Misuse("state by rows", epilog(E.DGELU, gelu_aux=STATE.copy("C")), ValueError, (r"epilog_inputs\['gelu_aux'\] has the strides \(3, 1\)", "column-major")),
    Misuse("state of another shape", epilog(E.DGELU, gelu_aux=STATE[:5]), ValueError, (r"has the shape \(5, 3\)", r"expected \(8, 3\)$")),
    Misuse("state of another dtype", epilog(E.DGELU_BGRAD, gelu_aux=STATE.astype("f4")), ValueError, ("has the dtype float32", "expected float64")),
    Misuse("complex operands", epilog(E.RELU, COMPLEX_A, COMPLEX_B), ValueError, ("epilog RELU is not defined for complex128", "only DEFAULT is")),
    Misuse("complex operands and bias", epilog(E.BIAS, COMPLEX_A, COMPLEX_B, bias=BIAS + 0j), ValueError, ("epilog BIAS is not defined for complex128",)),
    Misuse("a mask and a row-major c", epilog(E.RELU_AUX, c=C), ValueError, ("c is row-major, and RELU_AUX needs a column-major one", "column-major copy of c")),
    Misuse("a mask and a column of a matrix in place", lambda: matmul(A, B[:, :1].copy(), C[:, :1], beta=1.0, epilog=E.RELU_AUX, options={"inplace": True}), ValueError, ("c is row-major",)),
    Misuse("new bias of another length", planned(lambda m: m.reset_operands(epilog_inputs={"bias": BIAS[1:]}), epilog=E.BIAS, inputs={"bias": BIAS}), ValueError, (r"bias has the shape \(4,\)", r"expected \(5,\)")),
    Misuse("new input of another name", planned(lambda m: m.reset_operands(epilog_inputs={"c": C}), epilog=E.BIAS, inputs={"bias": BIAS}), ValueError, ("epilog_inputs has 'c'; BIAS takes bias",)),
    Misuse("inputs before planning", specified(lambda m: m.reset_operands(epilog_inputs={"bias": BIAS})), ValueError, (r"epilog_inputs was given to reset_operands\(\) before plan\(\)", "with an epilog")),
]  # fmt: skip

OPTIONS = [
    Misuse("no options", lambda: matmul(A, B, options=3), TypeError, ("options is a int", "MatmulOptions or a dict")),
    Misuse("unknown option", lambda: matmul(A, B, options={"in_place": True}), TypeError, ("no field 'in_place'", "did you mean 'inplace'")),
    Misuse("inplace", lambda: MatmulOptions(inplace=1), ValueError, ("inplace is 1", "False, True")),
    Misuse("compute_type", lambda: MatmulOptions(compute_type=5), ValueError, ("compute_type is 5", "a ComputeType", "COMPUTE_32F")),
    Misuse("compute_type by name", lambda: MatmulOptions(compute_type="COMPUTE_32F"), ValueError, ("compute_type is 'COMPUTE_32F'",)),
    Misuse("result_type", lambda: MatmulOptions(result_type="float32"), ValueError, ("result_type is 'float32'", "CudaDataType", "CUDA_R_32F")),
    Misuse("scale_type", lambda: MatmulOptions(scale_type=99), ValueError, ("scale_type is 99", "CUDA_R_64F")),
    Misuse("constant", lambda: MatmulOptions(constant="c"), ValueError, ("constant is 'c'", "sequence of 'a' and 'b'")),
    Misuse("constant has c", lambda: MatmulOptions(constant=["c"]), ValueError, (r"constant is \['c'\]", "sequence of 'a' and 'b'")),
    Misuse("constant is a number", lambda: MatmulOptions(constant=1), ValueError, ("constant is 1", "sequence of 'a' and 'b'")),
    Misuse("blocking", lambda: MatmulOptions(blocking=False), ValueError, ("blocking is False", "'auto', True")),
    Misuse("logger", lambda: MatmulOptions(logger="log"), TypeError, ("logger is a str", "logging.Logger")),
    Misuse("compute type of another dtype", lambda: matmul(A, B, options={"compute_type": MatmulComputeType.COMPUTE_32F}), ValueError,
           ("options.compute_type is COMPUTE_32F", "float64 has COMPUTE_64F")),
    Misuse("scale type of another dtype", lambda: matmul(A, B, options={"scale_type": CudaDataType.CUDA_R_32F}), ValueError,
           ("options.scale_type is CUDA_R_32F", "CUDA_R_64F")),
    Misuse("result type of another dtype", lambda: matmul(A, B, options={"result_type": CudaDataType.CUDA_R_32F}), ValueError,
           ("options.result_type is CUDA_R_32F", "operands of float64 have results of float64")),
    Misuse("result type that planmath lacks", lambda: matmul(A, B, options={"result_type": CudaDataType.CUDA_R_8F_E4M3}), ValueError, ("options.result_type is CUDA_R_8F_E4M3", "float64")),
    Misuse("c and another result type", lambda: matmul(A.astype("f2"), B.astype("f2"), C.astype("f2"), beta=1.0, options={"result_type": CudaDataType.CUDA_R_32F}), ValueError,
           ("c has the dtype float16", "that of the result, float32")),
    Misuse("result_amax", lambda: matmul(A, B, options={"result_amax": True}), ValueError, ("options.result_amax is set, but a is float64", "leave it away")),
    Misuse("block_scaling", lambda: matmul(A, B, options={"block_scaling": True}), ValueError, ("options.block_scaling is set, but a is float64",)),
    Misuse("quantization_scales", lambda: matmul(A, B, quantization_scales={"a": 1.0}), ValueError, ("quantization_scales were given, but a is float64",)),
    Misuse("unknown provider", lambda: matmul(A, B, options={"provider": "blass"}), ValueError,
           ("provider 'blass' does not exist", "did you mean 'blas'", "'mkl', 'nvpl', 'blas', 'torch'", "nvpl is unavailable: NVPL BLAS was not found.*install")),
    Misuse("missing provider", lambda: matmul(A, B, options={"provider": "nvpl"}), UnavailableError, ("nvpl: NVPL BLAS was not found", "install it on AArch64")),
    Misuse("provider of another package", lambda: matmul(A, B, options={"provider": "torch"}), UnavailableError, ("torch: .*(tensors only|not imported|not found)",)),
    Misuse("provider is no name", lambda: MatmulOptions(provider=1), TypeError, ("provider is 1", "'mkl'")),
    Misuse("unknown execution", lambda: matmul(A, B, execution="cpus"), ValueError, ("execution 'cpus' does not exist", "did you mean 'cpu'")),
    Misuse("a CPU library on CUDA", lambda: matmul(A, B, options={"provider": "blas"}, execution="cuda"),
           UnavailableError, ("blas: it computes on the CPU only|not possible on this machine: .*driver",)),
]  # fmt: skip

PLANNING = [
    Misuse("no preferences", planned(lambda m: m.plan(preferences=3)), TypeError, ("preferences is a int", "MatmulPlanPreferences or a dict")),
    Misuse("unknown preference", planned(lambda m: m.plan(preferences={"limits": 3})), TypeError, ("preferences has no field 'limits'", "did you mean 'limit'")),
    Misuse("limit", lambda: MatmulPlanPreferences(limit=0), ValueError, ("limit is 0", "positive integer")),
    Misuse("unknown epilog preference", planned(lambda m: m.plan(preferences={"epilog": {"type": 3}})), TypeError, ("preferences.epilog has no field 'type'", "'aux_type'")),
    Misuse("type of the auxiliary result", planned(lambda m: m.plan(preferences={"epilog": {"aux_type": 0}})), ValueError, ("preferences.epilog sets", "only GELU_AUX and GELU_AUX_BIAS of FP8")),
    Misuse("amax of the auxiliary result", planned(lambda m: m.plan(preferences={"epilog": {"aux_amax": True}})), ValueError, ("preferences.epilog sets",)),
    Misuse("algorithms are a number", planned(lambda m: m.plan(algorithms=5)), TypeError, ("algorithms is a int", "an Algorithm, or a list of them")),
    Misuse("algorithms are a name", planned(lambda m: m.plan(algorithms="mkl")), TypeError, ("algorithms is a str", "an Algorithm")),
    Misuse("algorithms are names", planned(lambda m: m.plan(algorithms=["mkl"])), TypeError, ("algorithms has a str", "Algorithm objects")),
    Misuse("no repetitions", planned(lambda m: m.autotune(iterations=0)), ValueError, ("iterations is 0", "positive integer")),
    Misuse("half a repetition", planned(lambda m: m.autotune(iterations=0.5)), ValueError, ("iterations is 0.5", "positive integer")),
    Misuse("nothing kept", planned(lambda m: m.autotune(prune=-1)), ValueError, ("prune is -1", "positive integer")),
    Misuse("executing a name", planned(lambda m: m.execute(algorithm="mkl")), TypeError, ("algorithm is a str", "one of the object's algorithms")),
    Misuse("ids of no algorithms", planned(lambda m: m.applicable_algorithm_ids(0)), ValueError, ("limit is 0", "positive integer")),
    Misuse("execution before planning", specified(lambda m: m.execute()), InvalidMatmulState, (r"execute\(\) needs a plan; call plan\(\) first",)),
    Misuse("autotuning before planning", specified(lambda m: m.autotune()), InvalidMatmulState, (r"autotune\(\) needs a plan; call plan\(\) first",)),
    Misuse("algorithms before planning", specified(lambda m: m.algorithms), InvalidMatmulState, (r"algorithms are known after plan\(\)", "specified")),
    Misuse("execution without operands", planned(lambda m: (m.release_operands(), m.execute())), InvalidMatmulState, (r"execute\(\) needs operands, and they were released", r"call reset_operands\(\)")),
    Misuse("execution after the end", planned(lambda m: (m.free(), m.execute())), InvalidMatmulState, (r"execute\(\) was called after free\(\)", "create a new Matmul")),
    Misuse("out after the end", planned(lambda m: (m.free(), m.execute(out=C))), InvalidMatmulState, (r"execute\(\) was called after free\(\)",)),
    Misuse("an algorithm after the end", planned(lambda m: (x := m.algorithms[0], m.free(), m.execute(algorithm=x))), InvalidMatmulState, (r"execute\(\) was called after free\(\)",)),
    Misuse("new operands after the end", planned(lambda m: (m.free(), m.reset_operands(a=A))), InvalidMatmulState, (r"reset_operands\(\) was called after free\(\)",)),
    Misuse("a new factor after the end", planned(lambda m: (m.free(), m.reset_operands(alpha=1.0))), InvalidMatmulState, (r"reset_operands\(\) was called after free\(\)",)),
    Misuse("a release after the end", planned(lambda m: (m.free(), m.release_operands())), InvalidMatmulState, (r"release_operands\(\) was called after free\(\)",)),
]  # fmt: skip

RESET = [
    Misuse("nothing", planned(lambda m: m.reset_operands()), ValueError, (r"reset_operands\(\) got no operand", "at least one of a, b")),
    Misuse("a list", planned(lambda m: m.reset_operands(a=[1.0])), TypeError, ("a is a list", "numpy.ndarray")),
    Misuse("another dtype", planned(lambda m: m.reset_operands(b=B.astype("f4"))), ValueError, ("b has the dtype float32", "expected float64", "convert")),
    Misuse("another shape", planned(lambda m: m.reset_operands(a=A[:4])), ValueError, (r"a has the shape \(4, 4\)", r"expected \(5, 4\)", "create a new Matmul")),
    Misuse("other strides", planned(lambda m: m.reset_operands(a=np.asfortranarray(A))), ValueError, (r"a has the strides \(1, 5\)", r"expected \(4, 1\)", "copy it")),
    Misuse("a conjugating dtype", planned(lambda m: m.reset_operands(a=COMPLEX_A)), ValueError, ("a has the dtype complex128",)),
    Misuse("unchecked, another shape", planned(lambda m: m.reset_operands_unchecked(a=A[:4])), ValueError, (r"a has the shape \(4, 4\)",)),
    Misuse("scales", planned(lambda m: m.reset_operands(a=A, quantization_scales={"a": 1.0})), ValueError, ("quantization_scales were given, but a is float64",)),
    Misuse("some after a release", planned(lambda m: (m.release_operands(), m.reset_operands(a=A, b=B)), c=C), ValueError,
           (r"reset_operands\(\) got a, b only", r"after release_operands\(\) it needs all operands: c missing")),
]  # fmt: skip

TABLES = {
    "operands": OPERANDS, "shapes": SHAPES, "layouts": LAYOUTS, "factors": FACTORS, "qualifiers": QUALIFIERS,
    "in place": IN_PLACE, "epilogs": EPILOGS, "options": OPTIONS, "planning": PLANNING, "reset": RESET,
}  # fmt: skip


@pytest.mark.parametrize(
    "misuse", [pytest.param(m, id=f"{table}: {m.what}") for table, misuses in TABLES.items() for m in misuses]
)
def test_message(misuse, monkeypatch):
    if "provider" in misuse.what:  # also on machines that do have it
        nvpl = next(provider for provider in PROVIDERS if provider.name == "nvpl")
        monkeypatch.setattr(nvpl, "unavailable", lambda: "NVPL BLAS was not found: install it on AArch64 with pip")
    check(misuse)


def torch_misuses() -> list[Misuse]:
    import torch

    a, b, c, bias = (torch.ones(shape) for shape in ((5, 4), (4, 3), (5, 3), (5,)))
    z = torch.ones((4, 4), dtype=torch.complex64)
    inference = torch.inference_mode()(torch.clone)(c)
    half = {name: torch.ones((2, 2), dtype=getattr(torch, name)) for name in ("int32", "uint8", "bool")}

    def on_tensors(call: Callable[[Matmul], Any]) -> Callable[[], Any]:
        def run() -> None:
            with Matmul(a, b) as mm:
                mm.plan(epilog=E.BIAS, epilog_inputs={"bias": bias})
                call(mm)

        return run

    return [
        Misuse("b of NumPy", lambda: matmul(a, B.astype("f4")), TypeError, ("b is a numpy array and a a torch one", "same package")),
        Misuse("c of torch", lambda: matmul(A, B, c.double(), beta=1.0), TypeError, ("c is a torch array and a a numpy one", "same package")),
        Misuse("bias of NumPy", lambda: matmul(a, b, epilog=E.BIAS, epilog_inputs={"bias": BIAS.astype("f4")}), TypeError,
               (r"epilog_inputs\['bias'\] is a numpy array", "expected a torch one, like a and b")),
        Misuse("reset from NumPy", planned(lambda m: m.reset_operands(a=a.double())), TypeError, ("a is a torch array", "expected a numpy one")),
        Misuse("reset of the bias to NumPy", on_tensors(lambda m: m.reset_operands(epilog_inputs={"bias": BIAS.astype("f4")})), TypeError, ("bias is a numpy array", "torch")),
        Misuse("out of NumPy", on_tensors(lambda m: m.execute(out=np.ones((5, 3), "f4", "F"))), TypeError, ("out is a numpy array", "expected a torch one")),
        Misuse("in place, conjugate view", lambda: matmul(z, z, z.conj(), beta=1, options={"inplace": True}), UnsupportedLayoutError,
               ("c is a view whose conj", r"resolve_conj\(\)")),
        Misuse("sparse", lambda: matmul(a, b.to_sparse()), UnsupportedLayoutError, ("b is a tensor of layout torch.sparse_coo", r"to_dense\(\)")),
        Misuse("no memory", lambda: matmul(a, b.to("meta")), ValueError, ("b is on the device meta", "CPU or a CUDA device")),
        *(
            Misuse(name, lambda x=x: matmul(x, x), ValueError, (f"a has the dtype {x.dtype}".replace("torch.", ""),))
            for name, x in half.items()
        ),
        Misuse("expanded", lambda: matmul(a, b[:, :1].expand(4, 3)), UnsupportedLayoutError, (r"b has the shape \(4, 3\) and the strides \(\d, 0\)", "contiguous")),
        Misuse("in place, expanded", lambda: matmul(a.expand(2, 5, 4), b, c.expand(2, 5, 3), beta=1.0, options={"inplace": True}), ValueError, ("elements share memory", "copy c")),
        Misuse("in place, inference", lambda: matmul(a, b, inference, beta=1.0, options={"inplace": True}), ValueError, ("c is read-only",)),
        Misuse("integers with a float c", lambda: matmul(a.to(torch.int8), b.to(torch.int8), c.to(torch.int8), beta=1), ValueError, ("c has the dtype int8", "int32")),
        Misuse("result type of the provider", lambda: matmul(a.half(), b.half(), options={"provider": "torch", "result_type": CudaDataType.CUDA_R_32F}), UnavailableError,
               ("torch: its products of float16 have results of the same dtype, not float32",)),
        Misuse("integers of the provider", lambda: matmul(a.to(torch.int8), b.to(torch.int8), options={"provider": "torch"}), UnavailableError, ("torch: it has no products of int8",)),
    ]  # fmt: skip


def test_messages_about_tensors():
    pytest.importorskip("torch", reason="torch is not installed")
    for misuse in torch_misuses():
        check(misuse)


@pytest.mark.parametrize("table", ["shapes", "layouts", "factors", "qualifiers", "epilogs"])
def test_mistakes_leave_no_plan_behind(table, nothing_remembered):
    """A stateless call that failed does not spoil the next one of its kind."""
    for misuse in TABLES[table]:
        check(misuse)
    np.testing.assert_array_equal(matmul(A, B), A @ B)
    np.testing.assert_array_equal(matmul(A, B, epilog=E.BIAS, epilog_inputs={"bias": BIAS}), A @ B + 1)


def test_operands_between_each_others_elements_may_be_replaced():
    """c and a alternate in memory, and share no element."""
    memory = np.ones((4, 8))
    a, c = memory[:, :4], memory[:, 4:]
    expected = a @ np.eye(4) + c
    assert matmul(a, np.eye(4), c, beta=1.0, options={"inplace": True}) is c
    np.testing.assert_array_equal(c, expected)
