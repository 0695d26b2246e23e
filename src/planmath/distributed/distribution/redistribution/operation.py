"""The stateful redistribution, and the function for single use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planmath.core.arrays import Layout, package_of
from planmath.core.collective.agreement import agreed
from planmath.core.collective.costs import exchange_report
from planmath.core.collective.exchange import Moves
from planmath.core.collective.layouts import flexible_orders, settled_order
from planmath.core.collective.operation import CollectiveOperation, place_of
from planmath.core.errors import InvalidStateError
from planmath.core.options import as_options
from planmath.core.slots import ArraySlot
from planmath.core.typed import A_co, of_one, result
from planmath.distributed.distribution import placement
from planmath.distributed.distribution.distributions import Distribution
from planmath.distributed.distribution.redistribution.options import RedistributeOptions, RedistributeOptionsDict
from planmath.distributed.distribution.redistribution.problem import RedistributeProblem
from planmath.distributed.distribution.redistribution.providers import providers_for
from planmath.distributed.runtime import required_context
from planmath.report.pages import Table


class InvalidRedistributeState(InvalidStateError):
    """A method of `Redistribute` was called out of order."""


class Redistribute(CollectiveOperation[A_co]):
    """An array in another distribution, planned once and executed many times. Collective.

    Parameters
    ----------
    operand : numpy.ndarray, cupy.ndarray or torch.Tensor
        This rank's part of the array, of any dtype and any number of axes: in C or F order, or with the axes in another
        order in memory, which is the same on all ranks. Gaps do not matter.
    input_distribution, output_distribution : Slab, Box, BlockCyclic or BlockNonCyclic
        Any two.
    options : RedistributeOptions or dict, optional
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    RuntimeError
        Before `planmath.distributed.initialize`.
    TypeError, ValueError, BindDistributionError
        If the arguments do not describe an array and a distribution of it, on any rank: the same on all of them.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Redistribute, Slab
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nvshmem"])
    >>> a = np.arange(6.0).reshape(2, 3)
    >>> with Redistribute(a, Slab.X, Slab.Y) as redistribution:
    ...     redistribution.plan()
    ...     b = redistribution.execute()
    >>> np.array_equal(a, b)
    True
    >>> distributed.finalize()
    """

    noun = "Redistribute"
    reset_name = "reset_operand"
    release_name = "release_operand"
    inplace_by = None
    invalid_state = InvalidRedistributeState

    def __init__(
        self,
        operand: A_co,
        /,
        input_distribution: Distribution,
        output_distribution: Distribution,
        *,
        options: RedistributeOptions | RedistributeOptionsDict | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        context = required_context()
        group = context.process_group
        with agreed(group, "Redistribute()") as agreement:
            super().__init__(as_options(RedistributeOptions, options), group)
            package = package_of(operand, "operand")
            layout = package.layout(operand, "operand")
            ndim = len(layout.shape)
            if ndim == 0:
                raise ValueError("operand has no axes; expected at least one")
            given = placement.checked("input_distribution", input_distribution, ndim)
            wanted = placement.checked("output_distribution", output_distribution, ndim)
            self._add_operand("operand", operand)
            agreement.equal = {
                "the package of operand": package.name,
                "the memory space of operand": place_of("operand", self._slots["operand"], context.device_id),
                "the dtype of operand": layout.dtype,
                "the number of axes of operand": ndim,
                "input_distribution": placement.described(given),
                "output_distribution": placement.described(wanted),
                "options.provider": self._options.provider,
                "options.check": self._checks,
            }  # fmt: skip
            agreement.local = (
                *layout.shape, *placement.corners(given, ndim), *placement.corners(wanted, ndim),
                *flexible_orders(layout.shape, layout.strides),
            )  # fmt: skip
        everybody = agreement.everybody
        corners = [words[ndim : 3 * ndim] for words in everybody], [words[3 * ndim : 5 * ndim] for words in everybody]
        order = settled_order("operand", [words[5 * ndim :] for words in everybody])
        before = placement.place("operand", given, [words[:ndim] for words in everybody], corners[0])
        after = placement.target("output_distribution", wanted, before.global_shape, corners[1])
        slot = self._slots["operand"]
        self._settle_in(slot)
        moves = Moves(before.sections, after.sections, slot.itemsize, order)
        self._problem = RedistributeProblem(
            moves, before.global_shape, layout.dtype, group.rank, layout.strides,
            self._where if slot.device_id is not None else ("cpu", 1),
        )
        self._log_specification()

    def plan(self, stream: Any = None) -> None:
        """Choose how to send the messages, and prepare that. Collective. A second plan does nothing.

        Parameters
        ----------
        stream : object, optional
            Without effect on the CPU.

        Raises
        ------
        InvalidRedistributeState
            After `release_operand` or `free`, on any rank.
        UnavailableError
            If the way that the options name is not open on all ranks.
        """
        if self._plan_made is not None and not self._checks:
            self._require("plan")
            return
        self._plan_together(
            lambda: self._plan_made or self._make_plan(self._problem, self._slots, stream=stream)
        )  # fmt: skip

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, seconds: float | None = None, stream: Any = None
    ) -> None:
        """Measure every way to send the messages, and adopt the one whose slowest rank is the fastest. Collective.

        Parameters
        ----------
        iterations : int
            Most repetitions of each.
        prune : int, optional
            How many of the fastest to keep in `report`. Default: all.
        seconds : float, optional
            How long this may take. Default: 8.
        stream : object, optional
            As of `execute`.
        """
        self._autotune(iterations, prune, stream, seconds)

    @result
    def execute(
        self,
        stream: Any = None,
        release_workspace: bool = False,
        sync_symmetric_memory: bool = True,
        *,
        out: Any = None,
    ) -> Any:
        """Redistribute the operand. Collective.

        Parameters
        ----------
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect on the CPU.
        sync_symmetric_memory : bool
            Without effect: executions wait for the other ranks where they have to, in the order of the stream.
        release_workspace : bool
            Without effect: receive buffers are shared with the other ranks, and go back with `free`.
        out : array, optional
            Where to put the result: as `empty_result` makes it.

        Returns
        -------
        array
            This rank's part of the array in the output distribution: dense, with its axes in memory in the order of the
            operand's.

        Raises
        ------
        InvalidRedistributeState
            Before `plan`, after `release_operand` or `free`.
        TimeoutError
            If other ranks do not come.
        """
        return self._execute_together(lambda: self._run(out, stream))

    def _run(self, out: Any, stream: Any) -> Any:
        result = self._executor.run(None, out, stream)
        return self._execute(None, out, stream) if result is None else result

    def reset_operand(self, operand: Any, *, stream: Any = None) -> None:
        """Replace the operand by one with the same package, dtype, shape and strides; the distribution stays.

        Raises
        ------
        TypeError, ValueError
            If it does not fit; the old one stays then.
        InvalidRedistributeState
            After `free`.
        """
        self._resetting("reset_operand", lambda: self._reset({"operand": operand}, "reset_operand"))

    def reset_operand_unchecked(self, operand: Any, *, stream: Any = None) -> None:
        """`reset_operand` for callers that know that the operand fits."""
        if not self._executor.bind_one(0, operand):
            self._reset({"operand": operand}, "reset_operand_unchecked")

    def release_operand(self) -> None:
        """Drop the reference to the operand; the plan stays, and `reset_operand` brings a new one."""
        self._release()

    def _report_parts(self) -> list[str | Table]:
        """What was chosen, and what this rank sends and receives, with the time expected."""
        return [*super()._report_parts(), *exchange_report(self._problem.traffic, self._transport)]

    def _local_providers(self) -> Sequence[Any]:
        return providers_for(self._group, self._package, self._space)

    def _result_slots(self, problem: RedistributeProblem) -> dict[str, ArraySlot]:
        traffic = problem.traffic
        layout = Layout(traffic.shape, traffic.dense, problem.dtype, "", None)
        return {"result": self._make_slot(layout, writeable=True)}

    def _tuning_key(self, problem: RedistributeProblem) -> str:
        return super()._tuning_key(problem._replace(rank=0, strides=()))

    def _describe(self) -> str:
        p = self._problem
        return f"{p.dtype} {p.global_shape} on {self._group.nranks} ranks, here {self._slots_shape()}"

    def _slots_shape(self) -> str:
        traffic = self._problem.traffic
        return f"{tuple(self._slots['operand'].shape) if self._slots else ''} to {traffic.shape}"


@of_one
def redistribute(
    operand: Any,
    /,
    input_distribution: Distribution,
    output_distribution: Distribution,
    *,
    sync_symmetric_memory: bool = True,
    options: RedistributeOptions | RedistributeOptionsDict | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Redistribute an array once. Collective.

    Parameters and result are those of `Redistribute` and `Redistribute.execute`.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab, redistribute
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nvshmem"])
    >>> redistribute(np.arange(4).reshape(2, 2), Slab.X, Slab.Y)
    array([[0, 1],
           [2, 3]])
    >>> distributed.finalize()
    """
    with Redistribute(
        operand, input_distribution, output_distribution, options=options, stream=stream
    ) as redistribution:
        redistribution.plan(stream)
        return redistribution.execute(stream, sync_symmetric_memory=sync_symmetric_memory)
