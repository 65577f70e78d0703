"""What earlier studies of an engine found best, for a study that starts from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.trial import Trial, by_regret

FROM = "from"
"""Note of a trial whose configuration was an earlier run's: which trial of which run."""
MOST = 3
"""Configurations that a study takes over, of all earlier ones together."""


def best_earlier(request: SearchRequest, trials: Callable[[str, Path], list[Trial]]) -> list[Trial]:
    """Trials of the studies that a request starts from, best first, each configuration once."""
    found = [
        trial
        for study, directory in request.warm_start
        for trial in trials(study, directory)
        if trial.rungs
    ]
    best: dict[str, Trial] = {}
    for trial in sorted(found, key=by_regret):
        best.setdefault(json.dumps(dict(trial.configuration), sort_keys=True), trial)
    return list(best.values())
