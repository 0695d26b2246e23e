"""What every provider must compute, on the arrays of every package: the tests that a new one has to pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from planmath.core.arrays import package_named
from planmath.core.cuda import strided_copy
from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.fft import FFT
from planmath.fft.providers import PROVIDERS, fftw3_interface
from tests.arrays import (
    DEVICE,
    DEVICE_PACKAGES,
    HOST_PACKAGES,
    PACKAGES,
    address_of,
    package_of,
    strides_of,
    to_numpy,
    to_package,
)
from tests.fft.operands import (
    INEXPRESSIBLE,
    LAYOUTS,
    dense,
    memory_of,
    poisoned,
    random_operand,
    sliced,
    unaligned,
)  # fmt: skip
from tests.fft.reference import FORWARD, INVERSE, assert_accurate
from tests.memory import bytes_taken
from tests.providers import ON_DEVICE

#: Kind of transform, parity of the result's last transformed axis, and the directions it has.
KINDS = [
    pytest.param("C2C", "even", (FORWARD, INVERSE), id="C2C"),
    pytest.param("R2C", "even", (FORWARD,), id="R2C"),
    pytest.param("C2R", "even", (INVERSE,), id="C2R-even"),
    pytest.param("C2R", "odd", (INVERSE,), id="C2R-odd"),
]
REAL_AND_COMPLEX = pytest.mark.parametrize(("kind", "parity", "directions"), KINDS)
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "float64"])
#: Extents of 1, primes, products, powers of two; axes of any number, in any order, with batches before, between, after.
SHAPES_AND_AXES = pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2,), (0,)),
        ((3,), (0,)),
        ((8,), (0,)),
        ((13,), (0,)),
        ((101,), (0,)),
        ((1009,), (0,)),
        ((1000,), (0,)),
        ((4096,), (0,)),
        ((5, 1), (0,)),
        ((1, 6), (1,)),
        ((4, 6), (0, 1)),
        ((4, 6), (1, 0)),
        ((17, 32), (1,)),
        ((17, 32), (0,)),
        ((3, 4, 5), (0, 1, 2)),
        ((3, 4, 5), (2, 0, 1)),
        ((3, 4, 5), (0, 2)),
        ((3, 4, 5), (1,)),
        ((1, 7, 2), (2, 1)),
        ((2, 3, 4, 5), (3, 1, 0, 2)),
        ((2, 3, 4, 5), (0, 3)),
        ((2, 3, 4, 5), (1, 2)),
        ((2, 3, 1, 4), (3,)),
        ((2, 2, 3, 2, 4), (4, 3, 0, 1)),
    ],
    ids=lambda value: "x".join(map(str, value)),
)


def planned(
    operand: Any, axes: Sequence[int], *, direction: int | None = None, execution: Any = None, **options: Any
) -> FFT:
    transform = FFT(operand, axes=axes, options=options, execution=execution)
    transform.plan(direction=direction)
    return transform


@pytest.mark.pairwise(times=2)
@REAL_AND_COMPLEX
@SHAPES_AND_AXES
def test_shapes_and_axes(package, provider, kind, parity, directions, shape, axes):
    for precision in ("float32", "float64"):
        values = random_operand(kind, precision, shape, axes, parity)
        operand = to_package(values.copy(), package)
        with planned(operand, axes, provider=provider, fft_type=kind, last_axis_parity=parity) as transform:
            for direction in directions:
                result = transform.execute(direction)
                assert package_of(result) == package
                assert (tuple(result.shape), strides_of(result)) == transform.get_output_layout()
                assert_accurate(to_numpy(result), kind, values, axes, direction, parity)
        np.testing.assert_array_equal(to_numpy(operand), values)


@pytest.mark.pairwise(times=2)
@REAL_AND_COMPLEX
@PRECISIONS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 2), (1,), (0,), (0, 2)], ids=lambda axes: "".join(map(str, axes)))
def test_memory_layouts(package, provider, kind, parity, directions, precision, layout, axes):
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    if layout == "broadcast" and 0 in axes and provider in ("mkl", "nvpl"):
        pytest.skip("these libraries transform no axis of stride 0; that they say so is tested below")
    array = LAYOUTS[layout](random_operand(kind, precision, (3, 4, 6), axes, parity))
    if layout == "broadcast" and kind == "C2R":
        array.imag = 0  # constant along an axis, only a real spectrum is sure to be symmetric
        array.real = 1
    values, operand = array.copy(), to_package(array, package)
    before = memory_of(to_numpy(operand))
    for result_layout in ("optimized", "natural"):
        options = {"fft_type": kind, "last_axis_parity": parity, "result_layout": result_layout, "provider": provider}
        with planned(operand, axes, **options) as transform:
            assert transform.get_input_layout() == (array.shape, strides_of(array))
            for direction in directions:
                result = transform.execute(direction)
                assert (tuple(result.shape), strides_of(result)) == transform.get_output_layout()
                assert_accurate(to_numpy(result), kind, values, axes, direction, parity)
                out = poisoned(to_numpy(result))
                out = to_package(out if package in DEVICE else unaligned(out), package)
                if strides_of(out) == strides_of(result):
                    assert transform.execute(direction, out=out) is out
                    assert_accurate(to_numpy(out), kind, values, axes, direction, parity)
    assert memory_of(to_numpy(operand)) == before, "the operand of an out-of-place transform was written to"


@pytest.mark.pairwise(times=2)
@PRECISIONS
@SHAPES_AND_AXES
@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("layout", ["dense", "fortran", "sliced", "backwards"])
def test_half_spectra_without_symmetry(package, provider, precision, parity, shape, axes, layout):
    """What is defined: complex transforms along the other axes, then C2R along the last."""
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    if parity == "even" and shape[axes[-1]] == 1:
        pytest.skip("there is no such transform")
    values = random_operand("C2C", precision, shape, axes)
    operand = to_package(LAYOUTS[layout](values), package)
    before = memory_of(to_numpy(operand))
    with planned(operand, axes, provider=provider, fft_type="C2R", last_axis_parity=parity) as transform:
        for algorithm in transform._plan_made.algorithms:
            transform._make_plan(transform._problem, transform._slots, [algorithm])
            assert_accurate(to_numpy(transform.execute()), "C2R", values, axes, INVERSE, parity)
    assert memory_of(to_numpy(operand)) == before, "the operand was written to"


@pytest.mark.parametrize(
    ("layout", "result_layout", "axes", "strides"),
    [
        ("dense", "natural", (0,), (20, 5, 1)),
        ("dense", "natural", (2, 1), (20, 5, 1)),
        ("dense", "optimized", (0,), (1, 15, 3)),
        ("dense", "optimized", (0, 1), (4, 1, 12)),
        ("dense", "optimized", (2, 1), (20, 5, 1)),
        ("fortran", "natural", (1,), (1, 3, 12)),
        ("fortran", "optimized", (2,), (5, 15, 1)),
        ("rotated", "natural", (0, 1, 2), (4, 1, 12)),
        ("rotated", "optimized", (1, 0), (4, 1, 12)),
        ("sliced", "natural", (0,), (20, 5, 1)),
        ("sliced", "optimized", (0,), (1, 15, 3)),
        ("fortran", "C", (1,), (20, 5, 1)),
        ("backwards", "C", (0, 2), (20, 5, 1)),
        ("backwards", "natural", (0,), (20, 5, 1)),
        ("backwards", "optimized", (0, 1), (4, 1, 12)),
    ],
)
@pytest.mark.parametrize("package", PACKAGES)
def test_order_of_the_results_axes(package, layout, result_layout, axes, strides):
    """Natural: the operand's own order in memory. Optimized: the transformed axes fastest, in that order."""
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    operand = to_package(LAYOUTS[layout](np.ones((3, 4, 5), complex)), package)
    with planned(operand, axes, result_layout=result_layout) as transform:
        assert strides_of(transform.execute()) == strides


