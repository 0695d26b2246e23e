"""Callbacks of transforms on the CPU: what they see, what comes out, and what is refused."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

numba = pytest.importorskip("numba")

from planmath.core import code_cache, fingerprints, remembered  # noqa: E402
from planmath.core.arrays import COMPLEX_OF  # noqa: E402
from planmath.core.errors import UnavailableError  # noqa: E402
from planmath.fft import (  # noqa: E402
    FFT,
    DeviceCallable,
    compile_epilog,
    compile_prolog,
    fft,
    ifft,
    irfft,
    jit,
    rfft,
)
from planmath.fft import estimate_workspace_size as workspace_of  # noqa: E402
from planmath.fft.providers import PROVIDERS, callbacks_host  # noqa: E402
from tests.fft.callbacks import (  # noqa: E402
    ARRANGEMENTS,
    counting,
    doubling,
    epilog_of,
    filtering,
    laid_out_like,
    locating,
    offsets,
    operand_of,
    prolog_of,
    scaling,
    skipping,
)
from tests.fft.operands import LAYOUTS, random_operand, strided  # noqa: E402
from tests.fft.reference import FORWARD, INVERSE, assert_accurate  # noqa: E402
from tests.misuse import Misuse, check  # noqa: E402
from tests.processes import run_python  # noqa: E402
from tests.providers import on_host, provider_parameters  # noqa: E402

providers = pytest.mark.parametrize("provider", provider_parameters(on_host(PROVIDERS)))
both_ways = pytest.mark.parametrize("way", ["tiles", "passes"])
COMPLEX = (np.arange(24).reshape(4, 6) + 1j).astype(np.complex64)


def planned(transform: FFT, way: str | None, prolog: Any, epilog: Any) -> FFT:
    """The transform, planned to go this way; skips the test where it has no such."""
    transform.plan(prolog=prolog, epilog=epilog)
    plan = transform._plan_made
    chosen = [algorithm for algorithm in plan.algorithms if way in (None, algorithm.get("callbacks"))]
    if not chosen:
        pytest.skip("there is one way only")
    transform._make_plan(plan.problem, transform._slots, chosen[:1])
    return transform


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles, and passes beside them, also of few elements."""
    monkeypatch.setattr(callbacks_host, "TILE", 256)
    monkeypatch.setattr(callbacks_host, "PIECE", 64)


@pytest.mark.pairwise
@providers
@both_ways
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_offsets_of_an_epilog(provider, way, name, small_tiles):
    arranged = ARRANGEMENTS[name]
    operand = operand_of(arranged, "float64")
    dtype = "float64" if arranged.kind == "C2R" else "complex128"
    epilog = DeviceCallable(epilog_of(locating, dtype))
    with FFT(operand, axes=arranged.axes, options={"provider": provider, **arranged.options}) as transform:
        result = planned(transform, way, None, epilog).execute()
        np.testing.assert_array_equal(result, offsets(*transform.get_output_layout()))


@pytest.mark.pairwise
@providers
@both_ways
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_prolog_loads_every_element_once(provider, way, name, small_tiles):
    arranged = ARRANGEMENTS[name]
    operand = operand_of(arranged, "float64")
    prolog = prolog_of(counting, str(operand.dtype), numba.types.int32)
    with FFT(operand, axes=arranged.axes, options={"provider": provider, **arranged.options}) as transform:
        places = offsets(*transform.get_input_layout())
        counts = np.zeros(places.max() + 1, np.int32)
        planned(transform, way, DeviceCallable(prolog, data=counts), None)
        transform.execute()
        wanted = np.zeros_like(counts)
        wanted[places] = 1
        np.testing.assert_array_equal(counts, wanted)
        transform.execute()
        np.testing.assert_array_equal(counts, 2 * wanted)


