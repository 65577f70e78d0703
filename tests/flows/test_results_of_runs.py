"""What the command line and Python say of a run that has finished."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows import cli
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ImageError, UserError
from pipeline_lib.files import acquire
from pipeline_lib.home import Home
from pipeline_lib.run.runs import begun, list_runs, report_of, trials_of
from pipeline_lib.tracking import open_store

pytestmark = pytest.mark.slow
PROGRAM = str(Path(sys.executable).with_name("automl"))


@pytest.fixture
def copied(finished_home, outcome, tmp_path):
    """The run's files and its study in a home of its own, without a registry."""
    copy = Home(tmp_path / "home")
    for part in ("runs", "studies"):
        shutil.copytree(finished_home.root / part, copy.root / part)
    return copy


def said(*words, home, monkeypatch, capsys, code=0):
    monkeypatch.setattr(sys, "argv", ["automl", *words, "--home", str(home.root)])
    monkeypatch.setenv("AUTOML_HOME", "")  # which --home sets, and this takes back
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    return capsys.readouterr().out


def on_a_terminal(*words, home):
    """What a command writes to a terminal of 80 columns."""
    master, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "AUTOML_HOME": str(home.root)}
    with subprocess.Popen([PROGRAM, *words], stdout=terminal, env=environment) as process:
        os.close(terminal)
        pieces = []
        while piece := read(master):
            pieces.append(piece)
        assert process.wait() == 0
    os.close(master)
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(pieces).decode()).splitlines()


def read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # how a terminal without a writer ends
        return b""


@pytest.mark.parametrize(
    "words", [["runs"], ["leaderboard"], ["champion"], ["datasets"], ["space", "optuna"]]
)
def test_a_terminal_shows_every_word_whole(words, finished_home, outcome, monkeypatch, capsys):
    shown = on_a_terminal(*words, home=finished_home)
    assert max(map(len, shown)) <= 80
    everything = said(*words, home=finished_home, monkeypatch=monkeypatch, capsys=capsys)
    assert Counter(" ".join(shown).split()) == Counter(everything.split())


def test_the_list_of_runs(finished_home, outcome):
    (run,) = list_runs(finished_home)
    assert (run.name, run.dataset, run.state, run.champion) == ("first", "mnist", "finished", 1)
    assert run.best == outcome.winner.text


def test_the_run_that_began_last_comes_first(copied):
    shutil.copytree(copied.study("first"), copied.study("second"))  # without files for people
    os.utime(copied.run("first") / "run.yaml", (1, 1))
    assert begun(copied) == ["second", "first"]
    os.utime(copied.study("second") / "run.json", (0, 0))
    assert begun(copied) == ["first", "second"]


def test_how_a_run_stands(copied, outcome):
    (copied.run("first") / "summary.json").unlink()
    (run,) = list_runs(copied)
    assert (run.state, run.champion) == ("unfinished", None)
    assert run.best == outcome.winner.text  # from the study
    lock = acquire(copied.study("first") / ".lock")
    try:
        assert list_runs(copied)[0].state == "running"
    finally:
        os.close(lock)
    (copied.study("first") / "run.json").write_text("{")
    assert list_runs(copied)[0].state == "damaged"


def test_a_leaderboard_has_the_trials_and_their_seconds(
    finished_home, outcome, monkeypatch, capsys
):
    words = ["leaderboard", "first", "--top", "1"]
    best = outcome.leaderboard.iloc[0]
    table = said(*words, home=finished_home, monkeypatch=monkeypatch, capsys=capsys)
    *_, line = table.splitlines()
    for text in (f"{best.engine} #{best.trial}", f"{best.value:.2%}", f"{best.seconds:.1f}"):
        assert text in line
    name, trials = trials_of(finished_home, None)
    assert (name, trials) == ("first", outcome.trials)
    with pytest.raises(UserError, match="did you mean 'first'"):
        trials_of(finished_home, "frist")


