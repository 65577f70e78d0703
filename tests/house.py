"""Runs that end in one home, without the searches before: each is given its winner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from in_memory import validation_logits
from made import made_rung

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import Source
from pipeline_lib.data.splits import Split
from pipeline_lib.evaluation.ledger import readings
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import design
from pipeline_lib.models.saved import build_model, load_model, save_model
from pipeline_lib.outcome import Findings
from pipeline_lib.run import finish
from pipeline_lib.run.run import Run, begin
from pipeline_lib.selection.ensemble import Candidates
from pipeline_lib.tracking import open_store
from pipeline_lib.trial import Trial, TrialState

ARCHITECTURE = design(
    {"multiply_adds": 2e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
     "fc": 0, "dropout": 0.0}, (1, 28, 28), 10,
)  # fmt: skip
SHARE = 0.2


def chance_networks(data: Source, directory: Path, count: int = 3) -> list[Trial]:
    """Networks with chance weights, the least accurate on validation images first."""
    split = Split(data, 0, SHARE)
    made = []
    for seed in range(count):
        place = directory / str(seed)
        torch.manual_seed(seed)
        save_model(build_model(ARCHITECTURE), ARCHITECTURE, place)
        answers = validation_logits(load_model(place), split).argmax(1).numpy()
        accuracy = float((answers == split.validation_targets).mean())
        rungs = (made_rung(100, accuracy, 1.0),)
        made.append(Trial("s", "optuna", seed, TrialState.COMPLETE, {}, rungs, 1, model=place))
    return sorted(made, key=lambda trial: trial.value or 0.0)


@dataclass(frozen=True)
class House:
    """A home, and the data that its runs are of."""

    home: Home
    data: Source

    def end(self, name: str, winner: Trial, **config: Any) -> tuple[Run, Findings]:
        """What follows a search of which this is the winner."""
        run = Run(RunConfig(name=name, validation_share=SHARE, **config), name, self.home)
        run.directory.mkdir(parents=True, exist_ok=True)
        split = Split(self.data, run.config.split_seed, SHARE)
        with run.recording() as record:
            begin(run, split, record)
            compared = finish.compare_candidates(
                run, Candidates([winner], {}), winner, split, record
            )
            choice = finish.decide(run, winner, compared)
            self.before_test()
            test = finish.test_winner(run, choice, self.data, record)
            registration = finish.register(run, choice, self.data.problem, test, record)
            findings = Findings(name, run.config, [winner], None, choice, test, registration)
            return run, findings

    def before_test(self) -> None:
        """What happens elsewhere between the decision and the test."""

    @property
    def evaluations(self) -> int:
        return len(readings(self.home, self.data.problem.digest))

    def metrics(self, name: str) -> dict[str, float]:
        """What MLflow shows of a run."""
        client = open_store(self.home).client
        experiments = [each.experiment_id for each in client.search_experiments()]
        wanted = f"tags.`automl.study` = '{name}' and tags.`automl.role` = 'pipeline'"
        (found,) = client.search_runs(experiments, wanted)
        return dict(found.data.metrics)
