"""Pictures of tensors. Needs Pillow, which is imported when something is drawn."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from planmath.sparse.ust.conversion import expand

#: Pixels of an element, of the lines between them, and of a gap between arrays or slices.
CELL, LINE, GAP = 14, 1, 10
#: Red, green and blue of what is not stored, of stored zeros, and of stored values; of the ground and of lines.
EMPTY, ZERO, VALUE, GROUND, LINES = (245, 245, 245), (250, 190, 90), (40, 100, 180), (255, 255, 255), (200, 200, 200)
#: Most elements along an axis that are drawn.
MOST = 512


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("drawing needs Pillow; install it with: pip install pillow") from None
    return Image


def _stored(tensor: Any, ranks: tuple[int, ...], what: str) -> np.ndarray:
    """0 for what is not stored, 1 for stored zeros, 2 for stored values."""
    if tensor.num_dimensions not in ranks:
        raise TypeError(
            f"{what}() is for tensors of {' or '.join(map(str, ranks))} dimensions, not of {tensor.num_dimensions}"
        )
    if max(tensor.extents) > MOST:
        raise ValueError(f"the tensor has the extents {tensor.extents}; {what}() draws up to {MOST} of each dimension")
    arrays = tensor._on_host()
    entries = expand(tensor.tensor_format, tensor.extents, arrays)
    values = arrays.val if entries.places is None else arrays.val[entries.places]
    found = np.zeros(tensor.extents, np.uint8)
    np.maximum.at(found, tuple(entries.indices), np.where(values != 0, 2, 1).astype(np.uint8))
    return found


def _cells(kinds: np.ndarray, size: int, line: int) -> np.ndarray:
    """A matrix of kinds as pixels."""
    colours = np.array([EMPTY, ZERO, VALUE], np.uint8)[kinds]
    step = size + line
    rows, columns = kinds.shape
    pixels = np.empty((rows * step + line, columns * step + line, 3), np.uint8)
    pixels[...] = LINES
    for i in range(size):
        for j in range(size):
            pixels[line + i :: step, line + j :: step][:rows, :columns] = colours
    return pixels


def _beside(pictures: list[np.ndarray], down: bool = False) -> np.ndarray:
    """Pictures one beside the other, or one below the other."""
    axis, other = (0, 1) if down else (1, 0)
    length = max(p.shape[other] for p in pictures)
    padded = []
    for p in pictures:
        room = [(0, 0)] * 3
        room[other] = (0, length - p.shape[other])
        room[axis] = (0, GAP)
        padded.append(np.pad(p, room, constant_values=255))
    return np.concatenate(padded, axis=axis)


def _image(pixels: np.ndarray, name: Any) -> Any:
    image = _pillow().fromarray(pixels)
    if name is not None:
        image.save(name)
    return image


def draw(tensor: Any, name: Any) -> Any:
    """The elements; slices of three dimensions one beside the other."""
    kinds = _stored(tensor, (1, 2, 3), "draw")
    slices = [kinds.reshape(-1, kinds.shape[-1])] if kinds.ndim < 3 else list(kinds)
    return _image(_beside([_cells(kind, CELL, LINE) for kind in slices]), name)


def draw_raw(tensor: Any, name: Any) -> Any:
    """The elements, a pixel each."""
    kinds = _stored(tensor, (2, 3), "draw_raw")
    slices = [kinds] if kinds.ndim == 2 else list(kinds)
    return _image(_beside([_cells(kind, 1, 0) for kind in slices]), name)


def draw_storage(tensor: Any, name: Any) -> Any:
    """The arrays of all levels and the values, one below the other; an array longer than the picture is cut."""
    if tensor.num_dimensions not in (1, 2, 3):
        raise TypeError(f"draw_storage() is for tensors of 1 to 3 dimensions, not of {tensor.num_dimensions}")
    arrays = tensor._on_host()
    rows = []
    for array in (*(x for pair in zip(arrays.pos, arrays.crd, strict=True) for x in pair), arrays.val):
        if array is not None:
            flat = array.reshape(1, -1)[:, :MOST]
            rows.append(_cells(np.where(flat != 0, 2, 1).astype(np.uint8), CELL, LINE))
    return _image(_beside(rows, down=True), name)


def animate(tensor: Any, name: Any) -> Any:
    """The slices of three dimensions in turn: the GIF's file is written, or HTML returned."""
    kinds = _stored(tensor, (3,), "animate")
    frames = [_pillow().fromarray(_cells(kind, CELL, LINE)) for kind in kinds]
    target = io.BytesIO() if name is None else name
    frames[0].save(target, format="GIF", save_all=True, append_images=frames[1:], duration=500, loop=0)
    if name is not None:
        return None
    return f'<img src="data:image/gif;base64,{base64.b64encode(target.getvalue()).decode()}">'
