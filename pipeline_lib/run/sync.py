"""What a study was begun with, and MLflow's projection of it, made again from its storages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_lib.config import RunConfig
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import RUN, Home
from pipeline_lib.options import plain_name
from pipeline_lib.run.run import Run
from pipeline_lib.search.engine import find_engine
from pipeline_lib.tracking.trials import values_of
from pipeline_lib.trial import ENSEMBLE, Trial

if TYPE_CHECKING:
    from pipeline_lib.report.data import ReportData
    from pipeline_lib.tracking import Recorder


@dataclass(frozen=True)
class Begun:
    """A run as it was begun, read from its study."""

    run: Run
    split: Split
    split_digest: str
    sizes: Mapping[str, int]

    @classmethod
    def read(cls, home: Home, name: str) -> Begun:
        """The run of this name.

        Raises:
            ConfigurationError: There is none, or what is kept of it is damaged.
        """
        path = home.study(plain_name(name)) / RUN
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            run = Run(RunConfig.of_record(known["config"]), name, home)
            split = Split.from_json(known["data"], home)
            return cls(run, split, known["split_digest"], known["sizes"])
        except FileNotFoundError:
            remedy = "--home or AUTOML_HOME says where to look"
            raise ConfigurationError("run", "is not there", value=name, remedy=remedy) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError("run", f"cannot be read ({error})", value=str(path)) from error

    def trials(self) -> dict[str, list[Trial]]:
        """Every trial that ended, by engine; the ensembles, where there are any, are one."""
        config = self.run.config
        searched = {
            name: find_engine(name)
            .of(config, self.run.home)
            .trials(self.run.name, self.run.home.study(self.run.name) / name)
            for name in config.engines
        }
        ensembles = self.run.ensembles.trials()
        return {**searched, ENSEMBLE: ensembles} if ensembles else searched


def sync(home: Home, name: str) -> dict[str, int]:
    """Record in MLflow what it lacks of a run; a second time, nothing. Returns trials by engine.

    The registry is no part of it: what was champion is not to be read from a run's files.

    Raises:
        ConfigurationError: There is no such run, or it is going on.
        UserError: MLflow cannot be opened.
    """
    from pipeline_lib.report.files import SUMMARY, load
    from pipeline_lib.tracking import Recorder, environment_tags
    from pipeline_lib.tracking.trials import span_of

    begun = Begun.read(home, name)
    run, problem = begun.run, begun.split.problem
    with run.locked():
        report = load(home, name) if (run.directory / SUMMARY).exists() else None
        environment = report.environment if report else environment_tags(run.config.seed)
        tags = {**environment, "automl.dataset": problem.name}
        found = begun.trials()  # before MLflow is told that the run goes on
        spans = [span_of(trial) for trials in found.values() for trial in trials]
        began = min((began for began, _ in spans), default=None)
        recorder = Recorder.open(home, problem.name, name, tags, began)
        recorder.log_params(run.config.model_dump())
        recorder.log_dataset(problem.name, problem.digest, begun.split_digest, begun.sizes)
        for trials in found.values():
            for trial in trials:
                recorder.record(trial)
        if run.directory.is_dir():
            recorder.log_artifact(run.directory)
        if report is not None:
            _record_outcome(recorder, report)
        ended = max((ended for _, ended in spans), default=None)
        recorder.finish("FINISHED" if report else "FAILED", ended)
    return {engine: len(trials) for engine, trials in found.items()}


def _record_outcome(recorder: Recorder, report: ReportData) -> None:
    """What a finished run says of its winner."""
    tested = report.test.metrics() if report.test else {}
    winner = report.winner
    recorder.log_winner(values_of(winner.metric, winner.rungs[-1]), tested)
    if not recorder.note:
        recorder.set_note(f"{report.verdict}\n\n{report.standing}")
