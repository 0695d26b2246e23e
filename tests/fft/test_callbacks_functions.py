"""Which Python functions are callbacks, and what they compute and write to, on the CPU and as code for devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from planmath.fft import FFT, DeviceCallable, compile_epilog, compile_prolog, fft, jit, rfft  # noqa: E402
from planmath.native.library import MissingLibraryError  # noqa: E402
from tests.fft.callbacks import counting, doubling, epilog_of, filtering, prolog_of, scaling  # noqa: E402
from tests.misuse import Misuse, check, frozen  # noqa: E402
from tests.processes import run_python  # noqa: E402

TYPING = numba.core.errors.TypingError
ONES = np.ones((8, 1), np.complex128)


def optional(data_in, offset, user_info, reserved, power=2):
    return data_in[offset]


def by_keyword(data_in, offset, user_info, *, reserved):
    return data_in[offset]


def by_keyword_or_not(data_in, offset, user_info, reserved, *, power=2):
    return data_in[offset]


def any_number(*arguments):
    return arguments[0][arguments[1]]


def any_names(data_in, offset, user_info, reserved, **others):
    return data_in[offset]


def generator(data_in, offset, user_info, reserved):
    yield data_in[offset]


async def coroutine(data_in, offset, user_info, reserved):
    return data_in[offset]


async def asynchronous_generator(data_out, offset, data, user_info, reserved):
    yield data


def sometimes(data_in, offset, user_info, reserved):
    if offset > 2:
        return data_in[offset]


def maybe(data_in, offset, user_info, reserved):
    element = None
    if offset > 2:
        element = data_in[offset]
    return element


def storing_and_returning(data_out, offset, data, user_info, reserved):
    if offset > 2:
        return data
    data_out[offset] = data


def in_place(data_in, offset, user_info, reserved):
    data_in[offset] *= 2
    return data_in[offset]


def through_reserved(data_in, offset, user_info, reserved):
    reserved[offset] = 0
    return data_in[offset]


def planned_prolog(function: Any, data: Any = None) -> None:
    fft(ONES, axes=[1], prolog=DeviceCallable(compile_prolog(function, "complex128", "complex128"), data=data))


def taken(misuse: str, function: Any, *says: str, phase: str = "prolog") -> Misuse:
    compile_ = compile_prolog if phase == "prolog" else compile_epilog
    name = function.__qualname__
    return Misuse(misuse, lambda: compile_(function, "complex64", "float32"), TypeError, (f"the {phase} {name}", *says))


FOUR = r"4 arguments.*prolog\(data_in, offset, user_info, reserved\)"
READ_ONLY = frozen(np.ones(8, np.int32))
REFUSED = [
    taken("a parameter more, with a default", optional, FOUR, "power=2"),
    taken("a parameter by keyword", by_keyword, FOUR, r"\*, reserved"),
    taken("a parameter by keyword, with a default", by_keyword_or_not, FOUR),
    taken("any number of parameters", any_number, FOUR, r"\*arguments"),
    taken("any keywords", any_names, FOUR),
    taken("a generator", generator, "is a generator function", "returns the element"),
    taken("a coroutine", coroutine, "is a coroutine function", "returns the element"),
    taken("an asynchronous generator", asynchronous_generator, "asynchronous generator function", "stores",
          phase="epilog"),
    Misuse("None on one path", lambda: compile_prolog(sometimes, "complex64", "float32"), TYPING,
           ("the prolog sometimes", "returns the element", "none to complex64")),
    Misuse("None as a value", lambda: compile_prolog(maybe, "complex64", "float32"), TYPING,
           ("the prolog maybe", "may return complex64 or None")),
    Misuse("an element on one path", lambda: compile_epilog(storing_and_returning, "complex64", "float32"), TYPING,
           ("the epilog storing_and_returning", "returns nothing", "complex64 to none")),
    Misuse("writes to the operand", lambda: planned_prolog(in_place), ValueError,
           ("prolog in_place writes to the operand",)),
    Misuse("writes to the operand by another name", lambda: planned_prolog(through_reserved), ValueError,
           ("prolog through_reserved writes to the operand",)),
    Misuse("writes to data that is read-only",
           lambda: fft(ONES, axes=[1], prolog=DeviceCallable(
               compile_prolog(counting, "complex128", numba.types.int32), data=READ_ONLY)),
           ValueError, ("prolog's data is read-only", "counting writes to user_info", "writeable")),
    Misuse("a function that is not compiled", lambda: fft(ONES, prolog=filtering), TypeError,
           ("prolog is a function", r"DeviceCallable\(compile_prolog\(function")),
    Misuse("a negative address", lambda: DeviceCallable(epilog_of(doubling, "complex64"), data=-8), ValueError,
           ("data is -8", "no address")),
    Misuse("an address of too many bits", lambda: DeviceCallable(b"LTO", data=1 << 64), ValueError, ("no address",)),
    Misuse("a negative address of code", lambda: DeviceCallable(-8, 72), ValueError, ("ltoir is -8", "no address")),
    Misuse("code at a null pointer", lambda: DeviceCallable(0, 72), ValueError, ("ltoir is 0", "no address")),
    Misuse("code of no bytes", lambda: DeviceCallable(4096, 0), ValueError, ("size is 0",)),
    Misuse("another byte order", lambda: compile_prolog(filtering, np.dtype(">c8"), "complex64"), ValueError,
           ("element_dtype is dtype",)),
    Misuse("a dtype of half precision", lambda: compile_prolog(filtering, np.float16, "complex64"), ValueError,
           ("half precision has no callbacks",)),
    Misuse("a dtype of no elements", lambda: compile_prolog(filtering, np.dtype("int32"), "complex64"), ValueError,
           ("element_dtype", "'complex128'")),
    Misuse("data of objects", lambda: compile_prolog(filtering, "complex64", np.dtype(object)), ValueError,
           ("user_info_dtype is dtype",)),
    Misuse("data of records", lambda: compile_prolog(filtering, "complex64", np.dtype([("a", "f4")])), ValueError,
           ("user_info_dtype is",)),
]  # fmt: skip


@pytest.mark.parametrize("misuse", REFUSED, ids=lambda misuse: misuse.what)
def test_refused(misuse: Misuse) -> None:
    check(misuse)


def test_address_that_becomes_negative_later() -> None:
    callable_ = DeviceCallable(epilog_of(doubling, "complex128"))
    callable_.data = -1
    with FFT(ONES, axes=[1]) as transform, pytest.raises(ValueError, match="data is -1"):
        transform.plan(epilog=callable_)


def test_default_that_is_not_used() -> None:
    def copied(data_in, offset, user_info, reserved=None):
        return data_in[offset]

    planned_prolog(copied)


def test_data_that_is_only_read_may_be_read_only() -> None:
    data = frozen(np.full(8, 3.0))
    result = fft(ONES, axes=[1], prolog=DeviceCallable(prolog_of(filtering, "complex128", "float64"), data=data))
    np.testing.assert_array_equal(result, 3 * ONES)
    epilog = DeviceCallable(epilog_of(scaling, "complex128", "float64"), data=frozen(np.full(1, 3.0)))
    np.testing.assert_array_equal(fft(ONES, axes=[1], epilog=epilog), 3 * ONES)


def test_what_is_written_is_known_of_code_from_disk(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import numba, numpy as np
from planmath.fft import compile_prolog, jit
from tests.fft.callbacks import counting
found = compile_prolog(counting, "complex64", numba.types.int32).loops
print(sorted(found.writes), type(found.keep).__module__.partition(".")[0])
"""
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    assert run_python(code).split() == ["['user_info']", "numba"]
    assert run_python(code).split() == ["['user_info']", "llvmlite"], "compiled again"


