import contextlib
import math
import os
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_lib import names
from pipeline_lib.config import RunConfig
from pipeline_lib.cores import available_cores
from pipeline_lib.data.sources.catalogue import CATALOGUE
from pipeline_lib.errors import ConfigurationError, UserError
from pipeline_lib.options import parse_seconds, unpinned

BAD = [
    ("dataset", "mnits", ConfigurationError, "mnist"),
    ("dataset", "", ConfigurationError, "choose from mnist"),
    ("dataset", 3, ConfigurationError, "string"),
    ("dataset", None, ConfigurationError, "string"),
    ("engine", "optunna", ConfigurationError, "did you mean 'optuna'?"),
    ("engine", "", ConfigurationError, "choose from all"),
    ("engine", ["optuna"], ConfigurationError, "string"),
    ("budget_seconds", 0, ConfigurationError, "greater than 0"),
    ("budget_seconds", -5, ConfigurationError, "greater than 0"),
    ("budget_seconds", "soon", ConfigurationError, "number"),
    ("budget_seconds", "10m", ConfigurationError, "number"),
    ("budget_seconds", math.nan, ConfigurationError, "finite"),
    ("budget_seconds", math.inf, ConfigurationError, "finite"),
    ("budget_seconds", 1e9, ConfigurationError, "less than or equal to 2592000"),
    ("budget_seconds", None, ConfigurationError, "number"),
    ("trials", 0, ConfigurationError, "greater than or equal to 1"),
    ("trials", -3, ConfigurationError, "greater than or equal to 1"),
    ("trials", 2.5, ConfigurationError, "integer"),
    ("trials", "many", ConfigurationError, "integer"),
    ("sampler", "tpee", ConfigurationError, "did you mean 'tpe'?"),
    ("sampler", "", ConfigurationError, "choose from tpe, cmaes, random"),
    ("sampler", None, ConfigurationError, "string"),
    ("pruner", "rung", ConfigurationError, "did you mean 'rungs'?"),
    ("pruner", "hyperband", ConfigurationError, "choose from rungs, median, none"),
    ("set", 3, ConfigurationError, "valid tuple"),
    ("space", "defualt", ConfigurationError, "did you mean 'default'?"),
    ("space", "chapter", ConfigurationError, "choose from"),
    ("workers", 0, ConfigurationError, "greater than or equal to 1"),
    ("workers", 257, ConfigurationError, "less than or equal to 256"),
    ("workers", "two", ConfigurationError, "integer"),
    ("workers", None, ConfigurationError, "integer"),
    ("seed", -1, ConfigurationError, "greater than or equal to 0"),
    ("seed", 2**32, ConfigurationError, "less than 4294967296"),
    ("name", "", ConfigurationError, "plain name"),
    ("name", "../escape", ConfigurationError, "plain name"),
    ("name", ".hidden", ConfigurationError, "plain name"),
    ("name", "two words", ConfigurationError, "plain name"),
    ("name", "line\n", ConfigurationError, "plain name"),
    ("name", "x" * 101, ConfigurationError, "at most 100"),
    ("validation_share", 0, ConfigurationError, "greater than 0"),
    ("validation_share", 1, ConfigurationError, "less than 1"),
    ("validation_share", math.nan, ConfigurationError, "finite"),
    ("data_root", 7, ConfigurationError, "string"),
    ("promote", "signifcant", ConfigurationError, "did you mean 'significant'?"),
    ("promote", None, ConfigurationError, "choose from significant, better, never"),
]


def constructed(fields):
    return RunConfig(**fields)


@pytest.mark.parametrize("make", [RunConfig.parse, constructed, RunConfig.model_validate])
@pytest.mark.parametrize(("field", "value", "kind", "says"), BAD)
def test_a_bad_field_is_one_line_that_names_it_and_its_value(field, value, kind, says, make):
    with pytest.raises(kind) as caught:
        make({field: value})
    error = caught.value
    assert error.where == field
    assert repr(value) in str(error) or value is None
    assert says in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("field", "near"), [("trails", "trials"), ("budget", "budget_seconds"), ("samplr", "sampler")]
)
def test_an_unknown_field_names_the_nearest(field, near):
    with pytest.raises(ConfigurationError, match=f"{field!r}.*did you mean {near!r}") as caught:
        RunConfig.parse({field: 1})
    assert caught.value.where == "configuration"


