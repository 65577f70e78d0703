"""The presets: what `prefect.yaml` says about each deployment, also for runs without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline_lib.config import choice

PROJECT = Path(__file__).resolve().parent.parent
"""The folder of prefect.yaml; deployments run from here."""


def presets() -> dict[str, dict[str, Any]]:
    """Parameters of the flow `automl` by name of the deployment, in the order of prefect.yaml."""
    import yaml

    document = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    return {entry["name"]: entry["parameters"] for entry in document["deployments"]}


def preset(name: str) -> dict[str, Any]:
    """Parameters of the flow `automl` in the deployment `name`.

    Raises:
        ConfigurationError: There is no such deployment; names the nearest.
    """
    known = presets()
    return known[choice("preset", name, known)]
