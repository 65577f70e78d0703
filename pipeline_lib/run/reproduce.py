"""A recorded run, had again from what MLflow knows of it, and held against it.

Where nothing but the configuration decides what a run finds, its search is repeated and must give
the same bits. Where the clock had a say, a second search would be another one: there the recorded
trials are trained again, and their accuracies must agree as far as chance allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline_lib.cores import available_cores
from pipeline_lib.data.source import check, prepare
from pipeline_lib.data.splits import Split
from pipeline_lib.families.family import Family, named
from pipeline_lib.home import Home
from pipeline_lib.metrics import ACCURACY, find
from pipeline_lib.run.agreement import Fact, Verdict, agreement, best_of, equality
from pipeline_lib.run.recorded import Recorded, configuration_of, recorded
from pipeline_lib.run.run import Run, claim_name
from pipeline_lib.search.engine import Engine, find_engine
from pipeline_lib.selection.ensemble import add_ensemble
from pipeline_lib.tracking.trials import FAMILY, Key
from pipeline_lib.training.retraining import Retraining, retrain
from pipeline_lib.training.workers import TrialJob, warm_up
from pipeline_lib.trial import ENSEMBLE, Rung, Trial, TrialState

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

_PATIENCE = 10  # times the budget: a slower machine must not change what a count of trials bounds

Say = Callable[[str], None]


def reproduce(home: Home, name: str, say: Say) -> list[Fact]:
    """Have a recorded run again, and compare. The test set stays closed; MLflow is only read.

    What is trained lies in `Home.reproductions`, until `automl gc`.

    Raises:
        ConfigurationError: MLflow has no such run.
        DataError: Its data cannot be had.
        EngineUnavailable: Its engine cannot run here.
    """
    before = recorded(home, name)
    config = before.config
    check(config, home)
    home.ensure_writable()
    source = prepare(config, home, say)
    split = Split(source, config.split_seed, config.validation_share, metric=config.metric)
    digest = split.problem.digest
    facts = [
        _environment(before),
        Fact.of("data", digest == before.digest, digest[:12]),
        Fact.of("split", split.digest == before.split_digest, split.digest[:12]),
    ]
    if any(fact.verdict is Verdict.DIFFERS for fact in facts):
        say("Nothing is trained: on other images nothing could be compared")
        return facts
    alone = config.model_copy(update={"warm_start": ()})  # earlier runs are not looked up again
    for text in config.families:
        Family.find(text, home).kept(home.reproductions)
    run = Run(alone, claim_name(home.reproductions, f"{name[:60]}-again"), home.reproductions)
    again = _Reproduction(before, run, home, split, say)
    why = before.why_not_exact(str(warm_up()), len(split.train))
    with run.locked():
        return facts + (again.followed(why) if why else again.searched())


def _environment(before: Recorded) -> Fact:
    """Versions and machine: what may explain a difference."""
    other = before.differences()
    said = "; ".join(other) or "as recorded"
    return Fact("versions, machine", Verdict.NOTED if other else Verdict.SAME, said)


class _Reproduction:
    """One reproduction of a run."""

    def __init__(self, before: Recorded, run: Run, home: Home, split: Split, say: Say) -> None:
        self.before, self.run, self.home, self.split, self.say = before, run, home, split, say

    def searched(self) -> list[Fact]:
        """Search again, where that must give the same bits."""
        before, config = self.before, self.before.config
        known = {key: run for name in config.engines for key, run in before.of(name).items()}
        self.say(
            f"Exact: {config.trials} trials, one worker, on the CPU. The search is repeated; "
            f"every configuration, accuracy and weight must be the same. {self._cost(known, 1)}"
        )
        facts, trials = list[Fact](), list[Trial]()
        for name in config.engines:
            found = self._search(name, _PATIENCE * config.budget_seconds)
            facts += equality(before, name, found)
            trials += found
        if before.of(ENSEMBLE):
            facts += equality(before, ENSEMBLE, self._ensembles(trials))
        return facts

    def followed(self, why: list[str]) -> list[Fact]:
        """Train the recorded trials again, where a second search would be another one.

        An engine whose configurations only its own search can train searches once more instead.
        """
        config, size = self.before.config, len(self.split.validation)
        self.say(f"Not exact: {'; '.join(why)}.")
        trials, facts = list[Trial](), list[Fact]()
        for engine in map(find_engine, config.engines):
            if engine.retrains:
                found = self._train_again(engine)
                facts += agreement(self.before, engine.name, found, size)
            else:
                self.say(
                    f"{engine.title} trains within its own search alone: that is repeated for "
                    f"{config.budget_seconds:.0f} s, and finds other configurations"
                )
                found = self._search(engine.name, config.budget_seconds)
                facts.append(best_of(self.before, engine.name, found, size))
            trials += found
        if self.before.of(ENSEMBLE):
            facts.append(best_of(self.before, ENSEMBLE, self._ensembles(trials), size))
        return facts

    def _ensembles(self, trials: list[Trial]) -> list[Trial]:
        """What selection makes of these trials."""
        config, kept = self.run.config, self.run.ensembles
        return add_ensemble(config, kept, trials, self.split).trials[len(trials) :]

    def _train_again(self, engine: type[Engine]) -> list[Trial]:
        """An engine's recorded trials that have a rung, with their seeds, each rung in turn."""
        before, config = self.before, self.before.config
        known = {key: run for key, run in before.of(engine.name).items() if before.rungs(run)}
        workers = min(config.workers, available_cores())
        self.say(
            f"{engine.title}'s {len(known)} recorded trials are trained again with {workers} "
            "workers, each rung for as many samples; accuracies must agree as far as chance "
            "allows. " + self._cost(known, workers)
        )
        trials = {trial.label: trial for trial in (self._trial(k, r) for k, r in known.items())}
        then = {f"{key[0]}-{int(key[1]):04d}": before.rungs(run) for key, run in known.items()}
        todo = [self._again(trial, then[label]) for label, trial in trials.items()]

        def on_rung(again: Retraining, rung: Rung) -> None:
            trial = trials[again.label]
            trials[again.label] = replace(trial, rungs=(*trial.rungs, rung))
            self._tell(again.label, rung, then[again.label])

        failed = retrain(todo, workers, on_rung)
        for label, reason in failed.items():
            self.say(f"{label} could not be trained again: {reason}")
        return [trial for label, trial in trials.items() if label not in failed]

    def _trial(self, key: Key, run: MlflowRun) -> Trial:
        """The recorded trial, before its first rung."""
        from pipeline_lib.search.records import model_directory

        number, place = int(key[1]), self.run.request(self.split, key[0], 1, deadline=0.0)
        return Trial(
            study=self.run.name,
            engine=key[0],
            number=number,
            state=TrialState.COMPLETE,
            configuration=configuration_of(run),
            stage=key[2],
            family=run.data.tags.get(FAMILY) or self.before.config.families[0],
            metric=find(self.before.config.metric),
            model=model_directory(place.directory, number),
        )

    def _again(self, trial: Trial, then: list[tuple[int, float]]) -> Retraining:
        from pipeline_lib.search.engine import trial_seed

        assert trial.model is not None
        config = self.before.config
        job = TrialJob(
            family=named(trial.family, self.run.families),
            configuration=trial.configuration,
            split=self.split,
            seed=trial_seed(self.run.seed, trial.number),
            directory=trial.model,
            seconds=_PATIENCE * config.rung_seconds,
            memory=config.trial_memory,
        )
        return Retraining(trial.label, job, tuple(samples for samples, _ in then))

    def _search(self, name: str, seconds: float) -> list[Trial]:
        """Search with an engine once more, for so long at most."""
        config, known = self.before.config, self.before.of(name)
        engine = find_engine(name).of(config, self.home)
        engine.prepare(self.say)
        deadline = time.monotonic() + seconds
        request = self.run.request(self.split, name, len(config.engines), deadline)

        def on_trial(trial: Trial) -> None:
            if trial.state is not TrialState.RUNNING:
                run = known.get((name, str(trial.number), trial.stage))
                rungs = self.before.rungs(run) if run and engine.repeats else []
                for rung in trial.rungs[-1:]:
                    self._tell(trial.label, rung, rungs)

        engine.search(request, on_trial, threading.Event())
        return engine.trials(request.study, request.directory)

    def _cost(self, known: dict[Key, MlflowRun], workers: int) -> str:
        """What the trainings took when they were recorded."""
        client = self.before.store.client
        seconds = sum(
            point.value
            for run in known.values()
            for point in client.get_metric_history(run.info.run_id, "rung_seconds")
        )
        return f"The trainings took {seconds:.0f} s then: about {seconds / workers:.0f} s"

    def _tell(self, label: str, rung: Rung, then: list[tuple[int, float]]) -> None:
        before = dict(then).get(rung.samples)
        recorded = "" if before is None else f" (recorded {before:.2%})"
        self.say(
            f"{label}: {rung.scores[ACCURACY.name]:.2%} after {rung.samples:,} samples{recorded}"
        )
