"""C functions as Python functions: what is passed, what comes back, what wrong arguments get."""

from __future__ import annotations

import inspect
import threading
import time

import numpy as np
import pytest

from planmath.bindings.interface import Interface, struct
from tests.bindings.conftest import StandInError

DESCRIBE = ("standinDescribe", "i>i>PQ>Q>f>d",
            "int n, int *twice, void **address, size_t size, size_t *larger, float *half, double *third")  # fmt: skip
TAKES = ("standinTakes", "iIqQP", "int i, unsigned u, word q, size_t z, void *p", "q")


def test_no_outputs_return_none(interface: Interface) -> None:
    assert interface.function("standinNothing")() is None
    assert interface.function("standinFails", "i", "int status")(0) is None


def test_outputs_are_returned_in_order(interface: Interface) -> None:
    describe = interface.function(*DESCRIBE)
    for _ in range(2):  # the first call finds the function, the second is the ordinary one
        assert describe(7, 2**40) == (14, 0x7FFF12345678, 2**40 + 1, 3.5, 7 / 3)


def test_single_output_is_no_tuple(interface: Interface) -> None:
    ask = interface.function("standinGetProperty", "i>i", "int type, int *value")
    assert [ask(part) for part in range(3)] == [12, 3, 4]


def test_all_of_cs_parameters(interface: Interface) -> None:
    describe, twice, larger = interface.function(*DESCRIBE), np.zeros(1, np.int32), np.zeros(1, np.uint64)
    address, half, third = np.zeros(1, np.uintp), np.zeros(1, np.float32), np.zeros(1)
    outputs = [a.ctypes.data for a in (twice, address, larger, half, third)]
    assert describe(5, outputs[0], outputs[1], 8, *outputs[2:]) is None
    assert (twice[0], larger[0], half[0], third[0]) == (10, 9, 2.5, 5 / 3)


@pytest.mark.parametrize("blocks", [True, False])
def test_words(interface: Interface, blocks: bool) -> None:
    takes = interface.function(*TAKES, blocks=blocks)
    for _ in range(2):
        assert takes(-3, 2**32 - 1, -(2**40), 2**41, 2**46) == -3 + 2**32 - 1 - 2**40 + 2**41 + 2**46
    assert takes(np.int32(1), True, np.int64(2), np.uint8(3), 4) == 11


def test_more_words_than_a_prepared_call_has(interface: Interface) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    many = interface.function("standinMany", "q" * 26, ", ".join(f"word {name}" for name in names), "q")
    values = [(-1) ** n * 3**n for n in range(26)]
    for _ in range(2):
        assert many(*values) == sum((n + 1) * value for n, value in enumerate(values))


def test_unsigned_words_of_full_length(interface: Interface) -> None:
    size = interface.function("standinSize", "Q", "size_t n", "Q")
    assert [size(n) for n in (0, 2**63, 2**64 - 1, 2**63 - 1)] == [0, 2**63, 2**64 - 1, 2**63 - 1]
    with pytest.raises(OverflowError):
        size(2**64)
    with pytest.raises(OverflowError):
        size(-1)


def test_reals_by_value(interface: Interface) -> None:
    reals = interface.function(
        "standinReals", "idqfb>d", "int a, double b, word c, float d, signed char e, double *sum"
    )
    for _ in range(2):
        assert reals(1, 2.5, 3, 4.25, 5) == 1 + 25 + 300 + 4250 + 50000
    assert reals(1, 2, 3, np.float32(4), "A") == 1 + 20 + 300 + 4000 + 650000
    many = interface.function("standinManyReals", "qfqqqdqqqqqf>d", ", ".join(f"t {c}" for c in "abcdefghijklm"))
    for _ in range(2):
        assert many(1, 2.0, 3, 4, 5, 6.0, 7, 8, 9, 10, 11, 12.0) == sum(n * n for n in range(1, 13))


def test_complex_by_value(interface: Interface) -> None:
    sums = interface.function("standinComplex", "FiDd>d", "complex64 a, int b, complex128 c, double d, double *sum")
    for _ in range(2):
        assert sums(1 + 2j, 3, 4 - 5j, 6.0) == 1 + 4 + 9 + 16 - 25 + 36


def test_lists(interface: Interface) -> None:
    lists = interface.function(
        "standinLists", "i*i*q*d>d", "int n, const int *i, const word *q, double factor[], double *sum"
    )
    assert lists(2, [1, 2], (2**40, 3), [0.5, 2]) == 0.5 * (1 + 2**40) + 2 * 5
    array = np.array([7, 8], np.int32)
    assert lists(2, array.ctypes.data, [0, 0], [1.0, 1.0]) == 15
    with pytest.raises(TypeError, match="q must be an address or a sequence, not float"):
        lists(2, [1, 2], 1.5, [1.0, 1.0])