@pytest.mark.pairwise
@providers
@both_ways
@pytest.mark.parametrize("given_", ["prolog", "epilog", "both"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_filter_and_scale(provider, way, given_, precision, name, small_tiles):
    arranged = ARRANGEMENTS[name]
    operand = operand_of(arranged, precision)
    result_dtype = precision if arranged.kind == "C2R" else COMPLEX_OF[precision]
    response = np.random.default_rng(5).standard_normal(operand.shape).astype(precision)
    response = laid_out_like(operand, response)
    prolog = DeviceCallable(prolog_of(filtering, str(operand.dtype), precision), data=response)
    epilog = DeviceCallable(epilog_of(scaling, result_dtype, precision), data=np.array([0.25], precision))
    prolog, epilog = prolog if given_ != "epilog" else None, epilog if given_ != "prolog" else None
    before = operand.copy()
    options = {"provider": provider, **arranged.options}
    with FFT(operand, axes=arranged.axes, options=options) as transform:
        planned(transform, way, prolog, epilog)
        result = transform.execute()
    direction = INVERSE if arranged.kind == "C2R" else FORWARD
    loaded = before * response if prolog else before
    result = result * 4 if epilog else result
    assert_accurate(result, arranged.kind, loaded, arranged.axes, direction,
                    arranged.options.get("last_axis_parity", "even"))  # fmt: skip
    if not arranged.options.get("inplace"):
        np.testing.assert_array_equal(operand, before)


@providers
@both_ways
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("kind", ["C2C", "R2C", "C2R"])
def test_an_epilog_gets_what_is_scaled(provider, way, kind, norm, small_tiles):
    operand = random_operand(kind, "float64", (30, 24), (1,))

    def raised(data_out, offset, data, user_info, reserved):
        data_out[offset] = data + 1

    def doubled(data_in, offset, user_info, reserved):
        return 2 * data_in[offset]

    options = {"provider": provider, "norm": norm, "fft_type": kind}
    with FFT(operand, axes=[1], options=options) as transform:
        problem = transform.get_key()
        epilog = DeviceCallable(epilog_of(raised, problem.result_dtype))
        for prolog in (None, DeviceCallable(prolog_of(doubled, problem.dtype))):
            planned(transform, way, prolog, epilog)
            for direction in problem.directions:
                keywords = {"direction": direction} if kind == "C2C" else {}
                result = (transform.execute(**keywords) - 1) / (2 if prolog else 1)
                assert_accurate(result / problem.factor(direction), kind, operand, (1,), direction)


@providers
@both_ways
def test_threads_share_the_work(provider, way, small_tiles, eight_cpus):
    operand = random_operand("C2C", "float32", (300, 1000), (1,))
    counts = np.zeros(operand.shape, np.int32)
    prolog = DeviceCallable(prolog_of(counting, "complex64", numba.types.int32), data=counts)
    epilog = DeviceCallable(epilog_of(doubling, "complex64"))
    execution = {"name": "cpu", "num_threads": 5}
    with FFT(operand, axes=[1], options={"provider": provider}, execution=execution) as transform:
        transform.plan(prolog=prolog, epilog=epilog)
        algorithm = next(
            a for a in transform._plan_made.algorithms if (a.get("callbacks"), a.get("threads")) == (way, 5)
        )
        transform._make_plan(transform._plan_made.problem, transform._slots, [algorithm])
        for times in (1, 2, 3):
            assert_accurate(transform.execute() / 2, "C2C", operand, (1,), FORWARD)
            np.testing.assert_array_equal(counts, times)


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4), data=st.data(),
    tile=st.sampled_from([16, 100, 700, 1 << 20]), threads=st.integers(1, 3),
)  # fmt: skip
def test_any_layout(shape, data, tile, threads):
    kind = data.draw(st.sampled_from(["C2C", "R2C", "C2R"]))
    axes = data.draw(st.permutations(range(len(shape)))) [: data.draw(st.integers(1, len(shape)))]
    parity = data.draw(st.sampled_from(["even", "odd"])) if shape[axes[-1]] > 1 else "odd"
    order = data.draw(st.permutations(range(len(shape))))
    steps = data.draw(st.lists(st.sampled_from([1, 1, 2, 3, -1, -2]), min_size=len(shape), max_size=len(shape)))
    operand = strided(random_operand(kind, "float64", shape, axes, parity), order, steps)
    inplace = kind == "C2C" and data.draw(st.booleans())
    prolog, epilog = data.draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    provider = data.draw(st.sampled_from([p.name for p in on_host(PROVIDERS) if p.unavailable() is None]))
    options = {"provider": provider, "inplace": inplace, "last_axis_parity": parity, "tuning": False,
               "result_layout": data.draw(st.sampled_from(["natural", "optimized"])),
               **({"fft_type": "C2R"} if kind == "C2R" else {})}  # fmt: skip
    values, dtype = operand.copy(), str(operand.dtype)
    response = laid_out_like(operand, values.real.copy())
    result_dtype = "float64" if kind == "C2R" else "complex128"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks_host, "TILE", tile)
        patch.setattr(callbacks_host, "PIECE", 32)
        patch.setattr(callbacks_host, "THREADED_WORK", 0)
        execution = {"name": "cpu", "num_threads": threads}
        with FFT(operand, axes=axes, options=options, execution=execution) as transform:
            try:
                transform.plan(
                    prolog=DeviceCallable(prolog_of(filtering, dtype, "float64"), data=response) if prolog else None,
                    epilog=DeviceCallable(epilog_of(doubling, result_dtype)) if epilog else None,
                )
            except UnavailableError:
                return  # what this library has no plan for, and says so
            plan = transform._plan_made
            for algorithm in plan.algorithms:
                operand[...] = values
                transform._make_plan(plan.problem, transform._slots, [algorithm])
                result = transform.execute() / (2 if epilog else 1)
                loaded = values * response if prolog else values
                direction = INVERSE if kind == "C2R" else FORWARD
                assert_accurate(result, kind, loaded, axes, direction, parity)


