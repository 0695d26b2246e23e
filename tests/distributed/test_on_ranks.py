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


#: What depends on how many ranks there are: on 3, uneven and empty parts, on 4, grids of two axes.
UNEVEN = "pairs or slabs or cuts or singular or transports"
GRIDS = "distribution or grids or boxes or panel or pairs or allreduce or model or deadline or scalapack"


@pytest.mark.slow
@pytest.mark.parametrize(("nranks", "chosen", "least"), [(1, "", 140), (2, "", 180), (3, UNEVEN, 50), (4, GRIDS, 50)])
def test_mpi(nranks, chosen, least, tmp_path):
    more = {"PLANMATH_TEST_RANKS": "mpi", "PLANMATH_CACHE_DIR": str(tmp_path)}
    check_session(launched(nranks, *SESSION, "-k", chosen, "tests/distributed/ranks", **more), least)


@pytest.mark.slow
def test_torch(tmp_path):
    """The same on torch.distributed with gloo, as torchrun starts it: an exchange of each kind, and each operation."""
    more = {"PLANMATH_TEST_RANKS": "torch", "PLANMATH_CACHE_DIR": str(tmp_path)}
    done = run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, *SESSION,
        "tests/distributed/ranks", "-k",
        "(redistribute or runtime or there_and_back or lifecycle or transports or torch) and not wrong_rank", **more,
    )  # fmt: skip
    check_session(done, 25)


ENDS = """
import logging, os, sys, time
import numpy as np
from mpi4py import MPI
import planmath.distributed as distributed
from planmath.distributed.distribution import Redistribute, Slab
logging.basicConfig(level=logging.INFO)
distributed.initialize(0, MPI.COMM_WORLD, ["nccl"])
rank = MPI.COMM_WORLD.rank
with Redistribute(np.zeros((4, 6)), Slab.X, Slab.Y, options={"provider": sys.argv[1]}) as redistribution:
    redistribution.plan()
    redistribution.execute()
    MPI.COMM_WORLD.Barrier()
    if rank == 1:
        print("ends at", time.time(), flush=True)
        exec(sys.argv[2])
    redistribution.execute()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "end", "says"),
    [
        ("mapped", "raise KeyError('lost')", "KeyError: 'lost'(.|\n)*rank 1 in"), ("mpi", "sys.exit(3)", "rank 1 in"),
        ("mpi", "os.kill(os.getpid(), 9)", "PID {} |process rank 1"), ("mapped", "os._exit(3)", None),
    ],
)  # fmt: skip
def test_a_rank_that_ends(provider, end, says, tmp_path):
    """The run ends within ten seconds, not at the limit of a wait, and what is printed says which rank it was.

    The launcher says which, or, of one that was killed, the number of a process: that one's, which the log has, or,
    where it looks late (MPICH, on busy machines), that of another which it has ended itself by then. Of a process that
    goes without a word nothing is said.
    """
    program = tmp_path / "program.py"
    program.write_text(ENDS)
    done = launched(3, program, provider, end)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert time.time() - float(re.search(r"ends at (\S+)", said)[1]) < 10
    processes = re.findall(r"rank \d of 3 is process (\d+) on", said)
    assert len(processes) == 3
    assert says is None or re.search(says.format(f"({'|'.join(processes)})"), said), said
