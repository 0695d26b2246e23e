"""What calls cost through the interfaces of other packages: scipy.fft's backends side by side, and PyTorch's layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np

from bench.comparison import Row, Settings, compare
from bench.contender import PLANMATH, Clock, Contender
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most, at_most_of_the_best, faster

#: library: its backend of scipy.fft
BACKENDS = {
    PLANMATH: "planmath.interfaces.scipy_fft", "mkl_fft": "mkl_fft.interfaces.scipy_fft",
    "pyFFTW": "pyfftw.interfaces.scipy_fft",
}  # fmt: skip
#: At least so long a transform is to be as fast as the best backend's, and from the second on faster than SciPy's own.
AS_THE_BEST, FASTER = 1024, 256
LAYERS, WIDTH = 10, 1024


def backends(name: str, n: int, settings: Settings) -> Outcome:
    """`scipy.fft.fft`, by SciPy itself and by others."""
    import scipy.fft

    x = uniform((n,), "complex128")

    def make(library: str, stack: ExitStack) -> Iterator[Contender]:
        names = {"fft": scipy.fft.fft, "x": x}
        if library == "SciPy":
            yield Contender(library, "fft(x)", "fft(x)", names)
            return
        backend = import_module(BACKENDS[library])
        if library == "pyFFTW":
            import_module("pyfftw").interfaces.cache.enable()
        yield Contender(library, "fft(x)", "fft(x)", names, within=partial(scipy.fft.set_backend, backend))

    targets: list[Target] = [at_most_of_the_best(1.15)] if n >= AS_THE_BEST else []
    if n >= FASTER:
        targets.append(faster(1, f"{PLANMATH} fft(x)", "SciPy fft(x)"))
    else:
        targets.append(at_most(1.3, f"{PLANMATH} fft(x)", "SciPy fft(x)"))
    makers = {library: partial(make, library) for library in (PLANMATH, "SciPy", *(set(BACKENDS) - {PLANMATH}))}
    return compare(name, makers, np.fft.fft(x), "complex128", targets, settings, True)


@dataclass(frozen=True)
class Layers:
    """A batch through layers of product, bias and GELU, forward and backward: the gradient of the first weights.

    Parameters
    ----------
    batch : int
    dtype, device : str
    compiled : str or None
        The mode in which all layers together go through `torch.compile`, if they do.
    """

    batch: int
    dtype: str = "float32"
    device: str = "cpu"
    compiled: str | None = None

    @cached_property
    def given(self) -> tuple[Any, list[Any], list[Any]]:
        import torch

        torch.manual_seed(0)
        to = {"device": self.device, "dtype": getattr(torch, self.dtype)}
        weights = [(torch.randn(WIDTH, WIDTH) / WIDTH**0.5).to(**to).requires_grad_() for _ in range(LAYERS)]
        biases = [torch.zeros(WIDTH, requires_grad=True, **to) for _ in range(LAYERS)]
        return torch.randn(self.batch, WIDTH).to(**to), weights, biases

    def gradient(self, layer: Any) -> Any:
        """A function that makes it of all layers, each of which is `layer`."""
        import torch

        x, weights, biases = self.given

        def forward(y: Any) -> Any:
            for weight, bias in zip(weights, biases, strict=True):
                y = layer(y, weight, bias)
            return y.square().sum()

        whole = torch.compile(forward, fullgraph=True, dynamic=False, mode=self.compiled) if self.compiled else forward

        def gradient() -> Any:
            for parameter in (*weights, *biases):
                parameter.grad = None
            whole(x).backward()
            return weights[0].grad

        return gradient


def layers(name: str, work: Layers, most: float, settings: Settings, clock: Clock | None = None) -> Outcome:
    """planmath's layers and PyTorch's; of both, where they are compiled, what `torch.compile` makes."""
    import torch
    from torch.nn import functional

    from planmath.interfaces.torch import linear

    def usual(x: Any, weight: Any, bias: Any) -> Any:
        return functional.gelu(functional.linear(x, weight, bias), approximate="tanh")

    ways = {PLANMATH: partial(linear, activation="gelu"), "PyTorch": usual}

    def make(library: str, stack: ExitStack) -> Iterator[Contender]:
        names = {"gradient": work.gradient(ways[library])}
        yield Contender(library, "backward()", "gradient()", names, clock=clock or Clock())

    torch._dynamo.reset()  # what was compiled for other rows
    targets = [at_most(most, f"{PLANMATH} backward()", "PyTorch backward()")]
    expected = replace(work, compiled=None).gradient(usual)().detach().clone()
    expected = expected.numpy() if work.device == "cpu" else expected
    return compare(name, {of: partial(make, of) for of in ways}, expected, work.dtype, targets, settings, True)


def small(name: str, records: bool, settings: Settings) -> Outcome:
    """One layer of 8 forward: the cost of a call, where autograd records it and where not."""
    import torch
    from torch.nn import functional

    from planmath.interfaces.torch import linear

    torch.manual_seed(0)
    x, weight, bias = torch.randn(8, 8), torch.randn(8, 8), torch.randn(8)
    weight.requires_grad_(records)
    names = {"linear": linear, "x": x, "w": weight, "b": bias, "gelu": functional.gelu, "product": functional.linear}
    ways = {PLANMATH: "linear(x, w, b, 'gelu')", "PyTorch": "gelu(product(x, w, b), approximate='tanh')"}

    def make(library: str, stack: ExitStack) -> Iterator[Contender]:
        yield Contender(library, "layer(x)", ways[library], names)

    targets = [at_most(2, f"{PLANMATH} layer(x)", "PyTorch layer(x)")]
    expected = functional.gelu(functional.linear(x, weight, bias), approximate="tanh").detach().numpy()
    return compare(name, {of: partial(make, of) for of in ways}, expected, "float32", targets, settings, True)


def rows(settings: Settings) -> dict[str, Row]:
    found: dict[str, Row] = {
        f"interfaces/scipy_fft/{n}": partial(backends, f"interfaces/scipy_fft/{n}", n) for n in (8, 256, 1024, 16384)
    }
    found["interfaces/torch/layers"] = partial(layers, "interfaces/torch/layers", Layers(WIDTH), 1)
    for kind, records in (("8", False), ("8, recorded", True)):
        found[f"interfaces/torch/{kind}"] = partial(small, f"interfaces/torch/{kind}", records)
    return found