@providers
def test_what_is_not_stored_stays(provider):
    operand = np.arange(12.0).reshape(3, 4) + 0j
    epilog = DeviceCallable(epilog_of(skipping, "complex128"))
    with FFT(operand, axes=[1], options={"provider": provider}) as transform:
        transform.plan(epilog=epilog)
        out = np.full((3, 4), 7j)
        assert transform.execute(out=out) is out
        np.testing.assert_array_equal(out[:, 1::2], 7j)
        np.testing.assert_allclose(out[:, ::2], np.fft.fft(operand)[:, ::2], atol=1e-12)


@providers
def test_both_directions_use_them(provider):
    operand = random_operand("C2C", "float64", (6, 8), (1,))
    epilog = DeviceCallable(epilog_of(doubling, "complex128"))
    with FFT(operand, axes=[1], options={"provider": provider}) as transform:
        transform.plan(epilog=epilog)
        for direction, name in ((FORWARD, "forward"), (INVERSE, "inverse")):
            assert_accurate(transform.execute(direction=name) / 2, "C2C", operand, (1,), direction)
        transform.plan()
        assert_accurate(transform.execute(), "C2C", operand, (1,), FORWARD)


@providers
def test_operand_in_each_layout(provider):
    epilog = DeviceCallable(epilog_of(doubling, "complex128"))
    for layout in LAYOUTS.values():
        operand = layout(random_operand("C2C", "float64", (4, 6, 5), (1,)))
        result = fft(operand, axes=[1], epilog=epilog, options={"provider": provider})
        assert_accurate(result / 2, "C2C", operand, (1,), FORWARD)
        operand.flags.writeable = False
        prolog = DeviceCallable(prolog_of(filtering, "complex128"), data=np.ones(2000, complex))
        if layout.__name__ != "backwards":  # whose offsets are below zero
            result = fft(operand, axes=[1], prolog=prolog, options={"provider": provider})
            assert_accurate(result, "C2C", operand, (1,), FORWARD)


