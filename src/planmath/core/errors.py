"""The errors that planmath raises beyond the built-in ones.

Wrong values are `ValueError`, wrong types `TypeError`; everything below derives from a built-in error as well, so that
programs written for the built-in ones keep working.
"""

import difflib
import re
import sys
import warnings
from collections.abc import Iterable


class InvalidStateError(RuntimeError):
    """A call came out of order: before `plan`, after the operands were released, or after `free`."""


class UnavailableError(RuntimeError):
    """No provider on this machine can solve the problem; the message has each one's reason."""


class UnsupportedLayoutError(ValueError):
    """An operand's memory layout is one that the operation cannot use without a copy.

    Parameters
    ----------
    message : str
    permutation : sequence of int or None
        The transposition that, followed by a copy, gives a layout that can be used.
    axes : sequence of int or None
        The axes that correspond to the given ones after that transposition.
    """

    def __init__(self, message: str, permutation: object = None, axes: object = None):
        super().__init__(message)
        self.permutation = permutation
        self.axes = axes


class LibraryError(RuntimeError):
    """A native library reported a failure.

    Parameters
    ----------
    function : str
        The library's function.
    status : int
        What it returned.
    """

    def __init__(self, function: str, status: int):
        super().__init__(f"{function} failed with status {status}")
        self.function = function
        self.status = status


class AutogradWarning(UserWarning):
    """Operands require gradients, and the result has no graph that leads to them."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn of the line that called planmath, from however deep in planmath."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "planmath":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def nearest(name: object, names: Iterable[str]) -> str:
    """Half a sentence that proposes the name that was meant, where one is near, and lists those that exist.

    Names with another number in them, such as dtypes of other sizes, are not near.

    Examples
    --------
    >>> nearest("fftv", ["fftw", "mkl"]), nearest("int64", ["int8"])
    ("did you mean 'fftw'? (there are 'fftw', 'mkl')", "choose from 'int8'")
    """
    names = list(names)
    lower = {n.lower(): n for n in names}
    given = str(name).lower()
    if (synonym := SYNONYMS.get(given)) in lower:
        close = [synonym]
    else:
        alike = [n for n in lower if _numbers(n) == _numbers(given)]
        close = difflib.get_close_matches(given, alike, n=1)
    listing = ", ".join(repr(n) for n in names)
    return f"did you mean {lower[close[0]]!r}? (there are {listing})" if close else f"choose from {listing}"


#: What users may call something by another name.
SYNONYMS = {"gpu": "cuda", "device": "cuda", "host": "cpu"}


def _numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)
