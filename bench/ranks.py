"""Distributed operations on several GPUs of one host, a rank each: ``mpiexec -n 2 python -m bench.ranks``.

A row's figure is the time from a barrier to the end of the slowest rank's work, for one of several executions in a row;
the best and the median of the repeats. Beside planmath's transports stand what one GPU takes for the whole problem, and
what a rank's local work takes alone. Arguments choose rows by their beginnings; ``--large`` adds 1024³ and 32768³.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

os.environ.update({
    "NCCL_NVLS_ENABLE": "0", "NVSHMEM_DISABLE_NVLS": "1", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1"
})  # fmt: skip


import planmath.distributed as distributed
from planmath.distributed.distribution import BlockCyclic, ProcessGrid, Redistribute, Slab
from planmath.distributed.fft import FFT, pipeline
from planmath.distributed.fft.pipeline import HEAD, MOST_PIECES, TAIL
from planmath.distributed.linalg.advanced import Matmul, summa

REPEATS, SECONDS = 7, 0.6
TRANSPORTS = ("ipc", "nccl")


class Time(NamedTuple):
    """Seconds of an execution on the slowest rank."""

    best: float
    middle: float


class Ranks:
    """All ranks, each with its device."""

    def __init__(self) -> None:
        import torch
        from mpi4py import MPI

        self.torch, self.world = torch, MPI.COMM_WORLD
        self.rank, self.size = self.world.rank, self.world.size
        self.device = self.rank % torch.cuda.device_count()
        torch.cuda.set_device(self.device)
        distributed.initialize(self.device, self.world, ["nccl"])

    def slowest(self, seconds: float) -> float:
        from mpi4py import MPI

        return self.world.allreduce(seconds, MPI.MAX)

    def time(self, work: Callable[[], Any], ranks: int | None = None) -> Time:
        """The time of some work that all ranks do, or the first ones alone while the others wait."""
        takes_part = ranks is None or self.rank < ranks
        for _ in range(3):
            self._run(work, 1 if takes_part else 0)
        number = max(1, min(100, int(SECONDS / REPEATS / max(self._run(work, 1 if takes_part else 0), 1e-6))))
        times = [self._run(work, number if takes_part else 0) / number for _ in range(REPEATS)]
        return Time(min(times), median(times))

    def _run(self, work: Callable[[], Any], number: int) -> float:
        self.torch.cuda.synchronize()
        self.world.Barrier()
        start = time.perf_counter()
        for _ in range(number):
            work()
        self.torch.cuda.synchronize()
        return self.slowest(time.perf_counter() - start)

    def random(self, shape: tuple[int, ...], dtype: Any, order: str = "C") -> Any:
        """An array of random numbers on the device; of two axes and the order F, column-major."""
        if order == "F":
            return self.random(shape[::-1], dtype).T
        wide = self.torch.float32 if dtype is self.torch.bfloat16 else dtype
        return self.torch.randn(shape, dtype=wide, device="cuda").to(dtype)

    def say(self, *words: Any) -> None:
        if self.rank == 0:
            print(*words, flush=True)


Rows = Iterator[tuple[str, Time]]


def transforms(ranks: Ranks, n: int, redistribute: bool) -> Rows:
    from planmath.fft import FFT as LocalFFT

    torch = ranks.torch
    for transport in TRANSPORTS:
        operand = ranks.random((n // ranks.size, n, n), torch.complex64)
        options = {"redistribute": redistribute, "provider": transport}
        with FFT(operand, distribution=Slab.X, options=options) as transform:
            transform.plan()
            # of values that grow: the time does not depend on them
            yield transport, ranks.time(lambda t=transform: t.execute(direction="forward"))  # type: ignore[misc]
        del operand
    torch.cuda.empty_cache()
    if n <= 512:
        local = ranks.random((n, n, n), torch.complex64) if ranks.rank == 0 else None
        with LocalFFT(local if local is not None else ranks.random((2,), torch.complex64),
                      options={"inplace": True}) as whole:  # fmt: skip
            whole.plan()
            yield "one GPU", ranks.time(whole.execute, 1)
        del local
        torch.cuda.empty_cache()


def ways_to_send(ranks: Ranks, n: int) -> Rows:
    """The transform with its messages in other numbers of pieces, and with other tails; of one part is none."""
    ways = (8, 8, 1), (6, 3, 4), (12, 6, 4), (16, 8, 4), (8, 3, 4), (8, 5, 4), (8, 4, 2), (8, 4, 8)
    for pieces, head, tail in ways:
        pipeline.MOST_PIECES, pipeline.HEAD, pipeline.TAIL = pieces, head, tail
        try:
            operand = ranks.random((n // ranks.size, n, n), ranks.torch.complex64)
            options = {"redistribute": False, "provider": "ipc"}
            with FFT(operand, distribution=Slab.X, options=options) as transform:
                transform.plan()
                took = ranks.time(lambda t=transform: t.execute(direction="forward"))  # type: ignore[misc]
                yield f"{pieces} pieces, {head}+{tail}", took
        finally:
            pipeline.MOST_PIECES, pipeline.HEAD, pipeline.TAIL = MOST_PIECES, HEAD, TAIL
    ranks.torch.cuda.empty_cache()


def redistributions(ranks: Ranks, n: int) -> Rows:
    for transport in TRANSPORTS:
        operand = ranks.random((n // ranks.size, n, n), ranks.torch.complex64)
        with Redistribute(operand, Slab.X, Slab.Y, options={"provider": transport}) as redistribution:
            redistribution.plan()
            out = redistribution.empty_result()
            yield transport, ranks.time(lambda r=redistribution, o=out: r.execute(out=o))  # type: ignore[misc]


def products(ranks: Ranks, n: int, dtype: str, along: tuple[Slab, Slab, Slab], transports: Any = TRANSPORTS) -> Rows:
    from planmath.linalg.advanced import Matmul as LocalMatmul

    torch, of = ranks.torch, getattr(ranks.torch, dtype)

    def local_shape(slab: Slab) -> tuple[int, ...]:
        return slab.shape(ranks.rank, (n, n))

    a, b = (ranks.random(local_shape(slab), of, "F") for slab in along[:2])
    for transport in transports:
        c = ranks.random(local_shape(along[2]), of, "F")
        with Matmul(a, b, c, beta=0.0, distributions=along, options={"provider": transport}) as product:
            product.plan()
            yield transport, ranks.time(product.execute)
    local = (a, ranks.random((n, n), of, "F")) if along[0] == Slab.X else (a, b)
    c = ranks.random((local[0].shape[0], local[1].shape[1]), of, "F")
    with LocalMatmul(*local, c, beta=0.0, options={"inplace": True}) as product:
        product.plan()
        yield "local product alone", ranks.time(product.execute)
    whole = [ranks.random((n, n) if ranks.rank == 0 else (16, 16), of, "F") for _ in range(3)]
    with LocalMatmul(*whole, beta=0.0, options={"inplace": True}) as product:
        product.plan()
        yield "one GPU", ranks.time(product.execute, 1)
    torch.cuda.empty_cache()


def on_grid(ranks: Ranks, n: int, dtype: str) -> Rows:
    """On a grid of ranks as square as it can be."""
    from planmath.distributed.distribution import BlockNonCyclic
    from planmath.linalg.advanced import Matmul as LocalMatmul

    rows = max(k for k in range(1, int(ranks.size**0.5) + 1) if ranks.size % k == 0)
    grid = ProcessGrid(shape=(rows, ranks.size // rows), layout=ProcessGrid.Layout.ROW_MAJOR)
    of = getattr(ranks.torch, dtype)
    placed = BlockNonCyclic(grid)
    a, b, c = (ranks.random(placed.shape(ranks.rank, (n, n)), of, "F") for _ in range(3))
    usual = summa.PANELS, summa.LEAST
    ways = {"8 panels": usual, "16 panels": (16, 256), "4 panels": (4, 256), "gathered": (1, n)}
    for way, (summa.PANELS, summa.LEAST) in ways.items():
        with Matmul(a, b, c, beta=0.0, distributions=[placed] * 3, options={"provider": "ipc"}) as product:
            product.plan()
            yield f"ipc, {rows}x{ranks.size // rows}, {way}", ranks.time(product.execute)
    summa.PANELS, summa.LEAST = usual
    local = ranks.random((c.shape[0], n), of, "F"), ranks.random((n, c.shape[1]), of, "F"), c
    with LocalMatmul(*local, beta=0.0, options={"inplace": True}) as product:
        product.plan()
        yield "local product alone", ranks.time(product.execute)
    del local
    ranks.torch.cuda.empty_cache()


def systems(ranks: Ranks, n: int) -> Rows:
    """LU in blocks of several sizes; the matrix is made anew before each factorization, which the time includes."""
    from planmath.distributed.linalg import DirectSolver
    from planmath.linalg import DirectSolver as LocalSolver

    grid = ProcessGrid(shape=(1, ranks.size), layout=ProcessGrid.Layout.ROW_MAJOR)
    of = ranks.torch.float64
    for transport, size in (*((TRANSPORTS[0], size) for size in (128, 512)), *((name, 256) for name in TRANSPORTS)):
        blocks = BlockCyclic(grid, (size, size))
        values = ranks.random(blocks.shape(ranks.rank, (n, n)), of, "F")
        a, b = ranks.torch.empty_like(values), ranks.random(Slab.X.shape(ranks.rank, (n, 1)), of, "F")
        options = {"provider": transport}
        with DirectSolver(a, b, distributions=[blocks, Slab.X], options=options) as solver:
            solver.plan()

            def work(solver: Any = solver, a: Any = a, values: Any = values) -> None:
                a.copy_(values)
                solver.factorize()

            yield f"{transport}, 1x{ranks.size}, blocks {size}", ranks.time(work)
    whole = ranks.random((n, n) if ranks.rank == 0 else (16, 16), of, "F")
    with LocalSolver(whole, ranks.random((whole.shape[0], 1), of, "F")) as solver:
        solver.plan()
        yield "one GPU", ranks.time(solver.factorize, 1)
    ranks.torch.cuda.empty_cache()


GATHER, SUM = (Slab.X, Slab.Y, Slab.X), (Slab.Y, Slab.X, Slab.Y)
ROWS: dict[str, Callable[[Ranks], Rows]] = {
    "fft 512^3 complex64 X to Y": lambda r: transforms(r, 512, False),
    "fft 512^3 complex64 X to X": lambda r: transforms(r, 512, True),
    "matmul bfloat16 8192^3 gathered": lambda r: products(r, 8192, "bfloat16", GATHER),
    "matmul float32 8192^3 gathered": lambda r: products(r, 8192, "float32", GATHER),
    "matmul bfloat16 8192^3 summed": lambda r: products(r, 8192, "bfloat16", SUM),
    "redistribute 512^3 complex64 X to Y": lambda r: redistributions(r, 512),
    "ways of fft 512^3 complex64 X to Y": lambda r: ways_to_send(r, 512),
    "matmul float32 16384^3 on a grid": lambda r: on_grid(r, 16384, "float32"),
    "lu float64 8192^2": lambda r: systems(r, 8192),
}
LARGE: dict[str, Callable[[Ranks], Rows]] = {
    "fft 1024^3 complex64 X to Y": lambda r: transforms(r, 1024, False),
    "fft 1024^3 complex64 X to X": lambda r: transforms(r, 1024, True),
    "matmul bfloat16 32768^3 gathered": lambda r: products(r, 32768, "bfloat16", GATHER, ("ipc",)),
    "lu float64 32768^2": lambda r: systems(r, 32768),
    "matmul bfloat16 32768^3 summed": lambda r: products(r, 32768, "bfloat16", SUM, ("ipc",)),
    "matmul bfloat16 32768^3 on a grid": lambda r: on_grid(r, 32768, "bfloat16"),
}


def main(arguments: list[str]) -> None:
    ranks = Ranks()
    rows = ROWS | LARGE if "--large" in arguments else ROWS
    wanted = [of for of in arguments if not of.startswith("--")]
    ranks.say(f"{ranks.size} ranks, {ranks.torch.cuda.get_device_name()}; ms: best, median")
    for name, row in rows.items():
        if wanted and not any(name.startswith(of) for of in wanted):
            continue
        try:
            for contender, found in row(ranks):
                ranks.say(f"{name:38} {contender:22} {found.best * 1e3:9.3f} {found.middle * 1e3:9.3f}")
        except Exception as error:  # of one row: the others are measured all the same
            print(f"{name}: rank {ranks.rank}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            if ranks.size > 1 and not getattr(error, "is_agreed_on", False):
                raise


if __name__ == "__main__":
    main(sys.argv[1:])