def test_the_champion_and_its_figures(finished_home, outcome, monkeypatch, capsys):
    table = said("champion", "mnist", home=finished_home, monkeypatch=monkeypatch, capsys=capsys)
    _, line = table.splitlines()
    for text in ("automl-mnist", "v1", f"{outcome.winner.value:.2%}", "first"):
        assert text in line
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d", line)
    monkeypatch.setenv("AUTOML_HOME", "")
    said("champion", "cifar10", home=finished_home, monkeypatch=monkeypatch, capsys=capsys, code=2)


def test_the_report_is_opened_in_the_browser(finished_home, outcome, monkeypatch, capsys, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": f"{browser} %s", "AUTOML_HOME": str(finished_home.root)}
    subprocess.run([PROGRAM, "open"], env=environment, check=True, capture_output=True)
    address = (finished_home.run("first") / "report.html").as_uri()
    assert (tmp_path / "opened").read_text().strip() == address
    for variable in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    printed = said("open", "first", home=finished_home, monkeypatch=monkeypatch, capsys=capsys)
    assert printed.strip() == address


def test_without_a_report_there_is_nothing_to_open(copied):
    (copied.run("first") / "report.html").unlink()
    with pytest.raises(UserError, match="automl report first"):
        report_of(copied, "first")


def test_a_run_leaves_its_configuration_here_and_in_mlflow(finished_home, outcome):
    path = finished_home.run("first") / "run.yaml"
    known = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert RunConfig.parse({**known, "name": "first"}).trials == 2
    kept = {file.path for file in open_store(finished_home).client.list_artifacts(outcome.run_id)}
    assert "run.yaml" in kept


def test_a_run_leaves_a_log_of_how_it_went(finished_home, outcome):
    log = (finished_home.run("first") / "run.log").read_text(encoding="utf-8")
    assert "automl: optuna" in log
    assert "complete" in log


class TestInPython:
    def test_it_answers_for_arrays(self, outcome, mnist):
        examples = mnist.examples()
        images, labels = examples.images[:300], examples.targets[:300]
        probabilities = outcome.predict_proba(images)
        assert probabilities.shape == (300, len(outcome.classes))
        assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
        found = outcome.predict(images)
        assert (found == probabilities.argmax(1)).all()
        assert (found == labels).mean() > 0.3  # it saw a few hundred
        assert (outcome.predict(images[:, 0]) == found).all()

    def test_its_probabilities_are_calibrated(self, outcome, mnist):
        import torch

        from pipeline_lib.models.saved import load_model
        from pipeline_lib.training.loop import predict

        images = np.array(mnist.examples().images[:20])
        logits = predict(load_model(outcome.winner.model), [torch.from_numpy(images)])
        wanted = (logits / outcome.test.calibration.temperature).softmax(1)
        assert outcome.test.calibration.temperature != 1
        assert np.allclose(outcome.predict_proba(images), wanted.numpy(), atol=1e-5)

    @pytest.mark.parametrize(
        "images", [np.zeros((2, 1, 28, 28)), np.zeros((2, 3, 28, 28), np.uint8),
                   np.zeros((28, 28), np.uint8)],
    )  # fmt: skip
    def test_other_arrays_are_refused(self, outcome, images):
        with pytest.raises(ImageError, match=r"uint8 of the shape \(N, 1, 28, 28\)"):
            outcome.predict(images)

    def test_it_is_short_to_print_and_has_its_leaderboard(self, outcome):
        assert len(repr(outcome)) < 200
        assert "first" in repr(outcome)
        assert outcome.model in repr(outcome)
        assert list(outcome.leaderboard["rank"]) == [*range(1, len(outcome.trials) + 1)]


def test_the_doctor_tells_what_the_machine_has(tmp_path, monkeypatch, capsys):
    table = said("doctor", home=Home(tmp_path), monkeypatch=monkeypatch, capsys=capsys)
    told = {line[8:27].strip(): line[27:] for line in table.splitlines()}
    assert {"automl", "python", "cores", "engine optuna"} <= told.keys()
    assert re.fullmatch(r"(cpu|cuda|mps), (bfloat16|float32)", told["device"])
    assert re.search(r"[\d.]+ GB free of [\d.]+ GB", told["memory"])
    assert re.search(r"[\d.]+ GB free", told["disk"])
