"""One pytest session on all ranks: a test that fails on any rank fails on all, and rank 0 reports.

The ranks are MPI's, or, if PLANMATH_TEST_RANKS is ``torch``, those of torch.distributed with gloo. If
PLANMATH_TEST_STANDIN names the stand-in for CUDA, that takes the place of the devices.
"""

import faulthandler
import os
import sys
import traceback

import pytest

import planmath.distributed as distributed
from planmath.core.cuda import devices
from tests.distributed import standin_operations

#: Multicast between devices stays off.
os.environ.update({
    "NCCL_NVLS_ENABLE": "0", "NVSHMEM_DISABLE_NVLS": "1", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1"
})  # fmt: skip
if "PLANMATH_TEST_STANDIN" in os.environ:  # before anybody asks whether there is a device
    standin_operations.install(os.environ["PLANMATH_TEST_STANDIN"])
#: The rank, where nobody else reports.
OWN = {}
#: Seconds that one test may take before what it does is printed; with a limit of the environment's, it ends then.
LIMIT, ENDS = int(os.environ.get("PLANMATH_TEST_LIMIT", "60")), "PLANMATH_TEST_LIMIT" in os.environ


def world():
    """All ranks that the launcher started."""
    if os.environ.get("PLANMATH_TEST_RANKS") == "torch":
        import torch.distributed

        torch.distributed.init_process_group("gloo")
        return distributed.TorchProcessGroup(device_id="cpu")
    from mpi4py import MPI

    return distributed.MPIProcessGroup(MPI.COMM_WORLD)


@pytest.hookimpl(trylast=True)  # when the reporter is there
def pytest_configure(config):
    group = config.ranks = world()
    distributed.initialize(group.rank % max(devices.count(), 1), group, ["nvshmem", "nccl"])
    config.addinivalue_line("markers", "ranks(n): needs at least so many ranks")
    config.addinivalue_line("markers", "mpi: needs ranks of MPI")
    if group.rank:
        OWN["rank"] = group.rank
        config.pluginmanager.unregister(name="terminalreporter")


def pytest_unconfigure(config):
    if hasattr(config.ranks, "distributed"):
        config.ranks.distributed.destroy_process_group()


def pytest_collection_modifyitems(config, items):
    for item in items:
        marker = item.get_closest_marker("ranks")
        if marker is not None and marker.args[0] > config.ranks.nranks:
            item.add_marker(pytest.mark.skip(reason=f"needs {marker.args[0]} ranks"))
        if item.get_closest_marker("mpi") and not isinstance(config.ranks, distributed.MPIProcessGroup):
            item.add_marker(pytest.mark.skip(reason="needs MPI"))


def pytest_runtest_logreport(report):
    """Let ranks without a reporter tell what fails around a test's body, of which only they may know."""
    if report.failed and report.when != "call" and "rank" in OWN:
        print(f"rank {OWN['rank']}, {report.when} of {report.nodeid}:\n{report.longreprtext}", file=sys.stderr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Share the outcome of a test's body among all ranks."""
    group = item.config.ranks
    faulthandler.dump_traceback_later(LIMIT, exit=ENDS)
    mine, failure = None, None
    try:
        return_value = yield
    except Exception as error:
        failure, mine = error, f"{type(error).__name__}: {error}"
        if group.rank:  # seen even if rank 0 never gets here
            print(f"rank {group.rank}, {item.nodeid}:", *traceback.format_exception(error)[-3:], file=sys.stderr)
    finally:
        faulthandler.cancel_dump_traceback_later()
    everybody = group.allreduce_object([mine], op=lambda a, b: a + b)
    if failure is not None:
        raise failure
    others = [f"rank {rank}: {text}" for rank, text in enumerate(everybody) if text]
    if others:
        pytest.fail("\n".join(others), pytrace=False)
    return return_value