@pytest.mark.pairwise
@REAL_AND_COMPLEX
@PRECISIONS
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layout", ["dense", "fortran", "sliced", "backwards"])
@pytest.mark.parametrize("package", HOST_PACKAGES)
def test_scaled(package, provider, kind, parity, directions, precision, norm, inplace, layout):
    if provider in ON_DEVICE:
        pytest.skip("it does not scale, and says so: tests/fft/test_cufft_stages.py")
    if (package, layout) in INEXPRESSIBLE or (inplace and (kind != "C2C" or layout == "backwards")):
        pytest.skip("there are no such arrays, or no such transforms")
    axes = (0, 2)
    values = random_operand(kind, precision, (3, 4, 6), axes, parity)
    for direction in directions:
        operand = to_package(LAYOUTS[layout](values), package)
        made = []
        for options in ({}, {"norm": norm}):
            with planned(
                operand if not inplace else to_package(LAYOUTS[layout](values), package), axes, provider=provider,
                inplace=inplace, fft_type=kind, last_axis_parity=parity, **options,
            ) as transform:  # fmt: skip
                made.append(np.array(to_numpy(transform.execute(direction))))
                problem = transform.get_key()
        n = problem.real_shape[0] * problem.real_shape[2]
        factor = {"backward": 1 / n if direction == INVERSE else 1, "ortho": n**-0.5,
                  "forward": 1 / n if direction == FORWARD else 1}[norm]  # fmt: skip
        np.testing.assert_allclose(made[1], made[0] * factor, rtol=1e-5 if precision == "float32" else 1e-13, atol=1e-7)


