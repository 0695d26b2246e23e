"""Where planmath keeps what the next process can use."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$PLANMATH_CACHE_DIR``, else ``$XDG_CACHE_HOME/planmath``, else ``~/.cache/planmath``."""
    if directory := os.environ.get("PLANMATH_CACHE_DIR"):
        return Path(directory)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "planmath"
