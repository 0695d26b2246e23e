"""What a row has to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.contender import Contender


@dataclass(frozen=True)
class Verdict:
    """One target of one row: who was compared with whom, and whether the target was met."""

    ours: str
    against: str
    ratio: str
    target: str
    met: bool


# Judges the figures of a row, given its contenders by label; None where there is nothing to judge.
Target = Callable[[Mapping[str, float], Mapping[str, Contender]], Verdict | None]


@dataclass
class Outcome:
    """One row of the benchmark: a figure for each contender, and what they were computed from."""

    name: str
    unit: str
    figures: dict[str, float] = field(default_factory=dict)
    raw: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    unjudged: int = 0  # targets whose contenders could not be measured: they count as missed

    def figures_of(self, library: str) -> list[float]:
        return [figure for label, figure in self.figures.items() if label.partition(" ")[0] == library]

    def judge(self, targets: Sequence[Target], contenders: Mapping[str, Contender]) -> None:
        self.verdicts = [verdict for target in targets if (verdict := target(self.figures, contenders))]
        self.unjudged = len(targets) - len(self.verdicts)


def faster(factor: float, ours: str, than: str) -> Target:
    """`ours` is to be at least `factor` times as fast as `than`."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        if ours not in figures or than not in figures:
            return None
        ratio = figures[than] / figures[ours]
        return Verdict(ours, than, f"{ratio:.3g}x", f"at least {factor:g}x as fast", ratio >= factor)

    return judge


def at_most(factor: float, ours: str, of: str) -> Target:
    """`ours` is to take at most `factor` times what `of` takes."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        if ours not in figures or of not in figures:
            return None
        return _time_ratio(figures, ours, of, factor)

    return judge


def at_most_more(seconds: float, ours: str, than: str) -> Target:
    """`ours` is to take at most so many seconds more than `than`."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        if ours not in figures or than not in figures:
            return None
        more = figures[ours] - figures[than]
        return Verdict(ours, than, f"{more * 1e6:+.2f} µs", f"at most {seconds * 1e6:g} µs more", more <= seconds)

    return judge


def within(seconds: float, ours: str) -> Target:
    """`ours` is to take at most so many seconds."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        if ours not in figures:
            return None
        took, met = figures[ours], figures[ours] <= seconds
        return Verdict(ours, "", f"{took * 1e6:.2f} µs", f"at most {seconds * 1e6:g} µs", met)

    return judge


def at_most_and(factor: float, seconds: float, ours: str, of: str) -> Target:
    """`ours` is to take at most `factor` times what `of` takes, and this many seconds on top."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        if ours not in figures or of not in figures:
            return None
        ratio, met = figures[ours] / figures[of], figures[ours] <= factor * figures[of] + seconds
        return Verdict(ours, of, f"{ratio:.3f}", f"at most {factor:g} of its time + {seconds * 1e6:g} µs", met)

    return judge


def at_most_of_the_best(factor: float, form: str = "") -> Target:
    """Planmath, of its contenders those whose form begins so, is to take at most `factor` times what the best of the
    others takes.

    Like is compared with like: if the best of the others writes a preallocated result, so does planmath's contender,
    and in the same precision; if it allocates its result, so does planmath's. Where planmath has no contender of that
    kind, its best one counts.
    """

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        mine = [label for label in figures if contenders[label].ours and contenders[label].form.startswith(form)]
        others = [label for label in figures if not contenders[label].ours]
        if not mine or not others:
            return None
        best = min(others, key=figures.__getitem__)
        alike = [label for label in mine if contenders[label].kind == contenders[best].kind]
        return _time_ratio(figures, min(alike or mine, key=figures.__getitem__), best, factor)

    return judge


def _time_ratio(figures: Mapping[str, float], ours: str, of: str, factor: float) -> Verdict:
    ratio = figures[ours] / figures[of]
    return Verdict(ours, of, f"{ratio:.3f}", f"at most {factor:g} of its time", ratio <= factor)
