"""Pipelines: tiles of two matrices in global memory that stream through shared memory.

In the simulator a product of whole blocks of rows and columns; on a device copies that are under way while the tiles
before are multiplied (`kernels/pipelines.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planmath.device import inside
from planmath.device.function import positive
from planmath.device.value_types import host_dtype

if TYPE_CHECKING:
    from planmath.device.matmul import Matmul
    from planmath.device.targets import Dim3

#: As what a kernel is given a pipeline: addresses, elements between rows or columns, and how many tiles a product has.
FIELDS = ("a", "a_leading", "b", "b_leading", "tiles")
#: Bytes to which tiles are aligned in shared memory.
ALIGNMENT = 128


def stage(mm: Matmul) -> tuple[tuple[int, int], int]:
    """Where in shared memory a tile of A and one of B are, and the bytes of both, in any of their layouts."""
    from planmath.device import tensor_code

    sizes = [
        max(tensor_code.traits(mm, f"{kind}smem_{side}")["STORAGE_BYTES"] for kind in ("", "suggested_"))
        for side in "ab"
    ]
    second, end = (-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)
    return (0, second), second + end



class DevicePipeline:
    """The tiles of A and B for all blocks of a kernel. `Matmul.suggest_device_pipeline` makes it.

    In the simulator the depth is checked and otherwise ignored. A kernel gets it as an argument, and is compiled with
    ``extensions=planmath.device.cublasdx_numba.pipeline_extensions``; it needs `buffer_size` bytes of dynamic shared
    memory.

    Parameters
    ----------
    mm : Matmul
        With ``with_pipeline=True``.
    pipeline_depth : int
        Tiles that are under way at a time.
    a, b : array
        Matrices in global memory, M × K and K × N, multiples of the product's size, on the current device. The pipeline
        keeps them.

    Attributes
    ----------
    buffer_size, buffer_alignment : int
        Bytes of shared memory that a block needs, and their alignment.
    storage_bytes, storage_alignment : int
        Bytes of the pipeline itself.
    block_dim : Dim3
    """

    def __init__(self, mm: Matmul, pipeline_depth: int, a: Any, b: Any):
        if not mm.with_pipeline:
            raise ValueError("a pipeline needs a product made with with_pipeline=True")
        self.mm, self.pipeline_depth = mm, positive("pipeline_depth", pipeline_depth)
        for name, array, extents, dtype in (
            ("a", a, mm.a_dim, mm.a_value_type), ("b", b, mm.b_dim, mm.b_value_type),
        ):  # fmt: skip
            if array.ndim != 2 or any(n % extent for n, extent in zip(array.shape, extents, strict=True)):
                raise ValueError(f"{name} is a matrix of multiples of {extents}, not of shape {array.shape}")
            if array.dtype != host_dtype(dtype):
                raise ValueError(f"{name} has elements of {dtype}, not {array.dtype}")
        if a.shape[1] != b.shape[0]:
            raise ValueError(f"A of shape {a.shape} and B of shape {b.shape} cannot be multiplied")
        self.a, self.b = a, b
        self.arguments: tuple[int, ...] = ()
        if not inside.simulating():
            self.arguments = (*_matrix("a", a, mm, 0), *_matrix("b", b, mm, 1), a.shape[1] // mm.size[2])

    @property
    def _numba_type_(self) -> Any:
        from planmath.device import kernels

        return kernels.type_of(self)

    @property
    def block_dim(self) -> Dim3 | None:
        return self.mm.block_dim

    @property
    def buffer_size(self) -> int:
        if inside.simulating():
            return self.pipeline_depth * self.mm.get_shared_storage_size_ab()
        return self.pipeline_depth * stage(self.mm)[1]

    @property
    def buffer_alignment(self) -> int:
        return 16 if inside.simulating() else ALIGNMENT

    @property
    def storage_bytes(self) -> int:
        return 0

    @property
    def storage_alignment(self) -> int:
        return 16

    def get_tile(self, smem: Any, blockIdx_x: Any, blockIdx_y: Any) -> TilePipeline:
        """In a kernel: the tiles whose product is the block (x, y) of C."""
        inside.thread("DevicePipeline.get_tile")
        from planmath.device.simulator import SimulationError

        if smem.nbytes < self.buffer_size:
            raise SimulationError(
                f"the pipeline needs {self.buffer_size} bytes of shared memory (buffer_size), and has {smem.nbytes}"
            )
        tile = TilePipeline(self)
        self.reset_tile(tile, blockIdx_x, blockIdx_y)
        return tile

    def reset_tile(self, tile_pipeline: TilePipeline, idx: Any, idy: Any) -> None:
        """In a kernel: let a tile be another one."""
        inside.thread("DevicePipeline.reset_tile")
        tile_pipeline._place = _index(idx), _index(idy)


class TilePipeline:
    """The tiles for one block of C, in a kernel. `DevicePipeline.get_tile` makes it."""

    _place: tuple[int, int] = (0, 0)

    def __init__(self, device_pipeline: DevicePipeline):
        self.device_pipeline = device_pipeline

    def execute(self, accumulator: Any) -> None:
        """The accumulator ← the product of all tiles + itself, by all threads of the block."""
        thread = inside.thread("TilePipeline.execute")
        from planmath.device.simulator import tensors

        tensors.accumulate_tiles(thread, self.device_pipeline, self._place, accumulator)

    def _del(self) -> None:
        """The end of its use."""


def _matrix(name: str, array: Any, mm: Matmul, side: int) -> tuple[int, int]:
    """The address of a matrix on a device, and how many elements apart its rows or columns are."""
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        raise ValueError(f"{name} is a {type(array).__name__}; expected an array on the current CUDA device")
    size = host_dtype((mm.a_value_type, mm.b_value_type)[side]).itemsize
    strides = interface.get("strides") or (interface["shape"][1] * size, size)
    leading, inner = strides if mm._rows[side] else strides[::-1]
    if inner != size or leading % size:
        wanted = "rows" if mm._rows[side] else "columns"
        raise ValueError(f"{name} has strides of {strides} bytes; expected {wanted} without gaps")
    return int(interface["data"][0]), leading // size


def _index(given: Any) -> int:
    """Of a block: an index, or a pair of the index and that of a batch, of which there is one."""
    return int(given[0]) if isinstance(given, tuple) else int(given)
