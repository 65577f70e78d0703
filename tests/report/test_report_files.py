"""The report of a real run: kept, found and made again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cli import main
from pipeline_lib.errors import UserError
from pipeline_lib.home import Home
from pipeline_lib.report.files import latest, load, write
from pipeline_lib.report.making import make_report
from pipeline_lib.run.pipeline import Outcome
from pipeline_lib.tracking import open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def home(finished_home: Home) -> Home:
    return finished_home


@pytest.fixture
def copied(home: Home, outcome: Outcome, tmp_path: Path) -> Home:
    """The run's files and its study in a home of its own, without data or models."""
    copy = Home(tmp_path / "home")
    shutil.copytree(home.run("first"), copy.run("first"))
    shutil.copytree(home.study("first"), copy.study("first"))
    shutil.copy(home.ledger, copy.ledger)
    return copy


def test_a_run_leaves_its_report_with_mlflow(home: Home, outcome: Outcome) -> None:
    kept = {file.path for file in open_store(home).client.list_artifacts(outcome.run_id)}
    assert {"report.html", "README.md", "summary.json"} <= kept
    html = (home.run("first") / "report.html").read_text()
    for said in (outcome.findings.registration.why, "models:/automl-mnist/1", "data:image/png"):
        assert said in html
    assert str(home.root) not in html


def test_it_is_made_again_from_files_and_storages_alone(copied: Home, outcome: Outcome) -> None:
    directory = copied.run("first")
    before = {name: (directory / name).read_text() for name in ("report.html", "README.md")}
    for name in before:
        (directory / name).unlink()
    ledger = copied.ledger.read_text()

    data = load(copied, latest(copied))
    written = write(directory, data)

    assert [path.name for path in written] == ["report.html", "README.md"]
    assert {path.name: path.read_text() for path in written} == before
    assert copied.ledger.read_text() == ledger
    assert data.test == outcome.test
    assert len(data.trials) == len(outcome.trials)
    assert set(data.latency) <= {trial.label for trial in outcome.trials}
    assert all(milliseconds > 0 for milliseconds in data.latency.values())
    assert not list(directory.glob(".*"))


def test_a_run_that_left_the_test_set_closed_has_a_report(copied: Home) -> None:
    directory = copied.run("first")
    (directory / "test.json").write_text(json.dumps({"untested": "test is 'never'"}))
    data = load(copied, "first")
    assert (data.test, data.untested) == (None, "test is 'never'")
    write(directory, data)
    assert "test is &#39;never&#39;" in (directory / "report.html").read_text()
    assert "test is 'never'" in (directory / "README.md").read_text()


def test_what_was_measured_after_the_run_is_in_a_report_made_again(
    home: Home, copied: Home, outcome: Outcome
) -> None:
    (copied.run("first") / "test.json").write_text(json.dumps({"untested": "not promoted"}))
    shutil.copytree(home.test_figures, copied.test_figures)
    data = load(copied, "first")
    assert (data.test, data.untested) == (outcome.test, "")


def test_what_only_the_report_needs_is_made_with_it(home: Home, outcome: Outcome) -> None:
    directory, ledger = home.run("first"), home.ledger.read_text()
    made = ("architecture.pdf", "architecture.svg", "architecture.png", "details.json")
    before = load(home, "first")
    for name in (*made, "report.html"):
        (directory / name).unlink()
    paths = {path.name for path in make_report(home, "first")}
    assert {*made, "report.html", "README.md"} <= paths
    again = load(home, "first")
    assert again.latency.keys() == before.latency.keys()
    assert again.spaces == before.spaces
    assert again.architecture_svg == before.architecture_svg
    assert home.ledger.read_text() == ledger


_BEGIN = """
import sys
from pathlib import Path
from pipeline_lib.home import Home
from tasks.reporting import begin_report
begin_report(Home(Path(sys.argv[1])), "first", "no-run-of-mlflow", "no-run-of-prefect")
"""


def test_the_report_is_written_after_the_command_and_says_what_went_wrong(copied: Home) -> None:
    directory = copied.run("first")
    for name in ("report.html", "details.json"):
        (directory / name).unlink()
    copied.prefect.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    subprocess.run([sys.executable, "-c", _BEGIN, str(copied.root)], env=environment, check=True)
    deadline = time.monotonic() + 300
    while "no-run-of-mlflow" not in (directory / "report.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "plotly" in (directory / "report.html").read_text()


def test_the_latest_run_is_the_one_that_finished_last(copied: Home) -> None:
    shutil.copytree(copied.run("first"), copied.run("older"))
    copied.run("unfinished").mkdir()
    summary = copied.run("older") / "summary.json"
    os.utime(summary, (1, 1))
    assert latest(copied) == "first"


def test_the_command_says_where_they_are(
    copied: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOML_HOME", str(copied.root))
    monkeypatch.setattr(sys, "argv", ["automl", "report"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    directory = copied.run("first")
    assert capsys.readouterr().out.split() == [
        str(directory / "report.html"),
        str(directory / "README.md"),
    ]


def test_what_is_missing_or_damaged_is_said_in_one_line(copied: Home, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run: is unknown, got 'frist'; did you mean 'first'\?"):
        load(copied, "frist")
    with pytest.raises(UserError, match="no run has finished"):
        latest(Home(tmp_path / "empty"))
    copied.run("stopped").mkdir()
    with pytest.raises(UserError, match=r"the run left no summary\.json.*continues a run"):
        load(copied, "stopped")

    summary = copied.run("first") / "summary.json"
    kept = json.loads(summary.read_text())
    summary.write_text(json.dumps({**kept, "winner": ["optuna", 99]}))
    with pytest.raises(UserError, match="no longer holds its winner"):
        load(copied, "first")
    summary.write_text(json.dumps({"config": kept["config"]}))
    with pytest.raises(UserError, match=r"is not what this version of automl writes \(KeyError"):
        load(copied, "first")
    summary.write_text(summary.read_text()[:-5])
    with pytest.raises(UserError, match="is damaged"):
        load(copied, "first")
