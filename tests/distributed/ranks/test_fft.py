"""Distributed transforms against NumPy's of the whole array."""

import numpy as np
import pytest

from planmath.distributed.distribution import BlockCyclic, BlockNonCyclic, Box, ProcessGrid, Slab
from planmath.distributed.fft import FFT, allocate_operand, fft, ifft, irfft, rfft
from tests.distributed.ranks.arrays import grids, group, local, messages, part, slab_box, whole

TOLERANCE = {"float32": 3e-5, "complex64": 3e-5, "float64": 1e-12, "complex128": 1e-12}
SHAPES = [(8, 6), (7, 5), (6, 4, 8), (5, 7, 9), (3, 2, 4, 5), (2, 3)]


def providers():
    return [None, messages()] if group().nranks > 1 else [None, None]


def filled(full, distribution, dtype, kind):
    """An operand that holds this rank's part of a whole array."""
    mine = local(full, distribution[0] if isinstance(distribution, tuple) else distribution)
    operand = allocate_operand(mine.shape, np, input_dtype=dtype, distribution=distribution, fft_type=kind)
    operand[...] = mine
    return operand


def close(result, expected, dtype):
    assert result.shape == expected.shape
    assert np.allclose(result, expected, rtol=0, atol=TOLERANCE[dtype] * max(1, np.abs(expected).max(initial=0)))


def spectrum(full, kind, axes, parity="even", direction=-1):
    if kind == "C2C":
        return np.fft.fftn(full, axes=axes) if direction == -1 else np.fft.ifftn(full, axes=axes, norm="forward")
    if kind == "R2C":
        return np.fft.rfftn(full, axes=axes)
    n = 2 * (full.shape[axes[-1]] - 1) + (parity == "odd")
    return np.fft.irfftn(full, s=[*(full.shape[a] for a in axes[:-1]), n], axes=axes, norm="forward")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["C2C", "R2C", "C2R"])
@pytest.mark.parametrize("redistribute", [True, False])
def test_slabs(shape, kind, redistribute):
    for number, dtype in enumerate(("complex128", "complex64")):
        dtype = dtype if kind != "R2C" else dtype.replace("complex128", "float64").replace("complex64", "float32")
        parity = ("even", "odd")[number]
        full = whole(shape, dtype)
        axes = tuple(range(len(shape)))
        for slab in (Slab.X, Slab.Y):
            for provider in providers()[number:]:
                options = {
                    "fft_type": kind, "redistribute": redistribute, "last_axis_parity": parity, "provider": provider
                }  # fmt: skip
                operand = filled(full, slab, dtype, kind)
                with FFT(operand, distribution=slab, options=options) as transform:
                    transform.plan()
                    result = transform.execute()
                    target = slab if redistribute else {0: Slab.Y, 1: Slab.X}[slab.partition_dim]
                    expected = spectrum(full, kind, axes, parity)
                    close(result, local(expected, target), dtype)
                    assert result.ctypes.data == operand.ctypes.data or not result.size
                    again = filled(2 * full, slab, dtype, kind)
                    transform.reset_operand(again, distribution=slab)
                    close(transform.execute(), local(2 * expected, target), dtype)


def test_any_distribution_and_axes():
    shape = (6, 4, 8)
    full = whole(shape, "complex128")
    found = [Slab.Z]
    for number, grid in enumerate(grids(3, group().nranks)):
        found.append(BlockCyclic(grid, (2, 1, 3)) if number % 2 else BlockNonCyclic(grid))
    for number, distribution in enumerate(found):
        axes = [(0,), (1,), (2, 0), (0, 1), (1, 2)][number % 5]
        operand = filled(full, distribution, "complex128", "C2C")
        with FFT(operand, distribution=distribution, axes=axes) as transform:
            transform.plan()
            close(transform.execute(), local(np.fft.fftn(full, axes=axes), distribution), "complex128")
    real = whole(shape, "float64")
    for axes in [(0,), (2, 1), (1, 2, 0)]:
        expected = np.fft.rfftn(real, axes=axes)
        for slab in (Slab.X, Slab.Y, Slab.Z):
            mine = local(real, slab)
            buffer = np.zeros(4 * real.size + 64)
            operand = buffer[: mine.size].reshape(mine.shape)
            operand[...] = mine
            with FFT(operand, distribution=slab, axes=axes) as transform:
                transform.plan()
                close(transform.execute(), local(expected, slab), "float64")


