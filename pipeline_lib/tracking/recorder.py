"""One run in MLflow: the pipeline's run, below it one per search, below that one per trial."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Literal

from pipeline_lib.formats import shorten_home
from pipeline_lib.home import Home
from pipeline_lib.tracking.experiments import experiment_name, open_experiment, runs_of
from pipeline_lib.tracking.store import Store, open_store
from pipeline_lib.tracking.trials import (
    Key,
    key_of,
    metrics_of,
    regret_of,
    run_name,
    source_tags,
    span_of,
    state_of,
    status_of,
    tags_of,
    val_name,
)
from pipeline_lib.trial import ENDED, ENSEMBLE, Trial, TrialState, by_regret

if TYPE_CHECKING:
    from mlflow.entities import Run

CONFIGURATION = "automl.configuration"
"""Tag of a pipeline's run: the configuration it was begun with, as JSON."""
Outcome = Literal["FINISHED", "FAILED", "KILLED"]


class Recorder:
    """Writes one study to MLflow; may be shared between threads.

    MLflow holds a projection of the engines' storages: recording a trial again changes
    nothing, and a study that goes on is continued in the run it began.
    """

    def __init__(self, store: Store, experiment_id: str, study: str, run_id: str) -> None:
        self.store = store
        self.experiment_id = experiment_id
        self.study = study
        self.run_id = run_id
        self._client = store.client
        self._lock = RLock()
        self._searches: dict[str, str] = {}  # run id by engine
        self._recorded: dict[Key, str] = {}  # run id by trial
        self._begun: dict[Key, Run] = {}  # by trial: not whole yet, when MLflow failed half-way
        self._counts: dict[str, Counter[str]] = {}  # states by engine
        self._best: dict[str, float] = {}  # the smallest regret by engine
        self._began: int | None = None
        self._ended: dict[str, int] = {}  # by run id: when it had ended before this

    @classmethod
    def open(
        cls, home: Home, dataset: str, study: str, tags: Mapping[str, str], began: int | None = None
    ) -> Recorder:
        """Begin the run of a study on a data set, or continue it where it stopped.

        `began` is when a study of long ago did, in milliseconds since the epoch.

        Raises:
            HomeError: The store in the state directory cannot be used.
            ServerError: The server that `MLFLOW_TRACKING_URI` names does not answer.
        """
        store = open_store(home)
        experiment_id = open_experiment(store, dataset)
        known = runs_of(store, experiment_id, study)
        pipeline = [run for run in known if run.data.tags.get("automl.role") == "pipeline"]
        shown = {name: shorten_home(value) for name, value in tags.items()}
        if pipeline:
            run_id = pipeline[0].info.run_id
            store.client.update_run(run_id, status="RUNNING")
            for name, value in shown.items():
                store.client.set_tag(run_id, name, value)
        else:
            named = {**source_tags(study), "automl.role": "pipeline", **shown}
            run_id = store.client.create_run(experiment_id, began, named, study).info.run_id
        recorder = cls(store, experiment_id, study, run_id)
        recorder._began = began
        recorder._remember(known)
        return recorder

    def page(self, server: str, artifact: str = "") -> str:
        """The address of this run, or of a file of it, in the UI of an MLflow server."""
        run = f"experiments/{self.experiment_id}/runs/{self.run_id}"
        shown = f"{run}/artifacts/{artifact}" if artifact else run
        return f"{server}/#/{shown}?workflowType=machine_learning"

    def record(self, trial: Trial) -> str:
        """Write a finished trial as one child run; returns its id. Does nothing a second time."""
        if trial.study != self.study or trial.state is TrialState.RUNNING:
            raise ValueError(f"not a finished trial of {self.study!r}: {trial}")
        with self._lock:
            key = trial.engine, str(trial.number), trial.stage
            if key not in self._recorded:
                self._recorded[key] = self._write(key, trial)
                self._count(trial)
            return self._recorded[key]

    def recorded(self, engine: str) -> int:
        """How many trials of an engine are in MLflow."""
        with self._lock:
            return sum(self._counts.get(engine, Counter()).values())

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record what the run was asked to do; what a resumed run was asked anew is a tag."""
        from mlflow.entities import Param, RunTag

        texts = {name: shorten_home(str(value)) for name, value in params.items()}
        known = self._client.get_run(self.run_id).data.params
        if not known:
            whole = shorten_home(json.dumps(params, default=str))
            self._client.set_tag(self.run_id, CONFIGURATION, whole)
        new = [Param(name, text) for name, text in texts.items() if name not in known]
        changed = [
            RunTag(f"resumed.{name}", text)
            for name, text in texts.items()
            if known.get(name, text) != text
        ]
        self._client.log_batch(self.run_id, params=new, tags=changed)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record numbers of the whole run: test accuracy, calibration. Once is as twice."""
        self._log_changed(self.run_id, metrics)

    def log_winner(self, validation: Mapping[str, float], tested: Mapping[str, float]) -> None:
        """Record what the run's winner is worth, its test figures where it has any.

        A continued run may have another winner by now: figures of the one before, which MLflow
        cannot delete, become NaN.
        """
        shown = self._client.get_run(self.run_id).data.metrics
        before = {name: math.nan for name in shown if name.startswith("test_")}
        self.log_metrics({**before, **tested, **validation})

    def log_dataset(
        self, name: str, digest: str, split_digest: str, sizes: Mapping[str, int]
    ) -> None:
        """Record which data were searched on: digests of its arrays and of the split."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = {**sizes, "digest": digest, "split_digest": split_digest}
        source = json.dumps({"uri": name})
        short = digest[:_SHORT], split_digest[:_SHORT]
        data = Dataset(name, short[0], "automl", source, profile=json.dumps(profile))
        context = InputTag("mlflow.data.context", "training and validation")
        self._client.log_inputs(self.run_id, [DatasetInput(data, [context])])
        for tag, value in zip(("data.digest", "data.split"), short, strict=True):
            self._client.set_tag(self.run_id, tag, value)

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file, or all files of a directory, with the run."""
        keep = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        keep(self.run_id, str(path), folder or None)

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as a file of this name with the run."""
        self._client.log_text(self.run_id, text, name)

    @property
    def note(self) -> str:
        """What describes the run, empty where nothing does."""
        return str(self._client.get_run(self.run_id).data.tags.get(_NOTE, ""))

    def set_note(self, markdown: str) -> None:
        """Describe the run, at the top of its page."""
        self._client.set_tag(self.run_id, _NOTE, shorten_home(markdown))

    def finish(self, status: Outcome, ended: int | None = None) -> None:
        """Close the run and its searches; a resumed run opens them again.

        `ended` is when the last trial of long ago did, in milliseconds since the epoch. A run that
        was seen to end after that keeps its end.
        """
        with self._lock:
            for engine, run_id in self._searches.items():
                self._summarise(engine, run_id)
                self._terminate(run_id, status, ended)
            self._terminate(self.run_id, status, ended)

    def _terminate(self, run_id: str, status: Outcome, ended: int | None) -> None:
        at = max(ended, self._ended.get(run_id, 0)) if ended else None
        self._client.set_terminated(run_id, status, at)

    def _remember(self, known: list[Run]) -> None:
        for run in known:
            self._ended[run.info.run_id] = run.info.end_time or 0
            role = run.data.tags.get("automl.role")
            if role == "search":
                self._searches[run.data.tags["automl.engine"]] = run.info.run_id
            elif role == "trial" and run.info.status == "RUNNING":
                # Its writer was killed half-way: the engine tells of the trial again.
                self._client.delete_run(run.info.run_id)
            elif role == "trial":
                key = key_of(run.data.tags)
                self._recorded[key] = run.info.run_id
                ended = state_of(run.data.tags)
                self._tally(key[0], ended, regret_of(run.data.metrics))
        for run_id in self._searches.values():
            self._client.update_run(run_id, status="RUNNING")

    def _write(self, key: Key, trial: Trial) -> str:
        from mlflow.entities import Metric, Param

        tags = {
            **source_tags(self.study),
            "mlflow.parentRunId": self._parent(trial.engine),
            "automl.role": "trial",
            **{name: shorten_home(text) for name, text in tags_of(trial).items()},
        }
        started, ended = span_of(trial)
        run = self._begun.get(key)
        if run is None:
            run = self._client.create_run(self.experiment_id, started, tags, run_name(trial))
            self._begun[key] = run
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, ended, step) for name, value, step in metrics_of(trial)],
            params=[Param(name, str(value)) for name, value in trial.configuration.items()],
        )
        if trial.model is not None:
            self.store.keep(run.info, trial.model, "model")
        self._client.set_terminated(run.info.run_id, status_of(trial), ended)
        del self._begun[key]
        return str(run.info.run_id)

    def _parent(self, engine: str) -> str:
        """The search a trial belongs to; an ensemble belongs to the pipeline's run itself."""
        return self.run_id if engine == ENSEMBLE else self._search_run(engine)

    def _search_run(self, engine: str) -> str:
        if engine not in self._searches:
            tags = {
                **source_tags(self.study),
                "mlflow.parentRunId": self.run_id,
                "automl.role": "search",
                "automl.engine": engine,
            }
            named = f"{engine} search"
            run = self._client.create_run(self.experiment_id, self._began, tags, named)
            self._searches[engine] = run.info.run_id
        return self._searches[engine]

    def _count(self, trial: Trial) -> None:
        """Draw the incumbent's rise on the search run, one point whenever it improves."""
        before = self._best.get(trial.engine, math.inf)
        self._tally(trial.engine, trial.state, trial.regret)
        if trial.rungs and by_regret(trial) < before and trial.engine in self._searches:
            self._client.log_metric(
                self._searches[trial.engine],
                f"best_{val_name(trial.metric)}",
                trial.rungs[-1].value,
                step=self.recorded(trial.engine),
            )

    def _tally(self, engine: str, state: TrialState, regret: float | None) -> None:
        self._counts.setdefault(engine, Counter())[state] += 1
        if regret is not None:  # also of one that was pruned or stopped: it may win
            self._best[engine] = min(regret, self._best.get(engine, math.inf))

    def _summarise(self, engine: str, run_id: str) -> None:
        counts = self._counts.get(engine, Counter())
        states = {state.value: counts[state] for state in ENDED}
        self._log_changed(run_id, {"trials": counts.total(), **states})

    def _log_changed(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Record the numbers that MLflow does not show already."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        shown = self._client.get_run(run_id).data.metrics
        new = {name: value for name, value in metrics.items() if shown.get(name) != value}
        batch = [Metric(name, float(value), now, 0) for name, value in new.items()]
        self._client.log_batch(run_id, metrics=batch)


_NOTE = "mlflow.note.content"
_SHORT = 12  # characters of a digest that people compare by eye; whole ones are in the profile


def runs_of_study(store: Store, study: str) -> list[Run]:
    """Every run of a study, whatever its data set."""
    prefix = experiment_name("")
    found = [e for e in store.client.search_experiments() if e.name.startswith(prefix)]
    return [run for experiment in found for run in runs_of(store, experiment.experiment_id, study)]
