"""Search spaces, define-by-run: what a trial may suggest.

A space is a function from an Optuna trial to a Configuration. To add one, write the function and
name it in `SPACES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_lib.errors import ConfigurationError

if TYPE_CHECKING:  # the names of spaces are asked for by who has no need of Optuna
    import optuna
    from optuna.distributions import BaseDistribution

BASE_MULTIPLY_ADDS = 1.6e6
"""What a network may cost in a run of up to `BASE_SECONDS`; beyond that the limit grows along."""
BASE_SECONDS = 150.0
MOST_GROWTH = 6.5
"""Beyond, samples are a better use of the time than width is."""
LONG_FROM = 4e6
"""What networks may cost where finals make ten passes. There stages may be double and padded, and
a network may set images upright first. Images are sheared and labels smoothed a little: rungs are
too short to show what that is worth."""
_DESCRIBING_TRIALS = 64


class Suggests(Protocol):
    """The part of `optuna.Trial` (and of `optuna.trial.FixedTrial`) that spaces use."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...  # noqa: D102
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...  # noqa: D102
    def suggest_int(self, name: str, low: int, high: int) -> int: ...  # noqa: D102


def growth(budget_seconds: float) -> float:
    """How much larger than in a short run networks may be, ≥ 1."""
    return min(max(1.0, budget_seconds / BASE_SECONDS), MOST_GROWTH)


def default(trial: Suggests, budget_seconds: float) -> dict[str, Any]:
    """Networks that pool early, sized to the budget; no region of it is hopeless (decision 12)."""
    limit = BASE_MULTIPLY_ADDS * growth(budget_seconds)
    stem = trial.suggest_categorical("stem", ["stride", "pool"])
    chosen: dict[str, Any] = {
        "multiply_adds": trial.suggest_float("multiply_adds", limit / 2, limit, log=True),
        "stem": stem,
        "stem_kernel": 5 if stem == "stride" else 3,
        "conv3": trial.suggest_categorical("conv3", [1.0, 1.5, 2.0]),
        "padding": "valid",
        "fc": trial.suggest_categorical("fc", [64, 128]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.2),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "sgd"]),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128]),
        "label_smoothing": 0.05,
        "augmentation": "sheared",
    }
    if limit >= LONG_FROM:
        chosen["double"] = trial.suggest_categorical("double", [False, True])
        chosen["padding"] = trial.suggest_categorical("padding", ["valid", "same"])
        chosen["upright"] = trial.suggest_categorical("upright", [False, True])
    else:
        chosen["label_smoothing"] = trial.suggest_categorical("label_smoothing", [0.05, 0.1])
        chosen["augmentation"] = trial.suggest_categorical("augmentation", ["shift", "affine"])
    if chosen["optimizer"] == "adamw":
        chosen["lr"] = trial.suggest_float("adamw_lr", 4e-3, 2e-2, log=True)
        chosen["weight_decay"] = trial.suggest_float("adamw_weight_decay", 1e-2, 1e-1, log=True)
    else:
        chosen["lr"] = trial.suggest_float("sgd_lr", 7e-2, 3e-1, log=True)
        chosen["weight_decay"] = trial.suggest_float("sgd_weight_decay", 1e-4, 1e-3, log=True)
    return chosen


def book(trial: Suggests, budget_seconds: float) -> dict[str, Any]:
    """The chapter's space, exactly; its learning rates stop Adam and RMSprop from learning."""
    chosen: dict[str, Any] = {"num_conv_layers": trial.suggest_int("num_conv_layers", 1, 4)}
    for i in range(chosen["num_conv_layers"]):
        chosen[f"conv_depth_{i}"] = trial.suggest_int(f"conv_depth_{i}", 16, 64)
    chosen["conv_dropout"] = trial.suggest_float("conv_dropout", 0.1, 0.4)
    chosen["num_fc_layers"] = trial.suggest_int("num_fc_layers", 1, 2)
    for i in range(chosen["num_fc_layers"]):
        chosen[f"fc_output_feat_{i}"] = trial.suggest_int(f"fc_output_feat_{i}", 16, 64)
        chosen[f"fc_dropout_{i}"] = trial.suggest_float(f"fc_dropout_{i}", 0.1, 0.4)
    names = ["Adam", "Adadelta", "RMSprop", "SGD"]
    chosen["optimizer"] = trial.suggest_categorical("optimizer", names)
    chosen["lr"] = trial.suggest_float("lr", 0.1, 0.5, log=True)
    chosen["batch_size"] = 32
    return chosen


