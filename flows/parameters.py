"""The parameters of the flow and the options of `automl run` are the configuration's fields.

So the form of a deployment and `automl run --help` show what `RunConfig` says of each: unit, range
and allowed values.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import Field
from pydantic.fields import FieldInfo

from pipeline_lib.config import RunConfig
from pipeline_lib.formats import short
from pipeline_lib.options import SEARCH, Option

_METAVARS: dict[Any, str] = {int: "N", float: "X"}
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
    offered = {"enum": _choices(field)} if callable(field.json_schema_extra) else None
    shown = Field(default, description=field.description, json_schema_extra=offered)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=kind)


def takes_the_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command with `**fields` take an option for each field of the configuration.

    `dataset` is left to the command's own. Values are texts, which the configuration reads: what
    is wrong with one is said in one place.
    """

    @functools.wraps(command)
    def with_options(*given: Any, **named: Any) -> None:
        command(*given, **named)

    positional, *own, _fields = inspect.signature(command, eval_str=True).parameters.values()
    fields = {name: field for name, field in RunConfig.model_fields.items() if name != "dataset"}
    options = [_option(name, field) for name, field in fields.items()]
    with_options.__signature__ = inspect.Signature([positional, *options, *own])
    with_options.__annotations__ = {
        each.name: each.annotation for each in [positional, *options, *own]
    }
    return with_options


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    given = next((each for each in field.metadata if isinstance(each, Option)), SEARCH)
    names = given.names or (name.replace("_", "-"),)
    choices = _choices(field)
    default = field.default if field.default_factory is None else None
    listed = ",".join(default) if isinstance(default, tuple) else default
    shown = "" if listed in (None, "") else f" [default: {short(listed)}]"
    is_switch = field.annotation is bool
    option = typer.Option(
        *(f"--{each}" for each in names),
        metavar=None if is_switch else given.metavar or _metavar(name, field),
        help=f"{field.description}{shown}",
        rich_help_panel=given.group,
        autocompletion=lambda incomplete: [each for each in choices if each.startswith(incomplete)],
    )
    return inspect.Parameter(
        names[0].replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_kind(given, is_switch), option],
    )


def _kind(given: Option, is_switch: bool) -> Any:
    """What Typer makes of an option: texts, which the configuration reads, or a switch."""
    if is_switch:
        return bool | None
    return list[str] | None if given.repeats else str | None


def _metavar(name: str, field: FieldInfo) -> str:
    return "|".join(_choices(field)) or _METAVARS.get(field.annotation, name.upper())


def _choices(field: FieldInfo) -> list[str]:
    if callable(extra := field.json_schema_extra):
        schema: dict[str, Any] = {}
        extra(schema)
        return schema["enum"]
    return list(get_args(field.annotation)) if get_origin(field.annotation) is Literal else []
