"""MLflow's projection of a run, made again from what the engines' storages hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline_lib.config import RunConfig, plain_name
from pipeline_lib.data.prepared import SearchData
from pipeline_lib.engines import make_engine
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.run import RUN, Run

_SUMMARY = "summary.json"  # of a run's directory: only a finished run has it


def sync(home: Home, name: str) -> dict[str, int]:
    """Record in MLflow what it lacks of a run; a second time, nothing. Returns trials by engine.

    Raises:
        ConfigurationError: There is no such run, or it is going on.
        UserError: MLflow cannot be opened.
    """
    from pipeline_lib.tracking import Recorder, environment_tags

    run, known = load_run(home, name)
    data = SearchData(
        **{
            **known["data"],
            "images": Path(known["data"]["images"]),
            "labels": Path(known["data"]["labels"]),
            "shape": tuple(known["data"]["shape"]),
            "classes": tuple(known["data"]["classes"]),
        }
    )
    found = {}
    with run.alone():
        tags = environment_tags(run.config.seed) | {"automl.dataset": run.config.dataset}
        recorder = Recorder.open(home, run.config.dataset, name, tags)
        recorder.log_params(run.config.model_dump())
        recorder.log_dataset(data.dataset, data.digest, known["split_digest"], known["sizes"])
        for engine in run.config.engines:
            request = run.request(data, engine, len(run.config.engines), deadline=0.0)
            trials = make_engine(engine, run.config, home).trials(request)
            for trial in trials:
                recorder.record(trial)
            found[engine] = len(trials)
        if run.directory.is_dir():
            recorder.log_artifact(run.directory)
        recorder.finish("FINISHED" if (run.directory / _SUMMARY).exists() else "FAILED")
    return found


def load_run(home: Home, name: str) -> tuple[Run, dict[str, Any]]:
    """A run as it was begun, and which data it saw.

    Raises:
        ConfigurationError: There is none of this name, or what is kept of it is damaged.
    """
    path = home.study(plain_name(name)) / RUN
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        return Run(RunConfig.parse(known["config"]), name, home), known
    except FileNotFoundError:
        remedy = "--home or AUTOML_HOME says where to look"
        raise ConfigurationError("run", "is not there", value=name, remedy=remedy) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError("run", f"cannot be read ({error})", value=str(path)) from error
