"""The search itself: this process owns the Optuna study, a worker trains each running trial."""

from __future__ import annotations

import threading
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Any

import optuna

from pipeline_lib.errors import TrialFailure
from pipeline_lib.families.spaces import space_function
from pipeline_lib.names import PRUNERS, SAMPLERS, load
from pipeline_lib.search.engine import Listener, SearchRequest, trial_seed
from pipeline_lib.search.fidelity import Final, Finalist, Ladder, next_finalist
from pipeline_lib.search.study import (
    INTERRUPTED,
    RECORD,
    TOLD,
    first_in_line,
    model_directory,
    open_study,
    origin_of,
    read_trials,
    record_of,
)
from pipeline_lib.training.workers import TrialJob, TrialWorker, warm_up
from pipeline_lib.trial import NO_TIME_LEFT, RUN_STOPPED, Rung, Trial, TrialState

_POLL_SECONDS = 0.2


@dataclass
class _Running:
    """A trial that a worker trains right now, and the rungs it is to climb."""

    optuna_trial: optuna.Trial
    trial: Trial
    worker: TrialWorker
    rungs: tuple[int, ...]
    began: float = field(default_factory=time.monotonic)  # the clock on the wall may be set back

    @property
    def reached(self) -> int:
        return len(self.trial.rungs)


