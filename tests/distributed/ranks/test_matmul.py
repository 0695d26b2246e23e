"""Distributed products against NumPy's of the whole matrices."""

import itertools

import numpy as np
import pytest

from planmath import CudaDataType
from planmath.distributed.distribution import BindDistributionError, BlockCyclic, BlockNonCyclic, Slab
from planmath.distributed.linalg.advanced import (
    Matmul,
    MatmulEpilog,
    MatmulQuantizationScales,
    matmul,
    matrix_qualifiers_dtype,
    summa,
)
from planmath.distributed.linalg.advanced.providers import DistributedMatmulProvider
from planmath.linalg.advanced import Matmul as LocalMatmul
from planmath.linalg.advanced import MatmulEpilog as LocalEpilog
from tests.distributed.ranks.arrays import grids, group, local, messages, whole

M, N, K = 14, 11, 9
E = MatmulEpilog


def near(result, expected, dtype="float64"):
    tolerance = {"float32": 1e-5, "complex64": 1e-5}.get(dtype, 1e-12)
    assert result.shape == expected.shape
    assert np.allclose(result, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max(initial=0)))


def qualified(a_transposed, b_transposed, conjugate=False):
    found = np.zeros(3, matrix_qualifiers_dtype)
    found["is_transpose"][:2] = a_transposed, b_transposed
    found["is_conjugate"][:2] = (a_transposed and conjugate, b_transposed and conjugate)
    return found


@pytest.mark.parametrize("cuts", list(itertools.product((0, 1), repeat=3)), ids=str)
def test_cuts_transposes_and_c(cuts):
    for number, (ta, tb) in enumerate(itertools.product((False, True), repeat=2)):
        dtype = ("float64", "complex128", "complex64", "float32")[number]
        a, b, c = whole((M, K), dtype, 1), whole((K, N), dtype, 2), whole((M, N), dtype, 3)
        conjugate = dtype.startswith("complex")
        if ta:
            a = np.conj(a) if conjugate else a
        stored = [
            a.T.conj() if ta and conjugate else a.T if ta else a,
            b.T.conj() if tb and conjugate else b.T if tb else b,
        ]
        slabs = [Slab(cut) for cut in cuts]
        for alpha, beta in ((None, None), (0.5, 2.0)):
            mine = local(c, slabs[2], "F") if beta is not None else None
            operands = [local(x, slab, "F") for x, slab in zip(stored, slabs, strict=False)]
            result = matmul(
                *operands, mine, distributions=slabs, alpha=alpha, beta=beta, qualifiers=qualified(ta, tb, conjugate)
            )
            expected = (alpha or 1) * (a @ b) + (beta or 0) * c
            near(result, local(expected, slabs[2]), dtype)
            assert result is mine or mine is None
            assert result.flags.f_contiguous