def test_code_that_is_not_optimized_is_not_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes to is not known then."""
    code = """
import numpy as np
from planmath.fft import DeviceCallable, compile_prolog, fft
from tests.fft.callbacks import filtering
data = np.full(4, 2 + 0j)
data.flags.writeable = False
code = compile_prolog(filtering, "complex128", "complex128")
print(fft(np.ones(4, complex), prolog=DeviceCallable(code, data=data))[0])
"""
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_OPT", "0")
    assert run_python(code).strip() == "(8+0j)"


@pytest.mark.parametrize("given", [np.dtype("complex64"), np.complex64, "complex64"], ids=["dtype", "type", "name"])
def test_dtypes_in_the_words_of_numpy(given: Any) -> None:
    code = compile_prolog(filtering, given, given)
    assert (code.description.element, str(code.description.user_info)) == ("complex64", "complex64")
    assert code.identity == prolog_of(filtering, "complex64").identity


def test_data_of_other_numbers() -> None:
    for dtype in (np.int32, np.dtype("uint8"), np.int16):
        prolog = DeviceCallable(compile_prolog(filtering, "float64", dtype), data=np.arange(4, dtype=dtype))
        np.testing.assert_array_equal(rfft(np.ones(4), prolog=prolog), np.fft.rfft(np.arange(4)))


def divided(data_in, offset, user_info, reserved):
    return data_in[offset] / user_info[offset]


def divided_in_place(data_in, offset, user_info, reserved):
    element = data_in[offset]
    element /= user_info[offset]
    return element


def storing_a_quotient(data_out, offset, data, user_info, reserved):
    data_out[offset] = data / user_info[offset]


SPECIAL = np.array([0, 2, -2, 2j, np.inf, complex(0, np.inf), np.nan, 3 - 4j])


@pytest.mark.parametrize("function", [divided, divided_in_place, storing_a_quotient])
@pytest.mark.parametrize("info", ["float64", "complex128"])
def test_quotients_are_those_of_numpy(info: str, function: Any) -> None:
    phase, make = ("epilog", compile_epilog) if function is storing_a_quotient else ("prolog", compile_prolog)
    divisors = SPECIAL if info == "complex128" else SPECIAL.real.copy()
    for numerator in (1, 0, 1 + 2j):
        values = np.full((8, 1), numerator, np.complex128)
        callback = DeviceCallable(make(function, "complex128", info), data=divisors)
        with np.errstate(all="ignore"):
            wanted = values[:, 0] / divisors
        np.testing.assert_allclose(fft(values, axes=[1], **{phase: callback})[:, 0], wanted, rtol=1e-15)


def test_functions_of_the_user_raise_as_before() -> None:
    """What is changed of quotients is so in callbacks alone."""
    fft(ONES, axes=[1], prolog=DeviceCallable(compile_prolog(divided, "complex128", "complex128"), data=ONES))
    quotient = numba.njit(lambda a, b: a / b)
    with pytest.raises(ZeroDivisionError):
        quotient(1j, 0j)


@pytest.mark.parametrize("function", [divided, divided_in_place, storing_a_quotient])
def test_quotients_on_devices(function: Any) -> None:
    """A division by zero is one there as well, and not a zero where Numba would raise an exception."""
    if not jit.has_cuda_compiler():
        pytest.skip("numba-cuda is not installed")
    make = compile_epilog if function is storing_a_quotient else compile_prolog
    try:
        code = make(function, "complex64", "complex64", compute_capability="90", representation="ptx")
    except (RuntimeError, MissingLibraryError) as error:
        pytest.skip(str(error))
    assert code.decode().count("div.rn.f32") == 4
    with pytest.raises(TYPING, match=r"(?s)the prolog maybe .* 9\.0 .* may return complex64 or None"):
        compile_prolog(maybe, "complex64", "complex64", compute_capability="90")
