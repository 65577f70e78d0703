"""What a run has registered already: a second call goes on where the first one stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

TRIAL_TAG = "trial"
"""Tag of a model, and of its version: the trial of the run that it is."""

Which = tuple[str, str | None]
"""A run in MLflow and a trial of it. A model of no trial is registered as often as it is asked."""


def registered(client: MlflowClient, name: str, which: Which) -> int | None:
    """The latest version of a model that a run has registered of a trial."""
    run_id, trial = which
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return max(
        (int(v.version) for v in found if trial and v.tags.get(TRIAL_TAG) == trial), default=None
    )


def logged(client: MlflowClient, which: Which) -> LoggedModel | None:
    """The model that a run has logged of a trial, all its files included."""
    run_id, trial = which
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs and trial else ():
        model = client.get_logged_model(output.model_id)
        if model.tags.get(TRIAL_TAG) == trial:
            return model
    return None
