"""Trials whose suggestions come from elsewhere than a sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Source = Callable[[str, str, Mapping[str, Any]], Any]
"""Kind of suggestion ("float", "int", "categorical"), name and arguments to the value."""


class Suggestions:
    """The suggesting half of `optuna.Trial`; `params` holds what was suggested so far.

    Optuna's older methods are there too, since books and notebooks call them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.params: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """As `optuna.Trial.suggest_float`."""
        limits = {"low": low, "high": high, "step": step, "log": log}
        return float(self._suggest("float", name, limits))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """As `optuna.Trial.suggest_int`."""
        limits = {"low": low, "high": high, "step": step, "log": log}
        return int(self._suggest("int", name, limits))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As `optuna.Trial.suggest_categorical`."""
        return self._suggest("categorical", name, {"choices": list(choices)})

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """As `suggest_float`."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """As `suggest_float` on a logarithmic scale."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """As `suggest_float` in steps of `q`."""
        return self.suggest_float(name, low, high, step=q)

    def __getattr__(self, name: str) -> Any:
        """Nothing: said in words that a user's traceback ends with."""
        raise AttributeError(f"the trial that a family gets can only suggest: it has no {name!r}")

    def _suggest(self, kind: str, name: str, arguments: Mapping[str, Any]) -> Any:
        self.params[name] = self._source(kind, name, arguments)
        return self.params[name]


def from_trial(trial: BaseTrial | Suggestions) -> Source:
    """Values that a trial suggests."""

    def source(kind: str, name: str, arguments: Mapping[str, Any]) -> Any:
        return getattr(trial, f"suggest_{kind}")(name, **arguments)

    return source


def from_configuration(configuration: Mapping[str, Any]) -> Source:
    """Values that a configuration holds: what was suggested before is suggested again."""

    def source(_kind: str, name: str, _arguments: Mapping[str, Any]) -> Any:
        if name not in configuration:
            raise KeyError(f"{name!r} was not suggested when this configuration was proposed")
        return configuration[name]

    return source
