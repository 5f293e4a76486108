"""Where the steps of a run are carried out: section ``executor`` of ``platform.yaml``.

What belongs here: in process, in child processes with the heavy libraries loaded once, on dask workers; the same
assets give the same bytes on each. What does not: how many runs there are at once (``dagster.yaml``), and
`interp evaluate`, which brings its own processes (`parallel`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.retries import RetryMode

from interp_assets.cells.declared import Declaration
from interp_assets.parallel import default_jobs, share_cores

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

    from interp_assets.deployment import Deployment

IN_PROCESS, MULTIPROCESS, DASK = "in_process", "multiprocess", "dask"
KINDS = (IN_PROCESS, MULTIPROCESS, DASK)
# What nearly every step imports; a child that finds them loaded starts in a fraction of a second. None of them starts a
# thread or touches a GPU on import, so forking after it is safe.
PRELOAD = ("interp_assets.definitions", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn", "numba", "torch")
# Variables that a worker must have as the run has them: they decide what is read and where it is written.
DESCRIBING = (
    "INTERP_STORE",
    "INTERP_RELEASES",
    "INTERP_DATA_WHEELS",
    "INTERP_DATA_MIRROR",
    "INTERP_CONFIG_DIR",
    "INTERP_STUDIES",
)
# Tag of an asset that asks for resources of a worker, in dask's words: '{"GPU": 1}'.
RESOURCES = "interp/dask-resources"
PAUSE = 0.05  # seconds between two looks at the steps in flight


class OtherDeploymentError(RuntimeError):
    """A dask worker reads or writes elsewhere than the run: no step is at fault, and no release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """Kind of executor, processes on this machine (0 where a scheduler is named), modules to preload, scheduler.

    ``memory`` is what one worker of a local dask cluster may hold, as dask writes it (``4GiB``; empty: its share).
    """

    kind: str = IN_PROCESS
    processes: int = 1
    preload: tuple[str, ...] = ()
    scheduler: str = ""
    memory: str = ""


def executor_settings(deployment: Deployment) -> ExecutorSettings:
    """Settings of section ``executor``; in process where it is absent.

    Raises
    ------
    DeclarationError
        On an unknown kind or key, a key that the kind does not have, a module that is not installed, or a package that
        is missing; the message names file, key and the way out.
    """
    declared = deployment.declaration("executor")
    kind = declared.choice("kind", KINDS, default=IN_PROCESS)
    settings = {IN_PROCESS: _in_process, MULTIPROCESS: _multiprocess, DASK: _dask}[kind](declared)
    declared.finish()
    return settings


def _in_process(_: Declaration) -> ExecutorSettings:
    return ExecutorSettings()


def _multiprocess(declared: Declaration) -> ExecutorSettings:
    processes = declared.integer("processes", default=default_jobs(), minimum=1)
    named = declared.texts("preload")
    preload = named if declared.has("preload") else PRELOAD
    for module in preload:
        if not _installed(module):
            raise declared.error("preload", f"module {module} is not installed here. Correct the name or leave it out.")
    return ExecutorSettings(kind=MULTIPROCESS, processes=processes, preload=preload)


def _dask(declared: Declaration) -> ExecutorSettings:
    if not _installed("distributed"):
        raise declared.error(
            "kind", "is dask, but distributed is not installed. `pip install 'interp-assets[cluster]'`."
        )
    scheduler, memory = declared.text("scheduler", default=""), declared.text("memory", default="")
    if not scheduler:
        processes = declared.integer("processes", default=default_jobs(), minimum=1)
        return ExecutorSettings(kind=DASK, processes=processes, memory=memory)
    if "://" not in scheduler:
        raise declared.error("scheduler", f"is {scheduler!r}; write the whole address, such as tcp://head:8786.")
    for key in ("processes", "memory"):
        if declared.has(key):
            raise declared.error(key, "belongs to the workers of that scheduler. Remove it, or remove `scheduler`.")
    return ExecutorSettings(kind=DASK, processes=0, scheduler=scheduler)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def chosen_executor(settings: ExecutorSettings) -> dg.ExecutorDefinition:
    """Executor of every run that the daemon, the web server or ``dagster job`` starts.

    The ``gpu`` pool holds under each: in process and in child processes by Dagster itself, on dask by `DaskSteps`.
    """
    if settings.kind == MULTIPROCESS:
        return _child_processes(settings)
    if settings.kind == DASK:
        return _dask_workers(settings)
    return dg.in_process_executor


def _child_processes(settings: ExecutorSettings) -> dg.ExecutorDefinition:
    """Dagster's multiprocess executor; every child computes on its share of the cores."""

    @dg.executor(name=MULTIPROCESS, requirements=dg.multiple_process_executor_requirements())
    def multiprocess(_: dg.InitExecutorContext) -> dg.Executor:
        from dagster._core.executor.multiprocess import MultiprocessExecutor

        share_cores(settings.processes)
        return MultiprocessExecutor(
            retries=RetryMode.ENABLED,
            max_concurrent=settings.processes,
            start_method="forkserver",
            explicit_forkserver_preload=list(settings.preload),
        )

    return multiprocess


def _dask_workers(settings: ExecutorSettings) -> dg.ExecutorDefinition:
    @dg.executor(name=DASK, requirements=dg.multiple_process_executor_requirements())
    def dask(_: dg.InitExecutorContext) -> dg.Executor:
        return DaskSteps(settings)

    return dask