def test_one_axis():
    full = whole((13,), "complex128")
    close(
        fft(filled(full, Slab.X, "complex128", "C2C"), distribution=Slab.X),
        local(np.fft.fft(full), Slab.X),
        "complex128",
    )
    real = whole((13,), "float64")
    mine = local(real, Slab.X)
    operand = np.zeros(64)[: mine.size]
    operand[...] = mine
    close(rfft(operand, distribution=Slab.X), local(np.fft.rfft(real), Slab.X), "float64")


@pytest.mark.parametrize("kind", ["C2C", "R2C", "C2R"])
def test_boxes_and_pencils(kind):
    shape = (6, 5, 8)
    dtype = "float64" if kind == "R2C" else "complex128"
    full = whole(shape, dtype)
    expected = spectrum(full, kind, (0, 1, 2))

    def pencil(shape, axes):
        nranks = group().nranks
        rows = 2 if nranks % 2 == 0 else 1
        grid = [1] * 3
        grid[axes[0]], grid[axes[1]] = rows, nranks // rows
        section = BlockNonCyclic(
            ProcessGrid(shape=grid, layout=ProcessGrid.Layout.ROW_MAJOR)
        ).section(group().rank, shape)  # fmt: skip
        return Box([of[0][0] for of in section], [of[0][1] for of in section])

    pairs = [
        (slab_box(shape, 0), slab_box(expected.shape, 1)),  # where each rank has one
        (pencil(shape, (0, 1)), pencil(expected.shape, (1, 2))),
        (pencil(shape, (0, 2)), pencil(expected.shape, (0, 2))),
    ]  # fmt: skip
    for one, other in pairs if group().nranks <= min(shape) else pairs[1:]:
        operand = filled(full, (one, other), dtype, kind)
        with FFT(operand, distribution=(one, other), options={"fft_type": kind}) as transform:
            transform.plan()
            if group().nranks > 2 and kind == "C2C":
                transform.autotune(iterations=2)
                assert {m.algorithm.get("route") for m in transform._plan_made.measurements} >= {"slabs"}
            result = transform.execute()
            close(result, part(expected, other.section(group().rank, expected.shape)), dtype)
            if kind == "C2C":
                transform.reset_operand(result, distribution=(other, one))
                back = transform.execute(direction="inverse")
                close(back, full.size * part(full, one.section(group().rank, shape)), dtype)


def test_there_and_back_in_one_plan():
    full = whole((6, 4, 5), "complex128")
    operand = filled(full, Slab.X, "complex128", "C2C")
    with FFT(operand, distribution=Slab.X, options={"redistribute": False}) as transform:
        transform.plan()
        for _ in range(2):
            there = transform.execute(direction="forward")
            close(there, local(np.fft.fftn(full), Slab.Y), "complex128")
            transform.reset_operand(there, distribution=Slab.Y)
            back = transform.execute(direction="inverse")
            close(back, full.size * local(full, Slab.X), "complex128")
            back /= full.size
            transform.reset_operand(back, distribution=Slab.X)
        assert "exchange 1 of 1" in transform.report() or group().nranks == 1
        with pytest.raises(ValueError, match="as planned"):
            transform.reset_operand(back, distribution=Slab.Z)
        transform.release_operand()
        with pytest.raises(RuntimeError, match="reset_operand"):
            transform.execute()


