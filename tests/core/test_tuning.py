"""The record of what autotuning measured: written, found again, shown, moved, cleared, and never in the way."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import random
import stat
import subprocess
import sys
import time
import warnings
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import planmath
from planmath.core.errors import UnavailableError
from planmath.core.provider import Algorithm
from planmath.core.tuning import choosing, clocks, files, measuring, record
from planmath.fft import FFT, fft
from planmath.fft.providers import PROVIDERS
from planmath.tuning import TuningRecordWarning
from tests.processes import run_python

pytestmark = pytest.mark.usefixtures("tuning_record", "nothing_remembered")

OPERAND = np.arange(24) * (1 + 1j)
POCKETFFT = next(provider for provider in PROVIDERS if provider.name == "pocketfft")


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch):
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)
    monkeypatch.setattr(measuring, "SHORTEST", 1e-5)


@pytest.fixture
def pocketfft_wins(monkeypatch):
    """Let the measurement prefer what no heuristic chooses, so that a choice shows where it came from."""
    measured = measuring.Race.measured

    def rigged(race):
        found, _ = measured(race)
        best = [m._replace(warm=1e-9) for m in found if m.algorithm.provider == "pocketfft"]
        return best + [m for m in found if m.algorithm.provider != "pocketfft"], len(best)

    monkeypatch.setattr(measuring.Race, "measured", rigged)


def tune(operand=OPERAND, **options):
    with FFT(operand, options=options) as transform:
        transform.plan()
        transform.autotune(iterations=1)
        return transform.report()


def plan(operand=OPERAND, direction=None, **options):
    with FFT(operand, options=options) as transform:
        transform.plan(direction=direction)
        return transform.report()


BY_HEURISTIC, BY_RECORD = "chosen by the heuristic", "chosen by the tuning record: pocketfft(threads=1)"


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((0.010, 0.009, 0.030), "mkl"),
        ((0.010, 0.002, 0.030), "mkl"),  # OpenBLAS's threads would take more than that from others
        ((0.300, 0.200, 0.400), "blas"),
        ((0.010, 0.009, 0.011), "own"),
        ((0.010, 0.009, 0.008), "own"),
        ((0.009, 0.009, 0.011), "own"),
        ((0.010, 0.030, 0.040), "mkl"),
        ((1.000, 1.100, 1.300), "mkl"),  # whose threads take less than that from others
        ((1.000, 1.100, 1.150), "own"),
    ],
)
def test_threads_are_left_behind_where_that_is_worth_it(seconds, chosen):
    """Those of a library that look for work after a call are in the way of others, and of planmath's own."""
    mkl, blas = (Algorithm("gemm", (("product", name), ("threads", 2))) for name in ("mkl", "blas"))
    own = Algorithm("gemm", (("threads", 2),))
    candidates = [(mkl, print, 0.2), (blas, print, 0.03), (own, print, 0.0)]
    measured = [
        record.Measurement(algorithm, time) for (algorithm, _, _), time in zip(candidates, seconds, strict=True)
    ]
    measured.sort(key=lambda m: m.warm)
    ranked = choosing.prefer_quiet(measured, candidates, ("gemm", "mkl"))
    assert ranked[0].algorithm == {"mkl": mkl, "blas": blas, "own": own}[chosen]
    assert sorted(ranked, key=lambda m: m.warm) == measured


def measure(candidates, **arguments):
    """What a race finds out, the best first."""
    race = measuring.Race(candidates, logger=logging.getLogger("planmath.silent"), **arguments)
    race.run()
    return race.measured()[0]


def test_autotune_measures_every_algorithm():
    with FFT(OPERAND) as transform:
        transform.plan()
        transform.autotune(iterations=2)
        report = transform.report()
        problem = transform.get_key()
        fitting = [p for p in PROVIDERS if p.unavailable() is None and p.unsupported(problem) is None]
        offered = [algorithm for provider in fitting for algorithm in provider.algorithms(problem)]
        np.testing.assert_allclose(transform.execute(), np.fft.fft(OPERAND))
    assert "chosen by autotuning" in report
    for algorithm in offered:
        assert f"\n{algorithm} " in report


