"""The tests in `ranks`, as one session on all ranks of a launcher; and what becomes of ranks that end early."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
#: More ranks than CPUs give their CPU to each other, and each has one thread.
CALM = {
    "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "PLANMATH_DISTRIBUTED_TIMEOUT": "90",
    # Open MPI asks for these where a system has it
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
}  # fmt: skip
SESSION = ("-m", "pytest", "-p", "tests.distributed.plugin", "-p", "no:cacheprovider", "-n0", "-x")


def run(*command, **more):
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, env=os.environ | CALM | more, capture_output=True, text=True, timeout=420,
        check=False,
    )  # fmt: skip


def launched(nranks, *arguments, **more):
    """The outcome of a program on so many ranks of MPI."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = beside if beside.exists() else shutil.which("mpiexec")
    assert launcher, "the extra 'mpi' is not installed: pip install 'planmath[mpi]'"
    return run(launcher, "-n", nranks, sys.executable, "-m", "mpi4py", *arguments, **more)


def check_session(done, least):
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nranks", "chosen", "least"),
    [(1, "", 140), (2, "", 160), (3, "pairs or slabs", 40), (4, "", 160)],
)
def test_mpi(nranks, chosen, least, tmp_path):
    more = {"PLANMATH_TEST_RANKS": "mpi", "PLANMATH_CACHE_DIR": str(tmp_path)}
    check_session(launched(nranks, *SESSION, "-k", chosen, "tests/distributed/ranks", **more), least)


@pytest.mark.slow
def test_torch(tmp_path):
    """The same on torch.distributed with gloo, as torchrun starts it: an exchange of each kind, and each operation."""
    more = {"PLANMATH_TEST_RANKS": "torch", "PLANMATH_CACHE_DIR": str(tmp_path)}
    done = run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, *SESSION,
        "tests/distributed/ranks", "-k", "redistribute or runtime or there_and_back or lifecycle or vector", **more,
    )  # fmt: skip
    check_session(done, 30)


ENDS = """
import os, sys
import numpy as np
from mpi4py import MPI
import planmath.distributed as distributed
from planmath.distributed.distribution import Redistribute, Slab
distributed.initialize(0, MPI.COMM_WORLD, ["nccl"])
rank = MPI.COMM_WORLD.rank
with Redistribute(np.zeros((4, 6)), Slab.X, Slab.Y, options={"provider": sys.argv[1]}) as redistribution:
    redistribution.plan()
    redistribution.execute()
    if rank == 1:
        exec(sys.argv[2])
    redistribution.execute()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "end", "says"),
    [
        ("mapped", "raise KeyError('lost')", "KeyError: 'lost'"),
        ("mpi", "os.kill(os.getpid(), 9)", "BAD TERMINATION"),
        ("mapped", "os._exit(3)", None),
    ],
)  # fmt: skip
def test_a_rank_that_ends(provider, end, says, tmp_path):
    """The run ends long before the limit of a wait, and says why; a rank that exits has nothing but a status."""
    program = tmp_path / "program.py"
    program.write_text(ENDS)
    began = time.monotonic()
    done = launched(3, program, provider, end)
    assert done.returncode != 0
    assert time.monotonic() - began < 60  # starting included, beside other tests
    assert says is None or re.search(says, done.stdout + done.stderr)
