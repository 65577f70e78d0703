"""A configuration as a YAML file: what `automl run --config` reads and every run leaves."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError, UserError
from pipeline_lib.files import write_whole
from pipeline_lib.formats import shorten_home
from pipeline_lib.options import parse_seconds
from pipeline_lib.settings import renamed

CONFIG_FILE = "run.yaml"
"""File of a run: its effective configuration."""


@dataclass(frozen=True)
class ConfigFile:
    """Fields of a configuration, and the line of each in the file that they are from."""

    path: str
    fields: Mapping[str, Any]
    lines: Mapping[str, int]  # from 1

    @classmethod
    def read(cls, path: str) -> ConfigFile:
        """The fields that a YAML file gives.

        Raises:
            ConfigurationError: It cannot be read, or is no list of names and values.
        """
        import yaml

        try:
            loader = yaml.SafeLoader(Path(path).expanduser().read_text(encoding="utf-8"))
            node = loader.get_single_node()
            lines = _lines(path, node)
            fields = loader.construct_document(node) if node is not None else {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{path}:{mark.line + 1}" if mark else path
            raise ConfigurationError(place, f"is not YAML ({error.problem})") from error
        except (OSError, ValueError, RuntimeError, yaml.YAMLError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ConfigurationError("config", f"cannot be read ({reason})", value=path) from error
        return cls(path, renamed(fields), lines)

    @contextmanager
    def blamed(self, but: Collection[str]) -> Iterator[None]:
        """Name file and line in the errors of fields that are from here; `but` are not."""
        try:
            yield
        except UserError as error:
            named = str(error.value) if error.where == "configuration" else error.where
            field = re.split(r"\W", named)[0]
            line = self.lines.get(field) or self.lines.get(_SHORT.get(field, ""))
            if line is None or field in but:
                raise
            raise type(error)(f"{self.path}:{line}", str(error)) from error


_SHORT = {"budget_seconds": "budget"}


def in_seconds(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with `budget`, a duration such as `10m`, as `budget_seconds`.

    Raises:
        ConfigurationError: It is no duration, or given in both ways.
    """
    changed = dict(fields)
    if "budget" in changed:
        if "budget_seconds" in changed:
            raise ConfigurationError("budget", "is given twice", remedy="leave out budget_seconds")
        changed["budget_seconds"] = parse_seconds(str(changed.pop("budget")))
    return changed


def write_configuration(path: Path, config: RunConfig, name: str) -> Path:
    """Write the configuration of a run, from which another can be run; returns `path`.

    The run's name is left to a comment: with it, the other would continue the same study.
    """
    import yaml

    fields = config.model_dump(mode="json", exclude={"name"})
    if config.data_root:
        fields["data_root"] = shorten_home(config.data_root)
    head = f"# {name}, by automl {version('automl')}. Retraining: automl run --config {path.name}\n"
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return write_whole(path, head + text)


def _lines(path: str, node: Any) -> dict[str, int]:
    import yaml

    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        problem = "holds no fields of the configuration"
        raise ConfigurationError(path, problem, remedy="write lines such as `budget: 10m`")
    lines: dict[str, int] = {}
    for key, _value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigurationError(f"{path}:{line}", "is no name of a field")
        if key.value in lines:
            problem = f"{key.value} is given twice, first in line {lines[key.value]}"
            raise ConfigurationError(f"{path}:{line}", problem)
        lines[key.value] = line
    return lines
