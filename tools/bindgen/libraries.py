"""What is bound, from which headers, and what the headers do not say: the reviewed half of the bindings.

Everything here is an opinion that a person formed from the vendor's documentation. The headers' half is what
`tools.bindgen.headers` reads; `tools.bindgen.modules` puts the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

#: Functions that only read or write a little host memory, whatever the library.
QUERIES = r"\w+Get(Version|CudartVersion|Property|StatusName|StatusString|ErrorName|ErrorString)$"


@dataclass(frozen=True)
class Library:
    """One C library and the module that it becomes.

    Parameters
    ----------
    module : str
        The module's name in `planmath.bindings`.
    title : str
        The vendor's name of the library.
    headers, owns : tuple of str
        The headers to compile, and those among all that they include whose declarations are bound.
    functions, types, constants, variables : str
        Regular expressions for the beginning of the names that are bound.
    prefix : tuple of str
        What names lose in Python, the first that they begin with.
    version : tuple of str
        The macros that are the headers' version.
    folder : str
        Where among the headers the library's own are, if they have the names of others.
    defines : tuple of str
        Macros for words in the headers that are not C's, where they are in nothing that is bound.
    binary, sonames : str, tuple of str
        The shared library: its name for cuda-pathfinder, and its file names, the newest first.
    version_function : str
        The C function that tells the loaded library's version.
    after : str
        The CUDA library, by its name for cuda-pathfinder, that this one would not find by itself.
    error, status : str
        The module's exception, and the enum of its functions' status.
    shares : str
        The module whose library, status and exception this one has too.
    describes : str
        The C function that explains a status, for a library with too many of them to be explained in `meanings`.
    outputs : tuple of (function, parameter)
        Regular expressions, matched in full. A pointer to one scalar or handle is an output if both match.
    lists : tuple of (function, parameter)
        Likewise, for lists in host memory. Constant arrays of numbers need not be named.
    quick : str
        Functions that let no other Python thread run meanwhile.
    returns_status : str
        Functions that return a status as a plain number.
    asks_for_status : str
        Functions whose status is what they were asked for, not their failure.
    member_prefixes : mapping
        By enum, what its members lose in Python, where that is not what all members begin with; behind ``=`` what they
        get for it.
    attribute_types : mapping
        By member of an enum of attributes, the letter of its type where the header's comment does not say it.
    """

    module: str
    title: str
    headers: tuple[str, ...]
    owns: tuple[str, ...]
    prefix: tuple[str, ...]
    functions: str
    types: str
    constants: str
    version: tuple[str, ...]
    folder: str = ""
    defines: tuple[str, ...] = ()
    variables: str = r"$"
    binary: str = ""
    sonames: tuple[str, ...] = ()
    version_function: str = ""
    after: str = ""
    error: str = ""
    status: str = ""
    shares: str = ""
    describes: str = ""
    outputs: tuple[tuple[str, str], ...] = ()
    lists: tuple[tuple[str, str], ...] = ()
    quick: str = QUERIES
    returns_status: str = r"$"
    asks_for_status: str = r"$"
    member_prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attribute_types: Mapping[str, str] = field(default_factory=dict)


def _version(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{name}" for name in names or ("VER_MAJOR", "VER_MINOR", "VER_PATCH"))


ANY = r"\w+"

CUBLAS = Library(
    "cublas", "cuBLAS",
    headers=("cublas_v2.h", "cublasXt.h"), owns=("cublas_v2.h", "cublas_api.h", "cublasXt.h"),
    prefix=("cublas", "CUBLAS_"), functions=r"cublas(?!Lt)", types=r"cublas(?!Lt)", constants=r"CUBLAS_",
    version=_version("CUBLAS"), binary="cublas", sonames=("libcublas.so.13", "libcublas.so.12"),
    version_function="cublasGetProperty", error="cuBLASError", status="cublasStatus_t",
    outputs=((r"cublas(Xt)?Create(_v2)?", ANY), (r"cublas(Xt)?Get\w+", ANY), (r"cublasXtMaxBoards", ANY)),
    quick=QUERIES + r"|cublasGet(PointerMode|AtomicsMode|MathMode|SmCountTarget|Stream)(_v2)?$",
)  # fmt: skip

CUBLASLT = Library(
    "cublasLt", "cuBLASLt",
    headers=("cublasLt.h",), owns=("cublasLt.h", "cublas_api.h"),
    prefix=("cublasLt", "CUBLASLT_", "cublas", "CUBLAS_"), functions=r"cublasLt", types=r"cublasLt|cublasStatus_t",
    constants=r"CUBLASLT_", version=_version("CUBLAS"),
    binary="cublasLt", sonames=("libcublasLt.so.13", "libcublasLt.so.12"),
    version_function="cublasLtGetProperty", error="cuBLASLtError", status="cublasStatus_t",
    outputs=((r"cublasLt\w*Create", ANY), (r"cublasLt\w*Get\w+", ANY)),
    quick=QUERIES + r"|cublasLt(MatrixLayout|MatmulDesc|MatrixTransformDesc|MatmulPreference|EmulationDesc)\w+"
                    r"|cublasLtMatmulAlgo(Cap|Config)\w+",
    attribute_types={
        "CUBLASLT_MATMUL_DESC_BIAS_POINTER": "P", "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER": "P",
        "CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE": "i", "CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE": "i",
        "CUBLASLT_MATMUL_DESC_EMULATION_DESCRIPTOR": "P",
        "CUBLASLT_EMULATION_DESC_FIXEDPOINT_MANTISSA_BIT_COUNT_POINTER": "P",
        "CUBLASLT_ALGO_CAP_TILE_IDS": "I", "CUBLASLT_ALGO_CAP_STAGES_IDS": "I",
        "CUBLASLT_ALGO_CAP_CUSTOM_MEMORY_ORDER": "i", "CUBLASLT_ALGO_CAP_LD_NEGATIVE": "i",
    },
)  # fmt: skip

CUFFT = Library(
    "cufft", "cuFFT",
    headers=("cufft.h", "cufftXt.h"), owns=("cufft.h", "cufftXt.h", "cudalibxt.h"),
    prefix=("cufft", "CUFFT_", "cuda"), functions=r"cufft", types=r"cufft|libFormat|cudaXtDesc|cudaLibXtDesc",
    constants=r"CUFFT_", version=_version("CUFFT"), binary="cufft", sonames=("libcufft.so.12", "libcufft.so.11"),
    version_function="cufftGetProperty", error="cuFFTError", status="cufftResult",
    outputs=(
        (r"cufft(Create|Plan(1d|2d|3d|Many))", r"handle|plan"),
        (r"cufft(Xt)?(MakePlan|GetSize|Estimate)\w*", r"workSize|workArea"),
        (r"cufftGet(Version|Property|PlanPropertyInt64)", ANY),
        (r"cufftXtMalloc", r"descriptor"),
    ),
    lists=(
        (r"cufft\w*(Many|Many64|Guru64)", r"n|inembed|onembed"), (r"cufftXtSetGPUs", r"whichGPUs"),
        (r"cufftXtSet(JIT)?Callback", r"callback_routine|caller_info"), (r"cufftXtSetWorkArea", r"workArea"),
    ),
    member_prefixes={"cufftXtSubFormat": ("CUFFT_XT_", "CUFFT_")},
)  # fmt: skip

CURAND = Library(
    "curand", "cuRAND",
    headers=("curand.h",), owns=("curand.h",), prefix=("curand", "CURAND_"),
    functions=r"curand", types=r"curand", constants=r"CURAND_", version=_version("CURAND"),
    binary="curand", sonames=("libcurand.so.10",), version_function="curandGetProperty",
    error="cuRANDError", status="curandStatus_t",
    outputs=((r"curandCreate\w+", r"generator|discrete_distribution"),
             (r"curandGet\w+", r"version|value|vectors|constants")),
    member_prefixes={"curandMethod_t": ("CURAND_=METHOD_",)},
)  # fmt: skip

CUSPARSE = Library(
    "cusparse", "cuSPARSE",
    headers=("cusparse.h",), owns=("cusparse.h",), prefix=("cusparse", "CUSPARSE_"),
    functions=r"cusparse", types=r"cusparse", constants=r"CUSPARSE_", version=_version("CUSPARSE"),
    binary="cusparse", sonames=("libcusparse.so.12",), version_function="cusparseGetProperty",
    error="cuSPARSEError", status="cusparseStatus_t",
    outputs=(
        (r"cusparseCreate\w*", r"handle|info|\w*[dD]escr[AB]?"), (r"cusparse\w+_create(Descr|Plan)", ANY),
        (r"cusparse\w*Get\w*", ANY),
        (r"cusparse\w+_bufferSize(Ext)?", r"p?[bB]ufferSize(InBytes)?"),
        (r"cusparseSpGEMM_getNumProducts", ANY), (r"cusparseSpGEMM(reuse)?_\w+", r"bufferSize\d"),
    ),
    quick=QUERIES + r"|cusparse(Const)?(Create|Destroy)(SpVec|DnVec|SpMat|DnMat|Csr|Csc|Coo|Bsr|BlockedEll|SlicedEll"
                    r"|MatDescr)$|cusparse(Const)?(SpVec|DnVec|SpMat|DnMat|Csr|Csc|Coo|Bsr|BlockedEll)(Get|Set)\w*",
    member_prefixes={
        "cusparseColorAlg_t": ("CUSPARSE_",), "cusparseSpMVAlg_t": ("CUSPARSE_SPMV_ALG_", "CUSPARSE_SPMV_"),
        "cusparseSpMMAlg_t": ("CUSPARSE_SPMM_ALG_", "CUSPARSE_SPMM_", "CUSPARSE_"),
        "cusparseSpMMOpAlg_t": ("CUSPARSE_SPMM_OP_ALG_",), "cusparseSpSVAlg_t": ("CUSPARSE_SPSV_ALG_",),
        "cusparseSpSMAlg_t": ("CUSPARSE_SPSM_ALG_",),
        "cusparseSparseToDenseAlg_t": ("CUSPARSE_SPARSETODENSE_ALG_",),
        "cusparseDenseToSparseAlg_t": ("CUSPARSE_DENSETOSPARSE_ALG_",),
        "cusparseCsr2CscAlg_t": ("CUSPARSE_CSR2CSC_ALG_", "CUSPARSE_CSR2CSC_"),
    },
)  # fmt: skip

CUSOLVER = Library(
    "cusolver", "cuSOLVER",
    headers=("cusolver_common.h",), owns=("cusolver_common.h",), prefix=("cusolver", "CUSOLVER_"),
    functions=r"cusolver", types=r"cusolver", constants=r"CUSOLVER_", version=_version("CUSOLVER"),
    binary="cusolver", sonames=("libcusolver.so.12", "libcusolver.so.11"), version_function="cusolverGetProperty",
    error="cuSOLVERError", status="cusolverStatus_t",
    outputs=((r"cusolverGet\w+", ANY),),
)  # fmt: skip

CUSOLVERDN = Library(
    "cusolverDn", "cuSOLVERDn",
    headers=("cusolverDn.h",), owns=("cusolverDn.h",), prefix=("cusolverDn", "CUSOLVERDN_", "cusolver", "CUSOLVER_"),
    functions=r"cusolverDn", types=r"cusolverDn", constants=r"CUSOLVERDN_", version=_version("CUSOLVER"),
    shares="cusolver",
    outputs=(
        (r"cusolverDn\w*Create\w*", ANY), (r"cusolverDn\w*Get\w+", ANY),
        (r"cusolverDn\w+_bufferSize", r"[lL]work(_bytes)?|workspaceInBytesOn(Device|Host)"),
        (r"cusolverDn([A-Z]{2}|IRSX)ge(sv|ls)", r"iter|niters"),
    ),
)  # fmt: skip

CUSOLVERSP = Library(
    "cusolverSp", "cuSOLVERSp",
    headers=("cusolverSp.h",), owns=("cusolverSp.h",), prefix=("cusolverSp", "CUSOLVERSP_"),
    functions=r"cusolverSp", types=r"cusolverSp", constants=r"CUSOLVERSP_", version=_version("CUSOLVER"),
    shares="cusolver",
    outputs=(
        (r"cusolverSp(Create\w*|GetStream)", ANY), (r"cusolverSp\w+BufferInfo\w*", r"(internalData|workspace)InBytes"),
        (r"cusolverSp\w+", r"singularity|issym"),
    ),
)  # fmt: skip

CUSOLVERRF = Library(
    "cusolverRf", "cuSOLVERRf",
    headers=("cusolverRf.h",), owns=("cusolverRf.h",), prefix=("cusolverRf", "CUSOLVERRF_"),
    functions=r"cusolverRf", types=r"cusolverRf", constants=r"CUSOLVERRF_", version=_version("CUSOLVER"),
    shares="cusolver", outputs=((r"cusolverRf(Create|Get\w+)", ANY),),
)  # fmt: skip

CUSOLVERMG = Library(
    "cusolverMg", "cuSOLVERMg",
    headers=("cusolverMg.h",), owns=("cusolverMg.h",), prefix=("cusolverMg", "CUSOLVERMG_", "CUDALIBMG_"),
    functions=r"cusolverMg", types=r"cusolverMg", constants=r"CUSOLVERMG_", version=_version("CUSOLVER"),
    binary="cusolverMg", sonames=("libcusolverMg.so.12", "libcusolverMg.so.11"), shares="cusolver",
    outputs=((r"cusolverMgCreate\w*", r"handle|grid|desc"), (r"cusolverMg\w+_bufferSize", r"lwork")),
)  # fmt: skip

RUNTIME = Library(
    "runtime", "the CUDA runtime",
    headers=("cuda_runtime_api.h",),
    owns=("cuda_runtime_api.h", "driver_types.h", "texture_types.h", "surface_types.h", "vector_types.h"),
    prefix=("cuda", "CUDART_"), functions=r"cuda", types=r"cuda(?!library)|dim3", constants=r"cuda",
    version=("CUDART_VERSION",), binary="cudart", sonames=("libcudart.so.13", "libcudart.so.12"),
    version_function="cudaRuntimeGetVersion", error="CUDARuntimeError", status="cudaError_t",
    describes="cudaGetErrorString",
    outputs=(
        (r"cuda(Device|Stream|Event|Mem|MemPool|Func|Array|Driver|Runtime|Host|Graph\w*)?Get(?!PCIBusId)\w+",
         r"(?!(nodes|numNodes|pRootNodes|pNumRootNodes|from|to|numEdges|p(Num)?Depende\w+|capabilities|data|dataSizes"
         r"|attributes)$)\w+"),
        (r"cuda(Malloc|HostAlloc|Occupancy|Import)\w*", ANY), (r"cuda\w*Create\w*", ANY),
        (r"cudaIpcOpen\w+", r"event|devPtr"), (r"cuda(ExternalMemory|GraphicsResource|GraphicsSubResource)Get\w+", ANY),
        (r"cuda(ChooseDevice|DeviceGetByPCIBusId)", r"device"), (r"cudaDeviceCanAccessPeer", r"canAccessPeer"),
        (r"cudaDeviceRegisterAsyncNotification", r"callback"), (r"cudaLogs(RegisterCallback|Current)", r"\w+_out"),
        (r"cudaStream(EndCapture|IsCapturing)", ANY), (r"cudaEventElapsedTime\w*", r"ms"),
        (r"cudaMemPoolImport\w+", r"memPool|ptr"),
        (r"cudaGraph(Add\w*Node\w*|Clone|NodeFindInClone|Instantiate\w*)", r"pGraphNode|pGraphClone|pNode|pGraphExec"),
        (r"cudaLibrary(Load|Get)\w+", r"library|pKernel|dptr|bytes|fptr|count"),
    ),
    quick=QUERIES + r"|cuda(GetLastError|PeekAtLastError|GetDevice)$",
    asks_for_status=r"cuda(GetLastError|PeekAtLastError)$",
    member_prefixes={
        "cudaError_t": ("cudaError", "cuda"), "cudaFuncCache": ("cudaFuncCache",),
        "cudaMemPoolAttr": ("cudaMemPoolAttr", "cudaMemPool"),
    },
)  # fmt: skip

LIBRARY_TYPES = Library(
    "library_types", "the CUDA libraries' common types",
    headers=("library_types.h", "cuda_runtime_api.h"), owns=("library_types.h",),
    prefix=("cuda", "CUDA_", "library"), functions=r"$", types=r"cuda|libraryProperty", constants=r"$",
    version=("CUDART_VERSION",),
    member_prefixes={"cudaDataType": ("",), "libraryPropertyType": ("",)},
)  # fmt: skip

CUDSS = Library(
    "cudss", "cuDSS",
    headers=("cudss.h",),
    owns=("cudss.h", "cudss_data_types.h", "cudss_distributed_interface.h", "cudss_threading_interface.h"),
    prefix=("cudss", "CUDSS_"), functions=r"cudss", types=r"cudss", constants=r"CUDSS_",
    version=_version("CUDSS", "VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH"),
    binary="cudss", sonames=("libcudss.so.0",), version_function="cudssGetProperty",
    error="cuDSSError", status="cudssStatus_t",
    outputs=((r"cudss\w*Create\w*", r"handle|handle_pt|solverConfig|solverData|matrix"), (r"cudss\w*Get\w*", ANY)),
    lists=((r"cudssCreateMg", r"device_indices"),),
    member_prefixes={"cudssPivotType_t": ("CUDSS_",)},
)  # fmt: skip

CUTENSOR = Library(
    "cutensor", "cuTENSOR",
    headers=("cutensor.h",), owns=("cutensor.h", "types.h"), prefix=("cutensor", "CUTENSOR_"),
    functions=r"cutensor", types=r"cutensor", constants=r"CUTENSOR_", variables=r"CUTENSOR_COMPUTE_DESC_",
    version=_version("CUTENSOR", "MAJOR", "MINOR", "PATCH"),
    binary="cutensor", sonames=("libcutensor.so.2",), version_function="cutensorGetVersion",
    error="cuTENSORError", status="cutensorStatus_t",
    outputs=(
        (r"cutensorCreate\w*", r"handle|desc|plan|pref"), (r"cutensorEstimateWorkspaceSize", r"workspaceSizeEstimate"),
        (r"cutensorHandleReadPlanCacheFromFile", r"numCachelinesRead"),
    ),
    member_prefixes={"cutensorWorksizePreference_t": ("CUTENSOR_",)},
)  # fmt: skip

MATHDX = Library(
    "mathdx", "libmathdx",
    headers=("libmathdx.h", "libcufftdx.h", "libcublasdx.h", "libcusolverdx.h"),
    owns=("libmathdx.h", "libcommondx.h", "libcufftdx.h", "libcublasdx.h", "libcusolverdx.h"),
    prefix=("mathdx", "LIBMATHDX_"), functions=r"(math|common|cufft|cublas|cusolver)dx",
    types=r"(common|cufft|cublas|cusolver)dx", constants=r"LIBMATHDX_(RUNTIME|MAX_PIPELINE_DEPTH|NONE)",
    version=_version("LIBMATHDX"), binary="mathdx", sonames=("libmathdx.so.0",), version_function="mathdxGetVersion",
    after="nvrtc", error="LibMathDxError", status="commondxStatusType",
    outputs=(
        (r"\w+dxGet\w*Version(Ex)?", ANY), (r"\w+dxCreate\w+", r"handle|code|tensor|device_function|\w*pipeline"),
        (r"\w+dxMakeTensorLike", r"output"),
        (r"\w+dx(Get(?!LTOIR$)\w+|IsSupported)", r"(lto_|fatbin_)?size|value|code"),
    ),
    lists=(
        (r"\w+dx(Set\w+Int64s|Finalize\w*|CreateDeviceFunction\w*)", r"array|values|handles|tensors|pipelines"),
        (r"cufftdxGetKnob\w+", r"knobs_ptr"), (r"cublasdxCreateTensorStrided", r"shape|stride"),
    ),
)  # fmt: skip

NCCL = Library(
    "nccl", "NCCL",
    headers=("nccl.h",), owns=("nccl.h",), prefix=("nccl", "NCCL_"),
    functions=r"nccl", types=r"nccl(?!RedOp_dummy)", constants=r"NCCL_(WIN|SPLIT|SHRINK|REVOKE|CTA)_",
    version=_version("NCCL", "MAJOR", "MINOR", "PATCH"),
    binary="nccl", sonames=("libnccl.so.2",), version_function="ncclGetVersion",
    error="NCCLError", status="ncclResult_t",
    outputs=(
        (r"nccl(Get\w+|CommGet\w+|CommCount|CommCuDevice|CommUserRank)", r"version|asyncError|count|device|rank"),
        (r"ncclCommInitRank\w*", r"comm|newcomm"), (r"ncclComm(Split|Shrink)", r"newcomm"),
        (r"ncclMemAlloc", r"ptr"), (r"ncclComm(Register|WindowRegister)", r"handle|win"),
        (r"ncclRedOpCreate\w+", r"op"),
    ),
    lists=((r"ncclComm(InitAll|Shrink)", r"devlist|excludeRanksList"),),
    quick=QUERIES + r"|ncclComm(Count|CuDevice|UserRank|GetAsyncError)$|ncclGroupStart$",
)  # fmt: skip

CUBLASMP = Library(
    "cublasMp", "cuBLASMp",
    headers=("cublasmp.h",), owns=("cublasmp.h",), prefix=("cublasMp", "CUBLASMP_"),
    functions=r"cublasMp", types=r"cublasMp", constants=r"$", version=_version("CUBLASMP"),
    binary="cublasmp", sonames=("libcublasmp.so.0",), version_function="cublasMpGetVersion",
    error="cuBLASMpError", status="cublasMpStatus_t",
    outputs=(
        (r"cublasMp(Create|\w+Create)", r"handle|grid|desc|matmulDesc"), (r"cublasMpGet\w+", ANY),
        (r"cublasMp\w+_bufferSize", r"workspaceSizeInBytesOn(Device|Host)"), (r"cublasMpMalloc", r"ptr"),
        (r"cublasMp\w+GetAttribute", r"sizeWritten"),
    ),
)  # fmt: skip

CUSOLVERMP = Library(
    "cusolverMp", "cuSOLVERMp",
    headers=("cusolverMp.h",), owns=("cusolverMp.h", "cusolver_common.h"),
    prefix=("cusolverMp", "CUSOLVERMP_", "cusolver", "CUSOLVER_"),
    functions=r"cusolverMp", types=r"cusolverMp|cusolverStatus_t", constants=r"CUSOLVERMP_(?!VER)",
    version=_version("CUSOLVERMP"),
    binary="cusolverMp", sonames=("libcusolverMp.so.0",), error="cuSOLVERMpError", status="cusolverStatus_t",
    outputs=(
        (r"cusolverMp(Create\w*|\w+DescriptorCreate)", r"handle|grid|desc|nsDesc|polarDesc|gesvdDesc"),
        (r"cusolverMpGet(Stream|Version)", ANY), (r"cusolverMp\w+_bufferSize", r"workspaceInBytesOn(Device|Host)"),
        (r"cusolverMpMalloc", r"ptr"),
    ),
)  # fmt: skip

CUFFTMP = replace(
    CUFFT, module="cufftMp", title="cuFFTMp", folder="cufftmp", defines=("nullptr=0",),
    headers=("cufftMp.h",), owns=(*CUFFT.owns, "cufftMp.h"), prefix=("cufftMp", *CUFFT.prefix),
    binary="cufftMp", sonames=("libcufftMp.so.12", "libcufftMp.so.11"), error="cuFFTMpError",
    outputs=(*CUFFT.outputs, (r"cufftMpCreateReshape", r"handle"), (r"cufftMpGetReshapeSize", r"workspace_size")),
)  # fmt: skip

#: NVSHMEM's functions for elements of one type of C, beside which stand those for bytes.
_TYPED = r"u?(char|short|int(8|16|32|64)?|long|longlong)|schar|size|ptrdiff|float|double2?|half|bfloat16|complex[fd]"

NVSHMEM = Library(
    "nvshmem", "NVSHMEM", folder="nvshmem", defines=("half=short", "__nv_bfloat16=short"),
    headers=("stdbool.h", "assert.h", "nvshmem_host.h"),
    owns=(
        "nvshmem_api.h", "nvshmemx_api.h", "nvshmem_coll_api.h", "nvshmemx_coll_api.h", "nvshmem_types.h",
        "nvshmem_uniqueid.h", "nvshmem_constants.h", "nvshmemx_error.h",
    ),
    prefix=("nvshmemx_", "nvshmem_", "NVSHMEMX_", "NVSHMEM_"),
    # without those for devices
    functions=rf"nvshmemx?_(?!({_TYPED})_)(?!(qp_(?!create)\w+|signal_op|\w+_(warp|warpgroup|block))$)",
    types=r"nvshmem(?!i|x_proxy)|flags$", constants=r"NVSHMEMX?_(TEAM|SIGNAL|CMP)_",
    version=_version("NVSHMEM_VENDOR", "MAJOR_VERSION", "MINOR_VERSION", "PATCH_VERSION"),
    binary="nvshmem_host", sonames=("libnvshmem_host.so.3",), error="NVSHMEMError", status="nvshmemx_status",
    returns_status=r"nvshmemx?_(?!((team_)?(my_pe|n_pes)|team_translate_pe|init_status)$)",
    outputs=(
        (r"nvshmem_(info_get_version|query_thread)|nvshmemx_vendor_get_version_info", r"major|minor|patch|provided"),
        (r"nvshmemx?_team_(split_\w+|init|get_uniqueid)", r"new_team|[xy]axis_team|team|uniqueid"),
        (r"nvshmemx_region_(start|is_active)", r"handle|active"),
    ),
    quick=r"nvshmem_(team_)?(my_pe|n_pes)$|nvshmem_(info_get_version|ptr)$|nvshmemx_vendor_get_version_info$",
    member_prefixes={"nvshmem_pe_index_t": ("NVSHMEM_PE_", "NVSHMEMX_PE_")},
)  # fmt: skip

LIBRARIES: dict[str, Library] = {
    library.module: library
    for library in (
        CUBLAS, CUBLASLT, CUFFT, CURAND, CUSPARSE, CUSOLVER, CUSOLVERDN, CUSOLVERSP, CUSOLVERRF, CUSOLVERMG, RUNTIME,
        LIBRARY_TYPES, CUDSS, CUTENSOR, MATHDX, NCCL,
        CUBLASMP, CUSOLVERMP, CUFFTMP, NVSHMEM,
    )
}  # fmt: skip

#: Names of enums in Python that are not C's without its prefix.
ENUM_NAMES = {
    "cudaDataType": "CudaDataType", "libraryPropertyType": "LibraryPropertyType", "cudaError_t": "Error",
    "cudaJit_CacheMode": "JitCacheMode", "cudaJit_Fallback": "JitFallback", "flags": "InitFlags",
}  # fmt: skip

#: Runs of letters that the rule for names would cut in the wrong place.
WORDS = {
    "GPUs": "Gpus", "GEMMreuse": "GEMM_reuse", "RDMA": "Rdma", "NvSciBuf": "Nvscibuf", "NvSciSync": "Nvscisync",
    "LTOIRs": "Ltoirs", "Int64Size": "Int64_Size", "Int64sSize": "Int64s_Size",
}  # fmt: skip
