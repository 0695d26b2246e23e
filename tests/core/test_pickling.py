"""Operations are copied and pickled as what they were made of, and planned anew where they arrive."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import operator
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import planmath
from planmath import linalg, sparse, tensor
from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.fft import FFT, DeviceCallable
from planmath.linalg import advanced
from planmath.sparse import ust
from tests.arrays import DEVICE_PACKAGES, to_numpy, to_package

RNG = np.random.default_rng(3)


def numbers(*shape, dtype=float):
    return RNG.random(shape) + 1j * RNG.random(shape) if dtype is complex else RNG.random(shape)


def spread(*shape, dtype=float):
    """An array with gaps, and steps in another order."""
    return numbers(*(3 * n for n in reversed(shape)), dtype=dtype)[tuple(slice(n) for n in reversed(shape))].T


def square(n=6):
    return numbers(n, n) + n * np.eye(n)


def grid(n=6):
    return sp.csr_array(4 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))


def qualifier(first):
    found = np.full(2, linalg.GeneralMatrixQualifier.create(), linalg.matrix_qualifiers_dtype)
    found[0] = first
    return found


def squared(a):
    """For matrices whose second factor is the transposed first one."""
    return linalg.Matmul(a, a.T)


def in_place(x):
    return FFT(x, options={"inplace": True})


def with_preference(contraction):
    contraction.plan_preference.algo = tensor.ContractionAlgo.TTGT
    return contraction


def solver_with(config):
    solver = sparse.advanced.DirectSolver(grid(), numbers(6))
    solver.solution_config.ir_num_steps = config
    return solver


LOWER = linalg.TriangularMatrixQualifier.create()
TRANSPOSED = np.zeros(3, sparse.matmul_matrix_qualifiers_dtype)
TRANSPOSED["is_transpose"][0] = True

#: Operations, and what `plan` is asked for.
OPERATIONS = {
    "fft": (lambda: FFT(numbers(4, 6), axes=[0], options={"norm": "ortho"}, execution={"num_threads": 1}), {}),
    "fft of what has gaps": (lambda: FFT(spread(4, 6, dtype=complex), axes=[-1]), {"direction": "inverse"}),
    "fft in place": (lambda: in_place(numbers(8, dtype=complex)), {}),
    "matmul": (lambda: advanced.Matmul(numbers(3, 4), spread(4, 2), numbers(3, 2), alpha=2, beta=3), {}),
    "matmul with an epilog": (
        lambda: advanced.Matmul(numbers(3, 4), numbers(4, 2)),
        {"epilog": advanced.MatmulEpilog.RELU_BIAS, "epilog_inputs": {"bias": numbers(3)},
         "preferences": {"limit": 2}},
    ),
    "matmul in place": (
        lambda: advanced.Matmul(square(), square(), square(), beta=1.0, options={"inplace": True}), {}
    ),
    "matmul, qualifiers": (lambda: linalg.Matmul(square(), square(), qualifiers=qualifier(LOWER), alpha=2), {}),
    "matmul, squared": (lambda: squared(numbers(4, 5)), {}),
    "matmul of lists": (lambda: linalg.Matmul([square(), square(2)], [numbers(6), spread(2, 2)], alpha=[1, 2]), {}),
    "triangular": (lambda: linalg.TriangularSolver(square(), numbers(6), qualifier=LOWER), {}),
    "dense solver": (lambda: linalg.DirectSolver(square(), numbers(6), structure="auto"), {}),
    "dense solver, positional": (lambda: linalg.DirectSolver(spread(4, 4) + np.eye(4), numbers(4), None, "cpu"), {}),
    "dense solver of lists": (lambda: linalg.DirectSolver([square(), square(2)], [numbers(6), numbers(2)]), {}),
    "sparse solver": (lambda: sparse.advanced.DirectSolver(grid(), numbers(6)), {}),
    "sparse solver of lists": (lambda: sparse.advanced.DirectSolver([grid(), grid(4)], [numbers(6), numbers(4)]), {}),
    "sparse solver, settings": (lambda: solver_with(2), {}),
    "binary": (lambda: tensor.BinaryContraction("ijk,kl->jil", spread(2, 3, 4), numbers(4, 5)), {}),
    "binary, modes": (lambda: tensor.BinaryContraction([("i", "j"), ("j", "i"), ()], numbers(2, 3), numbers(3, 2)), {}),
    "binary, preference": (
        lambda: with_preference(tensor.BinaryContraction("ij,jk->ik", numbers(2, 3), numbers(3, 2))), {}
    ),
    "ternary": (lambda: tensor.TernaryContraction("ij,jk,kl->il", numbers(2, 3), numbers(3, 4), numbers(4, 2)), {}),
    "contraction": (
        lambda: tensor.Contraction("ij,jk,kl,l->i", *(numbers(3, 3) for _ in range(3)), numbers(3), optimize="greedy"),
        {},
    ),
    "contraction of one": (lambda: tensor.Contraction("iij->j", numbers(3, 3, 2)), {}),
    "sparse product": (lambda: sparse.Matmul(grid(), numbers(6, 2), alpha=2, qualifiers=TRANSPOSED), {}),
    "dense times sparse": (lambda: sparse.Matmul(numbers(2, 6), sp.coo_array(grid()), numbers(2, 6), beta=2), {}),
    "sparse product, functions": (
        lambda: sparse.Matmul(grid(), numbers(6)), {"epilog": np.abs, "semiring": "min_plus"}
    ),
    "sparse product of a tensor": (
        lambda: sparse.Matmul(ust.Tensor.from_package(grid()).convert(tensor_format=ust.NamedFormats.DCSR), numbers(6)),
        {},
    ),
}  # fmt: skip


def outcome(operation):
    """What a planned operation computes."""
    if hasattr(operation, "factorize"):
        operation.factorize()
        return operation.solve()
    needs_beta = isinstance(operation, (tensor.BinaryContraction, tensor.TernaryContraction)) and operation._addend
    return operation.execute(**({"beta": 2.0} if needs_beta else {}))


def copied(value):
    return [np.array(x) for x in value] if isinstance(value, list | tuple) else np.array(value)


def same(found, expected):
    if isinstance(found, list | tuple):
        return len(found) == len(expected) and all(map(np.array_equal, found, expected))
    return np.array_equal(found, expected)


def layouts(operation):
    return {name: (slot.shape, slot.strides) for name, slot in operation._slots.items()}


@pytest.fixture(params=OPERATIONS)
def planned(request):
    make, asked = OPERATIONS[request.param]
    with make() as operation:
        operation.plan(**asked)
        yield operation


def test_pickles_compute_the_same(planned):
    problem, chosen = planned._plan_made.problem, planned._plan_made.chosen
    arrived = [pickle.loads(pickle.dumps(planned, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    expected = copied(outcome(planned))
    for operation in arrived:
        with operation:
            assert type(operation) is type(planned)
            assert layouts(operation) == layouts(planned)
            if isinstance(planned, sparse.advanced.DirectSolver):  # whose problem has pattern objects
                assert operation._preferences == planned._preferences
            else:
                assert operation._plan_made.problem == problem
            assert operation._plan_made.chosen == chosen
            assert operation.state is planned.state or hasattr(planned, "factorize")
            assert same(outcome(operation), expected)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_copies_are_independent(planned, how):
    with how(planned) as operation:
        names = list(planned._slots)
        given = {name: planned._slots[name].array is operation._slots[name].array for name in names}
        assert all(given.values()) == (how is copy.copy)
        operation.release_operand() if hasattr(operation, "release_operand") else operation.release_operands()
        outcome(planned)


def test_specifications_are_not_planned():
    for make, _ in OPERATIONS.values():
        with make() as operation, pickle.loads(pickle.dumps(operation)) as arrived:
            assert arrived._plan_made is None
            assert layouts(arrived) == layouts(operation)


def test_what_was_reset_is_what_travels():
    a, b, bias = numbers(3, 4), numbers(4, 2), numbers(3)
    with advanced.Matmul(a, b) as product:
        product.plan(epilog=advanced.MatmulEpilog.BIAS, epilog_inputs={"bias": bias})
        product.reset_operands(a=2 * a, alpha=3.0, epilog_inputs={"bias": -bias})
        with pickle.loads(pickle.dumps(product)) as arrived:
            assert np.array_equal(arrived.execute(), product.execute())


def test_options_that_were_changed_later_do_not_travel():
    axes, qualifiers = [0], qualifier(LOWER)
    with FFT(numbers(2, 4, dtype=complex), axes=axes) as transform:
        axes[0] = 1
        with copy.copy(transform) as arrived:
            assert arrived.get_key() == transform.get_key()
    with linalg.Matmul(square(), square(), qualifiers=qualifiers) as product:
        qualifiers[:] = linalg.GeneralMatrixQualifier.create()
        with copy.copy(product) as arrived:
            assert arrived._problem == product._problem


def test_operands_stay_one_array_with_what_they_travel_with():
    x = numbers(8, dtype=complex)
    with FFT(x) as transform:
        other, arrived = pickle.loads(pickle.dumps([x, transform]))
        with arrived:
            arrived.plan()
            other[:] = 1
            assert np.array_equal(arrived.execute(), np.fft.fft(np.ones(8)))


def test_operands_of_one_memory_stay_so():
    base = numbers(4, 5).reshape(5, 4)
    for operands in ((base, base.T), (base[::-1], base.T)):
        with linalg.Matmul(*operands) as product, pickle.loads(pickle.dumps(product)) as arrived:
            a, b = (arrived._slots[name].array for name in "ab")
            assert np.shares_memory(a, b)
            assert a.strides == operands[0].strides
            assert np.array_equal(a, operands[0])


def test_small_parts_of_large_arrays_travel_alone():
    with FFT(numbers(1000, 50)[:, 3]) as transform:
        assert len(pickle.dumps(transform)) < 20_000
        with pickle.loads(pickle.dumps(transform)) as arrived:
            assert layouts(arrived) == layouts(transform)


def test_read_only_memory_that_is_to_be_replaced_is_copied():
    with in_place(numbers(8, dtype=complex)) as transform:
        transform.plan()
        buffers = []
        data = pickle.dumps(transform, 5, buffer_callback=buffers.append)
        assert buffers  # NumPy's memory is handed over as it is
        with pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers]) as arrived:
            assert np.array_equal(arrived.execute(), transform.execute())


def test_without_operands():
    for name, (make, asked) in OPERATIONS.items():
        with make() as operation:
            operation.plan(**asked)
            release = getattr(operation, "release_operand", None) or operation.release_operands
            release()
            if "sparse" in name:
                with pytest.raises(TypeError, match=r"cannot be copied or pickled: .* reset operands first"):
                    pickle.dumps(operation)
                continue
            with pickle.loads(pickle.dumps(operation)) as arrived:
                assert arrived.state is operation.state
                with pytest.raises(InvalidStateError, match="released"):
                    outcome(arrived)


def test_results_into_arrays_of_ones_own():
    a, b, c = numbers(2, 3), numbers(3, 2), numbers(2, 2)
    for out in (np.empty((2, 2)), c):
        with tensor.BinaryContraction("ij,jk->ik", a, b, c=c, out=out) as contraction:
            contraction.plan()
            with pickle.loads(pickle.dumps(contraction)) as arrived:
                found = arrived.execute(beta=1.0)
                assert found is (arrived._slots["c"].array if out is c else arrived._out)
                assert np.array_equal(found, contraction.execute(beta=1.0))
            contraction.release_operands()
            with pickle.loads(pickle.dumps(contraction)) as arrived, pytest.raises(ValueError, match=r"out|missing"):
                arrived.reset_operands(a=a, b=b)


def test_freed_objects_and_handles_stay():
    with FFT(numbers(4)) as transform:
        pass
    with pytest.raises(TypeError, match="this FFT was freed, and nothing is left to copy or pickle"):
        pickle.dumps(transform)
    product = advanced.Matmul(square(), square(), options={"handle": 5})
    with product, pytest.raises(TypeError, match=r"options\.handle is a library's handle of this process"):
        pickle.dumps(product)


def test_operands_are_not_read_in_a_graph(monkeypatch):
    with FFT(numbers(4)) as transform:
        monkeypatch.setattr(FFT, "_device_id", 0)
        monkeypatch.setattr(type(transform._package), "current_stream", lambda self, device: lambda: 7, raising=False)
        monkeypatch.setattr("planmath.core.pickling.is_capturing", lambda stream: stream == 7)
        with pytest.raises(TypeError, match="its stream is being captured into a graph"):
            copy.copy(transform)


def test_a_measured_choice_travels_where_no_record_has_it():
    with FFT(numbers(64, dtype=complex), options={"tuning": False}) as transform:
        transform.plan()
        transform.autotune(iterations=1, seconds=0.5)
        plan = transform._plan_made
        providers = {p.name: p for p in transform._providers() if not p.unavailable()}
        (usual, *others), _ = transform._rank(plan.problem, providers, ())
        wanted = next(a for a in others if a != usual and a.get("rigor") != "measure")
        transform._plan_made = replace(plan, algorithms=(wanted,))  # as if it had been the fastest
        with pickle.loads(pickle.dumps(transform)) as arrived:
            assert arrived._plan_made.chosen == wanted
            assert arrived._plan_made.origin == "autotuning"
            assert arrived._plan_made.measurements == plan.measurements
            assert np.allclose(arrived.execute(), transform.execute())


def test_what_was_measured_on_another_machine_does_not_count(monkeypatch):
    with FFT(numbers(64, dtype=complex), options={"tuning": False}) as transform:
        transform.plan()
        transform.autotune(iterations=1, seconds=0.5)
        data = pickle.dumps(transform)
        monkeypatch.setattr("planmath.core.tuning.record.machine", lambda: "another one")
        with pickle.loads(data) as arrived:
            assert arrived._plan_made.origin == "the heuristic"


def test_what_cannot_be_computed_there_is_told(monkeypatch):
    with FFT(numbers(8), options={"provider": "pocketfft"}) as transform:
        transform.plan()
        data = pickle.dumps(transform)
        pocketfft = next(p for p in transform._providers() if p.name == "pocketfft")
        monkeypatch.setattr(type(pocketfft), "unavailable", lambda self: "not on this machine")
        with pytest.raises(UnavailableError, match="not on this machine"):
            pickle.loads(data)


def filtered(data_in, offset, user_info, reserved):
    return data_in[offset] * user_info[offset]


def test_callbacks_travel_with_their_data():
    pytest.importorskip("numba", reason="numba is not installed")
    code = planmath.fft.compile_prolog(filtered, "complex128", "float64")
    x, factors = numbers(8, dtype=complex), numbers(8)
    with FFT(x) as transform:
        transform.plan(prolog=DeviceCallable(code, data=factors))
        with pickle.loads(pickle.dumps(transform)) as arrived:
            assert np.array_equal(arrived.execute(), transform.execute())
        transform.plan(prolog=DeviceCallable(code, data=factors.ctypes.data))
        with pytest.raises(TypeError, match="the data of its prolog is an address in this process"):
            pickle.dumps(transform)


def test_tensors_travel_with_their_layout():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    a = torch.rand(6, 4, dtype=torch.complex64)
    for operands in ((a[::2, :3], a.mH[:3]), (a.conj(), a[:4])):
        with advanced.Matmul(*operands) as product:
            product.plan()
            with pickle.loads(pickle.dumps(product)) as arrived:
                assert layouts(arrived) == layouts(product)
                assert torch.equal(arrived.execute(), product.execute())


class Derived(FFT):
    """A class of a user's that passes on what it is given."""

    def __init__(self, *operands, **named):
        super().__init__(*operands, **named)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("operand", [numbers(4, 6, dtype=complex), spread(4, 6, dtype=complex)])
