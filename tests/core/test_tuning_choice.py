"""What autotuning may take, whom it tells, and what it chooses: never what a program may regret."""

from __future__ import annotations

import io
import json
import logging
import sys
import types

import numpy as np
import pytest

import planmath
from planmath.core.provider import Algorithm
from planmath.core.tuning import budget, choosing, clocks, company, measuring, progress, record
from planmath.core.tuning.budget import Budget
from planmath.core.tuning.record import Measurement
from planmath.fft import FFT
from planmath.tensor import Contraction

pytestmark = pytest.mark.usefixtures("tuning_record", "nothing_remembered")

OPERAND = np.arange(24) * (1 + 1j)
SILENT = logging.getLogger("planmath.silent")


class Host:
    """A host's clock that runs only while something is measured, or waited for.

    What is run returns seconds, or a function of what ran before that returns them; anything else takes `each`.
    """

    of_device = False

    def __init__(self, each: float = 1e-3):
        self.each, self.elapsed, self.before = each, 0.0, None

    def now(self):
        return self.elapsed

    def sleep(self, seconds):
        self.elapsed += seconds
        self.before = None

    def time(self, run, calls):
        found = run()
        seconds = found if isinstance(found, float) else self.each
        self.elapsed += calls * seconds
        return seconds

    def time_cold(self, run):
        return self.time(run, 1)


class Device(Host):
    of_device = True


def candidates(**seconds):
    return [(Algorithm(name, (("threads", 2),)), lambda s=s: s, 0.0) for name, s in seconds.items()]


def names(algorithms):
    return [algorithm.provider for algorithm in algorithms]


# The budget.


def test_the_expected_candidate_has_its_turn_in_any_case():
    clock = Host()
    race = measuring.Race(
        candidates(usual=2e-3, fast=1e-3, slow=3e-3), iterations=3, logger=SILENT, clock=clock,
        budget=Budget(1e-3, clock.now),
    )  # fmt: skip
    race.run()
    assert names(m.algorithm for m in race.measured()[0]) == ["usual"]
    assert names(race.missed()) == ["fast", "slow"]


