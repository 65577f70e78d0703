"""What the tasks of the flow have in common."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipeline_lib.errors import UserError


def stage(name: str, **options: Any) -> Any:
    """A task whose runs are called as it is; nothing of it is taken from a cache.

    It is tried once unless `options` say otherwise, whatever Prefect's settings are.
    """
    once = {"retries": 0, "cache_policy": NO_CACHE, "persist_result": False}
    return task(name=name, task_run_name=name, **{**once, **options})


def infrastructure_failed(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what a second try can mend, never a mistake of the user's."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, UserError)


def stage_with_retries(name: str, **options: Any) -> Any:
    """A stage that is tried three times, unless the user is to mend something."""
    retry = {"retries": 2, "retry_delay_seconds": 5, "retry_condition_fn": infrastructure_failed}
    return stage(name, **retry, **options)
