"""Sparse products on a device: what is asked of cuSPARSE, and planmath's kernels, on stand-ins for all."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.core.standin_kernels import COMPILER, ON_THE_STAND_IN
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python

ROOT = Path(__file__).parents[2]
PROGRAM = (
    ON_THE_STAND_IN
    + """
STANDIN.standinJournal.restype = ctypes.c_char_p
from tests.sparse_product import standin_cusparse
CUSPARSE = standin_cusparse.install(os.path.dirname(sys.argv[1]))

import numpy as np
import scipy.sparse as sp
from planmath.core.errors import UnavailableError
from planmath.sparse import Matmul, matmul, ust
from tests.sparse_product.device_checks import *


def asked(call):
    '''What an execution asks of the library, and how many kernels it launches.'''
    CUSPARSE.cusparseForget()
    STANDIN.standinForget()
    call()
    launches = STANDIN.standinJournal().decode().count("launch")
    return [line.split()[0] for line in CUSPARSE.cusparseJournal().decode().splitlines()], launches
"""
)

pytestmark = pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")


@pytest.fixture
def run(standin):  # noqa: F811
    return lambda program: run_python(PROGRAM + textwrap.dedent(program), standin, ROOT, timeout=120)


def test_every_format(run):
    """Those of which the loops differ, by both providers; the generated kernels take all of them."""
    run("""
        taken = set()
        forms = [
            N.DenseMatrixLeft, N.COO, N.CSR, N.CSC, N.CROW, N.DIAI, N.SkewDIAJ, N.BSRLeft((2, 3)), N.DELTA(4),
            N.Structured(3, 3), N.SparseVector, N.BatchedCSR, N.BatchedDIAIUniform, N.COOd(2, 1),
        ]
        for n, form in enumerate(forms):
            for provider in ("cusparse", "generated"):
                for transposed in (False, True) if form in (N.COO, N.CSC, N.BSRLeft((2, 3))) else (False,):
                    most = 9 if provider == "cusparse" or form == N.CSR else 1
                    has = check_product(provider, form, columns=(None, 7)[n % 2], transposed=transposed, most=most)
                    assert has or provider == "cusparse", form
                    if has and provider == "cusparse":
                        taken.add((form.name, transposed))
        names = {name for name, transposed in taken if not transposed}
        assert names >= {"CSR", "CSC", "COO", "BSRLeft2x3", "Delta4", "CROW"}, names
        assert ("COO", True) in taken and ("CSC", True) in taken
    """)


def test_dtypes_and_layouts(run):
    run("""
        for provider in ("cusparse", "generated"):
            for n, dtype in enumerate(("float16", "complex64", "float32", "complex128")):
                if provider == "generated" and n in (1, 2):
                    continue
                for form in (N.CSR, N.COO) if n % 2 else (N.CSC, N.DCSR):
                    for columns, order in ((None, "C"), (1, "C"), (7, "F"), (45, "C"))[n % 2 :: 2]:
                        index_type = ("int32", "int64")[n % 2]
                        arguments = {"with_c": True, "most": 1 if provider == "generated" else 9}
                        assert check_product(provider, form, dtype, index_type, columns, order, **arguments), dtype
            if provider == "generated":
                one = {"most": 1}
                assert check_product(provider, N.CSR, "complex64", conjugated=(True, False), **one)
                assert check_product(provider, N.CSC, "complex128", transposed=True, conjugated=(True, True), **one)
                assert check_product(provider, N.CSR, semiring="max_plus", columns=3, **one)
                assert check_product(provider, N.CSC, semiring="max_plus", columns=5, with_c=True, **one)
    """)


def test_batches(run):
    """Batches of both operands and of one of them, of a format with BATCH levels and of others."""
    run("""
        rng = np.random.default_rng(0)
        fixed = np.zeros((3, 6, 8))
        for x in fixed.reshape(-1, 8):
            x[rng.choice(8, 3, replace=False)] = rng.random(3) + 1
        starts = np.tile(np.arange(0, 19, 3, dtype="int32"), (3, 1))
        crd = np.nonzero(fixed)[2].astype("int32").reshape(3, 18)
        from planmath.sparse.ust.conversion import Arrays
        arrays = Arrays((None, None, starts), (None, None, crd), fixed[fixed != 0])
        tensor = ust.Tensor._of((3, 6, 8), N.CSRd(1), arrays, "numpy")
        b, one = values((3, 8, 5), seed=1), values((8, 5), seed=2)
        for provider in ("cusparse", "generated"):
            options = {"provider": provider}
            for other in (b, one, np.asfortranarray(one)):
                with Matmul(tensor, other, options=options, execution="cuda") as mm:
                    for _ in every_way(mm):
                        close(mm.execute(), fixed @ other)
            with Matmul(sp.csr_array(fixed[0]), b, options=options, execution="cuda") as mm:
                for _ in every_way(mm):
                    close(mm.execute(), fixed[0] @ b)
        left = values((3, 5, 6), seed=3)
        with Matmul(left, tensor, options={"provider": "generated"}, execution="cuda") as mm:
            for _ in every_way(mm):
                close(mm.execute(), left @ fixed)
    """)


def test_new_values_need_nothing_new(run):
    """Values in place, operands and factors are told to the library at each execution; patterns where they change."""
    run("""
        a, x = sp.csr_array(values((40, 30), density=0.2)), values((30,), seed=1)
        for provider, once, each in (("cusparse", ["preprocess", "SpMV"], (["SpMV"], 0)), ("generated", [], ([], 1))):
            with Matmul(a, x, options={"provider": provider}, execution="cuda") as mm:
                mm.plan()
                assert asked(mm.execute)[0] == once
                assert asked(mm.execute) == each
                a.data *= 2
                close(mm.execute(), a @ x)
                mm.reset_operands(b=-x, alpha=3.0)
                close(mm.execute(), -3 * (a @ x))
                assert asked(mm.execute) == each
                other = sp.csr_array(values((40, 30), density=0.5, seed=4))
                mm.reset_operands(a=other)
                close(mm.execute(), -3 * (other @ x))
                mm.execute(release_workspace=True)
                assert asked(mm.execute)[0] == once
                close(mm.execute(), -3 * (other @ x))
        STANDIN.standinForget()
        mm.free()
    """)


def test_operands_on_the_device(run):
    """The package's stream and memory: nothing crosses, nothing waits."""
    run("""
        from tests.core import standin_cupy
        cupy = standin_cupy.install()
        a, b = values((8, 12), density=0.4), values((12, 4), seed=1)
        for form in (N.CSR, N.DCSR, N.DIAI):
            tensor, on_device = sparse(a, form, package="cupy"), cupy.asarray(b)
            assert (tensor.package, tensor.device, tensor.device_id) == ("cupy", "cuda", 0)
            for provider in ("cusparse", "generated"):
                with Matmul(tensor, on_device, options={"provider": provider}) as mm:
                    try:
                        mm.plan()
                    except UnavailableError:
                        assert (provider, form) == ("cusparse", N.DIAI)
                        continue
                    np.testing.assert_allclose(mm.execute().get(), a @ b)
                    STANDIN.standinForget()
                    CUSPARSE.cusparseForget()
                    np.testing.assert_allclose(mm.execute().get(), a @ b)
                    journal = STANDIN.standinJournal().decode()
                    assert "copy" not in journal and "wait" not in journal
                    out = mm.empty_result()
                    assert mm.execute(out=out, stream=5) is out
                    assert provider == "generated" or CUSPARSE.cusparseJournal().endswith(b"SpMM on 5\\n")
            found = matmul(tensor, on_device, execution="cpu")
            np.testing.assert_allclose(found.get(), a @ b)
            copy = tensor.clone()
            assert copy.val.data.ptr != tensor.val.data.ptr
            back = tensor.to("cpu")
            np.testing.assert_array_equal(back.val, tensor.val.get())
    """)


