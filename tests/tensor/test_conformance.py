"""Contractions of every kind, by every provider, on every package, dtype and memory layout."""

from __future__ import annotations

import itertools

import numpy as np
import opt_einsum
import pytest

from planmath.core.arrays import contiguous_strides
from planmath.core.errors import UnavailableError
from planmath.core.provider import Algorithm
from planmath.tensor import (
    BinaryContraction,
    ComputeDesc,
    Contraction,
    ContractionAlgo,
    ContractionJitMode,
    TernaryContraction,
    binary_contraction,
    contract,
    ternary_contraction,
)
from planmath.tensor.providers import PROVIDERS
from tests.arrays import package_of, strides_of, to_numpy
from tests.linalg.operands import dtype_of, place, random_values
from tests.tensor.operands import INEXPRESSIBLE, LAYOUTS, ON_DEVICE, cases, gaps, reversed_axes
from tests.tensor.reference import assert_near, reference

#: One of each kind: the expression and the operands' shapes.
BINARY = {
    "matrix product": ("ij,jk->ik", (5, 7), (7, 3)),
    "transposed result": ("ij,jk->ki", (5, 7), (7, 3)),
    "several summed": ("ijk,jkl->il", (4, 3, 5), (3, 5, 2)),
    "summed in another order": ("mhkn,ukh->mnu", (3, 4, 5, 6), (2, 5, 4)),
    "nothing in order": ("abcd,dbea->ec", (4, 3, 2, 5), (5, 3, 6, 4)),
    "tensor product": ("aebf,dfce->abcd", (3, 2, 4, 3), (2, 3, 5, 2)),
    "batch": ("bij,bjk->bik", (4, 2, 3), (4, 3, 5)),
    "batch inside": ("ibj,jbk->ibk", (2, 4, 3), (3, 4, 5)),
    "batch last": ("ijb,jkb->ikb", (2, 3, 4), (3, 5, 4)),
    "two batches": ("abij,bajk->iakb", (2, 3, 2, 3), (3, 2, 3, 4)),
    "elementwise": ("ij,ij->ij", (4, 5), (4, 5)),
    "elementwise, transposed": ("ij,ji->ij", (4, 5), (5, 4)),
    "outer": ("i,j->ij", (4,), (5,)),
    "outer, transposed": ("i,j->ji", (4,), (5,)),
    "dot": ("i,i", (7,), (7,)),
    "all summed": ("ij,ji", (4, 5), (5, 4)),
    "matrix and vector": ("ij,j", (4, 5), (5,)),
    "scalar operand": ("ij,->ji", (4, 5), ()),
    "two scalars": (",->", (), ()),
    "summed in one": ("ijl,jkm->ik", (2, 3, 4), (3, 5, 2)),
    "all summed in one": ("ij,k->k", (3, 4), (5,)),
    "diagonal": ("iij,jk->ik", (3, 3, 4), (4, 2)),
    "trace": ("iij,jk->k", (3, 3, 4), (4, 2)),
    "diagonal of diagonals": ("iijj,jjk->ik", (3, 3, 2, 2), (2, 2, 4)),
    "extents of one": ("ijk,kl->ijl", (3, 1, 4), (4, 1)),
    "repeated along one": ("ij,jk->ik", (3, 1), (4, 5)),
    "repeated batch": ("bij,bjk->bik", (1, 2, 3), (4, 3, 5)),
    "dots": ("...ij,...jk->...ik", (2, 3, 4, 5), (3, 5, 2)),
    "dots, repeated": ("...ij,...jk", (2, 1, 4, 5), (3, 5, 2)),
    "implied result": ("ba,cb", (3, 4), (5, 3)),
    "modes by numbers": ([(0, 1), (1, 2), (2, 0)], (3, 4), (4, 5)),
    "modes of any kind": ([("i", (1, 2)), ((1, 2), None), ("i", None)], (3, 4), (4, 5)),
    "long sum": ("ij,jk->ik", (2, 1000), (1000, 3)),
    "primes": ("abc,cdb->ad", (13, 7, 11), (11, 17, 7)),
}  # fmt: skip

