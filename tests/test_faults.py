"""A full disk, a home that cannot be written, a slow one, a clock that is set back."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_search import NAME, recorded

from pipeline_lib.home import Home
from pipeline_lib.trial import RUN_STOPPED

ROOT = Path(__file__).parents[1]
CHILD = Path(__file__).with_name("faulty_search.py")

pytestmark = pytest.mark.slow


def may_mount():
    """Whether a process may mount a file system that only it sees."""
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    known = shutil.which("unshare") is not None
    return known and subprocess.run(tried, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not may_mount(), reason="no file system may be mounted here")


def run(command, **environment):
    """What a command printed and how it ended."""
    plain = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        command,
        env={**plain, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=environment.get("TMPDIR", "/"),
    )


def child(home, data, trouble, file):
    described = json.dumps(data.as_json(home))
    return [sys.executable, str(CHILD), str(home.root), described, trouble, str(file)]


def outcome(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def in_mount(mount, *commands):
    """The commands, one after the other, where `mount` was done and is undone at the end."""
    lines = [mount, *(shlex.join(map(str, command)) for command in commands)]
    return ["unshare", "-rm", "sh", "-c", " && ".join(lines)]


@needs_mounts
def test_a_disk_that_fills_up_loses_no_trial_and_a_later_run_goes_on(tiny_data, tmp_path):
    """The home is a file system of 24 MB; what is left of it goes after the second trial.

    The third has begun by then: ends are told when every worker is busy again.
    """
    home, filler = Home(tmp_path / "home"), tmp_path / "home" / "filler"
    home.root.mkdir()
    saved = tmp_path / "saved"
    done = run(
        in_mount(
            f"mount -t tmpfs -o size=24m tmpfs {home.root}",
            child(home, tiny_data, "full disk", filler),
            ["rm", filler],
            child(home, tiny_data, "nothing", filler),
            ["cp", "-a", home.root, saved],
        )
    )
    assert done.returncode == 0, done.stderr
    full, later = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert "No space left on device" in full["error"]
    assert [trial["number"] for trial in full["trials"]] == [0, 1, 2]
    third = full["trials"][2]  # the disk's end stopped it, unless its first rung was its last
    assert third["state"] == ("stopped" if third["reason"] == RUN_STOPPED else "pruned")
    assert third["rungs"] or third["state"] == "stopped"
    assert later["error"] == ""
    assert later["trials"][:3] == full["trials"]
    numbers = [trial["number"] for trial in later["trials"]]
    assert len(numbers) >= 5
    assert recorded(Home(saved)) == numbers


@needs_mounts
@pytest.mark.parametrize("command", ["run mnist", f"sync {NAME}", "gc", "predict mnist x.png"])
def test_a_home_that_cannot_be_written_is_one_line(command, tmp_path):
    home = Home(tmp_path / "home")
    home.study(NAME).mkdir(parents=True)
    before = sorted(home.root.rglob("*"))
    mount = f"mount --bind {home.root} {home.root} && mount -o remount,bind,ro {home.root}"
    program = "from flows.cli import main; main()"
    automl = [sys.executable, "-c", program, *command.split(), "--home", home.root]
    done = run(in_mount(mount, automl))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2), done.stderr
    assert len(done.stderr.splitlines()) == (1 if done.returncode else 0), done.stderr
    if command == "run mnist":
        assert "home: cannot be written (Read-only file system)" in done.stderr
    assert sorted(home.root.rglob("*")) == before


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """A library that sets the clock of a process back."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def test_a_clock_set_back_during_a_search_changes_no_duration_and_no_order(
    clock, tiny_data, tmp_path
):
    home, marker = Home(tmp_path / "home"), tmp_path / "an hour back"
    shifted = {"LD_PRELOAD": str(clock), "AUTOML_CLOCK_BACK": str(marker)}
    first = outcome(run(child(home, tiny_data, "clock set back", marker), **shifted))
    assert marker.exists()
    assert first["error"] == ""
    started = [trial["started"] for trial in first["trials"]]
    assert started[2] < started[1]  # the clock really was set back
    assert all(0 < trial["seconds"] < 600 for trial in first["trials"])
    later = outcome(run(child(home, tiny_data, "nothing", marker), **shifted))
    assert later["trials"][: len(first["trials"])] == first["trials"]
    numbers = [trial["number"] for trial in later["trials"]]
    assert numbers == list(range(len(numbers)))
    assert recorded(home) == numbers


@pytest.mark.long
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which slows calls down")
def test_a_home_on_a_slow_disk_only_takes_longer(tiny_data, tmp_path):
    """Every write that waits for the disk waits 0.05 s more."""
    home = Home(tmp_path / "home")
    calls = "fsync,fdatasync"
    slow = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={calls}"]
    slow += ["-e", f"inject={calls}:delay_enter=50000"]
    done = outcome(run([*slow, *child(home, tiny_data, "nothing", tmp_path / "none")]))
    assert done["error"] == ""
    numbers = [trial["number"] for trial in done["trials"]]
    assert len(numbers) >= 5
    assert recorded(home) == numbers
