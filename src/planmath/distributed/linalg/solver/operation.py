"""The stateful distributed solver, and the function for single use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import Layout, as_numpy, package_named, package_of
from planmath.core.collective import sections
from planmath.core.collective.agreement import agreed
from planmath.core.collective.costs import exchange_report
from planmath.core.collective.operation import CollectiveOperation, place_of
from planmath.core.collective.transports import TRANSPORTS
from planmath.core.errors import InvalidStateError
from planmath.core.log import phase
from planmath.core.operation import State
from planmath.core.options import as_options
from planmath.core.slots import ArraySlot
from planmath.core.typed import A_co, of_two, result
from planmath.distributed.distribution import placement
from planmath.distributed.distribution.distributions import BlockCyclic, BlockNonCyclic, Distribution
from planmath.distributed.distribution.placement import Placement
from planmath.distributed.linalg.providers import VARIANTS
from planmath.distributed.linalg.solver.options import DirectSolverOptions, DirectSolverOptionsDict
from planmath.distributed.linalg.solver.problem import Blocks, SolverProblem
from planmath.distributed.linalg.solver.providers import BlockProvider, ScaLAPACKSolver, dense_strides
from planmath.distributed.linalg.solver.providers.phases import Phases
from planmath.distributed.runtime import required_context
from planmath.report.pages import Table

DTYPES = ("float32", "float64", "complex64", "complex128")
#: By where they are: rows and columns of a block where the user's matrix has none that suit, and the sizes that do.
BLOCKS = {"cpu": (64, range(8, 257)), "cuda": (256, range(64, 1025))}
#: Ranks on the host that one row of a grid has at most, where nobody chose it; each gets all panels.
ONE_ROW = 16


class InvalidDirectSolverState(InvalidStateError):
    """A method of `DirectSolver` was called out of order."""


class DirectSolver(CollectiveOperation[A_co]):
    """Dense linear systems ``a @ x = b`` whose matrices lie across processes: planned, factorized, solved.

    Constructor, `plan`, `factorize` and `solve` are collective.

    Parameters
    ----------
    a : numpy.ndarray, cupy.ndarray or torch.Tensor
        This rank's part of a square matrix of float32, float64, complex64 or complex128: column-major, where columns
        may have gaps between them.
    b : array
        This rank's part of the right-hand sides, (n,) or (n, nrhs), of the same package and dtype.
    distributions : sequence of two distributions
        Of a and b: any two. A matrix in square blocks, in turn on a grid (`BlockCyclic`), is factorized where it is;
        any other is brought into such blocks first.
    options : DirectSolverOptions or dict, optional
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    RuntimeError
        Before `planmath.distributed.initialize`.
    TypeError, ValueError, BindDistributionError
        If the arguments do not describe systems, on any rank: the same on all of them.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab
    >>> from planmath.distributed.linalg import DirectSolver
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> a, b = np.asfortranarray([[2.0, 0], [1, 4]]), np.array([2.0, 9])
    >>> with DirectSolver(a, b, distributions=[Slab.X, Slab.X]) as solver:
    ...     solver.plan()
    ...     solver.factorize()
    ...     solver.solve()
    array([1., 2.])
    >>> distributed.finalize()
    """

    noun = "DirectSolver"
    inplace_by = "options.inplace_b"
    invalid_state = InvalidDirectSolverState

    def __init__(
        self,
        a: Any,
        b: A_co,
        /,
        *,
        distributions: Sequence[Distribution],
        options: DirectSolverOptions | DirectSolverOptionsDict | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        context = required_context()
        group = context.process_group
        self._factorized = False
        with agreed(group, "DirectSolver()") as agreement:
            super().__init__(as_options(DirectSolverOptions, options), group)
            o = self._options
            a_layout = package_of(a, "a").layout(a, "a")
            b_layout = package_of(b, "b").layout(b, "b")
            _check_layouts(a_layout, b_layout)
            self._add_operand("a", a, writeable=o.inplace_a)
            self._add_operand("b", b, writeable=o.inplace_b)
            place = place_of("a", self._slots["a"], context.device_id)
            if not isinstance(distributions, Sequence) or len(distributions) != 2:
                raise ValueError("distributions is not a sequence of two; expected those of a and b")
            ndim = len(b_layout.shape)
            ours = [
                placement.checked(f"distributions[{k}]", of, axes)
                for k, (of, axes) in enumerate(zip(distributions, (2, ndim), strict=True))
            ]
            agreement.equal = {
                "the package of a": self._package.name, "the memory space of a": place,
                "the dtype of a": a_layout.dtype, "the number of axes of b": ndim,
                "distributions": [placement.described(of) for of in ours],
                "options.inplace_a": o.inplace_a, "options.inplace_b": o.inplace_b, "options.structure": o.structure,
                "whether there is a handle": o.handle is not None, "options.provider": o.provider,
                "options.check": self._checks,
            }  # fmt: skip
            agreement.local = [
                *a_layout.shape, *b_layout.shape, *placement.corners(ours[0], 2), *placement.corners(ours[1], ndim)
            ]  # fmt: skip
        everybody = agreement.everybody
        at = 2 + ndim
        a_placed = placement.place(
            "a", ours[0], [words[:2] for words in everybody], [words[at : at + 4] for words in everybody]
        )
        b_placed = placement.place(
            "b", ours[1], [words[2:at] for words in everybody], [words[at + 4 :] for words in everybody]
        )
        _check_shapes(a_placed, b_placed)
        self._settle_in(self._slots["a"])
        self._b_shape = b_layout.shape
        strides: list[Any] = [b_layout.strides, dense_strides(b_layout.shape)]
        nrhs = b_placed.global_shape[1] if ndim == 2 else 1
        columns = (sections.interval(0, 1),) if ndim == 1 else ()
        b_sections = tuple([(*of, *columns) for of in b_placed.sections])
        if ndim == 1:
            strides = [(*of, max(b_layout.shape[0], 1)) for of in strides]
        self._problem = SolverProblem(
            _blocks(ours[0], a_placed, group.nranks, place), a_placed.sections, b_sections, nrhs, group.rank,
            a_layout.dtype,
            a_layout.strides[1] if a_layout.shape[1] > 1 else max(a_layout.shape[0], 1), strides[0],
            strides[0] if o.inplace_b else strides[1], o.inplace_a, o.structure, self._where,
        )  # fmt: skip
        self._log_specification()

    def plan(self, *, stream: Any = None) -> None:
        """Prepare the exchanges and what is between them. Collective. A second plan does nothing.

        Raises
        ------
        InvalidDirectSolverState
            After `release_operands` or `free`, on any rank.
        UnavailableError
            If the way that the options name is not open on all ranks.
        """
        if self._plan_made is not None and not self._checks:
            self._require("plan")
            return
        # all ranks factorize each panel, and shall come to the same numbers
        alike = {"the processor": self._machine(), "NumPy's version": np.__version__}
        self._plan_together(
            lambda: self._plan_made or self._make_plan(self._problem, self._slots, stream=stream), **alike
        )  # fmt: skip

    def factorize(self, *, stream: Any = None) -> None:
        """Factorize the matrix with its present values. Collective; returns when it is done.

        Raises
        ------
        SingularMatrixError
            On all ranks, with the order of the leading minor that is singular, or not positive definite. It is a
            `numpy.linalg.LinAlgError`, and a RuntimeError.
        InvalidDirectSolverState
            Before `plan`, after `release_operands` or `free`, on any rank.
        TimeoutError
            If other ranks do not come.
        """
        self._execute_together(lambda: self._factorize(stream), "factorize")

    def _factorize(self, stream: Any) -> None:
        with agreed(self._group, "DirectSolver.factorize()"):
            self._require("factorize")
            self._follow_operands()
        self._factorized = False
        with phase(self._logger, self.noun, "FACTORIZATION"):
            self._enqueue(stream, self._phases.factorize, self._plain("a"))
        self._factorized = True

    @result
    def solve(self, *, stream: Any = None) -> Any:
        """Solve for the present right-hand sides. Collective; returns when it is done.

        Returns
        -------
        array
            This rank's part of the solution: b itself where it is replaced, else a new column-major array.

        Raises
        ------
        InvalidDirectSolverState
            Before `factorize`, after the matrix was reset, on any rank.
        TimeoutError
            If other ranks do not come.
        """
        return self._execute_together(lambda: self._solve(stream), "solve")

    def _enqueue(self, stream: Any, work: Callable[..., None], *arguments: Any) -> None:
        """Do something where the operands are, and wait until it is done."""
        if self._queue is None:
            work(*arguments)
            return
        with self._on_device(stream):
            self._queue.run(work, *arguments)
            self._wait_for_device()

    def _plain(self, name: str) -> Any:
        """An operand as what computes has it: on the host as NumPy's array."""
        slot = self._slots[name]
        return as_numpy(slot.array) if slot.device_id is None else slot.array

    def _solve(self, stream: Any) -> Any:
        with agreed(self._group, "DirectSolver.solve()"):
            self._require("solve")
            self._follow_operands()
        b = self._slots["b"].array
        with self._on_device(stream):
            x = b if self._options.inplace_b else self._x_slot().empty()
        address = self._package.address
        with phase(self._logger, self.noun, "SOLUTION"):
            self._enqueue(stream, self._phases.solve, self._plain("a"), address(b), address(x))
        return x

    @property
    def _phases(self) -> Phases:
        assert self._plan_made is not None
        phases: Phases = self._plan_made.prepared.programs[None].function
        return phases

    def reset_operands(self, *, a: Any = None, b: Any = None, stream: Any = None) -> None:
        """Replace operands by ones with the same package, dtype, shape and strides. Another a forgets the factors.

        Raises
        ------
        TypeError, ValueError
            If one does not fit, or none is given, or after `release_operands` not both are; both stay then.
        InvalidDirectSolverState
            After `free`.
        """
        self._resetting("reset_operands", lambda: self._take("reset_operands", a, b))

    def reset_operands_unchecked(self, *, a: Any = None, b: Any = None, stream: Any = None) -> None:
        """`reset_operands` for callers that know that the operands fit."""
        self._take("reset_operands_unchecked", a, b)

    def _take(self, call: str, a: Any, b: Any) -> None:
        given = {name: array for name, array in (("a", a), ("b", b)) if array is not None}
        self._reset(given, call, *([] if a is None else [(self, {"_factorized": False})]))

    def release_operands(self) -> None:
        """Drop the references to the operands; the plan stays, and `reset_operands` brings new ones."""
        self._release()
        self._factorized = False

    @property
    def state(self) -> State:
        """Where the object stands in its life."""
        state = super().state
        return State.FACTORIZED if state is State.PLANNED and self._factorized else state

    def _report_parts(self) -> list[str | Table]:
        """What was chosen, and what this rank sends and receives, with the time expected."""
        lines = super()._report_parts()
        for title, traffics in self._phases.traffics().items():
            messages, size = sum(len(t.sent) for t in traffics), sum(t.bytes_sent for t in traffics)
            lines.append(
                f"{title}: {len(traffics)} exchanges, in which rank {self._problem.rank} sends {messages} "
                f"messages, {size} bytes"
            )
            lines += exchange_report(traffics[0], self._transport, "  the first")
        blocks = self._problem.blocks
        lines.append(f"blocks of {blocks.size} on a grid of {blocks.grid[0]}x{blocks.grid[1]}")
        return lines

    def _x_slot(self) -> ArraySlot:
        layout = Layout(self._b_shape, dense_strides(self._b_shape), self._problem.dtype, "", None)
        return self._make_slot(layout, writeable=True)

    def _local_providers(self) -> Sequence[Any]:
        on_host = self._queue is None
        found: list[BlockProvider | ScaLAPACKSolver] = [
            *(BlockProvider(transport, self._group, self._space) for transport in TRANSPORTS),
            *(ScaLAPACKSolver(name, self._group, self._space) for name in VARIANTS),
        ]
        for provider in found:
            provider.package = package_named("numpy") if on_host else self._package
        return found

    def _result_slots(self, problem: SolverProblem) -> dict[str, ArraySlot]:
        return {} if self._options.inplace_b else {"x": self._x_slot()}

    def _inplace_operand(self) -> str | None:
        return "b" if self._options.inplace_b else None

    def _tuning_key(self, problem: SolverProblem) -> str:
        alike = problem._replace(rank=0, leading_dimension=0, b_strides=(0, 0), x_strides=(0, 0))
        return super()._tuning_key(alike)

    def _describe(self) -> str:
        p = self._problem
        kind = "Cholesky" if p.structure else "LU"
        return f"{kind} {p.dtype} {p.blocks.n}x{p.blocks.n}, {p.nrhs} right-hand sides, on {self._group.nranks} ranks"


