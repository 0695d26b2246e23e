"""`execute(out=...)`: results go where the user says, and nothing is allocated."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from planmath.core.arrays import package_named
from planmath.linalg.advanced import Matmul, MatmulEpilog
from planmath.linalg.advanced.epilog import EPILOGS
from tests.arrays import strides_of, to_numpy
from tests.linalg.operands import REAL, Case, cases, column_major, padded_rows, wide
from tests.linalg.reference import assert_near, assert_product, reference
from tests.linalg.test_epilogs import Forward
from tests.memory import bytes_taken

E = MatmulEpilog
SHAPES = [
    ((13, 21), (21, 9)),
    ((21,), (21, 9)),
    ((13, 21), (21,)),
    ((21,), (21,)),
    ((3, 5, 4), (3, 4, 6)),
    ((2, 3, 5, 4), (4, 6)),
]


def planned(
    case: Case, epilog: E = E.DEFAULT, shapes: Any = ((13, 21), (21, 9)), c: str = "", **options: Any
) -> tuple[Matmul, Forward]:
    forward = Forward(case, epilog, *shapes, c)
    mm = Matmul(forward.a, forward.b, forward.c, **forward.scales, options=case.options | options)
    mm.plan(epilog=epilog, epilog_inputs=forward.inputs)
    return mm, forward


def poison(out: Any) -> None:
    """Fill an array, or a tuple of array and dictionary, with what no result has."""
    for array in (out[0], *out[1].values()) if isinstance(out, tuple) else (out,):
        if array is not None:
            array[...] = 77


def test_out_is_filled_and_returned(case):
    for shape_a, shape_b in SHAPES:
        a, b = case.operand(shape_a), case.operand(shape_b, column_major, seed=1)
        with Matmul(a, b, options=case.options) as mm:
            mm.plan()
            out = mm.empty_result()
            assert strides_of(out) == strides_of(mm.execute())
            for _ in range(2):
                poison(out)
                assert mm.execute(out=out) is out
                assert_product(out, case, a, b)


def test_out_within_a_larger_array(case):
    """Dense, but at any place in the user's memory."""
    memory = case.addend((4, 13, 9))
    a, b = case.operand((13, 21)), case.operand((21, 9), seed=1)
    rest = wide(memory)[[0, 1, 3]]
    with Matmul(a, b, options=case.options) as mm:
        mm.plan()
        mm.execute(out=memory[2])
    assert_product(memory[2], case, a, b)
    np.testing.assert_array_equal(wide(memory)[[0, 1, 3]], rest)


def test_strides_of_axes_with_one_element_do_not_matter(case):
    a, b = case.operand((1, 21)), case.operand((21, 9), seed=1)
    out = case.addend((1, 9), padded_rows)
    with Matmul(a, b, options=case.options) as mm:
        mm.plan()
        assert strides_of(mm.empty_result()) != strides_of(out)
        assert mm.execute(out=out) is out
        assert_product(out, case, a, b)


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases(*REAL))
@pytest.mark.parametrize("epilog", list(E), ids=lambda e: e.name)
def test_auxiliary_results(case, epilog):
    for shapes in SHAPES:
        mm, forward = planned(case, epilog, shapes)
        with mm:
            out = mm.empty_result()
            for _ in range(2):
                poison(out)
                assert mm.execute(out=out) is out
                forward.check(*(out if isinstance(out, tuple) else (out, {})), what=shapes)


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases("float32", "float16"))
@pytest.mark.parametrize("epilog", [e for e in E if EPILOGS[e].auxiliary], ids=lambda e: e.name)
def test_auxiliary_results_beside_one_in_place(case, epilog):
    for give_c in (False, True):
        mm, forward = planned(case, epilog, c="batch", inplace=True)
        with mm:
            main, auxiliary = mm.empty_result()
            assert main is None
            out = (forward.c if give_c else None, auxiliary)
            poison((None, auxiliary))
            result, given = mm.execute(out=out)
            assert result is forward.c
            assert all(given[name] is auxiliary[name] for name in auxiliary)
            forward.check(result, given)


@pytest.mark.pairwise
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("epilog", [E.DEFAULT, E.RELU_BIAS, E.GELU_AUX_BIAS, E.DRELU_BGRAD], ids=lambda e: e.name)
@pytest.mark.parametrize("case", cases("float32", "float64", "float16"))
def test_nothing_is_allocated(case, epilog, inplace, monkeypatch):
    """No array, and no memory but for the call's own objects: temporary memory is kept from the first execution on."""
    mm, _ = planned(case, epilog, ((40, 30), (30, 50)), "batch", inplace=inplace)
    with mm:
        out = None if inplace and not EPILOGS[epilog].auxiliary else mm.empty_result()
        mm.execute(out=out)
        monkeypatch.setattr(
            type(package_named(case.package.removesuffix("-cuda"))),
            "empty",
            lambda *_: pytest.fail("an array was allocated"),
        )
        assert bytes_taken(lambda: mm.execute(out=out)) < 4096