class Search:
    """One call of `OptunaEngine.search`: proposes, listens to workers, decides, and tells."""

    def __init__(
        self,
        request: SearchRequest,
        sampler: str,
        pruner: str,
        listen: Listener,
        stop: threading.Event,
    ) -> None:
        self.request = request
        self.train_size = len(request.split.train)
        self.ladder = Ladder.of(
            request.space, request.budget_seconds, self.train_size, request.first_rung
        )
        self.pruner = pruner
        self.study = open_study(
            request,
            self.ladder,
            load(SAMPLERS[sampler])(request.seed),
            load(PRUNERS[pruner])(self.ladder),
        )
        self.queue = first_in_line(self.study, request)
        self.listen = listen
        self.stop = stop
        self.running: list[_Running] = []
        self.untold: list[Trial] = []  # what began or ended, in order
        self.conducted = 0
        self.finalists: list[Finalist] = []
        self.best: dict[int, Trial] = {}
        began = request.deadline - request.budget_seconds
        self.search_end = began + self.ladder.search_seconds(request.budget_seconds)

    def run(self) -> None:
        """Until nothing runs and nothing more may start."""
        for trial in read_trials(self.request.directory, self.request.study):
            self._remember(trial)
            if trial.reason == INTERRUPTED:  # nobody else tells of those that were closed just now
                self.listen(trial)
        try:
            self._fill()
            self._tell()
            while self.running:
                ready = wait([run.worker.connection for run in self.running], _POLL_SECONDS)
                for run in [r for r in self.running if r.worker.connection in ready]:
                    self._hear(run)
                for run in [r for r in self.running if r.worker.is_overdue]:
                    problem = f"no end of a rung within {self.request.trial_seconds:g} s"
                    self._end(run, TrialState.FAILED, f"{problem} (trial_seconds)")
                if self.stop.is_set():
                    break
                self._fill()
                self._tell()
        finally:
            with ExitStack() as all_of_them:  # also where the disk takes no word of the first
                all_of_them.callback(self._tell)
                for run in self.running:
                    all_of_them.callback(self._end, run, TrialState.STOPPED, RUN_STOPPED)

    def _tell(self) -> None:
        """Only when every worker is busy again: what a listener does would keep it waiting."""
        while self.untold:
            self.listen(self.untold.pop(0))

    def _fill(self) -> None:
        """Start trials until every worker is busy or nothing may start any more."""
        while len(self.running) < self.request.workers and not self.stop.is_set():
            if self._may_search():
                self.conducted += 1
                self._start(self._ask(), self.ladder.rungs)
            elif not self._start_final():
                return

    def _ask(self) -> optuna.Trial:
        if self.queue:
            parameters, why = self.queue.pop(0)
            self.study.enqueue_trial(parameters, user_attrs=why)
        return self.study.ask()

    def _may_search(self) -> bool:
        if self.conducted == 0:
            return True  # However slow the start was: a run without any trial helps nobody.
        limit = self.request.trials
        return time.monotonic() < self.search_end and (limit is None or self.conducted < limit)

    def _start_final(self) -> bool:
        """Train the best configuration that has no final yet for the time left, if that pays."""
        if any(run.trial.stage == "search" for run in self.running):
            return False  # Its outcome may still matter; it ends with the search time.
        counted = self.request.trials is not None and self.conducted >= self.request.trials
        left = self.request.deadline - time.monotonic()
        shortest = self.ladder.shortest_final(self.request.budget_seconds)
        was_enough = len(self.finalists) >= self.request.workers
        if not self.ladder.has_finals or (was_enough and (counted or left < shortest / 2)):
            return False
        chosen = next_finalist(list(self.best.values()), self.finalists)
        if chosen is None:
            return False
        self.finalists.append(chosen)
        reached = chosen.trial.rungs[-1]
        seconds = left if counted else self.ladder.turn(reached, left, shortest, self.train_size)
        final = self.ladder.final(reached, seconds, counted)
        if final is None:
            return False
        parameters = self.study.trials[chosen.trial.number].params
        self.study.enqueue_trial({**parameters, "upright": chosen.upright})
        otherwise = f", upright={chosen.upright}" if chosen.is_otherwise else ""
        note = f"of {chosen.trial.label}{otherwise}"
        self._start(self.study.ask(), (final.samples,), final, note)
        return True

    def _start(
        self,
        optuna_trial: optuna.Trial,
        rungs: tuple[int, ...],
        final: Final | None = None,
        note: str = "",
    ) -> None:
        trial = Trial(
            study=self.request.study,
            engine="optuna",
            number=optuna_trial.number,
            state=TrialState.RUNNING,
            configuration=self._configuration(optuna_trial),
            started=time.time(),
            stage="final" if final else "search",
            notes={
                "device": str(warm_up()),
                **({"final": note} if note else {}),
                **origin_of(optuna_trial),
            },
            metric=self.request.metric,
        )
        provisional = replace(trial, state=TrialState.FAILED, reason=INTERRUPTED)
        optuna_trial.set_user_attr(RECORD, record_of(provisional))
        job = TrialJob(
            split=self.request.split,
            configuration=trial.configuration,
            seed=trial_seed(self.request.seed, trial.number),
            directory=model_directory(self.request.directory, trial.number),
            seconds=self.request.trial_seconds,
            memory=self.request.trial_memory,
        )
        run = _Running(optuna_trial, trial, TrialWorker(job), rungs)
        self.running.append(run)
        run.worker.request(rungs[0], final.seconds if final else None)
        self.untold.append(trial)

    def _configuration(self, optuna_trial: optuna.Trial) -> dict[str, Any]:
        with warnings.catch_warnings():
            # A final trains what was found, also by a run of another budget, whose sizes differ.
            warnings.filterwarnings("ignore", "Fixed parameter .* is out of range", UserWarning)
            suggest = space_function(self.request.space)
            return suggest(optuna_trial, self.request.budget_seconds)

    def _hear(self, run: _Running) -> None:
        """Take in a rung, or an end; decide whether the trial climbs on."""
        try:
            rung = run.worker.receive()
        except TrialFailure as failure:
            self._end(run, TrialState.FAILED, failure.problem)
            return
        self._take(run, rung)
        run.optuna_trial.report(rung.value, step=rung.samples)
        if run.reached == len(run.rungs):
            self._end(run, TrialState.COMPLETE)
        elif run.optuna_trial.should_prune():
            reason = f"unpromising at {rung.samples:,} samples (pruner {self.pruner})"
            self._end(run, TrialState.PRUNED, reason)
        elif not self._has_time_for(run.rungs[run.reached], rung):
            self._end(run, TrialState.STOPPED, NO_TIME_LEFT)
        else:
            run.worker.request(run.rungs[run.reached])
            self.listen(run.trial)

    def _has_time_for(self, samples: int, last: Rung) -> bool:
        """Whether a rung of so many samples would end within the search time."""
        expected = samples / last.samples * last.seconds
        return time.monotonic() + expected <= self.search_end

    def _take(self, run: _Running, rung: Rung) -> None:
        size = run.worker.size
        run.trial = replace(
            run.trial,
            rungs=(*run.trial.rungs, rung),
            parameters=size.parameters if size else None,
            multiply_adds=size.multiply_adds if size else None,
            model=model_directory(self.request.directory, run.trial.number),
        )

    def _end(self, run: _Running, state: TrialState, reason: str = "") -> None:
        run.worker.close()
        self.running.remove(run)
        seconds = time.monotonic() - run.began
        trial = replace(run.trial, state=state, reason=reason, seconds=seconds)
        run.optuna_trial.set_user_attr(RECORD, record_of(trial))
        value: Any = trial.value if state == TrialState.COMPLETE else None
        told = TOLD[state if trial.rungs else TrialState.FAILED]  # without a value it says nothing
        self.study.tell(run.optuna_trial, value, state=told)
        self._remember(trial)
        self.untold.append(trial)

    def _remember(self, trial: Trial) -> None:
        if trial.stage == "search" and trial.rungs:
            self.best[trial.number] = trial
