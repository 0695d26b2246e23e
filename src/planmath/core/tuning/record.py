"""The record of what was measured, kept on disk for the next process.

The record is one JSON file in the user's cache directory (``$PLANMATH_CACHE_DIR``, else ``$XDG_CACHE_HOME/planmath``,
else ``~/.cache/planmath``). An entry compares some providers on one problem and one machine, and counts for the plans
that may use no others, as long as these have the versions that were measured. Writers replace the file atomically
under a lock, so that processes do not lose each other's entries; a file that cannot be read is ignored with a warning
and replaced by the next writer.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from planmath.core import remembered
from planmath.core.cache_folder import in_cache_folder
from planmath.core.cuda import devices
from planmath.core.errors import warn
from planmath.core.execution import available_cpus
from planmath.core.log import format_seconds
from planmath.core.provider import Algorithm
from planmath.core.tuning import files
from planmath.core.tuning.files import DAMAGE
from planmath.report.pages import Report, Table

#: In 1, a problem had one entry; in 1 and 2, algorithms were measured alone.
FORMAT, READ = 3, (1, 2, 3)

Machines = dict[str, dict[str, tuple["Entry", ...]]]
"""The entries of each processor or device for each problem, the newest first."""


class Measurement(NamedTuple):
    """What one algorithm took, in seconds per execution."""

    algorithm: Algorithm
    warm: float
    """With the operands in the caches."""
    cold: float | None = None
    """With the caches filled by other data; None where the algorithm was already out of the race."""
    others: tuple[tuple[str, float], ...] = ()
    """In other situations, such as beside other libraries, by their names."""

    @property
    def seconds(self) -> dict[str, float]:
        """The times in all situations in which it was measured."""
        return {"warm": self.warm, **({} if self.cold is None else {"cold": self.cold}), **dict(self.others)}


class Entry(NamedTuple):
    """One problem's measurements, the best first."""

    problem: str
    measurements: tuple[Measurement, ...]
    versions: dict[str, str]
    """Of the providers that took part."""
    date: str
    missed: tuple[str, ...] = ()
    """The algorithms that had no turn, because the time was over or somebody interrupted."""


class TuningRecordWarning(UserWarning):
    """The tuning record could not be used; planning goes on without it."""


def path() -> Path:
    """The file that holds the record."""
    return in_cache_folder("tuning.json")


def wisdom_path() -> Path:
    """The file beside it that holds what planners have learned."""
    return path().with_name("wisdom.json")


@cache
def machine() -> str:
    """What identifies this machine in the record: processor model and number of CPUs."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("model name", "CPU part")):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {available_cpus()} CPUs"


def lookup(problem: str, versions: Mapping[str, str], where: str) -> Algorithm | None:
    """The best algorithm for a problem on a processor or device, where all that may be used were compared.

    Parameters
    ----------
    problem : str
    versions : mapping
        The providers that may be used, with the versions that they have now.
    where : str
        From `processors`.
    """
    for entry in entries(where).get(problem, ()):
        if versions.items() <= entry.versions.items():
            return next((m.algorithm for m in entry.measurements if m.algorithm.provider in versions), None)
    return None


def problems(noun: str, where: str) -> list[str]:
    """What was measured of operations of this name on a processor or device."""
    return [problem for problem in entries(where) if problem.startswith(noun)]


def store(entry: Entry, where: str) -> None:
    """Add an entry for a processor or device. Where the record cannot be written, a warning says so."""
    try:
        with files.locked(path().parent):
            machines = _read(path())
            _add(machines, entry, where)
            _write(machines, path())
    except OSError as error:
        warn(
            f"what autotuning measured is not kept for the next process: {error}; set PLANMATH_CACHE_DIR to a "
            "directory that can be written to, or use the option tuning=False",
            TuningRecordWarning,
        )


def _add(machines: Machines, entry: Entry, where: str) -> None:
    """Put an entry before the others of its problem, and in the place of those that compare no more than it does.

    One that is not whole does not come before a whole one that compares as much.
    """
    problems = machines.setdefault(where, {})
    if entry.missed and any(
        not e.missed and entry.versions.items() <= e.versions.items() for e in problems.get(entry.problem, ())
    ):
        return
    others = [e for e in problems.get(entry.problem, ()) if not e.versions.keys() <= entry.versions.keys()]
    problems[entry.problem] = (entry, *others)


def as_table(measurements: Iterable[Measurement]) -> Table:
    """What was measured, a row for each algorithm and a column for each situation."""
    rows = list(measurements)
    best = rows[0].warm
    named = list(dict.fromkeys(name for m in rows for name in m.seconds if name != "warm"))
    header = ["algorithm", "warm", "ratio", *(named or ["cold"])]
    return Table(header, [
        [str(m.algorithm), format_seconds(m.warm), f"{m.warm / best:.2f}x",
         *(format_seconds(m.seconds[name]) if name in m.seconds else "-" for name in header[3:])]
        for m in rows
    ], [m.warm for m in rows])  # fmt: skip


def show() -> Report:
    """The record for this machine's processor and devices as tables, as wide as the terminal.

    Examples
    --------
    >>> import planmath
    >>> print(planmath.tuning.show())  # doctest: +SKIP
    """
    parts: list[str | Table] = [str(path())]
    for where in processors():
        rows, times = [], []
        for problem, entry in [(p, e) for p, compared in sorted(entries(where).items()) for e in compared]:
            best = entry.measurements[0]
            worst = max(m.warm for m in entry.measurements)
            times.append(best.warm)
            rows.append(
                [problem, str(best.algorithm), format_seconds(best.warm), f"{worst / best.warm:.1f}x",
                 len(entry.measurements), entry.date]
            )  # fmt: skip
        if rows:
            header = ["problem", "best", "warm", "slowest", "measured", "date"]
            parts += [where, Table(header, rows, times, shorten=0)]
    if len(parts) == 1:
        return Report([f"The tuning record {path()} has no entries for this machine ({', '.join(processors())})."])
    return Report(parts)


def export(file: str | os.PathLike[str]) -> None:
    """Write the whole record, of every machine in it, to a file."""
    _write(_read(path()), Path(file))


def import_(file: str | os.PathLike[str]) -> int:
    """Merge a file written by `export` into the record; its entries win. Returns how many came in.

    Raises
    ------
    ValueError
        If the file is not a tuning record.
    """
    try:
        incoming = _parse(files.read(file))
    except DAMAGE as error:
        raise ValueError(
            f"{os.fspath(file)!r} is not a tuning record written by planmath.tuning.export: {error}"
        ) from None
    with files.locked(path().parent):
        machines = _read(path())
        added = [(name, e) for name, problems in incoming.items() for p in problems.values() for e in reversed(p)]
        for name, entry in added:
            _add(machines, entry, name)
        _write(machines, path())
    return len(added)


def clear() -> None:
    """Forget everything that was measured."""
    with files.locked(path().parent):
        path().unlink(missing_ok=True)
        wisdom_path().unlink(missing_ok=True)
    _forget()


def processors() -> list[str]:
    """What the record calls this machine's processor and CUDA devices."""
    found = [machine()]
    if devices.missing() is None:
        found += [devices.device(number).name for number in range(devices.count())]
    return list(dict.fromkeys(found))