def test_measured_with_the_best_first():
    """A candidate that is slower beyond doubt is measured once, pruned, and ends last."""
    naps = {Algorithm("c"): 1e-3, Algorithm("a"): 3e-3, Algorithm("b"): 1e-4}
    runs: dict[Algorithm, int] = dict.fromkeys(naps, 0)

    def run(algorithm):
        runs[algorithm] += 1
        time.sleep(naps[algorithm])
        return algorithm

    candidates = [(algorithm, lambda a=algorithm: run(a), 0.0) for algorithm in naps]
    measured = measure(candidates, iterations=20)
    assert [m.algorithm.provider for m in measured] == ["b", "c", "a"]
    assert runs[Algorithm("b")] > 2 * runs[Algorithm("a")]
    assert all(m.warm >= naps[m.algorithm] for m in measured)
    assert [m.cold is not None for m in measured] == [True, True, False]


def test_threads_that_look_for_work_are_waited_for():
    """Whatever does not use them is measured once they sleep, also where it uses the same library."""
    lingers = 0.02
    left: dict[str, float] = {}

    def run(name):
        assert all(time.perf_counter() - ended >= lingers for other, ended in left.items() if other != name)
        time.sleep(1e-3)
        if name.startswith("product"):
            left[name] = time.perf_counter()
        return name

    names = ("product of mkl", "blocks of mkl", "product of blas", "blocks of blas")
    candidates = [
        (Algorithm("gemm", (("product", name[-4:]), ("threads", 2), ("share", name[:7]))), partial(run, name), x)
        for name, x in zip(names, (lingers, 0.0) * 2, strict=True)
    ]
    measured = measure(candidates, iterations=4)
    assert len(measured) == len(names)


class SlowHost:
    """A host's clock that runs only while something is measured, or waited for; what is run says how long it takes."""

    of_device = False

    def __init__(self):
        self.elapsed = 0.0

    def now(self):
        return self.elapsed

    def sleep(self, seconds):
        self.elapsed += seconds

    def seconds_of(self, ran):
        return ran

    def time(self, run, calls):
        seconds = self.seconds_of(run())
        self.elapsed += calls * seconds
        return seconds

    def time_cold(self, run):
        return self.time(run, 1)


class SharedHost(SlowHost):
    """The clock of a host whose other users make everything take up to a fifth longer; one candidate meets some quiet
    moments."""

    def __init__(self):
        super().__init__()
        self.random = random.Random(0)

    def seconds_of(self, ran):
        name, seconds = ran
        quiet = name == "lucky" and self.random.random() < 0.1
        return seconds * (1.0 if quiet else self.random.uniform(1.15, 1.2))


@pytest.mark.parametrize("scale", [1, 100], ids=["short", "long"])
def test_one_quiet_moment_does_not_make_a_candidate_the_best(scale):
    seconds = {"lucky": 1.05e-3 * scale, "best": 1.00e-3 * scale, "other": 1.3e-3 * scale}
    candidates = [(Algorithm(name), lambda name=name: (name, seconds[name]), 0.0) for name in seconds]
    measured = measure(candidates, iterations=4, clock=SharedHost())
    assert [m.algorithm.provider for m in measured] == ["best", "lucky", "other"]


class DeviceAtItsPower(SlowHost):
    """The clock of a device whose kernels run long; what is run says how long, and each takes less time as long as the
    device is cool, or behind one that draws less power."""

    of_device = True

    def __init__(self):
        super().__init__()
        self.turns = Counter()
        self.last, self.before = "", ""

    def time(self, run, calls):
        name, sustained = run()
        if name != self.last:
            self.last, self.before = name, self.last
        self.turns[name] += calls == math.ceil(measuring.SUSTAINED / sustained)
        cool = name == "lucky" and self.turns[name] in (1, 2)  # an untimed turn, and a timed one
        return sustained * (0.96 if cool or self.before == "frugal" else 1.0)

    def time_cold(self, run):
        return run()[1]