@pytest.mark.parametrize("case", cases("float64"))
def test_new_workspace_after_it_was_released(case):
    mm, forward = planned(case, E.RELU_AUX_BIAS)
    with mm:
        for _ in range(3):
            forward.check(*mm.execute(release_workspace=True))
            mm.autotune(iterations=1, release_workspace=True)


OUT = {
    "another dtype": lambda case, out: case.like(np.zeros_like(to_numpy(out)), "complex64", column_major),
    "another shape": lambda case, out: out[1:],
    "other strides": lambda case, out: case.operand((13, 9), padded_rows),
    "no array": lambda case, out: [1.0],
    "not given": lambda case, out: None,
}
SAYS = {
    "another dtype": (ValueError, "has the dtype complex64; expected float64.*empty_result"),
    "another shape": (ValueError, r"has the shape \(12, 9\); expected \(13, 9\).*empty_result"),
    "other strides": (ValueError, r"has the strides \(12, 1\).*; expected \(1, 13\).*copy it.*empty_result"),
    "no array": (TypeError, "is a list; expected a numpy.ndarray, cupy.ndarray or torch.Tensor"),
    "not given": (TypeError, "is a NoneType; expected a numpy.ndarray, cupy.ndarray or torch.Tensor"),
}


@pytest.mark.parametrize("case", cases("float64"))
@pytest.mark.parametrize("what", OUT)
def test_results_that_do_not_fit(case, what):
    error, says = SAYS[what]
    mm, forward = planned(case, E.GELU_AUX_BIAS)
    with mm:
        main, auxiliary = mm.empty_result()
        with pytest.raises(error, match=rf"^out\[0\] {says}"):
            mm.execute(out=(OUT[what](case, main), auxiliary))
        if what in ("no array", "not given"):
            with pytest.raises(error, match=rf"^out\[1\]\['gelu_aux'\] {says}"):
                mm.execute(out=(main, {"gelu_aux": OUT[what](case, main)}))
        mm.plan(epilog=E.BIAS, epilog_inputs=forward.inputs)
        if what != "not given":
            with pytest.raises(error, match=f"^out {says}"):
                mm.execute(out=OUT[what](case, main))
        Forward(case, E.BIAS, (13, 21), (21, 9)).check(mm.execute(), {})


@pytest.mark.parametrize("case", cases("float64"))
@pytest.mark.parametrize(
    ("out", "error", "says"),
    [
        (
            lambda d, x: d,
            TypeError,
            "out is a .*; expected a tuple of the result and a dict of the auxiliary results relu_aux",
        ),
        (lambda d, x: [d, x], TypeError, "out is a list; expected a tuple"),
        (lambda d, x: (d, list(x.values())), TypeError, "out is a tuple; expected a tuple of the result and a dict"),
        (lambda d, x: (d,), TypeError, "expected a tuple of the result and a dict"),
        (lambda d, x: (d, {}), ValueError, r"out\[1\] has the keys \[\]; expected \['relu_aux'\]"),
        (
            lambda d, x: (d, {"aux": x["relu_aux"]}),
            ValueError,
            r"out\[1\] has the keys \['aux'\]; expected \['relu_aux'\]",
        ),
        (lambda d, x: (d, x | {"more": d}), ValueError, r"keys \['more', 'relu_aux'\]; expected \['relu_aux'\]"),
    ],
)
def test_what_out_consists_of(case, out, error, says):
    mm, forward = planned(case, E.RELU_AUX)
    with mm:
        with pytest.raises(error, match=says):
            mm.execute(out=out(*mm.empty_result()))
        forward.check(*mm.execute())


