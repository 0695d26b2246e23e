"""PyTorch's layers on CUDA with those of planmath's operators, forward and backward, step after step as in training."""

from __future__ import annotations

from functools import partial

from bench.comparison import Row, Settings
from bench.cuda_device import device_clock
from bench.interfaces import Layers, layers

#: name: (what is done, at most so much of PyTorch's time)
WORK = {
    "64/eager": (Layers(64, device="cuda"), 1.3),
    "64/compiled": (Layers(64, device="cuda", compiled="default"), 1),
    "64/captured": (Layers(64, device="cuda", compiled="reduce-overhead"), 1),
    "8192/bf16/eager": (Layers(8192, "bfloat16", "cuda"), 1),
    "8192/bf16/compiled": (Layers(8192, "bfloat16", "cuda", "default"), 1),
}


def rows(settings: Settings) -> dict[str, Row]:
    clock = device_clock()
    found: dict[str, Row] = {}
    for of, (work, most) in WORK.items():
        name = f"cuda/interfaces/torch/layers/{of}"
        found[name] = partial(layers, name, work, most, clock=clock)
    return found
