"""What is made on the host: parameters, their refusals, traits, shapes, code on disk."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import planmath.device as pmd
from planmath.core.cuda.mathdx import descriptors
from planmath.device import value_types
from planmath.device.solver import FUNCTIONS

pytestmark = pytest.mark.skipif(bool(descriptors.missing()), reason="libmathdx is not there")
ROWS = ("row_major",) * 3
BLOCK = {"precision": np.float32, "fft_type": "c2c", "execution": "Block", "sm": 90, "direction": "forward"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size is a positive integer, not 0"),
        ({"size": 2.0}, "size is a positive integer"),
        ({"precision": np.int32}, "precision is one of float16, float32, float64"),
        ({"fft_type": "r2r"}, "fft_type is 'c2c' or 'r2c' or 'c2r', not 'r2r'"),
        ({"execution": "Warp"}, "execution is 'Block' or 'Thread'"),
        ({"direction": None}, "a complex transform has a direction"),
        ({"fft_type": "r2c", "direction": "inverse"}, "the direction of a r2c transform is 'forward'"),
        ({"sm": 900}, r"for 9\.0 write 90"),
        ({"sm": 60}, "7.0 to 12.1, not 6.0"),
        ({"size": 100_000}, "has no forward c2c transform of 100000 float32 for 9.0: the nearest sizes are"),
        ({"elements_per_thread": 3}, r"elements_per_thread=3: the nearest .* are \(\d+,\)"),
        ({"ffts_per_block": -1}, "ffts_per_block is a positive integer"),
        ({"execution": "Thread", "ffts_per_block": 2}, "is for execution='Block'"),
        ({"execution": "Thread", "size": 4096}, "the nearest sizes are"),
        ({"precision": np.float16, "ffts_per_block": 3}, "is even in half precision"),
        ({"real_fft_options": {"complex_layout": "natural"}}, "are for real transforms"),
        ({"fft_type": "r2c", "real_fft_options": {"complex_layout": "natural"}}, "has both complex_layout and"),
        ({"fft_type": "r2c", "size": 9, "real_fft_options": {"complex_layout": "packed", "real_mode": "normal"}},
         "for even sizes, not 9"),
    ],
)  # fmt: skip
def test_refused_transforms(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        pmd.FFT(**({"size": 256} | BLOCK | changes))


def test_traits_of_transforms() -> None:
    fft = pmd.FFT(256, **BLOCK, ffts_per_block="suggested", elements_per_thread="suggested")
    assert fft.valid("ffts_per_block", "elements_per_thread")[0] == (fft.ffts_per_block, fft.elements_per_thread)
    assert fft.block_dim == pmd.Dim3(fft.stride, fft.ffts_per_block)
    assert fft.stride * fft.elements_per_thread >= 256
    assert (fft.value_type, fft.input_type) == (pmd.complex64, pmd.complex64)
    for ffts, elements in fft.valid("ffts_per_block", "elements_per_thread"):
        one = pmd.FFT(256, **BLOCK, ffts_per_block=ffts, elements_per_thread=elements)
        assert (one.ffts_per_block, one.elements_per_thread) == (ffts, elements)
    with pytest.raises(ValueError, match="a knob is"):
        fft.valid("threads")
    real = pmd.FFT(256, np.float16, "r2c", "Block", sm=90)
    assert (real.input_type, real.value_type, real.implicit_type_batching) == (pmd.half2, pmd.half4, 2)
    with pytest.raises(RuntimeError, match=r"in a kernel of numba\.cuda only"):
        fft.execute(None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (4, 4)}, "size is 3 integers"),
        ({"precision": (np.float32,) * 2}, "precision is a dtype or three of them"),
        ({"data_type": "quaternion"}, "data_type is 'real' or 'complex'"),
        ({"arrangement": None}, "exactly one of arrangement and transpose_mode"),
        ({"arrangement": "row_major"}, "arrangement is 3 words"),
        ({"block_size": 32, "block_dim": (32,)}, "two ways to say one thing"),
        ({"block_size": 2048}, "a block has 1024 at most"),
        ({"leading_dimension": (3, 4, 4)}, "the leading dimension of a is 4 at least, not 3"),
        ({"alignment": (2, 4, 4)}, "the alignment of a is a power of two from 4"),
        ({"alignment": (32, 4, 4)}, "to 16 bytes, not 32"),
        ({"function": "TRSM"}, "function is 'MM'"),
        ({"execution": "Thread", "block_size": 32}, "are for execution='Block'"),
    ],
)
def test_refused_products(changes: dict[str, Any], message: str) -> None:
    given = {"size": (4, 4, 4), "precision": np.float32, "data_type": "real", "sm": 90, "arrangement": ROWS}
    with pytest.raises(ValueError, match=message):
        pmd.Matmul(**(given | changes))


def test_shapes_of_products() -> None:
    mm = pmd.Matmul((3, 5, 7), (np.float16, np.float16, np.float32), "real", sm=90, block_size=64,
                    arrangement=("row_major", "col_major", "row_major"), leading_dimension=(8, 9, 5))  # fmt: skip
    assert (mm.a_dim, mm.b_dim, mm.c_dim) == ((3, 7), (7, 5), (3, 5))
    assert (mm.a_size, mm.b_size, mm.c_size) == (24, 45, 15)
    assert mm.get_shared_storage_size() == 24 * 2 + 90 + 2 + 60
    assert mm.get_shared_storage_size_ab(8, 10) == 48 + 100
    assert mm.get_layout_gmem_a(20).cosize == 2 * 20 + 7
    assert mm.block_size == mm.max_threads_per_block == 64
    with pytest.warns(DeprecationWarning, match="transpose_mode is deprecated"):
        turned = pmd.Matmul(
            (3, 5, 7), np.float32, "real", sm=90, block_size=64, transpose_mode=("transposed", "non_transposed")
        )
    assert (turned.a_dim, turned.b_dim) == ((7, 3), (7, 5))
    with pytest.raises(RuntimeError, match="made by Matmul"):
        pmd.Layout()
    for made in (pmd.Accumulator, pmd.OpaqueTensor, mm.get_accumulator, lambda: pmd.copy_wait()):
        with pytest.raises(RuntimeError, match="kernel"):
            made()
    with pytest.raises(ValueError, match="execute_api is"):
        pmd.compile_blas_execute(mm, pmd.CodeType("lto", mm.sm))
    assert (
        pmd.Matmul((4, 4, 4), np.float32, "real", sm=pmd.ComputeCapability(8, 0, "a"), arrangement=ROWS).sm.arch == ""
    )


def test_every_solver_has_traits() -> None:
    for name, entry in FUNCTIONS.items():
        words = {"fill_mode": "lower", "side": "left", "diag": "unit", "job": "no_vectors"}
        solver = pmd.Solver(name, (8, 8, 4), np.float64, "Block", sm=90, **{each: words[each] for each in entry.needs})
        assert solver.block_dim.x % 32 == 0
        assert solver.valid("block_dim", "batches_per_block")[0][0] == solver.block_dim
    with pytest.raises(ValueError, match="potrf needs fill_mode: 'upper' or 'lower'"):
        pmd.Solver("potrf", 8, np.float32, "Block", sm=90)
    with pytest.raises(ValueError, match="potrf does not take side, which is 'left'"):
        pmd.Solver("potrf", 8, np.float32, "Block", sm=90, fill_mode="upper", side="left")
    with pytest.raises(ValueError, match="factorizes the matrix as it is"):
        pmd.Solver("getrf_no_pivot", 8, np.float32, "Block", sm=90, transpose_mode="transposed")
    with pytest.raises(ValueError, match="precision is one of float32, float64"):
        pmd.Solver("geqrf", 8, np.float16, "Block", sm=90)
    with pytest.raises(RuntimeError, match=r"compiled wrongly for 12\.0"):
        pmd.Solver("gesv_no_pivot", 8, np.float32, "Block", sm=120)


def test_an_older_library_lacks_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "library_version", lambda: "0.3.1")
    with pytest.raises(RuntimeError, match=r"libmathdx 0.3.1 does not have heev: 0.3.2 has it"):
        pmd.Solver("heev", 8, np.float32, "Block", sm=90, fill_mode="lower", job="no_vectors")


def test_shapes_of_solvers() -> None:
    solver = pmd.CholeskySolver((5, 5, 2), np.float32, "Block", "lower", sm=90, batches_per_block=3)
    assert (solver.a_shape, solver.b_shape, solver.info_shape) == ((3, 5, 5), (3, 5, 2), (3,))
    assert (solver.a_strides(), solver.a_strides(lda=6), solver.b_size()) == ((25, 1, 5), (30, 1, 6), 30)
    with pytest.raises(ValueError, match="for square matrices, not for 4 x 5"):
        pmd.CholeskySolver((4, 5), np.float32, "Block", "lower", sm=90)
    with pytest.raises(ValueError, match="leading dimension of a is 5 at least"):
        solver.a_strides(lda=4)
    rows = pmd.LUPivotSolver((4, 6), np.float64, "Block", sm=90, arrangement="row_major")
    assert (rows.a_strides(), rows.ipiv_shape, rows.ipiv_size) == ((24, 6, 1), (1, 4), 4)
    with pytest.raises(RuntimeError, match="solve is for square matrices"):
        rows._solver("solve")
    least = pmd.LeastSquaresSolver((8, 5, 2), np.float32, "Block", sm=90)
    assert (least.b_shape, least.x_shape, least.bx_size()) == ((1, 8, 2), (1, 5, 2), 16)
    assert pmd.QRMultiply((8, 6, 4), np.float32, "Block", "left", sm=90).a_shape == (1, 8, 4)
    assert pmd.LQMultiply((8, 6, 4), np.float32, "Block", "right", sm=90).a_shape == (1, 4, 6)


def test_value_types() -> None:
    with pytest.warns(UserWarning, match="half2 is aligned to 4 bytes"):
        assert pmd.half2.dtype is pmd.np_float16x2
    with pytest.warns(UserWarning, match="complex64 is aligned to 8 bytes on the device, complex64 to 4 on the host"):
        assert np.empty(1, pmd.complex64).dtype == np.complex64
    assert (pmd.Complex(np.float16), pmd.Vector(np.float16, 4)) == (pmd.complex32, pmd.half4)
    with pytest.raises(ValueError, match="2 or 4 elements"):
        pmd.Vector(np.float16, 3)
    with pytest.raises(ValueError, match="real_dtype is one of float16"):
        pmd.Vector(np.float32, 2)
    for number in (6, 7, 9, 12, 13, 14, 15, 20):
        assert value_types.value_type_number(value_types.value_type(number)) == number


def test_code_types() -> None:
    fft = pmd.FFT(8, **BLOCK)
    with pytest.raises(ValueError, match="the kind of code is 'lto', not 'ptx'"):
        pmd.compile_fft_execute(fft, pmd.CodeType("ptx", fft.sm))
    with pytest.raises(ValueError, match="execute_api is"):
        pmd.compile_fft_execute(fft, pmd.CodeType("lto", fft.sm), "local")
    assert pmd.ComputeCapability(9, 0, "a").integer == 900
    assert pmd.ISAVersion.from_integer(13050) == (13, 5)


def test_nothing_is_imported_before_it_is_used() -> None:
    code = (
        "import planmath, sys; assert 'planmath.device' not in sys.modules; planmath.device.Dim3;"
        "assert not {'numba', 'planmath.device.fft', 'planmath.bindings.mathdx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