@pytest.mark.pairwise(times=2)
@PRECISIONS
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "broadcast"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2,), (1,), (0, 2)], ids=lambda axes: "".join(map(str, axes)))
def test_in_place(package, provider, precision, layout, axes):
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    if provider == "fftw" and layout == "backwards":
        pytest.skip("FFTW transforms no axis of negative stride in place; that it says so is tested below")
    values = random_operand("C2C", precision, (3, 4, 6), axes)
    for direction in (FORWARD, INVERSE):
        array = LAYOUTS[layout](values)
        operand = to_package(array, package)
        with planned(operand, axes, provider=provider, inplace=True) as transform:
            assert transform.get_output_layout() == transform.get_input_layout() == (array.shape, strides_of(array))
            assert transform.execute(direction) is operand
        assert_accurate(to_numpy(operand), "C2C", values, axes, direction)


@pytest.mark.parametrize("axes", [(0, 1), (0,), (1,)])
def test_in_place_writes_to_the_operands_elements_only(package, provider, axes):
    array = sliced(random_operand("C2C", "float64", (5, 6), axes))
    gaps = np.ones(array.base.shape, bool)
    gaps[1::2, 1::2] = False
    array.base[gaps] = 7
    everything = to_package(array.base, package)
    with planned(everything[1::2, 1::2], axes, provider=provider, inplace=True) as transform:
        transform.execute()
    assert (to_numpy(everything)[gaps] == 7).all()


@REAL_AND_COMPLEX
def test_operand_and_result_at_unaligned_addresses(package, provider, kind, parity, directions):
    """Plans for aligned memory run on memory that is not, and the other way round."""
    if package in DEVICE:
        pytest.skip("cuFFT takes no such addresses; what planmath makes of them is tested below")
    axes = (1, 0)
    values = random_operand(kind, "float32", (6, 16), axes, parity)
    options = {"fft_type": kind, "last_axis_parity": parity, "provider": provider}
    with planned(to_package(dense(values), package), axes, **options) as transform:
        for place_operand in (unaligned, dense):
            transform.reset_operand(to_package(place_operand(values), package))
            for place_result in (dense, unaligned):
                out = to_package(place_result(poisoned(to_numpy(transform.empty_result()))), package)
                transform.execute(directions[-1], out=out)
                assert_accurate(to_numpy(out), kind, values, axes, directions[-1], parity)
                assert place_result is dense or address_of(out) % 16


@REAL_AND_COMPLEX
def test_out_is_filled_and_nothing_is_allocated(package, provider, kind, parity, directions, monkeypatch):
    axes = (0, 1)
    values = random_operand(kind, "float64", (32, 33), axes, parity)
    operand = to_package(values.copy(), package)
    with planned(operand, axes, provider=provider, fft_type=kind, last_axis_parity=parity) as transform:
        out = to_package(poisoned(to_numpy(transform.empty_result())), package)
        transform.execute(out=out)
        arrays = type(package_named(package.removesuffix("-cuda")))
        for function in {"empty", "empty_like"} & set(dir(arrays)):
            monkeypatch.setattr(arrays, function, lambda *_: pytest.fail("an array was allocated"))
        assert transform.execute(out=out) is out
        taken = bytes_taken(lambda: transform.execute(out=out))
        assert taken < 1024, "more than a few Python objects for the call itself"
        assert_accurate(to_numpy(out), kind, values, axes, directions[0], parity)


def test_new_results_are_separate_arrays(package, provider):
    operand = to_package(np.arange(8) + 0j, package)
    with planned(operand, (0,), provider=provider) as transform:
        first, second = transform.execute(), transform.execute()
    assert address_of(first) != address_of(second)


