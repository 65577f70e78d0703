"""Output whose reader goes away, or that is closed: the lines are lost, the command is not."""

from __future__ import annotations

import os
import pathlib
import pty
import subprocess
import sys

import pytest
from running_up import PROJECT

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]
_TALKING = """
import sys, time
from flows.output import outlive_readers
outlive_readers()
from rich.console import Console
from rich.live import Live
console = Console(stderr=True)
with Live("a table", console=console, refresh_per_second=50):
    console.print("first")
    sys.stdin.readline()
    for number in range(2000):
        console.print(f"line {number}")
    time.sleep(0.2)
print("the result")
"""


def run(command, **streams):
    return subprocess.run(command, cwd=PROJECT, check=False, **streams)


def broken_pipe():
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_costs_the_lines(stream):
    writing = broken_pipe()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    done = run([*COMMAND, "datasets"], **streams)
    os.close(writing)
    assert done.returncode == 0
    assert not done.stderr
    assert (b"mnist" in done.stdout) if stream == "stderr" else done.stdout is None


_NULLS = """
import os
from flows.output import outlive_readers
outlive_readers()
print("lost")
nowhere = os.stat(os.devnull)
found = [number for number in range(3) if os.path.samestat(os.fstat(number), nowhere)]
open("nulls", "w").write(str(found))
"""


@pytest.mark.parametrize("closed", [[1], [2], [0, 1, 2]])
def test_a_closed_stream_is_no_place_for_the_next_file(closed, tmp_path):
    closing = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'"$0" -c "$1" {closing}', sys.executable, _NULLS]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    streams = {"input": b"", "capture_output": True}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, **streams)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "nulls").read_text() == str(closed)


def test_a_terminal_that_goes_away_leaves_the_run_its_result():
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _TALKING],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    with process:
        os.close(terminal)
        assert os.read(ours, 1)
        os.close(ours)
        said, _ = process.communicate(b"go on\n")
    assert (process.returncode, said) == (0, b"the result\n")


def test_a_full_disk_is_no_reader_that_went_away():
    if not pathlib.Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pathlib.Path("/dev/full").open("wb") as full:
        done = run([*COMMAND, "datasets"], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode != 0
        done = run([*COMMAND, "datasets"], stdout=subprocess.PIPE, stderr=full)
        assert done.returncode == 0