def test_any_distributions():
    a, b = whole((M, K), seed=1), whole((K, N), seed=2)
    found = [Slab.X, Slab.Y]
    for grid in grids(2, group().nranks):
        found += [BlockNonCyclic(grid), BlockCyclic(grid, (2, 3)), BlockCyclic(grid, (4, 1))]
    pairs = list(itertools.product(found, repeat=2))
    for number, (one, other) in enumerate(pairs[:: 1 + len(pairs) // 30]):
        result = found[number % len(found)]
        with Matmul(local(a, one, "F"), local(b, other, "F"), distributions=[one, other, result]) as product:
            product.plan()
            expected = local(a @ b, result)
            for _ in range(2):
                near(product.execute(), expected)
            assert ("local product" in product.report()) == (expected.size > 0)


@pytest.fixture
def panels(monkeypatch):
    """SUMMA where it is a way, in panels of a few columns."""
    every = DistributedMatmulProvider.algorithms
    monkeypatch.setattr(summa, "LEAST", 3)
    monkeypatch.setattr(
        DistributedMatmulProvider, "algorithms",
        lambda self, problem: sorted(every(self, problem), key=lambda of: of.get("way") != "summa"),
    )  # fmt: skip


@pytest.mark.ranks(2)
@pytest.mark.parametrize("provider", ["mapped", "messages", "broadcast"])
def test_panels(panels, provider):
    """Grids of which panels are in one rank's part, and in those of several; with c, transposed, and an epilog."""
    m, n, k = 14, 11, 26
    given, found = list(grids(2, group().nranks)), 0
    options = {"provider": messages() if provider == "messages" else provider}
    for number, grid in enumerate([*given, *given]):
        of = BlockCyclic(grid, (2, 2)) if number < len(given) else BlockCyclic(grid, (7, 7))
        dtype = ("float64", "complex128", "complex64", "float32")[number % 4]
        a, b, c = whole((m, k), dtype, 1), whole((k, n), dtype, 2), whole((m, n), dtype, 3)
        flips = (number % 2 == 1, number % 3 == 1)
        stored = [local(x.T if flip else x, of, "F") for x, flip in zip((a, b), flips, strict=True)]
        with Matmul(
            *stored, local(c, of, "F"), distributions=[of] * 3, alpha=2, beta=0.5, qualifiers=qualified(*flips),
            options=options | {"inplace": False},
        ) as product:  # fmt: skip
            product.plan()
            found += isinstance(product._stages(), summa.Summa)
            for _ in range(2):
                near(product.execute(), local(2 * (a @ b) + c / 2, of), dtype)
            product.reset_operands(a=3 * stored[0], alpha=1, beta=2)
            near(product.execute(), local(3 * (a @ b) + 2 * c, of), dtype)
            if number % 4 in (0, 3):
                product.plan(epilog=E.RELU)
                near(product.execute(), local(np.maximum(3 * (a @ b) + 2 * c, 0), of), dtype)
    assert found >= len(given)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_panels_of_16_bits_are_rounded_once(panels, dtype, torch):
    of = BlockCyclic(list(grids(2, group().nranks))[-1], (8, 8))
    a, b, c = whole((16, 48), seed=1), whole((48, 24), seed=2), whole((16, 24), seed=3)
    kind = getattr(torch, dtype)
    a, b, c = (torch.from_numpy(x).to(kind) for x in (a, b, c))
    parts = [torch.from_numpy(local(x.double().numpy(), of, "F")).to(kind).T.contiguous().T for x in (a, b, c)]
    with Matmul(*parts, distributions=[of] * 3, beta=2.0, options={"inplace": False}) as product:
        for epilog in (None, E.RELU):
            product.plan(epilog=epilog)
            assert isinstance(product._stages(), summa.Summa)
            expected = (a.float() @ b.float() + 2 * c.float()).to(kind).double()
            expected = expected if epilog is None else expected.clamp(min=0)
            found = product.execute()
            assert found.dtype is kind
            one = {"bfloat16": 2**-8, "float16": 2**-11}[dtype]
            assert np.allclose(found.double(), local(expected.numpy(), of), rtol=2 * one, atol=one)
        product.reset_operands(alpha=0.5, beta=0.0)
        expected = np.maximum((a.float() @ b.float() / 2).numpy(), 0)
        assert np.allclose(product.execute().double(), local(expected, of), rtol=2 * one, atol=one)


@pytest.mark.ranks(2)
def test_a_panel_that_fails_on_one_rank(panels):
    """The others have their results, and all can go on."""
    of = BlockCyclic(next(grids(2, group().nranks)), (2, 2))
    a, b = whole((14, 26), seed=1), whole((26, 11), seed=2)
    with Matmul(local(a, of, "F"), local(b, of, "F"), distributions=[of] * 3) as product:
        product.plan()
        steps = product._stages()._steps

        def fails(*operands):
            raise MemoryError("no room")

        if group().rank == 0:
            right, steps[1] = steps[1], fails
            with pytest.raises(MemoryError, match="no room"):
                product.execute()
            steps[1] = right
        else:
            near(product.execute(), local(a @ b, of))
        near(product.execute(), local(a @ b, of))


def both_ways():
    return [(Slab.X, Slab.Y, Slab.X), (Slab.Y, Slab.X, Slab.Y), (Slab.Y, Slab.X, Slab.X), (Slab.X, Slab.X, Slab.Y)]


@pytest.mark.parametrize("epilog", [e for e in E if e != E.ALLREDUCE], ids=lambda e: e.name)
def test_epilogs(epilog):
    """As a single process has them, on the whole matrices."""
    m, n, k = 24, 16, 12
    a, b, bias = whole((m, k), seed=1), whole((k, n), seed=2), whole((m,), seed=3)
    a, b = np.asfortranarray(a), np.asfortranarray(b)
    forward = {"DRELU": LocalEpilog.RELU_AUX, "DGELU": LocalEpilog.GELU_AUX}.get(epilog.name.partition("_")[0])
    inputs = {"bias": bias} if "BIAS" in epilog.name else {}
    backward = None
    if forward is not None:
        with LocalMatmul(a, b) as product:
            product.plan(epilog=forward)
            backward = product.execute()[1]
        a = np.asfortranarray(whole((m, k), seed=4))
    with LocalMatmul(a, b) as product:
        product.plan(epilog=epilog.local, epilog_inputs=inputs | (backward or {}))
        expected = product.execute()
    expected, auxiliary = expected if isinstance(expected, tuple) else (expected, {})
    for distributions in both_ways():
        rows = distributions[2].section(group().rank, (m, n))[0]
        columns = distributions[2].section(group().rank, (m, n))[1]
        (r,), (c,) = ([slice(*of) for of in axis] or [slice(0, 0)] for axis in (rows, columns))
        mine = {"bias": bias[r].copy()} if inputs else {}
        if backward is not None:
            with LocalMatmul(np.asfortranarray(whole((m, k), seed=1)[r]), np.asfortranarray(b[:, c])) as product:
                product.plan(epilog=forward)
                mine |= product.execute()[1]
        with Matmul(
            local(a, distributions[0], "F"), local(b, distributions[1], "F"), distributions=distributions
        ) as product:
            product.plan(epilog=epilog, epilog_inputs=mine)
            result = product.execute()
            result, extra = result if isinstance(result, tuple) else (result, {})
            near(result, expected[r, c])
            assert list(extra) == list(auxiliary)
            for name, values in extra.items():
                if name == "bgradb":
                    near(values, auxiliary[name])
                elif not name.endswith("_aux"):
                    near(values, auxiliary[name][r])
                elif name == "gelu_aux":
                    near(values[: r.stop - r.start], auxiliary[name][r, c])
                else:
                    bits = np.unpackbits(values, axis=0, bitorder="little")[: r.stop - r.start]
                    every = np.unpackbits(auxiliary[name], axis=0, bitorder="little")[r, c]
                    assert np.array_equal(bits, every)


def test_allreduce():
    a, b, c = whole((M, K), seed=1), whole((K, N), seed=2), np.asfortranarray(whole((M, N), seed=3))
    expected = 2 * a @ b + 3 * c
    mine = c.copy(order="F")
    slabs = [Slab.Y, Slab.X, Slab.X]
    with Matmul(local(a, Slab.Y, "F"), local(b, Slab.X, "F"), mine, distributions=slabs, alpha=2, beta=3) as product:
        product.plan(epilog=E.ALLREDUCE)
        assert product.execute() is mine
        near(mine, expected)
    if group().nranks > 1:
        with (
            Matmul(local(a, Slab.X, "F"), local(b, Slab.Y, "F"), distributions=[Slab.X, Slab.Y, Slab.X]) as product,
            pytest.raises(ValueError, match="cut along k"),
        ):
            product.plan(epilog=E.ALLREDUCE)


def test_lifecycle():
    a, b, c = whole((M, K), seed=1), whole((K, N), seed=2), whole((M, N), seed=3)
    slabs = [Slab.X, Slab.Y, Slab.X]
    mine, bias = local(c, Slab.X, "F"), local(whole((M, 1), seed=5), Slab.X)[:, 0].copy()
    operands = local(a, Slab.X, "F"), local(b, Slab.Y, "F")
    with Matmul(*operands, mine, distributions=slabs, beta=1.0, options={"inplace": False}) as product:
        with pytest.raises(RuntimeError, match="call plan"):
            product.execute()
        with pytest.raises(ValueError, match="epilog_inputs lacks bias"):
            product.plan(epilog=E.BIAS)
        product.plan(epilog=E.BIAS, epilog_inputs={"bias": bias})
        plain = local(a @ b, Slab.X)
        near(product.execute(), plain + mine + bias[:, None])
        assert np.array_equal(mine, local(c, Slab.X))
        product.reset_operands(a=2 * operands[0], alpha=0.5, beta=2.0, epilog_inputs={"bias": 3 * bias})
        near(product.execute(), plain + 2 * mine + 3 * bias[:, None])
        product.plan()
        near(product.execute(), plain + 2 * mine)
        product.plan(epilog=E.BIAS, epilog_inputs={"bias": bias})
        product.release_operands()
        with pytest.raises(RuntimeError, match="reset_operands"):
            product.execute()
        with pytest.raises(ValueError, match="bias"):
            product.reset_operands(a=operands[0], b=operands[1], c=mine)
        product.reset_operands(a=operands[0], b=operands[1], c=mine, epilog_inputs={"bias": bias})
        near(product.execute(), plain / 2 + 2 * mine + bias[:, None])
        with pytest.raises(ValueError, match="no operand"):
            product.reset_operands()
    with Matmul(local(a, Slab.Y, "F"), local(b, Slab.X, "F"), distributions=[Slab.Y, Slab.X, Slab.X]) as product:
        product.plan()
        product.autotune(iterations=2)
        near(product.execute(), plain)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_torch_dtypes(dtype, torch):
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.integers(-3, 4, shape)).to(getattr(torch, dtype)) for shape in ((16, 8), (8, 24)))
    expected = a.double() @ b.double()
    for slabs in both_ways():
        parts = [
            torch.from_numpy(local(x.double().numpy(), slab, "F")).to(x.dtype)
            for x, slab in zip((a, b), slabs, strict=False)
        ]
        parts = [x.T.contiguous().T for x in parts]
        result = matmul(*parts, distributions=slabs)
        assert isinstance(result, torch.Tensor)
        near(result.double().numpy(), local(expected.numpy(), slabs[2]))


