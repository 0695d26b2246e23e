"""Who holds the results: small ones of CuPy are handed out again, but never while somebody can still read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.work import MATMUL_WORK

cupy = pytest.importorskip("cupy")


@pytest.fixture
def operation() -> Any:
    with MATMUL_WORK.planned(MATMUL_WORK.arrays(1, "cupy")) as operation:
        yield operation


def test_a_loop_needs_two_results(operation):
    addresses = set()
    for _ in range(10):
        result = operation.execute()
        addresses.add(result.data.ptr)
        MATMUL_WORK.check(result, 1)
    assert len(addresses) == 2


@pytest.mark.parametrize(
    "keep",
    [lambda a: a, lambda a: a.T, lambda a: a[1:, :3], lambda a: a.data, cupy.from_dlpack, cupy.ndarray.__dlpack__],
    ids=["itself", "transposed", "sliced", "pointer", "shared", "capsule"],
)
def test_what_can_be_read_is_not_written_again(operation, keep):
    result = operation.execute()
    address, expected = result.data.ptr, cupy.asnumpy(result)
    kept = keep(result)
    del result
    MATMUL_WORK.replace(operation, MATMUL_WORK.arrays(2, "cupy"))
    assert all(operation.execute().data.ptr != address for _ in range(5))
    if isinstance(kept, cupy.ndarray) and kept.shape == expected.shape:
        np.testing.assert_array_equal(cupy.asnumpy(kept), expected)


def test_a_result_that_was_reshaped_in_place(operation):
    for _ in range(4):
        result = operation.execute()
        shape = result.shape
        result.shape = (*shape, 1)
        del result
    assert all(operation.execute().shape == shape for _ in range(4))
