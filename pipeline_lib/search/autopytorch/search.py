"""The search itself: Auto-PyTorch's optimiser (SMAC under Hyperband) on one split and one clock.

Runs where Auto-PyTorch runs, in the worker process.
"""

from __future__ import annotations

import time
from typing import Any

import autoPyTorch.evaluation.tae
from autoPyTorch.datasets.resampling_strategy import HoldoutValTypes
from autoPyTorch.optimizer.smbo import AutoMLSMBO
from autoPyTorch.pipeline.components.training.metrics.metrics import accuracy, log_loss
from autoPyTorch.utils.pipeline import get_configuration_space, get_dataset_requirements
from autoPyTorch.utils.stopwatch import StopWatch
from ConfigSpace.configuration_space import Configuration, ConfigurationSpace
from smac.facade.smac_ac_facade import SMAC4AC
from smac.intensification.hyperband import Hyperband
from smac.runhistory.runhistory2epm import RunHistory2EPM4LogCost
from smac.scenario.scenario import Scenario
from smac.tae.execute_func import AbstractTAFunc

from pipeline_lib.search.autopytorch import components
from pipeline_lib.search.autopytorch.clock import Clock
from pipeline_lib.search.autopytorch.configspace import updates_from
from pipeline_lib.search.autopytorch.evaluation import MappedBackend, evaluate
from pipeline_lib.search.autopytorch.fidelity import ETA
from pipeline_lib.search.autopytorch.job import Emit, Job
from pipeline_lib.search.autopytorch.runner import SideBySide

_RANDOM_FIRST = 8
"""Configurations drawn at random before SMAC's model proposes; with the default one, a bracket."""
_RESERVED = 10
"""Seconds that Auto-PyTorch and SMAC hold back from the wall clock that they are given."""


def search(job: Job, emit: Emit) -> None:
    """Evaluate until the seconds or the evaluations are spent, and tell of each."""
    components.install()
    autoPyTorch.evaluation.tae.preload_modules = lambda context: None  # the server has them
    backend = MappedBackend(job)
    updates = updates_from(job.updates)
    include = dict(job.include)
    dataset = backend.load_datamanager()
    requirements = get_dataset_requirements(
        dataset.get_required_dataset_info(), include=include, search_space_updates=updates
    )
    properties = dataset.get_dataset_properties(requirements)
    space = get_configuration_space(properties, include=include, search_space_updates=updates)
    clock = Clock(job.deadline, job.min_epochs)
    watch = StopWatch()
    watch.start_task(dataset.dataset_name)
    optimiser = AutoMLSMBO(
        config_space=space,
        dataset_name=dataset.dataset_name,
        backend=backend,
        total_walltime_limit=job.deadline + job.grace_seconds + _RESERVED - time.monotonic(),
        func_eval_time_limit_secs=job.evaluation_seconds,
        memory_limit=None,  # of the address space; evaluation.py has a limit that means something
        metric=accuracy if backend.metric.direction == "maximize" else log_loss,  # see `evaluation`
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
        smac.solver.tae_runner = SideBySide(smac.solver.tae_runner, self.job, self.clock, self.emit)
        return smac

    def _first(self) -> list[Configuration]:
        """What was interrupted, the default, and random ones."""
        again = [Configuration(self.space, values=dict(values)) for values in self.job.first]
        default = self.space.get_default_configuration()
        return [*again, default, *self.space.sample_configuration(_RANDOM_FIRST)]
