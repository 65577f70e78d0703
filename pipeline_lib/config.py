"""The one configuration: validated at the door, then frozen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline_lib.cores import available_cores
from pipeline_lib.data.catalogue import CATALOGUE, find
from pipeline_lib.engines.autopytorch import spaces as autopytorch_spaces
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.notification import resolve

Sampler = Literal["tpe", "cmaes", "random"]
Promote = Literal["significant", "better", "never"]
Test = Literal["promotion", "always", "never"]
SPACES = {"optuna": ("default", "book"), "autopytorch": tuple(autopytorch_spaces.SPACES)}
"""Search spaces by engine. `default` and `book` are known to both."""

_LONG_ENOUGH_SECONDS = 300.0  # for an epoch of the chapter's slowest network
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class RunConfig(BaseModel):
    """What one run does. Its fields are the parameters of the flow `automl`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(
        "mnist",
        description="Name of a data set in the catalogue.",
        json_schema_extra={"enum": list(CATALOGUE)},
    )
    engine: str = Field(
        "all",
        description="Which engine searches; 'all' runs each side by side.",
        json_schema_extra={"enum": ["all", *SPACES]},
    )
    budget_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = Field(
        120.0,
        description="Seconds for search and final trainings together; above 0, at most 30 days.",
    )
    trials: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Search trials at most; None leaves the clock as the only limit."
    )
    sampler: Sampler = Field("tpe", description="How Optuna proposes configurations.")
    space: str = Field(
        "default",
        description="Search space: 'default', or 'book' for the chapter's; "
        "tiny_cs and full are Auto-PyTorch's alone.",
        json_schema_extra={"enum": [*dict.fromkeys(chain(*SPACES.values()))]},
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=available_cores,
        description="Trials that run at the same time, 1 to 256; None: one a core.",
    )
    search_space_updates: tuple[dict[str, Any], ...] = Field(
        (), description="New ranges for Auto-PyTorch: rows of node, hyperparameter, range, log."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] | Literal["random"] = Field(
        0,
        description="Seed of the search: sampler, initialisation, shuffling, augmentation; "
        "'random' draws one for each run.",
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0,
        description="Seed of the split into training and validation images; models are compared "
        "with a champion of the same split only.",
    )
    warm_start: tuple[str, ...] = Field(
        (),
        description="Runs whose best configurations are tried first; 'past': the latest of the "
        "same data, split and search space.",
    )
    name: str | None = Field(
        None, description="Name of the study; an existing one is continued. None makes one up."
    )
    validation_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Share of the training data held out for selection, between 0 and 1."
    )
    data: str | None = Field(
        None, description="Directory that already holds the data set in torchvision's layout."
    )
    first_rung: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Training samples at Optuna's lowest rung; None: 10,000."
    )
    trial_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] | None = Field(
        None,
        description="Seconds that a rung of a trial may take; None: the budget, at least 300.",
    )
    trial_memory: Annotated[int, Field(ge=512, le=2**20)] = Field(
        2048,
        description="MiB, 512 or more, that a trial may take beyond what its process starts with; "
        "on Linux.",
    )
    promote: Promote = Field(
        "significant",
        description="When the winner replaces the champion: shown to be better, better, or never.",
    )
    test: Test = Field(
        "promotion",
        description="When the test set is opened for the winner: if it is to become champion, "
        "always, or never; no model is measured on it twice.",
    )
    notify: str | None = Field(
        None,
        exclude=True,  # an address holds secrets: it is in no record of a run
        repr=False,
        description="Whom to tell of the end: https://… of a webhook, the address of a service of "
        "Apprise, or env:NAME, the variable that holds it: only so Prefect does not keep it.",
    )
    validation_folds: Annotated[int, Field(ge=1, le=20)] = Field(
        1,
        description="Folds that the best models are trained on again, to compare them; takes, "
        "beyond the budget, as many times the seconds of a final. 1: the plain split alone.",
    )
    ensemble: Annotated[int, Field(ge=1, le=20)] = Field(
        8, description="Models that an ensemble may have, fewer in a short budget; 1 builds none."
    )

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> RunConfig:
        """The configuration made of these fields; absent ones take their defaults.

        Raises:
            ConfigurationError: Names the first field that is wrong, its value and the remedy.
        """
        return cls.model_validate(dict(fields))

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, fields: Any, validate: ModelWrapValidatorHandler[RunConfig]) -> RunConfig:
        """One line about the first field that is wrong, however the configuration is made."""
        try:
            return validate(fields)
        except ValidationError as error:
            raise _explain(error) from error

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> RunConfig:
        """The configuration that a record holds; an older one has one seed for search and split.

        Raises:
            ConfigurationError: As `parse`.
        """
        return cls.parse({"split_seed": fields.get("seed", 0), **fields})

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, value: str) -> str:
        find(value)
        return value

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        return choice("engine", value, ("all", *SPACES))

    @model_validator(mode="after")
    def _space_of_every_engine(self) -> RunConfig:
        for engine in self.engines:
            choice("space", self.space, SPACES[engine], whose=f" to {engine}")
        updates = autopytorch_spaces.parse_updates(self.search_space_updates)
        if updates and "autopytorch" not in self.engines:
            problem = "are for autopytorch, which is not searched with"
            remedy = "leave them out, or choose engine all or autopytorch"
            raise ConfigurationError(autopytorch_spaces.FIELD, problem, remedy=remedy)
        return self

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        return value if value is None else plain_name(value)

    @field_validator("warm_start", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A text holds names with commas between."""
        names = value.split(",") if isinstance(value, str) else value
        if isinstance(names, list | tuple):
            return tuple(plain_name(str(name).strip(), "warm_start") for name in names)
        return names

    @field_validator("notify")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            resolve(value)
        return value

    @property
    def rung_seconds(self) -> float:
        """Seconds after which a rung is killed: far more than a healthy one takes."""
        return self.trial_seconds or max(_LONG_ENOUGH_SECONDS, self.budget_seconds)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that search."""
        return tuple(SPACES) if self.engine == "all" else (self.engine,)


def plain_name(value: str, field: str = "name") -> str:
    """The name of a run, when it can be the name of a directory and of nothing else.

    Raises:
        ConfigurationError: It cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        remedy = "use letters, digits, '.', '_' and '-', at most 100, first a letter or digit"
        raise ConfigurationError(field, "is not a plain name", value=value, remedy=remedy)
    return value


def choice(field: str, value: str, known: Any, whose: str = "") -> str:
    """`value`, when it is one of `known`.

    Raises:
        ConfigurationError: Names the nearest of `known`, and all of them.
    """
    if value in known:
        return value
    near = difflib.get_close_matches(value, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(known)
    raise ConfigurationError(
        field, f"is unknown{whose}", value=value, remedy=f"{hint}choose from {listed}"
    )


def parse_seconds(text: str, field: str = "budget") -> float:
    """Seconds of '90', '90s', '10m', '1.5h' or '1h30m'.

    Raises:
        ConfigurationError: The text is no duration, or not above zero.
    """
    pieces = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    remedy = "write seconds, or a duration such as 90s, 10m, 2h"
    if "".join(number + unit for number, unit in pieces) != text.strip() or not pieces:
        raise ConfigurationError(field, "is not a duration above zero", value=text, remedy=remedy)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if seconds <= 0:
        raise ConfigurationError(field, "must be above zero", value=text, remedy=remedy)
    return seconds


def _explain(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "configuration"
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        return _unknown_field(field)
    if first["type"] == "literal_error":
        annotation = RunConfig.model_fields[field].annotation
        try:
            choice(field, str(value), get_args(annotation))
        except ConfigurationError as unknown:
            return unknown
    problem = first["msg"].replace("Input should be", "must be")
    known = RunConfig.model_fields.get(field)
    remedy = known.description or "" if known else ""
    return ConfigurationError(field, problem, value=value, remedy=remedy)


def _unknown_field(field: str) -> ConfigurationError:
    try:
        choice("configuration", field, tuple(RunConfig.model_fields))
    except ConfigurationError as unknown:
        return unknown
    return ConfigurationError(field, "is given twice")
