"""Where planmath keeps what the next process can use."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path


def cache_folder() -> Path:
    """``$PLANMATH_CACHE_DIR``, else ``$XDG_CACHE_HOME/planmath``, else ``~/.cache/planmath``."""
    return in_cache_folder("")


def in_cache_folder(name: str) -> Path:
    """The path of what has this name there."""
    environment = os.environ.get
    return _path(name, environment("PLANMATH_CACHE_DIR") or tuple(map(environment, OF_USERS)))


#: What the folder depends on else; the second one tells where a user is at home.
OF_USERS = "XDG_CACHE_HOME", "USERPROFILE" if os.name == "nt" else "HOME"


@lru_cache(maxsize=16)
def _path(name: str, directory: str | tuple[str | None, ...]) -> Path:
    if isinstance(directory, str):
        return Path(directory) / name
    return Path(directory[0] or Path.home() / ".cache") / "planmath" / name
