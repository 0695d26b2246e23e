"""What a user does wrong with contractions, and what the message says."""
# ruff: noqa: E501 - the tables read best with one mistake a line

from __future__ import annotations

import logging

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.tensor import (
    BinaryContraction,
    ComputeDesc,
    Contraction,
    ContractionOptions,
    Operator,
    TernaryContraction,
    binary_contraction,
    contract,
    tensor_qualifiers_dtype,
    ternary_contraction,
)
from tests.misuse import Misuse, check, frozen

A, B = np.arange(12.0).reshape(3, 4), np.arange(20.0).reshape(4, 5)
C = np.ones((3, 5))
HUGE = np.broadcast_to(np.ones(()), (50, 50))


def expr(text, a=A, b=B):
    return lambda: binary_contraction(text, a, b)


def planned(call, **given):
    def run():
        with BinaryContraction("ij,jk->ik", A, B, **given) as contraction:
            contraction.plan()
            call(contraction)

    return run


def planned_square(x, call, **given):
    with BinaryContraction("ij,jk->ik", x, np.ones((3, 3)), **given) as contraction:
        contraction.plan()
        call(contraction)


def operators(*values, dtype=tensor_qualifiers_dtype, a=A, b=B):
    return lambda: binary_contraction("ij,jk", a, b, qualifiers=np.array(values, dtype))


def many(limit):
    def run():
        operands = [np.ones((6, 7)), np.ones((7, 8)), np.ones((8, 9)), np.ones((9, 6))]
        with Contraction("ij,jk,kl,lm->im", *operands, options={"memory_limit": limit}) as contraction:
            contraction.plan()

    return run


V, T, U = ValueError, TypeError, UnavailableError
EXPRESSIONS = [
    Misuse("lone dash", expr("ij,j-i"), V, ("has a '-' that is no '->':\n    ij,j-i\n        \\^$",)),
    Misuse("lone arrow head", expr("ij,jk>ik"), V, ("has a '>' that is no '->':\n    ij,jk>ik\n         \\^$",)),
    Misuse("two arrows", expr("ij,jk->i->k"), V, ("second '->':\n    ij,jk->i->k\n            \\^$",)),
    Misuse("comma in the result", expr("ij,jk->i,k"), V, ("more than one term after the '->':\n    ij,jk->i,k\n            \\^$",)),
    Misuse("a digit", expr("i1,1k"), V, ("has '1', which is no letter", "sequences:\n    i1,1k\n     \\^$")),
    Misuse("dots", expr("i..,jk"), V, ("dots that are no '...':\n    i..,jk\n     \\^$",)),
    Misuse("dots twice", expr("...i...,jk"), V, ("'...' twice in one term:\n    ...i...,jk\n        \\^$",)),
    Misuse("dots in the result alone", expr("ij,jk->...ik"), V, ("'...' in the result, and no operand has it:\n    ij,jk->...ik\n           \\^$",)),
    Misuse("one term", expr("ij"), V, (r"has 1 terms for 2 operands \(a, b\):" "\n    ij\n      \\^$",)),
    Misuse("three terms", expr("ij,jk,kl->il"), V, ("has 3 terms for 2 operands", "ij,jk,kl->il\n          \\^$")),
    Misuse("too few modes", expr("ij,j->i"), V, (r"has 1 modes for b, whose shape is \(4, 5\):" "\n    ij,j->i\n       \\^$",)),
    Misuse("too many modes", expr("ijk,jk"), V, (r"has 3 modes for a, whose shape is \(3, 4\)", r"ijk,jk\n    \^$")),
    Misuse("too many modes beside dots", expr("ijk...,jk"), V, (r"has at least 3 modes for a",)),
    Misuse("other extents", expr("ij,ik"), V, ("has the mode 'i' with the extent 4 in b and 3 in a:\n    ij,ik\n       \\^$",)),
    Misuse("no diagonal", expr("ii,jk"), V, ("has the mode 'i' twice in a, with the extents 3 and 4",)),
    Misuse("result has another mode", expr("ij,jk->ix"), V, ("has the mode 'x' in the result, and no operand has it:\n    ij,jk->ix\n            \\^$",)),
    Misuse("result has one twice", expr("ij,jk->iki"), V, ("has the mode 'i' twice in the result:\n    ij,jk->iki\n             \\^$",)),
    Misuse("a number", expr(5), T, ("expr is a int", "'ij,jk->ik'")),
    Misuse("modes are text", expr(["ij", "jk"]), T, (r"expr\[0\] is a str", r"\('i', 'j'\)")),
    Misuse("modes that have no hash", expr([[[], 1], [1, 2]]), T, (r"expr\[0\] has \[\], which cannot be hashed",)),
    Misuse("too few sequences", expr([(0, 1)]), V, ("has 1 sequences of modes for 2 operands; expected 2, or one more",)),
    Misuse("other extents by sequences", expr([(0, 1), (0, 2)]), V, ("has the mode 0 with the extent 4 in b and 3 in a",)),
    Misuse("an extent of 0", expr("ij,jk", A, B[:, :0]), V, (r"b has the shape \(4, 0\); expected no extent of 0",)),
]  # fmt: skip