def test_nothing_to_multiply(run):
    run("""
        for shape, columns in (((0, 3), 2), ((3, 0), 2), ((3, 4), 0), ((3, 4), 2)):
            b = np.ones((shape[1], columns))
            found = matmul(sp.csr_array(shape), b, execution="cuda")
            np.testing.assert_array_equal(found, np.zeros((shape[0], columns)))
            c = np.ones((shape[0], columns))
            matmul(sp.csr_array(shape), b, c, beta=2.0, execution="cuda")
            np.testing.assert_array_equal(c, np.full((shape[0], columns), 2.0))
    """)


def test_what_is_refused(run):
    run("""
        a, x = sp.csr_array(np.eye(3)), np.ones(3)
        with Matmul(a, x, execution="cuda", options={"memory_limit": 10, "provider": "cusparse"}) as mm:
            try:
                mm.plan()
            except UnavailableError as error:
                assert "options.memory_limit allows 10" in str(error)
            else:
                raise AssertionError
        with Matmul(a, x, execution="cuda") as mm:
            try:
                mm.plan(prologs={"a": np.sqrt})
            except UnavailableError as error:
                assert "functions of Python's" in str(error)
            else:
                raise AssertionError
            mm.plan()
            np.testing.assert_array_equal(mm.execute(), x)
        wrong = sparse(values((6, 4), density=0.5), N.DCSR)
        wrong.crd(0)[:2] = wrong.crd(0)[1::-1].copy()
        with Matmul(sparse(values((6, 4), density=0.5), N.DCSR), np.ones(4), execution="cuda") as mm:
            mm.plan()
            try:
                mm.reset_operands(a=wrong)
            except ValueError as error:
                assert "order" in str(error)
            else:
                raise AssertionError
            for provider in ("cusparse", "generated"):
                if provider == mm._plan_made.chosen.provider:
                    mm.reset_operands_unchecked(a=wrong)
                    try:
                        mm.execute()
                    except ValueError as error:
                        assert "order" in str(error)
                    else:
                        raise AssertionError
    """)


