"""Stage: say what came out, in Prefect and MLflow."""

from __future__ import annotations

import logging
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.runtime import flow_run

from pipeline_lib.data.store import SearchData
from pipeline_lib.report.files import REPORT, keep
from pipeline_lib.report.verdict import sentence, verdict
from pipeline_lib.run import finish
from pipeline_lib.run.run import Run
from pipeline_lib.tracking.record import Record
from pipeline_lib.tracking.store import ui_address
from tasks.reporting import begin_report
from tasks.stage import stage

_log = logging.getLogger("automl")


@stage("report")
def report(run: Run, findings: finish.Findings, data: SearchData, record: Record) -> dict[str, Any]:
    """Publish the verdict, have the report written; what the run found, as JSON values."""
    record.recorder.log_artifact(keep(run, findings, data))
    page, run_id = run.directory / REPORT, record.recorder.run_id
    text = verdict(run, findings)
    create_markdown_artifact(text, key="verdict", description=f"What {run.name} found")
    record.recorder.set_note(text)
    found = {
        **finish.summary(run, findings),
        "verdict": sentence(run, findings.winner, findings.test, findings.untested),
        "report": str(page),
        "leaderboard": str(run.directory / "leaderboard.csv"),
        "artifacts": {
            f"diagram_{kind}": str(run.directory / f"architecture.{kind}")
            for kind in ("pdf", "svg")
        },
    }
    if server := ui_address():  # Prefect's pages open no file of a disk
        found["mlflow"] = record.recorder.page(server)
        _link(found["mlflow"], "mlflow-run", f"{run.name} in MLflow")
        _link(record.recorder.page(server, page.name), "report", f"The report of {run.name}")
    begin_report(run.home, run.name, run_id, str(flow_run.id))
    _log.info("The report is being written to %s", page)
    return found


def _link(address: str, key: str, text: str) -> None:
    create_link_artifact(address, key=key, link_text=text, description=text)
