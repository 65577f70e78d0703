"""`automl run` in surroundings that are as hostile as users' are, all of them at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from surroundings import users_directory, variables

pytestmark = pytest.mark.slow

REQUEST = ["--engine", "optuna", "--trials", "1", "--budget", "5s", "--ensemble", "1"]


def test_a_run_does_what_it_was_asked_whatever_is_around_it(fresh_home, tmp_path):
    """Its `dot` draws a graph of one node and fails at a network's."""
    around = tmp_path / "around"
    around.mkdir()
    done = subprocess.run(
        [Path(sys.executable).with_name("automl"), "run", "mnist", *REQUEST, "--json"],
        cwd=users_directory(tmp_path / "here"),
        env={**os.environ, **variables(around), "AUTOML_HOME": str(fresh_home.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["engines"]["optuna"]["trials"] >= 1  # a final may follow
    assert "Traceback" not in done.stderr
    page, deadline = Path(outcome["report"]), time.monotonic() + 300
    while not page.exists() or page.stat().st_size < 10**6:  # it is written after the run is done
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "the report goes without a diagram" in page.with_name("report.log").read_text()
    assert not list(around.glob("stray*"))
    assert len(fresh_home.ledger.read_text().splitlines()) == 1
