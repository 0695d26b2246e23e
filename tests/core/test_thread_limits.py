"""How many threads operations take where limits, variables and the CPUs of the process say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import planmath
from planmath.core.provider import Algorithm
from planmath.fft import FFT
from planmath.fft.providers import PLAIN, PROVIDERS
from planmath.native import threads
from planmath.native.threads import GNU_SPIN, LONG_SPIN, gnu_openmp_spin

pytestmark = pytest.mark.skipif(threads.available_cpus() < 2, reason="there is one CPU only")

#: For each situation in turn, what is done first and the execution: the most threads of each provider's candidates.
PROGRAM = """
import json, os, sys
import numpy as np, scipy.sparse
import planmath, planmath.linalg
from planmath.linalg.advanced import Matmul
from planmath.sparse.advanced import DirectSolver
from planmath.tensor import BinaryContraction

n = 20000
square, band = np.ones((700, 700)), scipy.sparse.diags_array([4.0, 1.0, 1.0], offsets=[0, 1, -1], shape=(n, n)).tocsr()
def found(execution):
    made = {
        "fft": planmath.fft.FFT(np.ones((1024, 1024)), execution=execution),
        "product": Matmul(square, square, execution=execution),
        "structured": planmath.linalg.Matmul(square, square, execution=execution),
        "dense": planmath.linalg.DirectSolver(square, square[0], execution=execution),
        "contraction": BinaryContraction("ij,jk->ik", square, square, execution=execution),
        "sparse": DirectSolver(band, np.ones(n), execution=execution),
    }
    numbers = {}
    for name, operation in made.items():
        with operation:
            operation.plan()
            for algorithm in operation._plan_made.algorithms:
                key = f"{name} {algorithm.provider}"
                numbers[key] = max(numbers.get(key, 0), algorithm.get("threads", 1))
            if name not in ("sparse", "dense"):
                operation.execute()
    return numbers
results = []
for first, execution in json.loads(sys.argv[1]):
    exec(first)
    results.append(found(execution))
    tasks = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0
