"""Pictures of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planmath.sparse.ust import NamedFormats, Tensor
from planmath.sparse.ust.drawing import CELL, EMPTY, LINE, VALUE, ZERO

Image: Any = pytest.importorskip("PIL.Image")


def test_pictures(tmp_path: Path) -> None:
    t = Tensor.from_package(np.diag([1.0, 2])).convert(tensor_format=NamedFormats.CROW)
    picture = t.draw(tmp_path / "a.png")
    middle = [LINE + CELL // 2 + n * (CELL + LINE) for n in range(2)]
    colours = [[picture.getpixel((x, y)) for x in middle] for y in middle]
    assert colours == [[VALUE, ZERO], [ZERO, VALUE]]
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.size == picture.size
    raw = t.convert(tensor_format=NamedFormats.CSR).draw_raw()
    assert [raw.getpixel((x, 0)) for x in (0, 1)] == [VALUE, EMPTY]
    assert t.draw_storage().size[1] > picture.size[1]
    cube = Tensor.from_package(np.ones((2, 3, 4)))
    assert cube.animate().startswith("<img")
    assert cube.animate(tmp_path / "a.gif") is None
    with Image.open(tmp_path / "a.gif") as saved:
        assert saved.n_frames in (1, 2)  # equal frames are one
    for call in (t.animate, Tensor.from_package(np.ones((1, 1, 1, 1))).draw):
        with pytest.raises(TypeError, match="dimensions"):
            call()
    with pytest.raises(ValueError, match="draws up to"):
        Tensor.from_package(np.ones(1000)).draw()
