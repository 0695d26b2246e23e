"""Options as objects or dictionaries."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from planmath.core.cuda.memory import check_allocator
from planmath.core.errors import nearest

T = TypeVar("T")


def as_options(cls: type[T], value: Any, argument: str = "options") -> T:
    """`value` as an object of the options class: a copy of it, made from a dictionary, or the default for None.

    Users may change their objects. A copy is checked as a new object is, and later changes have no effect on it.
    NumPy's booleans become Python's there, of which there is one of each: what reads options may ask ``is True``.
    """
    if value is None:
        return cls()
    if isinstance(value, cls):
        given = ((field.name, getattr(value, field.name)) for field in fields(value))  # type: ignore[arg-type]
        return replace(value, **{name: bool(x) for name, x in given if isinstance(x, np.bool)})  # type: ignore[type-var]
    if not isinstance(value, dict):
        raise TypeError(f"{argument} is a {type(value).__name__}; expected a {cls.__name__} or a dict of its fields")
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise TypeError(f"{argument} has no field {key!r}: {nearest(key, known)}")
    return cls(**{name: bool(x) if isinstance(x, np.bool) else x for name, x in value.items()})


def as_given(cls: type, value: Any) -> Any:
    """What a user's options say now, as a dictionary of one's own; whatever are no options of this class, as it is.

    `as_options` takes it later, and `core.remembered` makes it part of a key: what is changed of the user's object in
    between has no effect on either.
    """
    if type(value) is cls:
        return {name: getattr(value, name) for name in cls.__dataclass_fields__}
    return dict(value) if type(value) is dict else value


def check_choice(owner: str, name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    choices = tuple(choices)
    # NumPy's are Python's as well
    kind = next((own for own, theirs in ((str, str), (bool, np.bool)) if isinstance(value, theirs)), type(value))
    if not any(value is choice or (kind is type(choice) and value == choice) for choice in choices):
        raise ValueError(f"{owner}.{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")


def check_common(options: Any) -> None:
    """Check the fields that the options of every operation have."""
    owner = type(options).__name__
    check_choice(owner, "blocking", options.blocking, ("auto", True))
    check_choice(owner, "tuning", options.tuning, (True, False))
    if options.logger is not None and not isinstance(options.logger, logging.Logger):
        raise TypeError(f"{owner}.logger is a {type(options.logger).__name__}; expected a logging.Logger")
    if options.provider is not None and not isinstance(options.provider, str):
        raise TypeError(f"{owner}.provider is {options.provider!r}; expected a provider's name, such as 'mkl'")
    check_allocator(owner, getattr(options, "allocator", None))