def test_operands_on_a_device(package, operand):
    with FFT(to_package(operand, package), axes=[1]) as transform:
        transform.plan()
        with pickle.loads(pickle.dumps(transform)) as arrived:
            assert layouts(arrived) == layouts(transform)
            assert arrived._slots["operand"].device_id == transform._slots["operand"].device_id
            assert np.array_equal(to_numpy(arrived.execute()), to_numpy(transform.execute()))


def test_classes_of_users():
    with Derived(numbers(2, 4), axes=[0], options={"norm": "ortho"}) as transform:
        transform.plan()
        with pickle.loads(pickle.dumps(transform)) as arrived:
            assert type(arrived) is Derived
            assert arrived.get_key() == transform.get_key()
            assert np.array_equal(arrived.execute(), transform.execute())


def test_classes_say_what_they_take():
    assert list(inspect.signature(FFT).parameters) == ["operand", "axes", "options", "execution", "stream"]
    assert "qualifiers" in inspect.signature(linalg.Matmul).parameters


def test_what_arrives_need_not_be_freed():
    with FFT(numbers(4)) as transform, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        transform.plan()
        assert np.array_equal(pickle.loads(pickle.dumps(transform)).execute(), transform.execute())
    assert not told


def test_other_processes_execute_what_they_get():
    x = numbers(4, 8)
    with FFT(x, axes=[1]) as transform, sparse.advanced.DirectSolver(grid(), numbers(6)) as solver:
        transform.plan()
        solver.plan()
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            spectrum = pool.submit(operator.methodcaller("execute"), transform).result()
            solution = pool.submit(outcome, solver).result()
        assert np.array_equal(spectrum, transform.execute())
        assert np.array_equal(solution, outcome(solver))


