"""The modules of the CUDA libraries, as they are without any of the libraries."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import numpy as np
import pytest
from planmath.native.call import Function
from tools.bindgen import facts
from tools.bindgen.facts import code
from tools.bindgen.libraries import LIBRARIES
from tools.bindgen.names import enum_name, function_name, member_names, snake, struct_name

from planmath import bindings
from planmath.bindings.interface import ByValue, StatusError
from planmath.core import datatypes
from tests.processes import run_python

EVERY = pytest.mark.parametrize("name", bindings.CUDA)


def module(name: str) -> ModuleType:
    return importlib.import_module(f"planmath.bindings.{name}")


def test_importing_planmath_imports_those_of_its_providers_only() -> None:
    """The others are larger, and take their time."""
    program = "import sys, planmath; print(*[m for m in sys.modules if m.startswith('planmath.bindings.cu')])"
    imported = {name.rpartition(".")[2] for name in run_python(program).split()}
    assert imported <= {"cufft", "cublas", "cublasLt", "cudss", "cusolver", "cusolverDn", "cutensor"}


def test_importing_planmath_loads_no_cuda_library() -> None:
    program = """
        import planmath
        libraries = {line.split("/")[-1].strip() for line in open("/proc/self/maps") if ".so" in line}
        print([name for name in libraries if name.startswith(("libcu", "libnv"))])
    """
    assert run_python(program).strip() == "[]"


def test_importing_them_loads_no_library() -> None:
    """Neither the libraries nor a driver: a machine without a GPU can import every module."""
    printed = run_python("""
        import sys
        from planmath import bindings
        for name in bindings.CUDA:
            getattr(bindings, name)
        print([m for m in sys.modules if m.split(".")[0] == "cuda"])
        libraries = {line.split("/")[-1].strip() for line in open("/proc/self/maps") if ".so" in line}
        print([name for name in libraries if name.startswith(("libcu", "libnv"))])
    """)
    assert printed.split("\n")[:2] == ["[]", "[]"]


def test_modules_are_listed() -> None:
    assert {*bindings.CUDA, *bindings.BY_HAND} <= set(dir(bindings))
    assert set(bindings.CUDA) == set(LIBRARIES)
    with pytest.raises(AttributeError, match="has no attribute 'cunothing'"):
        bindings.cunothing  # noqa: B018


@EVERY
def test_every_function_of_the_header(name: str) -> None:
    library = LIBRARIES[name]
    for symbol, (_, *parameters) in facts.load(name)["functions"].items():
        function = getattr(module(name), function_name(symbol, library))
        assert isinstance(function, Function | ByValue)
        assert function.symbol == symbol
        if isinstance(function, Function):
            assert len(function.named_parameters()) == len(parameters)
            in_c = [re.sub(r".*?(\w+)(\[\d*\])*; .*$", r"\1", parameter) for parameter in parameters]
            assert [parameter for parameter, _ in function.named_parameters()] == [snake(p) for p in in_c]


@EVERY
def test_every_enum_of_the_header(name: str) -> None:
    library = LIBRARIES[name]
    for enum, members in facts.load(name)["enums"].items():
        python = getattr(module(name), enum_name(enum, library))
        names = member_names(enum, [member[0] for member in members], library)
        assert dict(zip(names, (member[1] for member in members), strict=True)) == dict(python.__members__)


@EVERY
def test_every_struct_of_the_header(name: str) -> None:
    """Sizes and offsets are those that the C compiler gave."""
    found = facts.load(name)
    for struct, definition in found["structs"].items():
        dtype = getattr(module(name), struct_name(struct, LIBRARIES[name]))
        assert dtype.itemsize == definition["size"]
        assert len(dtype.names) == len(definition["fields"])
        for field, kind, offset, lengths in definition["fields"]:
            inner, at = dtype.fields[snake(field)][:2]
            assert at == offset, (struct, field)
            assert inner.itemsize == size(kind, found) * int(np.prod(lengths, initial=1)), (struct, field)


def size(kind: object, found: dict) -> int:
    if isinstance(kind, dict):
        return kind["size"]
    if kind[0] == "{":
        return found["structs"][kind.strip("{}")]["size"] if kind.strip("{}") in found["structs"] else 8
    return {"P": 8, "q": 8, "Q": 8, "i": 4, "I": 4, "h": 2, "H": 2, "b": 1, "B": 1, "?": 1, "f": 4, "d": 8}[kind]


@EVERY
def test_every_status_says_what_it_means(name: str) -> None:
    library = LIBRARIES[name]
    if not library.error:
        return
    error = getattr(module(name), library.error)
    assert issubclass(error, StatusError)
    members = facts.load(name)["enums"][library.status]
    for _, status, *_ in members:
        raised = error(status, "function")
        assert raised.name in [member[0] for member in members if member[1] == status]
        assert str(raised).startswith(f"function failed: {raised.name} ({status})")
        assert library.describes or len(raised.meaning) > 5


def test_statuses_of_earlier_versions() -> None:
    error = module("cufft").cuFFTError(12)
    assert str(error) == "CUFFT_PARSE_ERROR (12): the library could not read its own plan database"


#: A sample of the names that nvmath-python documents for its bindings, and of the parameters of its functions.
DOCUMENTED = {
    "cublas": "create destroy get_version get_property set_stream get_stream set_pointer_mode get_pointer_mode isamax "
    "sgemm sgemm_64 gemm_ex gemm_strided_batched_ex asum_ex_64 gemm_grouped_batched_ex ComputeType Operation FillMode "
    "GemmAlgo PointerMode SideMode DiagType Status cuBLASError check_status",
    "cublasLt": "create destroy matmul matrix_layout_create matrix_layout_set_attribute matmul_desc_create "
    "matmul_desc_get_attribute get_matmul_desc_attribute_dtype matmul_preference_create matmul_algo_get_heuristic "
    "matmul_algo_get_ids matmul_algo_init matmul_algo_check get_matmul_algo_cap_attribute_dtype "
    "matmul_algo_cap_get_attribute get_matmul_algo_config_attribute_dtype matmul_algo_config_set_attribute MatmulTile "
    "MatmulStages MatmulDescAttribute MatmulAlgoCapAttribute MatmulAlgoConfigAttribute MatmulPreferenceAttribute "
    "MatmulMatrixScale ClusterShape BatchMode Epilogue Order ReductionScheme cuBLASLtError",
    "cufft": "create destroy plan1d plan_many make_plan1d make_plan_many make_plan_many64 get_size_many64 estimate1d "
    "set_work_area set_auto_allocation exec_c2c exec_z2d set_stream xt_set_gpus xt_malloc xt_make_plan_many xt_exec "
    "xt_set_jit_callback xt_exec_descriptor_c2c get_plan_property_int64 Result Type Property LibFormat XtSubFormat "
    "XtCallbackType XtCopyType XtQueryType XtWorkAreaPolicy Compatibility cuFFTError",
    "curand": "create_generator create_generator_host generate_normal generate_poisson generate_binomial "
    "get_scramble_constants32 RngType Ordering Method DirectionVectorSet Status cuRANDError",
    "cusparse": "create create_csr csr_get sp_mat_get_size sp_mv_buffer_size sp_mv sp_gemm_create_descr "
    "sp_gemm_reuse_nnz csr2csc_ex2_buffer_size sgtsv2strided_batch_buffer_size_ext xcsrgeam2nnz xcsr2gebsr_nnz "
    "get_error_name SpMVAlg SDDMMAlg Format IndexType Csr2CscAlg SpMMOpAlg cuSPARSEError",
    "cusolver": "get_property get_version AlgMode DeterministicMode DirectMode EigMode EigRange EigType IRSRefinement "
    "MathMode Norm PrecType Status StorevMode cuSOLVERError",
    "cusolverDn": "create spotrf spotrf_buffer_size xpotrf xpotrf_buffer_size irs_params_create irs_xgesv zz_gesv "
    "ss_gesv_buffer_size chetrd_buffer_size Function",
    "cudss": "create config_create config_set data_get execute matrix_create_csr matrix_create_batch_dn ConfigParam "
    "DataParam Phase MatrixType MatrixViewType PivotType Status cuDSSError",
    "cutensor": "create create_tensor_descriptor create_contraction create_plan_preference create_plan contract "
    "estimate_workspace_size ComputeDesc Algo JitMode Operator PlanPreferenceAttribute WorksizePreference "
    "cuTENSORError",
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_names_that_the_reference_documents(name: str) -> None:
    missing = [documented for documented in DOCUMENTED[name].split() if not hasattr(module(name), documented)]
    assert not missing


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cublasLt.matmul", "light_handle compute_desc alpha a adesc b bdesc beta c cdesc d ddesc algo workspace "
         "workspace_size_in_bytes stream"),
        ("cublasLt.matmul_algo_init", "light_handle compute_type scale_type atype btype ctype dtype algo_id algo"),
        ("cufft.make_plan_many", "plan rank n inembed istride idist onembed ostride odist type batch"),
        ("cufft.xt_make_plan_many", "plan rank n inembed istride idist inputtype onembed ostride odist outputtype "
         "batch executiontype"),
        ("curand.create_poisson_distribution", "lambda_"),
        ("cusparse.create_csr", "rows cols nnz csr_row_offsets csr_col_ind csr_values csr_row_offsets_type "
         "csr_col_ind_type idx_base value_type"),
        ("cusparse.sp_mv_buffer_size", "handle op_a alpha mat_a vec_x beta vec_y compute_type alg"),
        ("cusolverDn.xpotrf_buffer_size", "handle params uplo n data_type_a a lda compute_type"),
        ("cusolverDn.spotrf_buffer_size", "handle uplo n a lda"),
        ("cusolverDn.ss_gesv", "handle n nrhs d_a ldda dipiv d_b lddb d_x lddx d_workspace lwork_bytes d_info"),
        ("cutensor.create_tensor_descriptor", "handle num_modes extent stride data_type alignment_requirement"),
        ("cublas.dasum", "handle n x incx result"),
    ],
)  # fmt: skip
def test_parameters_that_the_reference_documents(name: str, parameters: str) -> None:
    library, function = name.split(".")
    assert getattr(module(library), function).input_names() == parameters.split()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("cublasLt.Epilogue.RELU_BIAS", 6), ("cublasLt.MatmulTile.TILE_8x8", 1),
        ("cublasLt.MatmulInnerShape.MMA884", 1), ("cublasLt.ClusterShape.SHAPE_2x1x1", 3),
        ("cublasLt.MatmulDescAttribute.A_SCALE_POINTER", 17), ("cublasLt.MatmulAlgoCapAttribute.TILE_IDS", 6),
        ("cublas.ComputeType.COMPUTE_32F_FAST_TF32", 77), ("cublas.GemmAlgo.ALGO0_TENSOR_OP", 100),
        ("cufft.Type.C2C", 41), ("cufft.XtQueryType.QUERY_1D_FACTORS", 0), ("cufft.XtCopyType.HOST_TO_DEVICE", 0),
        ("cufft.XtSubFormat.FORMAT_INPLACE_SHUFFLED", 3), ("cufft.XtCallbackType.LD_COMPLEX_DOUBLE", 1),
        ("cufft.LibFormat.CUFFT", 0), ("curand.RngType.PSEUDO_PHILOX4_32_10", 161), ("curand.Method.METHOD_3RD", 11),
        ("curand.DirectionVectorSet.DIRECTION_VECTORS_64_JOEKUO6", 103), ("cusparse.ColorAlg.COLOR_ALG1", 1),
        ("cusparse.SpMVAlg.CSR_ALG1", 2), ("cusparse.SpSVAlg.DEFAULT", 0), ("cusparse.SpMMAlg.COO_ALG4", 5),
        ("cusparse.SpGEMMAlg.CSR_ALG_DETERMINITIC", 1), ("cusolver.EigRange.I", 1002), ("cusolver.EigType.TYPE_1", 1),
        ("cusolver.AlgMode.ALG_2", 2), ("cudss.PivotType.PIVOT_AUTO", 0), ("cudss.ConfigParam.REORDERING_ALG", 0),
        ("cutensor.WorksizePreference.WORKSPACE_MAX", 3), ("cutensor.PlanPreferenceAttribute.GPU_ARCH", 6),
        ("runtime.Error.INVALID_VALUE", 1), ("runtime.MemcpyKind.DEVICE_TO_HOST", 2),
        ("library_types.LibraryPropertyType.MINOR_VERSION", 1),
    ],
)  # fmt: skip
def test_members(member: str, value: int) -> None:
    library, enum, name = member.split(".")
    assert getattr(getattr(module(library), enum), name) == value


def test_types_are_those_of_the_public_enums() -> None:
    """What `planmath` itself calls the data types has the headers' numbers."""
    in_headers = dict(module("library_types").CudaDataType.__members__)
    assert in_headers | dict(datatypes.CudaDataType.__members__) == in_headers