SPACES: dict[str, Callable[[Suggests, float], dict[str, Any]]] = {"default": default, "book": book}

_EARLY_POOL: dict[str, Any] = {
    "multiply_adds": 8.5e5,
    "stem": "pool",
    "conv3": 2.0,
    "fc": 64,
    "dropout": 0.1,
    "optimizer": "adamw",
    "batch_size": 64,
    "adamw_lr": 1e-2,
    "adamw_weight_decay": 2e-2,
}
_STRIDED = {**_EARLY_POOL, "stem": "stride", "dropout": 0.0, "adamw_lr": 6e-3}
_DEEP = {
    **_EARLY_POOL,
    "multiply_adds": 1.55e6,
    "padding": "same",
    "double": True,
    "upright": True,
    "conv3": 1.5,
    "batch_size": 128,
    "dropout": 0.2,
    "adamw_lr": 5e-3,
}


def priors(name: str, budget_seconds: float) -> list[dict[str, Any]]:
    """What worked before, to try first, as parameters of `suggest_…`; sized to the budget."""
    if name != "default":
        return []
    grown = growth(budget_seconds)
    if BASE_MULTIPLY_ADDS * grown < LONG_FROM:
        short = {"label_smoothing": 0.05, "augmentation": "shift"}
        known = [prior | short for prior in (_STRIDED, _EARLY_POOL)]
    else:
        plain = {"double": False, "padding": "valid", "upright": False}
        known = [_DEEP, *(prior | plain for prior in (_STRIDED, _EARLY_POOL))]
    return [prior | {"multiply_adds": prior["multiply_adds"] * grown} for prior in known]


def space_function(name: str) -> Callable[[Suggests, float], dict[str, Any]]:
    """The space of this name.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in SPACES:
        listed = f"choose from {', '.join(SPACES)}"
        raise ConfigurationError("space", "is unknown to Optuna", value=name, remedy=listed)
    return SPACES[name]


def describe_space(name: str, budget_seconds: float) -> list[dict[str, Any]]:
    """The hyperparameters of a space, as JSON values: name, type, range, log, default, conditions.

    What not every proposal has is said to be conditional.
    """
    asked = _ask_often(name, budget_seconds)
    return [
        {
            "name": parameter,
            "type": type(distribution).__name__.removesuffix("Distribution"),
            "range": _range(distribution),
            "log": getattr(distribution, "log", False),
            "default": None,
            "conditions": []
            if all(parameter in trial.params for trial in asked)
            else ["depends on other choices"],
        }
        for parameter, distribution in _drawn_from(asked).items()
    ]


def distributions(name: str, budget_seconds: float) -> dict[str, BaseDistribution]:
    """What each parameter of a space is drawn from."""
    return _drawn_from(_ask_often(name, budget_seconds))


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a parameter that is drawn from this may have such a value."""
    from optuna.distributions import CategoricalDistribution

    known = _range(distribution)
    if isinstance(distribution, CategoricalDistribution):
        return value in known
    return bool(known[0] <= value <= known[1])


def _ask_often(name: str, budget_seconds: float) -> list[optuna.Trial]:
    """Trials at random, enough to show every branch of a space that is define-by-run."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    asked = [study.ask() for _ in range(_DESCRIBING_TRIALS)]
    for trial in asked:
        space_function(name)(trial, budget_seconds)
    return asked


def _drawn_from(asked: list[optuna.Trial]) -> dict[str, BaseDistribution]:
    return {n: d for trial in asked for n, d in trial.distributions.items()}


def _range(distribution: object) -> list[Any]:
    """The choices, or the lowest and the highest number."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]
