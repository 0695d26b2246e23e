"""NCCL: what planmath uses of it, by C's names without its prefix."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from planmath.bindings.interface import Interface, StatusError, struct
from planmath.native.library import nvidia_library

#: The version of the header.
VERSION = "2.28.3"
LIBRARY = nvidia_library("NCCL", "nccl", ("libnccl.so.2",), "ncclGetUniqueId")

#: The statuses: C's names and what they mean.
_NAMES = {
    0: "ncclSuccess", 1: "ncclUnhandledCudaError", 2: "ncclSystemError", 3: "ncclInternalError",
    4: "ncclInvalidArgument", 5: "ncclInvalidUsage", 6: "ncclRemoteError", 7: "ncclInProgress",
}  # fmt: skip


class ncclError(StatusError):
    """A function of NCCL returned a status that is not success."""

    statuses = {number: (name, "") for number, name in _NAMES.items()}  # noqa: RUF012
    library = LIBRARY
    describing = "ncclGetErrorString"


class DataType(IntEnum):
    """``ncclDataType_t``, of which whole bytes are enough for messages."""

    INT8 = 0
    UINT8 = 1
    INT32 = 2
    UINT32 = 3
    INT64 = 4
    UINT64 = 5
    FLOAT16 = 6
    FLOAT32 = 7
    FLOAT64 = 8
    BFLOAT16 = 9


class RedOp(IntEnum):
    """``ncclRedOp_t``."""

    SUM = 0
    PROD = 1
    MAX = 2
    MIN = 3
    AVG = 4


unique_id_dtype = struct(128, internal=("S", 0, 128))

_api = Interface(__name__, "NCCL", LIBRARY, VERSION, ncclError)
_f = _api.function
get_version = _f("ncclGetVersion", ">i", "int *version")
get_unique_id = _f("ncclGetUniqueId", "P", "ncclUniqueId *unique_id")
comm_init_rank = _api.function_by_value(
    "ncclCommInitRank", ">Pi{128}i", "ncclComm_t *comm, int nranks, ncclUniqueId comm_id, int rank"
)
comm_destroy = _f("ncclCommDestroy", "P", "ncclComm_t comm")
comm_abort = _f("ncclCommAbort", "P", "ncclComm_t comm")
comm_get_async_error = _f("ncclCommGetAsyncError", "P>i", "ncclComm_t comm, ncclResult_t *async_error")
comm_count = _f("ncclCommCount", "P>i", "const ncclComm_t comm, int *count")
comm_cu_device = _f("ncclCommCuDevice", "P>i", "const ncclComm_t comm, int *device")
comm_user_rank = _f("ncclCommUserRank", "P>i", "const ncclComm_t comm, int *rank")
group_start = _f("ncclGroupStart")
group_end = _f("ncclGroupEnd")
send = _f(
    "ncclSend", "PQiiPP",
    "const void *sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm, cudaStream_t stream",
)  # fmt: skip
recv = _f(
    "ncclRecv", "PQiiPP",
    "void *recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm, cudaStream_t stream",
)  # fmt: skip
all_gather = _f(
    "ncclAllGather", "PPQiPP",
    "const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype, ncclComm_t comm, "
    "cudaStream_t stream",
)  # fmt: skip
all_reduce = _f(
    "ncclAllReduce", "PPQiiPP",
    "const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm, "
    "cudaStream_t stream",
)  # fmt: skip
broadcast = _f(
    "ncclBroadcast", "PPQiiPP",
    "const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm, "
    "cudaStream_t stream",
)  # fmt: skip
reduce_scatter = _f(
    "ncclReduceScatter", "PPQiiPP",
    "const void *sendbuff, void *recvbuff, size_t recvcount, ncclDataType_t datatype, ncclRedOp_t op, "
    "ncclComm_t comm, cudaStream_t stream",
)  # fmt: skip


def unique_id() -> bytes:
    """What the ranks of a new communicator have in common, which one of them makes."""
    made = np.zeros(1, unique_id_dtype)
    get_unique_id(made.ctypes.data)
    return made.tobytes()


