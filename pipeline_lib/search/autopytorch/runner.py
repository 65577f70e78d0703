"""Evaluations side by side, as long as they fit into the time. Runs where Auto-PyTorch runs."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from smac.runhistory.runhistory import RunInfo, RunValue
from smac.tae import StatusType
from smac.tae.execute_func import AbstractTAFunc
from smac.tae.serial_runner import SerialRunner

from pipeline_lib.search.autopytorch.clock import Clock
from pipeline_lib.search.autopytorch.job import Emit, Job
from pipeline_lib.search.autopytorch.outcome import log_failure, outcome, plain


class SideBySide(SerialRunner):  # type: ignore[misc]  # smac has no types here
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
            "configuration": {name: plain(config[name]) for name in config},
        }
        self.emit({"event": "started", **about, "time": time.time()})
        _, value = self.single.run_wrapper(run_info._replace(budget=float(epochs)))
        log_failure(number, value)
        self.clock.learn(config.config_id, value.time, value.additional_info.get("curve", []))
        self.emit({"event": "evaluation", **about, **outcome(value, self.job)})
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


def _stop(cost: float) -> RunValue:
    now = time.time()
    return RunValue(cost, 0.0, StatusType.STOP, now, now, {})
