"""What a person sees of a search while no trial says anything, with a real Prefect server."""

import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]

SILENT_SEARCH = """
import logging, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from flows.prefect_server import LocalServer
from pipeline_lib.config import RunConfig
from pipeline_lib.home import Home
from pipeline_lib.run.progress import Progress
from pipeline_lib.tracking.record import Record
from pipeline_lib.run.run import Run
from pipeline_lib.trial import Trial, TrialState

home = Home(Path(sys.argv[1]))
with LocalServer(home) as server:
    server.wait_until_healthy()
    from prefect import flow
    from prefect.artifacts import Artifact
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from pipeline_lib.run import progress
    from tasks import watching
    from tasks.stage import plain_task

    watching._SECONDS = progress._LINE_SECONDS = 0.5
    logging.getLogger("automl").addHandler(logging.StreamHandler(sys.stdout))
    logging.getLogger("automl").setLevel(logging.INFO)

    class Broken(BaseHTTPRequestHandler):
        def do_PATCH(self):
            self.send_error(500)

    broken = HTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=broken.serve_forever, daemon=True).start()

    def search(record):
        with watching.Watch(Progress("optuna", 20.0), record) as watch:
            watch.on_trial(Trial("silent", "optuna", 0, TrialState.RUNNING, {}))
            time.sleep(6)
            print("artifact", Artifact.get("optuna-progress").data, flush=True)

    @flow
    def automl():
        run = Run.begin(RunConfig(engine="optuna", trials=1), home, "silent")
        with run.recording() as record:
            plain_task("search", search)(record)

    automl()
    unheard = watching.Watch(Progress("deaf", 20.0), record=None)
    url = f"http://127.0.0.1:{broken.server_port}/api"
    with temporary_settings({PREFECT_API_URL: url}), unheard:
        time.sleep(3)
"""


def test_progress_goes_on_while_no_trial_says_anything(fresh_home):
    program = [sys.executable, "-c", SILENT_SEARCH, str(fresh_home.root)]
    said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^optuna (\d)/20 s · 0 complete", said, re.MULTILINE)
    assert lines[-1] >= "5"
    assert len(lines) >= 6
    assert said.count("Prefect does not show how deaf stands: ") == 1
    assert float(re.search(r"^artifact ([\d.]+)", said, re.MULTILINE)[1]) >= 20
