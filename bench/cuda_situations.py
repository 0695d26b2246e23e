"""What autotuning chose on a device, in the situations of programs: bursts of calls back to back on the same operands
after a pause, and single calls with a flushed cache; against what was planned only, and PyTorch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from bench.company import alike
from bench.comparison import Row, Settings
from bench.cuda_device import importable, on_device
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most
from planmath.core.cuda import devices

PLANNED, TUNED, TORCH = "planmath planned", "planmath tuned", "torch"
BURST, FLUSHED = "bursts", "flushed"
#: Calls of a burst, the seconds in which the device cools before each, single calls with a flushed cache behind the
#: bursts of all, and rounds for each round of the other rows.
CALLS, COOLING, FLUSHES, ROUNDS = 20, 10e-3, 3, 5
SAME = 1.03


@dataclass(frozen=True)
class Work:
    """An operation of planmath's, and the function of PyTorch's that does the same."""

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    expr: str = ""

    def operands(self) -> list[Any]:
        torch = importable("torch")
        if self.dtype == "bfloat16":
            return [on_device(uniform(shape, "float32", s), "torch").to(torch.bfloat16) for s, shape in self.numbered]
        return [on_device(uniform(shape, self.dtype, seed), "torch") for seed, shape in self.numbered]

    @property
    def numbered(self) -> list[tuple[int, tuple[int, ...]]]:
        return list(enumerate(self.shapes, start=1))

    def operation(self, operands: list[Any]) -> Any:
        from planmath.fft import FFT
        from planmath.linalg.advanced import Matmul
        from planmath.tensor import BinaryContraction

        if self.kind == "fft":
            return FFT(operands[0], axes=[-1])
        return Matmul(*operands) if self.kind == "matmul" else BinaryContraction(self.expr, *operands)

    def torch(self, operands: list[Any]) -> Callable[[], Any]:
        torch = importable("torch")
        if self.kind == "fft":
            return partial(torch.fft.fft, operands[0])
        if self.kind == "matmul":
            return partial(torch.matmul, *operands)
        return partial(torch.einsum, self.expr, *operands)


WORKS = {
    "matmul/1024x4096x1024/f64": Work("matmul", ((1024, 1024), (1024, 4096)), "float64"),
    "matmul/4096/bf16": Work("matmul", ((4096, 4096), (4096, 4096)), "bfloat16"),
    "matmul/333x777x555/f64": Work("matmul", ((333, 555), (555, 777)), "float64"),
    "matmul/1x4096x4096/f32": Work("matmul", ((1, 4096), (4096, 4096)), "float32"),
    "tensor/2000x1500x1000/f64": Work("tensor", ((2000, 1500), (1500, 1000)), "float64", "ij,jk->ki"),
    "tensor/48x36x24x36/f32": Work("tensor", ((48, 36, 24, 36), (36, 36, 48, 48)), "float32", "abcd,dbea->ec"),
    "fft/2^20/c64": Work("fft", ((2**20,),), "complex64"),
    "fft/1000x1024/c64": Work("fft", ((1000, 1024),), "complex64"),
}


def rows(settings: Settings) -> dict[str, Row]:
    if settings.peers_only:
        return {}
    return {(name := f"cuda/situations/{key}"): partial(row, name, work) for key, work in WORKS.items()}


def row(name: str, work: Work, settings: Settings) -> Outcome:
    torch = importable("torch")
    operands = work.operands()
    outcome = Outcome(name, "s")
    with ExitStack() as stack:
        planned, tuned = (stack.enter_context(work.operation(operands)) for _ in range(2))
        for operation in (planned, tuned):
            operation.plan()
        tuned.autotune()
        outcome.notes = [f"{label}: {made!r}" for label, made in ((PLANNED, planned), (TUNED, tuned))]
        calls = {PLANNED: planned.execute, TUNED: tuned.execute, TORCH: work.torch(operands)}
        same = alike(planned, tuned)
        times = in_turn(calls, ROUNDS * settings.rounds)
    if same:  # one contender, whose turns are those of both
        outcome.notes.append("tuned as planned")
        for of in times.values():
            of[PLANNED] = of[TUNED] = of[PLANNED] + of[TUNED]
    outcome.raw = {situation: dict(of) for situation, of in times.items()}
    outcome.figures = {f"{label}, {situation}": median(t) for situation, of in times.items() for label, t in of.items()}
    targets: list[Target] = [
        at_most(SAME, f"{TUNED}, {situation}", f"{other}, {situation}")
        for situation in (BURST, FLUSHED) for other in (PLANNED, TORCH)
    ]  # fmt: skip
    outcome.judge(targets, {})
    torch.cuda.empty_cache()
    return outcome


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of a call of each, by situation, in turns whose order is another one in each round."""
    torch = importable("torch")
    flush = torch.empty(2 * devices.device(0).l2_size, dtype=torch.uint8, device="cuda")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def timed(call: Callable[[], Any], count: int) -> float:
        begin.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / count

    found: dict[str, dict[str, list[float]]] = {s: {label: [] for label in calls} for s in (BURST, FLUSHED)}
    order, shuffle = list(calls), random.Random(0).shuffle
    for call in calls.values():
        timed(call, 3)
    for _ in range(rounds):
        shuffle(order)
        for label in order:
            time.sleep(COOLING)
            calls[label]()
            found[BURST][label].append(timed(calls[label], CALLS))
        for _ in range(FLUSHES):
            shuffle(order)
            for label in order:
                flush.zero_()
                found[FLUSHED][label].append(timed(calls[label], 1))
    return found
