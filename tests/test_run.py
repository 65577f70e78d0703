"""Names that runs are given which were given none."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline_lib.config import plain_name
from pipeline_lib.home import Home
from pipeline_lib.run import run as stages
from pipeline_lib.run.run import claim_name

ROOT = Path(__file__).parents[1]
_CLAIMING = """
import sys, time
from pathlib import Path
from pipeline_lib.run import run
from pipeline_lib.home import Home
time.strftime = lambda form: "20270101-020000"
print(*(run.claim_name(Home(Path(sys.argv[1])), "mnist") for _ in range(20)))
"""


def test_names_that_are_made_up_in_one_second_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(stages.time, "strftime", lambda form: "20270101-020000")
    home = Home(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        names = list(threads.map(lambda _: claim_name(home, "mnist"), range(40)))
    assert len(set(names)) == 40
    assert "mnist-20270101-020000" in names
    assert all(plain_name(name).startswith("mnist-20270101-020000") for name in names)


def test_also_by_processes_of_one_home(tmp_path):
    command = [sys.executable, "-c", _CLAIMING, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "text": True}
    claiming = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
    names = [name for process in claiming for name in process.communicate()[0].split()]
    assert (len(names), len(set(names))) == (60, 60)
