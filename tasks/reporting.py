"""The report of a finished run, written by a process of its own that outlives the command.

Prefect and MLflow show it as soon as it is there. What goes wrong stands in the run's directory,
in `report.log`; `automl report` writes the report again.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from pathlib import Path

from pipeline_lib.files import acquire
from pipeline_lib.home import Home
from pipeline_lib.isolation import isolated
from pipeline_lib.training.memory import tune_process

LOG = "report.log"


def begin_report(home: Home, name: str, run_id: str, flow_run_id: str) -> None:
    """Start the process that writes the report of a run, and do not wait for it.

    Args:
        home: Where the run is.
        name: What it is called.
        run_id: The run in MLflow.
        flow_run_id: The flow's run in Prefect.
    """
    command = [sys.executable, "-m", "tasks.reporting", str(home.root), name, run_id, flow_run_id]
    directory = home.run(name)
    with (directory / LOG).open("wb") as log:
        process = subprocess.Popen(
            command,
            env=isolated(),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()


def _report(home: Home, name: str, run_id: str, flow_run_id: str) -> None:
    """Be that process. The server of the home stays up until it ends, for what is sent to it."""
    acquire(home.prefect / "users", shared=True, wait=True)
    from pipeline_lib.report.making import make_report
    from pipeline_lib.run.log import logs_of
    from pipeline_lib.tracking import open_store

    made = make_report(home, name)
    client = open_store(home).client
    for path in (*made, *logs_of(home, name)):
        client.log_artifact(run_id, str(path))
    drawings = [path for path in made if path.suffix == ".png"]
    if drawings:
        _show(drawings[0], name, flow_run_id)


def _show(drawing: Path, name: str, flow_run_id: str) -> None:
    """Show a picture beside the flow's run in Prefect."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactCreate

    encoded = base64.b64encode(drawing.read_bytes()).decode()  # Prefect shows no file:// images
    artifact = ArtifactCreate(
        key="architecture",
        type="image",
        description=f"Network of the winner of {name}",
        data=f"data:image/png;base64,{encoded}",
        flow_run_id=flow_run_id,
    )
    with get_client(sync_client=True) as client:
        client.create_artifact(artifact)


if __name__ == "__main__":
    tune_process()
    os.nice(5)  # what comes next on this terminal goes first
    _report(Home(Path(sys.argv[1])), *sys.argv[2:])
