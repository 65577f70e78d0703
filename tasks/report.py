"""Stage: say what came out, in Prefect and MLflow."""

from __future__ import annotations

import os
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from pipeline_lib import finish
from pipeline_lib.data.prepared import SearchData
from pipeline_lib.record import Record
from pipeline_lib.report.files import publish
from pipeline_lib.run import Run
from pipeline_lib.tracking import UI_VARIABLE
from pipeline_lib.verdict import verdict


@task(name="report", cache_policy=NO_CACHE)
def report(run: Run, findings: finish.Findings, data: SearchData, record: Record) -> dict[str, Any]:
    """Write the report, publish the verdict; returns what the run found as JSON values."""
    page = publish(run, findings, data, record)
    found = {**finish.summary(run, findings), "report": str(page)}
    text = verdict(run, findings)
    create_markdown_artifact(text, key="verdict", description=f"What {run.name} found")
    record.recorder.set_note(text)
    server = os.environ.get(UI_VARIABLE)
    if server:
        address = record.recorder.page(server)
        create_link_artifact(address, key="mlflow-run", link_text=f"{run.name} in MLflow")
    return found
