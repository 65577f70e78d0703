"""Stage: make the engines able to run."""

from __future__ import annotations

from pipeline_lib.run import run as stages
from pipeline_lib.search.engine import Engine
from tasks.stage import stage


@stage("prepare engines")
def prepare_engines(run: stages.Run) -> list[Engine]:
    """Load or build what the engines need; none of it counts against the budget."""
    return stages.prepare_engines(run)
