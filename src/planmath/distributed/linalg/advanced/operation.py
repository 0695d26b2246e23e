"""The stateful distributed product, and the function for single use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar, Unpack, overload

import numpy as np

from planmath.core.arrays import Layout, package_of
from planmath.core.collective import sections
from planmath.core.collective.agreement import agreed
from planmath.core.collective.bench import Bench
from planmath.core.collective.costs import exchange_report
from planmath.core.collective.operation import CollectiveOperation, place_of
from planmath.core.errors import InvalidStateError
from planmath.core.options import as_options
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot
from planmath.core.typed import A_co, result
from planmath.distributed.distribution import placement
from planmath.distributed.distribution.distributions import Distribution
from planmath.distributed.linalg.advanced.enums import MatmulEpilog
from planmath.distributed.linalg.advanced.options import (
    MatmulOptions,
    MatmulOptionsDict,
    MatmulPlanPreferences,
)
from planmath.distributed.linalg.advanced.problem import MatmulProblem
from planmath.distributed.linalg.advanced.providers import providers_for
from planmath.distributed.linalg.advanced.specification import (
    as_distributions,
    as_qualifiers,
    check_layout,
    result_dtype,
    sides,
)
from planmath.distributed.linalg.advanced.stages import Run, Stages
from planmath.distributed.runtime import required_context
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.options import MatmulQuantizationScales
from planmath.linalg.advanced.specification import as_epilog_inputs, check_epilog_input
from planmath.report.pages import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    class MatmulArguments(TypedDict, total=False):
        """What `matmul` takes beside operands and epilog."""

        distributions: Required[Sequence[Distribution]]
        alpha: complex | None
        beta: complex | None
        qualifiers: np.ndarray | None
        quantization_scales: MatmulQuantizationScales | dict[str, Any] | None
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None
        preferences: MatmulPlanPreferences | dict[str, Any] | None
        stream: Any


#: The package's own type, of operands and result.
A = TypeVar("A")


class InvalidMatmulState(InvalidStateError):
    """A method of `Matmul` was called out of order."""


class Matmul(CollectiveOperation[A_co]):
    """A product of matrices that lie across processes, ``epilog(alpha * a @ b + beta * c)``.

    Constructor, `plan`, `autotune` and `execute` are collective.

    Parameters
    ----------
    a, b : numpy.ndarray, cupy.ndarray or torch.Tensor
        This rank's parts of matrices: column-major, without gaps, of any dtype that `planmath.linalg.advanced.Matmul`
        multiplies, but for those of 4 bits.
    c : array, optional
        This rank's part of a matrix to add.
    distributions : sequence of three distributions
        Of a, b and the result, as they are stored: any three. Where a and b are cut along k in the same way, products
        are added up over the ranks, else rows of a and columns of b are gathered where a rank does not have them.
    alpha, beta : number, optional
        Default: 1; beta must be given where c is.
    qualifiers : numpy.ndarray, optional
        Of `matrix_qualifiers_dtype`, three elements for a, b and c: whether to transpose a and b, and to conjugate
        what is transposed.
    quantization_scales : MatmulQuantizationScales or dict, optional
        For operands of FP8, which need them.
    options : MatmulOptions or dict, optional
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    RuntimeError
        Before `planmath.distributed.initialize`.
    TypeError, ValueError, BindDistributionError
        If the arguments do not describe a product, on any rank: the same on all of them.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab
    >>> from planmath.distributed.linalg.advanced import Matmul, MatmulEpilog
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> a, b = np.asfortranarray([[1.0, 2], [3, -4]]), np.asfortranarray([[5.0, -6], [7, -8]])
    >>> with Matmul(a, b, distributions=[Slab.X, Slab.Y, Slab.X]) as product:
    ...     product.plan(epilog=MatmulEpilog.RELU)
    ...     product.execute()
    array([[19.,  0.],
           [ 0., 14.]])
    >>> distributed.finalize()
    """

    noun = "Matmul"
    invalid_state = InvalidMatmulState

    def __init__(
        self,
        a: A_co,
        b: Any,
        /,
        c: Any = None,
        *,
        distributions: Sequence[Distribution],
        alpha: complex | None = None,
        beta: complex | None = None,
        qualifiers: np.ndarray | None = None,
        quantization_scales: MatmulQuantizationScales | dict[str, Any] | None = None,
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        context = required_context()
        group = context.process_group
        with agreed(group, "Matmul()") as agreement:
            super().__init__(as_options(MatmulOptions, options), group)
            given = {"a": a, "b": b} if c is None else {"a": a, "b": b, "c": c}
            inplace = c is not None and self._options.inplace
            layouts: dict[str, Layout] = {}
            for name, array in given.items():
                layout = package_of(array, name).layout(array, name, lazy=name != "c")
                check_layout(name, layout)
                layouts[name] = self._add_operand(name, array, writeable=name == "c" and inplace, lazy=name != "c")
            self._distributions = as_distributions(distributions)
            self._qualifiers = as_qualifiers(qualifiers, layouts)
            if "float4" in layouts["a"].dtype + layouts["b"].dtype:
                raise ValueError("a or b has elements of 4 bits, two of which share a byte; expected 8 bits or more")
            if c is not None and beta is None:
                raise ValueError("beta was not given, but c was; pass beta=1.0 to add c")
            if c is None and beta is not None:
                self._logger.warning("Matmul: beta = %s is ignored, because c was not given.", beta)
            dtypes = [layouts["a"].dtype, layouts["b"].dtype, result_dtype(layouts, self._options)]
            self._scalars = {"alpha": 1 if alpha is None else alpha, "beta": beta if c is not None else 0}
            self._check_scalars(self._scalars, dtypes[0])
            self._scales = quantization_scales
            o = self._options
            agreement.equal = {
                "the package of a": self._package.name,
                "the memory space of a": place_of("a", self._slots["a"], context.device_id),
                "dtypes": dtypes, "whether there is a c": c is not None,
                "distributions": [placement.described(of) for of in self._distributions], **self._scalars,
                "qualifiers": self._qualifiers, "whether there are scales": quantization_scales is not None,
                **{f"options.{name}": getattr(o, name) for name in (
                    "inplace", "compute_type", "scale_type", "result_type", "provider"
                )},
                "options.check": self._checks,
            }  # fmt: skip
            agreement.local = [
                *layouts["a"].shape, *layouts["b"].shape, *(layouts["c"].shape if c is not None else (0, 0)),
                *(n for of in self._distributions for n in placement.corners(of, 2)),
            ]  # fmt: skip
        self._everybody, self._dtypes, self._has_c, self._inplace = agreement.everybody, dtypes, c is not None, inplace
        self._settle_in(self._slots["a"])
        self._inputs: dict[str, Any] = {}
        self._preferences: Any = None
        self._is_summed_c = False
        try:
            self._problem = self._specified(None)
        except ValueError:
            # of a sum over ranks each has all of c, which plan() will be told
            self._problem, self._is_summed_c = self._specified(MatmulEpilog.ALLREDUCE), True
            if not self._problem.sums_partial:
                self._specified(None)
        self._log_specification()

    def _specified(self, epilog: MatmulEpilog | None) -> MatmulProblem:
        summed = epilog is MatmulEpilog.ALLREDUCE
        a, b, d = sides(
            self._distributions, self._qualifiers, self._dtypes, self._has_c, summed, self._everybody, self._group.rank
        )
        o = self._options
        return MatmulProblem(
            a, b, d, self._group.rank, self._has_c, self._inplace, o.compute_type, o.scale_type, epilog,
            self._where,
        )  # fmt: skip

    def _check_scalars(self, scalars: dict[str, Any], dtype: str) -> None:
        """Raise where a scale factor is no number that fits."""
        complex_ = dtype.startswith("complex")
        checked(scalars, "complex128" if complex_ else "float64")

    def plan(
        self,
        *,
        preferences: MatmulPlanPreferences | dict[str, Any] | None = None,
        epilog: MatmulEpilog | None = None,
        epilog_inputs: dict[str, Any] | None = None,
        stream: Any = None,
    ) -> None:
        """Choose how to compute the product, and prepare it. Collective; may be called again, with another epilog.

        Parameters
        ----------
        preferences : MatmulPlanPreferences or dict, optional
        epilog : MatmulEpilog, optional
            What to do to the product before it becomes the result. With ALLREDUCE, which needs a and b that are cut
            along k, every rank gets the whole result.
        epilog_inputs : dict, optional
            This rank's parts of the arrays that the epilog needs: ``bias`` (m_local,) or (m_local, 1); ``relu_aux`` or
            ``gelu_aux`` as the forward epilog returned it.
        stream : object, optional
            Without effect on the CPU.

        Raises
        ------
        InvalidMatmulState
            After `release_operands` or `free`, on any rank.
        ValueError
            If the epilog lacks an input, or one does not fit, or the epilog is not one of this product. An earlier plan
            stays then.
        """
        call = f"{self.noun}.plan(), its arguments"
        with agreed(self._group, call) as agreement:
            self._require("plan")
            chosen = as_options(MatmulPlanPreferences, preferences, "preferences").epilog
            if epilog is not None and not isinstance(epilog, MatmulEpilog):
                raise TypeError(f"epilog is a {type(epilog).__name__}; expected a MatmulEpilog")
            inputs = as_epilog_inputs(epilog_inputs)
            known = () if epilog is None else EPILOGS[epilog.local].inputs
            for name in inputs:
                check_epilog_input(name, (epilog or MatmulEpilog.ALLREDUCE).local, known)
            if missing := [name for name in known if name not in inputs]:
                raise ValueError(f"epilog_inputs lacks {missing[0]}, which {epilog.name} needs")  # type: ignore[union-attr]
            if self._is_summed_c and epilog is not MatmulEpilog.ALLREDUCE:
                self._specified(epilog)  # says which c it needs
            problem = self._specified(epilog)
            if epilog is MatmulEpilog.ALLREDUCE and not problem.sums_partial:
                raise ValueError("epilog ALLREDUCE needs a and b that are cut along k, in the same way; they are not")
            agreement.equal = {"epilog": epilog, "preferences": chosen}
        before = self._problem, self._inputs, self._preferences
        self._problem, self._inputs, self._preferences = problem, inputs, chosen
        try:
            self._plan_together(lambda: self._make_plan(problem, self._slots, stream=stream))
        except BaseException:
            self._problem, self._inputs, self._preferences = before
            raise

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, seconds: float | None = None, stream: Any = None
    ) -> None:
        """Measure every way to compute the product, and adopt the one whose slowest rank is the fastest. Collective."""
        self._autotune(iterations, prune, stream, seconds)

    @result
    def execute(self, *, release_workspace: bool = False, stream: Any = None) -> Any:
        """Compute the product. Collective.

        Parameters
        ----------
        release_workspace : bool
            Without effect: receive buffers are shared with the other ranks, and go back with `free`.
        stream : object, optional
            Without effect on the CPU.

        Returns
        -------
        array, or tuple of array and dict
            This rank's part of the result: c itself where that is replaced, else a new column-major array. Where the
            epilog has auxiliary results, also these by name: masks and gradients of the rows that this rank has, summed
            over all columns; ``bgradb`` whole on every rank.

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        TimeoutError
            If other ranks do not come.
        """
        return self._execute_together(lambda: self._run(stream))

    def _run(self, stream: Any) -> Any:
        result = self._executor.run(None, None, stream)
        return self._execute(None, None, stream) if result is None else result

    def reset_operands(
        self,
        *,
        a: Any = None,
        b: Any = None,
        c: Any = None,
        alpha: complex | None = None,
        beta: complex | None = None,
        quantization_scales: Any = None,
        epilog_inputs: dict[str, Any] | None = None,
        stream: Any = None,
    ) -> None:
        """Replace operands by ones with the same package, dtype, shape and strides.

        Raises
        ------
        TypeError, ValueError
            If one does not fit, or none is given, or after `release_operands` not all are; all stay then.
        InvalidMatmulState
            After `free`.
        """
        arguments = a, b, c, alpha, beta, quantization_scales, epilog_inputs
        self._resetting("reset_operands", lambda: self._take("reset_operands", *arguments))

    def reset_operands_unchecked(
        self,
        *,
        a: Any = None,
        b: Any = None,
        c: Any = None,
        alpha: complex | None = None,
        beta: complex | None = None,
        quantization_scales: Any = None,
        epilog_inputs: dict[str, Any] | None = None,
        stream: Any = None,
    ) -> None:
        """`reset_operands` for callers that know that the operands fit."""
        self._take("reset_operands_unchecked", a, b, c, alpha, beta, quantization_scales, epilog_inputs)

    def _take(self, call: str, a: Any, b: Any, c: Any, alpha: Any, beta: Any, scales: Any, epilog_inputs: Any) -> None:
        arrays = {name: array for name, array in (("a", a), ("b", b), ("c", c)) if array is not None}
        scalars = {name: number for name, number in (("alpha", alpha), ("beta", beta)) if number is not None}
        inputs = as_epilog_inputs(epilog_inputs)
        bindings = self._bindings_for(arrays, call, [*scalars, *(["quantization_scales"] if scales else []), *inputs])
        self._check_scalars(scalars, self._dtypes[0])
        if "beta" in scalars and not self._has_c:
            raise ValueError(f"beta was given to {call}(), but this Matmul was created without c")
        stages = self._stages()
        planned = self._inputs if stages is not None else {}
        for name in inputs:
            epilog = self._problem.epilog or MatmulEpilog.ALLREDUCE
            check_epilog_input(name, epilog.local, tuple(planned))
        if self.state.name == "RELEASED" and (missing := [name for name in planned if name not in inputs]):
            raise ValueError(
                f"{call}() got no {missing[0]}; after release_operands() it needs the epilog's inputs as well"
            )
        if stages is not None and (scalars or inputs or scales is not None):
            stages.reset(scalars, inputs, scales)
        self._scalars |= scalars
        self._inputs |= inputs
        self._scales = self._scales if scales is None else scales
        self._replace(bindings)

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones."""
        self._release()
        if (stages := self._stages()) is not None:
            stages.let_go()

    def _stages(self) -> Stages | None:
        if self._plan_made is None:
            return None
        run: Run = self._plan_made.prepared.programs[None].function
        return run.stages

    def _report_parts(self) -> list[str | Table]:
        """What was chosen, and what this rank sends and receives, with the time expected."""
        lines = super()._report_parts()
        stages = self._stages()
        assert stages is not None
        for number, traffic in enumerate(stages.traffics, 1):
            lines += exchange_report(traffic, self._transport, f"exchange {number} of {len(stages.traffics)}")
        lines += [f"local product: {product.matmul!r}" for product in stages.products]
        return lines

    def _local_providers(self) -> Sequence[Any]:
        return providers_for(self._group, self._package, self._build, self._space)

    def _build(self, way: type[Stages], problem: MatmulProblem, make_session: Any, bench: Bench) -> Stages:
        operands = [self._slots[name].array for name in "ab"]
        stages = way(
            problem,
            bench,
            operands,
            self._scalars,
            self._scales,
            self._preferences,
            self._inputs,
            make_session,
        )
        self._auxiliary = stages.layouts
        return stages

    def _result_slots(self, problem: MatmulProblem) -> dict[str, ArraySlot]:
        d = problem.d
        layouts = {} if problem.inplace else {"d": Layout(problem.local_shape, d.strides, d.dtype, "", None)}
        layouts |= self._auxiliary
        return {name: self._make_slot(layout, writeable=True) for name, layout in layouts.items()}

    def _inplace_operand(self) -> str | None:
        return "c" if self._inplace else None

    def _tuning_key(self, problem: MatmulProblem) -> str:
        a, b, d = (side._replace(strides=(0, 0)) for side in (problem.a, problem.b, problem.d))
        return super()._tuning_key(problem._replace(rank=0, a=a, b=b, d=d))

    def _describe(self) -> str:
        p = self._problem
        (m, k), n = p.a.shape, p.b.shape[1]
        epilog = p.epilog.name if p.epilog is not None else "DEFAULT"
        here = sections.shape_of(p.d.placed[p.rank])
        return f"{p.a.dtype} {m}x{k} by {k}x{n}, {epilog}, on {self._group.nranks} ranks, here {here}"