def test_types_of_attributes() -> None:
    cublas_lt = module("cublasLt")
    desc, layout = cublas_lt.MatmulDescAttribute, cublas_lt.MatrixLayoutAttribute
    assert cublas_lt.get_matmul_desc_attribute_dtype(desc.EPILOGUE) is np.uint32
    assert {cublas_lt.get_matmul_desc_attribute_dtype(attribute) for attribute in desc} >= {np.uintp, np.int64, np.int8}
    assert cublas_lt.get_matrix_layout_attribute_dtype(layout.ROWS) is np.uint64
    preference = cublas_lt.MatmulPreferenceAttribute
    assert cublas_lt.get_matmul_preference_attribute_dtype(preference.MAX_WAVES_COUNT) is np.float32


def test_every_function_can_be_passed() -> None:
    """No function takes more words or floating-point registers than can be passed, or a kind that is not known."""
    for name in bindings.CUDA:
        for result, *parameters in facts.load(name)["functions"].values():
            kinds = [code(parameter) for parameter in parameters]
            assert len(parameters) <= 32
            assert sum({"f": 1, "d": 1, "{float2}": 2, "{double2}": 2}.get(kind, 0) for kind in kinds) <= 8
            assert code(result) in ("v", "i", "I", "q", "Q", "<b", ">v") or name == "runtime"