@REAL_AND_COMPLEX
def test_another_operand(package, provider, kind, parity, directions):
    axes = (1,)
    first, second = (random_operand(kind, "float64", (4, 9), axes, parity, seed) for seed in (1, 2))
    options = {"fft_type": kind, "last_axis_parity": parity, "provider": provider}
    with planned(to_package(first.copy(), package), axes, **options) as transform:
        for reset in (transform.reset_operand, transform.reset_operand_unchecked):
            for values in (second, first):
                reset(to_package(values.copy(), package))
                assert_accurate(to_numpy(transform.execute()), kind, values, axes, directions[0], parity)


@pytest.mark.parametrize("direction", [FORWARD, INVERSE])
@pytest.mark.parametrize("inplace", [False, True])
def test_planned_for_one_direction(package, provider, direction, inplace):
    values = random_operand("C2C", "float64", (12,), (0,))
    operand = to_package(values.copy(), package)
    with planned(operand, (0,), provider=provider, inplace=inplace, direction=direction) as transform:
        assert_accurate(to_numpy(transform.execute()), "C2C", values, (0,), direction)


@pytest.mark.pairwise(times=2)
@REAL_AND_COMPLEX
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through(package, provider, kind, parity, directions, value):
    """They reach every element of their own transform, and no other of the batch."""
    axes = (1,)
    values = random_operand(kind, "float64", (3, 8), axes, parity)
    array = values.copy()
    array[1, 0] = value
    operand = to_package(array, package)
    with planned(operand, axes, provider=provider, fft_type=kind, last_axis_parity=parity) as transform:
        result = to_numpy(transform.execute())
    assert not np.isfinite(result[1]).any()
    rest = [0, 2]
    assert_accurate(result[rest], kind, values[rest], axes, directions[0], parity)


@pytest.mark.pairwise(times=2)
@REAL_AND_COMPLEX
@PRECISIONS
@pytest.mark.parametrize("axes", [(1,), (1, 0), (0, 1)], ids=lambda axes: "".join(map(str, axes)))
def test_every_algorithm(package, provider, kind, parity, directions, precision, axes, monkeypatch):
    """All that `autotune` chooses from, the threaded and the measured ones as well, on all kinds of addresses."""
    monkeypatch.setattr(fftw3_interface, "THREADED_WORK", 0)
    values = random_operand(kind, precision, (40, 30), axes, parity)
    library = next(p for p in PROVIDERS if p.name == provider)
    options = {"provider": provider, "fft_type": kind, "last_axis_parity": parity}
    on_device = package in DEVICE
    execution = None if on_device else {"name": "cpu", "num_threads": 2}
    with planned(to_package(dense(values), package), axes, execution=execution, **options) as transform:
        algorithms = library.algorithms(transform.get_key())
        if on_device:
            ways = {a.get("axes") for a in algorithms}
            assert ("one by one" in ways) == (len(axes) > 1 and kind == "C2C")
            assert ("last apart" in ways) == (axes == (0, 1) and kind == "R2C"), "the last axis is alone in (1, 0)"
        else:
            assert {a.get("threads") for a in algorithms} == {1, 2}
        for algorithm in algorithms:
            transform._make_plan(transform.get_key(), transform._slots, [algorithm])
            assert str(algorithm) in transform.report()
            for place, direction in product((dense,) if on_device else (dense, unaligned), directions):
                transform.reset_operand(to_package(place(values), package))
                assert_accurate(to_numpy(transform.execute(direction)), kind, values, axes, direction, parity)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((2,) * 7, range(7)), ((2,) * 8, range(8)), ((2,) * 10, (9, 0, 5, 7))],
    ids=["7 axes", "8 axes", "4 of 10 axes"],
)
def test_many_axes_without_naming_a_provider(package, shape, axes):
    """MKL transforms up to seven axes, cuFFT up to three: another provider is found, or several plans are made."""
    values = random_operand("C2C", "float64", shape, tuple(axes))
    with planned(to_package(values, package), tuple(axes)) as transform:
        assert_accurate(to_numpy(transform.execute()), "C2C", values, tuple(axes), FORWARD)


def overlapping_windows() -> np.ndarray:
    """They overlap in all directions: no two of the 18 batch axes are one in memory."""
    values = random_operand("C2C", "float64", (21,), (0,))
    return np.lib.stride_tricks.as_strided(values, (2,) * 18 + (3,), values.strides * 19)


@pytest.mark.parametrize("package", PACKAGES)
def test_more_batch_axes_than_loops_nest(package):
    windows = overlapping_windows()
    with planned(to_package(windows, package), (18,)) as transform:
        assert_accurate(to_numpy(transform.execute()), "C2C", windows, (18,), FORWARD)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_more_batch_axes_than_loops_nest_without_kernels(package, monkeypatch):
    monkeypatch.setattr(strided_copy, "available", lambda device_id: False)
    with pytest.raises(UnavailableError, match=r"cuFFT would need 1\d loops around it; 16 can nest"):
        planned(to_package(overlapping_windows(), package), (18,))