OPERANDS = [
    Misuse("a list", expr("ij,jk", [[1.0]]), T, ("a is a list", "numpy.ndarray")),
    Misuse("missing", expr("ij,jk", None), T, ("a is None; a BinaryContraction needs all of a, b",)),
    Misuse("third missing", lambda: ternary_contraction("ij,jk,kl", A, B, None), T, ("c is None; a TernaryContraction needs",)),
    Misuse("other dtypes", expr("ij,jk", A, B.astype("f4")), V, ("b has the dtype float32 and a float64; convert",)),
    Misuse("integers", expr("ij,jk", A.astype("i4"), B.astype("i4")), V, ("operands of int32 cannot be contracted",)),
    Misuse("c of another shape", lambda: binary_contraction("ij,jk", A, B, c=C.T, beta=1), V, (r"c has the shape \(5, 3\); expected that of the result, \(3, 5\)",)),
    Misuse("c of another dtype", lambda: binary_contraction("ij,jk", A, B, c=C.astype("f4"), beta=1), V, ("c has the dtype float32",)),
    Misuse("no beta", lambda: binary_contraction("ij,jk", A, B, c=C), V, ("beta was not given, but c was",)),
    Misuse("beta alone", lambda: binary_contraction("ij,jk", A, B, beta=1.0), V, ("beta is 1.0, but nothing is added",)),
    Misuse("alpha is complex", lambda: binary_contraction("ij,jk", A, B, alpha=1j), V, ("alpha is 1j; expected a single number that fits float64",)),
    Misuse("alpha is too large", lambda: binary_contraction("ij,jk", A.astype("f4"), B.astype("f4"), alpha=1e300), V, (r"alpha is 1e\+300; expected a single number that fits float32",)),
    Misuse("alpha is an array", lambda: binary_contraction("ij,jk", A, B, alpha=[1.0, 2]), V, (r"alpha is \[1.0, 2\]",)),
    Misuse("alpha is text", lambda: binary_contraction("ij,jk", A, B, alpha="2"), V, ("alpha is '2'",)),
    Misuse("d of another shape", lambda: ternary_contraction("ij,jk,kl", A, B, B.T, d=C, beta=1), V, (r"d has the shape \(3, 5\); expected that of the result, \(3, 4\)",)),
    Misuse("no operand", lambda: contract("ij"), T, ("got no operand",)),
    Misuse("modes in no turn", lambda: contract(A, (0, 1), B, 5), T, ("the modes number 1 are a int",)),
]  # fmt: skip

OUT = [
    Misuse("shape", lambda: binary_contraction("ij,jk", A, B, out=C.T.copy()), V, (r"out has the shape \(5, 3\); expected that of the result, \(3, 5\)",)),
    Misuse("dtype", lambda: binary_contraction("ij,jk", A, B, out=C.astype("f4")), V, ("out has the dtype float32; expected that of the operands, float64",)),
    Misuse("a list", lambda: binary_contraction("ij,jk", A, B, out=[1.0]), T, ("out is a list",)),
    Misuse("read-only", lambda: binary_contraction("ij,jk", A, B, out=frozen(C.copy())), V, ("out is read-only",)),
    Misuse("one element for all", lambda: binary_contraction("ij,jk", A, B, out=np.lib.stride_tricks.as_strided(C, (3, 5), (0, 0))), V, ("elements share memory",)),
    Misuse("is an operand", lambda: binary_contraction("ij,jk", HUGE, HUGE.copy(), out=HUGE), V, ("share memory",)),
    Misuse("shares memory with a", lambda: (lambda x: binary_contraction("ij,jk", x, x, out=x))(np.ones((4, 4))), V, ("out shares memory with a",)),
    Misuse("shares memory with c", lambda: (lambda x: binary_contraction("ij,jk", A[:, :3], A[:3].copy(), c=x[:3], out=x[1:], beta=1))(np.ones((4, 4))), V, ("out shares memory with c", "or c itself")),
    Misuse("at execution", planned(lambda k: k.execute(out=np.ones((2, 2)))), V, (r"out has the shape \(2, 2\); expected \(3, 5\)", "empty_result")),
    Misuse("at execution, strides", planned(lambda k: k.execute(out=np.ones((5, 3)).T)), V, ("out has the strides",)),
    Misuse("at execution, shares memory", planned(lambda k: k.execute(out=A)), V, ("out has the shape",)),
    Misuse("at execution, where c is replaced", planned(lambda k: k.execute(beta=1.0, out=C.copy()), **dict.fromkeys(("c", "out"), C.copy())), V, (r"out was given, but the result replaces c \(out=c\); leave out away",)),
    Misuse("at execution, is an operand", lambda: (lambda x: planned_square(x, lambda k: k.execute(out=x)))(np.ones((3, 3))), V, ("out shares memory with a", "pass other memory; only out=c lets the result replace an operand$")),
    Misuse("at execution, is what is added", lambda: (lambda x: planned_square(x, lambda k: k.execute(beta=1, out=x), c=x))(np.ones((3, 3))), V, ("out shares memory with a",)),
    Misuse("replaces c, which is a", lambda: (lambda x: planned_square(x, lambda k: k.execute(beta=1), c=x, out=x))(np.ones((3, 3))), V, ("c shares memory with a", "pass a copy of a, or leave out=c away")),
    Misuse("reset without", planned(lambda k: k.reset_operands(out=C)), V, (r"out was given to reset_operands\(\), but this BinaryContraction was created without",)),
    Misuse("reset to another shape", planned(lambda k: k.reset_operands(out=C.T), out=C.copy()), V, (r"out has the shape \(5, 3\); expected \(3, 5\)",)),
    Misuse("reset to other than c", planned(lambda k: k.reset_operands(c=C.copy(), out=C.copy()), **dict.fromkeys(("c", "out"), C)), V, ("different arrays for c and out",)),
]  # fmt: skip

