"""What `--set NAME=VALUE` says: a fixed value, or a range or choices, of one hyperparameter.

A value is a number, `true`, `false`, a text, or a list of these: `lr=0.001`, `width=[32,64]`,
`activation=[relu,tanh]`. What a list means is up to the hyperparameter: the lowest and the highest
number, or the choices. Whether there is one of that name is for engines and families to say.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline_lib.errors import ConfigurationError

Value = int | float | str | bool
Values = Value | tuple[Value, ...]
"""A fixed value, or a range or choices."""

FIELD = "set"
"""The field of the configuration; in errors, the option `--set`."""
_REMEDY = 'write NAME=VALUE, such as lr=0.001 or "width=[32,64]"'
_ITEM = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*?)\s*(?:,|$)')


def normalised(given: Any) -> Any:
    """The settings in one form, `NAME=VALUE` texts sorted by name, so that equal ones are equal.

    Args:
        given: Such texts, one of them alone, or values by name; anything else is returned as it is.

    Raises:
        ConfigurationError: One is not of this form, or a name is given twice.
    """
    if isinstance(given, Mapping):
        pairs = [_pair(str(name), value) for name, value in given.items()]
    elif isinstance(given, str):
        pairs = [_parse(given)]
    elif isinstance(given, list | tuple) and all(isinstance(each, str) for each in given):
        pairs = [_parse(each) for each in given]
    else:
        return given
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(FIELD, "is given twice", value=name)
    return tuple(f"{name}={_text(values)}" for name, values in sorted(pairs, key=lambda p: p[0]))


def parsed(texts: Iterable[str]) -> dict[str, Values]:
    """The value of each hyperparameter by name: alone where it is fixed, a tuple for a list."""
    return dict(_parse(text) for text in texts)


def renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration with older ones' `search_space_updates` as `set`.

    What they say of scales is left out: a setting keeps that of the search space.
    """
    today = dict(fields)
    rows = today.pop("search_space_updates", ())
    if rows:
        today[FIELD] = {f"{r['node']}:{r['hyperparameter']}": list(r["range"]) for r in rows}
    return today


def _parse(text: str) -> tuple[str, Values]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(FIELD, "is no name with a value", value=text, remedy=_REMEDY)
    return _pair(name, value)


def _pair(name: str, given: Any) -> tuple[str, Values]:
    name = name.strip()
    if not name or "=" in name:
        raise ConfigurationError(FIELD, "has no such name", value=name, remedy=_REMEDY)
    if isinstance(given, str):
        given = _read(given.strip())
    elif isinstance(given, list | tuple):  # of YAML, where 1e-3 is a text
        given = [_word(value) if isinstance(value, str) else value for value in given]
    if not isinstance(given, list):
        return name, _scalar(name, given)
    if not given:
        raise ConfigurationError(FIELD, f"gives {name} nothing to choose", value="[]")
    return name, tuple(_scalar(name, value) for value in given)


def _read(text: str) -> Any:
    """JSON, or a list whose texts have no quotation marks, or a text."""
    if text.startswith("[") and text.endswith("]"):
        items = _ITEM.findall(text[1:-1])[:-1] or [""]
        return [_word(item) for item in items] if any(items) else []
    return _word(text)


def _word(text: str) -> Any:
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except ValueError:
        pass
    try:
        return float(text)  # Python writes 1e-05 and .5, which JSON does not know
    except ValueError:
        return text


def _scalar(name: str, value: Any) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(FIELD, f"gives {name} no finite number", value=value)
    if isinstance(value, bool | int | float | str) and value != "":
        return value
    problem = f"gives {name} what is no number, text, true or false"
    raise ConfigurationError(FIELD, problem, value=value, remedy=_REMEDY)


def _text(values: Values) -> str:
    if isinstance(values, tuple):
        return f"[{','.join(map(_text, values))}]"
    if isinstance(values, str):
        plain = _read(values) == values and not re.search(r'[,"\[\]]', values)
        return values if plain else json.dumps(values)
    return json.dumps(values)