def test_stateless_functions():
    double = {d: DeviceCallable(epilog_of(doubling, d)) for d in ("complex128", "float64")}
    a = np.random.default_rng(0).standard_normal((3, 8))
    np.testing.assert_allclose(rfft(a, axes=[1], epilog=double["complex128"]), 2 * np.fft.rfft(a), atol=1e-12)
    np.testing.assert_allclose(fft(a + 0j, axes=[1], epilog=double["complex128"]), 2 * np.fft.fft(a), atol=1e-12)
    np.testing.assert_allclose(ifft(a + 0j, axes=[1], epilog=double["complex128"]), 16 * np.fft.ifft(a), atol=1e-12)
    spectrum = np.fft.rfft(a)
    as_fields = {"ltoir": double["float64"].ltoir}
    np.testing.assert_allclose(irfft(spectrum, axes=[1], epilog=as_fields), 16 * a, atol=1e-12)
    np.testing.assert_allclose(fft(a + 0j, axes=[1], epilog=DeviceCallable()), np.fft.fft(a), atol=1e-12)


def test_stateless_calls_tell_callbacks_and_data_apart(nothing_remembered):
    a = COMPLEX
    scale = epilog_of(scaling, "complex64", "float32")
    plain = fft(a)
    for factor in (2.0, 3.0):
        data = np.array([factor], np.float32)
        for _ in range(2):
            np.testing.assert_allclose(fft(a, epilog=DeviceCallable(scale, data=data)), factor * plain, rtol=1e-5)
            data[0] = factor = factor + 1  # its values count at each execution
    np.testing.assert_array_equal(fft(a), plain)


def test_data_lives_as_long_as_the_plan(nothing_remembered):
    data = np.ones(COMPLEX.shape, np.complex64)
    prolog, alive = prolog_of(filtering, "complex64"), weakref.ref(data)
    fft(COMPLEX, prolog=DeviceCallable(prolog, data=data))
    with FFT(COMPLEX) as transform:
        transform.plan(prolog=DeviceCallable(prolog, data=data))
        del data
        gc.collect()
        assert alive() is not None
        np.testing.assert_array_equal(transform.execute(), fft(COMPLEX))
    gc.collect()
    assert alive() is None, "an idle plan of a stateless call keeps nothing of the user's"
    assert remembered._idle


def test_data_at_an_address():
    factor = np.array([5.0], np.float32)
    epilog = DeviceCallable(epilog_of(scaling, "complex64", "float32"), data=factor.ctypes.data)
    np.testing.assert_allclose(fft(COMPLEX, epilog=epilog), 5 * fft(COMPLEX), rtol=1e-6)


def test_keys():
    scale, data = epilog_of(scaling, "complex64", "float32"), np.ones(1, np.float32)
    one = DeviceCallable(scale, data=data)
    plain, key = FFT.create_key(COMPLEX), FFT.create_key(COMPLEX, epilog=one)
    assert key == FFT.create_key(COMPLEX, epilog=DeviceCallable(scale, data=data)) != plain
    assert key == FFT.create_key_from_metadata((4, 6), "complex64", "cpu", epilog=one)
    assert key != FFT.create_key(COMPLEX, epilog=DeviceCallable(scale, data=np.ones(1, np.float32)))
    assert key != FFT.create_key(COMPLEX, epilog=DeviceCallable(epilog_of(doubling, "complex64", "float32"), data=data))
    with FFT(COMPLEX) as transform:
        assert transform.get_key(epilog=one) == key
        assert transform.get_key() == plain
    assert len({key, plain, FFT.create_key(COMPLEX, epilog=one)}) == 2
    assert workspace_of(key) == workspace_of(plain)
    assert "prolog" not in repr(plain), "the tuning record finds what it had before there were callbacks"


def test_autotune_and_report(tuning_record):
    operand = random_operand("C2C", "float32", (64, 256), (1,))
    prolog = DeviceCallable(prolog_of(filtering, "complex64"), data=operand)
    with FFT(operand, axes=[1]) as transform:
        transform.plan(prolog=prolog)
        transform.autotune(iterations=2)
        assert_accurate(transform.execute(), "C2C", operand * operand, (1,), FORWARD)
        report = transform.report()
    assert "callbacks=tiles" in report
    assert "filtering" in report
    assert "prolog" in tuning_record.read_text()
    with FFT(operand, axes=[1]) as transform:
        transform.plan(prolog=prolog)
        assert transform._plan_made.origin == "the tuning record"
        transform.plan()
        assert transform._plan_made.origin == "the heuristic"


