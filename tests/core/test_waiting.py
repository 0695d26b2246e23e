"""Who waits for a plan or for a compiler is told so, and can interrupt it."""

from __future__ import annotations

import io
import math
import os
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest

from planmath.core import waiting
from planmath.core.collective import interrupts
from planmath.core.tuning import progress
from planmath.core.tuning.budget import Budget
from planmath.fft import FFT
from planmath.tensor import Contraction


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch):
    """Let somebody watch who wonders at once; what he sees."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(waiting, "SILENT", 0.05)
    monkeypatch.setattr(waiting, "BETWEEN", 0.01)
    for name in ("tqdm", "tqdm.auto", "rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    return stream


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def ctrl_c():
    """Python's own handler, which a shell's background processes lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_takes_long_is_shown_until_it_ends(monkeypatch):
    terminal = watched(monkeypatch)
    with waiting.going_on("FFT planning") as task:
        task.text = "fftw(threads=2)"
        until(lambda: re.search(r"\rFFT planning: \d+ s, fftw\(threads=2\)", terminal.getvalue()))
    assert terminal.getvalue().endswith(" \r"), "the line is empty again"
    length = len(terminal.getvalue())
    time.sleep(0.1)
    assert len(terminal.getvalue()) == length


def test_nothing_is_shown_of_what_is_short_or_covered(monkeypatch):
    terminal = watched(monkeypatch)
    for _ in range(100):
        with waiting.going_on("FFT planning"):
            pass
    monkeypatch.setattr(progress, "SILENT", math.inf)
    with progress.shown("FFT", Budget()), waiting.going_on("step"):
        time.sleep(0.2)
    time.sleep(0.2)
    assert terminal.getvalue() == ""


def test_one_of_several_ranks_tells(monkeypatch):
    terminal = watched(monkeypatch)
    with waiting.going_on("FFT planning", here=False):
        time.sleep(0.2)
    with progress.shown("FFT", Budget(), here=False) as shown:
        monkeypatch.setattr(shown._budget, "elapsed", lambda: 5.0)
        shown.tell("mkl")
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_nobody_watches(monkeypatch):
    monkeypatch.setattr(waiting, "SILENT", 0.01)
    before = threading.active_count()
    with waiting.going_on("FFT planning"):
        time.sleep(0.1)
    assert waiting.interruptible("compiling", threading.current_thread) is threading.current_thread()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: FFT(np.ones(8, complex)), r"\rFFT planning: \d+ s, \w+"),
        (lambda: Contraction("ij,jk,kl->il", *[np.eye(3)] * 3), r"\rContraction planning: \d+ s"),
    ],
)
def test_planning_is_shown(monkeypatch, make, line):
    terminal = watched(monkeypatch)
    with make() as operation:
        adopt = type(operation)._changes

        def slow(*arguments):
            until(lambda: re.search(line, terminal.getvalue()))
            return adopt(*arguments)

        monkeypatch.setattr(type(operation), "_changes", slow)
        operation.plan()


def test_what_is_shown_by_packages(monkeypatch):
    terminal = watched(monkeypatch)
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("rich")
    with waiting.going_on("FFT planning"):
        until(lambda: re.search(r"\d+ s", terminal.getvalue()))
    assert "at most" not in terminal.getvalue()


def test_results_and_errors_of_a_compiler(monkeypatch):
    watched(monkeypatch)
    assert waiting.interruptible("compiling", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        waiting.interruptible("compiling", lambda: 1 / 0)


def test_what_was_interrupted_is_kept(monkeypatch, ctrl_c):
    watched(monkeypatch)
    kept, goes_on = [], threading.Event()

    def work():
        os.kill(os.getpid(), signal.SIGINT)
        goes_on.wait(20)
        kept.append("the code")

    with pytest.raises(KeyboardInterrupt):
        waiting.interruptible("compiling", work)
    assert not kept
    goes_on.set()
    until(lambda: kept)


def test_children_have_a_watcher_of_their_own(monkeypatch):
    terminal = watched(monkeypatch)
    with waiting.going_on("in the parent"):
        until(lambda: "in the parent" in terminal.getvalue())
        if (child := os.fork()) == 0:
            with waiting.going_on("in the child"):
                end = time.monotonic() + 20
                while "in the child" not in terminal.getvalue() and time.monotonic() < end:
                    time.sleep(0.01)
            os._exit("in the child" not in terminal.getvalue())
        assert os.waitpid(child, 0)[1] == 0


def press():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def test_the_first_ctrl_c_is_noted(ctrl_c):
    with interrupts.noted() as interrupt:
        assert not interrupt.came
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: interrupt.came)
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_programs_stay():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.noted():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_no_thread_can_be_started(monkeypatch):
    watched(monkeypatch)
    monkeypatch.setattr(waiting, "_watcher", waiting.Watcher())

    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert waiting.interruptible("compiling", threading.current_thread) is threading.current_thread()
    with waiting.going_on("FFT planning"):
        pass
    assert waiting._watcher._going_on == []


@pytest.mark.parametrize("noted", [True, False])
def test_an_interrupt_while_it_begins(monkeypatch, noted):
    watched(monkeypatch)
    monkeypatch.setattr(waiting, "_watcher", watcher := waiting.Watcher())

    def begin(task):
        watcher._going_on.extend([task] * noted)
        raise KeyboardInterrupt

    monkeypatch.setattr(watcher, "begin", begin)
    with pytest.raises(KeyboardInterrupt), waiting.going_on("FFT planning"):
        pass
    assert watcher._going_on == []


def test_a_child_ends_what_began_before_the_fork(monkeypatch):
    watched(monkeypatch)
    monkeypatch.setattr(waiting, "_watcher", watcher := waiting.Watcher())
    with waiting.going_on("FFT planning"):
        waiting._begin_anew()  # as in a child
    assert watcher._going_on == waiting._watcher._going_on == []
