"""What the tasks of the flow have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipeline_lib.errors import UserError
from tasks.waiting import waiting_for


def stage(name: str, *, shown: bool = True, **options: Any) -> Any:
    """A task whose runs are called as it is; nothing of it is taken from a cache.

    It is tried once unless `options` say otherwise, whatever Prefect's settings are. That it goes
    on is said where the run is watched, unless it shows that better itself.
    """
    once = {"retries": 0, "cache_policy": NO_CACHE, "persist_result": False}

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def said(*arguments: Any, **named: Any) -> Any:
            with waiting_for(name):
                return function(*arguments, **named)

        body = said if shown else function
        return task(name=name, task_run_name=name, **{**once, **options})(body)

    return decorate


def infrastructure_failed(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what a second try can mend, never a mistake of the user's."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, UserError)


def stage_with_retries(name: str, **options: Any) -> Any:
    """A stage that is tried three times, unless the user is to mend something."""
    retry = {"retries": 2, "retry_delay_seconds": 5, "retry_condition_fn": infrastructure_failed}
    return stage(name, **retry, **options)
