from typing import get_args

import pytest

from flows.automl import automl
from flows.deployments import presets
from pipeline_lib.config import Promote, RunConfig, Test
from pipeline_lib.names import ENGINES, PRUNERS, SAMPLERS

FORM = automl.parameters.model_dump()["properties"]
"""What Prefect's form of a custom run is made from."""


def test_the_form_shows_the_fields_of_the_configuration_and_their_defaults():
    assert list(FORM) == list(RunConfig.model_fields)
    assert sorted(FORM, key=lambda name: FORM[name]["position"]) == list(FORM)
    given = {name: field["default"] for name, field in FORM.items() if field["default"] is not None}
    assert RunConfig.parse(given) == RunConfig.parse({})


def test_the_form_says_what_the_configuration_says():
    said = {name: field["description"] for name, field in FORM.items()}
    assert said == {name: field.description for name, field in RunConfig.model_fields.items()}
    assert all(said.values())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("engine", ["all", *ENGINES]),
        ("sampler", list(SAMPLERS)),
        ("pruner", list(PRUNERS)),
        ("promote", list(get_args(Promote))),
        ("test", list(get_args(Test))),
        ("space", ["default", "book", "tiny_cs", "full"]),
    ],
)
def test_the_form_offers_the_allowed_values(name, values):
    assert FORM[name]["enum"] == values


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("budget_seconds", {"exclusiveMinimum": 0, "maximum": 30 * 86400}),
        ("split_seed", {"minimum": 0, "exclusiveMaximum": 2**32}),
        ("validation_share", {"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        ("trial_memory", {"minimum": 512, "maximum": 2**20}),
    ],
)
def test_the_form_knows_the_bounds(name, bounds):
    assert bounds.items() <= FORM[name].items()


def test_every_preset_says_when_the_winner_replaces_the_champion():
    assert {fields["promote"] for fields in presets().values()} <= set(get_args(Promote))
