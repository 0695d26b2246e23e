"""Generic products on a device: what is asked of cuBLAS and of planmath's kernels, on stand-ins for all three."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.core.standin_kernels import COMPILER, ON_THE_STAND_IN
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.generic import device_checks
from tests.processes import run_python

ROOT = Path(__file__).parents[2]
PROGRAM = (
    ON_THE_STAND_IN
    + """
STANDIN.standinJournal.restype = ctypes.c_char_p
from tests.generic import standin_cublas
CUBLAS = standin_cublas.install(os.path.dirname(sys.argv[1]))

import numpy as np
from planmath.linalg import Matmul, matmul
from tests.generic.conformance import PAIRS, check_products, dense, operand
from tests.generic.operands import UPPER, Kind, laid, numbers, qualifiers

GE, SY, HE, TR, DG = map(Kind, ("ge", "sy", "he", "tr", "dg"))
RNG = np.random.default_rng(0)


def asked(call):
    '''What an execution asks of the library, and how many kernels it launches.'''
    CUBLAS.cublasForget()
    STANDIN.standinForget()
    call()
    launches = STANDIN.standinJournal().decode().count("launch")
    return [line.split()[0] for line in CUBLAS.cublasJournal().decode().splitlines()], launches
"""
)

pytestmark = pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")


@pytest.fixture
def run(standin):  # noqa: F811
    return lambda program: run_python(PROGRAM + textwrap.dedent(program), standin, ROOT, timeout=120)


@pytest.mark.parametrize("part", range(4))
def test_products(run, part):
    """All pairs, of which each provider takes its own and refuses the others."""
    run(f"""
        for pair in PAIRS[{part}::4]:
            for provider in ("cublas", "planmath"):
                check_products(pair, provider, execution="cuda", draws=1)
    """)


def test_nothing_is_launched_that_need_not_be(run):
    run("""
        n = 6
        for kinds, dtype, orders, wanted in (
            ((GE, GE), "float64", ("rows", "rows"), (["Dgemm"], 0)),
            ((GE, GE), "float32", ("rows", "columns"), (["Sgemm"], 0)),
            ((SY, GE), "float64", ("rows", "rows"), (["Dsymm"], 0)),
            ((SY, GE), "float64", ("rows", "columns"), (["Dsymm"], 0)),
            ((GE, HE), "complex64", ("columns", "columns"), (["Chemm"], 0)),
            ((HE, GE), "complex128", ("rows", "columns"), (["Zhemm"], 1)),
            ((TR, GE), "complex64", ("rows", "columns"), (["Ctrmm"], 0)),
            ((Kind("tr", conjugate=True), GE), "complex64", ("rows", "columns"), (["Ctrmm"], 0)),
            ((TR, SY), "float64", ("rows", "rows"), (["Dtrmm"], 1)),
            ((DG, GE), "float64", ("rows", "strided"), ([], 1)),
        ):
            a, b = (operand(RNG, kind, n, n, (), dtype, order) for kind, order in zip(kinds, orders))
            with Matmul(a, b, qualifiers=qualifiers(*kinds), execution="cuda") as product:
                product.plan()
                assert asked(product.execute) == wanted, (kinds, asked(product.execute))
    """)


def test_batches_are_one_call_where_the_library_has_one(run):
    run("""
        for kind, calls, launches in ((GE, ["DgemmStridedBatched"], 0), (TR, ["DgemmStridedBatched"], 1)):
            a, b = operand(RNG, kind, 5, 5, (2, 3), "float64", "rows"), numbers(RNG, (2, 3, 5, 4), "float64")
            with Matmul(a, b, qualifiers=qualifiers(kind, GE), execution="cuda") as product:
                product.plan()
                assert asked(product.execute) == (calls, launches)
                way = product._plan_made.algorithms[-1]
                product._add_program(way, way)
                if kind is TR:
                    assert asked(lambda: product._execute(way, None)) == (["Dtrmm"] * 6, 0)
                np.testing.assert_allclose(product.execute(), (dense(kind, a) @ b).astype(float))
            swapped = b.transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3)
            with Matmul(a, swapped, qualifiers=qualifiers(kind, GE), execution="cuda") as product:
                product.plan()
                assert asked(product.execute) == (calls * 2, launches)
    """)


def test_a_factor_of_zero_reads_nothing(run):
    run("""
        c = numbers(RNG, (7, 4), "float64")
        for kind in (GE, SY, TR, DG):
            a, b = np.full((7,) if kind is DG else (7, 7), np.inf), np.full((7, 4), np.nan)
            for given, order in ((c, "rows"), (c, "columns"), (None, None)):
                extra = [] if given is None else [GE]
                held = None if given is None else laid(given, order)
                beta = None if given is None else 2.0
                known = qualifiers(kind, GE, *extra)
                with Matmul(a, b, held, beta=beta, qualifiers=known, execution="cuda") as product:
                    product.plan()
                    for way in product._plan_made.algorithms:
                        product._add_program(way, way)
                        product.reset_operands(alpha=0.0)
                        expected = np.zeros((7, 4)) if given is None else 2 * given
                        np.testing.assert_array_equal(product._execute(way, None), expected)
                        product.reset_operands(alpha=1.0)
            good = operand(RNG, kind, 7, 7, (), "float64", "rows")
            bad = np.full((7, 4), np.nan)
            r = matmul(good, c, bad, beta=0.0, qualifiers=qualifiers(kind, GE, GE), execution="cuda")
            np.testing.assert_allclose(r, (dense(kind, good) @ c).astype(float))
    """)


def test_narrow_dtypes(run):
    run("""
        for kind in (GE, SY, TR, DG):
            a = operand(RNG, kind, 9, 9, (2,), "float32", "strided").astype("float16")
            b, c = numbers(RNG, (9, 4), "float32").astype("float16"), np.ones((9, 4), "float16")
            for extra, factors in (((), {}), ((c,), {"beta": 2.0})):
                given = qualifiers(kind, GE, *[GE] * len(extra))
                r = matmul(a, b, *extra, qualifiers=given, execution="cuda", **factors)
                assert r.dtype == np.float16
                expected = dense(kind, a).astype("float32") @ b.astype("float32") + 2 * len(extra)
                np.testing.assert_allclose(r, expected, rtol=1e-3, atol=1e-3)
    """)


def test_numbers_of_sixteen_bits(run):
    """All of them become float32, and what lies at, beside and between them is rounded, as PyTorch has it."""
    pytest.importorskip("torch")
    run("""
        import torch
        from planmath.core.arrays import package_named
        from planmath.core.cuda.device_arrays import upload
        from planmath.core.cuda.queue import Queue
        from planmath.linalg.product import device_kernels
        from planmath.linalg.product.matrix import Matrix
        from planmath.linalg.product.pipeline import Region
        from planmath.linalg.product.structure import GENERAL
        from planmath.native.call import Slot

        def converted(values, source, target):
            n = values.numel()
            given = values.contiguous().view(torch.uint8).numpy()
            found = torch.empty(n, dtype=getattr(torch, target))
            size = found.numel() * found.element_size()
            owner, addresses = upload([given, np.zeros(size, np.uint8)], Queue(0, package_named("numpy")))
            regions = [Region(Matrix(dtype, n, 1, 1, n), Slot(i)) for i, dtype in enumerate((source, target))]
            calls, launch = device_kernels.expand(GENERAL, *regions, (), Slot(2), 0)
            for call in (*calls, launch):
                call(*addresses, 0)
            runtime.memcpy_async(found.data_ptr(), addresses[1], size, runtime.MemcpyKind.DEVICE_TO_HOST, 0)
            return found

        every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
        for name in ("float16", "bfloat16"):
            kept = getattr(torch, name)
            x = every.view(kept)
            r = converted(x, name, "float32")
            assert torch.equal(r.isnan(), x.isnan()) and torch.equal(r[~r.isnan()], x[~x.isnan()].float())
            assert torch.equal(r[~r.isnan()].signbit(), x[~x.isnan()].signbit())
            at = x[x.isfinite()].float().sort().values
            infinite = torch.tensor(float("inf"))
            beside = [at.nextafter(infinite), at.nextafter(-infinite)]
            middle = at[:-1] / 2 + at[1:] / 2
            more = [middle.nextafter(infinite), middle.nextafter(-infinite)]
            special = torch.tensor([65519.0, 65520.0, 3.4e38, 1e-40, -1e-40, float("inf"), -float("inf"), float("nan")])
            values = torch.cat([at, *beside, middle, *more, special])
            r, expected = converted(values, "float32", name), values.to(kept)
            assert torch.equal(r.isnan(), expected.isnan())
            assert torch.equal(r[~r.isnan()].view(torch.int16), expected[~r.isnan()].view(torch.int16))
    """)


def test_triangular_systems(run):
    run("""
        from tests.generic.test_triangular import KINDS, check_systems
        for kind in KINDS:
            check_systems(kind, "cublas", "cuda")
    """)


def test_lists(run):
    run("""
        kinds = [(GE, GE), (TR, GE), (GE, SY), (DG, GE), (TR, GE)]
        a = [operand(RNG, left, 4, 4, (), "float64", "rows") for left, _ in kinds]
        b = [operand(RNG, right, 4, 4, (), "float64", "columns") for _, right in kinds]
        known = [qualifiers(*pair) for pair in kinds]
        expected = [2 * dense(l, x) @ dense(r, y) for (l, r), x, y in zip(kinds, a, b)]
        with Matmul(a, b, alpha=2, qualifiers=known, execution="cuda") as product:
            product.plan()
            calls, launches = asked(product.execute)
            assert calls == ["Dgemm", "Dtrmm", "Dsymm", "Dtrmm"] and launches == 1
            for result, wanted in zip(product.execute(), expected):
                np.testing.assert_allclose(result, wanted.astype(float))
    """)


def test_operands_on_the_device(run):
    """The package's stream and memory: nothing crosses, nothing waits."""
    run("""
        from tests.core import standin_cupy
        cupy = standin_cupy.install()
        a, b = operand(RNG, TR, 6, 6, (), "float64", "rows"), numbers(RNG, (6, 4), "float64")
        c = numbers(RNG, (6, 4), "float64")
        on_device = [cupy.asarray(x) for x in (a, b, c)]
        expected = dense(TR, a) @ b + 2 * c
        with Matmul(*on_device, beta=2.0, qualifiers=qualifiers(TR, GE, GE)) as product:
            product.plan()
            STANDIN.standinForget()
            CUBLAS.cublasForget()
            np.testing.assert_allclose(product.execute().get(), expected.astype(float))
            journal = STANDIN.standinJournal().decode()
            assert "copy" not in journal and "wait" not in journal
            assert CUBLAS.cublasJournal() == b"Dtrmm on 3\\n"
            out = product.empty_result()
            assert product.execute(out=out, stream=5) is out
            np.testing.assert_allclose(out.get(), expected.astype(float))
            assert CUBLAS.cublasJournal().endswith(b"Dtrmm on 5\\n")
        r = matmul(*on_device[:2], qualifiers=qualifiers(TR, GE), execution="cpu")
        np.testing.assert_allclose(r.get(), (dense(TR, a) @ b).astype(float))
        options = {"inplace": True, "blocking": True}
        with Matmul(*on_device, beta=2.0, options=options, qualifiers=qualifiers(SY, GE, GE)) as product:
            product.plan()
            assert product.execute() is on_device[2]
            np.testing.assert_allclose(on_device[2].get(), (dense(SY, a) @ b + 2 * c).astype(float))
            assert STANDIN.standinJournal().decode().rstrip().endswith("wait for 3")
    """)


def test_many_threads_share_the_handle(run):
    """Each finds its own work on its own stream."""
    run("""
        import threading
        problems = []
        for i in range(4):
            a, b = numbers(RNG, (20 + i, 20 + i), "float64"), numbers(RNG, (20 + i, 8), "float64")
            problems.append((Matmul(a, b, qualifiers=qualifiers(SY, GE), execution="cuda"), dense(SY, a) @ b))
            problems[-1][0].plan()
        failures = []

        def work(product, expected):
            for _ in range(50):
                if not np.allclose(product.execute(), expected.astype(float)):
                    failures.append(product)

        threads = [threading.Thread(target=work, args=problem) for problem in problems]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
    """)


def test_symmetric_results(run):
    run("""
        from tests.generic.test_symmetric_results import check_results
        check_results("cublas", "cuda")
    """)


@pytest.mark.parametrize("check", [check.__name__ for check in device_checks.CHECKS])
def test_check(run, check):
    run(f"""
        from tests.generic import device_checks
        from tests.core import standin_cupy
        from tests.sparse.cudss_checks import Place
        standin_cupy.install()
        device_checks.{check}(Place("cupy"))
    """)