class DaskSteps(dg.Executor):
    """Steps on dask workers, each handed over when everything before it has succeeded and its pool has a slot.

    dagster-dask's executor is not used: in 0.29.27 it cannot hand over a run whose assets have a pool (dask iterates
    over arguments, which the pool's record refuses), drops the selection of assets on the worker, knows no pools,
    hands over all steps at once, and names a task by job and step alone, so that two runs on one scheduler collide.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings

    @property
    def retries(self) -> RetryMode:
        """Retries that an asset declares are honoured."""
        return RetryMode.ENABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Events of all steps as they come.

        Raises
        ------
        DagsterExecutionInterruptedError
            When the run is cancelled; steps in flight are cancelled with it.
        """
        with ExitStack() as stack:
            client = stack.enter_context(_client(self._settings))
            pools = stack.enter_context(InstanceConcurrencyContext(plan_context.instance, plan_context.dagster_run))
            active = stack.enter_context(
                ActiveExecution(execution_plan, retry_mode=self.retries, instance_concurrency_context=pools)
            )
            yield from _carry_out(client, plan_context, active)


def _carry_out(
    client: Any, plan_context: PlanOrchestrationContext, active: ActiveExecution
) -> Iterator[dg.DagsterEvent]:
    from dagster._core.errors import DagsterExecutionInterruptedError

    in_flight: dict[str, Any] = {}
    while in_flight or not active.is_complete:
        if active.check_for_interrupts():
            active.mark_interrupted()
            client.cancel(list(in_flight.values()), force=True)
            raise DagsterExecutionInterruptedError
        for step in active.get_steps_to_execute():
            in_flight[step.key] = _submitted(client, plan_context, active, step)
        yield from active.concurrency_event_iterator(plan_context)
        for key in [key for key, future in in_flight.items() if future.done()]:
            for event in _events(in_flight.pop(key), plan_context, active, key):
                yield event
                active.handle_event(event)
            active.verify_complete(plan_context, key)
        yield from active.plan_events_iterator(plan_context)
        time.sleep(PAUSE)


def _submitted(client: Any, plan_context: PlanOrchestrationContext, active: ActiveExecution, step: Any) -> Any:
    """Future of one step; its name holds run and attempt, so that no run is given another one's result."""
    run = plan_context.dagster_run
    task = partial(  # one closed object: dask would look into arguments, and Dagster's records refuse that
        _on_worker,
        described_by(os.environ),
        _carried_out,
        plan_context.reconstructable_job,
        run,
        step.key,
        plan_context.instance.get_ref(),
        active.get_known_state(),
    )
    return client.submit(
        task,
        key=f"{run.run_id}.{step.key}.{active.retry_state.get_attempt_count(step.key)}",
        resources=json.loads(step.tags.get(RESOURCES, "{}")),
        pure=False,
    )


def _carried_out(job: Any, run: dg.DagsterRun, key: str, reference: Any, known: Any) -> list[dg.DagsterEvent]:
    """Events of one step, carried out in this process on the history that ``reference`` names."""
    from dagster._core.execution.api import create_execution_plan, execute_plan_iterator

    with dg.DagsterInstance.from_ref(reference) as instance:
        plan = create_execution_plan(job, run_config=run.run_config, step_keys_to_execute=[key], known_state=known)
        mode = RetryMode.ENABLED.for_inner_plan()
        return list(
            execute_plan_iterator(plan, job, run, run_config=run.run_config, retry_mode=mode, instance=instance)
        )


def described_by(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that says which store, releases and studies a deployment has."""
    return {name: environment[name] for name in DESCRIBING if environment.get(name)}


def _on_worker(asked: Mapping[str, str], work: Callable[..., Any], *arguments: Any) -> Any:
    """Carry out a step in a worker of the same deployment; another store would be written without a word.

    Raises
    ------
    OtherDeploymentError
        When a variable that describes the deployment differs here; names it and both values.
    """
    here = described_by(os.environ)
    different = [name for name in DESCRIBING if asked.get(name) != here.get(name)]
    if different:
        told = "; ".join(f"{name} is {here.get(name)!r}, the run has {asked.get(name)!r}" for name in different)
        raise OtherDeploymentError(
            f"this dask worker belongs to another deployment: {told}. Start it with the run's variables."
        )
    return work(*arguments)


def _events(
    future: Any, plan_context: PlanOrchestrationContext, active: ActiveExecution, key: str
) -> Sequence[dg.DagsterEvent]:
    """What the worker reported, or the failure of this step alone where the worker was lost or could not report.

    Whatever ended the worker's side becomes the error of the step, with its trace: the other steps go on. An
    interruption is none of that and ends the run.
    """
    from dagster._utils.error import serializable_error_info_from_exc_info

    try:
        found: Sequence[dg.DagsterEvent] = future.result()
    except Exception:
        error = serializable_error_info_from_exc_info(sys.exc_info())
        context = plan_context.for_step(active.get_step_by_key(key))
        return [plan_context.executor.log_failure_or_retry_event_after_error(context, error, active.get_known_state())]
    return found


@contextmanager
def _client(settings: ExecutorSettings) -> Iterator[Any]:
    """Client of the named scheduler, or of a cluster on this machine that ends with the run."""
    from distributed import Client, LocalCluster

    if settings.scheduler:
        with Client(settings.scheduler) as client:
            yield client
        return
    share_cores(settings.processes)
    limit = {"memory_limit": settings.memory} if settings.memory else {}
    with (
        LocalCluster(
            n_workers=settings.processes, threads_per_worker=1, processes=True, dashboard_address=None, **limit
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