def test_functions_and_torch(torch):
    full = whole((4, 6, 8), "complex64")
    operand = allocate_operand(
        local(full, Slab.Y).shape, torch, input_dtype=torch.complex64, distribution=Slab.Y, memory_space="cpu"
    )
    operand.copy_(torch.from_numpy(local(full, Slab.Y)))
    result = fft(operand, distribution=Slab.Y, options={"redistribute": False})
    assert isinstance(result, torch.Tensor)
    close(result.numpy(), local(np.fft.fftn(full), Slab.X), "complex64")
    back = ifft(result, distribution=Slab.X)
    close(back.numpy(), full.size * local(full, Slab.X), "complex64")
    real = whole((4, 6, 8), "float64")
    half = rfft(filled(real, Slab.X, "float64", "R2C"), distribution=Slab.X)
    close(irfft(half, distribution=Slab.X), real.size * local(real, Slab.X), "float64")


def misused(name):
    full = whole((6, 4, 8), "complex128")
    arguments = {"operand": filled(full, Slab.X, "complex128", "C2C"), "distribution": Slab.X, "options": {}}
    if group().rank == group().nranks - 1:
        arguments |= {
            "half": {"operand": np.zeros(local(full, Slab.X).shape, "float16")},
            "order": {"operand": local(full, Slab.X, "F")},
            "box": {"distribution": Box((0, 0, 0), (1, 1, 1))},
            "mixed": {"distribution": (Slab.X, Box((0, 0, 0), (1, 1, 1)))},
            "redistribute": {"options": {"redistribute": 1}},
            "type": {"options": {"fft_type": "R2C"}},
            "slab": {"distribution": Slab.Y},
            "read-only": {"operand": np.broadcast_to(0j, local(full, Slab.X).shape)},
        }[name]
    return arguments


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("half", TypeError, "float16"), ("order", ValueError, "C order"), ("box", TypeError, "pair of boxes"),
        ("mixed", ValueError, "pair of two boxes"), ("redistribute", ValueError, "redistribute"),
        ("type", ValueError, "fft_type is 'R2C'"), ("read-only", ValueError, "strides|read-only"),
    ],
)  # fmt: skip
def test_one_wrong_rank(name, kind, says):
    arguments = misused(name)
    with pytest.raises(kind, match=says):
        FFT(arguments["operand"], distribution=arguments["distribution"], options=arguments["options"])


@pytest.mark.ranks(2)
def test_small_buffer_on_one_rank():
    shape = (group().nranks * 2 + 1, 2)  # rank 0 has more rows than others
    full = whole(shape, "complex128")
    operand = filled(full, Slab.X, "complex128", "C2C")
    if group().rank == 1:
        operand = local(full, Slab.X)
    if group().nranks == 2:
        shape = operand.shape
    needs = local(np.zeros(full.shape), Slab.Y).nbytes > local(np.zeros(full.shape), Slab.X).nbytes
    too_small = group().allreduce_object(bool(needs and group().rank == 1), op=lambda a, b: a or b)
    if too_small:
        with pytest.raises(RuntimeError, match="buffer of rank 1 has"):
            FFT(operand, distribution=Slab.X, options={"redistribute": False})


def test_direction_and_states():
    full = whole((4, 4, 6), "float64")
    with FFT(filled(full, Slab.X, "float64", "R2C"), distribution=Slab.X) as transform:
        with pytest.raises(RuntimeError, match="call plan"):
            transform.execute()
        transform.plan()
        with pytest.raises(ValueError, match="R2C transforms are FORWARD"):
            transform.execute(direction="inverse")
        close(transform.execute(direction=-1), local(np.fft.rfftn(full), Slab.X), "float64")
    with pytest.raises(RuntimeError, match="free"):
        transform.execute()
    with pytest.raises(ValueError, match="complex64 or complex128"):
        fft(filled(full, Slab.X, "float64", "R2C"), distribution=Slab.X)