def test_fp8(torch):
    rng = np.random.default_rng(1)
    a, b = rng.integers(-3, 4, (32, 64)).astype(float), rng.integers(-3, 4, (32, 96)).astype(float)
    stored = [Slab.Y, Slab.Y]  # both with k along the columns, a transposed
    parts = [torch.from_numpy(local(x, slab, "F").T.copy()) for x, slab in zip((a, b), stored, strict=True)]
    result = matmul(
        *[part.to(torch.float8_e4m3fn).T for part in parts], distributions=[*stored, Slab.X],
        qualifiers=qualified(True, False), quantization_scales=MatmulQuantizationScales(a=2.0, b=0.5),
        options={"result_type": CudaDataType.CUDA_R_32F},
    )  # fmt: skip
    assert result.dtype is torch.float32
    near(result.double().numpy(), local(a.T @ b, Slab.X))


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"a": np.zeros((3, 3, 3))}, ValueError, "two axes"), ({"a": np.zeros((6, 5))}, ValueError, "column-major"),
        ({"distributions": [Slab.X]}, ValueError, "three"),
        ({"distributions": [1, 2, 3]}, TypeError, r"distributions\[0\]"),
        ({"beta": 1.0, "c": np.zeros((99, 2), order="F")}, ValueError, "c of rank|whether there is a c"),
        ({"c": np.zeros((4, 4), order="F")}, ValueError, "beta was not given"),
        ({"alpha": "x"}, ValueError, "alpha is 'x'"), ({"options": {"inplace": 2}}, ValueError, "inplace"),
        ({"a": np.zeros((6, 6), order="F")}, ValueError, "differs|columns of a|distribution|local array"),
        ({"qualifiers": qualified(False, False)[:2]}, ValueError, "qualifiers"),
        ({"a": np.zeros((4, 4), "float32", order="F")}, ValueError, "dtype|differs|matrix of"),
    ],
)  # fmt: skip
def test_one_wrong_rank(change, kind, says):
    a, b = whole((M, K), seed=1), whole((K, N), seed=2)
    arguments = {
        "a": local(a, Slab.X, "F"), "b": local(b, Slab.Y, "F"), "c": None, "distributions": [Slab.X, Slab.Y, Slab.X]
    }  # fmt: skip
    if group().rank == group().nranks - 1:
        arguments |= change
    with pytest.raises((kind, BindDistributionError), match=says):
        matmul(arguments.pop("a"), arguments.pop("b"), arguments.pop("c"), **arguments)
