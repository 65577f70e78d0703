"""The one configuration: validated at the door, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline_lib.cores import available_cores
from pipeline_lib.data_config import DataConfig
from pipeline_lib.metrics import ACCURACY, METRICS
from pipeline_lib.names import ENGINES, FAMILIES, PRUNERS, SAMPLERS, load
from pipeline_lib.notification import resolve
from pipeline_lib.options import (
    AFTER,
    SEARCH,
    Option,
    choice,
    explain,
    family_names,
    offered,
    plain_name,
    spaces,
)
from pipeline_lib.own_code import Own
from pipeline_lib.settings import Values, normalised, parsed, renamed

Promote = Literal["significant", "better", "never"]
Test = Literal["promotion", "always", "never"]
USUAL = ("convnet",)
"""The families that are searched where none is named."""
ALL = "all"
"""Stands, among the engines, for those that search by default."""

_FAMILY = Option("Search", metavar="NAME|FILE.py", repeats=True)
_LONG_ENOUGH_SECONDS = 300.0  # for an epoch of the chapter's slowest network


class RunConfig(DataConfig):
    """What one run does. Its fields are the parameters of the flow `automl`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: Annotated[str, Option("What is best", metavar="NAME|file.py:function")] = Field(
        ACCURACY.name,
        description=f"What the best model is best by, on validation: {', '.join(METRICS)}, or a "
        "function of a Python file, (labels or probabilities, targets) to a number.",
    )
    engine: Annotated[str, SEARCH] = Field(
        "all",
        description="Engine that searches; 'all' runs those that search by default, side by side.",
        json_schema_extra=offered(lambda: [ALL, *ENGINES]),
    )
    budget_seconds: Annotated[
        float, Field(gt=0, le=30 * 86400), Option("Search", ("budget",), "90s|10m|2h")
    ] = Field(
        120.0,
        description="Seconds for search and final trainings together; above 0, at most 30 days.",
    )
    trials: Annotated[Annotated[int, Field(ge=1)] | None, Option("Search", metavar="N")] = Field(
        None, description="Maximum number of trials; by default the budget is the only limit."
    )
    sampler: Annotated[str, SEARCH] = Field(
        "tpe", description="Optuna's sampler.", json_schema_extra=offered(lambda: SAMPLERS)
    )
    pruner: Annotated[str, SEARCH] = Field(
        "rungs",
        description="Optuna's pruner: 'rungs' lets the best third of the trials at a rung climb "
        "to the next, 'median' the better half, 'none' all of them.",
        json_schema_extra=offered(lambda: PRUNERS),
    )
    space: Annotated[str, SEARCH] = Field(
        "default",
        description="Search space: 'default', or 'book' for the chapter's; "
        "tiny_cs and full are Auto-PyTorch's alone.",
        json_schema_extra=offered(spaces),
    )
    family: Annotated[tuple[str, ...], BeforeValidator(family_names), _FAMILY] = Field(
        USUAL,
        min_length=1,
        description=f"Kinds of network that Optuna searches: {', '.join(FAMILIES)}, or a Python "
        "file of your own; several share the workers.",
    )
    set: Annotated[tuple[str, ...], Option("Search", metavar="NAME=VALUE", repeats=True)] = Field(
        (),
        description="Fixed value of a hyperparameter, such as lr=0.001, or its range or choices, "
        "such as 'width=[32,64]'; names are those of `automl space`.",
    )
    workers: Annotated[int, Field(ge=1, le=256), SEARCH] = Field(
        default_factory=available_cores,
        description="Trials that run in parallel, 1 to 256; by default one per core.",
    )
    seed: Annotated[
        Annotated[int, Field(ge=0, lt=2**32)] | Literal["random"],
        Option("Search", metavar="N|random"),
    ] = Field(
        0,
        description="Seed of the search: sampler, initialisation, shuffling, augmentation; "
        "'random' draws one for each run.",
    )
    warm_start: Annotated[tuple[str, ...], Option("Search", metavar="RUN,…")] = Field(
        (),
        description="Runs whose best configurations are tried first; 'past': the latest of the "
        "same data, split, search space and metric.",
    )
    first_rung: Annotated[Annotated[int, Field(ge=1)] | None, Option("Search", metavar="N")] = (
        Field(
            None,
            description="Training samples at Optuna's lowest rung; by default what suits data, "
            "budget and speed.",
        )
    )
    name: Annotated[str | None, SEARCH] = Field(
        None,
        description="Name of the run and its study; an existing study is continued. "
        "By default data set and time.",
    )
    trial_seconds: Annotated[
        Annotated[float, Field(gt=0, le=30 * 86400)] | None, Option("Search", metavar="SECONDS")
    ] = Field(
        None,
        description="Seconds that one rung of a trial may take; by default the budget, "
        "at least 300.",
    )
    trial_memory: Annotated[int, Field(ge=512, le=2**20), Option("Search", metavar="MIB")] = Field(
        2048,
        description="MiB, 512 or more, that a trial may allocate beyond what its process starts "
        "with; on Linux.",
    )
    promote: Annotated[Promote, AFTER] = Field(
        "significant",
        description="When the winner replaces the champion: if it is significantly better, "
        "if it is better at all, or never.",
    )
    test: Annotated[Test, AFTER] = Field(
        "promotion",
        description="When the test set is opened for the winner: if it is to become champion, "
        "always, or never; no model is measured on it twice.",
    )
    ensemble: Annotated[int, Field(ge=1, le=20), AFTER] = Field(
        8,
        description="Maximum number of models in the ensemble, fewer in a short budget; "
        "1: no ensemble.",
    )
    validation_folds: Annotated[int, Field(ge=1, le=20), AFTER] = Field(
        1,
        description="Folds that the best models are trained on again, to compare them; takes, "
        "beyond the budget, as many times the seconds of a final. 1: the plain split alone.",
    )
    notify: Annotated[str | None, Option("After the search", metavar="URL")] = Field(
        None,
        exclude=True,  # an address holds secrets: it is in no record of a run
        repr=False,
        description="Notification URL, called at the end of the run: https://… of a webhook, the "
        "address of a service of Apprise, or env:NAME, the variable that holds it: only so Prefect "
        "does not keep it.",
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
            raise explain(error, cls.model_fields) from error

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> RunConfig:
        """The configuration that a record holds; an older one has one seed for search and split.

        Raises:
            ConfigurationError: As `parse`.
        """
        return cls.parse({"split_seed": fields.get("seed", 0), **renamed(fields)})

    @field_validator("metric")
    @classmethod
    def _address_or_name(cls, value: str) -> str:
        """A user's file by its whole path; whether it is there is asked when a run begins."""
        own = Own.parse("metric", value)
        return own.address if own else choice("metric", value, [*METRICS])

    @field_validator("set", mode="before")
    @classmethod
    def _settings(cls, value: object) -> object:
        """A list of texts, or values by name."""
        return normalised(value)

    @field_validator("engine", "sampler", "pruner")
    @classmethod
    def _in_its_table(cls, value: str, info: ValidationInfo) -> str:
        tables = {"engine": (ALL, *ENGINES), "sampler": SAMPLERS, "pruner": PRUNERS}
        field = str(info.field_name)
        return choice(field, value, tables[field])

    @model_validator(mode="after")
    def _space_of_every_engine(self) -> RunConfig:
        for engine in self.engines:
            choice("space", self.space, load(ENGINES[engine]).spaces, whose=f" to {engine}")
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
    def drawn_seed(self) -> int:
        """The seed of the search, once one is drawn where none is given."""
        assert isinstance(self.seed, int)
        return self.seed

    @property
    def families(self) -> tuple[str, ...]:
        """The families that Optuna searches; `book` may be named as a space, too."""
        return ("book",) if self.space == "book" and self.family == USUAL else self.family

    @property
    def rung_seconds(self) -> float:
        """Seconds after which a rung is killed: far more than a healthy one takes."""
        return self.trial_seconds or max(_LONG_ENOUGH_SECONDS, self.budget_seconds)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that search."""
        if self.engine != ALL:
            return (self.engine,)
        return tuple(name for name in ENGINES if load(ENGINES[name]).by_default)

    @property
    def settings(self) -> dict[str, Values]:
        """What `set` says: by hyperparameter its fixed value, or a tuple of bounds or choices."""
        return parsed(self.set)
