"""The search itself: Auto-PyTorch's optimiser (SMAC under Hyperband) on one split and one clock.

Runs where Auto-PyTorch runs, in the worker process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autoPyTorch.evaluation.tae
from autoPyTorch.datasets.resampling_strategy import HoldoutValTypes
from autoPyTorch.optimizer.smbo import AutoMLSMBO
from autoPyTorch.pipeline.components.training.metrics.metrics import accuracy
from autoPyTorch.utils.pipeline import get_configuration_space, get_dataset_requirements
from autoPyTorch.utils.stopwatch import StopWatch
from ConfigSpace.configuration_space import Configuration, ConfigurationSpace
from smac.facade.smac_ac_facade import SMAC4AC
from smac.intensification.hyperband import Hyperband
from smac.runhistory.runhistory import RunInfo, RunValue
from smac.runhistory.runhistory2epm import RunHistory2EPM4LogCost
from smac.scenario.scenario import Scenario
from smac.tae import StatusType
from smac.tae.execute_func import AbstractTAFunc
from smac.tae.serial_runner import SerialRunner

from pipeline_lib.engines.autopytorch import components
from pipeline_lib.engines.autopytorch.clock import Clock
from pipeline_lib.engines.autopytorch.configspace import updates_from
from pipeline_lib.engines.autopytorch.evaluation import MappedBackend, evaluate
from pipeline_lib.engines.autopytorch.export import CannotExportError
from pipeline_lib.engines.autopytorch.fidelity import ETA

Emit = Callable[[Mapping[str, Any]], None]

_RANDOM_FIRST = 8
"""Configurations drawn at random before SMAC's model proposes; with the default one, a bracket."""
_RESERVED = 10
"""Seconds that Auto-PyTorch and SMAC hold back from the wall clock that they are given."""


@dataclass(frozen=True)
class Job:
    """What the engine asks of the worker; see `worker.py` for the JSON."""

    directory: Path
    shape: tuple[int, int, int]
    seed: int
    seconds: float
    evaluation_seconds: float
    memory_mb: int
    workers: int
    include: Mapping[str, list[str]]
    updates: list[Mapping[str, Any]]
    min_epochs: int
    max_epochs: int
    evaluations: int | None
    first_number: int
    first: list[Mapping[str, Any]]


def search(job: Job, emit: Emit) -> None:
    """Evaluate until the seconds or the evaluations are spent, and tell of each."""
    components.install()
    autoPyTorch.evaluation.tae.preload_modules = lambda context: None  # the server has them
    began = time.monotonic()
    backend = MappedBackend(job.directory, job.shape, job.memory_mb, job.seed)
    updates = updates_from(job.updates)
    include = dict(job.include)
    dataset = backend.load_datamanager()
    requirements = get_dataset_requirements(
        dataset.get_required_dataset_info(), include=include, search_space_updates=updates
    )
    properties = dataset.get_dataset_properties(requirements)
    space = get_configuration_space(properties, include=include, search_space_updates=updates)
    clock = Clock(began + job.seconds, job.min_epochs)
    watch = StopWatch()
    watch.start_task(dataset.dataset_name)
    optimiser = AutoMLSMBO(
        config_space=space,
        dataset_name=dataset.dataset_name,
        backend=backend,
        total_walltime_limit=job.seconds + clock.grace + _RESERVED,
        func_eval_time_limit_secs=job.evaluation_seconds,
        memory_limit=None,  # of the address space; evaluation.py has a limit that means something
        metric=accuracy,
        watcher=watch,
        n_jobs=1,
        dask_client=None,
        pipeline_options=_options(job.max_epochs),
        seed=job.seed,
        resampling_strategy=HoldoutValTypes.holdout_validation,
        include=include,
        search_space_updates=updates,
        get_smac_object_callback=_Smac(job, clock, emit, space),
        all_supported_metrics=False,
        pynisher_context="forkserver",
        min_budget=job.min_epochs,
        max_budget=job.max_epochs,
        task_type=dataset.task_type,
    )
    optimiser.run_smbo(func=evaluate)


def _options(epochs: int) -> dict[str, Any]:
    return {
        "device": "cpu",
        "budget_type": "epochs",
        "epochs": epochs,
        "torch_num_threads": 1,
        "early_stopping": None,
        "use_tensorboard_logger": False,
        "metrics_during_training": False,
        "optimize_metric": "accuracy",
    }


class _Smac:
    """Makes the optimiser that Auto-PyTorch asks for, as Auto-PyTorch's own maker does.

    Two things differ: evaluations run side by side in threads that wait for processes, without a
    Dask cluster, and the start is a handful of random configurations, not ten for each of the
    hyperparameters, which no search of minutes would ever leave behind.
    """

    def __init__(self, job: Job, clock: Clock, emit: Emit, space: ConfigurationSpace) -> None:
        self.job, self.clock, self.emit, self.space = job, clock, emit, space

    def __call__(
        self,
        scenario_dict: dict[str, Any],
        seed: int,
        ta: type[AbstractTAFunc],
        ta_kwargs: dict[str, Any],
        initial_budget: float,
        max_budget: float,
        **_: Any,
    ) -> SMAC4AC:
        smac = SMAC4AC(
            scenario=Scenario(scenario_dict),
            rng=seed,
            runhistory2epm=RunHistory2EPM4LogCost,
            tae_runner=ta,
            tae_runner_kwargs=ta_kwargs,
            initial_configurations=self._first(),
            run_id=seed,
            intensifier=Hyperband,
            intensifier_kwargs={
                "initial_budget": initial_budget,
                "max_budget": max_budget,
                "eta": ETA,
                "min_chall": 1,
                "instance_order": "shuffle_once",
            },
            n_jobs=1,
        )
        smac.solver.tae_runner = _SideBySide(
            smac.solver.tae_runner, self.job, self.clock, self.emit
        )
        return smac

    def _first(self) -> list[Configuration]:
        """What was interrupted, the default, and random ones."""
        again = [Configuration(self.space, values=dict(values)) for values in self.job.first]
        default = self.space.get_default_configuration()
        return [*again, default, *self.space.sample_configuration(_RANDOM_FIRST)]


