"""Equal answers on all ranks, whatever is wrong on one of them.

Each rank fills its row of a table of integers with a digest of what has to be equal, what may differ, and whether it
failed; one sum over all ranks makes the table known to all, and the same code derives the same answer from it
everywhere. Only where something is wrong a second step fetches the words.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from planmath.core.collective import deadline
from planmath.core.collective.process_group import ProcessGroup, ReductionOp

#: Integers of a rank's own in the table; who has more sends them with the words.
LOCAL = 24
_STATUS, _DIGEST, _COUNT, _FIRST = range(4)
_FINE, _FAILED, _LONG = range(3)


class Agreement:
    """What a rank brings into an agreement, and what comes out.

    Attributes
    ----------
    equal : dict
        What has to be equal on all ranks, by the name that messages call it. Values have a `repr` that says all.
    local : sequence of int
        What may differ.
    everybody : list of tuple of int
        Afterwards: what each rank has as `local`.
    """

    def __init__(self) -> None:
        self.equal: dict[str, Any] = {}
        self.local: Sequence[int] = ()
        self.everybody: list[tuple[int, ...]] = []


@contextmanager
def agreed(group: ProcessGroup, call: str) -> Iterator[Agreement]:
    """Do something on all ranks, and then raise the same exception on all of them if it failed on any.

    Parameters
    ----------
    group : ProcessGroup
    call : str
        What it is called; ranks that are in another call get an error.

    Raises
    ------
    Exception
        The one of the lowest rank that failed, or a ValueError that names what is not equal, and the ranks.
    """
    agreement = Agreement()
    failure: Exception | None = None
    with deadline.within(call):
        try:
            yield agreement
        except Exception as error:
            failure = error
        _conclude(group, call, agreement, failure)


def _conclude(group: ProcessGroup, call: str, agreement: Agreement, failure: Exception | None) -> None:
    if failure is not None and is_agreed_on(failure):
        raise failure
    words = {"call": call, **{name: repr(value) for name, value in agreement.equal.items()}}
    local = [int(number) for number in agreement.local]
    long = len(local) > LOCAL
    if group.nranks == 1:
        if failure is not None:
            raise failure
        agreement.everybody = [tuple(local)]
        return
    table = np.zeros((group.nranks, _FIRST + LOCAL), np.int64)
    row = table[group.rank]
    row[_STATUS] = _FAILED if failure is not None else _LONG if long else _FINE
    row[_DIGEST] = _digest(words)
    row[_COUNT] = len(local)
    if not long:
        row[_FIRST : _FIRST + len(local)] = local
    group.allreduce_buffer(table, op=ReductionOp.SUM)
    if not table[:, _STATUS].any() and (table[:, _DIGEST] == table[0, _DIGEST]).all():
        agreement.everybody = [tuple(of[_FIRST : _FIRST + of[_COUNT]].tolist()) for of in table]
        return
    said = group.allreduce_object([(words, local, _portable(failure))], op=lambda a, b: a + b)
    for number, (_, _, error) in enumerate(said):
        if error is not None:
            mine = number == group.rank and failure is not None
            raise _told(failure if mine else error, number)  # type: ignore[arg-type]
    for name in dict.fromkeys(name for of, _, _ in said for name in of):
        _raise_different(name, [of for of, _, _ in said])
    agreement.everybody = [tuple(of) for _, of, _ in said]


def _raise_different(name: str, said: Sequence[Mapping[str, str]]) -> None:
    """Raise where the ranks differ in something that has to be equal."""
    values: dict[str | None, list[int]] = {}
    for rank, words in enumerate(said):
        values.setdefault(words.get(name), []).append(rank)
    if len(values) == 1:
        return
    listing = "; ".join(f"{value or 'nothing'} on {ranks_named(ranks)}" for value, ranks in values.items())
    if name == "call":
        said_so = f"the ranks are in different calls: {listing}. All have to make the same ones in the same order"
        raise _told(ValueError(said_so))
    raise _told(ValueError(f"{name} differs between the ranks: {listing}; pass the same on all of them"))


def _told(error: Exception, rank: int | None = None) -> Exception:
    """An exception that all ranks raise now, so that an agreement around this one has nothing to do."""
    error.is_agreed_on = True  # type: ignore[attr-defined]
    if rank is not None:
        error.add_note(f"raised on rank {rank}, and therefore on all ranks")
    return error


def is_agreed_on(error: BaseException) -> bool:
    """Whether all ranks raise an exception."""
    return getattr(error, "is_agreed_on", False)


def first_reason(group: ProcessGroup, reason: str | None) -> str | None:
    """The lowest rank's reason, with its rank, if any rank has one."""
    if group.nranks == 1:
        return reason
    with_one = np.array([group.rank if reason is not None else group.nranks], np.int64)
    group.allreduce_buffer(with_one, op=ReductionOp.MIN)
    if with_one[0] == group.nranks:
        return None
    reasons: list[str | None] = group.allreduce_object([reason], op=lambda a, b: a + b)
    said = next(of for of in reasons if of is not None)
    return said if all(of == said for of in reasons) else f"{said} (on rank {with_one[0]})"


def ranks_named(ranks: Sequence[int]) -> str:
    """Some ranks in words.

    Examples
    --------
    >>> ranks_named([2]), ranks_named([0, 1, 5]), ranks_named(range(12))
    ('rank 2', 'ranks 0, 1, 5', 'ranks 0, 1, 2, 3, 4, 5 and 6 more')
    """
    shown = ", ".join(map(str, ranks[:6]))
    more = f" and {len(ranks) - 6} more" if len(ranks) > 6 else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {shown}{more}"


def _digest(words: Mapping[str, str]) -> int:
    text = "\0".join(f"{name}={value}" for name, value in words.items())
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _portable(error: Exception | None) -> Exception | None:
    """An exception that other processes can raise: itself, or one of a built-in kind with its words."""
    if error is None:
        return None
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:
        pass
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins":
            return kind(str(error))
    return RuntimeError(str(error))
