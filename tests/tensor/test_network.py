"""Contractions of many tensors: order, workspace, slices, report."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.tensor import Contraction, contract
from planmath.tensor import path as paths
from planmath.tensor.expression import read
from tests.arrays import HOST_PACKAGES, package_of
from tests.linalg.operands import dtype_of, place, random_values
from tests.tensor.reference import assert_near, reference

#: Expressions of many operands, and the extents of their modes.
NETWORKS = {
    "chain": ("ab,bc,cd,de,ef->af", {"a": 3, "b": 4, "c": 5, "d": 6, "e": 4, "f": 2}),
    "ring": ("ab,bc,cd,de,ea->", {"a": 3, "b": 4, "c": 5, "d": 6, "e": 4}),
    "star": ("ax,bx,cx,dx->abcd", {"a": 2, "b": 3, "c": 4, "d": 2, "x": 5}),
    "hyperedges": ("abx,bcx,cdx,dax->x", {"a": 3, "b": 4, "c": 2, "d": 3, "x": 5}),
    "grid": ("ab,acd,bef,cg,dgh,ehi,fi->", dict.fromkeys("abcdefghi", 3)),
    "disconnected": ("ab,bc,xy,y->acx", {"a": 3, "b": 4, "c": 2, "x": 5, "y": 6}),
    "diagonals": ("aab,bcc,c->a", {"a": 3, "b": 4, "c": 5}),
    "transposed": ("ab->ba", {"a": 3, "b": 5}),
    "trace": ("aa->", {"a": 4}),
    "sum": ("abc->b", {"a": 3, "b": 4, "c": 5}),
    "two": ("ab,bc->ca", {"a": 3, "b": 4, "c": 5}),
}


def operands_of(expr, extents, dtype="float64", package="numpy"):
    terms = expr.partition("->")[0].split(",")
    shapes = [tuple(extents[mode] for mode in term) for term in terms]
    return [place(random_values(shape, dtype, i), dtype, package) for i, shape in enumerate(shapes)]


@pytest.mark.pairwise
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128"])
def test_networks(name, dtype, package):
    expr, extents = NETWORKS[name]
    operands = operands_of(expr, extents, dtype, package)
    r = contract(expr, *operands)
    assert package_of(r) == package
    assert dtype_of(r) == dtype
    assert_near(r, reference(expr, operands, steps=len(operands)))


@pytest.mark.parametrize("name", ["chain", "ring", "star", "hyperedges", "grid", "disconnected"])
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("package", HOST_PACKAGES)  # on a device, the library's kernels take more than such limits
def test_slices(name, dtype, package):
    """With less and less memory, down to the least that the message names."""
    expr, extents = NETWORKS[name]
    operands = operands_of(expr, {mode: 2 * n for mode, n in extents.items()}, dtype, package)
    expected = reference(expr, operands, steps=len(operands))
    with pytest.raises(UnavailableError) as caught:
        contract(expr, *operands, options={"memory_limit": 0})
    least = int(str(caught.value).rpartition("a limit of ")[2].split()[0])
    slices = []
    for limit in (1 << 30, 4000, 1000, 500, least):
        if limit < least:
            continue
        with Contraction(expr, *operands, options={"memory_limit": limit}) as contraction:
            contraction.plan()
            assert_near(contraction.execute(), expected)
            assert_near(contraction.execute(out=contraction.empty_result()), expected)
            network = contraction._network
            assert network.workspace_size + max(step.workspace_size for step in network.steps) <= limit
            slices.append(network.path.slices)
            doubled = [2 * operand for operand in operands]
            contraction.reset_operands(*doubled)
            assert_near(contraction.execute(), reference(expr, doubled, steps=len(operands)))
    assert slices == sorted(slices)
    assert slices[0] == 1
    assert slices[-1] > 1


@pytest.mark.parametrize("expr", ["ij->i", "ij,jk->ki", "ij,jk,kl->il", "i,ij,jk,k->", "ij,ij,jk,kl,lm,mi->m"])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "float16"])
def test_steps_without_slices_are_one_program(expr, dtype, tuning_record):
    terms = expr.partition("->")[0].split(",")
    rng = np.random.default_rng(4)
    old, new = ([(rng.random((4,) * len(term)) + 1).astype(dtype) for term in terms] for _ in range(2))
    tolerance = {"rtol": 1e-2 if dtype == "float16" else 1e-5}
    with Contraction(expr, *old) as contraction:
        contraction.plan()
        for _ in range(2):
            assert contraction._executor.programs[None].calls
            for operands in (old, new):
                contraction.reset_operands(*operands)
                expected = np.einsum(expr, *[x.astype(complex) for x in operands])
                np.testing.assert_allclose(contraction.execute(), expected, **tolerance)
                out = contraction.empty_result()
                assert contraction.execute(out=out, release_workspace=True) is out
                np.testing.assert_allclose(out, expected, **tolerance)
            contraction.autotune(iterations=1)


def test_result_is_added_to_while_it_is_near():
    """Slices of what is summed follow each other."""
    expression = read("ij,jk,kl->il", "abc", [(4, 4)] * 3)
    path = replace(paths.find(expression, [{}] * 3, "auto"), parts={"k": 2, "i": 2, "j": 2})
    outer = [position["i"] for position in path.positions()]
    assert outer == [0] * 4 + [1] * 4


def test_failed_plan_leaves_no_steps_behind():
    """The first step can be planned within the limit, and the second cannot."""
    a, b, c = np.ones((2, 3)), np.ones((3, 40)), np.ones((40, 50))
    path = [(0, 1), (0, 1)]
    limited = {"provider": "einsum", "memory_limit": 6000}
    with (
        Contraction("ij,jk,kl->il", a, b, c, optimize=path) as contraction,
        warnings.catch_warnings(record=True) as seen,
    ):
        contraction.plan()
        expected = contraction.execute()
        contraction._options = replace(contraction._options, **limited)
        contraction._problem = contraction._problem._replace(memory_limit=6000)
        with pytest.raises(UnavailableError, match="einsum: it may take"):
            contraction.plan()
        gc.collect()
        np.testing.assert_array_equal(contraction.execute(), expected)
    assert not seen


def test_half_precision_is_rounded_once():
    """Sums over slices would be rounded every time, so only modes of the result are cut."""
    a, b, c = (place(random_values((40, 40), "float16", i), "float16", "numpy") for i in range(3))
    exact = reference("ij,jk,kl->il", [a, b, c], steps=3)
    least = None
    with pytest.raises(UnavailableError, match="a limit of") as caught:
        contract("ij,jk,kl->il", a, b, c, options={"memory_limit": 1000})
    least = int(str(caught.value).rpartition("a limit of ")[2].split()[0])
    with Contraction("ij,jk,kl->il", a, b, c, options={"memory_limit": least}) as contraction:
        contraction.plan()
        assert set(contraction._network.path.parts) <= {"i", "l"}
        assert_near(contraction.execute(), exact)


def test_more_operands_than_an_executor_takes():
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=(4, 4)) / 2 for _ in range(40)]
    expr = [(i, i + 1) for i in range(40)] + [(0, 40)]
    np.testing.assert_allclose(contract(expr, *operands), np.linalg.multi_dot(operands))
    with Contraction(expr, *operands) as contraction:
        contraction.plan()
        contraction.execute()
        contraction.reset_operands(*[None] * 39, 2 * operands[-1])
        np.testing.assert_allclose(contraction.execute(), 2 * np.linalg.multi_dot(operands))


def test_places_are_used_again():
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=(32, 32)) for _ in range(20)]
    expr = [(i, i + 1) for i in range(20)] + [(0, 20)]
    one_by_one = [(0, 1)] + [(0, left - 1) for left in range(19, 1, -1)]
    with Contraction(expr, *operands, optimize=one_by_one) as contraction:
        contraction.plan()
        assert contraction._network.workspace_size == 2 * 32 * 32 * 8


def test_each_step_reads_what_was_left_for_it():
    """Whatever the order and the slices: nothing is written over what is still to be read, in this slice or a later."""
    rng = np.random.default_rng(1)
    kept = 0
    for _ in range(100):
        count = int(rng.integers(3, 9))
        modes = [tuple(rng.choice(8, size=rng.integers(1, 4), replace=False).tolist()) for _ in range(count)]
        extents = dict(enumerate(rng.integers(2, 5, 8).tolist()))
        shapes = [tuple(extents[m] for m in of) for of in modes]
        used = sorted({m for of in modes for m in of})
        expression = read([*modes, tuple(used[:2])], [str(i) for i in range(count)], shapes)
        whole = paths.find(expression, [dict.fromkeys(of, 1) for of in modes], "greedy")
        for parts in ({}, {mode: extents[mode] for mode in rng.choice(used, size=min(2, len(used)), replace=False)}):
            path = replace(whole, parts=parts)
            places, total = path.places()
            sliced = path.sliced()
            memory: list[tuple[int, Any]] = [(-1, None)] * total
            spans = [slice(at, at + path.size(s.result)) for at, s in zip(places, path.steps[:-1], strict=True)]
            for number in range(path.slices):
                for i, step in enumerate(path.steps):
                    if number and not sliced[count + i]:
                        continue
                    for factor in step.factors:
                        if factor >= count:
                            made = factor, number if sliced[factor] else 0
                            assert set(memory[spans[factor - count]]) == {made}
                            kept += number > 0 and not sliced[factor]
                    if i < len(spans):
                        memory[spans[i]] = [(count + i, number)] * (spans[i].stop - spans[i].start)
            assert len(memory) == total
    assert kept  # by several slices


def test_result_of_a_step_that_all_slices_read():
    """It is made in the first slice alone, and the others leave theirs elsewhere."""
    rng = np.random.default_rng(39)
    operands = [rng.standard_normal(shape) for shape in ((3, 3, 2, 2, 3), (3, 3, 2, 4), (2, 2), (2,), (3, 4))]
    expr = "baegc,bagf,de,d,cf->"
    for limit, slices in ((512, 2), (256, 4)):
        with Contraction(expr, *operands, options={"memory_limit": limit}) as contraction:
            contraction.plan()
            assert contraction._network.path.slices >= slices
            assert_near(contraction.execute(), reference(expr, operands, steps=5))


def test_order_of_the_users_own():
    a, b, c = np.ones((2, 30)), np.ones((30, 30)), np.ones((30, 2))
    for optimize, first in (([(0, 1), (0, 1)], (0, 1)), ([(1, 2), (0, 1)], (1, 2)), ([(0, 1, 2)], (0, 1))):
        with Contraction("ij,jk,kl->il", a, b, c, optimize=optimize) as contraction:
            contraction.plan()
            assert contraction._network.path.steps[0].factors == first
            np.testing.assert_array_equal(contraction.execute(), np.full((2, 2), 900.0))
    for name in ("greedy", "optimal", "branch-2", "auto"):
        np.testing.assert_array_equal(contract("ij,jk,kl->il", a, b, c, optimize=name), np.full((2, 2), 900.0))


def test_report_tells_what_it_costs():
    a, b, c = np.ones((2, 30)), np.ones((30, 40)), np.ones((40, 5))
    with Contraction("ij,jk,kl->il", a, b, c, optimize=[(0, 1), (0, 1)]) as contraction:
        contraction.plan()
        report = contraction.report()
    flops = 2 * (2 * 30 * 40 + 2 * 40 * 5)
    moved = 8 * (2 * 30 + 30 * 40 + 2 * 40 + 2 * 40 + 40 * 5 + 2 * 5)
    for part in (
        "'ij,jk,kl->il' of 3 operands of float64 on cpu", "ij,jk->ik", f"total: {flops} FLOPs", f"{moved} bytes",
        "largest intermediate: 80 elements, 640 bytes", "workspace: 640 bytes", "gemm(",
    ):  # fmt: skip
        assert part in report, report
    with Contraction("ij,jk,kl->il", a, b, c, options={"memory_limit": 300}) as contraction:
        contraction.plan()
        assert "slices: " in contraction.report()


@pytest.mark.parametrize("limit", ["80%", 400])
def test_tuning_tunes_each_step(tuning_record, limit):
    a, b, c = np.random.default_rng(0).random((3, 8, 8))
    with Contraction("ij,jk,kl->il", a, b, c, options={"memory_limit": limit}) as contraction:
        contraction.plan()
        contraction.autotune(iterations=1)
        np.testing.assert_allclose(contraction.execute(), a @ b @ c)
        assert {step._plan_made.origin for step in contraction._network.steps} == {"autotuning"}
    assert tuning_record.exists()


def test_out_must_not_share_memory_with_an_operand():
    a = np.random.default_rng(0).random((4, 4))
    with Contraction("ij,jk,kl->il", a, a.copy(), a.copy()) as contraction:
        contraction.plan()
        with pytest.raises(ValueError, match=r"out shares memory with operands\[0\]"):
            contraction.execute(out=a)


def test_operands_and_modes_in_turn():
    a, b, c = (np.random.default_rng(i).random((3, 3)) for i in range(3))
    r = contract(a, ("i", "j"), b, ("j", "k"), c, ("k", "l"), ("l", "i"))
    np.testing.assert_allclose(r, (a @ b @ c).T)
    np.testing.assert_allclose(contract(a, [0, 1], b, [1, 2]), a @ b)
