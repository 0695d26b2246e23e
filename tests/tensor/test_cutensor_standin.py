"""What the provider asks of cuTENSOR, on stand-ins for the library and for the CUDA runtime: no device is needed."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from planmath.tensor.providers.cutensor_stages import _constants
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ctypes, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from planmath.bindings import runtime
from tests.tensor import standin_cutensor

STANDIN = ctypes.CDLL(sys.argv[1])
STANDIN.standinAvailable.argtypes = [ctypes.c_size_t]
STANDIN.standinAvailable(1 << 30)
runtime.LIBRARY.candidates = lambda: [sys.argv[1]]
LIBRARY = standin_cutensor.install()

from planmath.core.errors import UnavailableError
from planmath.tensor import *
from planmath.tensor.providers import cutensor
from tests.linalg.operands import place, random_values
from tests.tensor.operands import backwards, gaps
from tests.tensor.reference import assert_near, reference
from tests.tensor.test_conformance import BINARY, TERNARY, every_algorithm

WORK = ("Contract", "ContractTrinary", "Reduce", "Permute")


def operands(dtype, *shapes, layout=np.array):
    return [place(random_values(shape, dtype, i), dtype, "numpy", layout) for i, shape in enumerate(shapes)]


def contract(expr, a, b, expected=None, **arguments):
    '''The work that one execution asks of the library, once its result was compared.'''
    scaled = {name: arguments.pop(name) for name in ("alpha", "beta") if name in arguments}
    with BinaryContraction(expr, a, b, execution="cuda", **arguments) as contraction:
        contraction.plan()
        LIBRARY.calls.clear()
        r = contraction.execute(**scaled)
        assert_near(r, expected or reference(expr, [a, b]))
        return [name for name in LIBRARY.calls if name in WORK]
"""


@pytest.fixture
def run(standin):  # noqa: F811
    return lambda program: run_python(PROGRAM + textwrap.dedent(program), standin, ROOT)


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex128"])
def test_every_kind(run, dtype):
    run(f"""
        for expr, *shapes in BINARY.values():
            contract(expr, *operands("{dtype}", *shapes))
    """)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_every_algorithm_of_three_operands(run, dtype):
    run(f"""
        for expr, *shapes in TERNARY.values():
            given = operands("{dtype}", *shapes)
            expected = reference(expr, given, steps=2)
            with TernaryContraction(expr, *given, execution="cuda") as contraction:
                for algorithm in every_algorithm(contraction):
                    assert_near(contraction.execute(), expected)
    """)


def test_nothing_is_copied_that_need_not_be(run):
    run("""
        a, b = operands("float64", (3, 4), (4, 5))
        assert contract("ij,jk->ik", a, b) == ["Contract"]
        assert contract("ij,jk->ik", a, b[::-1]) == ["Permute"] * 4 + ["Contract"], "one for each row"
        assert contract("ij,jk->ik", a[:, ::-1], b[::-1]) == ["Contract"], "both run backwards"
        (x,) = operands("float64", (3, 3, 4))
        assert contract("iij,jk->ik", x, b) == ["Contract"], "a diagonal has a stride of its own"
        assert contract("iij,jk->k", x, b) == ["Contract"]
        half = operands("float16", (3, 4, 2), (4, 5))
        assert contract("ijx,jk->ik", *half) == ["Permute", "Reduce", "Permute", "Contract", "Permute"]
        wide = np.broadcast_to(a[:, :1], (3, 4))
        assert contract("ij,jk->ik", wide, b) == ["Contract"], "j is summed in b, for a repeats along it"
        assert contract("ij,ij->ij", wide, wide) == ["Permute", "Contract"]
    """)


def test_what_is_added(run):
    run("""
        a, b, c = operands("float64", (3, 4), (4, 5), (3, 5))
        expected = reference("ij,jk->ik", [a, b], c, alpha=2.0, beta=0.5)
        factors = {"alpha": 2.0, "beta": 0.5}
        assert contract("ij,jk->ik", a, b, expected, c=c, **factors) == ["Contract"]
        assert contract("ij,jk->ik", a, b, expected, c=np.array(c, order="F"), **factors) == ["Permute", "Contract"]
        column = np.broadcast_to(c[:, :1], (3, 5))
        expected = reference("ij,jk->ik", [a, b], column, **factors)
        assert contract("ij,jk->ik", a, b, expected, c=c[:, :1], **factors) == ["Permute", "Contract"]
        root = np.array([1, 1, Operator.OP_TANH], np.int32)
        expected = reference("ij,jk->ik", [a, b], np.tanh(c), **factors)
        assert contract("ij,jk->ik", a, b, expected, c=c, qualifiers=root, **factors) == ["Permute", "Contract"]
        replaced = gaps(c)
        arguments = {"c": replaced, "out": replaced, "qualifiers": root, **factors}
        assert contract("ij,jk->ik", a, b, expected, **arguments) == ["Permute", "Contract"]
        out = gaps(np.zeros((3, 5)))
        assert contract("ij,jk->ik", a, b, out=out) == ["Contract"]
        for array in (replaced, out):
            assert np.isnan(array.base[1::2]).all(), "what lies between the elements stays"
    """)


def test_too_many_launches_of_copies(run):
    run("""
        a, b = operands("float32", (70, 70, 2), (2, 3))
        try:
            contract("ijk,kl->ijl", a[::-1, ::-1], b)
        except UnavailableError as error:
            assert "cuTENSOR takes no negative strides, and to copy around them would take 4900 launches" in str(error)
        else:
            raise AssertionError
    """)


