"""Products of matrices on CUDA devices."""

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.distributed.distribution import BlockCyclic, ProcessGrid, Slab
from planmath.distributed.linalg.advanced import Matmul, MatmulEpilog, matmul, matrix_qualifiers_dtype, summa
from tests.distributed.devices.arrays import PACKAGES, PROVIDERS, assert_close, checked, on_device
from tests.distributed.ranks.arrays import group, local, whole


def part(full, distribution, package="cupy"):
    return on_device(local(full, distribution, "F"), package)


def qualifiers(a_is_transposed, b_is_transposed):
    made = np.zeros(3, matrix_qualifiers_dtype)
    made["is_transpose"] = a_is_transposed, b_is_transposed, 0
    return made


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("a_is_transposed", "b_is_transposed"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_gathered(package, provider, a_is_transposed, b_is_transposed):
    """AllGather of b, and a product: in panels by one transport, at once by the others."""
    provider = checked(provider)
    m, n, k = 24, 16, 20
    a, b, c = whole((m, k), seed=1), whole((k, n), seed=2), whole((m, n), seed=3)
    stored_a, stored_b = (a.T if a_is_transposed else a), (b.T if b_is_transposed else b)
    along = Slab.Y if a_is_transposed else Slab.X, Slab.X if b_is_transposed else Slab.Y
    given = part(stored_a, along[0], package), part(stored_b, along[1], package), part(c, Slab.X, package)
    with Matmul(
        *given, distributions=[*along, Slab.X], alpha=2.0, beta=0.5,
        qualifiers=qualifiers(a_is_transposed, b_is_transposed), options={"provider": provider, "inplace": False},
    ) as product:  # fmt: skip
        product.plan()
        for _ in range(3):
            assert_close(product.execute(), local(2 * a @ b + c / 2, Slab.X), 1e-13)
        product.reset_operands(b=part(3 * stored_b, along[1], package), alpha=1.0)
        assert_close(product.execute(), local(3 * a @ b + c / 2, Slab.X), 1e-13)
        panels = product._stages()._panels
        assert len(panels) == (group().nranks if provider == "ipc" else 0)


@pytest.mark.ranks(2)
def test_a_product_that_fails_on_one_rank():
    """The others have their results, and all can go on."""
    a, b, c = whole((24, 20), seed=1), whole((20, 16), seed=2), whole((24, 16), seed=3)
    along = Slab.X, Slab.Y, Slab.X
    given = [part(of, one) for of, one in zip((a, b, c), along, strict=True)]
    with Matmul(*given, distributions=along, beta=0.0, options={"provider": "ipc", "inplace": False}) as product:
        product.plan()
        panel = product._stages()._panels[0]
        right = panel.product

        def fails(*operands):
            panel.product = right
            raise MemoryError("no room")

        if group().rank == 0:
            panel.product = fails
            with pytest.raises(MemoryError, match="no room"):
                product.execute()
        else:
            assert_close(product.execute(), local(a @ b, Slab.X), 1e-13)
        for _ in range(2):
            assert_close(product.execute(), local(a @ b, Slab.X), 1e-13)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_summed(provider):
    """Products of parts of k, summed and scattered, with c and an epilog."""
    provider = checked(provider)
    m, n, k = 12, 16, 24
    a, b, c = whole((m, k), "float32", 1), whole((k, n), "float32", 2), whole((m, n), "float32", 3)
    bias = whole((m,), "float32", 4)
    with Matmul(
        part(a, Slab.Y), part(b, Slab.X), part(c, Slab.Y), distributions=[Slab.Y, Slab.X, Slab.Y], beta=2.0,
        options={"provider": provider, "inplace": False},
    ) as product:  # fmt: skip
        product.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": on_device(bias)})
        for _ in range(2):
            expected = np.maximum(a @ b + 2 * c + bias[:, None], 0)
            assert_close(product.execute(), local(expected, Slab.Y), 1e-5)


@pytest.mark.ranks(2)
def test_summed_on_all():
    a, b = whole((8, 12), seed=1), whole((12, 6), seed=2)
    found = matmul(
        part(a, Slab.Y), part(b, Slab.X), distributions=[Slab.Y, Slab.X, Slab.Y], epilog=MatmulEpilog.ALLREDUCE
    )
    assert_close(found, a @ b, 1e-13)


@pytest.mark.parametrize("provider", [None, *PROVIDERS])
@pytest.mark.parametrize("least", [4, 256])
@pytest.mark.parametrize("epilog", [None, MatmulEpilog.RELU_BIAS])
def test_grids(epilog, least, provider, monkeypatch):
    """Any distributions: panels come to each rank, or whole rows and columns."""
    monkeypatch.setattr(summa, "LEAST", least)
    nranks = group().nranks
    rows = 2 if nranks % 2 == 0 else 1
    grid = ProcessGrid(shape=(rows, nranks // rows), layout=ProcessGrid.Layout.ROW_MAJOR)
    m = n = k = 24
    cyclic = BlockCyclic(grid, (4, 4))
    a, b, bias = whole((m, k), seed=1), whole((k, n), seed=2), whole((m, 1), seed=3)
    given = {} if provider is None else {"options": {"provider": checked(provider)}}
    if epilog is not None:
        rows = local(np.repeat(bias, n, 1), cyclic)[:, 0].copy()
        given["epilog_inputs"] = {"bias": on_device(rows)}
    expected = a @ b if epilog is None else np.maximum(a @ b + bias, 0)
    found = matmul(part(a, cyclic), part(b, cyclic), distributions=[cyclic] * 3, epilog=epilog, **given)
    assert_close(found, local(expected, cyclic), 1e-13)


def test_stream():
    a, b = whole((16, 8), seed=1), whole((8, 12), seed=2)
    stream = runtime.stream_create_with_flags(1)
    found = matmul(part(a, Slab.X), part(b, Slab.Y), distributions=[Slab.X, Slab.Y, Slab.X], stream=stream)
    runtime.stream_synchronize(stream)
    assert_close(found, local(a @ b, Slab.X), 1e-13)
