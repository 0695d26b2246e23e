"""Python programs in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run_python(program: str, *arguments: object, timeout: float = 60) -> str:
    """What a program prints. Where it fails, or takes longer than `timeout` seconds, so does the test."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"the program exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