def test_the_first_of_two_bad_fields_is_named():
    with pytest.raises(ConfigurationError) as caught:
        RunConfig.parse({"trials": 0, "workers": 0})
    assert caught.value.where in ("trials", "workers")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
words = st.sampled_from([*RunConfig.model_fields, "mnist", "tpe", "book", "all", "optuna", "1e3"])


@given(st.dictionaries(words | st.text(), json_values | words, max_size=4))
@example({"budget_seconds": 10**400})
@example({"dataset": "\ud800"})
@example({"name": "a\n"})
@example({"model_config": {}})
def test_any_json_object_parses_or_is_the_users_mistake(fields):
    try:
        config = RunConfig.parse(fields)
    except UserError:
        return
    assert config.budget_seconds > 0
    assert config.workers >= 1
    assert RunConfig.parse(config.model_dump()) == config


def test_the_defaults():
    config = RunConfig.parse({})
    assert config.dataset == "mnist"
    assert config.trials is None
    assert config.workers == available_cores() >= 1
    assert config.engines == ("optuna", "autopytorch")


def test_one_engine_by_name():
    assert RunConfig.parse({"engine": "optuna"}).engines == ("optuna",)


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_every_data_set_of_the_catalogue_is_taken(dataset):
    assert RunConfig.parse({"dataset": dataset}).dataset == dataset


@pytest.mark.parametrize("engine", names.ENGINES)
def test_every_space_of_an_engine_is_taken_and_others_are_not(engine):
    for space in names.load(names.ENGINES[engine]).spaces:
        assert RunConfig(engine=engine, space=space).space == space
    with pytest.raises(ConfigurationError, match=f"unknown to {engine}"):
        RunConfig(engine=engine, space="no-such")


def test_to_check_a_configuration_loads_nothing_heavy():
    """The command line checks one before it says anything: torch alone takes seconds."""
    check = """
import sys
from pipeline_lib.config import RunConfig
RunConfig(engine="all", sampler="cmaes", set=["lr=0.1"]).engines
RunConfig.model_json_schema()
heavy = {"torch", "mlflow", "prefect", "optuna", "pandas", "sklearn", "numpy", "scipy"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig.parse({}).seed = 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_workers_follow_the_cores_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert RunConfig.parse({}).workers == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), (" 10m ", 600), ("2h", 7200), ("1.5h", 5400),
        ("1h30m", 5400), ("1m30s", 90), ("0.5", 0.5), ("1h1m1s", 3661),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0s",
        "-5",
        "-5m",
        "ten",
        "10x",
        "10 m",
        "1.h",
        "h",
        "1e3",
        "nan",
        "inf",
        "10m!",
        "1,5h",
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_seconds(text, "budget")
    assert caught.value.where == "budget"
    assert repr(text) in str(caught.value)
    assert "90s, 10m, 2h" in caught.value.remedy


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_hours_minutes_and_seconds_add_up(hours, minutes, seconds):
    assert parse_seconds(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@given(st.text())
def test_any_text_is_seconds_above_zero_or_the_users_mistake(text):
    with contextlib.suppress(ConfigurationError):
        assert parse_seconds(text) > 0


def test_the_path_of_a_family_may_hold_a_number_sign():
    digest = "0" * 64
    config = RunConfig(family=f"/home/me/C#/mine.py#{digest}")
    assert config.family == (f"/home/me/C#/mine.py#{digest}",)
    assert unpinned(config.family[0]) == ("/home/me/C#/mine.py", digest)
    assert unpinned("/home/me/C#/mine.py") == ("/home/me/C#/mine.py", "")
