"""What Prefect's pages show of a run: artifacts of its stages, by their names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.runtime import flow_run

from pipeline_lib.report.verdict import verdict
from pipeline_lib.run.stages import COMPARE, RANK, REPORTING, Work
from pipeline_lib.selection.leaderboard import leaderboard, shown
from pipeline_lib.tracking.store import ui_address
from tasks.reporting import begin_report

_ROWS = 20
_log = logging.getLogger("automl")


def _leaderboard(work: Work) -> None:
    rows = shown(leaderboard(work.candidates.trials).head(_ROWS))
    described = f"Leaderboard of {work.run.name}"
    create_table_artifact(table=rows, key="leaderboard", description=described)


def _comparisons(work: Work) -> None:
    said = "\n".join(f"- {sentence}" for sentence in work.compared.sentences())
    if said:
        described = f"{work.run.name}: which model is better, on validation images"
        create_markdown_artifact(said, key="comparisons", description=described)


def _report(work: Work) -> None:
    """The verdict and links to MLflow; the report itself is begun."""
    run, recorder, page = work.run, work.record.recorder, Path(work.summary["report"])
    found = f"What {run.name} found"
    create_markdown_artifact(verdict(work.findings), key="verdict", description=found)
    if server := ui_address():  # Prefect's pages open no file of a disk
        work.summary["mlflow"] = recorder.page(server)
        _link(work.summary["mlflow"], "mlflow-run", f"{run.name} in MLflow")
        _link(recorder.page(server, page.name), "report", f"The report of {run.name}")
    begin_report(run.home, run.name, recorder.run_id, str(flow_run.id))
    _log.info("The report is being written to %s", page)


def _link(address: str, key: str, text: str) -> None:
    create_link_artifact(address, key=key, link_text=text, description=text)


PUBLISHED: Mapping[str, Callable[[Work], None]] = {
    RANK.name: _leaderboard,
    COMPARE.name: _comparisons,
    REPORTING.name: _report,
}
