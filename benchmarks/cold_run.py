"""`automl run` from cold: a process and a home of its own, with nothing ready but the data."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.prefect_server import LocalServer
from pipeline_lib.errors import AutomlError
from pipeline_lib.home import Home
from pipeline_lib.registry.versions import CHAMPION, model_name
from pipeline_lib.tracking.store import open_store

AUTOML = (str(Path(sys.executable).with_name("automl")), "run", "mnist", "--engine", "optuna")


@contextmanager
def cold_home(home: Home) -> Iterator[Home]:
    """An empty home with the data of another; gone afterwards, with the servers that use it."""
    with tempfile.TemporaryDirectory(prefix="automl-bench-", ignore_cleanup_errors=True) as root:
        cold = Home(Path(root))
        cold.data.symlink_to(home.data.absolute())
        try:
            yield cold
        finally:
            wait_for_server(cold)


def wait_for_server(home: Home) -> None:
    """Until the Prefect server that the runs of this home shared has ended."""
    server = home.prefect / "background"  # locked while it lives
    if server.exists():
        with server.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)


def run_json(command: Sequence[str], home: Home) -> list[dict[str, Any]]:
    """The JSON objects that a command printed, with the seconds it took as `wall` in the first.

    Raises:
        AutomlError: It failed; with the last line it wrote.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--home", str(home.root)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    wall = time.perf_counter() - began
    lines = done.stdout.splitlines(), done.stderr.splitlines()
    first, *others = outcomes_of(command, done.returncode, *lines)
    return [{**first, "wall": wall}, *others]


def outcomes_of(
    command: Sequence[str], code: int, out: Sequence[str], err: Sequence[str]
) -> list[dict[str, Any]]:
    """The JSON objects among the lines that a command printed.

    Raises:
        AutomlError: It failed; with the last line it wrote.
    """
    if code:
        last = (err or ["nothing was written"])[-1].strip()
        raise AutomlError(" ".join(command), f"ended with exit code {code}", value=last)
    return [json.loads(line) for line in out if line.startswith("{")]


def cold_run(home: Home, budget_seconds: float, seed: int) -> dict[str, Any]:
    """One cold run at a budget, in a home that is gone afterwards."""
    with cold_home(home) as cold:
        return cold_run_at(cold, budget_seconds, seed)


def served_run(home: Home, budget_seconds: float, seed: int) -> dict[str, Any]:
    """The same where a Prefect server is up already; nothing else is ready either."""
    with cold_home(home) as cold, LocalServer(cold) as server:
        server.wait_until_healthy()
        try:
            return cold_run_at(cold, budget_seconds, seed)
        finally:
            server.release()


def cold_run_at(cold: Home, budget_seconds: float, seed: int) -> dict[str, Any]:
    """A run at a budget: its seconds apart, and what its winner is worth."""
    command = [*AUTOML, "--budget", f"{budget_seconds:g}s", "--seed", str(seed), "--json"]
    began = time.time()
    said = run_json(command, cold)[0]
    winner = said["winner"]
    return {
        "name": said["name"],
        "budget": budget_seconds,
        "seed": seed,
        "registered": _registered_at(cold, said) - began,
        "wall": said["wall"],
        "seconds": said["seconds"],
        "trials": said["engines"]["optuna"]["trials"],
        "engine": winner["engine"],
        "val_accuracy": winner["val_accuracy"],
        "test_accuracy": winner["test_accuracy"],
        "test_interval": winner["test_interval"],
        "configuration": winner["configuration"],
    }


def _registered_at(home: Home, said: dict[str, Any]) -> float:
    """When the run's model became a version in the registry, in seconds of `time.time`."""
    client = open_store(home).client
    version = client.get_model_version_by_alias(model_name(said["dataset"]), CHAMPION)
    return int(version.creation_timestamp) / 1000
