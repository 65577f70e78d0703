"""Waiting for a tracking store that is away for a while: locked, restarted, unreachable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient

_P = ParamSpec("_P")
_T = TypeVar("_T")

_AWAY = {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"}  # MLflow's codes for what may pass
_LONGEST_PAUSE = 8.0
_log = logging.getLogger("automl")


class Patience:
    """Repeats a call while the store is away, with pauses that grow, up to a limit.

    The limit counts from the first failure after a success, for all calls together: once it is
    spent, each further call is tried once, until one succeeds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._away_since: float | None = None

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the function returns; raises what it raises when patience ends."""
        from mlflow.exceptions import MlflowException

        pause = 0.25
        while True:
            try:
                result = function(*args, **kwargs)
            except MlflowException as error:
                if error.error_code not in _AWAY or self._is_spent(error):
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._away_since = None
                return result

    def _is_spent(self, error: Exception) -> bool:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            _log.warning("MLflow does not take a record (%s): trying again", first_line(error))
        return now - self._away_since > self._seconds


class PatientClient:
    """MLflow's client, each call made with patience."""

    def __init__(self, client: MlflowClient, patience: Patience) -> None:
        self._client = client
        self._patience = patience

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._patience.call(method, *args, **kwargs)

        return call


def first_line(error: BaseException) -> str:
    """What an error says, in one line; of SQLAlchemy's several, the one with the cause."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and "autoflush" not in line), type(error).__name__)
