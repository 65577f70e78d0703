"""The search itself: this process owns the Optuna studies, a worker trains each running trial."""

from __future__ import annotations

import threading
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Any

import optuna

from pipeline_lib.errors import FamilyError, TrialFailure
from pipeline_lib.families.space import Space
from pipeline_lib.names import PRUNERS, SAMPLERS, load
from pipeline_lib.search.contenders import Contender, Contenders
from pipeline_lib.search.engine import Listener, SearchRequest, trial_seed
from pipeline_lib.search.fidelity import Final
from pipeline_lib.search.finalists import Finalist
from pipeline_lib.search.records import (
    INTERRUPTED,
    RECORD,
    TOLD,
    model_directory,
    read_trials,
    record_of,
)
from pipeline_lib.search.rungs import ladder_of
from pipeline_lib.search.study import Part, first_in_line, open_study, origin_of
from pipeline_lib.training.workers import WORKER, TrialJob, TrialWorker, warm_up
from pipeline_lib.trial import (
    NO_TIME_LEFT,
    RUN_STOPPED,
    Configuration,
    Rung,
    Trial,
    TrialState,
)

_POLL_SECONDS = 0.2


@dataclass
class _Running:
    """A trial that a worker trains right now, and the rungs it is to climb."""

    contender: Contender
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
        self.sampler, self.pruner = sampler, pruner
        self.listen = listen
        self.stop = stop
        self.running: list[_Running] = []
        self.untold: list[Trial] = []  # what began or ended, in order
        self.conducted = 0

    def run(self) -> None:
        """Until nothing runs and nothing more may start."""
        with self.request.open_spaces() as spaces:
            self.contenders = Contenders([self._contender(*each) for each in enumerate(spaces)])
            request, ladders = self.request, [each.ladder for each in self.contenders.families]
            seconds = min(each.search_seconds(request.budget_seconds) for each in ladders)
            self.search_end = request.deadline - request.budget_seconds + seconds
            for trial in read_trials(request.directory, request.study):
                self.contenders.of(trial).remember(trial)
                if trial.reason == INTERRUPTED:  # nobody else tells of those closed just now
                    self.listen(trial)
            self._conduct()

    def _contender(self, index: int, space: Space) -> Contender:
        request, part = self.request, Part(self.request, index, space)
        ladder = ladder_of(part)
        seed = trial_seed(request.seed, 2**32 + index) if index else request.seed
        sampler, pruner = load(SAMPLERS[self.sampler])(seed), load(PRUNERS[self.pruner])(ladder)
        study = open_study(part, ladder, sampler, pruner)
        return Contender(part, ladder, study, first_in_line(study, part))

    def _conduct(self) -> None:
        try:
            self._fill()
            self._tell()
            while self.running:
                ready = wait([run.worker.connection for run in self.running], _POLL_SECONDS)
                for run in [r for r in self.running if r.worker.connection in ready]:
                    self._receive(run)
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
            self.contenders.drop_broken()
            if self._may_search():
                self._start_search()
            elif not self._start_final():
                return

    def _may_search(self) -> bool:
        if self.conducted == 0:
            return True  # However slow the start was: a run without any trial helps nobody.
        limit = self.request.trials
        return time.monotonic() < self.search_end and (limit is None or self.conducted < limit)

    def _start_search(self) -> None:
        """Start a trial of the family whose turn it is."""
        counted, now = self.request.trials, time.monotonic()
        whole = self.search_end - self.request.deadline + self.request.budget_seconds
        spent = (self.conducted / counted) if counted else 1 - (self.search_end - now) / whole
        self.contenders.compare_families(spent)
        going_on = [(run.contender, run.began) for run in self.running]
        contender = self.contenders.next(counted is not None, going_on)
        self.conducted += 1
        contender.conducted += 1
        self._start(contender, contender.propose())

    def _start_final(self) -> bool:
        """Train the best configuration that has no final yet for the time left, if that pays."""
        if any(run.trial.stage == "search" for run in self.running):
            return False  # Its outcome may still matter; it ends with the search time.
        counted = self.request.trials is not None and self.conducted >= self.request.trials
        chosen = self.contenders.finalist(self.request, self.train_size, counted=counted)
        if chosen is None:
            return False
        self._retrain(*chosen)
        return True

    def _retrain(self, contender: Contender, chosen: Finalist, final: Final) -> None:
        """Start the final training of a finalist."""
        parameters, other = contender.parameters(chosen.trial), ""
        if chosen.name:
            parameters[chosen.name] = chosen.variant
        if chosen.uses_other_variant:
            other = f", {chosen.name}={chosen.variant}"
        contender.study.enqueue_trial(parameters)
        note = f"of {chosen.trial.label}{other}"
        self._start(contender, contender.study.ask(), final, note)

    def _start(
        self,
        contender: Contender,
        optuna_trial: optuna.Trial,
        final: Final | None = None,
        note: str = "",
    ) -> None:
        """Start a trial; one whose proposal raises in the user's code has ended with that."""
        trial = Trial(
            study=self.request.study,
            engine="optuna",
            number=contender.part.number(optuna_trial.number),
            state=TrialState.RUNNING,
            configuration={},
            started=time.time(),
            stage="final" if final else "search",
            metric=self.request.metric,
            family=contender.name,
            notes={
                "device": str(warm_up()),
                **({"final": note} if note else {}),
                **origin_of(optuna_trial),
            },
        )
        try:
            trial = replace(trial, configuration=_configuration(contender, optuna_trial))
        except FamilyError as error:
            trial = replace(trial, configuration=optuna_trial.params)
            self.untold.append(trial)
            failed = replace(trial, state=TrialState.FAILED, reason=str(error))
            self._close(contender, optuna_trial, failed, error.where)
            return
        provisional = replace(trial, state=TrialState.FAILED, reason=INTERRUPTED)
        optuna_trial.set_user_attr(RECORD, record_of(provisional))
        rungs = (final.samples,) if final else contender.ladder.rungs
        run = _Running(contender, optuna_trial, trial, TrialWorker(self._job(trial)), rungs)
        self.running.append(run)
        run.worker.request(rungs[0], final.seconds if final else None)
        self.untold.append(trial)

    def _job(self, trial: Trial) -> TrialJob:
        return TrialJob(
            family=self.contenders.of(trial).part.family,
            configuration=trial.configuration,
            split=self.request.split,
            seed=trial_seed(self.request.seed, trial.number),
            directory=model_directory(self.request.directory, trial.number),
            seconds=self.request.trial_seconds,
            memory=self.request.trial_memory,
        )

    def _receive(self, run: _Running) -> None:
        """Take in a rung, or an end; decide whether the trial climbs on."""
        try:
            rung = run.worker.receive()
        except TrialFailure as failure:
            reason = failure.problem
            if failure.where != WORKER:
                reason = f"{failure.where}: {reason}"
            self._end(run, TrialState.FAILED, reason, failure.where)
            return
        self._add_rung(run, rung)
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

    def _add_rung(self, run: _Running, rung: Rung) -> None:
        size = run.worker.size
        run.trial = replace(
            run.trial,
            rungs=(*run.trial.rungs, rung),
            parameters=size.parameters if size else None,
            multiply_adds=size.multiply_adds if size else None,
            model=model_directory(self.request.directory, run.trial.number),
        )

    def _end(self, run: _Running, state: TrialState, reason: str = "", where: str = WORKER) -> None:
        run.worker.close()
        self.running.remove(run)
        seconds = time.monotonic() - run.began
        trial = replace(run.trial, state=state, reason=reason, seconds=seconds)
        self._close(run.contender, run.optuna_trial, trial, where)

    def _close(
        self, contender: Contender, optuna_trial: optuna.Trial, trial: Trial, where: str
    ) -> None:
        """Make the end of a trial durable, then have it told."""
        optuna_trial.set_user_attr(RECORD, record_of(trial))
        value: Any = trial.value if trial.state == TrialState.COMPLETE else None
        # Without a value it says nothing.
        told = TOLD[trial.state if trial.rungs else TrialState.FAILED]
        contender.study.tell(optuna_trial, value, state=told)
        contender.ended(trial, where)
        self.untold.append(trial)


def _configuration(contender: Contender, optuna_trial: optuna.Trial) -> Configuration:
    with warnings.catch_warnings():
        # A final trains what was found, also by a run of another budget, whose sizes differ.
        warnings.filterwarnings("ignore", "Fixed parameter .* is out of range", UserWarning)
        return contender.part.space.propose(optuna_trial)