class _SideBySide(SerialRunner):
    """Runs as many evaluations at a time as there are workers, each in a process of its own."""

    def __init__(self, single: AbstractTAFunc, job: Job, clock: Clock, emit: Emit) -> None:
        super().__init__(
            ta=single.ta,
            stats=single.stats,
            multi_objectives=single.multi_objectives,
            run_obj=single.run_obj,
            par_factor=single.par_factor,
            cost_for_crash=single.cost_for_crash,
            abort_on_first_run_crash=False,
        )
        self.single, self.job, self.clock, self.emit = single, job, clock, emit
        self.budget_type = single.budget_type  # asked for by AutoMLSMBO
        self.started = 0
        self.pool = ThreadPoolExecutor(job.workers)
        self.futures: list[Future[tuple[RunInfo, RunValue]]] = []

    def submit_run(self, run_info: RunInfo) -> None:
        """Start an evaluation when a worker is free, or ask SMAC to stop."""
        while len(self.futures) >= self.job.workers:
            self.wait()
            self._collect()
        epochs = self.clock.epochs_that_fit(run_info.config.config_id, round(run_info.budget))
        limit = self.job.evaluations
        if epochs == 0 or (limit is not None and self.started >= limit):
            self.results.append((run_info, _stop(self.cost_for_crash)))
            return
        number = self.job.first_number + self.started
        self.started += 1
        self.futures.append(self.pool.submit(self._evaluate, number, run_info, epochs))

    def _evaluate(self, number: int, run_info: RunInfo, epochs: int) -> tuple[RunInfo, RunValue]:
        config = run_info.config
        about = {
            "number": number,
            "configuration_id": config.config_id,
            "epochs": epochs,
            "configuration": {name: _plain(config[name]) for name in config},
        }
        self.emit({"event": "started", **about, "time": time.time()})
        _, value = self.single.run_wrapper(run_info._replace(budget=float(epochs)))
        _log_failure(number, value)
        self.clock.learn(config.config_id, value.time, value.additional_info.get("curve", []))
        self.emit({"event": "evaluation", **about, **_outcome(value, self.job)})
        return run_info, value

    def _collect(self) -> None:
        done = [future for future in self.futures if future.done()]
        for future in done:
            self.futures.remove(future)
            self.results.append(future.result())

    def get_finished_runs(self) -> list[tuple[RunInfo, RunValue]]:
        """What ended since the last call."""
        self._collect()
        finished = list(self.results)
        self.results.clear()
        return finished

    def wait(self) -> None:
        """Until one of those that run has ended."""
        wait(self.futures, return_when=FIRST_COMPLETED)

    def pending_runs(self) -> bool:
        """Whether any runs."""
        return bool(self.futures)

    def num_workers(self) -> int:
        """How many can run."""
        return self.job.workers

    def run(self, *arguments: Any, **settings: Any) -> Any:
        """One evaluation, as Auto-PyTorch runs it."""
        return self.single.run(*arguments, **settings)


def _log_failure(number: int, value: RunValue) -> None:
    """Leave in the log what a failed evaluation said itself."""
    if value.status != StatusType.SUCCESS:
        info = value.additional_info
        said = info.get("traceback") or info.get("subprocess_stderr") or info.get("error", "")
        print(f"evaluation {number}: {value.status.name}\n{said}", file=sys.stderr, flush=True)


def _stop(cost: float) -> RunValue:
    now = time.time()
    return RunValue(cost, 0.0, StatusType.STOP, now, now, {})


def _outcome(value: RunValue, job: Job) -> dict[str, Any]:
    """An evaluation's end as JSON values."""
    info = value.additional_info
    reason = _reason(value, job)
    return {
        "state": "failed" if reason else "complete",
        "reason": reason,
        "status": value.status.name,
        "seconds": round(value.time, 3),
        "val_accuracy": info.get("accuracy"),
        "curve": info.get("curve", []),
        "parameters": info.get("parameters"),
        "model": None if reason else info["model"],
    }


def _reason(value: RunValue, job: Job) -> str:
    """Why an evaluation has no model, in one line; empty when it has one."""
    info = value.additional_info
    if value.status == StatusType.SUCCESS:
        return "" if info.get("finite") else "it diverged: its predictions are not finite"
    if value.status == StatusType.TIMEOUT:
        if value.time < job.evaluation_seconds - 1:
            return "the search time was over"
        return f"it took longer than {job.evaluation_seconds:.0f} s"
    if value.status == StatusType.MEMOUT:
        return f"it needed more than {job.memory_mb} MB"
    if info.get("exitcode", 0) < 0:
        return f"its process was killed (exit code {info['exitcode']})"
    said = info.get("subprocess_stderr") or info.get("error") or value.status.name
    return _last_words(said)


def _last_words(said: str) -> str:
    """The last line of a traceback, without the module of its error."""
    error, colon, message = said.strip().splitlines()[-1].partition(": ")
    if error.endswith(CannotExportError.__name__):
        return message
    return f"{error.rpartition('.')[2] if colon else error}{colon}{message}"[:300]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