#: Transforms that some libraries cannot compute: the libraries, and what they say.
LIMITS = [
    ("broadcast", False, ("mkl", "nvpl"), "it cannot transform an axis along which the operand is broadcast"),
    ("backwards", True, ("fftw",), "it cannot transform in place along an axis of negative stride"),
]


@pytest.mark.parametrize(("layout", "inplace", "libraries", "reason"), LIMITS)
def test_what_a_library_cannot_do_it_says(package, provider, layout, inplace, libraries, reason):
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    array = LAYOUTS[layout](random_operand("C2C", "float64", (4, 5), (0, 1)))
    operand = to_package(array, package)
    if provider in libraries:
        with pytest.raises(UnavailableError, match=f"{provider}: {reason}"):
            planned(operand, (0, 1), provider=provider, inplace=inplace)
    else:
        planned(operand, (0, 1), provider=provider, inplace=inplace).free()


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(("layout", "inplace", "libraries", "reason"), LIMITS)
def test_what_a_library_cannot_do_another_one_does(package, layout, inplace, libraries, reason):
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    array = LAYOUTS[layout](random_operand("C2C", "float64", (4, 5), (0, 1)))
    values = array.copy()
    with planned(to_package(array, package), (0, 1), inplace=inplace) as transform:
        assert_accurate(to_numpy(transform.execute()), "C2C", values, (0, 1), FORWARD)


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "broadcast"])
@pytest.mark.parametrize("axes", [(0,), (1, 2)])
def test_in_place_along_axes_whose_strides_are_positive(package, provider, layout, axes):
    """Negative strides of the other axes are no obstacle."""
    if package.startswith("torch"):
        pytest.skip(f"{package} has no such arrays")
    array = LAYOUTS[layout](random_operand("C2C", "float64", (3, 4, 6), axes))
    forward = 1 if array.strides[0] > 0 else -1
    array = array[tuple(slice(None, None, forward if axis in axes else -forward) for axis in range(3))]
    values = array.copy()
    with planned(to_package(array, package), axes, provider=provider, inplace=True) as transform:
        assert_accurate(to_numpy(transform.execute()), "C2C", values, axes, FORWARD)


def test_out_between_the_operands_elements(package, provider):
    """The addresses interleave, and no element is shared: that is allowed."""
    memory = np.zeros((20, 20), complex)
    values = random_operand("C2C", "float64", (16,), (0,))
    memory[:16, 0] = values
    everything = to_package(memory, package)
    out = everything[3, 1:17]
    with planned(everything[:16, 0], (0,), provider=provider) as transform:
        assert transform.execute(out=out) is out
    assert_accurate(to_numpy(out), "C2C", values, (0,), FORWARD)


@REAL_AND_COMPLEX
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_addresses_that_cufft_does_not_take(package, kind, parity, directions, inplace):
    """It needs multiples of a complex element's size. Operands that are elsewhere from the first are copied."""
    if (inplace and kind != "C2C") or (package == "torch-cuda" and kind != "R2C"):
        pytest.skip("there is no such transform, or the package has no such arrays")
    axes = (1, 0)
    values = random_operand(kind, "float32", (6, 16), axes, parity)
    options = {"fft_type": kind, "last_axis_parity": parity, "inplace": inplace}
    aligned, elsewhere = to_package(dense(values), package), to_package(unaligned(values), package)
    assert address_of(elsewhere) % 8
    for operand in (aligned, elsewhere):
        with planned(operand, axes, **options) as transform:
            result = transform.execute(directions[-1])
            assert_accurate(to_numpy(result), kind, values, axes, directions[-1], parity)
            if operand is aligned:
                before = to_numpy(elsewhere).copy()
                transform.reset_operand(elsewhere)
                with pytest.raises(
                    UnsupportedLayoutError, match=r"operand or out .* multiple of the size of a complex"
                ):
                    transform.execute(directions[-1])
                np.testing.assert_array_equal(to_numpy(elsewhere), before)
            elif kind != "R2C" and not inplace:
                out = to_package(unaligned(poisoned(to_numpy(result))), package)
                with pytest.raises(UnsupportedLayoutError, match="operand or out"):
                    transform.execute(directions[-1], out=out)
