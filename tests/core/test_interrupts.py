"""An exception at any moment of a reset, a plan or a release: all of it has happened, or nothing."""

import linecache
import logging
import sys
import threading

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.fft import FFT
from planmath.linalg.advanced import Matmul
from planmath.native import forks
from planmath.sparse.advanced import DirectSolver
from planmath.tensor import BinaryContraction, Contraction

rng = np.random.default_rng(6)


class Interrupt(BaseException):
    pass


def in_destructor(frame):
    """Whether Python would only print an exception."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def of_with_statement(frame):
    """Whether the line is that of a ``with``: tracing stops at its end, too, where no signal comes before the exit."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


@pytest.fixture(autouse=True)
def _no_lock_is_left_behind():
    yield
    free = []

    def take_all():
        for lock in forks._locks:
            free.append(lock.acquire(timeout=10))
            lock.release()

    thread = threading.Thread(target=take_all)
    thread.start()
    thread.join()
    assert len(free) == len(forks._locks)
    assert all(free)


def interrupted(call, moment):
    """Make a call with an exception at the line of planmath's Python with this number; False if there are fewer."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if "planmath" not in frame.f_code.co_filename or in_destructor(frame):
            return None
        if event == "line" and not of_with_statement(frame):
            lines += 1
            if lines == moment:
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def numbers(*shape):
    return rng.standard_normal(shape)


def odd(array):
    """The same values in another type of array."""
    return array.view(type("Odd", (np.ndarray,), {}))


def system(scale):
    return sp.csr_array(scale * (np.diag(np.full(5, 4.0)) + np.diag(np.ones(4), 1)))


def solved(solver):
    solver.factorize()
    return solver.solve()


#: What is made of one operand or several, replaced by others of the same layout, and computed.
CASES = {
    "FFT": (lambda a: FFT(a[0]), lambda f, a: f.reset_operand(odd(a[0])), FFT.execute),
    "Matmul": (
        lambda a: Matmul(a[0].real.copy(), a[1].real.copy(), a[2].real.copy(), alpha=a[0][0, 0].real, beta=1.0),
        lambda m, a: m.reset_operands(
            a=a[0].real.copy(), b=odd(a[1].real.copy()), c=a[2].real.copy(), alpha=a[0][0, 0].real
        ),
        Matmul.execute,
    ),
    "BinaryContraction": (
        lambda a: BinaryContraction("ij,jk->ik", a[0], a[1], c=a[2], out=np.empty_like(a[0])),
        lambda c, a: c.reset_operands(a=odd(a[0]), b=a[1], c=a[2], out=np.empty_like(a[0])),
        lambda c: c.execute(beta=1.0).copy(),
    ),
    "Contraction": (
        lambda a: Contraction("ij,jk,kl->il", *a), lambda c, a: c.reset_operands(odd(a[0]), *a[1:]),
        Contraction.execute,
    ),
    "DirectSolver": (
        lambda a: DirectSolver(system(a[0][0, 0].real), a[1].real[:, 0].copy()),
        lambda s, a: s.reset_operands(a=system(a[0][0, 0].real), b=a[1].real[:, 0].copy()), solved,
    ),
}  # fmt: skip


def operands():
    return [numbers(5, 5) + 1j * numbers(5, 5) for _ in range(3)]


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("heard", [False, True])
def test_a_reset_is_whole_or_not_at_all(kind, heard, caplog):
    """In the ordinary way, which has few lines of Python, and in the long one, which a reset that is logged goes."""
    caplog.set_level(logging.INFO if heard else logging.WARNING, "planmath")
    make, reset, execute = CASES[kind]
    old, new = operands(), operands()
    with make(old) as operation, make(new) as other:
        operation.plan()
        other.plan()
        before, after = execute(operation), execute(other)
        moment, seen = 1, set()
        while interrupted(lambda: reset(operation, new), moment):
            result = execute(operation)
            is_new = bool(np.allclose(result, after))
            assert is_new or np.allclose(result, before), f"a mixture, at line {moment}"
            seen.add(is_new)
            reset(operation, old)
            assert np.allclose(execute(operation), before)
            moment += 1
        assert np.allclose(execute(operation), after)
        assert moment > 3 or not heard
        assert False in seen


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("call", ["release", "free", "plan"])
def test_other_calls_are_whole_or_not_at_all(kind, call):
    make, reset, execute = CASES[kind]
    old = operands()
    with make(old) as operation:
        operation.plan()
        before = execute(operation)
        method = getattr(operation, {"release": operation.release_name}.get(call, call))
        moment = 1
        while interrupted(method, moment):
            if operation.state.value == "freed":
                with pytest.raises(RuntimeError, match="free"):
                    execute(operation)
                break
            if operation.state.value == "operands released":
                reset(operation, old)
            assert np.allclose(execute(operation), before), f"line {moment}"
            moment += 1 if moment < 60 else 23  # a plan has thousands of lines
        assert moment > 1


def test_a_factor_is_not_forgotten():
    a, b = numbers(3, 3), numbers(3, 3)
    with BinaryContraction("ij,jk->ik", a, b) as contraction:
        contraction.plan()
        moment = 1
        while interrupted(lambda: contraction.execute(alpha=2.5), moment):
            assert np.allclose(contraction.execute(), a @ b)
            moment += 1
        assert moment > 5


def test_a_contraction_that_was_interrupted_in_a_slice():
    arrays = [numbers(6, 6) for _ in range(3)]
    with Contraction("ij,jk,kl->il", *arrays, options={"memory_limit": 256}) as contraction:
        contraction.plan()
        expected = np.linalg.multi_dot(arrays)
        for moment in range(1, 400, 19):
            interrupted(contraction.execute, moment)
            assert np.allclose(contraction.execute(), expected)