@overload
def matmul(
    a: NDArray[Any], b: NDArray[Any], /, c: Any = None, *, epilog: None = None, **arguments: Unpack[MatmulArguments]
) -> NDArray[Any]: ...
@overload
def matmul(a: A, b: A, /, c: Any = None, *, epilog: None = None, **arguments: Unpack[MatmulArguments]) -> A: ...
@overload  # with auxiliary results a tuple
def matmul(
    a: Any, b: Any, /, c: Any = None, *, epilog: MatmulEpilog | None, epilog_inputs: dict[str, Any] | None = None,
    **arguments: Unpack[MatmulArguments],
) -> Any: ...  # fmt: skip
def matmul(
    a: Any,
    b: Any,
    /,
    c: Any = None,
    *,
    distributions: Sequence[Distribution],
    alpha: complex | None = None,
    beta: complex | None = None,
    epilog: MatmulEpilog | None = None,
    epilog_inputs: dict[str, Any] | None = None,
    qualifiers: np.ndarray | None = None,
    quantization_scales: MatmulQuantizationScales | dict[str, Any] | None = None,
    options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
    preferences: MatmulPlanPreferences | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Multiply matrices that lie across processes once. Collective.

    Parameters are those of `Matmul` and `Matmul.plan`, and so is the result.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab
    >>> from planmath.distributed.linalg.advanced import matmul
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> matmul(np.eye(2, order="F"), np.ones((2, 1), order="F"), distributions=[Slab.X, Slab.Y, Slab.X], alpha=3)
    array([[3.],
           [3.]])
    >>> distributed.finalize()
    """
    with Matmul(
        a, b, c, distributions=distributions, alpha=alpha, beta=beta, qualifiers=qualifiers,
        quantization_scales=quantization_scales, options=options, stream=stream,
    ) as product:  # fmt: skip
        product.plan(preferences=preferences, epilog=epilog, epilog_inputs=epilog_inputs, stream=stream)
        return product.execute(stream=stream)