@providers
def test_exception_in_a_callback(provider):
    def failing(data_in, offset, user_info, reserved):
        if data_in[offset].real > 3:
            raise ValueError("too large")
        return data_in[offset]

    prolog = DeviceCallable(compile_prolog(failing, "complex64", "complex64"))
    with FFT(COMPLEX, axes=[1], options={"provider": provider}) as transform:
        transform.plan(prolog=prolog)
        with pytest.raises(RuntimeError, match="the prolog callback raised an exception"):
            transform.execute()
        transform.reset_operand(COMPLEX * 0)
        assert not transform.execute().any()


def test_closures_and_other_functions_are_compiled_in():
    @numba.njit
    def twice(x):
        return 2 * x

    def make(by):
        window = np.array([1.0, 0.0, by, by])

        def windowed(data_in, offset, user_info, reserved):
            return twice(data_in[offset]) * window[offset]

        return DeviceCallable(compile_prolog(windowed, "complex128", "float32"))

    for by in (1.0, 3.0):
        wanted = np.fft.fft([2, 0, 2 * by, 2 * by])
        np.testing.assert_allclose(fft(np.ones(4, complex), prolog=make(by)), wanted, atol=1e-12)


def test_function_that_changes_after_it_was_compiled(nothing_remembered):
    def make() -> Any:
        def multiplied(data_out, offset, data, user_info, reserved):
            data_out[offset] = by * data

        return compile_epilog(multiplied, "complex128", "complex128")

    ones, by = np.ones(4, complex), 2
    first = make()
    assert fft(ones, epilog=DeviceCallable(first))[0] == 8
    by = 3
    second = make()
    assert first.identity != second.identity
    for code, wanted in ((first, 8), (second, 12), (first, 8)):
        assert fft(ones, epilog=DeviceCallable(code))[0] == wanted
    del second._loops
    by = 4
    with pytest.raises(ValueError, match=r"epilog .*multiplied computes with was changed .* compile it again"):
        _ = second.loops


def test_function_without_fingerprint_is_compiled_once(monkeypatch):
    compiled = []
    compile_loops = jit._compile_loops
    monkeypatch.setattr(jit, "_compile_loops", lambda described: (compiled.append(1), compile_loops(described))[1])
    monkeypatch.setattr(fingerprints, "fingerprint", lambda function: None)
    operand = random_operand("C2C", "float32", (700, 1000), (1,))
    codes = [compile_epilog(doubling, "complex64", "float32") for _ in range(2)]
    assert codes[0].identity != codes[1].identity
    for code in codes:
        assert_accurate(fft(operand, axes=[1], epilog=DeviceCallable(code)) / 2, "C2C", operand, (1,), FORWARD)
    assert len(compiled) == 2


def test_copies_of_code():
    code = epilog_of(doubling, "complex64")
    for copied in (pickle.loads(pickle.dumps(code)), copy.deepcopy(code)):
        assert copied.identity == code.identity
        np.testing.assert_allclose(fft(COMPLEX, epilog=DeviceCallable(copied)), 2 * fft(COMPLEX), rtol=1e-6)


def test_code_is_kept_on_disk(tmp_path, monkeypatch):
    program = """
import numpy as np, sys
from planmath.fft import DeviceCallable, compile_epilog, fft, jit
def tripling(data_out, offset, data, user_info, reserved):
    data_out[offset] = BY * data
BY = int(sys.argv[1])
if sys.argv[2] == "kept":
    def fail(described):
        raise SystemExit("compiled again")
    jit._compile_loops = fail
print(fft(np.ones(4, np.complex64), epilog=DeviceCallable(compile_epilog(tripling, "complex64", "float32")))[0].real)
"""
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    (tmp_path / "program.py").write_text(program)

    def run(*arguments: str) -> str:
        code = f"import sys, runpy; sys.argv = ['', {', '.join(map(repr, arguments))}]\n"
        return run_python(code + f"runpy.run_path({str(tmp_path / 'program.py')!r}, run_name='__main__')").strip()

    assert run("3", "new") == "12.0"
    assert run("3", "kept") == "12.0"
    count, size = code_cache.stored()
    assert count == 1
    assert size > 1000
    for file in code_cache.folder().iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert run("3", "new") == "12.0", "damaged files are replaced"
    assert run("3", "kept") == "12.0"
    assert run("4", "new") == "16.0", "a global of the function belongs to it"
    assert code_cache.stored()[0] == 2



