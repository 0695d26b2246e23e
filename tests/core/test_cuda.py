"""What the core does where a CUDA device takes part, on a stand-in for the runtime: no device is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.standin_cuda import SOURCE
from tests.processes import run_python

PROGRAM = Path(__file__).with_name("cuda_program.py").read_text()


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    base = tmp_path_factory.getbasetemp()
    # one folder for all processes of a run, with the kernels that tests compile into it
    path = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cuda" / "libcudart-standin.so"
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O1", "-shared", "-fPIC", "-x", "c", "-o", new, "-"]
    subprocess.run(command, input=SOURCE, text=True, check=True)
    new.replace(path)
    return path


@pytest.fixture
def run(standin: Path) -> Callable[[str], str]:
    return lambda program: run_python(f"{PROGRAM}\n\n{textwrap.dedent(program)}", standin)


def test_host_operands_cross_over_and_back(run):
    run("""
        with Sum(A.copy(), B) as total:
            total.plan()
            assert journal() == ["allocate 1584 on 0:0"], "when planning: 1000, and three arrays at multiples of 256"
            np.testing.assert_array_equal(total.execute(), A + B)
            moved = ["copy 48 in on 0:0", "copy 48 in on 0:0", "add on 0:0", "copy 48 out on 0:0", "wait for 0"]
            assert journal() == moved
            out = np.zeros(6)
            assert total.execute(out=out) is out
            np.testing.assert_array_equal(out, A + B)
            assert journal() == moved
        assert STANDIN.standinBlocks() == 0
    """)


def test_strided_operands_cross_over_with_what_lies_between(run):
    run("""
        memory = np.arange(24.0)
        with Sum(memory[::-4], B) as total:
            total.plan()
            np.testing.assert_array_equal(total.execute(), memory[::-4] + B)
            assert [line for line in journal() if "in on" in line] == ["copy 168 in on 0:0", "copy 48 in on 0:0"]
    """)


def test_another_device(run):
    run("""
        with Sum(A, B, {"name": "cuda", "device_id": 1}) as total:
            total.plan()
            np.testing.assert_array_equal(total.execute(), A + B)
            assert all(" 1:0" in line for line in journal() if " on " in line)
            assert runtime.get_device() == 0, "the current device is as before"
            assert "Stand-in 1" == total._machine()
        assert journal() == ["free on 1:0"]
        assert runtime.get_device() == 0
        try:
            with Sum(A, B, {"name": "cuda", "device_id": 2}) as total:
                total.plan()
        except ValueError as error:
            assert "device_id is 2; this machine has 2 CUDA devices" in str(error)
        else:
            raise AssertionError
    """)


def test_streams_wait_for_each_other(run):
    run("""
        with Sum(A, B) as total:
            total.plan(stream=7)
            assert journal() == ["allocate 1584 on 0:7"]
            total.execute(stream=7)
            assert "add on 0:7" in journal()
            total.execute(stream=8)
            lines = journal()
            assert lines[:2] == ["record on 7", "delay 8"] and "add on 0:8" in lines, lines
            total.execute()
            lines = journal()
            assert lines[:2] == ["record on 8", "delay 0"] and "add on 0:0" in lines, lines
            total.execute()
            assert journal()[0] == "copy 48 in on 0:0"
            STANDIN.standinCapture(9)
            total.execute(stream=9)
            assert journal()[0] == "copy 48 in on 0:9", "a captured stream waits for nothing outside the graph"
            STANDIN.standinCapture(0)
            total.execute()
            journal()
        assert journal() == ["record on 0", "delay 7", "free on 0:7"], "memory goes back once its last use is over"
        assert STANDIN.standinBlocks() == 0
    """)


def test_streams_that_are_none(run):
    run("""
        class Foreign:
            ptr, device_id = 5, 1
        class Protocol:
            def __cuda_stream__(self):
                return 0, 6
        with Sum(A, B) as total:
            total.plan()
            for stream, error, says in (
                ("main", TypeError, "stream is a str; expected a stream of PyTorch"), (True, TypeError, "is a bool"),
                (Foreign(), ValueError, "stream belongs to device 1; expected one of device 0"),
                (100, ValueError, "stream belongs to device 1"),
            ):
                journal()
                try:
                    total.execute(stream=stream)
                except error as raised:
                    assert says in str(raised), raised
                else:
                    raise AssertionError(stream)
                assert journal() == [], "nothing was launched"
            total.execute(stream=Protocol())
            assert "add on 0:6" in journal()
    """)


def test_out_of_memory_leaves_the_plan(run):
    run("""
        with Sum(A, B) as total:
            STANDIN.standinAvailable(1500)
            try:
                total.plan()
            except MemoryError as error:
                assert "1,584 bytes of temporary memory" in str(error) and "1.46 KiB free" in str(error), error
            else:
                raise AssertionError
            assert total.state.value == "specified"
            STANDIN.standinAvailable(1 << 20)
            total.plan()
            total._executor.release_workspace()
            STANDIN.standinAvailable(0)
            try:
                total.execute()
            except MemoryError as error:
                assert "0 bytes free" in str(error), error
            else:
                raise AssertionError
            STANDIN.standinAvailable(1 << 20)
            np.testing.assert_array_equal(total.execute(), A + B)
    """)


def test_allocators(run):
    run("""
        good = Allocator("good")
        with Sum(A, B, allocator=good) as total:
            total.plan()
            np.testing.assert_array_equal(total.execute(), A + B)
            total.execute()
            assert good.sizes == [1584]
            total._executor.release_workspace()
            assert good.freed == 1
            total.execute()
            assert good.sizes == [1584, 1584]
        assert good.freed == 2
        for kind, error, says in (("fails", MemoryError, "nothing left"), ("host", ValueError, "memory of the host")):
            with Sum(A, B, allocator=Allocator(kind)) as total:
                try:
                    total.plan()
                except error as raised:
                    assert says in str(raised), raised
                else:
                    raise AssertionError(kind)
                assert total.state.value == "specified"
    """)


def test_autotuning_times_devices_too(run):
    run("""
        with Sum(A, B) as total:
            total.plan()
            total._autotune(2, None)
            assert "adder(way=" in total.report()
            np.testing.assert_array_equal(total.execute(), A + B)
        assert STANDIN.standinBlocks() == 0
    """)


def test_memory_limits(run):
    run("""
        from planmath.core.cuda.devices import memory_limit
        limits = {100: 100, "80%": 838860, "1 KiB": 1024, "1.5kb": 1500, "1 MiB": 1 << 20, "0": 0}
        for value, limit in limits.items():
            assert memory_limit(value, 0) == limit, (value, memory_limit(value, 0))
        for value in (-1, "101%", "2 MiB", "much", "1 XB", None, True, "", "%", 2.5, "-5 kB", "1e3"):
            try:
                memory_limit(value, 0)
            except ValueError as error:
                assert f"memory_limit is {value!r}" in str(error)
            else:
                raise AssertionError(value)
    """)
