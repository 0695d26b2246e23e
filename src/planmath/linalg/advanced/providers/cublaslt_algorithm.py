"""cuBLASLt's algorithms: 64 bytes that only the library reads, and what it tells about them."""

from __future__ import annotations

import enum
import re
from dataclasses import fields
from typing import Any

import numpy as np

from planmath import bindings
from planmath.core.provider import Algorithm
from planmath.linalg.advanced.capabilities import AlgorithmCapabilities, extents

#: What an algorithm is made of: each knob's attribute in ``cublasLtMatmulAlgoConfigAttributes_t``, and the enumeration
#: that its values are from.
KNOBS: dict[str, tuple[str, str | None]] = {
    "id": ("ID", None), "tile": ("TILE_ID", "MatmulTile"), "stages": ("STAGES_ID", "MatmulStages"),
    "cluster_shape": ("CLUSTER_SHAPE_ID", "ClusterShape"), "split_k": ("SPLITK_NUM", None),
    "reduction_scheme": ("REDUCTION_SCHEME", None), "cta_swizzling": ("CTA_SWIZZLING", None),
    "custom_option": ("CUSTOM_OPTION", None), "inner_shape": ("INNER_SHAPE_ID", None),
}  # fmt: skip
#: Capabilities that older libraries do not know.
_RECENT = ("pointer_array_batch_support", "floating_point_emulation_support")


def _attribute_of(knob: str) -> tuple[int, Any, Any]:
    """A knob's attribute, the type of its value, and the enumeration that this is from, if it is from one."""
    attribute, names = KNOBS[knob]
    number = bindings.cublasLt.MatmulAlgoConfigAttribute[attribute]
    dtype = bindings.cublasLt.get_matmul_algo_config_attribute_dtype(number)
    return number, dtype, None if names is None else getattr(bindings.cublasLt, names)


def algorithm_of(provider: str, result: Any) -> Algorithm:
    """An algorithm that heuristics or a check returned."""
    struct = np.array([result["algo"]], bindings.cublasLt.matmul_algo_dtype)
    return _described(provider, struct, int(result["workspace_size"]))


def _described(provider: str, struct: np.ndarray, workspace: int) -> Algorithm:
    knobs: list[tuple[str, Any]] = []
    for name in KNOBS:
        attribute, dtype, names = _attribute_of(name)
        memory = np.zeros(1, dtype)
        bindings.cublasLt.matmul_algo_config_get_attribute(
            struct.ctypes.data, attribute, memory.ctypes.data, memory.nbytes
        )
        value = int(memory[0])
        knobs.append((name, value if names is None else _short(names, value)))
    return Algorithm(provider, (*knobs, ("_workspace", workspace), ("_algorithm", struct.tobytes().hex())))


def struct_of(algorithm: Algorithm) -> np.ndarray:
    """The library's 64 bytes of an algorithm.

    Raises
    ------
    ValueError
        If they are not there.
    """
    text = algorithm.get("_algorithm", "")
    size = bindings.cublasLt.matmul_algo_dtype.itemsize
    if not isinstance(text, str) or len(text) != 2 * size or not re.fullmatch("[0-9a-f]+", text):
        raise ValueError(f"the algorithm {algorithm} lacks the {size} bytes by which cuBLASLt knows it")
    return np.frombuffer(bytes.fromhex(text), bindings.cublasLt.matmul_algo_dtype).copy()


def capabilities(algorithm: Algorithm) -> AlgorithmCapabilities:
    """What the algorithm's knobs can be set to."""
    struct = struct_of(algorithm)
    values: dict[str, Any] = {}
    for field in fields(AlgorithmCapabilities):
        if field.name == "cluster_shape_ids":  # the library does not tell; it checks when the algorithm is used
            values[field.name] = tuple(
                extents(_short(bindings.cublasLt.ClusterShape, shape))
                for shape in _proper(bindings.cublasLt.ClusterShape)
            )
            continue
        attribute = bindings.cublasLt.MatmulAlgoCapAttribute[field.name.upper()]
        names = {"tile_ids": bindings.cublasLt.MatmulTile, "stages_ids": bindings.cublasLt.MatmulStages}.get(field.name)
        dtype = bindings.cublasLt.get_matmul_algo_cap_attribute_dtype(attribute)
        memory = np.zeros(len(names) if names else 1, dtype)
        try:
            written = bindings.cublasLt.matmul_algo_cap_get_attribute(
                struct.ctypes.data, attribute, memory.ctypes.data, memory.nbytes
            )
        except bindings.cublasLt.cuBLASLtError:
            if field.name not in _RECENT:
                raise
            values[field.name] = None
            continue
        found = memory[: written // memory.itemsize].tolist()
        values[field.name] = tuple(extents(_short(names, value)) for value in found) if names else found[0]
    return AlgorithmCapabilities(**values)


def configured(algorithm: Algorithm, name: str, value: Any) -> Algorithm:
    """The algorithm with another value of a knob.

    Raises
    ------
    ValueError
        If it cannot have that value.
    """
    can = capabilities(algorithm)
    attribute, dtype, names = _attribute_of(name)
    possible: Any
    if names is not None:
        possible = getattr(can, f"{name}_ids")
        given = tuple(value) if isinstance(value, list | tuple) else value
        if given not in possible:
            raise ValueError(f"{name} is {value!r}; this algorithm has {', '.join(map(str, possible))}")
        number = next(int(n) for n in names if extents(_short(names, n)) == given)
    else:
        if not isinstance(value, int):
            raise ValueError(f"{name} is {value!r}; expected an integer")
        fits, expected = {
            "split_k": (value == 1 or (can.splitk_support and value > 0), _where("1, or more", "splitk_support")),
            "reduction_scheme": (value & ~can.reduction_scheme_mask == 0, f"a part of {can.reduction_scheme_mask:#x}"),
            "cta_swizzling": (
                value == 0 or (can.cta_swizzling_support and value == 1), _where("0, or 1", "cta_swizzling_support")
            ),
            "custom_option": (0 <= value <= can.custom_option_max, f"0 to {can.custom_option_max}"),
            "inner_shape": (value in _proper(bindings.cublasLt.MatmulInnerShape), "a MatmulInnerShape"),
        }[name]  # fmt: skip
        if not fits:
            raise ValueError(f"{name} is {value!r}; expected {expected}")
        number = int(value)
    struct = struct_of(algorithm)
    memory = np.array([number], dtype)
    bindings.cublasLt.matmul_algo_config_set_attribute(struct.ctypes.data, attribute, memory.ctypes.data, memory.nbytes)
    return _described(algorithm.provider, struct, algorithm.get("_workspace"))


def _where(values: str, support: str) -> str:
    return f"{values} where capabilities.{support} is 1"


def _proper(names: type[enum.IntEnum]) -> list[enum.IntEnum]:
    """The members that stand for something of their own."""
    return [member for member in names if not member.name.endswith("END")]


def _short(names: type[enum.IntEnum], value: int) -> str:
    """A member's name without what all of them begin with; its number where this version of the bindings lacks it."""
    try:
        return names(value).name.partition("_")[2]
    except ValueError:
        return str(value)
