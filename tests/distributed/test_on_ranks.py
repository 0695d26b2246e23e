"""The tests in `ranks`, as one session on all ranks of a launcher."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
#: More ranks than CPUs give their CPU to each other, and each has one thread.
CALM = {
    "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "PLANMATH_DISTRIBUTED_TIMEOUT": "30",
}  # fmt: skip


def launched(nranks, *arguments, **more):
    """The outcome of a program on so many ranks of MPI."""
    launcher = Path(sys.executable).with_name("mpiexec")
    assert launcher.exists(), "the extra 'mpi' is not installed: pip install 'planmath[mpi]'"
    return subprocess.run(
        [launcher, "-n", str(nranks), sys.executable, "-m", "mpi4py", *map(str, arguments)],
        cwd=ROOT, env=os.environ | CALM | more, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("nranks", [1, 2, 3, 4])
def test_session(nranks, tmp_path):
    done = launched(
        nranks, "-m", "pytest", "-p", "tests.distributed.plugin", "-p", "no:cacheprovider", "-n0", "-x",
        "tests/distributed/ranks", PLANMATH_TEST_RANKS="1", PLANMATH_CACHE_DIR=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