def test_dask_sends_operations():
    dask = pytest.importorskip("dask", reason="dask is not installed")
    with FFT(numbers(8)) as transform:
        transform.plan()
        results = dask.compute(*(dask.delayed(FFT.execute)(transform) for _ in range(2)), scheduler="processes",
                               num_workers=1)  # fmt: skip
        assert all(np.array_equal(result, transform.execute()) for result in results)


def test_sparse_products_as_they_are():
    """Copies have the factor of a sparse c, and results of the kind of the operands."""
    x, c = np.array([[1.0, 2], [3, 4]]), sp.csr_array(np.array([[1.0, 0], [1, 1]]))
    for made in (sparse.Matmul(x, x, c, beta=0.5), sparse.Matmul(sp.csr_array(x), sp.csr_array(x))):
        with made:
            made.plan()
            expected = made.execute()
            for copied in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
                found = copied.execute()
                assert type(found) is type(expected)
                np.testing.assert_array_equal(found.toarray(), expected.toarray())


class Renamed(FFT):
    """A class of a user's whose operand has another name, and may be another one."""

    def __init__(self, signal, scale=1):
        super().__init__(signal if scale == 1 else signal * scale)


class Multiplied(sparse.Matmul):
    def __init__(self, matrix, vectors):
        super().__init__(matrix, vectors)