def rank(seconds):
    """What autotuning makes of kernels that take so many seconds: their names, the best first, and their turns."""
    candidates = [(Algorithm(name), lambda name=name: (name, seconds[name]), 0.0) for name in seconds]
    clock = DeviceAtItsPower()
    measured = measure(candidates, iterations=3, clock=clock)
    return [m.algorithm.provider for m in measured], {name: turns // 2 for name, turns in clock.turns.items()}


def test_kernels_that_run_long_are_ranked_by_what_they_reach_for_long():
    seconds = {"close": 1.025e-3, "behind": 1.3e-3, "near": 1.06e-3, "lucky": 1.02e-3, "best": 1.00e-3}
    ranked, turns = rank(seconds)
    assert ranked == ["best", "close", "lucky", "near", "behind"], "the first one was expected"
    assert turns == {"best": 9, "lucky": 9, "close": 9, "near": 3, "behind": 1}


def test_kernels_that_run_long_are_not_ranked_by_what_runs_before_them():
    """With turns in one order, the one behind the frugal kernel would always meet the clock rates that this leaves."""
    seconds = {"best": 1.00e-3, "frugal": 1.04e-3, "behind it": 1.02e-3, "near": 1.03e-3, "far": 1.035e-3}
    ranked, _ = rank(seconds)
    assert ranked[0] == "best"


def test_prune_keeps_the_fastest():
    with FFT(OPERAND) as transform:
        transform.plan()
        transform.autotune(iterations=1, prune=1)
        assert len(transform._plan_made.algorithms) == 1


def test_next_plan_uses_the_record(pocketfft_wins):
    assert BY_HEURISTIC in plan()
    tune()
    assert BY_RECORD in plan()


@pytest.mark.parametrize("direction", [None, "forward", "inverse"])
def test_one_entry_serves_both_directions(pocketfft_wins, direction):
    tune()
    assert BY_RECORD in plan(direction=direction)


@pytest.mark.parametrize(
    "other",
    [OPERAND[:23], OPERAND.astype("c8"), OPERAND.real.copy(), OPERAND.reshape(4, 6), np.repeat(OPERAND, 2)[::2]],
    ids=["shape", "dtype", "kind", "dimensions", "strides"],
)
def test_another_problem_has_its_own_entry(pocketfft_wins, other):
    tune()
    assert BY_HEURISTIC in plan(other)


def test_stateless_call_uses_the_record(pocketfft_wins, caplog):
    fft(OPERAND)
    tune()
    with caplog.at_level(logging.INFO, "planmath"):
        fft(OPERAND)
    assert "Chosen by the tuning record: pocketfft(threads=1)." in caplog.text


def test_remembered_plan_of_a_stateless_call_gives_way_to_the_record(pocketfft_wins):
    from planmath.core import remembered

    fft(OPERAND)
    assert remembered._idle
    tune()
    assert not remembered._idle


def test_next_process_uses_the_record(pocketfft_wins):
    tune()
    program = f"""
        import numpy as np, planmath
        with planmath.fft.FFT(np.ones({OPERAND.size}, complex)) as transform:
            transform.plan()
            print(transform.report())
    """
    assert BY_RECORD in run_python(program)


def test_tuning_switched_off_neither_writes_nor_reads(pocketfft_wins, tuning_record):
    tune(tuning=False)
    assert not tuning_record.exists()
    tune()
    assert BY_HEURISTIC in plan(tuning=False)


def test_named_provider_is_not_overruled(pocketfft_wins):
    tune()
    for provider in PROVIDERS:
        if provider.name in ("mkl", "nvpl", "fftw", "pocketfft") and not provider.unavailable():
            assert f"chosen by the tuning record: {provider.name}(" in plan(provider=provider.name)


def test_what_was_measured_of_a_named_provider_counts_for_it_alone(pocketfft_wins):
    tune(provider="pocketfft")
    assert BY_RECORD in plan(provider="pocketfft")
    assert BY_HEURISTIC in plan(), "the measurement of one provider says nothing about the others"
    tune()
    tune(provider="pocketfft")
    assert BY_RECORD in plan()
    assert BY_RECORD in plan(provider="pocketfft")


def test_the_newest_entry_that_compares_all_that_may_be_used_counts():
    def store(*measured, **versions):
        measurements = tuple(record.Measurement(Algorithm(name), 1.0) for name in measured)
        record.store(record.Entry("a problem", measurements, versions, record.today()), record.machine())

    def best(**versions):
        found = record.lookup("a problem", versions, record.machine())
        return found and found.provider

    store("b", "a", a="1", b="1", c="1")  # c could not be prepared
    assert [best(a="1", b="1", c="1"), best(a="1"), best(a="1", c="1"), best(c="1")] == ["b", "a", "a", None]
    assert [best(a="1", b="2"), best(a="1", d="1")] == [None, None]
    store("a", a="2")
    assert [best(a="1"), best(a="2"), best(a="1", b="1")] == ["a", "a", "b"]
    store("a", "b", a="2", b="2")
    assert [best(a="2", b="2"), best(b="2"), best(a="1", b="1")] == ["a", "b", "b"]
    assert len(record.entries(record.machine())["a problem"]) == 2, "what another one compares too is gone"


def test_record_of_the_first_format_is_read(tuning_record):
    tune(provider="pocketfft")
    content = json.loads(tuning_record.read_text())
    problems = content["machines"][record.machine()]
    content |= {"format": 1, "machines": {record.machine(): {name: entry for name, (entry,) in problems.items()}}}
    tuning_record.write_text(json.dumps(content))
    assert BY_RECORD in plan(provider="pocketfft")


def test_entry_counts_only_for_the_versions_it_was_measured_with(pocketfft_wins, monkeypatch):
    tune()
    monkeypatch.setattr(POCKETFFT, "version", lambda: "another")
    assert BY_HEURISTIC in plan()
    monkeypatch.undo()
    assert "pocketfft" in plan()


def test_entry_counts_while_fewer_libraries_are_there(pocketfft_wins, monkeypatch):
    tune()
    monkeypatch.setattr(POCKETFFT, "unavailable", lambda: "taken away")
    if all(p.unavailable() for p in PROVIDERS):
        with pytest.raises(UnavailableError, match="taken away"):
            plan()
    else:
        assert "chosen by the tuning record: " in plan()
        assert "pocketfft(" not in plan().partition("chosen by")[2].partition("\n")[0]


def test_entry_counts_only_on_its_machine(pocketfft_wins, monkeypatch):
    tune()
    monkeypatch.setattr(record, "machine", lambda: "another machine")
    record._forget()
    assert BY_HEURISTIC in plan()
    assert "no entries for this machine (another machine" in planmath.tuning.show()


def test_entry_of_an_algorithm_that_is_gone(pocketfft_wins, tuning_record):
    tune()
    tuning_record.write_text(tuning_record.read_text().replace('"threads"', '"fibers"'))
    assert BY_HEURISTIC in plan()


def entry_text(**changes):
    """A record of one entry for this machine, with some of its parts replaced."""
    measurement = {"provider": "pocketfft", "knobs": [["threads", 1]], "warm": 1e-6, "cold": None}
    entry = {"measurements": [measurement], "versions": {}, "date": "2000-01-01"} | changes
    return json.dumps({"format": record.FORMAT, "machines": {record.machine(): {"a problem": [entry]}}})


DAMAGE = {
    "nothing": "",
    "cut short": entry_text()[:-9],
    "no JSON": "measured: fast\n",
    "no text": b"\xff\xfe\x00",
    "a list": "[]",
    "a number": "3",
    "another format": entry_text().replace(f'"format": {record.FORMAT}', '"format": 99'),
    "no machines": json.dumps({"format": record.FORMAT}),
    "machines as a list": json.dumps({"format": record.FORMAT, "machines": []}),
    "problems as a list": json.dumps({"format": record.FORMAT, "machines": {"m": []}}),
    "no measurements": entry_text(measurements=[]),
    "a measurement that is none": entry_text(measurements=[3]),
    "no time": entry_text(measurements=[{"provider": "mkl", "knobs": [], "warm": 0.0, "cold": None}]),
    "time in words": entry_text(measurements=[{"provider": "mkl", "knobs": [], "warm": "long", "cold": None}]),
    "no time that is a number": entry_text().replace("1e-06", "NaN"),
    "time beyond numbers": entry_text().replace("1e-06", "1" + 400 * "0"),
    "nested deeply": 200_000 * "[",
    "an empty knob": entry_text(measurements=[{"provider": "mkl", "knobs": [[]], "warm": 1.0, "cold": None}]),
    "larger than any record": entry_text() + " " * 3000,
    "knobs of one": entry_text(measurements=[{"provider": "mkl", "knobs": [1], "warm": 1.0, "cold": None}]),
    "versions as a number": entry_text(versions=1),
}


@pytest.fixture
def _small_records(monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 2500)


@pytest.mark.usefixtures("_small_records")
@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_record_is_ignored_with_a_warning_and_then_replaced(what, tuning_record):
    content = DAMAGE[what]
    tuning_record.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.warns(TuningRecordWarning, match=r"tuning.json cannot be read .* is ignored"):
        assert BY_HEURISTIC in plan()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert BY_HEURISTIC in plan(), "one warning is enough"
    with pytest.warns(TuningRecordWarning):
        tune()
    assert "chosen by the tuning record" in plan()


@pytest.mark.usefixtures("_small_records")
@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_file_is_not_imported(what, tmp_path, tuning_record):
    file = tmp_path / "foreign.json"
    content = DAMAGE[what]
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"foreign.json' is not a tuning record"):
        planmath.tuning.import_(file)
    assert not tuning_record.exists()


