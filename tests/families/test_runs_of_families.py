"""A real run of a built-in family beside the chapter's own class, from the file to the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_lib.config import RunConfig
from pipeline_lib.home import Home
from pipeline_lib.run.agreement import Verdict
from pipeline_lib.run.pipeline import Outcome, find_model
from pipeline_lib.run.recorded import recorded
from pipeline_lib.run.reproduce import reproduce
from pipeline_lib.run.sync import sync
from pipeline_lib.tracking import open_store

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mine") / "mine.py"
    path.write_bytes((HERE / "chapter.py").read_bytes())
    return path


@pytest.fixture(scope="module")
def home(mnist, test_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("families") / "home")
    home.root.mkdir()
    home.data.symlink_to(test_home.data)
    return home


@pytest.fixture(scope="module")
def outcome(home: Home, named: Path) -> Outcome:
    config = RunConfig(
        engine="optuna", family=f"{named},convnet", name="both", trials=4, workers=1, seed=1,
        first_rung=200, budget_seconds=300, set=("conv_depth_0=[16,20]",),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return find_model(config, home)


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_both_families_are_searched_and_stand_in_every_record(outcome, home, named):
    searched = [t for t in outcome.trials if t.engine == "optuna"]
    assert {t.family for t in searched} == {"mine.py", "convnet"}
    for trial in searched:
        if trial.family == "mine.py":
            assert 16 <= trial.configuration["conv_depth_0"] <= 20
    assert set(outcome.leaderboard["family"].dropna()) >= {"mine.py", "convnet"}
    begun = json.loads((home.study("both") / "run.json").read_text(encoding="utf-8"))
    first, second = begun["families"]
    assert first["source"] == named.read_text(encoding="utf-8")
    assert second == {"name": "convnet"}
    assert home.family(first["sha256"]).read_text(encoding="utf-8") == first["source"]
    assert begun["config"]["family"] == [f"{named}#{first['sha256']}", "convnet"]
    client = open_store(home).client
    files = {item.path for item in client.list_artifacts(outcome.run_id)}
    assert "mine.py" in files
    report = (outcome.directory / "report.html").read_text(encoding="utf-8")
    assert "mine.py" in report


def test_trials_in_mlflow_have_their_family(outcome, home):
    sync(home, "both")
    runs = recorded(home, "both").of("optuna").values()
    families = {run.data.tags["family"] for run in runs}
    assert families == {"mine.py", "convnet"}


def test_the_run_is_reproduced_bit_for_bit_without_the_file(outcome, home, named):
    away = named.with_name("away.py")
    named.rename(away)
    try:
        facts = reproduce(home, "both", lambda line: None)
    finally:
        away.rename(named)
    assert {fact.verdict for fact in facts} <= {Verdict.SAME, Verdict.NOTED}
    assert any(fact.what.startswith("optuna") for fact in facts)


def test_the_chapters_class_from_a_file_answers_in_another_process(outcome, home):
    """Its network is loaded from the home's copy; nothing else knows the class."""
    trial = next(t for t in outcome.trials if t.family == "mine.py" and t.model)
    script = (
        "import sys, torch; from pathlib import Path; from pipeline_lib.models import load_model\n"
        "print(load_model(Path(sys.argv[1]))(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(trial.model)],
        capture_output=True, text=True, check=False, cwd=HERE.parents[1],
        env={"AUTOML_HOME": str(home.root), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "torch.Size([2, 10])" in done.stdout, done.stderr
