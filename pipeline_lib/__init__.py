"""The search as a plain library: `from pipeline_lib import RunConfig, find_model`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.home import Home
    from pipeline_lib.run.pipeline import Outcome, find_model

__all__ = ["Home", "Outcome", "RunConfig", "find_model"]

_HOMES = {
    "Home": "pipeline_lib.home",
    "Outcome": "pipeline_lib.run.pipeline",
    "RunConfig": "pipeline_lib.config",
    "find_model": "pipeline_lib.run.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for, so that importing an error stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