def test_strings(interface: Interface) -> None:
    length = interface.function("standinLength", "s>i", "const char *text, int *length")
    assert length("größer") == 8
    assert length(b"four") == 4
    name = interface.function("standinName", "i", "int n", "s")
    assert (name(1), name(0)) == ("standin", None)


def test_no_result(interface: Interface) -> None:
    memory = np.zeros(1, np.int32)
    assert interface.function("standinVoid", "P", "int *memory", "v")(memory.ctypes.data) is None
    assert memory[0] == 5


def test_structs_by_value(interface: Interface) -> None:
    three, large = struct(12, x=("I", 0), y=("I", 4), z=("I", 8)), struct(24, a=("Q", 0), b=("Q", 8), c=("Q", 16))
    a, c = np.array([(1, 2, 3)], three), np.array([(4, 5, 6)], large)
    by_value = interface.function_by_value("standinByValue", "{12}i{24}>P", "three a, int b, large c, void **sum")
    assert by_value(a.ctypes.data, 10, c.ctypes.data) == 1 + 4 + 9 + 40 + 20 + 30 + 42
    out = np.zeros(1, np.uintp)
    assert by_value(a.ctypes.data, 10, c.ctypes.data, out.ctypes.data) is None
    assert out[0] == 146
    with pytest.raises(TypeError, match="takes 3 arguments, not 1"):
        by_value(1)
    makes = interface.function_by_value("standinMakes", "III", "unsigned x, unsigned y, unsigned z", result=three)
    assert makes(4, 5, 6).tolist() == (4, 5, 6)


def test_status_raises_the_librarys_error(interface: Interface) -> None:
    fails = interface.function("standinFails", "i", "int status")
    for _ in range(2):
        with pytest.raises(
            StandInError, match=r"^standinFails failed: STANDIN_INVALID_VALUE \(3\): an argument is wrong$"
        ):
            fails(3)
    with pytest.raises(StandInError, match="status 77, unknown to these bindings") as caught:
        fails(77)
    assert (caught.value.status, caught.value.function) == (77, "standinFails")


def test_keywords(interface: Interface) -> None:
    takes, describe = interface.function(*TAKES), interface.function(*DESCRIBE)
    assert takes(1, 2, p=5, z=4, q=3) == 15
    assert describe(size=1, n=2)[0] == 4
    with pytest.raises(TypeError, match="'i' is given twice"):
        takes(1, 2, 3, 4, 5, i=1)
    with pytest.raises(TypeError, match=r"there is no 'y'; 'p' is missing"):
        takes(1, 2, 3, 4, y=5)


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3), (1,) * 8])
def test_wrong_number_of_arguments(interface: Interface, arguments: tuple[int, ...]) -> None:
    message = rf"standinDescribe\(n, size\) takes 2 arguments, or 7 with its outputs' addresses, not {len(arguments)}"
    with pytest.raises(TypeError, match=message):
        interface.function(*DESCRIBE)(*arguments)


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, 2**31, OverflowError, "i must be from -2147483648 to 2147483647, not 2147483648"),
        (1, -1, OverflowError, "u must be from 0 to 4294967295, not -1"),
        (2, 2**63, OverflowError, "q must be from"),
        (3, -1, OverflowError, "z must be from 0"),
        (4, 1.5, TypeError, "p must be an integer, not float"),
        (4, None, TypeError, "p must be an integer, not NoneType"),
        (0, "12", TypeError, "i must be an integer, not str"),
    ],
)
def test_wrong_arguments(interface: Interface, place: int, value: object, error: type, message: str) -> None:
    takes, arguments = interface.function(*TAKES), [1, 2, 3, 4, 5]
    arguments[place] = value  # type: ignore[call-overload]
    for _ in range(2):
        with pytest.raises(error, match=message):
            takes(*arguments)
        assert takes(1, 2, 3, 4, 5) == 15


def test_other_threads_run_meanwhile(interface: Interface) -> None:
    sleeps = interface.function("standinSleeps", "i", "int microseconds")
    sleeps(0)
    thread = threading.Thread(target=sleeps, args=(300_000,))
    start = time.perf_counter()
    thread.start()
    sum(range(100_000))
    here = time.perf_counter() - start
    thread.join()
    assert here < 0.25 < time.perf_counter() - start


def test_what_describes_it(interface: Interface) -> None:
    describe = interface.function(*DESCRIBE)
    assert str(inspect.signature(describe)) == "(n, size)"
    assert describe.__doc__.startswith("standinDescribe(int n, int *twice")
    assert describe.__doc__.endswith("Returns twice, address, larger, half, third.")
    assert callable(describe)
    assert describe.symbol in repr(describe)