def _check_layouts(a: Layout, b: Layout) -> None:
    """Raise where an operand has not the dtype or the layout that systems have."""
    if a.dtype not in DTYPES:
        raise ValueError(f"a has the dtype {a.dtype}; expected one of {', '.join(DTYPES)}")
    if b.dtype != a.dtype:
        raise TypeError(f"b has the dtype {b.dtype} and a {a.dtype}; expected the same")
    if len(a.shape) != 2 or len(b.shape) not in (1, 2):
        raise ValueError(f"a has the shape {a.shape} and b {b.shape}; expected a matrix, and a vector or a matrix")
    for name, layout in (("a", a), ("b", b)):
        rows = layout.shape[0]
        ok = rows <= 1 or layout.strides[0] == 1
        if len(layout.shape) == 2 and layout.shape[1] > 1:
            ok &= layout.strides[1] >= max(rows, 1)
        if not ok and 0 not in layout.shape:
            raise ValueError(
                f"{name} has the strides {layout.strides} (in elements); expected a column-major array: for example "
                f"numpy.asfortranarray({name})"
            )


def _check_shapes(a: Placement, b: Placement) -> None:
    rows, columns = a.global_shape
    if rows != columns or rows == 0:
        raise ValueError(f"a is a matrix of {a.global_shape}; expected a square one of at least one row")
    if b.global_shape[0] != rows or 0 in b.global_shape:
        raise ValueError(f"a is a matrix of {a.global_shape} and b of {b.global_shape}; expected as many rows of b")