def forbidden(file):
    """Let nobody read a file; root may read all, so that modes alone do not show it."""
    file.touch(mode=0)
    opened = os.open

    def refuse(path, *arguments, **keywords):
        if os.fspath(path) == str(file):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return opened(path, *arguments, **keywords)

    files.os = SimpleNamespace(**vars(os) | {"open": refuse})


IN_ITS_PLACE = {"fifo": os.mkfifo, "directory": os.mkdir, "no permission": forbidden}


@pytest.fixture(params=IN_ITS_PLACE)
def obstruct(request, monkeypatch):
    """Puts something else in a file's place."""
    monkeypatch.setattr(files, "os", os)  # and gives it back
    return IN_ITS_PLACE[request.param]


def test_what_lies_in_the_records_place_is_ignored_with_a_warning(obstruct, tuning_record):
    obstruct(tuning_record)
    with pytest.warns(TuningRecordWarning, match=r"tuning.json cannot be read .* is ignored"):
        assert BY_HEURISTIC in plan()
    with pytest.warns(TuningRecordWarning):
        assert "chosen by autotuning" in tune()
    if tuning_record.is_dir():
        with pytest.raises(OSError, match=r"tuning.json"):
            planmath.tuning.clear()
        tuning_record.rmdir()
        tune()
    if files.os is os:
        assert "chosen by the tuning record" in plan()