def test_addresses_of_less_alignment(run):
    """Operands that cross over are aligned in the workspace, so the calls are made here as on a device."""
    run("""
        a, b, d = operands("float32", (16, 24), (24, 8), (16, 8))
        with BinaryContraction("ij,jk->ik", a, b, execution="cuda") as contraction:
            contraction.plan()
            plan = contraction._plan_made
            (call,) = cutensor._prepare(plan.problem, plan.chosen).programs[None].calls
        memory = np.zeros(1024, np.uint8)
        start = -memory.ctypes.data % 256
        one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
        scratch = np.zeros(1024, np.uint8)
        work = (scratch.ctypes.data + 255) // 256 * 256
        for offset, status in ((0, 0), (4, 0), (2, 7)):
            moved = np.frombuffer(memory, np.uint8)[start + offset :][: 16 * 8 * 4]
            at = lambda array: array.ctypes.data | standin_cutensor.DEVICE
            # the stream, which is the last, is at any address
            assert call(at(a), at(b), one.ctypes.data, zero.ctypes.data, at(moved), work, 2) == status
            if status == 0:
                np.testing.assert_allclose(moved.view(np.float32).reshape(16, 8), a @ b, rtol=1e-4)
    """)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_alpha_of_zero_is_no_contraction(run, dtype):
    """The stand-in multiplies infinities by it."""
    run(f"""
        a, b = operands("{dtype}", (3, 4), (4, 5))
        bad = np.full_like(a, np.inf)
        for shape in ((3, 5), (1, 5), ()):
            c, *_ = operands("{dtype}", shape or (3, 5), layout=np.array if shape else np.asfortranarray)
            with BinaryContraction("ij,jk->ik", bad, b, c=c, execution="cuda") as contraction:
                contraction.plan()
                for alpha, beta, expected in ((0.0, 2.0, 2 * c), (0, 0.0, 0 * c), (0.0, 0.5, c / 2)):
                    r = contraction.execute(alpha=alpha, beta=beta)
                    np.testing.assert_array_equal(r, np.broadcast_to(expected, r.shape))
                contraction.reset_operands(a=a)
                assert_near(contraction.execute(beta=1.0), reference("ij,jk->ik", [a, b], c, beta=1.0))
        with BinaryContraction("ij,jk->ik", bad, b, c=c, out=c, execution="cuda") as contraction:
            contraction.plan()
            twice = 2 * c
            assert contraction.execute(alpha=0.0, beta=2.0) is c
            np.testing.assert_array_equal(c, twice)
        (last,) = operands("{dtype}", (5, 2))
        with TernaryContraction("ij,jk,kl->li", bad, b, last, execution="cuda") as contraction:
            contraction.plan()
            np.testing.assert_array_equal(contraction.execute(alpha=0.0), np.zeros((2, 3)))
            LIBRARY.calls.clear()
            contraction.execute(alpha=0)
            assert [name for name in LIBRARY.calls if name in WORK] == ["Permute"], "planned once"
    """)


def test_descriptors_and_plans_are_destroyed(run):
    run("""
        import gc
        a, b, c = operands("float64", (3, 4), (4, 5), (5, 6))
        ternary_contraction("ij,jk,kl->li", a, b, c, execution="cuda")
        binary_contraction("ijx,jk->ik", *operands("float64", (3, 4, 2), (4, 5)), execution="cuda")
        binary_contraction("ij,jk->ik", a, b, execution="cuda", options={"memory_limit": 10})
        mish = np.array([Operator.OP_MISH, 1, 1], np.int32)  # the stand-in lacks it
        try:
            binary_contraction("ij,ij->ij", a, a, execution="cuda", qualifiers=mish)
        except UnavailableError as error:
            assert "cuTENSOR has no plan for it: cutensorCreatePermutation failed: CUTENSOR_STATUS" in str(error)
        from planmath.core import remembered
        remembered.clear()
        cutensor._prepared.cache_clear()
        gc.collect()
        assert set(map(str, LIBRARY.objects.values())) == {"handle"}
    """)


def test_memory_limit(run):
    run("""
        given = operands("float64", (3, 4), (4, 5), (5, 6))
        for limit, works in ((15 * 8, True), (15 * 8 - 1, True), (0, True)):
            r = ternary_contraction("ij,jk,kl->il", *given, execution="cuda", options={"memory_limit": limit})
            assert_near(r, reference("ij,jk,kl->il", given, steps=2))
        given = operands("float16", (3, 4, 2), (4, 5))
        try:  # copies of both, at multiples of 256 bytes, the sums of one, and the result
            binary_contraction("ijx,jk->ik", *given, execution="cuda", options={"memory_limit": 827})
        except UnavailableError as error:
            assert "it needs at least 828 bytes of temporary memory, and options.memory_limit allows 827" in str(error)
        else:
            raise AssertionError
    """)


def test_many_tensors_with_operands_on_the_host(run):
    run("""
        import planmath
        from planmath.tensor import contract
        given = operands("float16", (8, 9), (9, 10), (10, 11), (11, 12))
        for limit in ("80%", 3000):
            r = contract("ij,jk,kl,lm->mi", *given, execution="cuda", options={"memory_limit": limit})
            assert_near(r, reference("ij,jk,kl,lm->mi", given, steps=3))
    """)


def test_constants_that_numpy_lacks():
    """bfloat16's are the upper halves of float32's."""
    assert [int(number[0]) for number in _constants("bfloat16").values()] == [0, 0x3F80]
    assert [number.dtype for number in _constants("float16").values()] == ["float16"] * 2