RESETS = [
    Misuse("nothing", planned(lambda k: k.reset_operands()), V, (r"reset_operands\(\) got no operand",)),
    Misuse("shape", planned(lambda k: k.reset_operands(a=A.T)), V, (r"a has the shape \(4, 3\); expected \(3, 4\)",)),
    Misuse("strides", planned(lambda k: k.reset_operands(a=np.asfortranarray(A))), V, ("a has the strides", "copy it")),
    Misuse("dtype", planned(lambda k: k.reset_operands(b=B.astype("f4"))), V, ("b has the dtype float32",)),
    Misuse("c that was not there", planned(lambda k: k.reset_operands(c=C)), V, ("c was given", "created without it")),
    Misuse("a scalar for c that was not there", planned(lambda k: k.reset_operands(c=np.array(1.0))), V, ("c was given", "created without it")),
    Misuse("unchecked all the same", planned(lambda k: k.reset_operands_unchecked(a=A.T)), V, (r"a has the shape \(4, 3\)",)),
    Misuse("number of operands", lambda: Contraction("ij,jk", A, B).reset_operands(A), V, ("got 1 operands; expected 2, with None",)),
]  # fmt: skip

QUALIFIERS = [
    Misuse("dtype", operators(1, 1, 1, dtype=np.int64), V, ("qualifiers has the dtype int64", "tensor_qualifiers_dtype")),
    Misuse("too few", operators(1, 1), V, (r"the shape \(2,\)", "3 elements, for a, b, c")),
    Misuse("no operator", operators(1, 77, 1), V, ("qualifiers has 77 for b; expected an Operator",)),
    Misuse("of two elements", operators(Operator.OP_MUL, 1, 1), V, ("OP_MUL for a; expected an operator of one element",)),
    Misuse("of real elements", operators(1, Operator.OP_RELU, 1, a=A + 0j, b=B + 0j), V, ("OP_RELU for b, which is not defined for complex128",)),
    Misuse("of three operands", lambda: ternary_contraction("i,i,i", *np.ones((3, 2)), qualifiers=np.ones(3, np.int32)), V, ("4 elements, for a, b, c, d",)),
]  # fmt: skip

