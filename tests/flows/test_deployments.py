from zoneinfo import ZoneInfo

import pytest
import yaml

from flows.deployments import PROJECT, preset, presets
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError


def deployments():
    document = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    return {entry["name"]: entry for entry in document["deployments"]}


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_a_configuration(name):
    assert RunConfig.parse(preset(name)).dataset == "mnist"


def test_presets_keep_their_order_and_budgets():
    budgets = {name: fields["budget_seconds"] for name, fields in presets().items()}
    assert list(budgets.items()) == [("mnist", 120), ("mnist-nightly", 3600)]


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"preset: is unknown, got 'mnsit'.*'mnist'"):
        preset("mnsit")


@pytest.mark.parametrize("name", presets())
def test_a_deployment_runs_once_at_a_time_in_the_pool_of_up(name):
    deployment = deployments()[name]
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert deployment["work_pool"] == {"name": "local"}
    assert deployment["entrypoint"] == "flows/automl.py:automl"


def test_the_night_has_a_named_time_zone():
    [schedule] = deployments()["mnist-nightly"]["schedules"]
    assert schedule["slug"] == "nightly"
    assert schedule["cron"] == "0 2 * * *"
    assert ZoneInfo(schedule["timezone"]).key == schedule["timezone"]
