"""Tensors in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.sparse.ust.conversion import Arrays
from planmath.sparse.ust.expressions import LevelExpr
from planmath.sparse.ust.levels import Level
from planmath.sparse.ust.levels import LevelFormat as F

#: How many elements of an array are shown whole, and at each end of a longer one.
SHOWN, ENDS = 64, 32

#: Level formats in words, for a level of so many indices.
WORDS = {
    F.DENSE: "dense, {size} of them", F.BATCH: "batches, {size} of them", F.COMPRESSED: "compressed",
    F.SINGLETON: "one for each above", F.RANGE: "those of {size} that the level above allows",
    F.DELTA: "distances of {number} bits", F.STRUCTURED: "{number} of each {size}",
}  # fmt: skip


def _shown(array: np.ndarray) -> str:
    flat = array.reshape(-1)
    if len(flat) <= SHOWN:
        inner = ", ".join(map(str, flat.tolist()))
    else:
        inner = ", ".join([*map(str, flat[:ENDS].tolist()), "...", *map(str, flat[-ENDS:].tolist())])
    return f"[{inner}] #{len(flat)}"


def _bytes(arrays: Arrays) -> int:
    return sum(x.nbytes for x in (*arrays.pos, *arrays.crd, arrays.val) if x is not None)


def described(tensor: Any, arrays: Arrays | None) -> str:
    """What `str` says of a tensor: its format, its arrays, and how much of it is not stored."""
    lines: list[tuple[str, Any]] = [
        ("format", tensor.tensor_format.name),
        ("device", tensor.device_id),
        ("dim", tensor.extents),
        ("lvl", tensor.levels),
        ("nse", tensor.nse),
    ]
    if arrays is not None:
        for number in range(tensor.num_levels):
            for name, array in (("pos", arrays.pos[number]), ("crd", arrays.crd[number])):
                if array is not None:
                    lines.append((f"{name}[{number}]", _shown(array)))
        lines += [("values", _shown(arrays.val)), ("data", f"{_bytes(arrays)} bytes")]
        share = 100 * (1 - tensor.nse / tensor.size) if tensor.size else 0.0
        lines.append(("sparsity", f"{share:.2f}%"))
    kinds = f"VAL={tensor.dtype},POS={tensor.index_type},CRD={tensor.index_type}"
    title = f"---- Sparse Tensor<{kinds},DIM={tensor.num_dimensions},LVL={tensor.num_levels}>"
    return "\n".join([title, *(f"{name:<9}: {value}" for name, value in lines), "----"])


def explained(tensor: Any, arrays: Arrays) -> str:
    """The levels, their memory, and the loops over them."""
    form = tensor.tensor_format
    shape = "x".join(map(str, tensor.extents)) or "a number"
    lines = [
        f"{form.name}, {shape} of {tensor.dtype} with {tensor.index_type} indices: {tensor.nse} elements stored of "
        f"{tensor.size}, {_bytes(arrays)} bytes"
    ]
    for number, (expression, level, size) in enumerate(zip(form.expressions, form.stored, tensor.levels, strict=True)):
        words = WORDS[level.format].format(size=size, number=level.number)
        promises = [word for word, true in (("may repeat", not level.unique), ("unordered", not level.ordered)) if true]
        crd, pos = arrays.crd[number], arrays.pos[number]
        if crd is not None:
            words += f", {crd.size} coordinates" + "".join(f", {p}" for p in promises)
            words += "; " + (f"pos {pos.nbytes} bytes, " if pos is not None else "") + f"crd {crd.nbytes} bytes"
        lines.append(f"level {number}, {_plain(expression)}: {words}")
    zeros = tensor.nse - int(np.count_nonzero(arrays.val))
    share = 100 * zeros / tensor.nse if tensor.nse else 0
    lines.append(f"values: {arrays.val.nbytes} bytes, {share:.0f} % of them zeros")
    return "\n".join([*lines, *_loops(tensor)])


def _plain(expression: Any) -> str:
    return f"{expression}"[1:-1] if isinstance(expression, LevelExpr) else str(expression)


def _loops(tensor: Any) -> list[str]:
    """The nest of loops over what is stored."""
    form = tensor.tensor_format
    lines, place = [], ""
    for number, (expression, level, size) in enumerate(zip(form.expressions, form.stored, tensor.levels, strict=True)):
        name = _plain(expression)
        lines.append("    " * number + _loop(level, number, name, size, place))
        if level.format in (F.DENSE, F.BATCH, F.RANGE):
            own = name if name.isidentifier() else f"({name})"
            place = f"({place}) * {size} + {own}" if place else own
        elif level.format is not F.SINGLETON:
            place = "p"
    at = ", ".join(map(str, form.dimensions))
    lines.append("    " * len(lines) + f"use val[{place or 0}] at ({at})")
    return lines


def _loop(level: Level, number: int, name: str, size: int, place: str) -> str:
    above = place or "0"
    if level.format in (F.DENSE, F.BATCH):
        return f"for {name} in 0 to {size}:"
    if level.format is F.RANGE:
        return f"for {name} in 0 to {size}, where the other index exists:"
    if level.format is F.SINGLETON:
        return f"{name} = crd[{number}][{above}]"
    after = f"{above} + 1" if not above.isdecimal() else str(int(above) + 1)
    if level.format is F.STRUCTURED:
        return f"for p in {level.number} * ({above}) to {level.number} * ({after}), {name} = crd[{number}][p]:"
    what = "skip" if level.format is F.DELTA else name
    return f"for p in pos[{number}][{above}] to pos[{number}][{after}], {what} = crd[{number}][p]:"
