"""Memory of large results: an operation hands it out again once nobody holds the result, and never before."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from planmath.linalg.advanced import Matmul, matmul

#: The smallest extent of a square result in float64 whose memory is kept, and the bytes of that.
N = 2048
SIZE = N * N * 8


@pytest.fixture
def operands():
    random = np.random.default_rng(0)
    return random.random((N, 3)), random.random((3, N))


@pytest.fixture
def product(operands):
    with Matmul(*operands) as operation:
        operation.plan()
        yield operation


@pytest.fixture
def held():
    """Bytes that Python's and NumPy's allocators have handed out since the test began, when called."""
    gc.collect()
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def address(array):
    return array.ctypes.data


def test_dropped_memory_is_handed_out_again(product, operands):
    place = address(product.execute())
    a = operands[0] + 1
    product.reset_operands(a=a)
    result = product.execute()
    assert address(result) == place
    assert result.flags.writeable
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, a @ operands[1], rtol=1e-14)


@pytest.mark.parametrize(
    "holder", [lambda x: x, lambda x: x[5:, ::3], lambda x: x.T.reshape(-1), memoryview, np.from_dlpack],
    ids=["result", "view", "reshaped", "buffer", "dlpack"],
)  # fmt: skip
def test_held_memory_is_left_alone(product, operands, holder):
    result = product.execute()
    held, before = holder(result), np.array(holder(result))
    del result
    product.reset_operands(a=operands[0] + 1)
    for _ in range(3):
        product.execute()
    np.testing.assert_array_equal(np.asarray(held), before)


def test_a_loop_that_names_its_result_takes_turns_between_two(product):
    places = set()
    for _ in range(6):
        result = product.execute()
        places.add(address(result))
    assert result.shape == (N, N)
    assert len(places) == 2


def test_results_in_another_order(operands):
    a, b = (x.T.copy().T for x in operands)
    with Matmul(a, b) as product:
        product.plan()
        for _ in range(2):
            result = product.execute()
            assert result.strides == product.empty_result().strides
            np.testing.assert_allclose(result, a @ b, rtol=1e-14)
            del result


def test_one_result_is_kept_until_the_operands_are_released(product, operands, held):
    results = [product.execute() for _ in range(3)]
    assert held() >= 3 * SIZE
    results.clear()
    assert SIZE <= held() < 2 * SIZE
    product.release_operands()
    assert held() < SIZE
    product.reset_operands(a=operands[0], b=operands[1])
    product.execute()
    assert SIZE <= held() < 2 * SIZE


def test_none_is_kept_after_free(operands, held):
    with Matmul(*operands) as product:
        product.plan()
        product.execute()
        late = product.execute()
    assert SIZE <= held() < 2 * SIZE
    del late
    assert held() < SIZE


def test_none_is_kept_where_the_workspace_is_released(product, held):
    result = product.execute(release_workspace=True)
    del result
    assert held() < SIZE


def test_stateless_calls_keep_none(operands, held):
    for _ in range(2):
        matmul(*operands)
        assert held() < SIZE