_loaded: tuple[Any, Machines] | None = None


def entries(where: str) -> dict[str, tuple[Entry, ...]]:
    """The entries of a processor or device by their problems, read again when the file has changed."""
    global _loaded
    file = path()
    stamp = files.stamp(file)
    loaded = _loaded  # another thread may forget it at any time
    if loaded is None or loaded[0] != stamp:
        loaded = _loaded = (stamp, _read(file))
    return loaded[1].get(where, {})


def _forget() -> None:
    """Make the next plan look again, also for the operations that stateless calls remember."""
    global _loaded
    _loaded = None
    remembered.clear()


def _parse(content: Any) -> Machines:
    if content["format"] not in READ:
        raise ValueError(f"format {content['format']!r}, this version of planmath reads {FORMAT}")
    return {
        name: {
            # in format 1, a problem had one entry
            problem: tuple(_parse_entry(problem, e) for e in ([found] if content["format"] == 1 else found))
            for problem, found in problems.items()
        }
        for name, problems in content["machines"].items()
    }


def _parse_entry(problem: str, entry: Mapping[str, Any]) -> Entry:
    measurements, missed = _parse_measurements(entry["measurements"]), tuple(map(str, entry.get("missed", ())))
    return Entry(problem, measurements, dict(entry["versions"]), str(entry["date"]), missed)


def _parse_measurements(items: Iterable[Mapping[str, Any]]) -> tuple[Measurement, ...]:
    measurements = tuple(
        Measurement(
            Algorithm(str(m["provider"]), tuple((str(name), value) for name, value in m["knobs"])),
            float(m["warm"]),
            None if m["cold"] is None else float(m["cold"]),
            tuple((str(name), float(seconds)) for name, seconds in m.get("others", {}).items()),
        )
        for m in items
    )
    if not measurements or not all(0 < time < math.inf for m in measurements for time in m.seconds.values()):
        raise ValueError("an entry without a measurement, or with one that took no time, or forever")
    return measurements


def _read(file: Path) -> Machines:
    try:
        return _parse(files.read(file))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, *DAMAGE) as error:
        mend = (
            "remove it, or set PLANMATH_CACHE_DIR to another directory"
            if os.path.isdir(file) or isinstance(error, PermissionError)
            else "the next autotune replaces it, or remove it with planmath.tuning.clear()"
        )
        warn(
            f"the tuning record {file} cannot be read ({type(error).__name__}: {error}) and is ignored; {mend}",
            TuningRecordWarning,
        )
        return {}


def _write(machines: Machines, file: Path) -> None:
    content = {
        "format": FORMAT,
        "machines": {
            name: {problem: [_entry_as_json(entry) for entry in compared] for problem, compared in problems.items()}
            for name, problems in machines.items()
        },
    }
    files.write(content, file)
    _forget()


def _entry_as_json(entry: Entry) -> dict[str, Any]:
    measurements = [
        {
            "provider": m.algorithm.provider,
            "knobs": m.algorithm.knobs,
            "warm": m.warm,
            "cold": m.cold,
            "others": dict(m.others),
        }
        for m in entry.measurements
    ]
    return {
        "measurements": measurements, "versions": entry.versions, "date": entry.date, "missed": list(entry.missed),
    }  # fmt: skip


def today() -> str:
    return time.strftime("%Y-%m-%d")