class Solved(sparse.advanced.DirectSolver):
    def __init__(self, matrix, right):
        super().__init__(matrix, right)


class Pair(linalg.Matmul):
    def __init__(self, pair):
        super().__init__(*pair)


class Reduced(Renamed):
    def __reduce__(self):
        return Reduced, (self._slots["operand"].array,)


def doubled(given):
    """Other operands of the same kinds."""
    return [2 * value for value in (given[0] if isinstance(given[0], list) else given)]


def test_operands_that_a_class_of_a_users_does_not_take_by_name():
    x = numbers(8, dtype=complex)
    with Renamed(x) as transform:
        transform.plan()
        with pickle.loads(pickle.dumps(transform)) as arrived:  # it is made of what it was given
            assert np.array_equal(arrived.execute(), transform.execute())
        transform.reset_operand(numbers(8, dtype=complex))
        for travel in (pickle.dumps, copy.copy):
            with pytest.raises(TypeError, match=r"Renamed.__init__ cannot .* present 'operand'; define __reduce__ in"):
                travel(transform)
    with Renamed(x, 2) as transform, pytest.raises(TypeError, match="define __reduce__"):
        copy.copy(transform)
    for cls, given, lost in (
        (Multiplied, (grid(), numbers(6, 2)), "'a' and 'b'"), (Solved, (grid(), numbers(6)), "'a' and 'b'"),
        (Pair, ([square(), square()],), "'a' and 'b'"),
    ):  # fmt: skip
        with cls(*given) as operation:
            operation.plan()
            with pickle.loads(pickle.dumps(operation)) as arrived:
                assert same(outcome(arrived), outcome(operation))
            operation.reset_operands(**dict(zip("ab", doubled(given), strict=True)))
            with pytest.raises(TypeError, match=f"present {lost}; define __reduce__"):
                pickle.dumps(operation)
    with Reduced(x) as transform:
        transform.reset_operand(numbers(8, dtype=complex))
        transform.plan()
        with pickle.loads(pickle.dumps(transform)) as arrived:
            arrived.plan()
            assert np.array_equal(arrived.execute(), transform.execute())


