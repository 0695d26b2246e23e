"""Stateful math operations: plan once, execute many times.

The public API is that of nvmath-python; planmath is an independent implementation of it that runs on the CPU.
"""

from planmath import fft, tuning

__version__ = "0.1.0"

__all__ = ["fft", "tuning"]