TERNARY = {
    "chain": ("ij,jk,kl->il", (3, 4), (4, 5), (5, 2)),
    "chain, transposed": ("ij,jk,kl->li", (3, 4), (4, 5), (5, 2)),
    "all share one": ("ai,aj,ak->ijk", (3, 4), (3, 2), (3, 5)),
    "all elementwise": ("ij,ij,ij->ij", (3, 4), (3, 4), (3, 4)),
    "quadratic form": ("i,ij,j", (4,), (4, 5), (5,)),
    "outer": ("i,j,k->kij", (2,), (3,), (4,)),
    "triangle": ("ijk,jl,kl->i", (3, 4, 5), (4, 6), (5, 6)),
    "disconnected": ("ij,kl,ik->jl", (3, 4), (5, 2), (3, 5)),
    "summed in one": ("ijx,jk,ky->iy", (3, 4, 2), (4, 5), (5, 2)),
    "diagonal": ("iij,jk,k->i", (3, 3, 4), (4, 5), (5,)),
}  # fmt: skip


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("kind", BINARY)
def test_binary(case, kind):
    expr, *shapes = BINARY[kind]
    a, b = (case.operand(shape, seed=i) for i, shape in enumerate(shapes))
    r = binary_contraction(expr, a, b, options=case.options)
    assert package_of(r) == case.package
    assert dtype_of(r) == case.dtype
    assert_near(r, reference(expr, [a, b]))


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("kind", TERNARY)
def test_ternary(case, kind):
    expr, *shapes = TERNARY[kind]
    operands = [case.operand(shape, seed=i) for i, shape in enumerate(shapes)]
    r = ternary_contraction(expr, *operands, options=case.options)
    assert package_of(r) == case.package
    assert_near(r, reference(expr, operands, steps=2, between=case.between))


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("case", cases("float64", "complex64", "float16"))
@pytest.mark.parametrize(
    "layouts", list(itertools.product(LAYOUTS, LAYOUTS)), ids=lambda pair: "-".join(f.__name__ for f in pair)
)
@pytest.mark.parametrize("kind", ["nothing in order", "batch", "summed in another order"])
def test_memory_layouts(case, layouts, kind):
    if any((case.package, layout) in INEXPRESSIBLE for layout in layouts):
        pytest.skip(f"{case.package} has no such strides")
    expr, *shapes = BINARY[kind]
    a, b = (case.operand(shape, layout, seed=i) for i, (shape, layout) in enumerate(zip(shapes, layouts, strict=True)))
    assert_near(binary_contraction(expr, a, b, options=case.options), reference(expr, [a, b]))


def every_algorithm(operation):
    """The object planned for each of its algorithms in turn."""
    operation.plan()
    problem = operation._plan_made.problem
    wanted = operation._options.provider
    providers = [p for p in PROVIDERS if wanted in (None, p.name) and p.unsupported(problem) is None]
    for algorithm in [algorithm for provider in providers for algorithm in provider.algorithms(problem)]:
        try:
            operation._make_plan(problem, operation._slots, [algorithm])
        except UnavailableError:
            if algorithm.provider in ON_DEVICE:  # that knows only when planning how many kernels it has
                continue
            raise
        yield algorithm


@pytest.mark.pairwise
@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("dtype", ["float64", "complex128", "float16"])
@pytest.mark.parametrize("with_c", [False, True])
def test_every_algorithm(kind, dtype, with_c):
    expr, *shapes = BINARY[kind]
    a, b = (place(random_values(shape, dtype, i), dtype, "numpy") for i, shape in enumerate(shapes))
    shape = reference(expr, [a, b]).values.shape
    c = place(random_values(shape, dtype, 5), dtype, "numpy") if with_c else None
    with BinaryContraction(expr, a, b, c=c, qualifiers=conjugating(dtype, 3)) as contraction:
        arrays = [
            np.conj(array)[...] if i in (0, 2) else array for i, array in enumerate((a, b, c)) if array is not None
        ]
        factors = {"alpha": 0.5, "beta": -2.0 if with_c else None}
        expected = reference(expr, arrays[:2], *arrays[2:], **{k: v for k, v in factors.items() if v is not None})
        seen = [
            algorithm for algorithm in every_algorithm(contraction) if near(contraction.execute(**factors), expected)
        ]
    assert len({algorithm.provider for algorithm in seen}) == 2


