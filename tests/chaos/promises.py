"""What must be true of a study after any kill."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import optuna

from pipeline_lib.home import Home
from pipeline_lib.models.saved import load_model
from pipeline_lib.run.sync import Begun, sync
from pipeline_lib.search.journal import open_storage
from pipeline_lib.search.lines import Journal
from pipeline_lib.search.records import INTERRUPTED
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import runs_of_study
from pipeline_lib.tracking.trials import key_of
from pipeline_lib.trial import Trial, TrialState


class Broken(AssertionError):
    """A promise that does not hold."""


class Promises:
    """Holds storages, MLflow and files of one study against each other and against before."""

    def __init__(self, home: Home, name: str) -> None:
        self.home = home
        self.name = name
        self.known: dict[tuple[str, int], Trial] = {}
        self._whole: set[Path] = set()

    def check(self, *, repair: bool) -> int:
        """All of it; returns how many trials have ended. `repair` lets `automl sync` mend MLflow.

        Raises:
            Broken: Says what does not hold.
        """
        if not (self.home.study(self.name) / "run.json").exists():
            return 0
        begun = Begun.read(self.home, self.name)
        trials = [trial for found in begun.trials().values() for trial in found]
        now = {(trial.engine, trial.number): trial for trial in trials}
        if len(now) != len(trials):
            raise Broken("a number is there twice in the storage")
        for key, trial in self.known.items():
            if now.get(key) != trial:
                raise Broken(f"a finished trial changed or is gone: {trial.label}")
        if repair:
            before = self._recorded(closed_only=True)
            if extra := before.keys() - {_key(trial) for trial in trials}:
                raise Broken(f"MLflow knows of trials that the storage does not have: {extra}")
            sync(self.home, self.name)
        elif left := self._left_open(begun):
            raise Broken(f"nothing runs, but the storage has it open: {left}")
        self._check_each(trials)
        self._check_mlflow(trials)
        self.known = now
        return len(now)

    def _left_open(self, begun: Begun) -> list[str]:
        """Trials without an end, and a lock, in the storages of a run that has ended."""
        directory = self.home.study(self.name) / "optuna"
        study = optuna.load_study(study_name=self.name, storage=open_storage(directory))
        left = [f"optuna #{t.number}" for t in study.trials if not t.state.is_finished()]
        left += [path.name for path in directory.glob("*.lock")]
        if "autopytorch" in begun.run.config.engines:
            request = begun.run.request(begun.data, "autopytorch", 2, deadline=0.0)
            states = Journal("autopytorch", request.study, request.directory).last_states()
            left += [trial.label for trial in states if trial.state is TrialState.RUNNING]
        return left

    def _check_each(self, trials: list[Trial]) -> None:
        tried = Counter(str(sorted(t.configuration.items())) for t in trials if t.stage == "search")
        for trial in trials:
            if trial.state is TrialState.FAILED and not trial.reason:
                raise Broken(f"{trial.label} failed without a reason")
            again = tried[str(sorted(trial.configuration.items()))]
            if trial.engine == "optuna" and trial.reason == INTERRUPTED and again > 2:
                raise Broken(f"{trial.label} was run again more than once")

    def _check_mlflow(self, trials: list[Trial]) -> None:
        recorded = self._recorded(closed_only=False)
        missing = {_key(trial) for trial in trials} ^ recorded.keys()
        if missing:
            raise Broken(f"MLflow and the storage differ in {sorted(missing)}")
        for trial in trials:
            if trial.model is None or trial.model in self._whole:
                continue
            load_model(trial.model)
            copy = recorded[_key(trial)] / "model"
            for file in trial.model.iterdir():
                if (copy / file.name).read_bytes() != file.read_bytes():
                    raise Broken(f"MLflow's copy of {trial.label} is not whole: {file.name}")
            self._whole.add(trial.model)

    def _recorded(self, *, closed_only: bool) -> dict[tuple[str, str, str], Path]:
        """Where MLflow keeps the artifacts of each trial."""
        if not self.home.mlflow_database.exists():
            return {}
        runs = runs_of_study(open_store(self.home), self.name)
        trials = [run for run in runs if run.data.tags.get("automl.role") == "trial"]
        closed = [run for run in trials if run.info.status != "RUNNING"]
        if not closed_only and len(closed) != len(trials):
            raise Broken("a trial of MLflow is not closed")
        keys = Counter(key_of(run.data.tags) for run in closed)
        if keys and max(keys.values()) > 1:
            raise Broken(f"MLflow holds a trial twice: {keys.most_common(1)}")
        return {
            key_of(run.data.tags): Path(url2pathname(urlsplit(run.info.artifact_uri).path))
            for run in closed
        }


def _key(trial: Trial) -> tuple[str, str, str]:
    return trial.engine, str(trial.number), trial.stage
