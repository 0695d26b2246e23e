"""One pytest session on all ranks of MPI: a test that fails on any rank fails on all, and rank 0 reports."""

import faulthandler
import os
import sys
import traceback

import pytest
from mpi4py import MPI

#: Seconds that one test may take before all is ended.
LIMIT = 60
WORLD = MPI.COMM_WORLD


@pytest.hookimpl(trylast=True)  # when the reporter is there
def pytest_configure(config):
    import planmath.distributed as distributed

    distributed.initialize(0, WORLD, ["nvshmem", "nccl"])
    config.addinivalue_line("markers", "ranks(n): needs at least so many ranks")
    if WORLD.rank:
        config.pluginmanager.unregister(name="terminalreporter")


def pytest_collection_modifyitems(items):
    for item in items:
        marker = item.get_closest_marker("ranks")
        if marker is not None and marker.args[0] > WORLD.size:
            item.add_marker(pytest.mark.skip(reason=f"needs {marker.args[0]} ranks"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Share the outcome of a test's body among all ranks."""
    faulthandler.dump_traceback_later(LIMIT, exit=False)
    mine, failure = None, None
    try:
        return_value = yield
    except BaseException as error:
        if isinstance(error, pytest.skip.Exception | KeyboardInterrupt):
            raise
        failure, mine = error, f"{type(error).__name__}: {error}"
        if WORLD.rank:  # seen even if rank 0 never gets here
            print(f"rank {WORLD.rank}, {item.nodeid}:", *traceback.format_exception(error)[-3:], file=sys.stderr)
    finally:
        faulthandler.cancel_dump_traceback_later()
    everybody = WORLD.allgather(mine)
    if failure is not None:
        raise failure
    others = [f"rank {rank}: {text}" for rank, text in enumerate(everybody) if text]
    if others:
        pytest.fail("\n".join(others), pytrace=False)
    return return_value


def pytest_sessionfinish(session, exitstatus):
    os.environ["PLANMATH_TEST_STATUS"] = str(int(exitstatus))