def few(data_in, offset, user_info):
    return data_in[offset]


def nothing(data_in, offset, user_info, reserved):
    data_in[offset]


def something(data_out, offset, data, user_info, reserved):
    return data


def plan(**callbacks: Any) -> None:
    with FFT(COMPLEX) as transform:
        transform.plan(**callbacks)


TYPING = numba.core.errors.TypingError
REFUSED = [
    Misuse("no function", lambda: compile_prolog(3, "complex64", "float32"), TypeError, ("prolog is a int",)),
    Misuse("a builtin", lambda: compile_epilog(abs, "complex64", "float32"), TypeError, ("epilog is a builtin",)),
    Misuse("too few parameters", lambda: compile_prolog(few, "complex64", "float32"), TypeError,
           ("the prolog few", "4 arguments", "data_in, offset, user_info, reserved")),
    Misuse("an epilog's parameters", lambda: compile_prolog(doubling, "complex64", "float32"), TypeError,
           ("the prolog doubling", "4 arguments")),
    Misuse("returns nothing", lambda: compile_prolog(nothing, "complex64", "float32"), TYPING,
           ("the prolog nothing", "returns the element", "none to complex64")),
    Misuse("returns something", lambda: compile_epilog(something, "complex64", "float32"), TYPING,
           ("the epilog something", "returns nothing", "complex64 to none")),
    Misuse("half precision", lambda: compile_prolog(filtering, "complex32", "float32"), ValueError,
           ("element_dtype is 'complex32'", "half precision has no callbacks")),
    Misuse("integers", lambda: compile_prolog(filtering, "int32", "float32"), ValueError,
           ("element_dtype is 'int32'", "'float32', 'float64', 'complex64', 'complex128'")),
    Misuse("an unhashable element", lambda: compile_prolog(filtering, ["x"], "float32"), ValueError,
           ("element_dtype",)),
    Misuse("an unknown user_info", lambda: compile_prolog(filtering, "complex64", "int32"), ValueError,
           ("user_info_dtype is 'int32'", "numba.types.int32")),
    Misuse("a record", lambda: compile_prolog(filtering, "complex64", numba.from_dtype(np.dtype([("a", "f4")]))),
           ValueError, ("user_info_dtype is a record",)),
    Misuse("a representation", lambda: compile_prolog(filtering, "complex64", "float32", representation="cubin"),
           ValueError, ("representation is 'cubin'", "'ltoir' or 'ptx'")),
    Misuse("a phase", lambda: compile_prolog(filtering, "complex64", "float32", phase="Store"), ValueError,
           ("phase is 'Store'", "'Load'")),
    Misuse("a name", lambda: compile_prolog(filtering, "complex64", "float32", name="a b"), ValueError,
           ("name is 'a b'", "symbol")),
    Misuse("a capability", lambda: compile_prolog(filtering, "complex64", "float32", compute_capability=90), ValueError,
           ("compute_capability is 90", "'90'")),
    Misuse("code of another type", lambda: DeviceCallable("code"), ValueError, ("ltoir is a str", "bytes")),
    Misuse("an address without size", lambda: DeviceCallable(1234), ValueError, ("size is None",)),
    Misuse("a size that is none", lambda: DeviceCallable(1234, "9"), ValueError, ("size is '9'",)),
    Misuse("data of another type", lambda: DeviceCallable(b"", data="x"), ValueError, ("data is a str", "address")),
    Misuse("bare bytes", lambda: plan(prolog=prolog_of(filtering, "complex64")), TypeError,
           ("prolog is bytes", "DeviceCallable")),
    Misuse("no callback", lambda: plan(epilog=3), TypeError, ("epilog is a int", "DeviceCallable")),
    Misuse("an unknown field", lambda: fft(COMPLEX, prolog={"code": b""}), TypeError, ("no field 'code'",)),
    Misuse("data without code", lambda: plan(prolog={"data": 3}), ValueError, ("prolog has data and no ltoir",)),
    Misuse("an epilog as prolog", lambda: plan(prolog={"ltoir": epilog_of(doubling, "complex64")}), ValueError,
           ("compiled by compile_epilog", "compile_prolog")),
    Misuse("another element", lambda: plan(epilog={"ltoir": epilog_of(doubling, "complex128")}), ValueError,
           ("epilog was compiled for elements of complex128", "the result of this C2C transform", "complex64")),
    Misuse("the element of the other side",
           lambda: rfft(np.ones(8), prolog={"ltoir": prolog_of(filtering, "complex128"), "data": np.ones(8, complex)}),
           ValueError, ("prolog was compiled for elements of complex128", "the operand", "float64")),
    Misuse("no data", lambda: plan(prolog={"ltoir": prolog_of(filtering, "complex64")}), ValueError,
           ("prolog filtering reads user_info, and has no data",)),
    Misuse("a null pointer", lambda: plan(prolog={"ltoir": prolog_of(filtering, "complex64"), "data": 0}), ValueError,
           ("reads user_info",)),
    Misuse("data of another dtype",
           lambda: plan(prolog={"ltoir": prolog_of(filtering, "complex64"), "data": np.ones((4, 6))}), ValueError,
           ("prolog's data has the dtype float64", "user_info of complex64")),
    Misuse("data with gaps",
           lambda: plan(prolog={"ltoir": prolog_of(filtering, "complex64"), "data": COMPLEX[::2]}),
           ValueError, ("prolog's data", "strides", "copy it")),
    Misuse("data without elements",
           lambda: plan(prolog={"ltoir": prolog_of(filtering, "complex64"), "data": COMPLEX[:0]}), ValueError,
           (r"prolog's data has the shape \(0, 6\)", "no elements")),
    Misuse("code for devices", lambda: plan(prolog=DeviceCallable(b"LTO")), ValueError,
           ("prolog is LTO-IR", "the CPU", "compile_prolog")),
    Misuse("code at an address", lambda: plan(prolog=DeviceCallable(np.ones(9).ctypes.data, 72)), ValueError,
           ("prolog is LTO-IR", "the CPU")),
]  # fmt: skip


