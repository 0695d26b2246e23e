"""What FFTW learned by measuring is kept for the next process, and is nobody else's affair."""

from __future__ import annotations

import json

import numpy as np
import pytest

import planmath
from planmath.bindings import fftw3
from planmath.bindings.fftw3 import FFTW, MEASURE
from planmath.core.tuning import record, wisdom
from planmath.core.tuning.record import TuningRecordWarning
from planmath.fft import FFT
from tests.processes import run_python

pytestmark = pytest.mark.skipif(FFTW.missing() is not None, reason=str(FFTW.missing()))

#: In FFTW's flags: no plan that is not known.
WISDOM_ONLY = 1 << 21
SIZE = 360


def planned(rigor: str, size: int = SIZE, **options) -> FFT:
    """A transform of one thread by FFTW, made with this rigor."""
    options = {"provider": "fftw"} | options
    transform = FFT(np.ones(size, complex), options=options, execution={"name": "cpu", "num_threads": 1})
    transform.plan()
    algorithms = transform._plan_made.algorithms
    transform._make_plan(transform._problem, transform._slots, [a for a in algorithms if a.get("rigor") == rigor])
    return transform


def is_known(size: int = SIZE) -> bool:
    """Whether FFTW has a measured plan without measuring: it is not said which."""
    place = np.empty(2 * size, complex)
    address = place.ctypes.data + -place.ctypes.data % 16
    return (
        FFTW.plan(
            "float64", "C2C", [(size, 1, 1)], [], (address, address + 16 * size),
            flags=fftw3.PRESERVE_INPUT | MEASURE | WISDOM_ONLY,
        ) is not None
    )  # fmt: skip


def kept() -> list[str]:
    with wisdom.kept(True):
        return wisdom.known(FFTW.wisdom_title("float64"))


def test_measured_plans_are_kept_and_forgotten_by_the_library(tuning_record):
    with planned("measure"):
        assert kept()
        assert not is_known()
        with FFTW.taught("float64", kept()) as lesson:
            assert is_known()
        assert not lesson.refused
        assert not lesson.lines
    planmath.tuning.clear()
    assert not kept()
    assert not record.wisdom_path().exists()


def test_the_next_process_does_not_measure(tuning_record):
    program = """
        import numpy as np
        import planmath.fft.providers.fftw3_interface as interface
        from planmath.core.errors import UnavailableError
        from tests.fft.test_wisdom import WISDOM_ONLY, planned
        interface.MEASURE |= WISDOM_ONLY
        try:
            with planned("measure") as transform:
                print(np.allclose(transform.execute(), np.fft.fft(np.ones(360))))
        except UnavailableError:
            print("unknown")
    """
    assert run_python(program) == "unknown\n"
    planned("measure").free()
    assert run_python(program) == "True\n"


def test_who_does_not_use_the_record_keeps_nothing(tuning_record):
    planned("measure", tuning=False).free()
    assert not record.wisdom_path().exists()
    planned("measure").free()
    with wisdom.kept(False):
        assert wisdom.known(FFTW.wisdom_title("float64")) == []


def test_wisdom_of_others_survives(tuning_record):
    size = 1080
    place = np.empty(2 * size, complex)
    address = place.ctypes.data + -place.ctypes.data % 16
    plan = FFTW.plan(
        "float64", "C2C", [(size, 1, 1)], [], (address, address + 16 * size), flags=fftw3.PRESERVE_INPUT | MEASURE
    )
    assert plan is not None
    assert is_known(size)
    planned("measure").free()
    assert is_known(size)
    assert not is_known()
    FFTW._wisdom("float64")[2]()  # forget it


@pytest.mark.parametrize("content", ["[" * 200_000, "{", '{"format": 7}', '{"format": 1, "machines": [1]}'])
def test_what_is_damaged_is_measured_anew(tuning_record, content):
    record.wisdom_path().parent.mkdir(parents=True, exist_ok=True)
    record.wisdom_path().write_text(content)
    with pytest.warns(TuningRecordWarning, match="cannot be used"):
        planned("measure").free()
    assert kept()


def test_what_the_library_does_not_take_is_measured_anew(tuning_record):
    planned("measure").free()
    content = json.loads(record.wisdom_path().read_text())
    (titles,) = content["machines"].values()
    for title, lines in titles.items():
        titles[title] = ["  (nonsense", *lines]
    record.wisdom_path().write_text(json.dumps(content))
    with pytest.warns(TuningRecordWarning, match="does not take it"), planned("measure") as transform:
        np.testing.assert_allclose(transform.execute(), np.fft.fft(np.ones(SIZE)))
    assert "  (nonsense" not in kept()


def test_what_was_learned_before_an_interruption_is_kept(tuning_record):
    def interrupted():
        with wisdom.kept(True):
            wisdom.learned(FFTW.wisdom_title("float64"), ["  (a line)"], refused=False)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert kept() == ["  (a line)"]


def test_an_interruption_leaves_no_limit_of_time(monkeypatch):
    limits = []

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fftw3.Interface, "planner", lambda *of: interrupted)
    monkeypatch.setattr(fftw3.Interface, "_time_limiter", lambda *of: limits.append)
    with pytest.raises(KeyboardInterrupt):
        FFTW.plan("float64", "C2C", [(8, 1, 1)], [], (0, 16), flags=MEASURE, limit=2.0)
    assert limits == [2.0, fftw3.NO_LIMIT]
