import inspect
from typing import get_args

from flows.automl import automl
from flows.deployments import presets
from pipeline_lib.config import Promote, RunConfig


def test_the_flow_takes_the_fields_of_the_configuration_and_their_defaults():
    parameters = inspect.signature(automl.fn).parameters
    assert list(parameters) == list(RunConfig.model_fields)
    given = {name: p.default for name, p in parameters.items() if p.default is not None}
    assert RunConfig.parse(given) == RunConfig.parse({})


def test_every_preset_says_when_the_winner_replaces_the_champion():
    assert {fields["promote"] for fields in presets().values()} <= set(get_args(Promote))