def of_torch(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.arange(16.0).reshape(4, 4) + 20 * torch.eye(4)
    history, b = x.requires_grad_() * 2, torch.ones(4, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Sparse (CSR|invariant)")
        rows = (history if name == "rows with a history" else x.detach()).to_sparse_csr()
    return {
        "a history": lambda: advanced.Matmul(history, b),
        "lists": lambda: linalg.Matmul([history, history], [b, b]),
        "rows": lambda: sparse.Matmul(rows, b),
        "rows with a history": lambda: sparse.Matmul(rows, b),
        "entries into rows": lambda: sparse.Matmul(x.detach(), b @ torch.ones(2, 4), rows, beta=1.0),
        "systems": lambda: sparse.advanced.DirectSolver(rows, b),
    }[name]()


@pytest.mark.filterwarnings("ignore::planmath.AutogradWarning")
@pytest.mark.parametrize("name", ["a history", "lists", "rows", "rows with a history", "entries into rows", "systems"])
def test_copies_of_tensors_that_pytorch_does_not_copy(name):
    """Their memory is their own, also where PyTorch refuses sparse tensors, and those with a history."""

    def values(result):
        result = result[0] if isinstance(result, list) else result
        return (result.values() if str(result.layout) == "torch.sparse_csr" else result).detach().numpy().copy()

    def computed(operation):
        if isinstance(operation, sparse.advanced.DirectSolver):
            operation.factorize()
            return values(operation.solve())
        return values(operation.execute())

    with of_torch(name) as operation:
        operation.plan()
        with copy.deepcopy(operation) as copied:
            expected = computed(operation)
            assert np.array_equal(computed(copied), expected)
            if name == "rows":
                copied._tensors["a"].to_package().values().mul_(2)
                assert np.array_equal(computed(copied), 2 * expected)
                assert np.array_equal(computed(operation), expected)
