"""What the user reads after a mistake: the argument, what was given, what was expected, how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import planmath
from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.fft import FFT, FFTOptions, estimate_workspace_size, fft, ifft, irfft, rfft
from planmath.fft.providers import PROVIDERS
from tests.misuse import Misuse, check, frozen

INPLACE = {"inplace": True}
COMPLEX = np.arange(12).reshape(3, 4) + 1j


def misaligned() -> np.ndarray:
    return np.zeros(16 * 4 + 1, np.uint8)[1:].view(complex)


def packed() -> np.ndarray:
    """A field between others: its steps are no multiples of its size."""
    return np.zeros(4, [("value", complex), ("flag", np.int8)])["value"]


def planned(call: Callable[[FFT], Any], operand: Any = None, **options: Any) -> Callable[[], Any]:
    """A call on a planned transform of COMPLEX, or of another operand."""

    def run() -> None:
        with FFT(COMPLEX.copy() if operand is None else operand, options=options) as transform:
            transform.plan()
            call(transform)

    return run


OPERANDS = [
    Misuse("a list", lambda: fft([1, 2j]), TypeError,
           ("operand is a list", "numpy.ndarray, cupy.ndarray or torch.Tensor", "numpy.asarray")),
    Misuse("nothing", lambda: fft(None), TypeError, ("operand is a NoneType", "numpy.ndarray")),
    Misuse("a NumPy scalar", lambda: fft(np.complex128(1)), TypeError,
           ("operand is a numpy.complex128", "numpy.ndarray")),
    Misuse("a masked array", lambda: fft(np.ma.masked_array(COMPLEX)), TypeError,
           ("operand is a numpy.ma.*MaskedArray", "fill the masked")),
    Misuse("no dimensions", lambda: fft(np.array(1j)), ValueError,
           (r"operand has the shape \(\)", "at least one axis")),
    Misuse("no elements", lambda: fft(np.ones((2, 0), complex)), ValueError,
           (r"operand has the shape \(2, 0\)", "one element")),
    Misuse("integers", lambda: FFT(np.arange(4)), ValueError,
           ("operand has the dtype int64", "float32, float64, complex64 or complex128", "convert")),
    Misuse("half precision", lambda: rfft(np.ones(4, np.float16)), UnavailableError,
           ("pocketfft: it has transforms of float32, float64.* not of float16: convert the operand to float32",)),
    Misuse("half precision as complex", lambda: fft(np.ones(4, np.float16)), ValueError,
           ("dtype float16; expected a complex one: convert it to complex64",)),
    Misuse("extended precision", lambda: FFT(np.ones(4, np.clongdouble)), ValueError,
           ("operand has the dtype c.*long.*|complex256", "complex128")),
    Misuse("objects", lambda: FFT(np.array([1j, None])), ValueError, ("operand has the dtype object", "convert it")),
    Misuse("records", lambda: FFT(np.zeros(3, [("a", "f8")])), ValueError,
           ("operand has the dtype void", "convert it")),
    Misuse("records without fields", lambda: FFT(np.empty(3, [])), ValueError,
           ("operand has the dtype void", "convert it")),
    Misuse("foreign byte order", lambda: fft(COMPLEX.astype(">c16")), TypeError,
           ("operand has the byte order", "'>c16'", "newbyteorder")),
    Misuse("elements at odd addresses", lambda: fft(misaligned()), UnsupportedLayoutError,
           ("operand has elements of 16 bytes", "numpy.array")),
    Misuse("elements between others", lambda: fft(packed()), UnsupportedLayoutError,
           ("operand has elements of 16 bytes", "17", "numpy.array")),
]  # fmt: skip

AXES = [
    Misuse(
        "out of range", lambda: fft(COMPLEX, axes=(0, 2)), ValueError, ("axes has 2", "out of range", "2 dimensions")
    ),
    Misuse(
        "out of range below",
        lambda: fft(COMPLEX, axes=(-3,)),
        ValueError,
        ("axes has -3", "out of range", "2 dimensions"),
    ),
    Misuse("repeated", lambda: fft(COMPLEX, axes=(1, 1)), ValueError, (r"axes \(1, 1\)", "twice", "once")),
    Misuse("repeated in disguise", lambda: fft(COMPLEX, axes=(1, -1)), ValueError, (r"axes \(1, -1\)", "twice")),
    Misuse("none", lambda: fft(COMPLEX, axes=()), ValueError, ("axes is empty", "at least one axis")),
    Misuse("a number", lambda: fft(COMPLEX, axes=1), TypeError, ("axes is 1", "sequence of integers")),
    Misuse(
        "no integers",
        lambda: fft(COMPLEX, axes=(0.0, 1.5)),
        TypeError,
        (r"axes is \(0.0, 1.5\)", "sequence of integers"),
    ),
    Misuse("a string", lambda: fft(COMPLEX, axes="01"), TypeError, ("axes is '01'", "sequence of integers")),
]

FUNCTIONS = [
    Misuse("fft of reals", lambda: fft(COMPLEX.real.copy()), ValueError,
           (r"fft\(\) got an operand of dtype float64", "complex", r"rfft\(\)")),
    Misuse("ifft of reals", lambda: ifft(np.ones(4, "f4")), ValueError,
           (r"ifft\(\) got an operand of dtype float32", "complex")),
    Misuse("rfft of complex", lambda: rfft(COMPLEX), ValueError,
           (r"rfft\(\) got an operand of dtype complex128", "real", r"fft\(\)")),
    Misuse("irfft of reals", lambda: irfft(np.ones(4)), ValueError,
           (r"irfft\(\) got an operand of dtype float64", "complex", r"rfft\(\)")),
    Misuse("fft of extended precision", lambda: fft(np.ones(4, np.clongdouble)), ValueError,
           (r"fft\(\) got an operand of dtype c", "^(?!.*rfft)", "convert it to complex128")),
    Misuse("irfft of extended precision", lambda: irfft(np.ones(4, np.clongdouble)), ValueError,
           (r"irfft\(\) got an operand of dtype c", "^(?!.*use rfft)", "convert it to complex128")),
    Misuse("rfft of extended precision", lambda: rfft(np.ones(4, np.longdouble)), ValueError,
           (r"rfft\(\) got an operand", "expected float32 or float64", "convert it to float64")),
    Misuse("fft of integers", lambda: fft(np.arange(4)), ValueError, ("int64", "convert it to complex128")),
    Misuse("ifft of reals has no other function", lambda: ifft(np.ones(4)), ValueError,
           ("^(?!.*rfft)", "convert it to complex")),
    Misuse("complex, checked for real", lambda: fft(COMPLEX, check_dtype="real"), ValueError,
           ("complex128; expected a real one", "leave check_dtype away")),
    Misuse("irfft to nothing", lambda: irfft(np.ones(1, complex)), ValueError,
           ("C2R transform of 1 element", "last_axis_parity='odd'")),
    Misuse("wrong check_dtype", lambda: fft(COMPLEX, check_dtype="float"), ValueError,
           ("check_dtype is 'float'", "'complex' or 'real'")),
    Misuse("wrong direction", lambda: fft(COMPLEX, direction="backward"), ValueError,
           ("direction is 'backward'", "'forward', 'inverse'")),
    Misuse("prolog", lambda: fft(COMPLEX, prolog=object()), TypeError, ("prolog is a object", "DeviceCallable")),
    Misuse("epilog", lambda: FFT.create_key(COMPLEX, epilog=object()), TypeError,
           ("epilog is a object", "DeviceCallable")),
    Misuse("size of what is no key", lambda: estimate_workspace_size("key"), TypeError,
           ("key is a str", "FFT.create_key")),
    Misuse("unknown technique", lambda: estimate_workspace_size(FFT.create_key(COMPLEX), technique="x"), ValueError,
           ("technique is 'x'", "'refined'")),
    Misuse("unknown memory space", lambda: FFT.create_key_from_metadata((4,), "complex128", "gpu"), ValueError,
           ("memory_space is 'gpu'", "'cpu' or 'cuda'")),
    Misuse("one extent", lambda: FFT.create_key_from_metadata(4, "f8", "cpu"), TypeError,
           (r"shape is 4; expected a sequence of integers, such as shape=\(4,\)",)),
    Misuse("half an extent", lambda: FFT.create_key_from_metadata((4.5,), "f8", "cpu"), TypeError,
           (r"shape is \(4.5,\); expected a sequence of integers",)),
    Misuse("negative extent", lambda: FFT.create_key_from_metadata((4, -4), "f8", "cpu"), ValueError,
           (r"shape is \(4, -4\); expected extents of at least 1",)),
    Misuse("one stride", lambda: FFT.create_key_from_metadata((4,), "f8", "cpu", strides=1), TypeError,
           (r"strides is 1; expected a sequence of integers, such as strides=\(4,\)",)),
    Misuse("no dtype", lambda: FFT.create_key_from_metadata((4,), "complex123", "cpu"), TypeError,
           ("dtype is 'complex123'; expected a dtype or the name of one", "'complex128'")),
    Misuse("dtype None", lambda: FFT.create_key_from_metadata((4,), None, "cpu"), TypeError, ("dtype is None",)),
    Misuse("foreign byte order", lambda: FFT.create_key_from_metadata((4,), ">f8", "cpu"), TypeError, ("is '>f8'",)),
    Misuse("dtype of no transform", lambda: FFT.create_key_from_metadata((4,), "i4", "cpu"), ValueError,
           ("dtype int32", "convert it to float64")),
    Misuse("too few strides", lambda: FFT.create_key_from_metadata((4, 4), "f8", "cpu", strides=(1,)), ValueError,
           ("strides has 1 numbers and shape 2",)),
]  # fmt: skip

OPTIONS = [
    Misuse("no options", lambda: fft(COMPLEX, options=3), TypeError, ("options is a int", "FFTOptions or a dict")),
    Misuse("unknown option", lambda: fft(COMPLEX, options={"in_place": True}), TypeError,
           ("no field 'in_place'", "did you mean 'inplace'")),
    Misuse("option far from all", lambda: fft(COMPLEX, options={"xyz": True}), TypeError,
           ("no field 'xyz'", "choose from 'fft_type', 'inplace'")),
    Misuse("fft_type", lambda: FFTOptions(fft_type="Z2Z"), ValueError, ("fft_type is 'Z2Z'", "'C2C', 'R2C', 'C2R'")),
    Misuse("inplace", lambda: FFTOptions(inplace=1), ValueError, ("inplace is 1", "False, True")),
    Misuse("last_axis_parity", lambda: FFTOptions(last_axis_parity="uneven"), ValueError,
           ("last_axis_parity is 'uneven'", "'even', 'odd'")),
    Misuse("result_layout", lambda: FFTOptions(result_layout="F"), ValueError,
           ("result_layout is 'F'", "'optimized', 'natural'")),
    Misuse("blocking", lambda: FFTOptions(blocking=False), ValueError, ("blocking is False", "'auto', True")),
    Misuse("logger", lambda: FFTOptions(logger="log"), TypeError, ("logger is a str", "logging.Logger")),
    Misuse("tuning", lambda: FFTOptions(tuning="off"), ValueError, ("tuning is 'off'", "True, False")),
    Misuse("provider", lambda: FFTOptions(provider=1), TypeError, ("provider is 1", "'mkl'")),
    Misuse("real type of complex", lambda: FFT(COMPLEX, options={"fft_type": "R2C"}), ValueError,
           ("fft_type is 'R2C'", "complex128", "C2C or C2R")),
    Misuse("complex type of reals", lambda: FFT(np.ones(4), options={"fft_type": "C2C"}), ValueError,
           ("fft_type is 'C2C'", "float64", "R2C")),
    Misuse("unknown provider", lambda: fft(COMPLEX, options={"provider": "mlk"}), ValueError,
           ("provider 'mlk' does not exist", "did you mean 'mkl'", "'pocketfft'",
            "nvpl is unavailable: NVPL FFT was not found.*install")),
    Misuse("missing provider", lambda: fft(COMPLEX, options={"provider": "nvpl"}), UnavailableError,
           ("nvpl: NVPL FFT was not found", "install it on AArch64")),
]  # fmt: skip

EXECUTION = [
    Misuse("no execution", lambda: fft(COMPLEX, execution=2), TypeError,
           ("execution is a int", "'cpu', 'cuda', a dict", "ExecutionCPU")),
    Misuse("unknown name", lambda: fft(COMPLEX, execution="cpus"), ValueError,
           ("execution 'cpus' does not exist", "did you mean 'cpu'")),
    Misuse("name of a wrong type", lambda: fft(COMPLEX, execution={"name": ["cpu"]}), ValueError,
           (r"execution \['cpu'\] does not exist", "'cpu', 'cuda'")),
    Misuse("no device", lambda: fft(COMPLEX, execution={"device_id": 1}), TypeError,
           ("'cpu' has no parameter 'device_id'",)),
    Misuse("unknown parameter", lambda: fft(COMPLEX, execution={"name": "cpu", "threads": 1}), TypeError,
           ("'cpu' has no parameter 'threads'", "did you mean 'num_threads'")),
    Misuse("no threads", lambda: fft(COMPLEX, execution={"name": "cpu", "num_threads": 0}), ValueError,
           ("num_threads is 0", "positive integer")),
    Misuse("half a thread", lambda: planmath.fft.ExecutionCPU(num_threads=1.5), ValueError,
           ("num_threads is 1.5", "positive integer")),
    Misuse("a device below zero", lambda: planmath.fft.ExecutionCUDA(device_id=-1), ValueError,
           ("device_id is -1", "CUDA device")),
    Misuse("a CPU library on CUDA", lambda: fft(COMPLEX, options={"provider": "pocketfft"}, execution="cuda"),
           UnavailableError, ("pocketfft: it computes on the CPU only|not possible on this machine: .*driver",)),
]  # fmt: skip

IN_PLACE = [
    Misuse("reals", lambda: FFT(np.ones(4), options={"inplace": True}), ValueError,
           ("inplace is for C2C", "R2C", "leave inplace away")),
    Misuse("half a spectrum", lambda: FFT(COMPLEX, options={"inplace": True, "fft_type": "C2R"}), ValueError,
           ("inplace is for C2C", "C2R")),
    Misuse("read-only memory", lambda: FFT(frozen(COMPLEX.copy()), options={"inplace": True}), ValueError,
           ("operand is read-only", "writeable array")),
    Misuse("broadcast memory", lambda: FFT(as_strided(COMPLEX.copy(), (3, 4), (0, 16)), options=INPLACE), ValueError,
           (r"operand of shape \(3, 4\) and strides \(0, 1\)", "share memory", "copy it")),
    Misuse("windows", lambda: FFT(as_strided(COMPLEX.copy(), (3, 4), (32, 16)), options=INPLACE), ValueError,
           (r"strides \(2, 1\)", "share memory")),
    Misuse("new read-only operand",
           planned(lambda t: t.reset_operand(frozen(COMPLEX.copy())), inplace=True), ValueError,
           ("operand is read-only",)),
    Misuse("out", planned(lambda t: t.execute(out=COMPLEX.copy()), inplace=True), ValueError,
           ("out was given", "replaces operand", "leave out away")),
]  # fmt: skip

RESET = [
    Misuse("another package", planned(lambda t: t.reset_operand([1j])), TypeError,
           ("operand is a list", "numpy.ndarray")),
    Misuse("another dtype", planned(lambda t: t.reset_operand(COMPLEX.astype("c8"))), ValueError,
           ("operand has the dtype complex64", "expected complex128", "convert")),
    Misuse("another shape", planned(lambda t: t.reset_operand(COMPLEX[:2])), ValueError,
           (r"operand has the shape \(2, 4\)", r"expected \(3, 4\)", "create a new FFT")),
    Misuse("other strides", planned(lambda t: t.reset_operand(np.asfortranarray(COMPLEX))), ValueError,
           (r"operand has the strides \(1, 3\)", r"expected \(4, 1\)", "copy it")),
    Misuse("foreign byte order", planned(lambda t: t.reset_operand(COMPLEX.astype(">c16"))), TypeError,
           ("operand has the byte order", "newbyteorder")),
    Misuse("unchecked, another shape", planned(lambda t: t.reset_operand_unchecked(COMPLEX[:2])), ValueError,
           (r"operand has the shape \(2, 4\)",)),
]  # fmt: skip

EXECUTE = [
    Misuse("out is no array", planned(lambda t: t.execute(out=[1])), TypeError, ("out is a list", "numpy.ndarray")),
    Misuse("out of another dtype", planned(lambda t: t.execute(out=np.ones((3, 4)))), ValueError,
           ("out has the dtype float64", "expected complex128", "empty_result")),
    Misuse("out of another shape", planned(lambda t: t.execute(out=np.ones((4, 3), complex))), ValueError,
           (r"out has the shape \(4, 3\)", r"expected \(3, 4\)", "empty_result")),
    Misuse("out of other strides", planned(lambda t: t.execute(out=np.ones((4, 3), complex).T)), ValueError,
           (r"out has the strides \(1, 3\)", r"expected \(4, 1\)", "empty_result")),
    Misuse("read-only out", planned(lambda t: t.execute(out=frozen(COMPLEX.copy()))), ValueError,
           ("out is read-only", "writeable array")),
    Misuse("out that overlaps", planned(lambda t: t.execute(out=t._slots["operand"].array)), ValueError,
           ("out shares memory with operand", "inplace")),
    Misuse("unknown direction", planned(lambda t: t.execute(direction="back")), ValueError,
           ("direction is 'back'", "'forward', 'inverse'")),
    Misuse("direction that cannot be hashed", planned(lambda t: t.execute(direction=[1])), ValueError,
           (r"direction is \[1\]", "FFTDirection")),
    Misuse("direction that R2C lacks", planned(lambda t: t.execute(direction="inverse"), np.ones(4)), ValueError,
           ("direction is INVERSE", "R2C transforms are FORWARD")),
    Misuse("direction that C2R lacks", planned(lambda t: t.execute(direction=-1), fft_type="C2R"), ValueError,
           ("direction is FORWARD", "C2R transforms are INVERSE")),
    Misuse("direction that was not planned",
           planned(lambda t: (t.plan(direction=1), t.execute(direction=-1))), ValueError,
           ("direction is FORWARD", "INVERSE only", "plan again")),
    Misuse("no repetitions", planned(lambda t: t.autotune(iterations=0)), ValueError,
           ("iterations is 0", "positive integer")),
    Misuse("half a repetition", planned(lambda t: t.autotune(iterations=0.5)), ValueError,
           ("iterations is 0.5", "positive integer")),
    Misuse("nothing kept", planned(lambda t: t.autotune(prune=-1)), ValueError, ("prune is -1", "positive integer")),
]  # fmt: skip

TABLES = {
    "operands": OPERANDS, "axes": AXES, "functions": FUNCTIONS, "options": OPTIONS, "execution": EXECUTION,
    "in place": IN_PLACE, "reset": RESET, "execute": EXECUTE,
}  # fmt: skip


@pytest.mark.parametrize(
    "misuse", [pytest.param(m, id=f"{table}: {m.what}") for table, misuses in TABLES.items() for m in misuses]
)
def test_message(misuse, monkeypatch):
    (nvpl,) = [provider for provider in PROVIDERS if provider.name == "nvpl"]
    reason = "NVPL FFT was not found: install it on AArch64 with pip"  # also on the machines that do have it
    monkeypatch.setattr(nvpl, "unavailable", lambda: reason)
    check(misuse)


def torch_misuses() -> list[Misuse]:
    import torch

    tensor = torch.from_numpy(COMPLEX.copy())
    inference = torch.inference_mode()(torch.clone)(tensor)
    shared = torch.ones(4, dtype=torch.complex128).expand(3, 4)
    return [
        Misuse("conjugate view", lambda: fft(tensor.conj()), UnsupportedLayoutError,
               ("operand is a view whose conj", r"resolve_conj\(\)")),
        Misuse("negative view", lambda: rfft(tensor.conj().imag), UnsupportedLayoutError,
               ("operand is a view whose neg", r"resolve_neg\(\)")),
        Misuse("sparse", lambda: fft(tensor.to_sparse()), UnsupportedLayoutError,
               ("operand is a tensor of layout torch.sparse_coo", r"to_dense\(\)")),
        Misuse("no memory", lambda: fft(tensor.to("meta")), ValueError,
               ("operand is on the device meta", "CPU or a CUDA device")),
        Misuse("half precision", lambda: FFT(torch.ones(4, dtype=torch.bfloat16)), ValueError,
               ("operand has the dtype bfloat16", "complex128", "convert it to float32")),
        Misuse("complex half precision", lambda: fft(torch.ones(4, dtype=torch.complex32)), UnavailableError,
               ("pocketfft: .* not of complex32: convert the operand to complex64",)),
        Misuse("no dimensions", lambda: fft(torch.tensor(1j)), ValueError, (r"operand has the shape \(\)",)),
        Misuse("in place, expanded", lambda: FFT(shared, options={"inplace": True}), ValueError,
               (r"strides \(0, 1\)", "share memory")),
        Misuse("in place, inference", lambda: FFT(inference, options={"inplace": True}), ValueError,
               ("operand is read-only",)),
        Misuse("reset from NumPy", planned(lambda t: t.reset_operand(tensor)), TypeError,
               ("operand is a torch array", "expected a numpy one")),
        Misuse("reset to NumPy", planned(lambda t: t.reset_operand(COMPLEX), tensor), TypeError,
               ("operand is a numpy array", "expected a torch one")),
        Misuse("out of NumPy", planned(lambda t: t.execute(out=COMPLEX.copy()), tensor), TypeError,
               ("out is a numpy array", "expected a torch one")),
        Misuse("reset to a conjugate view",
               planned(lambda t: t.reset_operand(tensor.conj()), tensor), UnsupportedLayoutError,
               ("resolve_conj",)),
        Misuse("out that overlaps", planned(lambda t: t.execute(out=tensor), tensor), ValueError,
               ("out shares memory with operand",)),
    ]  # fmt: skip


def test_messages_about_tensors():
    pytest.importorskip("torch", reason="torch is not installed")
    for misuse in torch_misuses():
        check(misuse)


def test_failed_stateless_call_leaves_no_plan_behind(nothing_remembered):
    """The same call with the same layout fits the remembered plan, but not its operand."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.from_numpy(COMPLEX.copy())
    first = fft(tensor)
    with pytest.raises(UnsupportedLayoutError):
        fft(tensor.conj())
    assert torch.equal(fft(tensor), first)
