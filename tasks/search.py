"""Searching with an engine, whichever it is, as a Prefect task."""

from __future__ import annotations

import threading
from typing import Any

from pipeline_lib.run.run import search as search_with
from pipeline_lib.run.stages import Search
from pipeline_lib.search.engine import Engine
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial
from tasks.stage import plain_task
from tasks.watching import Watch


def search_task(engine: Engine) -> Any:
    """The task of an engine's search."""
    return plain_task(f"search with {engine.title}", _search)


def _search(search: Search, record: Record, stop: threading.Event) -> list[Trial]:
    """Search; every trial is recorded and shown as it ends."""
    with Watch(search.progress, record) as watch:
        return search_with(search.engine, search.request, stop, watch.on_trial)
