"""planmath as a guest: every call comes right after one of another library, whose threads may still look for work.

Here contenders have no pauses and no turns of many calls: one call each, in another order in each round, as in a
program that uses all of these libraries. What counts is a call's own time, and that of NumPy's product right after it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import quantiles
from time import perf_counter
from typing import Any

import numpy as np

from bench.comparison import CORES, Row, Settings, threads
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most

TRANSFORMS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "480x640": ((480, 640), (0, 1)),
    "96x96x96": ((96, 96, 96), (0, 1, 2)),
    "8x3x224x224": ((8, 3, 224, 224), (2, 3)),
    "20000x32": ((20_000, 32), (1,)),
}
CONTRACTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "kbia,ckbj->aijc": ((24, 20, 30, 28), (26, 24, 20, 22)),
    "bijm,bmkn->bikjn": ((6, 20, 18, 64), (6, 64, 24, 16)),
}
#: Rows of NumPy's product that follows each call, and rounds of all calls for each round of the other rows.
ROWS, ROUNDS = 320, 20
PLANNED, TUNED = "planmath planned", "planmath tuned"


def rows(settings: Settings) -> dict[str, Row]:
    if settings.peers_only:
        return {}
    found: dict[str, Row] = {
        (name := f"company/fft/{key}"): partial(transform, name, *TRANSFORMS[key]) for key in TRANSFORMS
    }
    return found | {
        (name := f"company/tensor/{key}"): partial(contraction, name, key, *CONTRACTIONS[key]) for key in CONTRACTIONS
    }


def transform(name: str, shape: tuple[int, ...], axes: tuple[int, ...], settings: Settings) -> Outcome:
    import mkl_fft
    import scipy.fft
    import torch

    from planmath.fft import FFT

    x = uniform(shape, "complex64")
    t = torch.from_numpy(x)
    with ExitStack() as stack:
        calls, same = ours(stack, lambda: FFT(x, axes=axes))
        for number in sorted({1, CORES}):
            calls[f"SciPy {threads(number)}"] = partial(scipy.fft.fftn, x, axes=axes, workers=number)
        calls["mkl_fft"] = partial(mkl_fft.fftn, x, axes=axes)
        calls["torch"] = partial(torch.fft.fftn, t, dim=axes)
        return in_turn(name, calls, same, settings)


def contraction(name: str, key: str, a: tuple[int, ...], b: tuple[int, ...], settings: Settings) -> Outcome:
    from planmath.tensor import BinaryContraction

    operands = uniform(a, "float64"), uniform(b, "float64")
    with ExitStack() as stack:
        calls, same = ours(stack, lambda: BinaryContraction(key, *operands))
        calls["NumPy einsum(optimize=True)"] = partial(np.einsum, key, *operands, optimize=True)
        return in_turn(name, calls, same, settings)


def ours(stack: ExitStack, make: Callable[[], Any]) -> tuple[dict[str, Callable[[], Any]], bool]:
    """The operation planned only, and tuned, in this order: what was tuned is in the record; and whether both chose the
    same algorithm."""
    planned, tuned = (stack.enter_context(make()) for _ in range(2))
    for operation in (planned, tuned):
        operation.plan()
    tuned.autotune()
    return {PLANNED: planned.execute, TUNED: tuned.execute}, alike(planned, tuned)


def alike(*operations: Any) -> bool:
    """Whether operations have chosen the same algorithm."""
    return len({repr(operation).rpartition("planned: ")[2].partition(" by ")[0] for operation in operations}) == 1


def in_turn(name: str, calls: Mapping[str, Callable[[], Any]], same: bool, settings: Settings) -> Outcome:
    """Time each call after one of another, and NumPy's product after each.

    Where planned and tuned are the `same`, the times of both are those of one contender: two of them differ by a
    quarter and more, by whom they meet.
    """
    a = uniform((ROWS, ROWS), "float64")
    product = partial(np.matmul, a, a)
    everyone: dict[str, Callable[[], Any]] = {**calls, "NumPy product": product}
    own: dict[str, list[float]] = {label: [] for label in everyone}
    following: dict[str, list[float]] = {label: [] for label in everyone}
    order, shuffle = list(everyone), random.Random(0).shuffle
    for call in everyone.values():
        call()
    for _ in range(ROUNDS * settings.rounds):
        shuffle(order)
        for label in order:  # after the others, as they come
            own[label].append(timed(everyone[label]))
        for label in order:
            everyone[label]()
            following[label].append(timed(product))
    if same:
        for times in (own, following):
            times[PLANNED] = times[TUNED] = times[PLANNED] + times[TUNED]
    outcome = Outcome(name, "s", raw={"own": own, "NumPy's product after it": following})
    outcome.notes += ["tuned as planned"] * same
    outcome.figures = {label: quiet(times) for label, times in own.items()}
    outcome.figures |= {f"{label}, then NumPy": quiet(times) for label, times in following.items()}
    best = min((label for label in calls if not label.startswith("planmath")), key=outcome.figures.__getitem__)
    targets: list[Target] = [
        at_most(1.03, TUNED, PLANNED),
        at_most(1.05, TUNED, best),
        at_most(1.05, f"{TUNED}, then NumPy", f"{best}, then NumPy"),
    ]
    outcome.judge(targets, {})
    return outcome


def timed(call: Callable[[], Any]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def quiet(times: list[float]) -> float:
    """The lower quartile: other programs disturb the upper half."""
    return quantiles(times, n=4)[0]