@pytest.mark.parametrize("kind", TERNARY)
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_every_algorithm_of_three_operands(kind, dtype):
    expr, *shapes = TERNARY[kind]
    operands = [place(random_values(shape, dtype, i), dtype, "numpy") for i, shape in enumerate(shapes)]
    shape = reference(expr, operands).values.shape
    d = place(random_values(shape, dtype, 5), dtype, "numpy")
    with TernaryContraction(expr, *operands, d=d, qualifiers=conjugating(dtype, 4)) as contraction:
        arrays = [np.conj(x)[...] if i in (0, 2) else x for i, x in enumerate(operands)]
        expected = reference(expr, arrays, d, alpha=2.0, beta=0.5, steps=2)
        for algorithm in every_algorithm(contraction):
            assert near(contraction.execute(alpha=2.0, beta=0.5), expected), algorithm


def conjugating(dtype, count):
    """Qualifiers that conjugate the first and the third."""
    if not dtype.startswith("complex"):
        return None
    return np.array([9, 1, 9, 1][:count], np.int32)


def near(result, expected):
    assert_near(result, expected)
    return True


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("threads", [1, 2])
def test_larger_ones_share_the_work(case, threads):
    a, b = case.operand((40, 30, 20, 8), seed=1), case.operand((8, 30, 24, 40), seed=2)
    expected = reference("abcd,dbea->ec", [a, b])
    execution = {"name": "cuda"} if case.on_device else {"name": "cpu", "num_threads": threads}
    with BinaryContraction("abcd,dbea->ec", a, b, options=case.options, execution=execution) as contraction:
        for _ in every_algorithm(contraction):
            assert_near(contraction.execute(), expected)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("expr", ["ka,kb->ab", "kla,lkb->ba", "kla,kbl->ab"])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("inplace", [False, True])
