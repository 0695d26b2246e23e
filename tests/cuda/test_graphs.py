"""Executions captured into a CUDA graph and replayed, on operands whose values change in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core import remembered
from planmath.linalg.advanced import Matmul, MatmulEpilog
from tests.arrays import to_numpy, to_package
from tests.cuda.work import LARGE_FFT, MATMUL_WORK, WORKS, noise


class Capture:
    """What was captured, once `captured` is over; `stream` is the one to put other work on."""

    stream: Any
    replay: Callable[[], None]


class TorchCapture(Capture):
    @contextmanager
    def capturing(self) -> Iterator[None]:
        import torch

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            yield
        self.replay = graph.replay


class CuPyCapture(Capture):
    @contextmanager
    def capturing(self) -> Iterator[None]:
        stream = self.stream
        stream.begin_capture()
        try:
            yield
        finally:
            graph = stream.end_capture()
        self.replay = lambda: graph.launch(stream)


@pytest.fixture
def capture(package: str, streams: Any) -> Iterator[Capture]:
    """A capture on a stream of its own, which is the package's current one for the test."""
    capture: Capture = {"torch-cuda": TorchCapture, "cupy": CuPyCapture}[package]()
    capture.stream = streams.new()
    runtime.device_synchronize()
    with streams.use(capture.stream):
        yield capture
    runtime.device_synchronize()


def overwrite(arrays: tuple[Any, ...], values: tuple[Any, ...]) -> None:
    for array, value in zip(arrays, values, strict=True):
        array[...] = value


@pytest.mark.parametrize("work", [*WORKS, LARGE_FFT], ids=lambda work: work.name)
def test_execute_into_out(work, package, capture):
    arrays = work.arrays(1, package)
    with work.planned(arrays) as operation:
        out = operation.empty_result()
        operation.execute(out=out)
        capture.stream.synchronize()
        with capture.capturing():
            operation.execute(out=out)
        for seed in (2, 3, 4):
            overwrite(arrays, work.arrays(seed, package))
            out[...] = 0
            capture.replay()
            capture.stream.synchronize()
            work.check(out, seed)


def test_execute(work, package, capture):
    """The result is a new array of the capture's, and each replay fills it."""
    arrays = work.arrays(1, package)
    with work.planned(arrays) as operation:
        operation.execute()
        capture.stream.synchronize()
        with capture.capturing():
            result = operation.execute()
        for seed in (2, 3, 4):
            overwrite(arrays, work.arrays(seed, package))
            capture.replay()
            capture.stream.synchronize()
            work.check(result, seed)


def test_reset_and_execute(work, package, capture):
    """Operands that are replaced within a graph: each of its executions keeps the ones it was captured with."""
    first, second = work.arrays(1, package), work.arrays(2, package)
    with work.planned(first) as operation:
        one, two = operation.empty_result(), operation.empty_result()
        operation.execute(out=one)
        capture.stream.synchronize()
        with capture.capturing():
            operation.execute(out=one)
            work.replace(operation, second, unchecked=True)
            operation.execute(out=two)
            third = operation.execute()
        work.replace(operation, work.arrays(9, package))
        operation.execute(out=operation.empty_result())  # without the graph, in between
        for seed in (3, 5):
            overwrite(first, work.arrays(seed, package))
            overwrite(second, work.arrays(seed + 1, package))
            capture.replay()
            capture.stream.synchronize()
            work.check(one, seed)
            work.check(two, seed + 1)
            work.check(third, seed + 1)


def test_many_executions_in_one_graph(work, package, capture):
    count = 20
    operands = [work.arrays(seed, package) for seed in range(count)]
    with work.planned(operands[0]) as operation:
        results = [operation.empty_result() for _ in operands]
        operation.execute(out=results[0])
        capture.stream.synchronize()
        with capture.capturing():
            for arrays, result in zip(operands, results, strict=True):
                work.replace(operation, arrays, unchecked=True)
                operation.execute(out=result)
        for _ in range(2):
            for result in results:
                result[...] = 0
            capture.replay()
            capture.stream.synchronize()
            for seed, result in enumerate(results):
                work.check(result, seed)


def test_epilog(package, capture):
    """The address of the bias is part of what cuBLASLt's descriptor says."""
    a, b = MATMUL_WORK.arrays(1, package)
    draw = noise((a.shape[0],), "float32")
    hosts = [draw(np.random.default_rng(seed)) for seed in (7, 8)]
    biases = [to_package(host, package) for host in hosts]
    x, y = MATMUL_WORK.operands_of(1)
    with Matmul(a, b) as operation:
        operation.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": biases[0]})
        results = [operation.empty_result() for _ in biases]
        operation.execute(out=results[0])
        capture.stream.synchronize()
        with capture.capturing():
            for bias, result in zip(biases, results, strict=True):
                operation.reset_operands_unchecked(epilog_inputs={"bias": bias})
                operation.execute(out=result)
        for result in results:
            result[...] = -1
        for factor in (1, 2):
            capture.replay()
            capture.stream.synchronize()
            for host, result in zip(hosts, results, strict=True):
                expected = np.maximum(x.astype("f8") @ y + factor * host[:, None], 0)
                np.testing.assert_allclose(to_numpy(result), expected, atol=2e-5 * expected.max())
            for bias in biases:
                bias *= 2


def test_the_object_works_on_after_a_capture(work, package, capture):
    with work.planned(work.arrays(1, package)) as operation:
        out = operation.empty_result()
        operation.execute(out=out)
        capture.stream.synchronize()
        with capture.capturing():
            operation.execute(out=out)
        work.replace(operation, work.arrays(2, package))
        result = operation.execute()
        capture.stream.synchronize()
        work.check(result, 2)
        other = type(capture)()
        other.stream = capture.stream
        with other.capturing():  # and is captured once more, with other operands
            operation.execute(out=out)
        other.replay()
        capture.stream.synchronize()
        work.check(out, 2)


@pytest.mark.parametrize("work", [*WORKS, LARGE_FFT], ids=lambda work: work.name)
def test_stateless_calls(work, package, capture):
    """The plan that a graph has an execution of stays, whatever becomes of the others, and is used by no other call."""
    arrays = work.arrays(1, package)
    work.stateless(*arrays)
    capture.stream.synchronize()
    with capture.capturing():
        result = work.stateless(*arrays)
    for seed in (2, 3):
        overwrite(arrays, work.arrays(seed, package))
        other = work.stateless(*work.arrays(9, package))
        remembered.clear()
        capture.replay()
        capture.stream.synchronize()
        work.check(result, seed)
        work.check(other, 9)


@pytest.mark.parametrize("package", ["torch-cuda"])
def test_layers_of_pytorch(package):
    """As `torch.compile` captures them: other threads may go on, and what came before was on the default stream."""
    torch = pytest.importorskip("torch")
    from planmath.interfaces import torch as door
    from planmath.interfaces import torch_plans

    def net(layer: Callable[..., Any], x: Any) -> Any:
        return layer(layer(x))

    def ours(x: Any) -> Any:
        return door.linear(x, w, b, "gelu")

    def theirs(x: Any) -> Any:
        return torch.nn.functional.gelu(torch.nn.functional.linear(x, w, b), approximate="tanh")

    x, w, b = (torch.randn(shape, device="cuda") / 16 for shape in ((64, 256), (256, 256), (256,)))
    net(ours, x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        y = net(ours, x)
    for _ in range(2):
        x.normal_()
        other = net(ours, x)
        torch_plans.clear()
        graph.replay()
        torch.testing.assert_close(y, net(theirs, x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other, y, rtol=1e-4, atol=1e-4)