def test_what_lies_in_the_locks_place_does_not_stop_autotuning(obstruct, tuning_record):
    lock = tuning_record.with_name("tuning.lock")
    obstruct(lock)
    if stat.S_ISFIFO(lock.stat().st_mode):  # as good a lock as a file
        tune()
        assert tuning_record.exists()
        return
    with pytest.warns(TuningRecordWarning, match=r"not kept for the next process: .*tuning.lock"):
        assert "chosen by autotuning" in tune()
    assert not tuning_record.exists()


def test_what_is_no_file_is_not_imported(obstruct, tmp_path, tuning_record):
    obstruct(tmp_path / "foreign.json")
    with pytest.raises(OSError, match=r"foreign.json"):
        planmath.tuning.import_(tmp_path / "foreign.json")
    assert not tuning_record.exists()


def test_lock_that_is_not_given_back_is_not_waited_for(tuning_record, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with files.locked(tuning_record.parent):
        with pytest.warns(TuningRecordWarning, match=r"not kept for the next process: another process has held"):
            assert "chosen by autotuning" in tune()
        with pytest.raises(TimeoutError, match=r"tuning\.lock"):
            planmath.tuning.clear()
    tune()
    assert tuning_record.exists()


def test_undamaged_record_is_what_the_damaged_ones_were_made_from(tuning_record):
    tuning_record.write_text(entry_text())
    assert "a problem" in planmath.tuning.show()


def test_record_that_cannot_be_written_does_not_stop_autotuning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.warns(TuningRecordWarning, match="not kept for the next process: .*PLANMATH_CACHE_DIR"):
        report = tune()
    assert "chosen by autotuning" in report


def test_show(pocketfft_wins, tuning_record):
    assert str(tuning_record) in planmath.tuning.show()
    assert "no entries" in planmath.tuning.show()
    tune()
    shown = planmath.tuning.show()
    assert str(tuning_record) in shown
    assert record.machine() in shown
    (row,) = [line for line in shown.splitlines() if line.startswith("FFT ")]
    assert "shape=(24,)" in row
    assert "pocketfft(threads=1)" in row
    assert "1 ns" in row


def test_clear(pocketfft_wins, tuning_record):
    planmath.tuning.clear()
    tune()
    planmath.tuning.clear()
    assert not tuning_record.exists()
    assert BY_HEURISTIC in plan()


def test_export_and_import(pocketfft_wins, tmp_path):
    tune()
    planmath.tuning.export(tmp_path / "exported.json")
    planmath.tuning.clear()
    tune(OPERAND[:5])
    assert BY_HEURISTIC in plan()
    assert planmath.tuning.import_(tmp_path / "exported.json") == 1
    assert BY_RECORD in plan()
    assert BY_RECORD in plan(OPERAND[:5]), "what was there before stays"


def test_imported_entries_win(tmp_path):
    def store(provider):
        measurement = record.Measurement(Algorithm(provider), 1.0, None)
        record.store(record.Entry("a problem", (measurement,), versions, record.today()), record.machine())

    versions = {"first": "1", "second": "1"}
    store("first")
    planmath.tuning.export(tmp_path / "exported.json")
    store("second")
    assert record.lookup("a problem", versions, record.machine()) == Algorithm("second")
    planmath.tuning.import_(tmp_path / "exported.json")
    assert record.lookup("a problem", versions, record.machine()) == Algorithm("first")


def test_where_the_record_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path / "own"))
    assert record.path() == tmp_path / "own" / "tuning.json"
    monkeypatch.delenv("PLANMATH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert record.path() == tmp_path / "cache" / "planmath" / "tuning.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert record.path() == tmp_path / ".cache" / "planmath" / "tuning.json"


def test_processes_that_write_at_once_lose_nothing(tuning_record):
    program = (
        "import sys\n"
        "from planmath.core.tuning import record\n"
        "from planmath.core.provider import Algorithm\n"
        "sys.stdin.readline()\n"
        "for i in range(15):\n"
        "    measurement = record.Measurement(Algorithm('pocketfft'), 1.0, None)\n"
        "    record.store(record.Entry(f'{sys.argv[1]} {i}', (measurement,), {}, record.today()), record.machine())\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(n)], stdin=subprocess.PIPE, env=os.environ, text=True)
        for n in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 4
    stored = json.loads(tuning_record.read_text())["machines"][record.machine()]
    assert set(stored) == {f"{n} {i}" for n in range(4) for i in range(15)}
    assert sorted(file.name for file in tuning_record.parent.iterdir()) == ["tuning.json", "tuning.lock"]
