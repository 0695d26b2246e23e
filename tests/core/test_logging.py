"""What can be read in the log."""

from __future__ import annotations

import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse

from planmath import linalg
from planmath.core import remembered
from planmath.core.log import format_seconds, tell
from planmath.fft import FFT, fft
from planmath.linalg.advanced import matmul
from planmath.sparse.advanced import direct_solver
from planmath.tensor import contract

OPERAND = np.arange(8) + 0j
MATRIX = np.eye(3) + 1
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


#: Stateless calls, what the log calls them, and the phases in which they execute.
STATELESS = {
    "fft": (lambda: fft(OPERAND), "FFT", ["EXECUTION"]),
    "matmul": (lambda: matmul(MATRIX, MATRIX), "Matmul", ["EXECUTION"]),
    "triangular": (lambda: linalg.triangular_solve(MATRIX, MATRIX), "TriangularSolver", ["EXECUTION"]),
    "dense": (lambda: linalg.direct_solver(MATRIX, MATRIX), "DirectSolver", ["FACTORIZATION", "SOLUTION"]),
    "contract": (lambda: contract("ij,jk,kl->il", MATRIX, MATRIX, MATRIX), "Contraction", ["EXECUTION"]),
    "solver": (
        lambda: direct_solver(scipy.sparse.csr_array(MATRIX), MATRIX[0]), "DirectSolver", ["FACTORIZATION", "SOLUTION"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATELESS)
def test_stateless_calls_show_their_phases(caplog, nothing_remembered, name):
    call, noun, execution = STATELESS[name]
    expected = [f"= {noun} {phase} =" for phase in ("SPECIFICATION", "PLANNING", *execution, "RESOURCE RELEASE")]
    idle = []
    with caplog.at_level(logging.INFO, "planmath"):
        for number in range(3):
            caplog.clear()
            result = call()
            lines = [record.getMessage() for record in caplog.records]
            assert [line for line in lines if line in expected] == expected
            assert {record.levelname for record in caplog.records} == {"INFO"}
            (operation,) = remembered._idle.values()
            idle.append(operation)
            planning = lines[lines.index(f"= {noun} PLANNING =") + 1 :]
            assert planning[0].startswith("Remembered from an earlier call: ") == (number > 0)
    assert idle[1:] == idle[:1] * 2, "the plan of the first call serves the others"
    np.testing.assert_array_equal(call(), result)


def test_log_of_a_remembered_plan(caplog, nothing_remembered):
    options = {"provider": "pocketfft"}
    fft(OPERAND, options=options)
    with caplog.at_level(logging.INFO, "planmath"):
        fft(OPERAND, options=options)
    lines = [record.getMessage() for record in caplog.records]
    expected = [
        "= FFT SPECIFICATION =",
        r"C2C complex128 \(8,\) axes=\(0,\) on cpu",
        "= FFT PLANNING =",
        r"Remembered from an earlier call: pocketfft\(threads=1\)\.",
        "= FFT EXECUTION =",
        r"Running pocketfft\(threads=1\)\.",
        f"FFT execution took {DURATION}",
        "= FFT RESOURCE RELEASE =",
        r"The operands were released; the plan is kept for the next call of this kind\.",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_records_are_those_of_the_logger():
    """They are copies of the one before where it came from the same thread, also of several told at once."""
    made = []

    class Keeping(logging.Handler):
        def emit(self, record):
            made.append(vars(record))

    logger = logging.Logger("planmath.test", logging.INFO)
    logger.addHandler(Keeping())

    def told():
        for number in range(3):
            tell(logger, ("of %s", "this"), ("number %d", number))
            usual = logger.makeRecord(logger.name, logging.INFO, tell.__code__.co_filename, 0, "", (), None)
            ours, theirs = made[-1], vars(usual)
            assert list(ours) == list(theirs)
            differ = {"msg", "args", "lineno", "funcName", "created", "msecs", "relativeCreated"}
            assert {name for name in ours if ours[name] != theirs[name]} <= differ
            assert abs(ours["relativeCreated"] - theirs["relativeCreated"]) < 10_000
            assert 0 <= theirs["created"] - ours["created"] < 10
            assert (ours["msg"], ours["args"]) == ("number %d", (number,))

    told()
    with ThreadPoolExecutor(2) as pool:
        [future.result() for future in [pool.submit(told) for _ in range(2)]]
    told()
    assert len(made) == 24


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_records_of_a_child_name_its_process():
    logger, made = logging.Logger("planmath.test", logging.INFO), []
    logger.addHandler(handler := logging.Handler())
    handler.emit = made.append
    tell(logger, ("before",))
    child = os.fork()
    if not child:
        tell(logger, ("in the child",))
        os._exit(made[-1].process != os.getpid())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_one_line_silences_it(caplog, nothing_remembered):
    """As core/log.py and the README say."""
    before = logging.getLogger("planmath").level
    try:
        with caplog.at_level(logging.INFO):
            fft(OPERAND)
            assert caplog.records
            logging.getLogger("planmath").setLevel(logging.WARNING)
            caplog.clear()
            fft(OPERAND)
            life()
            assert not caplog.records
    finally:
        logging.getLogger("planmath").setLevel(before)


def test_an_error_in_a_logged_execution_is_the_usual_one(caplog):
    with FFT(OPERAND) as transform, caplog.at_level(logging.INFO, "planmath"):
        with pytest.raises(RuntimeError, match="needs a plan"):
            transform.execute()
        transform.plan()
        with pytest.raises(ValueError, match="out has the shape"):
            transform.execute(out=OPERAND[:4].copy())
        with pytest.raises(ValueError, match="shares memory"):
            transform.execute(out=OPERAND)
        np.testing.assert_allclose(transform.execute(), np.fft.fft(OPERAND))


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
