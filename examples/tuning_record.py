"""What autotuning measured stays in a record on disk, and the next plan of the same problem uses it."""

import os
import tempfile
from pathlib import Path

import numpy as np

import planmath
from planmath.fft import FFT

folder = tempfile.TemporaryDirectory()
os.environ["PLANMATH_CACHE_DIR"] = folder.name  # leaves your own record alone
operand = np.random.default_rng(0).normal(size=(16, 1000)) + 0j

with FFT(operand, axes=[1]) as transform:
    transform.plan()
    transform.autotune(seconds=1)  # measures, and adds to the record

with FFT(operand, axes=[1]) as transform:  # the next process would do the same
    transform.plan()
    assert "by the tuning record" in transform.report()

with FFT(operand, axes=[1], options={"tuning": False}) as transform:
    transform.plan()
    assert "by the heuristic" in transform.report()

print(planmath.tuning.show())

copy = Path(folder.name) / "measured-on-this-kind-of-machine.json"
planmath.tuning.export(copy)
planmath.tuning.clear()
assert planmath.tuning.import_(copy) == 1
folder.cleanup()