OPTIONS = [
    Misuse("no options", lambda: binary_contraction("ij,jk", A, B, options=3), T, ("options is a int",)),
    Misuse("unknown option", lambda: binary_contraction("ij,jk", A, B, options={"layout": "C"}), T, ("no field 'layout'", "did you mean 'result_layout'")),
    Misuse("result_layout", lambda: ContractionOptions(result_layout="K"), V, ("result_layout is 'K'", "'optimized'")),
    Misuse("compute_type", lambda: ContractionOptions(compute_type=3), V, ("compute_type is 3", "ComputeDesc", r"COMPUTE_32F\(\)")),
    Misuse("compute_type of another dtype", lambda: binary_contraction("ij,jk", A, B, options={"compute_type": ComputeDesc.COMPUTE_TF32()}), V, ("compute_type is COMPUTE_TF32; float64 has COMPUTE_64F",)),
    Misuse("memory_limit", lambda: ContractionOptions(memory_limit="much"), V, ("memory_limit is 'much'", "'512 MiB'")),
    Misuse("more than all memory", lambda: ContractionOptions(memory_limit="101%"), V, ("memory_limit is '101%'",)),
    Misuse("negative memory", lambda: ContractionOptions(memory_limit=-1), V, ("memory_limit is -1",)),
    Misuse("memory of half precision", lambda: binary_contraction("ij,jk", A.astype("f2"), B.astype("f2"), options={"memory_limit": 100}), U, ("gemm: it needs at least", "options.memory_limit allows 100", "einsum: it may take")),
    Misuse("memory of a path", many(100), U, ("needs 256 bytes of temporary memory, in its smallest slices", "allows 100; a limit of 256 would do")),
    Misuse("provider", lambda: binary_contraction("ij,jk", A, B, options={"provider": "gem"}), V, ("provider 'gem' does not exist", "did you mean 'gemm'")),
    Misuse("space", lambda: binary_contraction("ij,jk", A, B, execution="tpu"), V, ("execution 'tpu' does not exist",)),
    Misuse("optimizer", lambda: contract("ij,jk,kl", A, B, B.T, optimize="best-of-all"), V, ("optimize is 'best-of-all'", "opt_einsum")),
    Misuse("half a path", lambda: contract("ij,jk,kl", A, B, B.T, optimize=[(0, 1)]), V, ("optimize is",)),
    Misuse("a tensor twice in a path", lambda: contract("ij,jk,kl", A, B, B.T, optimize=[(0, 0), (0, 1)]), V, (r"optimize is \[\(0, 0\), \(0, 1\)\]", r"\(0, 0\) .*twice")),
    Misuse("no preference", planned(lambda k: setattr(k.plan_preference, "kernelrank", 1)), AttributeError, ("kernelrank",)),
    Misuse("algo", planned(lambda k: setattr(k.plan_preference, "algo", 5)), V, ("algo is 5; expected a ContractionAlgo: DEFAULT_PATIENT",)),
    Misuse("kernel_rank", planned(lambda k: setattr(k.plan_preference, "kernel_rank", -1)), V, ("kernel_rank is -1",)),
]  # fmt: skip

EVERY = [*EXPRESSIONS, *OPERANDS, *OUT, *RESETS, *QUALIFIERS, *OPTIONS]


@pytest.mark.parametrize("misuse", EVERY, ids=[misuse.what for misuse in EVERY])
def test_message(misuse):
    check(misuse)


def test_packages_do_not_mix():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(TypeError, match="b is a torch array and a a numpy one"):
        binary_contraction("ij,jk", A, torch.from_numpy(B))
    with pytest.raises(TypeError, match="out is a torch array and a a numpy one"):
        binary_contraction("ij,jk", A, B, out=torch.from_numpy(C))


@pytest.mark.parametrize("bad", [{"a": A.T}, {"b": B.astype("f4")}, {"a": A.copy(), "b": B.T}, {"out": C.T}])
def test_failed_reset_leaves_the_object_as_it_was(bad):
    out = np.zeros((3, 5))
    with BinaryContraction("ij,jk->ik", A, B, out=out) as contraction:
        contraction.plan()
        with pytest.raises(ValueError, match=r"shape|dtype"):
            contraction.reset_operands(**bad)
        assert contraction.execute() is out
        np.testing.assert_array_equal(out, A @ B)


def test_failed_execution_leaves_the_object_as_it_was():
    with BinaryContraction("ij,jk->ik", A, B, c=C) as contraction:
        contraction.plan()
        expected = 2 * A @ B - C
        np.testing.assert_array_equal(contraction.execute(alpha=2, beta=-1), expected)
        for wrong in ({"alpha": "x", "beta": 1}, {"alpha": 1}, {"alpha": 1, "beta": 1j}):
            with pytest.raises(ValueError, match=r"alpha|beta"):
                contraction.execute(**wrong)
        np.testing.assert_array_equal(contraction.execute(alpha=2, beta=-1), expected)


def test_failed_plan_leaves_the_plan_as_it_was():
    with TernaryContraction("ij,jk,kl", A, B, B.T) as contraction:
        contraction.plan()
        expected = contraction.execute()
        contraction._problem = contraction._problem._replace(memory_limit=0)
        with pytest.raises(UnavailableError):
            contraction.plan()
        np.testing.assert_array_equal(contraction.execute(), expected)


def test_log_tells_the_phases(caplog):
    with caplog.at_level(logging.INFO), BinaryContraction("ij,jk->ik", A, B) as contraction:
        contraction.plan()
        contraction.execute()
        contraction.reset_operands(a=A)
    text = caplog.text
    for phase in ("SPECIFICATION", "PLANNING", "EXECUTION", "RESOURCE RELEASE"):
        assert f"= BinaryContraction {phase} =" in text
    assert "new operands a" in text
