"""A search in a process of its own that meets trouble after a trial; for test_faults.py."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.data.splits import Split
from pipeline_lib.home import Home
from pipeline_lib.run.run import Run, search
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.tracking import open_store, store
from pipeline_lib.tracking.recorder import runs_of_study
from pipeline_lib.trial import Trial, TrialState

NAME = "first"
_TROUBLED = 1  # number of the trial that brings the trouble


def main() -> None:
    """Arguments: home, data as JSON, what to do after the trial, the file to do it with."""
    home, data, trouble = Home(Path(sys.argv[1])), json.loads(sys.argv[2]), sys.argv[3]
    store.PATIENCE_SECONDS = 1.0
    config = RunConfig(engine="optuna", trials=4, workers=1, budget_seconds=20, first_rung=100)
    run = Run.begin(config, home, NAME)
    error = ""
    try:
        _search(run, Split.from_json(data, home), trouble, Path(sys.argv[4]))
    except OSError as problem:
        error = str(problem)
    trials = OptunaEngine().trials(NAME, home.study(NAME) / "optuna")
    print(json.dumps({"error": error, "trials": [_shown(t) for t in trials]}))


def _search(run: Run, split: Split, trouble: str, file: Path) -> None:
    with run.recording() as record:

        def see(trial: Trial) -> None:
            record.trial(trial)
            while_it_runs = trouble == "clock set back"
            if trial.number == _TROUBLED and (trial.state is TrialState.RUNNING) == while_it_runs:
                record.flush()
                _make(trouble, file)

        request = run.request(split, "optuna", 1, time.monotonic() + 600)
        search(OptunaEngine(), request, threading.Event(), see)


def _make(trouble: str, file: Path) -> None:
    if trouble == "full disk":
        with file.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:  # a page is left: the end of what runs fits, and no network
                filler.truncate(filler.tell() - 4096)
    elif trouble == "clock set back":
        file.touch()


def _shown(trial: Trial) -> dict[str, Any]:
    return {**asdict(trial), "model": str(trial.model)}


def recorded(home: Home) -> list[int]:
    """Numbers of the trials that MLflow holds, each closed."""
    runs = runs_of_study(open_store(home), NAME)
    trials = [run for run in runs if run.data.tags.get("automl.role") == "trial"]
    assert all(run.info.status in ("FINISHED", "FAILED") for run in trials)
    return sorted(int(run.data.tags["automl.trial"]) for run in trials)


if __name__ == "__main__":
    main()