@pytest.mark.parametrize("case", cases("float32"))
def test_results_that_share_memory(case):
    """With an operand, an input of the epilog, or each other."""
    n = 16
    square = ((n, n), (n, n))
    mm, forward = planned(case, E.GELU_AUX_BIAS, square, "matrix")
    with mm:
        main, auxiliary = mm.empty_result()
        for name, array in (("b", forward.b), ("c", forward.c)):  # which are column-major as the result is
            with pytest.raises(ValueError, match=rf"^out\[0\] shares memory with {name}, which is read while"):
                mm.execute(out=(array, auxiliary))
            with pytest.raises(ValueError, match=rf"^out\[1\]\['gelu_aux'\] shares memory with {name}"):
                mm.execute(out=(main, {"gelu_aux": array}))
        with pytest.raises(
            ValueError, match=r"^out\[0\] shares memory with out\[1\]\['gelu_aux'\]; pass separate arrays"
        ):
            mm.execute(out=(main, {"gelu_aux": main}))
        memory = case.like(np.zeros(n * n + 4 * n))
        halves = [memory[start : start + n * n].reshape(n, n).T for start in (0, 4 * n)]
        with pytest.raises(ValueError, match=r"out\[0\] shares memory with out\[1\]"):
            mm.execute(out=(halves[0], {"gelu_aux": halves[1]}))
        forward.check(*mm.execute())
    mm, forward = planned(case, E.DEFAULT, square, "matrix")
    with mm:
        for name, array in (("b", forward.b), ("c", forward.c)):
            with pytest.raises(ValueError, match=f"^out shares memory with {name}.*options.inplace"):
                mm.execute(out=array)
        forward.check(mm.execute(), {})


@pytest.mark.parametrize("case", cases("float32"))
def test_result_that_shares_memory_with_the_bias(case):
    memory = case.exact((60,))
    a, b = case.exact((5, 4)), case.exact((4, 6), seed=1)
    with Matmul(a, b, options=case.options) as mm:
        mm.plan(epilog=E.BIAS, epilog_inputs={"bias": memory[28:33]})
        with pytest.raises(ValueError, match=r"^out shares memory with bias"):
            mm.execute(out=memory[:30].reshape(6, 5).T)
        out = memory[30:].reshape(6, 5).T
        with pytest.raises(ValueError, match=r"^out shares memory with bias"):
            mm.execute(out=out)
        mm.reset_operands(epilog_inputs={"bias": memory[20:25]})
        expected = wide(a) @ wide(b) + wide(memory[20:25])[:, None]
        assert mm.execute(out=out) is out
        np.testing.assert_array_equal(wide(out), expected)


@pytest.mark.parametrize("case", cases("float32"))
def test_out_between_the_operands_elements(case):
    """The addresses interleave, and no element is shared: that is allowed."""
    memory = case.operand((40, 30))
    column, out = memory[:13, 3], memory[5, 21:30]
    b = case.operand((13, 9), seed=1)
    with Matmul(column, b, options=case.options) as mm:
        mm.plan()
        assert mm.execute(out=out) is out
    assert_product(out, case, column, b)


@pytest.mark.parametrize("case", cases("float32"))
def test_in_place_takes_no_out(case):
    mm, forward = planned(case, c="batch", inplace=True)
    with mm:
        before = wide(forward.c)
        with pytest.raises(
            ValueError, match=r"out was given, but the result replaces c \(options.inplace\); leave out away"
        ):
            mm.execute(out=forward.c)
        with pytest.raises(RuntimeError, match=r"empty_result\(\) has nothing to make: the result replaces an operand"):
            mm.empty_result()
        np.testing.assert_array_equal(wide(forward.c), before)
    mm, forward = planned(case, E.RELU_AUX, c="batch", inplace=True)
    with mm:
        _, auxiliary = mm.empty_result()
        other = case.exact((13, 9))
        with pytest.raises(
            ValueError, match=r"out\[0\] was given, but the result replaces c .*; pass None or c for it"
        ):
            mm.execute(out=(other, auxiliary))


@pytest.mark.parametrize("case", cases("float32"))
def test_tensors_that_require_gradients(case):
    """Are read and written like others under ``torch.no_grad()``."""
    if case.package != "torch":
        pytest.skip("only tensors have gradients")
    torch = pytest.importorskip("torch")
    for alpha, shape in itertools.product((1.0, 2.0), ((5, 5), (3, 5, 5))):
        a, b, c = (case.operand(shape, seed=seed).requires_grad_() for seed in range(3))
        with torch.no_grad():
            with Matmul(a, b, alpha=alpha, options=case.options) as mm:
                mm.plan()
                assert not mm.execute().requires_grad
                out = mm.empty_result().requires_grad_()
                assert mm.execute(out=out) is out
                assert_product(out, case, a, b, alpha=alpha)
            with Matmul(a, b, c, alpha=alpha, beta=1.0, options=case.options | {"inplace": True}) as mm:
                mm.plan()
                expected = reference(case, a, b, c, alpha=alpha, beta=1.0)
                assert mm.execute() is c
                assert_near(c, expected)