def _blocks(distribution: Distribution, placed: Placement, nranks: int, place: str) -> Blocks:
    """The blocks in which a matrix is factorized: its own, where those suit."""
    n = placed.global_shape[0]
    usual, suitable = BLOCKS[place]
    if isinstance(distribution, BlockCyclic) and not isinstance(distribution, BlockNonCyclic):
        sizes = distribution.block_sizes
        assert sizes is not None
        grid = distribution.process_grid
        if (
            sizes[0] == sizes[1]
            and not any(distribution.first_process)
            and (sizes[0] in suitable or n < suitable[0] * 8)
        ):
            places = tuple([grid.coordinates(rank) for rank in range(nranks)])
            return Blocks(n, sizes[0], grid.shape, places)  # type: ignore[arg-type]
    # in one row, where no row of the matrix goes to another rank, and the next panel comes before the rest
    most = int(nranks**0.5) if place == "cpu" and nranks > ONE_ROW else 1
    rows = next(k for k in range(most, 0, -1) if nranks % k == 0)
    shape = rows, nranks // rows
    return Blocks(n, min(usual, n), shape, tuple([divmod(rank, shape[1]) for rank in range(nranks)]))


@of_two
def direct_solver(
    a: Any,
    b: Any,
    /,
    *,
    distributions: Sequence[Distribution],
    options: DirectSolverOptions | DirectSolverOptionsDict | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Solve linear systems whose matrices lie across processes once. Collective.

    Parameters and result are those of `DirectSolver` and `DirectSolver.solve`.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab
    >>> from planmath.distributed.linalg import direct_solver
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> a = np.asfortranarray([[2.0, 0], [0, 4]])
    >>> direct_solver(a, np.array([2.0, 2.0]), distributions=[Slab.X, Slab.X])
    array([1. , 0.5])
    >>> distributed.finalize()
    """
    with DirectSolver(a, b, distributions=distributions, options=options, stream=stream) as solver:
        solver.plan(stream=stream)
        solver.factorize(stream=stream)
        return solver.solve(stream=stream)
