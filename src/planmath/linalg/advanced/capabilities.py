"""What an algorithm of a CUDA library can be set to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AlgorithmCapabilities:
    """Capabilities of an algorithm, by cuBLASLt's names (``cublasLtMatmulAlgoCapAttributes_t``).

    Parameters
    ----------
    splitk_support : int
        Whether sums over k can be split.
    reduction_scheme_mask : int
        The `MatmulReductionScheme` values by which the parts can be summed.
    cta_swizzling_support : int
        Whether the order of tiles can be changed.
    strided_batch_support, out_of_place_result_support, uplo_support : int
    tile_ids : tuple of (int, int)
    custom_option_max : int
        The largest custom option; they start at 0.
    custom_memory_order, pointer_mode_mask, epilogue_mask : int
    stages_ids : tuple of (int, int or 'AUTO')
    ld_negative : int
    numerical_impl_flags : int
        `MatmulNumericalImplFlags` of the algorithm.
    min_alignment_a_bytes, min_alignment_b_bytes, min_alignment_c_bytes, min_alignment_d_bytes : int
    pointer_array_batch_support, floating_point_emulation_support : int or None
        None where the library is older than they are.
    cluster_shape_ids : tuple of (int, int, int), or 'AUTO'
        All that exist: the library tells only when an algorithm is used whether it has the shape.
    """

    splitk_support: int
    reduction_scheme_mask: int
    cta_swizzling_support: int
    strided_batch_support: int
    out_of_place_result_support: int
    uplo_support: int
    tile_ids: tuple[tuple[int, int], ...]
    custom_option_max: int
    custom_memory_order: int
    pointer_mode_mask: int
    epilogue_mask: int
    stages_ids: tuple[tuple[Any, Any], ...]
    ld_negative: int
    numerical_impl_flags: int
    min_alignment_a_bytes: int
    min_alignment_b_bytes: int
    min_alignment_c_bytes: int
    min_alignment_d_bytes: int
    pointer_array_batch_support: int | None
    floating_point_emulation_support: int | None
    cluster_shape_ids: tuple[Any, ...]


def extents(text: str) -> Any:
    """``128x64`` as (128, 64), ``64xAUTO`` as (64, 'AUTO'), what has no extents as it is."""
    parts = text.split("x")
    if len(parts) == 1:
        return text
    return tuple([int(part) if part.isdigit() else part for part in parts])