@pytest.mark.parametrize("seconds", [0.02, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("host", [Host, Device])
@pytest.mark.parametrize("company", [{}, {"numpy": lambda: 1e-3, "torch": lambda: 2e-3}], ids=["alone", "beside"])
def test_a_budget_is_kept(seconds, host, company):
    clock = host()
    fields = {f"way{i}": 1e-3 * (1 + i / 50) for i in range(12)}
    race = measuring.Race(
        candidates(**fields), iterations=10, logger=SILENT, clock=clock, budget=Budget(seconds, clock.now),
        company=company,
    )  # fmt: skip
    race.run()
    # what is measured once in any case: the best few, in each situation
    assert clock.elapsed < seconds + 0.3
    assert race.measured()[0][0].algorithm.provider == "way0"


@pytest.mark.parametrize(("run", "expected"), [(1e-6, 8.0), (0.1, 8.0), (1.0, 80.0)])
def test_what_runs_long_has_a_larger_budget(run, expected):
    usual, given = Budget(), Budget(3.0)
    usual.suit(run)
    given.suit(run)
    assert usual.seconds == expected
    assert given.seconds == 3.0


def test_planners_leave_something_for_the_next_ones():
    clock = Host()
    limits = []
    spent = Budget(8.0, clock.now)
    for _ in range(6):
        limits.append(spent.for_planner())
        clock.sleep(limits[-1])
    assert limits == [2.0, 1.0, 0.5, 0.25, 0.125, 0.0625]
    assert spent.left(budget.PREPARING) > 0
    with budget.planners(0.5):
        assert budget.for_planner() == 0.5
    assert budget.for_planner() == budget.TRIED


def slow_host(monkeypatch, each):
    """Let whatever autotuning measures take so long."""
    clock = Host(each)
    monkeypatch.setattr(FFT, "_clock", lambda self: clock)
    return clock


def test_report_and_record_name_who_had_no_turn(monkeypatch, tuning_record):
    clock = slow_host(monkeypatch, 2.0)
    with FFT(OPERAND) as transform:
        transform.plan()
        expected = transform._plan_made.chosen
        transform.autotune(seconds=1.0)
        report = transform.report()
        others = [str(a) for a in transform._plan_made.missed]
        np.testing.assert_allclose(transform.execute(), np.fft.fft(OPERAND))
    assert clock.elapsed < 10
    assert others
    assert f"chosen by autotuning: {expected}\n" in report
    assert f"without a turn, as the time was over: {', '.join(others)}" in report
    ((entry,),) = record.entries(record.machine()).values()
    assert list(entry.missed) == others
    assert entry.versions.keys() == {expected.provider}, "the others were not compared"


def store(provider, *, missed=(), **versions):
    measurement = Measurement(Algorithm(provider), 1.0)
    entry = record.Entry("a problem", (measurement,), versions, record.today(), missed)
    record.store(entry, record.machine())


def test_what_is_not_whole_does_not_hide_what_is():
    def best(**versions):
        found = record.lookup("a problem", versions, record.machine())
        return found and found.provider

    store("a", missed=("b",), a="1")
    assert best(a="1") == "a"
    store("b", a="1", b="1")
    store("a", missed=("b",), a="1", b="1")
    assert best(a="1", b="1") == "b"
    store("a", missed=("b",), a="2", b="1")
    assert [best(a="1", b="1"), best(a="2", b="1")] == [None, "a"]


@pytest.mark.parametrize("seconds", [0, -1.0, "8", True, float("nan"), float("inf")])
def test_wrong_seconds(seconds):
    with FFT(OPERAND) as transform:
        transform.plan()
        before = transform._plan_made
        with pytest.raises(ValueError, match=r"seconds is .*; expected a positive number"):
            transform.autotune(seconds=seconds)
        assert transform._plan_made is before


def operations():
    a = np.random.default_rng(0).random((6, 6)) + 6 * np.eye(6)
    yield FFT(OPERAND)
    yield planmath.linalg.advanced.Matmul(a, a)
    yield planmath.linalg.Matmul(a, a)
    yield planmath.tensor.BinaryContraction("ij,jk->ik", a, a)
    yield planmath.tensor.TernaryContraction("ij,jk,kl->il", a, a, a)
    yield Contraction("ij,jk,kl->il", a, a, a)
    from scipy.sparse import csr_array

    yield planmath.sparse.advanced.DirectSolver(csr_array(a), a[0].copy())


def test_every_operation_has_a_budget(monkeypatch):
    clock = Host(1.0)
    monkeypatch.setattr("planmath.core.operation.Operation._clock", lambda self: clock)
    monkeypatch.setattr("planmath.core.factorization.FactorizingOperation._clock", lambda self: clock)
    for operation in operations():
        clock.elapsed = 0.0
        with operation:
            operation.plan()
            operation.autotune(seconds=1e-3)
            # a step has one turn; those of a contraction follow each other
            assert clock.elapsed <= 2 * 16, operation.noun


# An interruption.


@pytest.mark.parametrize("call", range(1, 60, 3))
def test_an_interrupted_race_keeps_what_it_has(call):
    made = 0

    def run(seconds):
        nonlocal made
        made += 1
        if made == call:
            raise KeyboardInterrupt
        return seconds

    ways = [(Algorithm(n, (("threads", 2),)), lambda s=s: run(s), 0.0) for n, s in (("usual", 2e-3), ("fast", 1e-3))]
    race = measuring.Race(ways, iterations=2, logger=SILENT, clock=Host(), company={"numpy": lambda: 1e-3})
    with pytest.raises(KeyboardInterrupt):
        race.run()
    measured, admissible = race.measured()
    known = {m.algorithm.provider: m for m in measured}
    assert len(measured) + len(race.missed()) == 2
    if "fast" in known and known["fast"].seconds.keys() == known["usual"].seconds.keys():
        assert measured[0].algorithm.provider == "fast"
    elif measured:
        assert measured[0].algorithm.provider == "usual"
        assert admissible == 1


@pytest.mark.parametrize("phase", ["_look_at_all", "_race_warm", "_chill"])
def test_an_interrupted_operation_has_the_best_so_far(monkeypatch, phase):
    slow_host(monkeypatch, 1e-3)
    measure = getattr(measuring.Race, phase)

    def interrupted(race, *arguments):
        measure(race, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring.Race, phase, interrupted)
    with FFT(OPERAND) as transform:
        transform.plan()
        with pytest.raises(KeyboardInterrupt):
            transform.autotune()
        assert "chosen by autotuning" in transform.report()
        np.testing.assert_allclose(transform.execute(), np.fft.fft(OPERAND))
    assert "FFT " in planmath.tuning.show()


def test_an_interruption_before_anything_was_measured_changes_nothing(monkeypatch, tuning_record):
    def interrupted(race):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring.Race, "_look_at_all", interrupted)
    with FFT(OPERAND) as transform:
        transform.plan()
        before = transform._plan_made
        with pytest.raises(KeyboardInterrupt):
            transform.autotune()
        assert transform._plan_made is before
    assert not tuning_record.exists()


# What is shown meanwhile.


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(monkeypatch, stream, seconds, *, without=()):
    """What is written while so many seconds pass."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    for name in without:
        monkeypatch.setitem(sys.modules, name, None)
    clock = Host()
    with progress.shown("FFT", Budget(8.0, clock.now)) as shown:
        while clock.elapsed < seconds:
            shown.tell("fftw at first sight")
            clock.sleep(0.25)
    return stream.getvalue()


class FakeTqdm:
    made: list[FakeTqdm] = []  # noqa: RUF012

    def __init__(self, **arguments):
        self.arguments, self.closed, self.texts = arguments, False, []
        self.made.append(self)

    def set_postfix_str(self, text):
        self.texts.append((self.n, self.total, text))

    def close(self):
        self.closed = True


def test_progress_by_tqdm(monkeypatch):
    FakeTqdm.made.clear()
    package, auto = types.ModuleType("tqdm"), types.ModuleType("tqdm.auto")
    auto.tqdm = FakeTqdm
    monkeypatch.setitem(sys.modules, "tqdm", package)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    show(monkeypatch, Terminal(), 1.9)
    assert not FakeTqdm.made, "nobody wonders in the first seconds"
    show(monkeypatch, Terminal(), 3.0)
    (bar,) = FakeTqdm.made
    assert bar.closed
    assert bar.texts[0] == (2.0, 8.0, "fftw at first sight")
    assert bar.texts[-1][0] == 2.75


def test_progress_by_rich(monkeypatch):
    pytest.importorskip("rich")
    text = show(monkeypatch, Terminal(), 3.0, without=["tqdm", "tqdm.auto"])
    assert "FFT autotuning" in text
    assert "3 of at most 8 s" in text


def test_progress_without_packages(monkeypatch):
    without = ["tqdm", "tqdm.auto", "rich", "rich.console", "rich.progress"]
    text = show(monkeypatch, Terminal(), 3.0, without=without)
    assert "\rFFT autotuning: 2 of at most 8 s, fftw at first sight" in text
    assert text.endswith(" \r"), "the line is empty again"


def test_no_progress_where_nobody_sees_it(monkeypatch):
    assert show(monkeypatch, io.StringIO(), 9.0) == ""
    monkeypatch.setattr(sys, "stderr", None)
    with progress.shown("FFT", Budget()) as shown:
        shown.tell("nothing")


def test_progress_in_a_notebook(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    without = ["tqdm", "tqdm.auto", "rich", "rich.console", "rich.progress"]
    assert "at most 8 s" in show(monkeypatch, io.StringIO(), 3.0, without=without)


def test_progress_of_a_part_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.shown("Contraction", Budget()) as whole, progress.shown("step", Budget()) as part:
        assert part is whole
    with progress.shown("step", Budget()) as alone:
        assert alone is not whole


# The choice.


def measurement(name, warm, cold=None, **others):
    return Measurement(Algorithm(name), warm, cold, tuple(others.items()))


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([measurement("b", 0.9, 1.9, numpy=2.9)], "b"),
        ([measurement("b", 0.5, 1.0, numpy=3.1)], "a"),  # worse beside NumPy
        ([measurement("b", 0.5, 2.1, numpy=1.0)], "a"),
        ([measurement("b", 1.03, 1.0, numpy=1.0)], "a"),
        ([measurement("b", 1.015, 2.03, numpy=2.0)], "b"),  # 2 % are no difference
        ([measurement("b", 0.99, 1.99, numpy=2.99)], "a"),  # nor are they a reason
        ([measurement("b", 0.1, 0.1)], "a"),  # who knows
        ([measurement("b", 0.9, 1.9, numpy=2.9), measurement("c", 0.8, 2.0, numpy=2.0)], "c"),
        ([measurement("b", 0.9, 1.9, numpy=2.9), measurement("c", 0.1, 0.1, numpy=3.2)], "b"),
    ],
)
def test_nothing_is_chosen_that_may_be_regretted(others, chosen):
    ranked = choosing.never_worse([*others, measurement("a", 1.0, 2.0, numpy=3.0)], Algorithm("a"))
    assert ranked[0].algorithm.provider == chosen
    assert Algorithm("a") in [m.algorithm for m in ranked]


@pytest.mark.parametrize(
    ("other", "noise", "chosen"),
    [
        (measurement("b", 0.9, 1.9), {"warm": 1.01}, "b"),
        (measurement("b", 0.9, 2.0), {"warm": 1.2}, "a"),  # as much as one differs from itself
        (measurement("b", 0.8, 2.0), {"warm": 1.2}, "b"),
        (measurement("b", 0.9, 1.5), {"warm": 1.2}, "b"),  # the other situation is sure
        (measurement("b", 0.5, 2.03), {"cold": 1.01}, "b"),
        (measurement("b", 0.5, 2.03), {"cold": 1.1}, "a"),  # slower by 2 %, and maybe by more
    ],
)
def test_only_what_is_more_than_noise_is_a_reason(other, noise, chosen):
    usual = measurement("a", 1.0, 2.0)
    assert choosing.never_worse([other, usual], usual.algorithm, noise)[0].algorithm.provider == chosen


@pytest.mark.parametrize(("seconds", "chosen"), [(0.9, "usual"), (0.6, "other")])
def test_the_race_finds_out_how_much_is_noise(seconds, chosen):
    class Disturbed(Host):
        """On which the usual way takes a third longer in every second burst."""

        of_device, bursts = True, 0

        def time(self, run, calls):
            self.bursts += calls == measuring.BURST and run() == 1.0
            found = run() * (4 / 3 if run() == 1.0 and self.bursts % 2 else 1.0)
            self.elapsed += calls * 1e-5 * found
            return 1e-5 * found

        def time_cold(self, run):
            self.elapsed += 1e-5
            return 1e-5

    ways = [(Algorithm("usual"), lambda: 1.0, 0.0), (Algorithm("other"), lambda: seconds, 0.0)]
    race = measuring.Race(ways, iterations=3, logger=SILENT, clock=Disturbed())
    race.run()
    measured, _ = race.measured()
    assert race._noise["warm"] == pytest.approx(4 / 3)
    assert measured[0].algorithm.provider == chosen


def test_half_a_microsecond_of_one_execution_is_no_difference():
    usual = measurement("a", 1e-6, 5.0e-6)
    for cold, chosen in ((5.4e-6, "b"), (5.6e-6, "a")):
        ranked = choosing.never_worse([usual, measurement("b", 0.9e-6, cold)], usual.algorithm)
        assert ranked[0].algorithm.provider == chosen


class Pools:
    """Two ways, alone and beside a neighbour: one meets the threads that the neighbour left, or is met by it."""

    def __init__(self, meets: float, leaves: float):
        self.last, self.meets, self.leaves = "", meets, leaves

    def usual(self):
        self.last = "usual"
        return 2e-3

    def fast(self):
        seconds = 1e-3 + (self.meets if self.last == "neighbour" else 0.0)
        self.last = "fast"
        return seconds

    def neighbour(self):
        seconds = 1e-3 + (self.leaves if self.last == "fast" else 0.0)
        self.last = "neighbour"
        return seconds


class Beside(Host):
    """A clock that asks the neighbour itself how long it took."""

    def __init__(self, pools):
        super().__init__()
        self.pools = pools

    def time(self, run, calls):
        last = self.pools.last
        found = run()
        if found is True:  # the neighbour
            self.pools.last = last
            found = self.pools.neighbour()
        self.elapsed += calls * found
        return found


@pytest.mark.parametrize(
    ("meets", "leaves", "chosen"),
    [(0.0, 0.0, "fast"), (3e-3, 0.0, "usual"), (0.0, 3e-3, "usual"), (5e-4, 4e-4, "fast")],
)
def test_the_company_of_other_libraries_counts(meets, leaves, chosen):
    pools = Pools(meets, leaves)
    ways = [(Algorithm(n, (("threads", 2),)), getattr(pools, n), 0.0) for n in ("usual", "fast")]
    race = measuring.Race(
        ways, iterations=2, logger=SILENT, clock=Beside(pools), company={"numpy": pools.neighbour}
    )  # fmt: skip
    race.run()
    measured, _ = race.measured()
    assert measured[0].algorithm.provider == chosen
    seconds = {m.algorithm.provider: m.seconds["beside numpy"] for m in measured}
    assert seconds == pytest.approx({"usual": 2e-3, "fast": 1e-3 + meets + leaves})


@pytest.mark.parametrize(("threads", "seconds"), [(1, 1.0), (2, 1e-2)])
def test_who_has_one_thread_or_no_time_meets_nobody(threads, seconds):
    times = {"a": 1e-3 * seconds, "b": 2e-3 * seconds}
    ways = [(Algorithm(name, (("threads", threads),)), lambda s=s: s, 0.0) for name, s in times.items()]
    race = measuring.Race(ways, iterations=2, logger=SILENT, clock=Host(), company={"numpy": lambda: 1e-3})
    race.run()
    assert all("beside numpy" not in m.seconds for m in race.measured()[0])


class InBursts(Device):
    """A device on which kernels take other times in bursts, with flushed caches, and for long."""

    def time(self, run, calls):
        burst, _, sustained, *_ = run()
        seconds = burst if calls == measuring.BURST else sustained
        self.elapsed += calls * seconds
        return seconds

    def time_cold(self, run):
        self.elapsed += run()[1]
        return run()[1]


@pytest.mark.parametrize("scale", [1e-3, 1e-5], ids=["long", "short"])
@pytest.mark.parametrize(
    ("other", "chosen"),
    [((0.9, 0.9, 0.9), "other"), ((1.2, 0.8, 0.8), "usual"), ((0.8, 1.2, 0.8), "usual"), ((0.97, 1.01, 1.0), "other")],
)
def test_a_device_is_measured_in_bursts_flushed_and_for_long(scale, other, chosen):
    times = {"usual": (1.0, 1.0, 1.0), "other": other}
    ways = [(Algorithm(n), lambda t=t: tuple(scale * x for x in t), 0.0) for n, t in times.items()]
    race = measuring.Race(ways, iterations=3, logger=SILENT, clock=InBursts())
    race.run()
    measured, _ = race.measured()
    assert measured[0].algorithm.provider == chosen
    situations = {"warm", "cold", "sustained"} if scale == 1e-3 else {"warm", "cold"}
    assert all(m.seconds.keys() == situations for m in measured)


@pytest.mark.parametrize("scale", [1e-3, 1e-5], ids=["long", "short"])
def test_flushed_caches_are_those_of_a_device_that_was_idle(scale):
    """What is the fastest with flushed caches in a loop that never ends need not be after a pause."""

    class Idle(InBursts):
        paused = False

        def sleep(self, seconds):
            super().sleep(seconds)
            self.paused = True

        def time_cold(self, run):
            return super().time_cold(run) * (run()[3] if self.paused else 1.0)

    times = {"usual": (1.0, 1.0, 1.0, 1.0), "other": (0.9, 0.8, 0.9, 1.5)}
    ways = [(Algorithm(n), lambda t=t: tuple(scale * x for x in t[:3]) + t[3:], 0.0) for n, t in times.items()]
    race = measuring.Race(ways, iterations=3, logger=SILENT, clock=Idle())
    race.run()
    measured, _ = race.measured()
    assert measured[0].algorithm.provider == "usual"


def test_neighbours_are_what_is_loaded(monkeypatch):
    monkeypatch.setattr(company, "available_cpus", lambda: 2)
    for name in ("torch", "mkl_fft"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert list(company.neighbours()) == ["numpy"]
    company.neighbours()["numpy"]()
    mkl_fft = types.ModuleType("mkl_fft")
    mkl_fft.fft = lambda x: x
    monkeypatch.setitem(sys.modules, "mkl_fft", mkl_fft)
    assert list(company.neighbours()) == ["numpy", "mkl_fft"]
    company.neighbours()["mkl_fft"]()
    monkeypatch.setattr(company, "available_cpus", lambda: 1)
    assert company.neighbours() == {}


def test_the_record_keeps_all_times_and_the_report_shows_them(monkeypatch, tuning_record):
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)

    def visited(race, finalists):
        race._elsewhere["beside numpy"] = {algorithm: 0.25 for algorithm, _, _ in finalists}

    monkeypatch.setattr(measuring.Race, "_visit", visited)
    with FFT(OPERAND) as transform:
        transform.plan()
        transform.autotune(iterations=1)
        header, *rows = transform.report().splitlines()[2:]
    assert header.split("  ")[-1].strip() == "beside numpy"
    assert any(row.endswith("250 ms") for row in rows)
    content = json.loads(tuning_record.read_text())
    assert content["format"] == 3
    ((entry,),) = content["machines"][record.machine()].values()
    assert entry["measurements"][0]["others"] == {"beside numpy": 0.25}
    ((found,),) = record.entries(record.machine()).values()
    assert found.measurements[0].seconds["beside numpy"] == 0.25


def test_record_of_the_second_format_is_read(tuning_record):
    store("a", a="1")
    content = json.loads(tuning_record.read_text())
    ((entry,),) = content["machines"][record.machine()].values()
    del entry["missed"], entry["measurements"][0]["others"]
    tuning_record.write_text(json.dumps(content | {"format": 2}))
    assert record.lookup("a problem", {"a": "1"}, record.machine()) == Algorithm("a")
