"""What can be read in the log."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from planmath.core.log import format_seconds
from planmath.fft import FFT, fft

OPERAND = np.arange(8) + 0j
DURATION = r"[0-9.]+(e[+-]?\d+)? (s|ms|µs|ns)\."


def life(**options):
    with FFT(OPERAND, options={"provider": "pocketfft", **options}) as transform:
        transform.plan()
        transform.execute()


def test_phases_choice_and_times(caplog):
    with caplog.at_level(logging.INFO, "planmath"):
        life()
    lines = [record.getMessage() for record in caplog.records]
    expected = [
        "= FFT SPECIFICATION =",
        r"C2C complex128 \(8,\) axes=\(0,\) on cpu",
        f"FFT specification took {DURATION}",
        "= FFT PLANNING =",
        r"Chosen by the heuristic: pocketfft\(threads=1\)\.",
        f"FFT planning took {DURATION}",
        "= FFT EXECUTION =",
        r"Running pocketfft\(threads=1\)\.",
        f"FFT execution took {DURATION}",
        "= FFT RESOURCE RELEASE =",
        f"FFT resource release took {DURATION}",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line
    assert {(record.name, record.levelname) for record in caplog.records} == {("planmath", "INFO")}


def test_autotuning_and_new_operands(caplog, tuning_record):
    with caplog.at_level(logging.INFO, "planmath"), FFT(OPERAND) as transform:
        transform.plan()
        transform.autotune(iterations=1)
        transform.reset_operand(OPERAND + 1)
        transform.reset_operand_unchecked(OPERAND)
        transform.release_operand()
    for pattern in (
        "= FFT AUTOTUNING =", f"pocketfft.*: {DURATION[:-2]} at first sight", rf"Best: .*, {DURATION[:-2]} warm\.",
        f"FFT autotuning took {DURATION}", "new operands operand", "the operands were released",
    ):  # fmt: skip
        assert re.search(pattern, caplog.text), pattern
    assert caplog.text.count("new operands operand") == 2


def test_stateless_call_shows_its_phases(caplog, nothing_remembered):
    for _ in range(2):
        fft(OPERAND)
    with caplog.at_level(logging.INFO, "planmath"):
        fft(OPERAND)
    for phase in ("SPECIFICATION", "PLANNING", "EXECUTION", "RESOURCE RELEASE"):
        assert caplog.text.count(phase) == 1


def test_logger_of_ones_own(caplog):
    logger = logging.getLogger("tests.of.planmath")
    with caplog.at_level(logging.INFO, logger.name):
        life(logger=logger)
    assert {record.name for record in caplog.records} == {logger.name}
    assert "= FFT EXECUTION =" in caplog.text


def test_quiet_logger_of_ones_own(caplog):
    logger = logging.getLogger("tests.of.planmath.quiet")
    logger.setLevel(logging.WARNING)
    with caplog.at_level(logging.INFO, "planmath"):
        life(logger=logger)
    assert not caplog.records


def switch_level(logger, level):
    logger.setLevel(level)


def switch_parent(logger, level):
    logger.parent.setLevel(level)


def switch_all(logger, level):
    logging.disable(logging.NOTSET if level == logging.INFO else logging.INFO)


@pytest.mark.parametrize("switch", [switch_level, switch_parent, switch_all])
@pytest.mark.parametrize("give_out", [False, True])
def test_switched_on_and_off_between_executions(caplog, switch, give_out):
    """The fast path looks at what `logging` itself remembers, which every change of a level empties."""
    parent = logging.getLogger("tests.of.planmath")  # or else the root would be it
    logger = parent.getChild("switched")
    logger.setLevel(logging.INFO if switch is switch_all else logging.NOTSET)
    try:
        switch(logger, logging.WARNING)
        with FFT(OPERAND, options={"logger": logger}) as transform:
            transform.plan()
            out = transform.empty_result() if give_out else None

            def executions_logged():
                caplog.clear()
                for _ in range(3):
                    transform.execute(out=out)
                    transform.reset_operand(OPERAND)
                return caplog.text.count("EXECUTION"), caplog.text.count("new operands")

            assert executions_logged() == (0, 0)
            switch(logger, logging.INFO)
            assert executions_logged() == (3, 3)
            switch(logger, logging.WARNING)
            assert executions_logged() == (0, 0)
    finally:
        switch_all(logger, logging.INFO)
        logger.setLevel(logging.NOTSET)
        parent.setLevel(logging.NOTSET)


def test_results_are_the_same_with_the_log_on(caplog):
    with FFT(OPERAND) as transform:
        transform.plan()
        quiet = transform.execute()
        with caplog.at_level(logging.INFO, "planmath"):
            out = transform.empty_result()
            assert transform.execute(out=out) is out
            np.testing.assert_array_equal(out, quiet)
            np.testing.assert_array_equal(transform.execute(direction="forward"), quiet)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.5 s"), (0.012, "12 ms"), (1e-3, "1 ms"), (3.456e-6, "3.46 µs"), (7.8e-8, "78 ns"), (0.0, "0 ns")],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text
