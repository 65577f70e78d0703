"""Nights: each a new search on the same split, which tries the best of its past first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_mnist import prepare_small, small_dataset

from flows.deployments import preset
from pipeline_lib import Outcome, RunConfig, find_model
from pipeline_lib.data.sources import catalogue
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.evaluation.ledger import readings
from pipeline_lib.home import RUN, Home
from pipeline_lib.registry.promotion import champion
from pipeline_lib.run.warm_start import settle


def begun(home: Home, name: str, **config: Any) -> None:
    """A study of this name that was begun with this configuration."""
    place = home.study(name) / RUN
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"config": RunConfig(**config).model_dump()}, default=str))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_night_draws_a_seed_and_a_continued_one_keeps_it(home: Home) -> None:
    asked = RunConfig(seed="random")
    drawn = {settle(asked, home, "night").seed for _ in range(5)}
    assert len(drawn) == 5
    begun(home, "night", seed=7)
    assert settle(asked, home, "night").seed == 7
    assert settle(RunConfig(seed=8), home, "night").seed == 8  # which its study will refuse


def test_a_past_is_of_the_same_data_split_and_space_the_latest_first(home: Home) -> None:
    for other in ({"split_seed": 1}, {"space": "book"}, {"dataset": "kmnist"},
                  {"validation_share": 0.2}):  # fmt: skip
        begun(home, f"other-{next(iter(other))}", **other)
    begun(home, "one", seed=5, budget_seconds=9)
    begun(home, "two")
    (home.study("one") / RUN).touch()
    (home.study("damaged")).mkdir()
    (home.study("damaged") / RUN).write_text("{")
    asked = RunConfig(warm_start=("past",))
    settled = settle(asked, home, "tonight")
    assert set(settled.warm_start) == {"one", "two"}
    begun(home, "tonight", warm_start=("one",))
    assert settle(asked, home, "tonight").warm_start == ("one",)
    assert settle(RunConfig(warm_start=("other-split_seed", "past")), home, "x").warm_start[0] == (
        "other-split_seed"
    )


@pytest.mark.parametrize(("name", "said"), [("nowhere", "no run"), ("a-book", "another space")])
def test_what_cannot_be_started_from_is_refused(home: Home, name: str, said: str) -> None:
    begun(home, "a-book", space="book", engine="optuna")
    with pytest.raises(ConfigurationError, match=said) as refused:
        settle(RunConfig(warm_start=(name,)), home, "tonight")
    assert refused.value.where == "warm_start"


def test_a_record_from_before_there_was_a_seed_of_the_split_reads_its_seed() -> None:
    old = {name: value for name, value in RunConfig(seed=7).model_dump().items()
           if name != "split_seed"}  # fmt: skip
    assert RunConfig.of_record(old).split_seed == 7
    assert RunConfig.of_record(RunConfig(seed=7, split_seed=3).model_dump()).split_seed == 3
    assert RunConfig.parse(old).split_seed == 0


def test_the_nightly_deployment_searches_anew_on_the_split_of_the_others() -> None:
    night, quick = RunConfig.parse(preset("mnist-nightly")), RunConfig.parse(preset("mnist"))
    assert night.seed == "random"
    assert night.warm_start == ("past",)
    assert night.name is None
    assert night.split_seed == quick.split_seed


@dataclass(frozen=True)
class Night:
    """One night, and who was champion after it."""

    outcome: Outcome
    config: RunConfig
    current_champion: float  # validation accuracy of the champion

    @property
    def searched(self) -> list[Any]:
        return [trial for trial in self.outcome.trials if trial.stage == "search"]


@pytest.fixture(scope="module")
def nights(mnist: Catalogued, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[Night]]:
    """Five nights of five trials on a small cut of MNIST, in one home."""
    home = Home(tmp_path_factory.mktemp("nights") / "home")
    prepare_small(mnist, home)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "mnist": small_dataset()})
        short: dict[str, Any] = {"engine": "optuna", "trials": 5, "workers": 1, "first_rung": 100}
        asked = RunConfig.parse({**preset("mnist-nightly"), **short, "budget_seconds": 60,
                                 "promote": "better", "ensemble": 1})  # fmt: skip
        for number in range(5):
            config = asked.model_copy(update={"name": f"night-{number}"})
            outcome = find_model(config, home)
            known = json.loads((home.study(f"night-{number}") / RUN).read_text())["config"]
            tags = champion(home, "mnist").tags  # type: ignore[union-attr]
            found.append(Night(outcome, RunConfig.of_record(known), float(tags["val_accuracy"])))
    return home, found


@pytest.mark.long
@pytest.mark.slow
def test_five_nights_search_anew_and_keep_the_best(nights: tuple[Home, list[Night]]) -> None:
    home, found = nights
    assert len({night.config.seed for night in found}) == 5
    assert len({night.outcome.findings.compared.split_digest for night in found}) == 1
    proposed = [
        {tuple(t.configuration.items()) for t in night.searched if "from" not in t.notes}
        for night in found[1:]
    ]
    assert all(proposed)
    assert sum(map(len, proposed)) == len(set().union(*proposed))

    record: dict[Any, float] = {}  # of each configuration tried so far, its best accuracy
    for night in found:
        known = [trial for trial in night.searched if "from" in trial.notes]
        taken = [tuple(trial.configuration.items()) for trial in known]
        assert [record[each] for each in taken] == sorted(record.values(), reverse=True)[:3]
        assert len(set(taken)) == len(taken)
        assert known == night.searched[: len(known)]
        assert all("night-" in trial.notes["from"] for trial in known)
        for trial in night.outcome.trials:
            key, accuracy = tuple(trial.configuration.items()), trial.value or 0.0
            record[key] = max(accuracy, record.get(key, 0.0))

    current_champion = [night.current_champion for night in found]
    assert current_champion == sorted(current_champion)
    assert current_champion[-1] == pytest.approx(max(n.outcome.winner.value or 0 for n in found),
                                         abs=1e-4)  # fmt: skip
    tested = [night for night in found if night.outcome.test]
    assert tested == [night for night in found if night.outcome.findings.choice.decision.promote]
    digest = json.loads((home.data / "arrays" / "mnist.json").read_text())["digest"]
    assert len(readings(home, digest)) == len(tested)


@pytest.mark.long
@pytest.mark.slow
def test_a_night_is_not_continued_with_another_seed(
    nights: tuple[Home, list[Night]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, found = nights
    monkeypatch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "mnist": small_dataset()})
    config = found[0].config
    assert isinstance(config.seed, int)
    other = config.model_copy(update={"name": "night-0", "seed": (config.seed + 1) % 2**32})
    with pytest.raises(ConfigurationError, match="seed"):
        find_model(other, home)
