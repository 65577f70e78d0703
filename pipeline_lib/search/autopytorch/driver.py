"""The search itself: the worker's lines become trials of the study.

Each evaluation of Auto-PyTorch is a trial: one configuration trained from scratch for some epochs.
Hyperband trains a promising one again, for longer, which is another trial; its notes say of which
configuration.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.home import Home
from pipeline_lib.models.exported import multiply_adds
from pipeline_lib.search.autopytorch import environment
from pipeline_lib.search.autopytorch.description import space_fields
from pipeline_lib.search.autopytorch.engine import ENGINE
from pipeline_lib.search.autopytorch.fidelity import epochs_for
from pipeline_lib.search.autopytorch.process import WorkerProcess
from pipeline_lib.search.autopytorch.spaces import Space
from pipeline_lib.search.earlier import FROM, MOST, best_earlier
from pipeline_lib.search.engine import Listener, SearchRequest
from pipeline_lib.search.lines import Journal
from pipeline_lib.trial import OVERDUE, RUN_STOPPED, Configuration, Epoch, Rung, Trial, TrialState

_log = logging.getLogger("automl")

_GRACE = 0.05
"""Share of the budget that an evaluation may take beyond the deadline before it is cut off."""
_OVERTIME = 20.0
"""Seconds after that at which a worker that has not ended is killed."""
_POLL_SECONDS = 0.2
RETRY_OF = "retry_of"
"""Note of a trial that runs an interrupted one's configuration once more: that one's number."""


class Search:
    """One call of `AutoPytorchEngine.search`: starts the worker, makes its lines trials."""

    def __init__(
        self,
        home: Home,
        space: Space,
        request: SearchRequest,
        listen: Listener,
        stop: threading.Event,
    ) -> None:
        self.home, self.space, self.request = home, space, request
        self.listen, self.stop = listen, stop
        self.journal = Journal(ENGINE, request.study, request.directory)
        self.work = request.directory / "work"
        self.running: dict[int, Trial] = {}
        self.began: dict[int, float] = {}  # time.monotonic(): the clock on the wall may be set back
        self.retries: dict[str, int] = {}
        self.earlier: dict[str, str] = {}  # by configuration: which trial of which run it is of
        self.split = request.split
        self.grace = 5 + _GRACE * request.budget_seconds

    def run(self) -> None:
        """Until the worker has ended and every trial with it."""
        self.journal.open(self.request)
        self._close_interrupted()
        if not self.journal.last_states():
            known = best_earlier(self.request, lambda *at: Journal(ENGINE, *at).trials())[:MOST]
            self.earlier = {_key(t.configuration): f"{t.label} of {t.study}" for t in known}
        if self.stop.is_set() or time.monotonic() >= self.request.deadline:
            return
        shutil.rmtree(self.work, ignore_errors=True)  # of a run that was killed
        self.work.mkdir(parents=True)
        log = self.request.directory / "worker.log"
        try:
            python = environment.python(self.home)
            with WorkerProcess(python, self._job(), log) as worker:
                reason = self._listen(worker)
        finally:
            self._end_running(TrialState.STOPPED, RUN_STOPPED)
            shutil.rmtree(self.work, ignore_errors=True)
        if reason:
            _log.warning("autopytorch: %s; what had finished is kept", reason)

    def _listen(self, worker: WorkerProcess) -> str:
        """Take in lines until they end or we must; returns what went wrong, if anything."""
        finished = False
        while not self.stop.is_set():
            if time.monotonic() > self.request.deadline + self.grace + _OVERTIME:
                return self._end_running(TrialState.STOPPED, OVERDUE)
            lines = worker.read(_POLL_SECONDS)
            if lines is None:
                break
            for line in lines:
                finished |= line["event"] == "finished"
                self._take(line)
        if finished or self.stop.is_set():
            return ""
        code = worker.wait()
        if code < 0:
            reason = f"its search process was killed ({signal.Signals(-code).name})"
        else:
            reason = f"its search process ended early ({worker.last_words()})"
        return self._end_running(TrialState.FAILED, reason)

    def _end_running(self, state: TrialState, reason: str) -> str:
        for trial in list(self.running.values()):
            self._end(replace(trial, state=state, reason=reason))
        return reason

    def _take(self, line: Mapping[str, Any]) -> None:
        if line["event"] == "started":
            self._start(line)
        elif line["event"] == "evaluation":
            self._end(self._ended(line))

    def _start(self, line: Mapping[str, Any]) -> None:
        notes = {
            "epochs": str(line["epochs"]),
            "configuration_id": str(line["configuration_id"]),
        }
        if _key(line["configuration"]) in self.earlier:
            notes[FROM] = self.earlier[_key(line["configuration"])]
        retried = self.retries.pop(_key(line["configuration"]), None)
        if retried is not None:
            notes[RETRY_OF] = str(retried)
        trial = Trial(
            study=self.request.study,
            engine=ENGINE,
            number=line["number"],
            state=TrialState.RUNNING,
            configuration=line["configuration"],
            started=line["time"],
            notes=notes,
            metric=self.request.metric,
        )
        self.running[trial.number] = trial
        self.began[trial.number] = time.monotonic()
        self.journal.write(trial)
        self.listen(trial)

    def _ended(self, line: Mapping[str, Any]) -> Trial:
        """The trial that an evaluation was, with its network moved to its place."""
        trial = self.running[line["number"]]
        if line["state"] != TrialState.COMPLETE:
            return replace(trial, state=TrialState(line["state"]), reason=line["reason"])
        place = self.journal.model_directory(trial.number)
        place.parent.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        Path(line["model"]).replace(place)
        architecture = json.loads((place / "architecture.json").read_text(encoding="utf-8"))
        return replace(
            trial,
            state=TrialState.COMPLETE,
            rungs=(self._rung(line),),
            parameters=line["parameters"],
            multiply_adds=multiply_adds(architecture),
            model=place,
        )

    def _rung(self, line: Mapping[str, Any]) -> Rung:
        samples, an_epoch = line["samples"], len(self.split.train)
        curve = tuple(
            Epoch(min(samples, point["epoch"] * an_epoch), point["train_loss"], point["value"])
            for point in line["curve"]
        )
        return Rung.of(self.request.metric, samples, line["scores"], line["seconds"], curve)

    def _end(self, trial: Trial) -> None:
        del self.running[trial.number]
        seconds = time.monotonic() - self.began.pop(trial.number)
        trial = replace(trial, seconds=seconds)
        self.journal.write(trial)
        self.listen(trial)

    def _close_interrupted(self) -> None:
        """Fail what a killed run left running, and have each run once more."""
        for trial in self.journal.last_states():
            if trial.state == TrialState.RUNNING:
                closed = replace(trial, state=TrialState.FAILED, reason="its run was interrupted")
                self.journal.write(closed)
                self.listen(closed)
                if RETRY_OF not in trial.notes:
                    self.retries[_key(trial.configuration)] = trial.number

    def _job(self) -> dict[str, Any]:
        request = self.request
        # Not drawn again there: its numpy is an older one.
        for name, rows in (("train", self.split.train), ("validation", self.split.validation)):
            np.save(self.work / f"{name}.npy", rows)
        cores = request.budget_seconds * request.workers
        low, high = epochs_for(cores, len(self.split.train))
        before = len(self.journal.last_states())
        return {
            "task": "search",
            "home": str(self.home.root),
            "problem": self.split.problem.as_json(),
            "source": self.split.source.as_json(self.home),
            "seed": (request.seed + before) % 2**31,  # a continued study must not repeat itself
            "deadline": request.deadline,
            "grace_seconds": self.grace,
            "evaluation_seconds": min(request.trial_seconds, max(10.0, request.budget_seconds / 2)),
            "memory_mb": request.trial_memory,
            "workers": request.workers,
            "min_epochs": low,
            "max_epochs": high,
            "evaluations": request.trials,
            "first_number": before,
            "first": [
                json.loads(configuration) for configuration in (*self.retries, *self.earlier)
            ],
            "metric": request.split.problem.metric,
            "directory": str(self.work),
            **space_fields(self.space),
        }


def _key(configuration: Configuration) -> str:
    return json.dumps(configuration, sort_keys=True)