def test_threads_share_long_sums(eight_cpus, expr, dtype, threads, inplace):
    """Each has a result of its own, and what is added is added once."""
    extents = {"k": 96, "l": 90, "a": 7, "b": 6} if "l" in expr else {"k": 12000, "a": 7, "b": 6}
    shapes = ([extents[mode] for mode in modes] for modes in expr.replace("->", ",").split(","))
    a, b, c = (place(random_values(shape, dtype, i), dtype, "numpy") for i, shape in enumerate(shapes))
    expected = reference(expr, [np.conj(a), b], np.conj(c), alpha=2.0, beta=0.5)
    execution, before, shared = {"name": "cpu", "num_threads": threads}, c.copy(), 0
    with BinaryContraction(
        expr, a, b, c=c, out=c if inplace else None, qualifiers=conjugating(dtype, 3), execution=execution
    ) as contraction:
        for algorithm in every_algorithm(contraction):
            shared += algorithm.get("share") == "sums"
            c[...] = before
            assert_near(contraction.execute(alpha=2.0, beta=0.5), expected)
    assert shared


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("expr", ["ak,kb->ab", "ka,bk->ab", "ka,kb->ba", "ak,bk->ba", "lak,klb->lab", "lka,lbk->alb"])
@pytest.mark.parametrize("a_is_longer", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_threads_share_the_rows_of_products(eight_cpus, expr, threads, a_is_longer, dtype):
    """Of the longer side of the result, in shares that need not be equal, of every product if there are several."""
    extents = {"k": 53, "l": 2, "a": 101, "b": 67} if a_is_longer else {"k": 53, "l": 2, "a": 61, "b": 103}
    shapes = ([extents[mode] for mode in modes] for modes in expr.replace("->", ",").split(","))
    a, b, c = (place(random_values(shape, dtype, i), dtype, "numpy") for i, shape in enumerate(shapes))
    expected = reference(expr, [np.conj(a), b], np.conj(c), alpha=2.0, beta=0.5)
    execution, shared = {"name": "cpu", "num_threads": threads}, 0
    with BinaryContraction(expr, a, b, c=c, qualifiers=conjugating(dtype, 3), execution=execution) as contraction:
        for algorithm in every_algorithm(contraction):
            shared += algorithm.get("share") == "blocks"
            assert_near(contraction.execute(alpha=2.0, beta=0.5), expected)
    assert shared


@pytest.mark.parametrize("case", cases("float64", "float16"))
def test_addend_is_repeated_along_extents_of_one(case):
    a, b, c = case.operand((3, 4)), case.operand((4, 5)), case.operand((3, 1), seed=3)
    r = binary_contraction("ij,jk->ik", a, b, c=c, beta=2.0, options=case.options)
    assert_near(r, reference("ij,jk->ik", [a, b], np.broadcast_to(to_numpy(c), (3, 5)), beta=2.0))


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("layout", [np.array, gaps, reversed_axes])
def test_out(case, layout):
    a, b, out = case.operand((3, 4, 2)), case.operand((4, 2, 5)), case.operand((3, 5), layout, seed=7)
    assert binary_contraction("ijk,jkl->il", a, b, out=out, options=case.options) is out
    assert_near(out, reference("ijk,jkl->il", [a, b]))


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("layout", [np.array, gaps, reversed_axes])
def test_out_that_is_the_addend_is_replaced(case, layout):
    a, b, c = case.operand((3, 4, 2)), case.operand((4, 2, 5)), case.operand((3, 5), layout, seed=7)
    before = case.like(to_numpy(c).copy()) if case.dtype != "bfloat16" else c.clone()
    with BinaryContraction("ijk,jkl->il", a, b, c=c, out=c, options=case.options) as contraction:
        contraction.plan()
        assert contraction.execute(beta=0.5) is c
    assert_near(c, reference("ijk,jkl->il", [a, b], before, beta=0.5))


@pytest.mark.parametrize("layout", ["auto", "C", "F", "optimized"])
@pytest.mark.parametrize("case", cases("float64"))
def test_result_layouts(case, layout):
    a, b = case.operand((4, 3, 5, 2)), case.operand((6, 2, 7, 3))
    r = binary_contraction("aebf,dfce->abcd", a, b, options=case.options | {"result_layout": layout})
    assert_near(r, reference("aebf,dfce->abcd", [a, b]))
    in_order = {"C": "abcd", "F": "dcba"}.get(layout, "abdc")  # as the operands have them
    strides = contiguous_strides(tuple(r.shape), tuple("abcd".index(mode) for mode in in_order))
    assert strides_of(r) == strides


def test_automatic_layout_is_the_usual_one_where_that_costs_nothing():
    a, b, c = np.ones((3, 4)), np.ones((4, 5)), np.ones((5, 3))
    assert binary_contraction("ij,jk->ik", a, b).flags.c_contiguous
    assert binary_contraction("ij,kj->ik", a, b.T.copy()).flags.c_contiguous
    assert binary_contraction("ij,jk->ki", a, b).flags.c_contiguous
    assert binary_contraction("ij,jk->ki", a, b, c=c, beta=1.0).flags.c_contiguous


def test_results_of_a_zero_beta_do_not_see_the_addend():
    a, b, c = np.ones((3, 4)), np.ones((4, 5)), np.full((3, 5), np.nan)
    for provider in ("gemm", "einsum"):
        r = binary_contraction("ij,jk->ik", a, b, c=c, beta=0.0, options={"provider": provider})
        np.testing.assert_array_equal(r, 4.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_compute_types(dtype):
    a, b = (place(random_values((4, 4), dtype, i), dtype, "numpy") for i in range(2))
    single = ("COMPUTE_32F",) if dtype == "float16" else ("COMPUTE_32F", "COMPUTE_TF32", "COMPUTE_3XTF32")
    names = ("COMPUTE_64F", "COMPUTE_32F") if dtype in ("float64", "complex128") else single
    for name in names:
        r = binary_contraction("ij,jk->ik", a, b, options={"compute_type": getattr(ComputeDesc, name)()})
        assert_near(r, reference("ij,jk->ik", [a, b]))


@pytest.mark.parametrize("algo", list(ContractionAlgo))
def test_algorithms_that_are_preferred(algo):
    a, b = np.random.default_rng(0).random((2, 6, 6, 6, 6))
    with BinaryContraction("abcd,dbea->ec", a, b) as contraction:
        contraction.plan_preference.algo = algo
        contraction.plan()
        chosen: Algorithm = contraction._plan_made.chosen
        assert_near(contraction.execute(), reference("abcd,dbea->ec", [a, b]))
        copies = chosen.get("copies")
        if algo == ContractionAlgo.GETT:
            assert copies == "none"
        elif algo == ContractionAlgo.TGETT:
            assert "d" not in copies
        elif algo == ContractionAlgo.TTGT:
            assert {"a", "b"} <= set(copies)


def test_rank_counts_the_algorithms():
    a, b = np.ones((2, 6, 6, 6, 6))
    with BinaryContraction("abcd,dbea->ec", a, b) as contraction:
        contraction.plan()
        algorithms = [x for x in contraction._plan_made.algorithms if x.provider == "gemm"]
        contraction.plan_preference.kernel_rank = 2
        contraction.plan()
        assert contraction._plan_made.chosen == algorithms[2]


def test_preferences_are_hints_on_the_cpu(caplog):
    a, b = np.random.default_rng(0).random((2, 6, 6, 6, 6))
    with caplog.at_level("INFO"), BinaryContraction("abcd,dbea->ec", a, b) as contraction:
        preference = contraction.plan_preference
        preference.algo, preference.kernel_rank = ContractionAlgo.TTGT, 10_000
        preference.jit = ContractionJitMode.DEFAULT
        contraction.plan()
        assert {"a", "b"} <= set(contraction._plan_made.chosen.get("copies"))
        contraction.autotune(iterations=1)
        report = contraction.report()
        assert_near(contraction.execute(), reference("abcd,dbea->ec", [a, b]))
        preference.kernel_rank, preference.jit = 0, ContractionJitMode.NONE
        contraction.plan()
        assert "without effect" not in contraction.report()
    for hint in ("plan_preference.jit=DEFAULT", "plan_preference.kernel_rank=10000"):
        assert f"{hint} is without effect: " in report
        assert f"Hint: {hint} is without effect: " in caplog.text
    assert "plan_preference.algo" not in report


@pytest.mark.parametrize("first", [50, 75, 566, 8052, 12148, 55_295, 60_000])
def test_letters_of_opt_einsum(first):
    """Those of its symbols that Unicode counts as signs, spaces and letters of private use included."""
    i, j, k = map(opt_einsum.get_symbol, range(first, first + 3))
    a, b = np.random.default_rng(0).random((2, 3, 3))
    np.testing.assert_allclose(contract(f"{i}{j}, {j}{k} -> {k}{i}", a, b), (a @ b).T)


def test_results_without_axes_are_operands():
    """NumPy's functions return numbers in their place."""
    a = np.arange(6.0).reshape(2, 3)
    number = np.einsum("ij,ij->", a, a)
    assert isinstance(number, np.float64)
    for _ in range(2):
        np.testing.assert_array_equal(binary_contraction("ij,", a, number), 55 * a)
        np.testing.assert_array_equal(ternary_contraction(",ij,", number, a, number), 55**2 * a)
        np.testing.assert_array_equal(binary_contraction("ij,ij", a, a, c=number, beta=2), 3 * 55)
        np.testing.assert_array_equal(contract(",ij,ik->jk", number, a, a), 55 * a.T @ a)
        np.testing.assert_array_equal(contract(number, (), a, (0, 1)), 55 * a)
    with BinaryContraction("ij,", a, np.array(1.0)) as contraction:
        contraction.plan()
        contraction.reset_operands(b=number)
        np.testing.assert_array_equal(contraction.execute(), 55 * a)
    with Contraction("ij,,->ij", a, number, number) as contraction:
        contraction.plan()
        contraction.reset_operands(None, np.float64(2), None)
        np.testing.assert_array_equal(contraction.execute(), 110 * a)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_of_numpy():
    """They keep two axes whatever they are indexed with, also where an axis repeats another operand's."""
    row, square = np.matrix([[1.0, 2]]), np.matrix([[1.0, 2], [3, 4]])
    for expr, operands in (("ij,ij->", (row, square)), ("ij,ij,jk->k", (row, square, square)), ("ii->i", (square,))):
        result = contract(expr, *operands)
        assert type(result) is np.ndarray
        np.testing.assert_allclose(result, np.einsum(expr, *map(np.asarray, operands)))
        with Contraction(expr, *map(np.asarray, operands)) as contraction:
            contraction.plan()
            contraction.reset_operands(*operands)
            np.testing.assert_allclose(contraction.execute(), result)


def test_many_modes():
    """More than NumPy has letters for in one operand; any number works where they are of one element."""
    a, b = np.ones((1,) * 40 + (3, 4)), np.ones((4, *(1,) * 40))
    expr = [tuple(range(42)), (41, *range(100, 140)), (40, 139)]
    np.testing.assert_array_equal(binary_contraction(expr, a, b), np.full((3, 1), 4.0))
    a, b = np.ones((2,) * 12), np.ones((2,) * 12)
    expr = [tuple(range(12)), tuple(range(11, -1, -1)), tuple(range(0, 12, 2))]
    np.testing.assert_array_equal(binary_contraction(expr, a, b), np.full((2,) * 6, 2.0**6))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("length", [1, 3, 63, 64, 65, 130, 257, 1000])
def test_sums_and_products_of_elements(dtype, length):
    """Rows of every length: shorter and longer than what kernels sum at a time, and a multiple of that or not."""
    a, b = (random_values((3, length), dtype, seed).astype(dtype) for seed in (1, 2))
    for expr, operands in (
        ("ij->i", (a,)), ("ij->j", (a,)), ("ij->", (a[:, ::-2],)), ("ij,ij->i", (a, b)), ("ij,ij->ij", (a, b)),
        ("ij,j->ij", (a[:, ::2], b[0, ::2])), ("i,ij->j", (a[:, :1].sum(1), b)), ("i,j->ij", (a[:, :1].sum(1), b[0])),
    ):  # fmt: skip
        exact = np.einsum(expr, *[np.asarray(x, "complex128") for x in operands])
        scale = np.einsum(expr, *[np.abs(x).astype("f8") for x in operands])
        result = contract(expr, *operands)
        assert np.all(abs(result - exact) <= 8 * np.finfo(dtype).eps * scale + np.finfo(dtype).tiny), expr
    with BinaryContraction("ij,ij->ij", a, b, c=b) as contraction:
        contraction.plan()
        np.testing.assert_allclose(contraction.execute(alpha=2.0, beta=0.0), 2 * a * b, rtol=1e-5)
        np.testing.assert_allclose(contraction.execute(alpha=-3.0, beta=1.0), b - 3 * a * b, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(contraction.execute(alpha=0.0, beta=1.0), b)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_of_small_products(dtype, n):
    a, b = (random_values(shape, dtype).astype(dtype) for shape in ((500, n, 3), (500, 3, n)))
    with BinaryContraction("bij,bjk->bik", a, b) as contraction:
        contraction.plan()
        for algorithm in contraction._plan_made.algorithms:
            contraction._add_program(algorithm, algorithm)
            result = contraction._executor.execute(algorithm, None)
            np.testing.assert_allclose(result, a @ b, rtol=1e-4, atol=1e-5, err_msg=str(algorithm))
