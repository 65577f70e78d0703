"""The parameters of the flow `automl` are the fields of the configuration; nothing is said twice.

So the form of a deployment shows what `RunConfig` says of each: unit, range and allowed values.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from pipeline_lib.config import RunConfig

_Outcome = dict[str, Any]


def takes_the_configuration(run: Callable[[RunConfig], _Outcome]) -> Callable[..., _Outcome]:
    """Let a function of a configuration take the configuration's fields; None is a default."""

    @functools.wraps(run)
    def with_fields(**fields: Any) -> _Outcome:
        given = {name: value for name, value in fields.items() if value is not None}
        return run(RunConfig.parse(given))

    parameters = [_parameter(name, field) for name, field in RunConfig.model_fields.items()]
    with_fields.__signature__ = inspect.Signature(parameters)
    return with_fields


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = field.annotation
    for constraint in field.metadata:
        kind = Annotated[kind, constraint]
    default = field.default
    if field.default_factory is not None:  # of the machine that the run will be on
        kind, default = kind | None, None
    shown = Field(default, description=field.description, json_schema_extra=field.json_schema_extra)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=kind)
