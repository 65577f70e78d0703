"""The presets: what `prefect.yaml` says about each deployment, also for runs without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.options import choice

PROJECT = Path(__file__).resolve().parent.parent
"""The folder of prefect.yaml; deployments run from here."""


def presets() -> dict[str, dict[str, Any]]:
    """Parameters of the flow `automl` by name of the deployment, in the order of prefect.yaml.

    Raises:
        ConfigurationError: The file cannot be read, does not list deployments, or two of a name.
    """
    import yaml

    path = PROJECT / "prefect.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        listed = [(entry["name"], dict(entry["parameters"])) for entry in document["deployments"]]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        problem = f"is no list of deployments with a name and parameters ({reason})"
        remedy = "put it right, or restore it with git"
        raise ConfigurationError("prefect.yaml", problem, value=str(path), remedy=remedy) from error
    found = dict(listed)
    if len(found) < len(listed):
        names = [name for name, _ in listed]
        twice = next(name for name in names if names.count(name) > 1)
        problem, remedy = "has a deployment twice", "give each a name of its own"
        raise ConfigurationError("prefect.yaml", problem, value=twice, remedy=remedy)
    return found


def preset(name: str) -> dict[str, Any]:
    """Parameters of the flow `automl` in the deployment `name`.

    Raises:
        ConfigurationError: There is no such deployment; names the nearest.
    """
    known = presets()
    return known[choice("preset", name, known)]