def test_sparse_results(run):
    run("""
        check_pair(N.CSR, N.CSR, most=2)
        check_pair(N.CSC, N.CSC, "complex64", transposed=(1, 0), conjugated=(0, 1), index_type="int64", most=1)
        check_pair(N.COO, N.DIAI, "float32", transposed=(0, 1), most=1)
        for n, form in enumerate((N.CSR, N.CSC, N.COO, N.BSRRight((2, 2)))):
            for orders in ("CF", "FC"):
                has = check_sampled("cusparse", form, orders=orders, index_type=("int32", "int64")[n % 2])
                assert has == (form in (N.CSR, N.CSC))
            dtype, k = (("complex128", 9), ("float16", 2))[n % 2]
            assert check_sampled("generated", form, dtype, k=k, orders="FC", most=2 if form == N.CSR else 1)
        rng = np.random.default_rng(0)
        long = sp.csr_array(rng.random((3, 400)) * (rng.random((3, 400)) < 0.9))
        square = sp.csr_array(rng.random((400, 500)) * (rng.random((400, 500)) < 0.2))
        close(matmul(long, square, execution="cuda").toarray(), long.toarray() @ square.toarray())
        best = matmul(long, square, execution="cuda", semiring="max_times").toarray()
        close(best, (long.toarray()[:, :, None] * square.toarray()[None]).max(axis=1))
    """)


def test_a_sparse_operand_that_stays_is_looked_at_once(run):
    run("""
        a, b = values((8, 12), density=0.4), values((12, 4), seed=1)
        with Matmul(sparse(a, N.DCSR), b, execution="cuda", options={"provider": "cusparse"}) as mm:
            mm.plan()
            close(mm.execute(), a @ b)
            mm._release_dense()
            mm.reset_operands_unchecked(b=-b)
            assert asked(mm.execute)[0] == ["SpMM"]
            close(mm.execute(), -(a @ b))
    """)
