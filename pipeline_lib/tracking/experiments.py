"""The experiment of a data set in MLflow: its description, and a table of its trials, best first.

The table is what MLflow calls a shared view: a tag of the experiment that an address names. Its
form is MLflow's own (3.17, `useSharedExperimentViewState`); a version that reads it no more shows
its usual table instead.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING

from pipeline_lib.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_KEY = "trials"
_COLUMNS = (
    "metrics.`val_accuracy`",
    "metrics.`parameters`",
    "metrics.`seconds`",
    "tags.`state`",
    "tags.`automl.study`",
    "tags.`automl.engine`",
)


def experiment_name(dataset: str) -> str:
    """The experiment of a data set: called as its deployment is."""
    return f"automl/{dataset}"


def open_experiment(store: Store, dataset: str) -> str:
    """The id of the experiment of a data set, made where there is none."""
    from mlflow.exceptions import MlflowException

    name, client = experiment_name(dataset), store.client
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {"mlflow.experimentKind": "custom_model_development"}
        try:
            made = client.create_experiment(name, store.artifact_location(dataset), tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
        else:
            _describe(client, made, dataset)
            return made
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def trials_page(experiment_id: str) -> str:
    """Where MLflow's UI lists the trials of an experiment, below the address of its server."""
    asked = f"viewStateShareKey={_KEY}&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{asked}"


def runs_of(store: Store, experiment_id: str, study: str) -> list[Run]:
    """Every run of a study in an experiment, by start."""
    wanted = f"tags.`automl.study` = '{study}'"
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = store.client.search_runs(
            [experiment_id], wanted, max_results=1000, order_by=["start_time"], page_token=token
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def trials_view() -> dict[str, object]:
    """MLflow's table of runs as we want it: trials, best first, and the columns that matter."""
    return {
        "searchFilter": "tags.`automl.role` = 'trial'",
        "orderByKey": _COLUMNS[0],
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": _COLUMNS,
    }


def _describe(client: MlflowClient, experiment_id: str, dataset: str) -> None:
    """Say what an experiment holds, and share the view of its trials."""
    note = (  # the link first: of a long text the page shows one line
        f"[Trials, best first]({trials_page(experiment_id)}) · "
        f"Studies on {dataset}: one run per study, below it one per search, below that one per "
        "trial. Accuracies of trials are on validation data."
    )
    view = base64.b64encode(zlib.compress(json.dumps(trials_view()).encode())).decode()
    client.set_experiment_tag(experiment_id, "mlflow.note.content", note)
    client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{_KEY}", f"deflate;{view}")
