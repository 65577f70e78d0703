"""Nights that nobody watches: overlapping starts, killed workers, missed nights. Real servers."""

import json
import os
import signal
import sqlite3
import time
import urllib.request

import psutil
import pytest
from running_up import running_up, wait_until

from flows.prefect_api import HEARTBEAT_SECONDS, SILENCE_SECONDS

pytestmark = pytest.mark.long


def runs(running):
    return running.ask("flow_runs/filter", {})


def started(running, name):
    """Start automl/mnist; what became of it, at the latest when its flow has begun."""
    parameters = "--param engine=optuna --param workers=1 --param budget_seconds=1200"
    command = running.deploy_run(f"--param name={name} {parameters}")
    assert command.returncode == 0, command.stdout + command.stderr
    identity = command.stdout.split("UUID: ")[1].split()[0]

    def state():
        with urllib.request.urlopen(f"{running.api_url}/flow_runs/{identity}") as response:
            return json.load(response)["state_type"]

    wait_until(lambda: state() not in {"SCHEDULED", "PENDING"}, 600)
    return state()


def flows_of(running):
    """The processes of flows, also of those whose worker is gone."""
    return [
        p
        for p in psutil.process_iter(["cmdline", "environ"])
        if "prefect.engine" in (p.info["cmdline"] or ())
        and (p.info["environ"] or {}).get("AUTOML_HOME") == str(running.home.root)
    ]


def test_a_run_whose_worker_was_killed_with_it_crashes_and_a_healthy_one_goes_on(fresh_home):
    with running_up(fresh_home) as running:
        assert started(running, "victim") == "RUNNING"
        (victim,) = flows_of(running)
        assert started(running, "second") == "CANCELLED"
        worker = running.program("worker")
        os.kill(worker, signal.SIGKILL)
        victim.kill()
        wait_until(lambda: running.program("worker") not in {None, worker}, 120)
        assert running.state_of("victim") == "RUNNING"
        wait_until(lambda: running.state_of("victim") == "CRASHED", 3 * SILENCE_SECONDS)
        assert started(running, "next") == "RUNNING"
        time.sleep(SILENCE_SECONDS + 2 * HEARTBEAT_SECONDS)
        assert running.state_of("next") == "RUNNING"
        everything = [*running.processes(), *(p.pid for p in flows_of(running))]
        running.process.send_signal(signal.SIGINT)
        running.process.stdout.read()
        assert running.process.wait() == 0
    assert not any(psutil.pid_exists(pid) for pid in everything)


def test_of_missed_nights_the_last_is_run_once(fresh_home):
    with running_up(fresh_home) as running:
        wait_until(lambda: len(runs(running)) >= 3, 300)  # the server plans three nights ahead
        nights = {run["id"] for run in runs(running)}
    away_for_days(fresh_home, 3)
    with running_up(fresh_home) as running:
        wait_until(lambda: flows_of(running), 600)
        states = {
            run["expected_start_time"]: run["state_type"]
            for run in runs(running)
            if run["id"] in nights
        }
        *older, last = [states[night] for night in sorted(states)]
        assert set(older) == {"CANCELLED"}
        assert last in {"PENDING", "RUNNING"}
        assert len(flows_of(running)) == 1
        later = [run for run in runs(running) if run["id"] not in nights]
        assert {run["state_type"] for run in later} <= {"SCHEDULED"}


def away_for_days(home, days):
    """Nothing was up for so long: the nights that were planned are in the past now."""
    path = home.prefect / "prefect.db"
    with sqlite3.connect(path) as database:
        for column in ("expected_start_time", "next_scheduled_start_time"):
            shifted = f"strftime('%Y-%m-%d %H:%M:%S.000000', {column}, '-{days} days')"
            database.execute(
                f"UPDATE flow_run SET {column} = {shifted} WHERE state_type = 'SCHEDULED'"
            )
        details = "json_set(state_details, '$.scheduled_time', ?)"
        database.execute(
            f"UPDATE flow_run_state SET state_details = {details} WHERE type = 'SCHEDULED'",
            ("2020-01-01T02:00:00+00:00",),
        )
        quick = "json_set(parameters, '$.engine', 'optuna', '$.workers', 1)"
        database.execute(f"UPDATE flow_run SET parameters = {quick}")
    database.close()
