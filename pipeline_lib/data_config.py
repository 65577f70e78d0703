"""The part of the configuration that says which data there are, and how they are divided."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pipeline_lib.addresses import default_name, settled
from pipeline_lib.home import user_path
from pipeline_lib.options import DATA, Option, pattern, plain_name


class DataConfig(BaseModel):
    """Fields of `RunConfig` about the data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(
        "mnist",
        description="The data: a name of the catalogue or of torchvision, a folder of class "
        "folders, a .csv, .parquet or .npz file, or FILE.py:FUNCTION.",
    )
    data_root: Annotated[str | None, Option("Data", ("data-root", "data"), "DIR")] = Field(
        None,
        validation_alias=AliasChoices("data_root", "data"),  # as older records have it
        description="Directory that already holds the data set, in torchvision's layout.",
    )
    problem: Annotated[str | None, DATA] = Field(
        None,
        description="Name of model, experiment and ledger; by default that of the data.",
    )
    target: Annotated[str | None, Option("Data", metavar="COLUMN")] = Field(
        None, description="Column of a table that holds the class."
    )
    image_column: Annotated[str | None, Option("Data", metavar="COLUMN")] = Field(
        None, description="Column of a table that holds the picture's path."
    )
    image_root: Annotated[str | None, Option("Data", metavar="DIR")] = Field(
        None, description="Directory that those paths start from; by default the table's."
    )
    image_size: Annotated[str | None, Option("Data", metavar="SIDE|HxW")] = Field(
        None,
        description="Pixels that pictures are stored at; by default what their sizes say "
        "(docs/data.md).",
    )
    validation_data: Annotated[str | None, Option("Data", metavar="DATA")] = Field(
        None, description="More data of the same kind, for validation alone."
    )
    test_data: Annotated[str | None, Option("Data", metavar="DATA")] = Field(
        None, description="More data of the same kind, for the test alone."
    )
    test_share: Annotated[float, Field(gt=0, lt=1), DATA] = Field(
        0.2, description="Share sealed for the test where the data have no test part."
    )
    validation_share: Annotated[float, Field(gt=0, lt=1), DATA] = Field(
        0.1, description="Share of the training data held out for validation, between 0 and 1."
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**32), DATA] = Field(
        0,
        description="Seed of the split into training and validation images; models are compared "
        "with a champion of the same split only.",
    )
    group_column: Annotated[str | None, Option("Data", metavar="COLUMN")] = Field(
        None, description="Column of a table whose equal values stay in one part."
    )
    group_by: Annotated[str | None, Option("Data", metavar="REGEX")] = Field(
        None,
        description="Pattern in a picture's path; pictures with the same first group stay in one "
        "part.",
    )
    time_column: Annotated[str | None, Option("Data", metavar="COLUMN")] = Field(
        None, description="Column of a table by which the latest rows are test, then validation."
    )
    split_column: Annotated[str | None, Option("Data", metavar="COLUMN")] = Field(
        None, description="Column of a table that says train, validation or test."
    )
    skip_unreadable: Annotated[bool, DATA] = Field(
        False, description="Leave out pictures that cannot be read, however many they are."
    )

    @field_validator("dataset", "validation_data", "test_data")
    @classmethod
    def _settled(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Wherever the run is continued from, it finds the same data."""
        return value if value is None else settled(str(info.field_name), value)

    @field_validator("data_root", "image_root")
    @classmethod
    def _absolute(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else str(user_path(str(info.field_name), value))

    @field_validator("group_by")
    @classmethod
    def _with_a_group(cls, value: str | None) -> str | None:
        return value if value is None else pattern("group_by", value)

    @field_validator("problem")
    @classmethod
    def _plain_problem(cls, value: str | None) -> str | None:
        return value if value is None else plain_name(value, "problem")

    @property
    def problem_name(self) -> str:
        """What model, experiment and ledger are called."""
        return self.problem or default_name(self.dataset)

    def data_changed(self) -> dict[str, Any]:
        """What differs from the defaults, but for the data themselves and where they are.

        The seed of the split is always named.
        """
        fields = DataConfig.model_fields.items()
        changed = {n: v for n, field in fields if (v := getattr(self, n)) != field.default}
        kept = {name: v for name, v in changed.items() if name not in ("dataset", "data_root")}
        return {**kept, "split_seed": self.split_seed}

    def data_fields(self) -> tuple[Any, ...]:
        """The values of all fields about the data."""
        return tuple(getattr(self, name) for name in DataConfig.model_fields)
