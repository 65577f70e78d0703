import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.registry.promotion import champion, history, promote, promote_over, rollback
from pipeline_lib.registry.versions import model_name
from pipeline_lib.tracking import open_store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("promotion") / "home")
    open_store(home)
    return home


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def versions(home: Home, dataset: str, count: int, challenger: int | None = None) -> None:
    """Register so many versions; what they hold is of no matter here."""
    client, name = open_store(home).client, model_name(dataset)
    client.create_registered_model(name)
    for _ in range(count):
        client.create_model_version(name, "file:///nowhere", tags={"split_digest": "s"})
    if challenger:
        client.set_registered_model_alias(name, "challenger", str(challenger))


def aliases(home: Home, dataset: str) -> dict[str, int]:
    model = open_store(home).client.get_registered_model(model_name(dataset))
    return {alias: int(version) for alias, version in model.aliases.items()}


def test_the_challenger_becomes_champion_and_is_challenger_no_more(home: Home) -> None:
    versions(home, "ants", 2, challenger=2)
    assert champion(home, "ants") is None
    event = promote(home, "ants", None, "looks good", by="someone")
    assert (event.version, event.replaced, event.action) == (2, None, "promote")
    assert aliases(home, "ants") == {"champion": 2}
    current_champion = champion(home, "ants")
    assert current_champion is not None
    assert (current_champion.version, current_champion.tags["split_digest"]) == (2, "s")
    assert history(home, "ants") == [event]
    assert (event.by, event.why) == ("someone", "looks good")


def test_another_version_leaves_the_challenger_alone(home: Home) -> None:
    versions(home, "bees", 3, challenger=3)
    promote(home, "bees", 1, "first")
    assert aliases(home, "bees") == {"champion": 1, "challenger": 3}


def test_rolling_back_goes_one_champion_further_each_time(home: Home) -> None:
    versions(home, "cats", 4)
    for version in (1, 3, 4):
        promote(home, "cats", version, "better")
    assert rollback(home, "cats", "it was not").version == 3
    assert rollback(home, "cats", "nor was that").version == 1
    with pytest.raises(ModelError, match="no champion before version 1"):
        rollback(home, "cats", "and on")
    promote(home, "cats", 2, "again")
    assert rollback(home, "cats", "no").version == 1
    told = [(event.action, event.version, event.replaced) for event in history(home, "cats")]
    assert told == [
        ("promote", 1, None), ("promote", 3, 1), ("promote", 4, 3),
        ("rollback", 3, 4), ("rollback", 1, 3), ("promote", 2, 1), ("rollback", 1, 2),
    ]  # fmt: skip
    assert aliases(home, "cats") == {"champion": 1}


def test_a_version_that_was_champion_twice_is_found_twice(home: Home) -> None:
    versions(home, "deer", 3)
    for version in (1, 2, 1, 3):
        promote(home, "deer", version, "")
    assert [rollback(home, "deer", "").version for _ in range(3)] == [1, 2, 1]


def test_rolling_back_passes_over_deleted_versions(home: Home) -> None:
    versions(home, "eels", 3)
    for version in (1, 2, 3):
        promote(home, "eels", version, "")
    open_store(home).client.delete_model_version("automl-eels", "2")
    assert rollback(home, "eels", "").version == 1


def test_an_alias_that_was_set_by_hand_is_rolled_back_too(home: Home) -> None:
    versions(home, "foxes", 3)
    promote(home, "foxes", 1, "")
    open_store(home).client.set_registered_model_alias("automl-foxes", "champion", "3")
    event = rollback(home, "foxes", "who did that")
    assert (event.version, event.replaced) == (1, 3)


