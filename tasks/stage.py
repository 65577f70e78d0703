"""A stage of a run as a Prefect task."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipeline_lib.errors import UserError
from pipeline_lib.run.stages import Stage, Work
from tasks.publishing import PUBLISHED
from tasks.waiting import waiting_for

_RETRY_SECONDS = 5


def as_task(stage: Stage) -> Any:
    """The task that runs a stage and publishes what it made.

    It is tried as often as the stage says, whatever Prefect's settings are, and never again for a
    mistake of the user's. That it goes on is said where the run is watched.
    """

    def run(work: Work) -> None:
        with waiting_for(stage.name):
            stage.do(work)
            if stage.name in PUBLISHED:
                PUBLISHED[stage.name](work)

    retries = {
        "retries": stage.tries - 1,
        "retry_delay_seconds": _RETRY_SECONDS,
        "retry_condition_fn": infrastructure_failed,
        "timeout_seconds": stage.timeout_seconds,
    }
    return plain_task(stage.name, run, **retries)


def plain_task(name: str, function: Callable[..., Any], **options: Any) -> Any:
    """A task whose runs are called as it is, tried once; nothing of it is taken from a cache."""
    once = {"retries": 0, "cache_policy": NO_CACHE, "persist_result": False}
    named = functools.partial(task, name=name, task_run_name=name)
    return named(**{**once, **options})(function)


def infrastructure_failed(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what a second try can mend, never a mistake of the user's."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, UserError)
