"""How tensors are read at each execution: by PyTorch's functions in C, by DLPack's or by Python, with one outcome."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from planmath.core.arrays import torch_functions
from planmath.core.arrays.torch_arrays import PACKAGE
from planmath.core.arrays.torch_functions import Found, find
from planmath.core.errors import AutogradWarning
from planmath.fft import FFT
from planmath.linalg.advanced import Matmul

#: Which ways are taken away.
WAYS = {"functions": (), "dlpack": ("reading",), "python": ("reading", "dlpack_exchange")}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch) -> str:
    """Operations made within a test read tensors in one of these ways."""
    values = {"reading": Found(None, "a test says so"), "dlpack_exchange": None}
    for name in WAYS[request.param]:
        monkeypatch.setitem(PACKAGE.__dict__, name, values[name])
    if request.param == "dlpack" and PACKAGE.dlpack_exchange is None:
        pytest.skip("this PyTorch has no functions for DLPack")
    return request.param


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype)


def test_the_functions_are_used():
    assert PACKAGE.reading.reason == ""
    assert PACKAGE.how_read() == "read by PyTorch's functions in C"


def test_ways_are_told(way):
    told = {
        "functions": "read by PyTorch's functions in C",
        "dlpack": "read by DLPack's functions: PyTorch's own cannot be used, because a test says so",
        "python": "read by Python: PyTorch's own cannot be used, because a test says so",
    }
    assert PACKAGE.how_read() == told[way]


def test_operands_are_followed(way):
    a, b = numbers(3, 4), numbers(4, 5)
    with Matmul(a, b) as product:
        product.plan()
        for _ in range(3):
            torch.testing.assert_close(product.execute(), a @ b)
            a.data, b.data = numbers(3, 4), numbers(4, 5)
        other = numbers(4, 5)
        torch.utils.swap_tensors(b, other)
        torch.testing.assert_close(product.execute(), a @ b)
        product.reset_operands(b=other)
        torch.testing.assert_close(product.execute(), a @ other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.float(), "dtype float32; expected"),
        (lambda x: x.view(torch.int64), "dtype int64; expected"),
        (lambda x: x.mT, "strides"),
        (lambda x: x[:3], "shape"),
        (lambda x: x[None], "shape"),
    ],
)
def test_what_is_another_layout_by_then(way, change, message):
    a, b = numbers(4, 4), numbers(4, 4)
    with Matmul(a, b) as product:
        product.plan()
        product.execute()
        b.data = change(b.data)
        for _ in range(2):
            with pytest.raises(ValueError, match=f"b was changed after it was bound: .*{message}"):
                product.execute()


def test_a_conjugate_is_refused(way):
    x = numbers(8, dtype=torch.complex128)
    with FFT(x) as transform:
        transform.plan()
        transform.execute()
        with pytest.raises(ValueError, match="conj"):
            transform.reset_operand(x.conj())
        x.data = x.data.conj()
        with pytest.raises(ValueError, match="conj"):
            transform.execute()


def test_a_negative_of_the_planned_layout_is_refused(way):
    whole = torch.view_as_complex(numbers(4, 2))
    with FFT(whole.imag) as transform:
        transform.plan()
        transform.execute()
        negative = whole.conj().imag
        assert negative.is_neg()
        assert negative.stride() == whole.imag.stride()
        with pytest.raises(ValueError, match="neg"):
            transform.reset_operand(negative)


def test_planned_conjugates(way):
    a, b = numbers(3, 3, dtype=torch.complex128), numbers(3, 3, dtype=torch.complex128)
    with Matmul(a, b.conj()) as product:
        product.plan()
        torch.testing.assert_close(product.execute(), a @ b.conj())
        product.reset_operands(b=(2 * b).conj())
        torch.testing.assert_close(product.execute(), 2 * (a @ b.conj()))
        with pytest.raises(ValueError, match="conj"):
            product.reset_operands(b=b)


def test_gradients(way):
    a, b = numbers(3, 3), numbers(3, 3)
    with Matmul(a, b) as product, warnings.catch_warnings():
        warnings.simplefilter("error", AutogradWarning)
        product.plan()
        product.execute()
        b.requires_grad_()
        with pytest.raises(AutogradWarning):
            product.execute()
        with torch.no_grad():
            product.execute()
        b.requires_grad_(False)
        product.execute()
        out = numbers(3, 3)
        for _ in range(2):
            before = out._version
            assert product.execute(out=out) is out
            assert out._version == before + 1
        with pytest.raises(ValueError, match="requires grad"):
            product.execute(out=out.requires_grad_())


def test_tensors_of_inference_mode(way):
    with torch.inference_mode():
        out, a = numbers(3, 3), numbers(3, 3)
        with Matmul(a, a) as product:
            product.plan()
            for _ in range(2):
                product.execute(out=out)
            torch.testing.assert_close(out, a @ a)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, FakeTensorMode, lambda: torch.device("meta")])
def test_verified_within_modes(mode):
    with mode():
        assert find().reason == ""


def test_verified_within_transforms():
    reasons = []

    def look(x: torch.Tensor) -> torch.Tensor:
        reasons.append(find().reason)
        return x.sum()

    torch.func.vmap(torch.func.grad(look))(torch.ones(2, 3))
    assert reasons == [""]


def test_wrappers_are_refused_after_the_planned_layout_was_seen():
    a, refused = torch.ones(3, 3), []
    with Matmul(a, a) as product:
        product.plan()
        product.execute()

        def bind(x: torch.Tensor) -> torch.Tensor:
            with pytest.raises(TypeError, match="without memory of its own"):
                product.reset_operands(b=x)
            with pytest.raises(TypeError, match="without memory of its own"):
                product.execute(out=x)
            refused.append(x)
            return x.sum()

        torch.func.vmap(bind)(torch.ones(2, 3, 3))
        torch.func.grad(bind)(torch.ones(3, 3))
        assert len(refused) == 2
        torch.testing.assert_close(product.execute(), a @ a)


SYMBOLS = torch_functions.SYMBOLS
#: Another PyTorch: which function is another one, and what is said of it.
OTHERS = {
    "none": ("is_neg", "_ZN2at6native9is_absentERKNS_6TensorE", "undefined symbol.*is_absent"),
    "another property": ("is_neg", SYMBOLS["is_conj"], "tells True of a tensor of which Python tells False"),
    "strides": ("sizes", SYMBOLS["strides"], r"tells \(3, 1\) of .* \(2, 3\)"),
    "one number for all dtypes": ("dtype", SYMBOLS["device_type"], "dtypes have no numbers"),
    "one number for all devices": ("device_type", "aoti_torch_get_layout", "devices have no numbers"),
    "versions stay": ("bump_version", SYMBOLS["is_neg"], "tells 0 of .* tells 1"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_pytorch_is_not_asked(other, monkeypatch):
    name, symbol, message = OTHERS[other]
    monkeypatch.setitem(SYMBOLS, name, symbol)
    found = find()
    assert found.functions is None
    assert re.search(message, found.reason), found.reason


def test_another_layout_of_objects_is_noticed(monkeypatch):
    monkeypatch.setattr(torch_functions._Derived, "_cdata", 1, raising=False)
    found = find()
    assert found.functions is None
    assert found.reason == "the tensor is at 0 places of an object"


def test_tensors_whose_storage_was_freed_are_refused():
    a = torch.ones(3, 3)
    with Matmul(a, a) as product:
        product.plan()
        freed = torch.empty(3, 3)
        product.reset_operands(b=freed)
        freed.untyped_storage().resize_(0)
        for call in (product.execute, lambda: product.reset_operands(b=freed), lambda: Matmul(a, freed)):
            with pytest.raises(TypeError, match="b is a Tensor whose storage was freed"):
                call()
        freed.untyped_storage().resize_(36)
        freed.fill_(1)
        assert torch.equal(product.execute(), torch.full((3, 3), 3.0))
