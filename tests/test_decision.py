"""First the decision, then the test: when the test set is opened for a winner, and how often."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House, chance_networks

from pipeline_lib.data.source import Source
from pipeline_lib.evaluation.ledger import readings
from pipeline_lib.home import Home
from pipeline_lib.registry.promotion import champion, promote_over
from pipeline_lib.report.verdict import verdict
from pipeline_lib.run import finish
from pipeline_lib.tracking import open_store
from pipeline_lib.trial import Trial


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def networks(small_mnist: Source, tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    return chance_networks(small_mnist, tmp_path_factory.mktemp("networks"))


@pytest.fixture
def house(small_mnist: Source, tmp_path: Path) -> Iterator[House]:
    yield House(Home(tmp_path / "home"), small_mnist)


def test_the_set_is_opened_for_a_winner_that_becomes_champion_and_for_no_other(
    house: House, networks: list[Trial]
) -> None:
    _, first = house.end("first", networks[1], promote="better")
    assert first.test is not None
    assert first.untested == ""
    assert champion(house.home, "mnist").version == first.registration.version  # type: ignore[union-attr]
    assert house.metrics("first")["test_accuracy"] == first.test.accuracy

    _, worse = house.end("worse", networks[0], promote="better")
    assert worse.test is None
    assert house.evaluations == 1
    said = finish.summary(worse)
    assert json.loads(json.dumps(said))["winner"]["test_accuracy"] is None
    assert said["untested"] == worse.untested != ""
    assert f"{worse.untested}." in verdict(worse)
    assert house.metrics("worse").keys() == {"val_accuracy"}
    version = open_store(house.home).client.get_model_version(
        "automl-mnist", str(worse.registration.version)
    )
    assert "test_accuracy" not in version.tags

    _, better = house.end("better", networks[2], promote="better")
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
    assert same.compared.is_champion
    _, other = house.end("other", networks[1], test="never")
    assert first.test == same.test == other.test is not None
    assert house.evaluations == 1


def test_a_model_that_an_older_version_measured_keeps_what_its_run_wrote(
    house: House, networks: list[Trial]
) -> None:
    _, first = house.end("old", networks[1])
    for path in house.home.test_figures.glob("*.json"):
        path.unlink()
    entry = {**readings(house.home, house.data.problem.digest)[0]}
    del entry["model_digest"]
    house.home.ledger.write_text(json.dumps(entry) + "\n")
    _, again = house.end("old", networks[1], test="always")
    assert again.test == first.test is not None
    assert house.evaluations == 1
    _, other = house.end("old", networks[2], test="always")
    assert other.test not in (None, first.test)


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
    current_champion = champion(house.home, "mnist")
    assert current_champion is not None
    assert current_champion.version == 1