@pytest.mark.parametrize("misuse", REFUSED, ids=lambda misuse: misuse.what)
def test_refused(misuse):
    check(misuse)


def test_plan_that_is_refused_leaves_the_object_as_it_was():
    with FFT(COMPLEX) as transform:
        transform.plan(epilog=DeviceCallable(epilog_of(doubling, "complex64")))
        with pytest.raises(ValueError, match="reads user_info"):
            transform.plan(prolog=DeviceCallable(prolog_of(filtering, "complex64")))
        np.testing.assert_allclose(transform.execute(), 2 * fft(COMPLEX), rtol=1e-6)


def test_without_numba(monkeypatch):
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(jit, "load_module", missing)
    with pytest.raises(RuntimeError, match=r"need Numba .*pip install planmath\[jit\]"):
        compile_prolog(filtering, "complex64", "float32")


def test_nothing_imports_numba_unless_it_is_used():
    code = "import sys, numpy, planmath; planmath.fft.fft(numpy.ones(4, complex)); print('numba' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_description_of_the_algorithms(eight_cpus):
    problem = FFT.create_key(np.ones((65536, 64), np.complex64), axes=[1], execution={"name": "cpu", "num_threads": 2},
                             epilog=DeviceCallable(epilog_of(doubling, "complex64")))  # fmt: skip
    for provider in on_host(PROVIDERS):
        if provider.unavailable() is None:
            first = provider.algorithms(problem)[0]
            assert (first.get("callbacks"), first.get("threads")) == ("tiles", 2)
