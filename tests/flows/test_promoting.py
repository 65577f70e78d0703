"""`automl promote`: nothing worse than the champion is crowned without a word, or unmeasured."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Callable, Iterator

import pytest
from house import House, chance_networks
from small_mnist import prepare_small, small_dataset

from flows.cli import main
from pipeline_lib.data.sources import catalogue
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.registry.promotion import champion, promote
from pipeline_lib.run.promote import compare_version, measure_and_promote
from pipeline_lib.tracking import open_store

pytestmark = pytest.mark.slow

BEST, WORSE, ELSEWHERE = 1, 2, 3


@pytest.fixture(scope="module")
def house(mnist: Catalogued, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The champion, version 1; one that is far worse; and one that was chosen on another split."""
    root = tmp_path_factory.mktemp("promoting")
    home = Home(root / "home")
    small = prepare_small(mnist, home)
    worst, middle, *_, best = chance_networks(small, root, count=12)
    house = House(home, small)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "mnist": small_dataset()})
        house.end("best", best)
        house.end("worse", worst, promote="never")
        house.end("elsewhere", middle, promote="never", split_seed=1)
        yield house


@pytest.fixture
def typed(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command; with an answer, on a terminal of its own."""

    def run(*words: str, answer: str | None = None) -> tuple[int, str, str]:
        command = ["automl", "promote", "mnist", *words, "--home", str(house.home.root)]
        monkeypatch.setattr(sys, "argv", command)
        keyboard, terminal = pty.openpty()
        os.write(keyboard, f"{answer}\n".encode())
        with os.fdopen(terminal) as stdin, pytest.raises(SystemExit) as ended:
            monkeypatch.setattr(sys, "stdin", io.StringIO() if answer is None else stdin)
            main()
        os.close(keyboard)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def standing(house: House) -> tuple[int, int]:
    """Who is champion, and how often the test set was opened."""
    current_champion = champion(house.home, "mnist")
    assert current_champion is not None
    return current_champion.version, house.evaluations


def version_tags(house: House, version: int) -> dict[str, str]:
    client = open_store(house.home).client
    return dict(client.get_model_version("automl-mnist", str(version)).tags)


def test_a_worse_version_is_refused_where_nobody_can_be_asked(house, typed) -> None:
    before = standing(house)
    code, out, err = typed(str(WORSE))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "--yes" in err
    assert f"ersion {BEST} is significantly better than version {WORSE}" in out
    assert standing(house) == before == (BEST, 1)


def test_a_version_of_another_split_is_refused_too(house, typed) -> None:
    code, out, err = typed(str(ELSEWHERE))
    assert (code, "different splits" in out, "--yes" in err) == (2, True, True)
    assert standing(house) == (BEST, 1)


@pytest.mark.parametrize("version", [WORSE, ELSEWHERE])
def test_who_is_asked_may_say_no(house, typed, version) -> None:
    code, out, _ = typed(str(version), answer="n")
    assert code == 1
    assert f"Make version {version} champion?" in out
    assert standing(house) == (BEST, 1)


def test_a_champion_that_changed_since_the_comparison_is_not_replaced(house) -> None:
    proposal = compare_version(house.home, "mnist", WORSE, print)
    assert proposal.is_worse
    promote(house.home, "mnist", ELSEWHERE, "meanwhile")
    with pytest.raises(ModelError, match="meanwhile"):
        measure_and_promote(house.home, proposal, "too late")
    assert standing(house) == (ELSEWHERE, 1)
    promote(house.home, "mnist", BEST, "back")


def test_a_version_is_measured_when_it_becomes_champion_and_never_again(house, typed) -> None:
    code, out, _ = typed(str(WORSE), "--yes")
    assert code == 0
    assert standing(house) == (WORSE, 2)
    assert f"{float(version_tags(house, WORSE)['test_accuracy']):.2%}" in out

    for path in house.home.test_figures.glob("*.json"):
        path.rename(path.with_suffix(".lost"))
    code, out_of_tag, _ = typed(str(BEST), answer="y")
    assert f"{float(version_tags(house, BEST)['test_accuracy']):.2%}" in out_of_tag
    assert standing(house) == (BEST, 2)
    for path in house.home.test_figures.glob("*.lost"):
        path.rename(path.with_suffix(".json"))
    assert code == 0
    code, again, _ = typed(str(WORSE), "--yes")
    assert standing(house) == (WORSE, 2)
    (figure,) = [line for line in out.splitlines() if line.startswith("Test")]
    assert figure in again.splitlines()