print(json.dumps([tasks, *results]))
"""
LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: One system, or one sum without products, is for one thread.
ALWAYS_ONE = {"sparse banded", "sparse blocks", "sparse superlu", "contraction einsum"}


def most(*situations: tuple[str, dict[str, int] | None], **variables: str) -> list:
    """How many threads a process has in the end, then for each situation the most of each provider's candidates."""
    environment = {name: value for name, value in os.environ.items() if name not in LIMITS} | variables
    environment["PLANMATH_CACHE_DIR"] = os.devnull
    command = [sys.executable, "-c", PROGRAM, json.dumps(situations)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    tasks, *found = json.loads(done.stdout)
    return [tasks, *({name: n for name, n in of.items() if name not in ALWAYS_ONE} for of in found)]


def test_limits_of_a_running_program():
    """And none; the last limit is that of the CPUs, which holds for numbers of the user's, too."""
    threadpoolctl = "import threadpoolctl; limited = threadpoolctl.threadpool_limits({})"
    situations = [
        ("", None),
        ("", {"num_threads": 1}),
        (threadpoolctl.format(1), None),
        ("limited.restore_original_limits()", None),
        ("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", None),
        ("", {"num_threads": 2}),
    ]
    pytest.importorskip("threadpoolctl")
    _, *found = most(*situations)
    for of, expected in zip(found, (threads.available_cpus(), 1, 1, threads.available_cpus(), 1, 1), strict=True):
        assert of == dict.fromkeys(of, expected)


def test_a_limit_of_pytorch_is_one_for_all():
    pytest.importorskip("torch")
    _, *found = most(("import torch", None), ("torch.set_num_threads(1)", None), ("", {"num_threads": 2}))
    for of, expected in zip(found, (2, 1, 2), strict=True):
        assert {min(n, 2) for n in of.values()} == {expected}


def test_openmps_variable_is_one_for_all_but_the_user():
    tasks, found = most(("", None), OMP_NUM_THREADS="1")
    assert found == dict.fromkeys(found, 1)
    assert tasks <= 1
    _, found = most(("", {"num_threads": 2}), OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    assert found == dict.fromkeys(found, 2)


@pytest.mark.parametrize(("variable", "providers"), [("MKL_NUM_THREADS", {"mkl", "pardiso"}),
                                                     ("OPENBLAS_NUM_THREADS", {"blas", "lapack"})])  # fmt: skip
def test_a_librarys_own_variable_is_for_it_alone_and_comes_first(variable, providers):
    (_, one), (_, two) = (
        most(("", None), **{variable: "1"}),
        most(("", None), **{variable: "2", "OMP_NUM_THREADS": "1"}),
    )
    for name in one:
        own = name.split()[1] in providers
        # contractions take products of all libraries, and the least of what those may
        assert one[name] == (1 if own or name == "contraction gemm" else threads.available_cpus()), name
        assert two[name] == (2 if own else 1), name


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("3:cpu,cpuacct:/a\n0::/\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n",
                                      "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 3),
        ("3:cpu,cpuacct:/gone\n", {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                                   "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, None),
        ("2:cpuset:/\n", {"cpuset/cpu.max": "100000 100000\n"}, None),
    ],
)  # fmt: skip
def test_the_quota_of_control_groups(tmp_path, groups, files, cpus):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    listed = Path(tmp_path / "listed")
    listed.write_text(groups)
    assert threads.cpu_quota(str(listed), str(tmp_path)) == cpus


def test_a_record_counts_under_the_limit_that_it_was_made_under(monkeypatch):
    """In both directions; where all providers have the same limit, it is the same as a number of the user's."""
    operand = np.ones(256, complex)
    limits = {"mkl": 2, "fftw": 2, "pocketfft": 2}

    def limit(name):
        return threads.Threads(limits[name], "test") if name in limits else None

    for provider in PROVIDERS:
        monkeypatch.setattr(provider, "threads", partial(limit, provider.name))

    def origin(tune=False, **execution):
        with FFT(operand, execution=execution) as transform:
            transform.plan()
            if tune:
                transform.autotune(iterations=1)
            return transform._plan_made.origin

    origin(tune=True)
    assert origin() == "the tuning record"
    limits.update(pocketfft=1)
    assert origin() == "the heuristic"
    origin(tune=True)
    limits.update(mkl=1, fftw=1)
    assert (origin(), origin(num_threads=1)) == ("the heuristic",) * 2
    origin(tune=True)
    assert (origin(), origin(num_threads=1), origin(num_threads=2)) == ("the tuning record",) * 3
    limits.update(mkl=2, fftw=2)
    assert origin() == "the tuning record"


def test_stateless_calls_have_plans_of_their_own_under_a_limit(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    made = []
    plan = FFT.plan
    monkeypatch.setattr(FFT, "plan", lambda self, **options: made.append(self) or plan(self, **options))
    operand = np.ones(8, complex)
    with threadpoolctl.threadpool_limits(2):
        planmath.fft.fft(operand)
        made.clear()
        planmath.fft.fft(operand)
        assert not made
    with threadpoolctl.threadpool_limits(1):
        planmath.fft.fft(operand)
        planmath.fft.fft(operand)
        assert len(made) == 1
    with threadpoolctl.threadpool_limits(2):
        planmath.fft.fft(operand)
        assert len(made) == 1


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, GNU_SPIN), ({"OMP_WAIT_POLICY": "PASSIVE"}, 0.0), ({"OMP_WAIT_POLICY": "active"}, LONG_SPIN),
        ({"GOMP_SPINCOUNT": "0"}, 0.0), ({"GOMP_SPINCOUNT": "infinity", "OMP_WAIT_POLICY": "passive"}, LONG_SPIN),
    ],
)  # fmt: skip
def test_how_long_threads_of_gnu_openmp_look_for_work(monkeypatch, variables, seconds):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert gnu_openmp_spin() == seconds
    fftw = next(provider for provider in PLAIN if provider.name == "fftw")
    assert fftw.lingers(Algorithm("fftw", (("threads", 2),))) == seconds
    assert fftw.lingers(Algorithm("fftw", (("threads", 1),))) == 0