@pytest.mark.parametrize(
    ("version", "problem"),
    [(9, "version: is not registered, got 9; versions of automl-goats: 1"),
     (None, "challenger: of automl-goats is not there"),
     (1, "version: of automl-goats is champion already, got 1")],
)  # fmt: skip
def test_what_cannot_be_promoted_is_named_and_nothing_changes(
    home: Home, version: int | None, problem: str
) -> None:
    if champion(home, "goats") is None:
        versions(home, "goats", 1)
        promote(home, "goats", 1, "")
    before = aliases(home, "goats"), history(home, "goats")
    with pytest.raises(ModelError) as caught:
        promote(home, "goats", version, "")
    assert str(caught.value).startswith(problem)
    assert (aliases(home, "goats"), history(home, "goats")) == before


def test_a_home_without_a_store_stays_without_one(tmp_path: Path) -> None:
    empty = Home(tmp_path / "none")
    assert champion(empty, "mnist") is None
    assert history(empty, "mnist") == []
    for act in (lambda: promote(empty, "mnist", None, ""), lambda: rollback(empty, "mnist", "")):
        with pytest.raises(ModelError, match="is not registered, got 'automl-mnist'"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_a_decision_against_one_champion_is_none_against_another(home: Home) -> None:
    versions(home, "hens", 3)
    assert promote_over(home, "hens", 1, None, "the first")
    assert not promote_over(home, "hens", 2, None, "saw none")
    assert promote_over(home, "hens", 2, 1, "better than 1")
    assert not promote_over(home, "hens", 3, 1, "better than 1")
    assert aliases(home, "hens")["champion"] == 2
    assert [event.version for event in history(home, "hens")] == [1, 2]
    assert history(home, "hens")[0].by == "automl run"


def test_of_runs_that_promote_at_once_one_becomes_champion(home: Home) -> None:
    versions(home, "ibex", 6)
    together = threading.Barrier(6)

    def one_run(version: int) -> bool:
        together.wait()
        return promote_over(home, "ibex", version, None, "there was none")

    with ThreadPoolExecutor(6) as runs:
        won = list(runs.map(one_run, range(1, 7)))
    assert sum(won) == 1
    assert aliases(home, "ibex") == {"champion": won.index(True) + 1}
    assert len(history(home, "ibex")) == 1


_PROMOTE = """
import sys
from pathlib import Path
from pipeline_lib.home import Home
from pipeline_lib.registry.promotion import promote_over
print(promote_over(Home(Path(sys.argv[1])), "jays", int(sys.argv[2]), None, "there was none"))
"""


def test_of_processes_that_promote_at_once_one_becomes_champion(home: Home) -> None:
    versions(home, "jays", 2)
    command = [sys.executable, "-c", _PROMOTE, str(home.root)]
    racing = [
        subprocess.Popen(
            [*command, str(version)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for version in (1, 2)
    ]
    said = [process.communicate()[0].strip() for process in racing]
    assert sorted(said) == ["False", "True"]
    winner = said.index("True") + 1
    assert aliases(home, "jays") == {"champion": winner}
    assert [event.version for event in history(home, "jays")] == [winner]


def automl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_say_who_is_champion_and_who_was(home: Home) -> None:
    versions(home, "mnist", 2, challenger=2)
    promote(home, "mnist", 1, "the first")
    place = ("--home", str(home.root))
    failed = automl("promote", "mnist", *place)  # version 2 has no files: see test_promoting.py
    assert (failed.returncode, "cannot be fetched" in failed.stderr) == (2, True)
    promote(home, "mnist", 2, "by eye")
    done = automl("rollback", "mnist", *place)
    assert "Version 1 of automl-mnist is champion after version 2" in done.stdout
    assert "by eye" in done.stdout
    assert [event.action for event in history(home, "mnist")] == ["promote", "promote", "rollback"]
    failed = automl("rollback", "mnist", *place)
    assert failed.returncode == 2
    assert "\nerror: automl-mnist: has no champion before version 1" in failed.stderr
    unknown = automl("promote", "mnits", *place)
    assert (unknown.returncode, "mnist" in unknown.stderr) == (2, True)
