"""How an operation is autotuned: candidates made ready, measured, the best adopted, and all of it recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from planmath.core.errors import UnavailableError
from planmath.core.executor import Executor, share_workspace
from planmath.core.log import format_seconds, phase
from planmath.core.provider import Algorithm, Prepared, Provider, choose_providers
from planmath.core.telling import Plan
from planmath.core.tuning import budget as budgets
from planmath.core.tuning import company, measuring, progress, record, wisdom
from planmath.core.tuning.choosing import Candidate, prefer_quiet
from planmath.core.tuning.clocks import Clock


@dataclass(frozen=True, slots=True)
class Trial:
    """What autotuning has made ready."""

    providers: Mapping[str, Provider]
    candidates: list[Candidate] = field(default_factory=list)
    prepared: dict[Algorithm, Prepared] = field(default_factory=dict)
    missed: list[Algorithm] = field(default_factory=list)


def autotune(operation: Any, iterations: int, prune: int | None, stream: Any, seconds: float | None) -> None:
    """Measure all candidates on the present operands, adopt the best, and record what was measured.

    When it is interrupted, that is done with what was measured by then.
    """
    for name, value in (("iterations", iterations), ("prune", prune)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} is {value!r}; expected a positive integer")
    seconds = budgets.checked(seconds)
    plan = operation._plan_made
    assert plan is not None
    logged = phase(operation._logger, operation.noun, "AUTOTUNING")
    with operation._on_device(stream), logged, wisdom.kept(operation._options.tuning):
        clock = operation._clock()
        budget = budgets.Budget(seconds, clock.now)
        with progress.shown(operation.noun, budget) as shown:
            trial = prepare_candidates(operation, plan, clock, budget, shown.tell)
            race = measuring.Race(
                trial.candidates, iterations=iterations, logger=operation._logger, clock=clock, budget=budget,
                company=company.neighbours() if operation._shares_cpus(plan.problem) else {}, tell=shown.tell,
            )  # fmt: skip
            try:
                race.run()
            except KeyboardInterrupt:
                conclude(operation, plan, trial, race, prune)
                raise
        conclude(operation, plan, trial, race, prune)


def prepare_candidates(
    operation: Any, plan: Plan, clock: Clock, budget: budgets.Budget, tell: Callable[[str], None]
) -> Trial:
    """Make the candidates ready, the expected one first, as many as the budget allows."""
    providers = {p.name: p for p in choose_providers(operation._providers(), operation._options.provider, plan.problem)}
    slots, out = operation._scratch(plan)
    if (used := providers.get(plan.chosen.provider)) is not None:
        clock.sleep(used.lingers(plan.chosen))  # some providers measure when they prepare
    trial = Trial(providers)
    executors: list[Executor] = []
    problems = {name: operation._problem_for(provider, plan.problem) for name, provider in providers.items()}
    offered = [a for name, provider in providers.items() for a in provider.algorithms(problems[name])]
    user = plan.origin == "the user"
    for algorithm in plan.algorithms if user else operation._preferred(plan.problem, offered):
        if executors and budget.left(budgets.PREPARING) <= 0:
            trial.missed.append(algorithm)
            continue
        provider = providers[algorithm.provider]
        operation._logger.info("Preparing %s.", algorithm)
        tell(f"preparing {algorithm}")
        try:
            with budgets.planners(budget.for_planner()):
                prepared = provider.prepare(problems[provider.name], algorithm)
            executor = operation._make_executor(plan.problem, prepared, slots)
        except UnavailableError as error:
            operation._logger.info("Passed over %s: %s.", algorithm, error)
            if isinstance(error, budgets.OutOfTimeError):
                trial.missed.append(algorithm)
            continue
        executors.append(executor)
        trial.prepared[algorithm] = prepared
        run = lambda executor=executor: executor.execute(None, out)  # noqa: E731
        trial.candidates.append((algorithm, run, provider.lingers(algorithm)))
    if not executors:
        raise UnavailableError("no provider can solve this problem any more; the plan stays as it was")
    # what other operations have in an executor's place has memory of its own
    share_workspace([executor for executor in executors if isinstance(executor, Executor)])
    return trial


def conclude(operation: Any, plan: Plan, trial: Trial, race: measuring.Race, prune: int | None) -> None:
    """Adopt the best of what was measured, if anything was, and record it."""
    measured, admissible = race.measured()
    if not measured:
        return
    if (usual := operation._usual_library()) is not None:
        measured[:admissible] = prefer_quiet(measured[:admissible], trial.candidates, usual)
    best = measured[0].algorithm
    missed = (*race.missed(), *trial.missed)
    kept = tuple(m.algorithm for m in measured)[:prune]
    new = replace(
        plan, algorithms=kept, prepared=trial.prepared[best], origin="autotuning", measurements=tuple(measured),
        missed=missed,
    )  # fmt: skip
    executor = operation._make_executor(new.problem, new.prepared, operation._slots)
    executor.allocate_workspace()
    if operation._options.tuning and plan.origin != "the user":
        took_part = {m.algorithm.provider for m in measured}
        versions = {
            name: of for name, of in operation._versions(trial.providers).items() if not missed or name in took_part
        }
        key = operation._record_key(plan.problem, trial.providers)
        entry = record.Entry(key, new.measurements, versions, record.today(), tuple(map(str, missed)))
        record.store(entry, operation._machine())
    operation._adopt(new, executor)
    operation._logger.info("Best: %s, %s warm.", best, format_seconds(measured[0].warm))
