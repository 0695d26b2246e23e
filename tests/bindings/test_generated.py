"""The generated modules are what the tool makes of the facts, and the facts are what the headers say.

The second needs the vendor's headers: ``PLANMATH_CUDA_HEADERS=<newest>:<earlier>:... pytest tests/bindings`` (see
tools/bindgen/README.md), with the package libclang installed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tools.bindgen import facts, modules
from tools.bindgen.__main__ import read
from tools.bindgen.facts import declared
from tools.bindgen.libraries import ANY, LIBRARIES, Library
from tools.bindgen.names import function_name, member_names, snake

HEADERS = [Path(folder) for folder in os.environ.get("PLANMATH_CUDA_HEADERS", "").split(os.pathsep) if folder]
EVERY = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)


@EVERY
def test_modules_are_generated(library: Library) -> None:
    written = (modules.FOLDER / f"{library.module}.py").read_text()
    assert written == modules.source(library, facts.load(library.module)), "run: python -m tools.bindgen"


@EVERY
def test_facts_are_written_in_one_way(library: Library) -> None:
    assert facts.path(library.module).read_text() == facts.dump(facts.load(library.module))


@EVERY
def test_facts_are_those_of_the_headers(library: Library) -> None:
    pytest.importorskip("clang.cindex", reason="the package libclang is not installed")
    if not HEADERS:
        pytest.skip("PLANMATH_CUDA_HEADERS does not say where the headers are")
    assert facts.path(library.module).read_text() == read(library.module, HEADERS[0], HEADERS[1:])


@EVERY
def test_reviewed_tables_have_nothing_to_spare(library: Library) -> None:
    """Each rule on outputs and lists applies somewhere, and each enum and member that is named exists."""
    found = facts.load(library.module)
    for functions, parameters in library.outputs + library.lists:
        symbols = [symbol for symbol in found["functions"] if re.fullmatch(functions, symbol)]
        assert symbols, functions
        names = [re.sub(r".*?(\w+)(\[\d*\])*$", r"\1", declared(d)) for s in symbols for d in found["functions"][s][1:]]
        assert parameters == ANY or any(re.fullmatch(parameters, name) for name in names), (functions, parameters)
    members = {member[0] for enum in found["enums"].values() for member in enum}
    assert set(library.member_prefixes) <= set(found["enums"])
    assert set(library.attribute_types) <= members


#: Names of parameters that point to one number by their type, but to device memory or to a list in fact.
NOT_OUTPUTS = {"result", "info", "devInfo", "d_info", "P", "p", "position", "nnzTotalDevHostPtr", "outputPtr", "ipiv"}


@EVERY
def test_device_memory_is_no_output(library: Library) -> None:
    found = facts.load(library.module)
    for symbol, (_, *parameters) in found["functions"].items():
        if re.search(r"Create\w*Info$", symbol):  # where an info is an object in host memory
            continue
        for parameter in parameters:
            name = re.sub(r".*?(\w+)(\[\d*\])*$", r"\1", declared(parameter))
            assert name not in NOT_OUTPUTS or not modules.kind(symbol, parameter, library, found).startswith(">"), (
                symbol
            )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MatmulAlgoGetHeuristic", "matmul_algo_get_heuristic"), ("ExecC2C", "exec_c2c"), ("XtSetGPUs", "xt_set_gpus"),
        ("XtSetJITCallback", "xt_set_jit_callback"), ("SpMV_bufferSize", "sp_mv_buffer_size"),
        ("SpGEMMreuse_nnz", "sp_gemm_reuse_nnz"), ("Csr2cscEx2", "csr2csc_ex2"), ("ZZgesv", "zz_gesv"),
        ("IRSXgesv", "irs_xgesv"), ("Xcsrgeam2Nnz", "xcsrgeam2nnz"), ("Memcpy2DAsync", "memcpy2d_async"),
        ("DeviceGetByPCIBusId", "device_get_by_pci_bus_id"), ("lambda", "lambda_"), ("Adesc", "adesc"),
        ("csrSortedRowPtrA", "csr_sorted_row_ptr_a"), ("dataTypeA", "data_type_a"),
    ],
)  # fmt: skip
def test_names(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_revisions_of_functions_are_not_in_their_names() -> None:
    assert function_name("cublasSgemm_v2_64", LIBRARIES["cublas"]) == "sgemm_64"
    assert function_name("cublasCreate_v2", LIBRARIES["cublas"]) == "create"


def test_names_of_members() -> None:
    cublas, runtime = LIBRARIES["cublas"], LIBRARIES["runtime"]
    assert member_names("cublasOperation_t", ["CUBLAS_OP_N", "CUBLAS_OP_T"], cublas) == ["N", "T"]
    computes = ["CUBLAS_COMPUTE_16F", "CUBLAS_COMPUTE_32F_FAST_TF32"]
    assert member_names("cublasComputeType_t", computes, cublas) == ["COMPUTE_16F", "COMPUTE_32F_FAST_TF32"]
    kinds = ["cudaMemcpyHostToHost", "cudaMemcpyDeviceToHost"]
    assert member_names("cudaMemcpyKind", kinds, runtime) == ["HOST_TO_HOST", "DEVICE_TO_HOST"]
    errors = ["cudaSuccess", "cudaErrorInvalidValue"]
    assert member_names("cudaError_t", errors, runtime) == ["SUCCESS", "INVALID_VALUE"]
