"""First the decision, then the test: when the test set is opened for a winner, and how often."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline_lib import finish
from pipeline_lib.config import RunConfig
from pipeline_lib.data.prepared import PreparedData
from pipeline_lib.home import Home
from pipeline_lib.ledger import readings
from pipeline_lib.models import build_model, design, load_model, save_model
from pipeline_lib.record import Record
from pipeline_lib.registry.promotion import champion, promote_over
from pipeline_lib.run import Run
from pipeline_lib.selection.ensemble import Candidates
from pipeline_lib.tracking import open_store
from pipeline_lib.training.loop import TrainingData, predict
from pipeline_lib.trial import Rung, Trial, TrialState

ARCHITECTURE = design(
    {"multiply_adds": 2e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
     "fc": 0, "dropout": 0.0}, (1, 28, 28), 10,
)  # fmt: skip
SHARE = 0.2


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def networks(small_mnist: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    """Three networks with chance weights, the least accurate on validation images first."""
    split = TrainingData.of(small_mnist.search_data(0, SHARE).load())
    made = []
    for seed in range(3):
        directory = tmp_path_factory.mktemp("networks") / str(seed)
        torch.manual_seed(seed)
        save_model(build_model(ARCHITECTURE), ARCHITECTURE, directory)
        answers = predict(load_model(directory), split.val_images).argmax(1)
        accuracy = float((answers == split.val_labels).float().mean())
        rungs = (Rung(100, accuracy, 1.0),)
        made.append(Trial("s", "optuna", seed, TrialState.COMPLETE, {}, rungs, 1, model=directory))
    return sorted(made, key=lambda trial: trial.val_accuracy or 0.0)


class House:
    """One home in which runs end, each with a winner that is given to it."""

    def __init__(self, home: Home, data: PreparedData) -> None:
        self.home, self.data = home, data

    def end(self, name: str, winner: Trial, **config: Any) -> tuple[Run, finish.Findings]:
        """What follows a search of which this is the winner."""
        run = Run(RunConfig(name=name, validation_share=SHARE, **config), name, self.home)
        run.directory.mkdir(parents=True, exist_ok=True)
        visible = self.data.search_data(0, SHARE)
        with Record(run) as record:
            contest = finish.hold_contest(run, Candidates([winner], {}), winner, visible, record)
            choice = finish.decide(run, winner, contest)
            self.before_test()
            test = finish.test_winner(run, choice, self.data, record)
            registration = finish.register(run, choice, self.data, test, record)
            return run, finish.Findings([winner], choice, test, registration)

    def before_test(self) -> None:
        """What happens elsewhere between the decision and the test."""

    @property
    def evaluations(self) -> int:
        return len(readings(self.home, self.data.digest))

    def metrics(self, name: str) -> dict[str, float]:
        client = open_store(self.home).client
        experiments = [each.experiment_id for each in client.search_experiments()]
        wanted = f"tags.`automl.study` = '{name}' and tags.`automl.role` = 'pipeline'"
        (found,) = client.search_runs(experiments, wanted)
        return dict(found.data.metrics)


@pytest.fixture
def house(small_mnist: PreparedData, tmp_path: Path) -> Iterator[House]:
    yield House(Home(tmp_path / "home"), small_mnist)


def test_the_set_is_opened_for_a_winner_that_becomes_champion_and_for_no_other(
    house: House, networks: list[Trial]
) -> None:
    run, first = house.end("first", networks[1], promote="better")
    assert first.test is not None
    assert first.untested == ""
    assert champion(house.home, "mnist").version == first.registration.version  # type: ignore[union-attr]
    assert house.metrics("first")["test_accuracy"] == first.test.accuracy

    run, worse = house.end("worse", networks[0], promote="better")
    assert worse.test is None
    assert house.evaluations == 1
    said = finish.summary(run, worse)
    assert json.loads(json.dumps(said))["winner"]["test_accuracy"] is None
    assert said["untested"] == worse.untested != ""
    assert house.metrics("worse").keys() == {"val_accuracy"}
    version = open_store(house.home).client.get_model_version(
        "automl-mnist", str(worse.registration.version)
    )
    assert "test_accuracy" not in version.tags

    run, better = house.end("better", networks[2], promote="better")
    assert better.test is not None
    assert better.test.reading == house.evaluations == 2
    assert better.registration.model


def test_the_rules(house: House, networks: list[Trial]) -> None:
    closed: list[dict[str, Any]] = [{"test": "never"}, {"promote": "never"}]
    for number, rules in enumerate(closed):
        _, found = house.end(f"closed-{number}", networks[number], **rules)
        assert found.test is None
        assert found.untested
    assert house.evaluations == 0
    _, found = house.end("always", networks[2], test="always", promote="never")
    assert found.test is not None
    assert not found.registration.model
    assert house.evaluations == 1


def test_no_model_is_measured_twice_whichever_run_it_wins(
    house: House, networks: list[Trial]
) -> None:
    _, first = house.end("first", networks[1])
    _, same = house.end("first", networks[1])
    assert same.contest.is_champion
    _, other = house.end("other", networks[1], test="never")
    assert first.test == same.test == other.test is not None
    assert house.evaluations == 1


def test_a_continued_run_shows_no_figures_of_an_earlier_winner(
    house: House, networks: list[Trial]
) -> None:
    run, _ = house.end("same", networks[1], promote="better")
    house.end("same", networks[0], promote="better")
    assert math.isnan(house.metrics("same")["test_accuracy"])
    assert json.loads((run.directory / "test.json").read_text()).keys() == {"untested"}


def test_a_champion_that_another_run_made_meanwhile_stays_and_the_evaluation_stands(
    house: House, networks: list[Trial]
) -> None:
    house.end("rival", networks[0], promote="never")

    class Overtaken(House):
        def before_test(self) -> None:
            assert promote_over(self.home, "mnist", 1, None, "there was no champion yet")

    _, late = Overtaken(house.home, house.data).end("late", networks[1])
    assert late.choice.decision.promote
    assert late.registration.model is None
    assert late.test is not None
    assert house.evaluations == 1
    assert house.metrics("late")["test_accuracy"] == late.test.accuracy
    reigning = champion(house.home, "mnist")
    assert reigning is not None
    assert reigning.version == 1
