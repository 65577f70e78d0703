"""Stage: say what came out, in Prefect and MLflow."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from pipeline_lib import finish
from pipeline_lib.data.prepared import SearchData
from pipeline_lib.record import Record
from pipeline_lib.report.files import publish
from pipeline_lib.run import Run
from pipeline_lib.tracking.store import ui_address
from pipeline_lib.verdict import sentence, verdict
from tasks.stage import stage


@stage("report")
def report(run: Run, findings: finish.Findings, data: SearchData, record: Record) -> dict[str, Any]:
    """Write the report, publish the verdict; returns what the run found as JSON values."""
    page = publish(run, findings, data, record)
    text = verdict(run, findings)
    create_markdown_artifact(text, key="verdict", description=f"What {run.name} found")
    record.recorder.set_note(text)
    found = {
        **finish.summary(run, findings),
        "verdict": sentence(run, findings.winner, findings.test, findings.untested),
        "report": str(page),
    }
    if server := ui_address():  # Prefect's pages open no file of a disk
        found["mlflow"] = record.recorder.page(server)
        _link(found["mlflow"], "mlflow-run", f"{run.name} in MLflow")
        _link(record.recorder.page(server, page.name), "report", f"The report of {run.name}")
    return found


def _link(address: str, key: str, text: str) -> None:
    create_link_artifact(address, key=key, link_text=text, description=text)
